package function

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/tidwall/gjson"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// How a message of our own source ends. They are no outcomes of the engine, and
// are not counted with those.
const (
	drillArrived   = "drill"
	drillDismissed = "drill-dismissed"
)

// ofDrill reports whether a message is of the source that only drills have. That
// is no proof of anything: see event.Canary.
func ofDrill(message events.SQSMessage) bool {
	return gjson.Get(message.Body, "source").Str == event.DrillSource
}

// drill takes down that a canary has come, and reports whether the queue may
// forget the message. The engine sees none of it: whoever may put events on a bus
// of the organization can send what looks like one, so it alerts nobody, and
// what is of no drill that is running ends here.
func (f *Function) drill(ctx context.Context, message events.SQSMessage) (done bool) {
	e, err := event.Decode([]byte(message.Body))
	if err != nil {
		f.drillEnded(slog.LevelInfo, drillDismissed, err.Error(), slog.String("event", message.MessageId))
		return true
	}
	at := []slog.Attr{slog.String("event", e.ID), slog.String("account", e.Account), slog.String("region", e.Region)}
	canary, ok := e.Detail.(*event.Canary)
	if !ok {
		f.drillEnded(slog.LevelInfo, drillDismissed, "it is no canary of a drill", at...)
		return true
	}
	at = append(at, slog.String("drill", canary.Drill))
	c := ledger.Canary{Drill: canary.Drill, Domain: f.domain, Account: e.Account, Region: e.Region}
	arrived, err := f.drills.Arrived(ctx, c, time.Now())
	switch {
	case err != nil:
		f.drillEnded(slog.LevelError, "failed", cloud.Reason(err), append(at, slog.Bool("retry", true))...)
	case arrived:
		f.drillEnded(slog.LevelInfo, drillArrived, "the canary has come", at...)
	default:
		f.drillEnded(slog.LevelInfo, drillDismissed, "no such drill is running", at...)
	}
	return err == nil
}

// drillEnded writes the outcome line of a message, which is no metric.
func (f *Function) drillEnded(level slog.Level, outcome, reason string, at ...slog.Attr) {
	f.log.LogAttrs(context.Background(), level, "outcome", append([]slog.Attr{
		slog.String("domain", f.domain), slog.String("outcome", outcome), slog.String("reason", reason),
	}, at...)...)
}

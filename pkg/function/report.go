package function

import (
	"context"
	"log/slog"
	"time"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
)

// namespace is where the function's metrics appear in CloudWatch.
const namespace = "Snapback"

// report writes the outcome line, which CloudWatch Logs also reads as metrics
// (embedded metric format): Outcomes by domain, control and outcome, and for
// violations that were changed away the milliseconds from event to contained.
func (f *Function) report(r engine.Result) {
	level := slog.LevelInfo
	switch {
	case r.Retry != nil:
		level = slog.LevelError
	case r.Outcome.Alerts() && r.Outcome != control.Remediated:
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("domain", f.domain),
		slog.String("control", orNone(r.Control)),
		slog.String("outcome", string(r.Outcome)),
		slog.String("event", r.Event),
		slog.String("reason", r.Reason),
		slog.Any("calls", r.Calls),
		slog.Int("Outcomes", 1),
	}
	if r.Target != nil {
		attrs = append(attrs, slog.String("account", r.Target.Account), slog.String("region", r.Target.Region),
			slog.String("target", r.Target.ID))
	}
	if r.Case != "" {
		attrs = append(attrs, slog.String("case", r.Case))
	}
	if r.Retry != nil {
		attrs = append(attrs, slog.Bool("retry", true))
	}
	metrics := []metric{{"Outcomes", "Count"}}
	if !r.Contained.IsZero() {
		attrs = append(attrs, slog.Int64("ContainedAfter", r.Contained.Sub(r.EventTime).Milliseconds()))
		metrics = append(metrics, metric{"ContainedAfter", "Milliseconds"})
	}
	f.log.LogAttrs(context.Background(), level, "outcome", append(attrs, slog.Any("_aws", embedded(metrics)))...)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

type metric struct {
	Name string
	Unit string
}

// embedded is the _aws member of the embedded metric format. Source: CloudWatch
// user guide, Specification: Embedded metric format.
func embedded(metrics []metric) any {
	return map[string]any{
		"Timestamp": time.Now().UnixMilli(),
		"CloudWatchMetrics": []map[string]any{{
			"Namespace":  namespace,
			"Dimensions": [][]string{{"domain", "control", "outcome"}},
			"Metrics":    metrics,
		}},
	}
}

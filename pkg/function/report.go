package function

import (
	"context"
	"log/slog"
	"time"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
)

// Namespace is where the metrics of all functions appear in CloudWatch.
const Namespace = "Snapback"

// report writes the outcome line of a result, which CloudWatch Logs also reads as
// metrics; first says that it is the first one of its event.
func (f *Function) report(r engine.Result, first bool) {
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
	f.log.LogAttrs(context.Background(), level, "outcome", append(attrs, metrics(r, first)...)...)
}

// metrics are the members of an outcome line that are read as metrics: Outcomes
// and, for violations that were changed away, ContainedAfter, the milliseconds
// from event to contained. Both are counted by domain, control and outcome, for
// graphs, and by outcome alone, for alarms, which can't watch what a search finds
// (CloudWatch user guide, "Using search expressions in graphs"). The first result
// of an event is also counted as one of Events, without dimensions, so that it is
// noticed if no event comes any more.
func metrics(r engine.Result, first bool) []slog.Attr {
	outcomes := directive{
		Namespace:  Namespace,
		Dimensions: [][]string{{"domain", "control", "outcome"}, {"outcome"}},
		Metrics:    []metric{{"Outcomes", "Count"}},
	}
	attrs := []slog.Attr{slog.Int("Outcomes", 1)}
	if !r.Contained.IsZero() {
		attrs = append(attrs, slog.Int64("ContainedAfter", r.Contained.Sub(r.EventTime).Milliseconds()))
		outcomes.Metrics = append(outcomes.Metrics, metric{"ContainedAfter", "Milliseconds"})
	}
	all := []directive{outcomes}
	if first {
		attrs = append(attrs, slog.Int("Events", 1))
		all = append(all, counts("Events"))
	}
	return append(attrs, embed(all...))
}

// Counts makes members of a log line metrics, given by their names: numbers that
// are counted without dimensions, which the format's schema allows.
func Counts(names ...string) slog.Attr { return embed(counts(names...)) }

func counts(names ...string) directive {
	d := directive{Namespace: Namespace, Dimensions: [][]string{{}}}
	for _, name := range names {
		d.Metrics = append(d.Metrics, metric{name, "Count"})
	}
	return d
}

func embed(directives ...directive) slog.Attr {
	return slog.Any("_aws", embedded{Timestamp: time.Now().UnixMilli(), CloudWatchMetrics: directives})
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// embedded is the _aws member of the embedded metric format, which names members
// beside it. Source: CloudWatch user guide, "Specification: Embedded metric
// format".
type embedded struct {
	Timestamp         int64
	CloudWatchMetrics []directive
}

// directive is some metrics, each counted once by every set of dimensions. A set
// may be empty.
type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []metric
}

type metric struct {
	Name string
	Unit string
}

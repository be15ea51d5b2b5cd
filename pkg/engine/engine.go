// Package engine is the way of one event: from the event's text to an outcome
// for every control and target that it concerns.
package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/facts"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// Engine handles events for the controls and runbooks of one domain, or of all.
// It is safe for concurrent use.
type Engine struct {
	Controls []control.Control
	Runbooks []control.Runbook
	Baseline *baseline.Baseline
	Sessions *cloud.Sessions
	Facts    *facts.Facts
	Ledger   *ledger.Ledger
	Alerts   *alert.Topic
	// Version is that of this Snapback: alerts and the answer to a check name it.
	Version string
}

// Result is how an event ended for one control and target. Its JSON is what
// the command line prints.
type Result struct {
	Event   string          `json:"event"`
	Control string          `json:"control"`
	Target  *control.Target `json:"target"`
	Outcome control.Outcome `json:"outcome"`
	Reason  string          `json:"reason"`
	Case    string          `json:"case"`
	Changes []alert.Change  `json:"changes"`
	// Calls are the AWS calls that were made, as "S3.GetPublicAccessBlock", in
	// the order in which they ended.
	Calls []string `json:"calls"`

	// Trace are the same calls with their times.
	Trace []cloud.Call `json:"-"`
	// EventTime is when the event happened, Contained when its violation was
	// changed away; zero if nothing was changed.
	EventTime, Contained time.Time `json:"-"`
	// Retry is set if retrying may mend what went wrong: the event is to be
	// handed out again. The outcome is then how this attempt ended.
	Retry error `json:"-"`
}

// HandleJSON handles an event as EventBridge delivers it; id names it where it
// does not name itself. A malformed one is refused: retrying can't mend it.
func (e *Engine) HandleJSON(ctx context.Context, id string, data []byte) []Result {
	ev, err := event.Decode(data)
	if err != nil {
		return []Result{e.refused(ctx, ledger.Event{ID: id}, nil, err.Error())}
	}
	return e.Handle(ctx, ev)
}

// Handle finds the targets of an event and walks each to its outcome. There is
// always at least one result.
func (e *Engine) Handle(ctx context.Context, ev *event.Event) []Result {
	if why := ev.Dismiss(); why != "" {
		return []Result{ignored(ev, why)}
	}
	if why := ev.Mismatch(); why != "" {
		return []Result{e.refused(ctx, source(ev), actor(ev), why)}
	}
	walks := e.walks(ev)
	if len(walks) == 0 {
		return []Result{ignored(ev, "it concerns no control")}
	}
	f, ok := ev.Detail.(*event.Finding)
	if !ok {
		return runAll(ctx, walks)
	}
	var reports, changes []walk
	for _, w := range walks {
		if w.rule.changes() {
			changes = append(changes, w)
		} else {
			reports = append(reports, w)
		}
	}
	results := runAll(ctx, reports) // first: they tell what was there
	results = append(results, runAll(ctx, changes)...)
	if why := untold(results); why != "" {
		results = append(results, runAll(ctx, e.tellers(e.from(ev), ev, f, why))...)
	}
	return results
}

// untold says why nothing was done about a finding if no case tells of it:
// whatever GuardDuty found is known to the operators in the end.
func untold(results []Result) string {
	var why []string
	for _, r := range results {
		if r.Case != "" || r.Retry != nil || r.Outcome != control.Compliant && r.Outcome != control.Gone {
			return ""
		}
		why = append(why, fmt.Sprintf("%s found nothing to do on %s: %s.", r.Control, r.Target.ID, r.Reason))
	}
	return strings.Join(why, " ")
}

// runAll walks side by side.
func runAll(ctx context.Context, walks []walk) []Result {
	results := make([]Result, len(walks))
	var side sync.WaitGroup
	for i := range walks {
		side.Go(func() { results[i] = walks[i].run(ctx) })
	}
	side.Wait()
	return results
}

// ignored is the result of an event that is no reason to look at anything.
func ignored(ev *event.Event, why string) Result {
	return Result{
		Event: ev.ID, Outcome: control.Ignored, Reason: why, EventTime: ev.Time,
		Changes: []alert.Change{}, Calls: []string{},
	}
}

// refused is the result of an event that can't be trusted. There is no case:
// whatever it names may not be its own to name.
func (e *Engine) refused(ctx context.Context, ev ledger.Event, who *event.Actor, why string) Result {
	ctx, recorder := cloud.Record(ctx)
	r := Result{Event: ev.ID, Outcome: control.Refused, Reason: why, EventTime: ev.Time, Changes: []alert.Change{}}
	r.Retry = e.alertRefused(ctx, ev, who, why)
	r.trace(recorder)
	return r
}

func (e *Engine) alertRefused(ctx context.Context, ev ledger.Event, who *event.Actor, why string) error {
	_, err := e.tell(ctx, alert.Alert{
		Schema: alert.Schema, ID: ev.ID + "-" + string(control.Refused), Outcome: control.Refused, Severity: control.High,
		Reason: why, Account: ev.Account, Region: ev.Region, Event: ev, Actor: who, Changes: []alert.Change{},
	})
	return err
}

// ContainedTrips is how many serial round trips it took until the violation was
// changed away; 0 if nothing was changed.
func (r *Result) ContainedTrips() int {
	var before []cloud.Call
	for _, c := range r.Trace {
		if !c.End.After(r.Contained) {
			before = append(before, c)
		}
	}
	return cloud.RoundTrips(before)
}

func (r *Result) trace(recorder *cloud.Recorder) {
	r.Trace, r.Calls = recorder.Calls(), []string{}
	for _, c := range r.Trace {
		r.Calls = append(r.Calls, c.Name())
	}
}

// source is what a case keeps of its event.
func source(ev *event.Event) ledger.Event {
	s := ledger.Event{ID: ev.ID, Source: ev.Source, Name: ev.DetailType, Account: ev.Account, Region: ev.Region, Time: ev.Time}
	switch d := ev.Detail.(type) {
	case *event.Call:
		s.Name, s.Time, s.CloudTrail = d.Name, d.Time, d.ID
	case *event.Compliance:
		s.Name = d.Rule
	case *event.Finding:
		s.Name = d.Type
	}
	return s
}

func actor(ev *event.Event) *event.Actor {
	if call, ok := ev.Detail.(*event.Call); ok {
		return &call.Actor
	}
	return nil
}

// retryable reports whether the event is to be handed out again for err.
func retryable(err error) bool {
	var moved *control.MovedError
	switch {
	case err == nil, errors.Is(err, control.ErrGone), errors.As(err, &moved), errors.Is(err, ledger.ErrDamaged):
		return false
	}
	return errors.Is(err, ledger.ErrBusy) || !cloud.Permanent(err)
}

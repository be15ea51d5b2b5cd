package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/facts"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// runOptions are the flags of run.
type runOptions struct {
	baseline, table, topic, role string
	own                          bool
}

// runTimeout bounds one event: as a function's time does.
const runTimeout = time.Minute

func newRun() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run EVENT…",
		Short: "Handle events as the functions do, in this process",
		Long: wrap("Handle the events in the files (- is standard input) as the functions do: read the live state, decide by "+
			"the baseline, change what it says is to be changed, verify, record and alert. A file holds EventBridge "+
			"envelopes or CloudTrail records: one, JSON lines, an array or a log file, gzipped or not.", columns),
		Args: want(1, math.MaxInt, "files of events (- is standard input)"),
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd, o, args) },
	}
	f := cmd.Flags()
	f.StringVar(&o.baseline, "baseline", "baseline.yaml", "the baseline file")
	tableFlag(f, &o.table)
	topicFlag(f, &o.topic)
	f.StringVar(&o.role, "role", "snapback-{domain}", "role to assume in the target's account")
	f.BoolVar(&o.own, "own-credentials", false, "use the caller's own credentials, not a role: for events of his account")
	return cmd
}

func run(cmd *cobra.Command, o runOptions, files []string) error {
	if err := checkTopic(cmd, o.topic); err != nil {
		return err
	}
	if o.own && cmd.Flags().Changed("role") {
		return misuse("run: --role and --own-credentials don't go together: choose one")
	}
	for _, file := range files {
		switch info, err := os.Stat(file); {
		case file == "-":
		case err != nil:
			return misuse("run: %w", err)
		case info.IsDir():
			return misuse("run: %s is a folder: name the files in it", file)
		}
	}
	engines, err := newEngines(cmd, o)
	if err != nil {
		return err
	}
	defer untilInterrupted(cmd)()
	return each(files, func(file string) (bool, error) { return runFile(cmd, engines, file) })
}

// untilInterrupted makes the command's context end with the first interrupt,
// after which the event at hand is still finished; a second one ends the
// program at once.
func untilInterrupted(cmd *cobra.Command) (undo func()) {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	cmd.SetContext(ctx)
	quiet := context.AfterFunc(ctx, func() {
		stop()
		_ = printf(cmd.ErrOrStderr(), "snapback: finishing the event at hand; interrupt again to end at once\n") // a hint alone
	})
	return func() { quiet(); stop() }
}

// newEngines builds one engine for each domain, since each has its own role.
func newEngines(cmd *cobra.Command, o runOptions) ([]*engine.Engine, error) {
	b, domains, err := loadBaseline(cmd, o.baseline)
	if err != nil {
		return nil, err
	}
	cfg, err := connect(cmd)
	if err != nil {
		return nil, err
	}
	if o.topic == "" {
		who, err := whoami(cmd, cfg)
		if err != nil {
			return nil, err
		}
		o.topic = mainTopic(cfg, who.Account)
	}
	// Without its ledger every event would end as held, one after the other.
	if _, err := openLedger(cfg, o.table).Read(cmd.Context(), ledger.Question{Control: "none", ARN: "none"}); err != nil {
		return nil, fmt.Errorf("run: %s", reason(err))
	}
	var engines []*engine.Engine
	for _, d := range domains {
		role := strings.ReplaceAll(o.role, "{domain}", d.Name)
		if o.own {
			role = ""
		}
		engines = append(engines, &engine.Engine{
			Controls: d.Controls, Runbooks: d.Runbooks, Baseline: b, Sessions: cloud.NewSessions(cfg, role, d.Name),
			Facts: facts.New(cfg), Ledger: ledger.New(cfg, o.table), Alerts: alert.NewTopic(cfg, o.topic), Version: version,
		})
	}
	return engines, nil
}

// runFile handles the events of one file, and reports whether all went well.
func runFile(cmd *cobra.Command, engines []*engine.Engine, file string) (bool, error) {
	in, err := open(cmd, file)
	if err != nil {
		return false, err
	}
	defer func() { _ = in.Close() }() // it was only read
	good, any := true, false
	for ev, err := range event.Read(in) {
		if cmd.Context().Err() != nil {
			return false, fmt.Errorf("run: interrupted: %s is not read to its end", file)
		}
		any = true
		var results []engine.Result
		var finding *event.Finding
		if err != nil {
			results = []engine.Result{{
				Outcome: control.Refused, Reason: fmt.Sprintf("%s: %v", file, err), Changes: []alert.Change{}, Calls: []string{},
			}}
		} else {
			done := patience(cmd.ErrOrStderr(), "handling event "+plain(ev.ID, 60))
			results = handle(context.WithoutCancel(cmd.Context()), engines, ev)
			done()
			finding, _ = ev.Detail.(*event.Finding)
		}
		for _, r := range results {
			good = good && r.Retry == nil && fine(r.Outcome)
			if err := printResult(cmd, r, finding); err != nil {
				return false, err
			}
		}
	}
	if !any {
		return false, fmt.Errorf("run: %s holds no event", file)
	}
	return good, nil
}

func open(cmd *cobra.Command, file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(file)
}

// handle gives an event to every domain. Where it concerns none, one result
// says so.
func handle(ctx context.Context, engines []*engine.Engine, ev *event.Event) []engine.Result {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	var results []engine.Result
	var ignored engine.Result
	for _, e := range engines {
		for _, r := range e.Handle(ctx, ev) {
			switch {
			case r.Outcome == control.Ignored && r.Control == "":
				ignored = r
			case r.Outcome == control.Refused && r.Control == "":
				return []engine.Result{r} // the event itself: the other domains would say the same
			default:
				results = append(results, r)
			}
		}
	}
	if len(results) == 0 {
		results = append(results, ignored)
	}
	return results
}

// fine reports whether an outcome leaves nothing for the caller to look into.
func fine(o control.Outcome) bool {
	switch o {
	case control.Failed, control.Partial, control.Held, control.Unreadable, control.Refused:
		return false
	}
	return true
}

// handled is the JSON of how an event ended for one control or runbook and
// target.
type handled struct {
	engine.Result

	// Drill says that the event is a sample finding: nothing was changed.
	Drill bool `json:"drill,omitempty"`
}

// printResult prints how an event ended, one that is a finding with its steps.
func printResult(cmd *cobra.Command, r engine.Result, finding *event.Finding) error {
	if r.Retry != nil {
		if err := printf(cmd.ErrOrStderr(), "snapback: event %s is not done with; once this is mended, run it again: %s\n",
			plain(r.Event, 80), plain(reason(r.Retry), 600)); err != nil {
			return err
		}
	}
	w, drill := cmd.OutOrStdout(), finding != nil && finding.Sample
	if output(cmd) == "json" {
		return printJSON(w, handled{r, drill})
	}
	head := strings.ToUpper(string(r.Outcome))
	if drill {
		head += " (drill)"
	}
	if r.Control != "" {
		head += "  " + r.Control
	}
	if r.Target != nil {
		head += "  " + plain(r.Target.String(), 200)
	}
	const indent = "  "
	if err := printf(w, "%s\n%s%s\n", head, indent, strings.ReplaceAll(wrap(plain(r.Reason, 600), columns-2), "\n", "\n"+indent)); err != nil {
		return err
	}
	var of []detail
	for i := range r.Changes {
		c := &r.Changes[i]
		if finding == nil {
			of = append(of, detail{"before", stateText(c.Before)}, detail{"after", stateText(c.After)})
		} else if err := printStep(w, c); err != nil {
			return err
		}
	}
	if r.Case != "" {
		of = append(of, detail{"case", r.Case})
	}
	if r.Event != "" {
		of = append(of, detail{"event", plain(r.Event, 80)})
	}
	made := fmt.Sprintf("%d %s", len(r.Calls), strings.Join(r.Calls, " "))
	return details(w, indent, append(of, detail{"calls", wrap(strings.TrimSpace(made), columns-10)}))
}

// printStep prints one of several changes.
func printStep(w io.Writer, c *alert.Change) error {
	if err := printf(w, "  %s\n", strings.TrimSpace(c.Remedy+"  "+string(c.Outcome))); err != nil {
		return err
	}
	of := []detail{{"why", lines(c.Reason)}}
	switch {
	case c.Digest == "": // there is nothing to do, or it could not be planned
	case len(c.After) == 0:
		of = append(of, detail{"found", stateText(c.Before)})
	default:
		of = append(of, detail{"before", stateText(c.Before)}, detail{"after", stateText(c.After)})
	}
	return details(w, "    ", told(append(of, detail{"left open", lines(c.Left...)}, detail{"error", lines(c.Error)})...))
}

func stateText[T ~[]byte](v T) string {
	if len(v) == 0 {
		return "null"
	}
	return plain(string(v), 2000)
}

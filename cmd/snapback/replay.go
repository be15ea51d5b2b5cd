package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/event"
)

func newReplay() *cobra.Command {
	return &cobra.Command{
		Use:   "replay PATH…",
		Short: "Show offline which rules, controls and resources recorded events would reach",
		Long: "Read CloudTrail log files or recorded events from files and folders (- is standard input), gzipped or not,\n" +
			"and show which rule, control and resource each would reach and who did it. No call is made. A damaged file\n" +
			"is reported and the rest still read; the exit code is then 1.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
			r := &replay{
				out: out, errs: cmd.ErrOrStderr(), json: output(cmd) == "json", rules: compileRules(),
				counts: map[string]map[string]int{},
			}
			r.terminal = isTerminal(cmd.ErrOrStderr())
			err := r.paths(cmd.InOrStdin(), args)
			return errors.Join(err, out.Flush())
		},
	}
}

// replay is one run of the command.
type replay struct {
	out      io.Writer
	errs     io.Writer
	json     bool
	terminal bool
	rules    []replayDomain
	damaged  bool

	read, matched, ignored int
	shown                  time.Time                 // when progress was last printed
	counts                 map[string]map[string]int // what: which: matches
}

// replayDomain is a domain with its rules ready to match.
type replayDomain struct {
	control.Domain
	rules    []control.Rule
	matchers []event.Matcher
}

// record is the JSON of one replayed event.
type record struct {
	Event   string       `json:"event"`
	Source  string       `json:"source"`
	Name    string       `json:"name"`
	Account string       `json:"account"`
	Region  string       `json:"region"`
	Time    time.Time    `json:"time"`
	Actor   *event.Actor `json:"actor"`
	Matches []match      `json:"matches"`
	// Ignored says why the event would be dismissed; empty if it would not.
	Ignored string `json:"ignored"`
}

type match struct {
	Rule    string         `json:"rule"`
	Control string         `json:"control"`
	Target  control.Target `json:"target"`
}

func compileRules() []replayDomain {
	var domains []replayDomain
	for _, d := range controls.Domains() {
		r := replayDomain{Domain: d, rules: d.Rules()}
		for _, rule := range r.rules {
			r.matchers = append(r.matchers, rule.Pattern.Matcher())
		}
		domains = append(domains, r)
	}
	return domains
}

func (r *replay) paths(in io.Reader, paths []string) error {
	for _, path := range paths {
		if _, err := os.Stat(path); path != "-" && err != nil {
			return fmt.Errorf("replay: %w", err)
		}
	}
	for _, path := range paths {
		var err error
		if path == "-" {
			err = r.stream("standard input", in)
		} else {
			err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error { return r.visit(path, p, d, err) })
		}
		if err != nil {
			return err
		}
	}
	if err := r.summary(); err != nil {
		return err
	}
	if r.damaged {
		return errNotSo
	}
	return nil
}

// logSuffixes are the names of files that are read in folders; a file named on
// the command line is read whatever its name.
var logSuffixes = []string{".json", ".jsonl", ".ndjson", ".log", ".gz"}

// visit reads one file of a folder. CloudTrail's folders of digests and
// insights hold no records.
func (r *replay) visit(root, path string, d fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return r.fault(path, err)
	case d.IsDir() && (d.Name() == "CloudTrail-Digest" || d.Name() == "CloudTrail-Insight"):
		return fs.SkipDir
	case d.IsDir():
		return nil
	case path != root && !(d.Type().IsRegular() && slices.Contains(logSuffixes, filepath.Ext(path))):
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return r.fault(path, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	return r.stream(path, f)
}

func (r *replay) stream(name string, in io.Reader) error {
	for ev, err := range event.Read(in) {
		if err == nil {
			err = r.event(ev)
		} else {
			err = r.fault(name, err)
		}
		if err != nil {
			return err
		}
		r.progress(name)
	}
	return nil
}

// fault reports a file, or a part of it, that can't be read.
func (r *replay) fault(name string, err error) error {
	r.damaged = true
	return printf(r.errs, "snapback: %s: %v\n", name, err)
}

func (r *replay) event(ev *event.Event) error {
	r.read++
	rec := record{
		Event: ev.ID, Source: ev.Source, Name: ev.DetailType, Account: ev.Account, Region: ev.Region, Time: ev.Time.UTC(),
		Matches: []match{}, Ignored: ev.Dismiss(),
	}
	if call, ok := ev.Detail.(*event.Call); ok {
		rec.Source, rec.Name, rec.Actor = call.Source, call.Name, &call.Actor
	}
	if rec.Ignored == "" {
		if rec.Ignored = ev.Mismatch(); rec.Ignored == "" {
			rec.Matches, rec.Ignored = r.match(ev)
		}
	}
	if rec.Ignored != "" {
		r.ignored++
	} else {
		r.matched++
		r.count(rec)
	}
	if r.json {
		return printJSON(r.out, rec)
	}
	for _, m := range rec.Matches {
		if err := printf(r.out, "%s  %s %s  %s  %s by %s -> %s %s\n", rec.Time.Format(time.RFC3339), rec.Account, rec.Region,
			m.Rule, rec.Name, plain(who(rec), 100), m.Control, plain(m.Target.ID, 100)); err != nil {
			return err
		}
	}
	return nil
}

// match finds what an event would reach, a control only if a rule brings the
// event to its function, or says why it would reach nothing.
func (r *replay) match(ev *event.Event) ([]match, string) {
	matches, why := []match{}, "it concerns no control"
	for _, d := range r.rules {
		rule := slices.IndexFunc(d.matchers, func(m event.Matcher) bool { return m.Match(ev) })
		if rule < 0 {
			continue
		}
		for i := range d.Controls {
			for _, t := range d.Controls[i].Targets(ev) {
				if foreign := t.Foreign(ev); foreign != "" {
					why = foreign
					continue
				}
				matches = append(matches, match{d.rules[rule].Name, d.Controls[i].ID, t})
			}
		}
	}
	if len(matches) > 0 {
		why = ""
	}
	return matches, why
}

// who is the actor of a record in one word: the role of a session, not the
// session, so that the summary counts people and roles.
func who(rec record) string {
	switch a := rec.Actor; {
	case a == nil:
		return rec.Source
	case a.Issuer != nil && a.Issuer.ARN != "":
		return a.Issuer.ARN
	case a.ARN != "":
		return a.ARN
	default:
		return cmp.Or(a.Name, a.Principal, a.Type, "unknown")
	}
}

// maxCounted bounds the summary: a log may name any number of actors.
const maxCounted = 10_000

func (r *replay) count(rec record) {
	add := func(what, which string) {
		if r.counts[what] == nil {
			r.counts[what] = map[string]int{}
		}
		if _, known := r.counts[what][which]; !known && len(r.counts[what]) >= maxCounted {
			which = "others"
		}
		r.counts[what][which]++
	}
	add("actor", who(rec))
	add("account", rec.Account)
	for _, m := range rec.Matches {
		add("control", m.Control)
	}
}

// summary goes to standard output as text, and apart from the JSON to standard
// error.
func (r *replay) summary() error {
	w := r.out
	if r.json {
		w = r.errs
	}
	if r.terminal {
		_ = printf(r.errs, "\r\x1b[K") // the line of progress
	}
	if err := printf(w, "%d events read, %d would reach a control, %d would be ignored\n", r.read, r.matched, r.ignored); err != nil {
		return err
	}
	for _, what := range []string{"control", "actor", "account"} {
		counts := r.counts[what]
		names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
			return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
		})
		rows := [][]string{}
		for _, n := range names[:min(len(names), 20)] {
			rows = append(rows, []string{"  " + plain(n, 120), fmt.Sprint(counts[n])})
		}
		if len(names) > 20 {
			rows = append(rows, []string{fmt.Sprintf("  and %d more", len(names)-20), ""})
		}
		if len(rows) == 0 {
			continue
		}
		if err := printf(w, "by %s\n", what); err != nil {
			return err
		}
		if err := table(w, rows); err != nil {
			return err
		}
	}
	return nil
}

// progress is a line on the terminal, once a second.
func (r *replay) progress(name string) {
	if !r.terminal || r.read%256 != 0 || time.Since(r.shown) < time.Second {
		return
	}
	r.shown = time.Now()
	_ = printf(r.errs, "\r\x1b[K%d events read, now %s", r.read, plain(filepath.Base(name), 50)) // a hint alone
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

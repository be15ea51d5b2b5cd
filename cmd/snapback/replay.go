package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

func newReplay() *cobra.Command {
	return &cobra.Command{
		Use:   "replay PATH…",
		Short: "Show offline which rules, controls or runbooks, and resources recorded events would reach",
		Long: wrap("Read CloudTrail log files or recorded events from files and folders (- is standard input), gzipped or "+
			"not, and show which rule, control or runbook, and resource each would reach and who did it. No call is made. A damaged "+
			"file is reported and the rest still read; the exit code is then 1.", columns),
		Args: want(1, math.MaxInt, "files or folders of events (- is standard input)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
			r := &replay{
				out: out, errs: cmd.ErrOrStderr(), rules: compileRules(), counts: map[string]map[string]int{},
				terminal: isTerminal(cmd.ErrOrStderr()), shown: time.Now(),
			}
			if output(cmd) == "json" {
				r.json = json.NewEncoder(out)
				r.json.SetEscapeHTML(false)
			}
			err := r.paths(cmd.InOrStdin(), args)
			return errors.Join(err, out.Flush())
		},
	}
}

// replay is one run of the command.
type replay struct {
	out      io.Writer
	errs     io.Writer
	json     *json.Encoder // nil: text
	terminal bool
	rules    []replayDomain

	read, matched, ignored, damaged int

	shown  time.Time                 // when progress was last printed
	counts map[string]map[string]int // what: which: matches
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
	// Finding is the type of a GuardDuty finding.
	Finding string  `json:"finding,omitempty"`
	Matches []match `json:"matches"`
	// Ignored says why the event would be dismissed; empty if it would not.
	Ignored string `json:"ignored"`
}

type match struct {
	Rule    string         `json:"rule"`
	Control string         `json:"control"`
	Target  control.Target `json:"target"`
}

func compileRules() []replayDomain {
	var all []replayDomain
	for _, d := range domains() {
		r := replayDomain{Domain: d, rules: d.Rules()}
		for _, rule := range r.rules {
			r.matchers = append(r.matchers, rule.Pattern.Matcher())
		}
		all = append(all, r)
	}
	return all
}

func (r *replay) paths(in io.Reader, paths []string) error {
	for _, path := range paths {
		if _, err := os.Stat(path); path != "-" && err != nil {
			return misuse("replay: %w", err)
		}
	}
	for _, path := range paths {
		var err error
		if path == "-" {
			err = r.stream("standard input", in)
		} else {
			err = r.path(path)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case r.read == 0 && r.damaged == 0:
		return fmt.Errorf("replay: no event in %s: in folders, files are read whose names end in %s",
			strings.Join(paths, ", "), strings.Join(logSuffixes, ", "))
	case r.damaged > 0:
		return cmp.Or(r.summary(), errNotSo)
	}
	return r.summary()
}

// path reads a file, or the files of a folder.
func (r *replay) path(path string) error {
	root := path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		root += string(filepath.Separator) // follows a link to a folder
	}
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error { return r.visit(root, p, d, err) })
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
	r.damaged++
	if r.terminal {
		_ = printf(r.errs, clearLine)
	}
	return printf(r.errs, "snapback: %s: %v\n", name, err)
}

func (r *replay) event(ev *event.Event) error {
	r.read++
	matches, why := []match{}, cmp.Or(ev.Dismiss(), ev.Mismatch())
	if why == "" {
		matches, why = r.match(ev)
	}
	if why != "" {
		r.ignored++
		if r.json == nil {
			return nil // most events of a log end here
		}
	}
	rec := record{
		Event: ev.ID, Source: ev.Source, Name: ev.DetailType, Account: ev.Account, Region: ev.Region, Time: ev.Time.UTC(),
		Matches: matches, Ignored: why,
	}
	switch d := ev.Detail.(type) {
	case *event.Call:
		rec.Source, rec.Name, rec.Actor = d.Source, d.Name, &d.Actor
	case *event.Finding:
		rec.Finding = d.Type
	}
	if why == "" {
		r.matched++
		r.count(rec)
	}
	if r.json != nil {
		return r.json.Encode(rec)
	}
	return r.print(rec)
}

func (r *replay) print(rec record) error {
	if err := printf(r.out, "%s  %s  %s  %s by %s\n", rec.Time.Format(time.RFC3339), rec.Account, rec.Region,
		plain(cmp.Or(rec.Finding, rec.Name), 60), plain(short(who(rec), rec.Account), 80)); err != nil {
		return err
	}
	for _, m := range rec.Matches {
		if err := printf(r.out, "  %s -> %s  %s\n", m.Rule, m.Control, plain(m.Target.ID, 100)); err != nil {
			return err
		}
	}
	return nil
}

// match finds what an event would reach, a control or a runbook only if a rule
// brings the event to its function, or says why it would reach nothing.
func (r *replay) match(ev *event.Event) ([]match, string) {
	matches, why := []match{}, "it concerns no control"
	for _, d := range r.rules {
		rule := slices.IndexFunc(d.matchers, func(m event.Matcher) bool { return m.Match(ev) })
		if rule < 0 {
			continue
		}
		for _, reached := range d.reached(ev) {
			if foreign := reached.Target.Foreign(ev); foreign != "" {
				why = foreign
				continue
			}
			reached.Rule = d.rules[rule].Name
			matches = append(matches, reached)
		}
	}
	if len(matches) > 0 {
		why = ""
	}
	return matches, why
}

// reached are the controls and runbooks of a domain that an event concerns, with
// its targets. Runbooks that only tell of a finding do so where no other one
// answers it.
func (d *replayDomain) reached(ev *event.Event) []match {
	var all, tellers []match
	for i := range d.Controls {
		for _, t := range d.Controls[i].Targets(ev) {
			all = append(all, match{Control: d.Controls[i].ID, Target: t})
		}
	}
	if call, ok := ev.Detail.(*event.Call); ok && ev.Dismiss() == "" {
		for i := range d.Runbooks {
			for _, t := range d.Runbooks[i].Called(call) {
				all = append(all, match{Control: d.Runbooks[i].ID, Target: t})
			}
		}
	}
	f, ok := ev.Detail.(*event.Finding)
	if !ok {
		return all
	}
	for i := range d.Runbooks {
		book := &d.Runbooks[i]
		of := &all
		if len(book.Steps) == 0 {
			of = &tellers
		}
		for _, t := range book.Answers(f) {
			*of = append(*of, match{Control: book.ID, Target: t})
		}
	}
	if len(all) == 0 {
		return tellers
	}
	return all
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

// short leaves out of an actor's ARN what the record has said already: "user/alice".
func short(actor, account string) string {
	a, err := arn.Parse(actor)
	if err != nil || a.AccountID != account {
		return actor
	}
	kind, _, ok := strings.Cut(a.Resource, "/")
	if !ok {
		return a.Resource
	}
	return kind + a.Resource[strings.LastIndexByte(a.Resource, '/'):]
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
	if r.json != nil {
		w = r.errs
	}
	if r.terminal {
		_ = printf(r.errs, clearLine)
	}
	unread := ""
	if r.damaged > 0 {
		unread = fmt.Sprintf("; parts that could not be read: %d", r.damaged)
	}
	if err := printf(w, "events: %d, of which %d would reach a control or runbook and %d would be ignored%s\n",
		r.read, r.matched, r.ignored, unread); err != nil {
		return err
	}
	for _, what := range []string{"control", "actor", "account"} {
		if err := printCounts(w, what, r.counts[what]); err != nil {
			return err
		}
	}
	return nil
}

// printCounts prints the highest counts.
func printCounts(w io.Writer, what string, counts map[string]int) error {
	if len(counts) == 0 {
		return nil
	}
	const most = 20
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	rows := [][]string{{"EVENTS", strings.ToUpper(what)}}
	for _, n := range names[:min(len(names), most)] {
		rows = append(rows, []string{fmt.Sprint(counts[n]), plain(n, columns)})
	}
	if len(names) > most {
		rows = append(rows, []string{"", fmt.Sprintf("and %d more", len(names)-most)})
	}
	if err := printf(w, "\n"); err != nil {
		return err
	}
	return table(w, rows)
}

// progress is a line on the terminal, once a second.
func (r *replay) progress(name string) {
	if !r.terminal || r.read%256 != 0 || time.Since(r.shown) < time.Second {
		return
	}
	r.shown = time.Now()
	_ = printf(r.errs, clearLine+"%d events read, now %s", r.read, plain(filepath.Base(name), 50)) // a hint alone
}

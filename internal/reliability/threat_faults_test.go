package reliability_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// threatTable is the table of a function that answers a threat.
type threatTable struct {
	name     string // in the document
	baseline string
	calls    []threatCall
	// allReads says that each read has a row, and not only the first one of a name.
	allReads bool
	stories  []story
	make     func(*world, *testing.T) *threat
}

// threatCall is a row of the table, and what is right where it is denied for good.
type threatCall struct {
	call
	denied threatDenial
	// verifies says that the call reads a change back, which is repeated.
	verifies bool
	// stays takes out of a world what is left where the call is never made.
	stays func(*threat, scene.World)
}

// threatDenial is what is right where a call is denied for good.
type threatDenial struct {
	told control.Outcome // empty: nothing can be told
	says string          // in the alert
	but  map[string]control.Outcome
	open bool // the threat goes on: nothing is changed or, by but, what would end it is not
	made bool // what is in but is made all the same
	dead bool
	// way is how it goes on once the denial is lifted, and again how it ends then;
	// empty if nothing is left to do.
	way   string
	again control.Outcome
	// as says that IAM knows no nth call: it is denied with this one of the name.
	as int
}

const (
	redriven = "redriven"
	retried  = "retried"
	anew     = "next event"
)

var (
	// Nothing is known of the resource, and nothing changed.
	unreadable = threatDenial{told: control.Unreadable, open: true, way: anew, again: control.Remediated}
	// It can't be asked, or not be written down, what is changed: so it is not.
	unwritten = threatDenial{told: control.Held, says: "not authorized", open: true, dead: true, way: redriven, again: control.Remediated}
	// It is contained and must be told: the message stays until it is.
	untold = threatDenial{dead: true, way: redriven, again: control.Remediated}
	// It is contained and told, but the case stays open: the next one closes it.
	unclosed = threatDenial{told: control.Remediated, dead: true, way: redriven, again: control.Remediated}
	asFirst  = threatDenial{as: 1}
)

// part is the denial of a call without which some steps can't be made; all the
// others are.
func part(outcome control.Outcome, steps ...string) threatDenial {
	return threatDenial{told: control.Partial, but: all(outcome, steps...), way: retried, again: control.Remediated}
}

func only(name string) call { return call{name, 1, true} }

func nth(name string, n int) call { return call{name, n, false} }

// read reports whether a call changes nothing, so that it makes no difference
// whether a worker is killed before or after it.
func (c threatCall) read() bool {
	_, operation, _ := strings.Cut(c.name, ".")
	return strings.HasPrefix(operation, "Describe") || strings.HasPrefix(operation, "Get") || strings.HasPrefix(operation, "List")
}

var threatFaults = []string{"throttled", "killed before", "killed after", "denied for good"}

func (s *threat) inject(c threatCall, fault string) {
	f := map[string]func() local.Fault{
		"throttled": func() local.Fault {
			if c.verifies {
				return local.Throttled(4) // as often as the client tries
			}
			return throttling(c.name)
		},
		"killed before":   func() local.Fault { return local.KilledBefore(s.kill) },
		"killed after":    func() local.Fault { return local.KilledAfter(s.kill) },
		"denied for good": func() local.Fault { return denying(c.name) },
	}[fault]
	s.proxy.Inject(c.name, c.nth, f())
	s.disturbed()
}

// run makes the table.
func (table *threatTable) run(t *testing.T) {
	t.Helper()
	// moto answers one request at a time: two of them share the drills.
	worlds := []*world{newWorld(t, table.baseline), newWorld(t, table.baseline)}
	table.pathIsKnown(t, worlds[0])
	var jobs []job
	var rows []string
	for _, c := range table.calls {
		rows = append(rows, c.String())
	}
	for _, f := range slices.Backward(threatFaults) {
		for _, c := range table.calls {
			w := worlds[len(jobs)%len(worlds)]
			jobs = append(jobs, job{c.String(), f, func(t *testing.T) string { return table.drill(t, w, c, f) }})
		}
	}
	var names []string
	for _, s := range table.stories {
		names = append(names, s.name)
		w := worlds[len(jobs)%len(worlds)]
		jobs = append(jobs, job{"stories", s.name, func(t *testing.T) string { return s.run(w, t) }})
	}
	results := sideBySide(t, jobs)
	if len(results) < len(jobs) {
		t.Logf("%d of %d drills came to an end: no table", len(results), len(jobs))
		return
	}
	compare(t, table.name, faultTable(rows, threatFaults, results))
	compare(t, table.name+" stories", storyTable(names, results))
}

// pathIsKnown compares the calls of an undisturbed function with the rows.
func (table *threatTable) pathIsKnown(t *testing.T, w *world) {
	t.Helper()
	s := table.make(w, t)
	s.disturbed()
	s.send()
	s.contained(s.settle())
	var made, rows []string
	n := map[string]int{}
	for _, name := range s.proxy.Calls() {
		if n[name]++; n[name] == 1 || table.allReads || !(threatCall{call: call{name: name}}).read() {
			made = append(made, fmt.Sprintf("%s #%d", name, n[name]))
		}
	}
	for _, c := range table.calls {
		rows = append(rows, fmt.Sprintf("%s #%d", c.name, c.nth))
	}
	slices.Sort(made)
	slices.Sort(rows)
	if diff := cmp.Diff(rows, made); diff != "" {
		t.Fatalf("the calls of the path are others than the rows (-rows +made):\n%s", diff)
	}
	s.released(nil)
}

// drill puts a fault in the way of one event, follows it to its end and undoes
// what was done. It returns what came of it, in words.
func (table *threatTable) drill(t *testing.T, w *world, c threatCall, fault string) string {
	if fault == "killed after" && c.read() {
		return "as before"
	}
	lasts := fault == "denied for good"
	if lasts && c.denied.as > 0 {
		return fmt.Sprintf("as #%d", c.denied.as)
	}
	s := table.make(w, t)
	s.inject(c, fault)
	s.send()
	settle := s.settle
	if fault == "throttled" {
		settle = s.throttled
	}
	end := settle()
	if n := s.count(c.name); n < c.nth {
		t.Fatalf("the fault met nothing: %d calls %s", n, c.name)
	}
	words := s.words(end)
	if lasts {
		s.denied(c.denied, end)
		words += s.lift(c.denied)
	} else {
		s.contained(end)
	}
	var forget func(scene.World)
	if c.stays != nil && (lasts || fault == "throttled") {
		forget = func(w scene.World) { c.stays(s, w) }
	}
	s.released(forget)
	return words
}

// throttled works a message off that meets nothing but throttling at a call, all
// the time that it is handed out first.
func (s *threat) throttled() fate {
	first := s.poll()
	s.clear()
	if len(first.Failed) == 0 {
		return fate{tries: 1}
	}
	end := s.settle()
	end.tries++
	return end
}

// denied checks how things stand while a denial lasts.
func (s *threat) denied(right threatDenial, end fate) {
	s.t.Helper()
	if end.dead != right.dead || !right.dead && end.tries != 1 {
		s.t.Errorf("the message is dead: %t after %d tries, want %t\n%s", end.dead, end.tries, right.dead, s.function.Logs())
	}
	s.standing(right)
	told, id := s.told(), ""
	if cases := s.cases(); len(cases) > 0 {
		id = cases[0].ID
		if right.told == control.Remediated && right.way == "" || right.told == control.Partial {
			s.closed(cases[0], right.told, right.but)
		}
	}
	if right.told == "" {
		if len(told) > 0 {
			s.t.Errorf("the operators were told %+v", told)
		}
		return
	}
	s.oneStory(told, right.told, id)
	for _, a := range told {
		if !strings.Contains(fmt.Sprintf("%s %s %+v", a.Error, a.Reason, a.Changes), right.says) {
			s.t.Errorf("the alert does not say %q: %+v", right.says, a)
		}
	}
}

// lift ends a denial, has the work go on in the way that is right for it, and
// checks that all is well then. It returns what came of it, in words.
func (s *threat) lift(right threatDenial) string {
	s.t.Helper()
	s.clear()
	before := len(s.told())
	s.goOn(right.way)
	s.stopped()
	if right.way == "" {
		return ""
	}
	if n := s.used(s.t, ledger.PerThreatAccount, s.account); n != 1 {
		s.t.Errorf("%d changes are counted against threats in the account, want 1", n)
	}
	cases := s.cases()
	if n := len(cases); n > 2 || n == 2 && (right.way != anew || cases[0].State != "") {
		s.t.Errorf("%d cases: %+v", n, cases)
	}
	last := cases[len(cases)-1]
	if right.again != control.Remediated { // nothing was left to do
		s.closed(last, right.again, right.but)
		return fmt.Sprintf("; %s: nothing more", right.way)
	}
	s.closed(last, right.again, nil)
	told := s.told()
	if right.told != control.Remediated { // else it was told of before
		told = told[before:]
	}
	s.oneStory(told, control.Remediated, last.ID)
	return fmt.Sprintf("; %s: %s", right.way, called(right.again))
}

// goOn has the dead message redriven, another event come, or an operator retry
// the case.
func (s *threat) goOn(way string) {
	s.t.Helper()
	switch way {
	case "":
		return
	case retried:
		if a, err := s.command(engine.Retry, s.cases()[0].ID); err != nil || a.Verdict != engine.Done {
			s.t.Errorf("retry: %s: %s (%v)", a.Verdict, a.Reason, err)
		}
		return
	case redriven:
		must(s.t, s.queue.Redrive(s.t.Context()))
	case anew:
		s.send()
	}
	if end := s.settle(); end.dead || end.tries != 1 {
		s.t.Errorf("without the denial the message is dead: %t after %d tries\n%s", end.dead, end.tries, s.function.Logs())
	}
}

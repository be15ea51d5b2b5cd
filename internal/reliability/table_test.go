package reliability_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

var update = flag.Bool("update", false, "write the tables of docs/reliability.md anew")

// atOnce bounds how many drills run side by side: they wait for most of their
// time, and share one moto and two processors.
const atOnce = 10

// job is one cell of a table.
type job struct {
	row, column string
	run         func(*testing.T) string
}

func (j job) name() string { return j.row + "/" + j.column }

// TestFaults makes the tables: every call of the function's path with every
// fault, and then some stories of more than one fault.
func TestFaults(t *testing.T) {
	w := newWorld(t, enforced)
	calls := w.record(t)
	jobs := []job{{"order", "calls", func(t *testing.T) string { w.inOrder(t, calls); return "done" }}}
	for _, s := range stories {
		jobs = append(jobs, job{"stories", s.name, func(t *testing.T) string { return s.run(w, t) }})
	}
	for i := range faults { // the longest, which come last, first
		f := faults[len(faults)-1-i]
		for _, c := range calls {
			jobs = append(jobs, job{c.String(), f.name, func(t *testing.T) string { return w.drill(t, c, f) }})
		}
	}
	results := sideBySide(t, jobs)
	if len(results) < len(jobs) {
		t.Logf("%d of %d drills came to an end: no table", len(results), len(jobs))
		return
	}
	// The recording and the ordering walk have changed a bucket each besides.
	if n := w.used(t, ledger.PerControl, controlID); n != w.opened+2 {
		t.Errorf("%d changes are counted by the control, and %d were opened", n, w.opened+2)
	}
	rows, columns, names := make([]string, len(calls)), make([]string, len(faults)), make([]string, len(stories))
	for i, c := range calls {
		rows[i] = c.String()
	}
	for i, f := range faults {
		columns[i] = f.name
	}
	for i, s := range stories {
		names[i] = s.name
	}
	compare(t, "faults", faultTable(rows, columns, results))
	compare(t, "stories", storyTable(names, results))
}

// sideBySide runs jobs and returns their results by their names; those of jobs
// that were not chosen, or failed, are missing.
func sideBySide(t *testing.T, jobs []job) map[string]string {
	t.Helper()
	results := map[string]string{}
	var mu sync.Mutex
	var side sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for _, j := range jobs {
		turn <- struct{}{}
		side.Go(func() {
			defer func() { <-turn }()
			t.Run(j.name(), func(t *testing.T) {
				result := j.run(t)
				t.Log(result)
				mu.Lock()
				defer mu.Unlock()
				if !t.Failed() {
					results[j.name()] = result
				}
			})
		})
	}
	side.Wait()
	return results
}

func faultTable(rows, columns []string, results map[string]string) string {
	var b strings.Builder
	b.WriteString("| call | " + strings.Join(columns, " | ") + " |\n|" + strings.Repeat(" --- |", len(columns)+1) + "\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row)
		for _, column := range columns {
			fmt.Fprintf(&b, " %s |", results[job{row: row, column: column}.name()])
		}
		b.WriteString("\n")
	}
	return b.String()
}

func storyTable(stories []string, results map[string]string) string {
	var b strings.Builder
	b.WriteString("| what happens | how it ends |\n| --- | --- |\n")
	for _, name := range stories {
		fmt.Fprintf(&b, "| %s | %s |\n", name, results[job{row: "stories", column: name}.name()])
	}
	return b.String()
}

// compare holds a table against the one in the document, between its markers.
func compare(t *testing.T, name, text string) {
	t.Helper()
	t.Logf("\n%s", text)
	file := filepath.Join(local.Root(), "docs", "reliability.md")
	page, err := os.ReadFile(file)
	must(t, err)
	begin, end := "<!-- "+name+": go test ./internal/reliability -update -->\n", "<!-- end of "+name+" -->\n"
	head, rest, ok := strings.Cut(string(page), begin)
	was, tail, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("docs/reliability.md lacks the marker %s or %s", begin, end)
	}
	if *update {
		must(t, os.WriteFile(file, []byte(head+begin+text+end+tail), 0o644))
		return
	}
	if diff := cmp.Diff(strings.Split(was, "\n"), strings.Split(text, "\n")); diff != "" {
		t.Errorf("docs/reliability.md says otherwise (-document +now): if this is right, run `go test ./internal/reliability -update`:\n%s", diff)
	}
}

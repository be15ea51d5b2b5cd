package runbooks_test

import (
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestEveryRunbookIsValid(t *testing.T) {
	if err := control.Validate([]control.Domain{runbooks.Domain()}); err != nil {
		t.Error(err)
	}
}

// An exemption by command is refused for an ARN that its runbook does not know.
func TestEveryRunbookKnowsItsOwnARNs(t *testing.T) {
	for _, r := range runbooks.All() {
		if arn := r.Example(); !r.Names(arn) || r.Names(arn+" and more") {
			t.Errorf("%s does not know %s, or more than it", r.ID, arn)
		}
	}
}

func TestEveryCallBuildsItsOwnParams(t *testing.T) {
	one, other := runbooks.Domain(), runbooks.Domain()
	for i := range one.Runbooks {
		if a, b := one.Runbooks[i].Params, other.Runbooks[i].Params; a != nil && reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() {
			t.Errorf("runbook %s: two calls return the same Params", one.Runbooks[i].ID)
		}
	}
	if reflect.ValueOf(one.Uses[0].Params).Pointer() == reflect.ValueOf(other.Uses[0].Params).Pointer() {
		t.Error("two calls return the same Params of the control that is used")
	}
}

// A runbook that is written but not listed would never run.
func TestEveryRunbookHasAFileOfItsOwn(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(name string) bool {
		return strings.HasSuffix(name, "_test.go") || slices.Contains([]string{"runbooks.go", "finding_types.go", "credentials.go"}, name)
	})
	var want []string
	for _, r := range runbooks.All() {
		want = append(want, strings.ReplaceAll(r.ID, "-", "_")+".go")
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files differ from runbooks (-runbooks +files):\n%s", diff)
	}
}

// The order is part of what is promised: nothing is terminated before it is
// preserved, and evidence waits for containment, which waits for nothing.
func TestQuarantineContainsBeforeItCollects(t *testing.T) {
	var got []string
	quarantine := runbook(t, "ec2-quarantine")
	for _, s := range quarantine.Steps {
		line := s.Remedy.Name
		if len(s.After) > 0 {
			line += " after " + strings.Join(s.After, ", ")
		}
		if s.Urgent {
			line += ", urgent"
		}
		got = append(got, line)
	}
	const isolate, cut = 2, 3
	want := []string{
		"preserve-instance",
		"take-out-of-service after preserve-instance",
		"isolate-network, urgent",
		quarantine.Steps[cut].Remedy.Name,
		quarantine.Steps[4].Remedy.Name + " after " + quarantine.Steps[isolate].Remedy.Name + ", " + quarantine.Steps[cut].Remedy.Name,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps differ (-want +got):\n%s", diff)
	}
}

func runbook(t testing.TB, id string) *control.Runbook {
	t.Helper()
	all := runbooks.All()
	i := slices.IndexFunc(all, func(r control.Runbook) bool { return r.ID == id })
	if i < 0 {
		t.Fatalf("there is no runbook %s", id)
	}
	return &all[i]
}

// answer is what is done about a finding, as the engine decides it: runbooks
// without steps are asked where no other answers.
type answer struct {
	Type     string              `json:"type"`
	Runbooks map[string][]string `json:"runbooks"`
	Reason   string              `json:"reason,omitempty"`
}

func answerTo(f *event.Finding) answer {
	a := answer{Type: f.Type, Runbooks: map[string][]string{}}
	all := runbooks.All()
	for _, tells := range []bool{false, true} {
		for i := range all {
			r := &all[i]
			if tells != (len(r.Steps) == 0) || tells && len(a.Runbooks) > 0 {
				continue
			}
			for _, target := range r.Answers(f) {
				a.Runbooks[r.ID] = append(a.Runbooks[r.ID], target.String())
			}
			if tells {
				a.Reason = r.Reason(f)
			}
		}
	}
	return a
}

const samples = "../../events/guardduty"

// sampleFindings are the sample findings by their files.
func sampleFindings(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(samples), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all[path], err = os.ReadFile(filepath.Join(samples, path))
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("read %d sample findings: %v", len(all), err)
	}
	return all
}

func decode(t testing.TB, data []byte) *event.Finding {
	t.Helper()
	e, err := event.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return e.Detail.(*event.Finding)
}

// TestSampleFindingsAreAnswered shows where each sample finding leads.
func TestSampleFindingsAreAnswered(t *testing.T) {
	all := map[string]answer{}
	for path, data := range sampleFindings(t) {
		all[path] = answerTo(decode(t, data))
	}
	got, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	golden := filepath.Join("testdata", "answers.golden.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("answers differ from %s (-want +got); go test -update rewrites it:\n%s", golden, diff)
	}
}

package controls_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/event"
)

const samples = "../../events"

func decode(t *testing.T, path string) *event.Event {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(samples, path))
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestSampleEventsConcernTheirTargets shows where each sample event leads, and
// that the rules bring it. Where findings lead, package runbooks shows.
func TestSampleEventsConcernTheirTargets(t *testing.T) {
	all := map[string]map[string][]string{}
	err := fs.WalkDir(os.DirFS(samples), ".", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) != ".json" {
			return err
		}
		e := decode(t, path)
		all[path] = map[string][]string{}
		for _, d := range controls.Domains() {
			concerned := false
			for i := range d.Controls {
				for _, target := range d.Controls[i].Targets(e) {
					concerned = true
					all[path][d.Controls[i].ID] = append(all[path][d.Controls[i].ID], target.String())
				}
			}
			if call, ok := e.Detail.(*event.Call); ok && e.Dismiss() == "" {
				for i := range d.Runbooks {
					for _, target := range d.Runbooks[i].Called(call) {
						concerned = true
						all[path][d.Runbooks[i].ID] = append(all[path][d.Runbooks[i].ID], target.String())
					}
				}
			}
			if f, ok := e.Detail.(*event.Finding); ok {
				concerned = slices.ContainsFunc(d.Runbooks, func(r control.Runbook) bool { return len(r.Answers(f)) > 0 })
			}
			if concerned && !slices.ContainsFunc(d.Rules(), func(r control.Rule) bool { return r.Pattern.Matcher().Match(e) }) {
				t.Errorf("%s concerns domain %s, but none of its rules brings it", path, d.Name)
			}
		}
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("read %d sample events: %v", len(all), err)
	}
	wantGolden(t, "targets", all)
}

func TestCreatedBucketIsLookedForInItsOwnRegion(t *testing.T) {
	const sample = "cloudtrail/s3-create-bucket.json"
	data, err := os.ReadFile(filepath.Join(samples, sample))
	if err != nil {
		t.Fatal(err)
	}
	const constraint = `"LocationConstraint": "eu-west-1",`
	if !strings.Contains(string(data), constraint) {
		t.Fatalf("%s has no %s", sample, constraint)
	}
	all := controls.All()
	i := slices.IndexFunc(all, func(c control.Control) bool { return c.ID == "s3-bucket-public-access" })
	for _, tt := range []struct{ name, constraint, region string }{
		{"another Region", `"LocationConstraint": "eu-central-1",`, "eu-central-1"},
		{"the old name of eu-west-1", `"LocationConstraint": "EU",`, "eu-west-1"},
		{"none: the Region of the call", "", "us-east-1"},
		{"empty: the Region of the call", `"LocationConstraint": "",`, "us-east-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := event.Decode([]byte(strings.Replace(string(data), constraint, tt.constraint, 1)))
			if err != nil {
				t.Fatal(err)
			}
			want := []control.Target{{Account: "222222222222", Region: tt.region, Type: "AWS::S3::Bucket", ID: "example-created"}}
			if diff := cmp.Diff(want, all[i].Targets(e)); diff != "" {
				t.Errorf("targets differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBucketOfAnotherAccountIsForeign(t *testing.T) {
	e := decode(t, "cloudtrail/s3-put-bucket-acl-other-account.json")
	found := 0
	for _, c := range controls.All() {
		for _, target := range c.Targets(e) {
			found++
			if target.Account != "333333333333" || target.Foreign(e) == "" {
				t.Errorf("control %s takes %s for the event's own", c.ID, target)
			}
		}
	}
	if found == 0 {
		t.Error("no control finds a target")
	}
}

package controls_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/event"
)

// AWS's own event-ruler is the oracle: what our matcher says of the rules that
// are deployed and the events that are shown, EventBridge must say too.
func TestGeneratedRulesMatchAsEventBridgeDoes(t *testing.T) {
	ruler, err := local.StartRuler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ruler.Close)
	c := local.Comparison{Variations: 3000, Seed: 1}
	for _, d := range controls.Domains() {
		for _, r := range d.Rules() {
			c.Patterns = append(c.Patterns, r.Pattern)
		}
	}
	err = filepath.WalkDir(filepath.Join(local.Root(), "events"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		c.Events = append(c.Events, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tally, differ, err := ruler.Compare(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differ {
		t.Error(d)
	}
	t.Logf("%+v", tally)
}

// An event that a control would look at must be brought by a rule, else the
// control never sees it.
func TestEveryEventWithATargetIsBroughtByARule(t *testing.T) {
	err := filepath.WalkDir(filepath.Join(local.Root(), "events"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		e, err := event.Decode(data)
		if err != nil {
			return err
		}
		for _, d := range controls.Domains() {
			brought := false
			for _, r := range d.Rules() {
				brought = brought || r.Pattern.Matcher().Match(e)
			}
			for i := range d.Controls {
				if n := len(d.Controls[i].Targets(e)); n > 0 && !brought {
					t.Errorf("%s: %d targets of %s, but no rule of %s brings the event", path, n, d.Controls[i].ID, d.Name)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

package controls_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/controls"
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

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
)

func TestCommittedPagesAreWhatIsComputed(t *testing.T) {
	d, err := count(local.Root())
	must(t, err)
	for _, p := range pages {
		want, err := p.render(d)
		must(t, err)
		got, err := os.ReadFile(filepath.Join(local.Root(), "docs", p.file))
		if err != nil {
			t.Fatalf("%v: run `go generate ./internal/cost`", err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
			t.Errorf("docs/%s is not what is computed: run `go generate ./internal/cost` and look at the difference:\n%s", p.file, diff)
		}
	}
}

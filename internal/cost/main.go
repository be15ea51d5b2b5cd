// Command cost writes docs/cost.md and docs/scale.md: what Snapback costs a
// month, and which limit of AWS it meets first. Prices and limits are typed here,
// with their sources; everything else is counted in the controls, the templates
// and the sample events, or measured by a test of this package.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/snapback-aws/snapback/internal/local"
)

//go:generate go run .

func main() {
	if err := write(local.Root()); err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
}

// write renders the pages of a checkout.
func write(root string) error {
	d, err := count(root)
	if err != nil {
		return err
	}
	for _, p := range pages {
		text, err := p.render(d)
		if err != nil {
			return fmt.Errorf("render %s: %w", p.file, err)
		}
		if err := os.WriteFile(filepath.Join(root, "docs", p.file), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

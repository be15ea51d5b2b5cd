// Command docs writes what of the folder docs is generated: the pages on
// controls, runbooks, event patterns and permissions, the ledger's table, and the
// alerts that the page on operations shows.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/controls"
)

func main() {
	if err := write(filepath.Join(local.Root(), "docs")); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func write(folder string) error {
	for _, p := range pages {
		text, err := p.render(controls.Domains())
		if err != nil {
			return fmt.Errorf("render %s: %w", p.file, err)
		}
		if err := os.WriteFile(filepath.Join(folder, p.file), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/internal/local"
)

var (
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	linked  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are those that GitHub makes of the headings of a page.
func anchors(page string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		text := strings.ToLower(linked.ReplaceAllString(h[1], "$1"))
		all[strings.ReplaceAll(dropped.ReplaceAllString(text, ""), " ", "-")] = true
	}
	return all
}

// A link in the docs leads to a file that is there, and to a heading that it has.
func TestLinksOfTheDocsLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(local.Root(), "docs", "*.md"))
	must(t, err)
	for _, page := range append(pages, filepath.Join(local.Root(), "README.md")) {
		text, err := os.ReadFile(page)
		must(t, err)
		for _, l := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(l[1], "://") || strings.HasPrefix(l[1], "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(l[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			there, err := os.Stat(target)
			if err != nil {
				t.Errorf("%s: %s leads to no file", filepath.Base(page), l[1])
				continue
			}
			if anchor == "" || there.IsDir() {
				continue
			}
			to, err := os.ReadFile(target)
			must(t, err)
			if !anchors(string(to))[anchor] {
				t.Errorf("%s: %s has no heading #%s", filepath.Base(page), filepath.Base(target), anchor)
			}
		}
	}
}

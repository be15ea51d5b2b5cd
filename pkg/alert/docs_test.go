package alert_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/control"
)

// docs is docs/alerts.md.
func docs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks returns the texts of the code blocks of a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	var texts []string
	for _, part := range strings.Split(docs(t), "\n```"+language+"\n")[1:] {
		text, _, _ := strings.Cut(part, "```\n")
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		t.Fatalf("docs/alerts.md has no block of %s", language)
	}
	return texts
}

func golden(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExamplesInTheDocsAreReal(t *testing.T) {
	for language, files := range map[string][]string{"json": {"remediated.json"}, "text": {"remediated.txt", "tug-of-war.txt", "threat-partly-contained.txt"}} {
		var want []string
		for _, file := range files {
			want = append(want, golden(t, file))
		}
		if diff := cmp.Diff(want, blocks(t, language)); diff != "" {
			t.Errorf("docs/alerts.md differs from testdata/%s (-real +docs):\n%s", files, diff)
		}
	}
}

// TestPagesThatAlertsNameExist follows the links into docs/alerts.md; those into
// docs/controls.md and docs/runbooks.md are made of the IDs of controls and
// runbooks, as their headings are.
func TestPagesThatAlertsNameExist(t *testing.T) {
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(docs(t), -1) {
		headings[strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")] = true
	}
	for name, a := range alerts() {
		of := "/docs/controls.md#"
		if len(a.Findings) > 0 {
			of = "/docs/runbooks.md#"
		}
		_, rest, _ := strings.Cut(a.Text(), "\nDocs      ")
		page, _, _ := strings.Cut(rest, "\n")
		if _, heading, ok := strings.Cut(page, "/docs/alerts.md#"); ok && !headings[heading] {
			t.Errorf("%s names the heading %s, which docs/alerts.md lacks", name, heading)
		} else if !ok && !strings.HasSuffix(page, of+a.Control) {
			t.Errorf("%s names the page %s", name, page)
		}
	}
}

// rows are the first cells, in backticks, of the table with the given heading,
// with the rest of their rows.
func rows(t *testing.T, heading string) map[string]string {
	t.Helper()
	_, table, ok := strings.Cut(docs(t), "\n| "+heading+" |")
	if !ok {
		t.Fatalf("docs/alerts.md has no table of %s", heading)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|(.*)$").FindAllStringSubmatch(table, -1) {
		rows[m[1]] = m[2]
	}
	return rows
}

// fields adds the paths of a type's JSON fields; true for those that may be missing.
func fields(t reflect.Type, prefix string, to map[string]bool) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		path := prefix + name
		to[path] = strings.Contains(options, "omitempty")
		typ := f.Type
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		switch {
		case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct:
			fields(typ.Elem(), path+"[].", to)
		case typ.Kind() == reflect.Struct && typ.PkgPath() != "time":
			fields(typ, path+".", to)
		}
	}
}

func TestEveryFieldIsDocumented(t *testing.T) {
	want := map[string]bool{}
	fields(reflect.TypeFor[alert.Alert](), "", want)
	got := map[string]bool{}
	for path, rest := range rows(t, "field") {
		got[path] = strings.Contains(rest, ", optional |")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields and whether they may be missing differ (-code +docs):\n%s", diff)
	}
}

func TestEveryAttributeIsDocumented(t *testing.T) {
	p, err := publish(t, published(control.Remediated, nil), http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	documented := slices.Sorted(maps.Keys(rows(t, "attribute")))
	if diff := cmp.Diff(slices.Sorted(maps.Keys(p.attributes)), documented); diff != "" {
		t.Errorf("attributes differ (-sent +docs):\n%s", diff)
	}
	var outcomes []string
	for _, a := range alerts() {
		outcomes = append(outcomes, string(a.Outcome))
	}
	for _, block := range blocks(t, "filter-policy") {
		var policy map[string][]string
		if err := json.Unmarshal([]byte(block), &policy); err != nil {
			t.Fatal(err)
		}
		for name, values := range policy {
			for _, v := range values {
				if !slices.Contains(documented, name) || name == "outcome" && !slices.Contains(outcomes, v) {
					t.Errorf("a filter policy chooses %s %s, which no message carries", name, v)
				}
			}
		}
	}
}

func TestEveryOutcomeThatAlertsIsDocumented(t *testing.T) {
	var want []string
	for _, a := range alerts() {
		want = append(want, string(a.Outcome))
	}
	slices.Sort(want)
	if diff := cmp.Diff(slices.Compact(want), slices.Sorted(maps.Keys(rows(t, "outcome")))); diff != "" {
		t.Errorf("outcomes differ (-sent +docs):\n%s", diff)
	}
}

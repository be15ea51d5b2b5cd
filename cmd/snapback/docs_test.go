package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// sections are the parts of docs/cli.md by their headings, which for commands
// are their names.
func sections(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(local.Root(), "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, part := range regexp.MustCompile(`(?m)^##+ `).Split(string(text), -1) {
		heading, body, _ := strings.Cut(part, "\n")
		all[heading] = body
	}
	return all
}

func TestDocsHaveEveryCommandAndFlag(t *testing.T) {
	docs := sections(t)
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			visit(c)
		}
		section, ok := docs[cmd.CommandPath()]
		if !ok && cmd.HasSubCommands() { // alone it shows its help
			return
		}
		if !ok {
			t.Errorf("docs/cli.md has no section %q", cmd.CommandPath())
		}
		flag := func(f *pflag.Flag) {
			if !strings.Contains(section+docs["In every command"], "`--"+f.Name) {
				t.Errorf("docs/cli.md: section %q lacks the flag --%s", cmd.CommandPath(), f.Name)
			}
		}
		cmd.LocalFlags().VisitAll(flag)
		cmd.InheritedFlags().VisitAll(flag)
	}
	visit(newRoot())
}

func TestDocsHaveEveryField(t *testing.T) {
	docs := sections(t)
	for section, of := range map[string]any{
		"snapback run":             handled{},
		"snapback replay":          record{},
		"snapback explain":         controlInfo{},
		"snapback baseline check":  problem{},
		"snapback policy check":    policyVerdict{},
		"snapback cases show":      story{},
		"snapback drill":           site{},
		"snapback drill guardduty": sampled{},
		"Answers":                  engine.Answer{},
		"Callers":                  ledger.Caller{},
		"Changes":                  alert.Change{},
		"Targets":                  control.Target{},
		"Actors":                   event.Actor{},
	} {
		for _, field := range fields(reflect.TypeOf(of)) {
			if !strings.Contains(docs[section], "`"+field+"`") {
				t.Errorf("docs/cli.md: section %q lacks the field %s", section, field)
			}
		}
	}
}

// fields are the paths of the fields of a type's JSON. Types that are part of
// several have a section of their own.
func fields(t reflect.Type) []string {
	var paths []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		suffix := "."
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			if inner.Kind() == reflect.Slice {
				suffix = "[]."
			}
			inner = inner.Elem()
		}
		apart := []reflect.Type{
			reflect.TypeFor[control.Target](), reflect.TypeFor[event.Actor](), reflect.TypeFor[time.Time](),
			reflect.TypeFor[event.Issuer](), reflect.TypeFor[event.IdentityCenterUser](),
			reflect.TypeFor[ledger.Case](), reflect.TypeFor[ledger.Caller](), reflect.TypeFor[ledger.Exemption](),
			reflect.TypeFor[alert.Change](),
		}
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous: // its fields are those of the type
			paths = append(paths, fields(inner)...)
		case inner.Kind() == reflect.Struct && !slices.Contains(apart, inner):
			for _, path := range fields(inner) {
				paths = append(paths, name+suffix+path)
			}
		default:
			paths = append(paths, name)
		}
	}
	return paths
}

var example = regexp.MustCompile("(?s)```console\n\\$ (.*?)\n.*?```")

// Every example in the docs is one of the scripts: a command that it runs, and
// what it compares the output with.
func TestExamplesInTheDocsAreThoseOfTheScripts(t *testing.T) {
	file := filepath.Join(local.Root(), "docs", "cli.md")
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	printed := outputs(t)
	want := example.ReplaceAllStringFunc(string(got), func(text string) string {
		command := example.FindStringSubmatch(text)[1]
		output, ok := printed[command]
		if !ok {
			t.Errorf("no script runs this and compares its output: %s", command)
		}
		return "```console\n$ " + command + "\n" + output + "```"
	})
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/cli.md has other examples than the scripts: run `go test ./cmd/snapback -update`\n%s", diff)
	}
}

// outputs are what the commands of all scripts print, as far as it is compared
// with a file of the script; of a command that is run again, what it prints the
// first time.
func outputs(t *testing.T) map[string]string {
	t.Helper()
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, script := range scripts {
		archive, err := txtar.ParseFile(script)
		if err != nil {
			t.Fatal(err)
		}
		command := ""
		for line := range strings.Lines(strings.ReplaceAll(string(archive.Comment), "$CASE", "20261122-7k3m9x2q")) {
			line = strings.TrimSpace(line)
			if i := strings.Index(line, "snapback "); i > 0 && (strings.HasPrefix(line, "exec ") || strings.HasPrefix(line, "exits ")) {
				command = line[i:]
			}
			if name, ok := strings.CutPrefix(line, "cmp stdout "); ok {
				i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == name })
				if _, before := all[command]; i >= 0 && !before {
					all[command] = string(archive.Files[i].Data)
				}
			}
		}
	}
	return all
}

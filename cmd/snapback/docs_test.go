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

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/snapback-aws/snapback/internal/local"
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
		if !cmd.HasParent() || cmd.HasSubCommands() {
			return
		}
		section, ok := docs[cmd.CommandPath()]
		if !ok {
			t.Errorf("docs/cli.md has no section %q", cmd.CommandPath())
		}
		inherited := func(f *pflag.Flag) {
			if !strings.Contains(section+docs["In every command"], "`--"+f.Name) {
				t.Errorf("docs/cli.md: section %q lacks the flag --%s", cmd.CommandPath(), f.Name)
			}
		}
		cmd.LocalFlags().VisitAll(inherited)
		cmd.InheritedFlags().VisitAll(inherited)
	}
	visit(newRoot())
}

func TestDocsHaveEveryField(t *testing.T) {
	docs := sections(t)
	for section, of := range map[string]any{
		"snapback run":            engine.Result{},
		"snapback replay":         record{},
		"snapback explain":        controlInfo{},
		"snapback baseline check": problem{},
		"snapback cases show":     ledger.Case{},
		"Targets":                 control.Target{},
		"Actors":                  event.Actor{},
	} {
		for _, field := range fields(reflect.TypeOf(of)) {
			if !strings.Contains(docs[section], "`"+field+"`") {
				t.Errorf("docs/cli.md: section %q lacks the field %s", section, field)
			}
		}
	}
}

// fields are the paths of the fields of a type's JSON. Targets and actors have
// a section of their own.
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
		}
		switch {
		case name == "-":
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

// Every example in the docs is one of the scripts: a command that it runs, and
// what it is compared with.
func TestExamplesInTheDocsAreTested(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var tested []string
	for _, file := range scripts {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tested = append(tested, strings.ReplaceAll(string(text), "$CASE", "20261122-7k3m9x2q"))
	}
	docs, err := os.ReadFile(filepath.Join(local.Root(), "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```console\n\\$ (.*?)\n(.*?)```").FindAllStringSubmatch(string(docs), -1)
	if len(examples) == 0 {
		t.Fatal("docs/cli.md has no examples")
	}
	for _, e := range examples {
		command, output := e[1], " --\n"+e[2]
		if !slices.ContainsFunc(tested, func(script string) bool {
			return strings.Contains(script, " "+command+"\n") && (strings.Contains(script, output+"-- ") || strings.HasSuffix(script, output))
		}) {
			t.Errorf("no script runs this and prints that:\n$ %s\n%s", command, e[2])
		}
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// inFolder makes a folder the working directory, as that of the module is, with a
// baseline and the zips that were built with it, and returns the baseline.
func inFolder(t *testing.T) string {
	t.Helper()
	text := baselineOf(t, "smallest")
	t.Chdir(t.TempDir())
	wantWritten(t, defaultBaseline, text)
	if err := os.MkdirAll(zips, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, function := range []string{"storage", deployment.Health} {
		zipped(t, zips, function, text)
	}
	return text
}

func wantWritten(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// noEnvironment is that of somebody who has set nothing.
func noEnvironment(string) string { return "" }

func TestRunSaysWhatIsWrongAndWhatToWrite(t *testing.T) {
	replaced := func(old, by string) func(t *testing.T, text string) {
		return func(t *testing.T, text string) {
			t.Helper()
			if !strings.Contains(text, old) {
				t.Fatalf("the baseline holds no %q", old)
			}
			text = strings.Replace(text, old, by, 1)
			wantWritten(t, defaultBaseline, text)
			for _, function := range []string{"storage", deployment.Health} {
				zipped(t, zips, function, text)
			}
		}
	}
	tests := []struct {
		name   string
		breaks func(t *testing.T, text string)
		want   string
	}{
		{
			"no baseline", func(t *testing.T, _ string) {
				t.Helper()
				if err := os.Remove(defaultBaseline); err != nil {
					t.Fatal(err)
				}
			},
			"read the baseline: open baseline.yaml: no such file or directory",
		},
		{
			"a mode that there is not", replaced("mode: observe}", "mode: obsrve}"),
			`baseline.yaml:12:35: mode is "obsrve": did you mean "observe"?`,
		},
		{
			"no root, no management account", func(t *testing.T, text string) {
				t.Helper()
				text = strings.Replace(text, "  root: r-ab12\n", "", 1)
				replaced("  management: \"000000000000\"\n", "")(t, text)
			},
			"baseline.yaml:4: organization lacks root: write root: r-ab12, which `aws organizations list-roots` shows as Id\n" +
				"baseline.yaml:4: organization lacks management: write the management account's number in quotes, as in " +
				"management: \"000000000000\", which `aws organizations describe-organization` shows as MasterAccountId",
		},
		{
			"a hub in a Region that is not governed", replaced("region: us-east-1", "region: eu-west-1"),
			"baseline.yaml:4: organization.regions lacks eu-west-1: add it, because the hub is there, and the roles of each account come with the rules of the hub's Region",
		},
		{
			"everything is off", replaced("mode: observe}", `mode: "off"}`),
			"baseline.yaml:4: every control and runbook is off, so there is nothing to deploy: give one another mode",
		},
		{
			"a function that was not built", func(t *testing.T, _ string) {
				t.Helper()
				if err := os.Remove(filepath.Join(zips, "storage.zip")); err != nil {
					t.Fatal(err)
				}
			},
			"build/arm64/storage.zip is missing: run `make build`",
		},
		{
			"functions that were built with another baseline", func(t *testing.T, text string) {
				t.Helper()
				wantWritten(t, defaultBaseline, text+"# a word more\n")
			},
			"build/arm64/storage.zip carries another baseline than baseline.yaml: run `make build` again\n" +
				"build/arm64/health.zip carries another baseline than baseline.yaml: run `make build` again",
		},
		{
			"half a zip", func(t *testing.T, _ string) {
				t.Helper()
				wantWritten(t, filepath.Join(zips, "health.zip"), "PK")
			},
			"build/arm64/health.zip can't be read: zip: not a valid zip file: run `make build` again",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.breaks(t, inFolder(t))
			err := run(noEnvironment, io.Discard, io.Discard)
			if err == nil {
				t.Fatal("nothing is wrong")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestGuardrailsThatAreTooLongAreReportedBeforeAnythingIsMade(t *testing.T) {
	var principals []string
	for i := range 200 {
		principals = append(principals, fmt.Sprintf(`"arn:aws:iam::*:role/break-glass-%d"`, i))
	}
	text := inFolder(t) + "deployment: {guardrails: {targets: [r-ab12], break-glass: [" + strings.Join(principals, ", ") + "]}}\n"
	wantWritten(t, defaultBaseline, text)
	for _, function := range []string{"storage", deployment.Health} {
		zipped(t, zips, function, text)
	}
	err := run(noEnvironment, io.Discard, io.Discard)
	if want := "baseline.yaml:13: deployment.guardrails: "; err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is %v, want one that begins with %s", err, want)
	}
}

func TestAWarningDoesNotStopTheDeployment(t *testing.T) {
	text := strings.Replace(inFolder(t), "reviewed: 2026-11-22", "reviewed: 2024-01-01", 1)
	wantWritten(t, "old.yaml", text)
	for _, function := range []string{"storage", deployment.Health} {
		zipped(t, zips, function, text)
	}
	var warnings bytes.Buffer
	in, err := read(func(name string) string {
		return map[string]string{"SNAPBACK_BASELINE": "old.yaml", "SNAPBACK_VERSION": "v1.2.3", "CDK_OUTDIR": "elsewhere"}[name]
	}, &warnings)
	if err != nil {
		t.Fatal(err)
	}
	want := "old.yaml:3:11: warning: the last review is older than six months: read the file again and write today's date\n"
	if diff := cmp.Diff(want, warnings.String()); diff != "" {
		t.Errorf("warnings (-want +got)\n%s", diff)
	}
	if in.version != "v1.2.3" || in.out != "elsewhere" || in.baseline.File != "old.yaml" {
		t.Errorf("version %q, folder %q, baseline %q", in.version, in.out, in.baseline.File)
	}
}

// Whoever has made the templates is told where each is and goes.
func TestTheTemplatesThatWereMadeAreListed(t *testing.T) {
	text := baselineOf(t, "everything")
	in := inputOf(t, text, controls.Domains())
	in.out = synthesized(t, text)
	var told bytes.Buffer
	if err := in.tell(&told); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(told.String(), in.out, "build/cdk")) {
		lines = append(lines, regexp.MustCompile(`[0-9]+ bytes`).ReplaceAllString(strings.Join(strings.Fields(line), " "), "N bytes"))
	}
	want := []string{
		"build/cdk holds the templates of Snapback v0.0.0 with baseline " + in.baseline.Digest[:12] + ":",
		"snapback-ledger.template.json N bytes for 111111111111 us-east-1",
		"snapback-hub.template.json N bytes for 111111111111 us-east-1",
		"member/snapback-member.template.json N bytes for every account of r-ab12, us-east-1 eu-west-1 ap-southeast-2",
		"snapback-member-us-east-1.template.json N bytes for 000000000000 us-east-1",
		"snapback-member-eu-west-1.template.json N bytes for 000000000000 eu-west-1",
		"snapback-member-ap-southeast-2.template.json N bytes for 000000000000 ap-southeast-2",
		"snapback-guardrails.template.json N bytes for 000000000000 us-east-1",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What CDK does not take it throws, in a process of its own, with a trace. The error
// says all of it in a line.
func TestWhatCDKThrowsIsOneLine(t *testing.T) {
	in := inputOf(t, baselineOf(t, "smallest"), controls.Domains())
	in.out = t.TempDir()
	if err := os.Remove(in.zip("storage")); err != nil {
		t.Fatal(err)
	}
	err := synth(in)
	if err == nil {
		t.Fatal("a function without code is made a template of")
	}
	if got := err.Error(); !strings.HasPrefix(got, "make the templates: ") || !strings.Contains(got, in.zip("storage")) || strings.Contains(got, "\n") {
		t.Errorf("the error is %q", got)
	}
}

// stacks are the stacks of a cloud assembly as the CDK command line deploys them.
func stacks(t *testing.T, folder string) map[string]stack {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct{ Artifacts map[string]stack }
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	all := map[string]stack{}
	for name, s := range manifest.Artifacts {
		if s.Type == "aws:cloudformation:stack" {
			all[name] = s
		}
	}
	return all
}

type stack struct {
	Type, Environment string
	Dependencies      []string
	Properties        struct{ TerminationProtection bool }
}

func TestStacksGoWhereAndWhenTheyShould(t *testing.T) {
	const hub, management = "aws://111111111111/us-east-1", "aws://000000000000/"
	all := stacks(t, synthesized(t, baselineOf(t, "everything")))
	for name, want := range map[string]struct {
		environment, after string
		protected          bool
	}{
		deployment.LedgerStack:                  {hub, "", true},
		deployment.HubStack:                     {hub, deployment.LedgerStack, false},
		deployment.StackSet + "-us-east-1":      {management + "us-east-1", "", false},
		deployment.StackSet + "-eu-west-1":      {management + "eu-west-1", "", false},
		deployment.StackSet + "-ap-southeast-2": {management + "ap-southeast-2", "", false},
	} {
		s, ok := all[name]
		if !ok {
			t.Errorf("there is no stack %s", name)
			continue
		}
		if s.Environment != want.environment || s.Properties.TerminationProtection != want.protected {
			t.Errorf("%s is for %s, protected from its end: %v", name, s.Environment, s.Properties.TerminationProtection)
		}
		if want.after != "" && !slices.Contains(s.Dependencies, want.after) {
			t.Errorf("%s waits for %v, not for %s", name, s.Dependencies, want.after)
		}
	}
}

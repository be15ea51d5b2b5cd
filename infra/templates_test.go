package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// baselines are those whose templates are shown in testdata.
var baselines = []string{"smallest", "typical", "everything"}

// baselineOf returns the text of one of the baselines. The typical one is that
// which is shipped.
func baselineOf(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("testdata", name, "baseline.yaml")
	if name == "typical" {
		path = filepath.Join("..", "baseline.yaml")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// template is a CloudFormation template.
type template struct {
	text       []byte
	Conditions map[string]any
	Resources  map[string]resource
}

// resource is a resource of a template.
type resource struct {
	Type, Condition string
	Properties      map[string]any
}

// readTemplate returns the template of a file.
func readTemplate(t *testing.T, path string) template {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	made := template{text: text}
	if err := json.Unmarshal(text, &made); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return made
}

// assembly is the folder of the templates of a baseline. Where they are made here,
// it logs how long that took.
func assembly(t *testing.T, text string) string {
	t.Helper()
	start := time.Now()
	folder := synthesized(t, text)
	if took := time.Since(start); took > 200*time.Millisecond {
		t.Logf("synthesized %d templates within %v", len(templatesIn(t, folder)), took.Round(time.Millisecond))
	}
	return folder
}

// templatesOf returns every template of a baseline by the name of its stack, that
// of the stacks which the StackSet makes as "member".
func templatesOf(t *testing.T, text string) map[string]template {
	t.Helper()
	return templatesIn(t, assembly(t, text))
}

func templatesIn(t *testing.T, folder string) map[string]template {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.template.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are %d templates in %s: %v", len(paths), folder, err)
	}
	all := map[string]template{"member": readTemplate(t, filepath.Join(folder, "member", deployment.StackSet+".template.json"))}
	for _, path := range paths {
		all[strings.TrimSuffix(filepath.Base(path), ".template.json")] = readTemplate(t, path)
	}
	return all
}

func TestTemplatesAreAsWritten(t *testing.T) {
	for _, name := range baselines {
		t.Run(name, func(t *testing.T) {
			all := templatesOf(t, baselineOf(t, name))
			for file, stack := range map[string]string{
				"ledger": deployment.LedgerStack, "hub": deployment.HubStack, "member": "member", "guardrails": deployment.Guardrails,
			} {
				made, ok := all[stack]
				if !ok && file == "guardrails" && name != "everything" {
					continue // they are deployed only if the baseline has them
				}
				wantGolden(t, filepath.Join("testdata", name, file+".json"), made.text)
			}
		})
	}
}

// changing are the parts of a template that change with every change of the
// functions, the baseline or the member's template: digests, and what is named
// after them.
var (
	hash         = regexp.MustCompile(`[0-9a-f]{64}`)
	memberDigest = regexp.MustCompile(`(Snapback member template |"SNAPBACK_MEMBER":\s*")[0-9a-f]{12}`)
)

// wantGolden holds a template to a golden file, which is indented, and has words
// in the place of digests.
func wantGolden(t *testing.T, golden string, text []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, bytes.TrimSpace(text), "", "  "); err != nil {
		t.Fatalf("%s: %v", golden, err)
	}
	indented.WriteByte('\n')
	got := memberDigest.ReplaceAll(hash.ReplaceAll(indented.Bytes(), []byte("HASH")), []byte("${1}DIGEST"))
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the template differs from %s (-want +got); go test -update rewrites it:\n%s", golden, diff)
	}
}

// What is deployed can be compared with what is in the repository only if the
// same input gives the same bytes.
func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	text := baselineOf(t, "everything")
	in := inputOf(t, text, controls.Domains())
	in.out = t.TempDir()
	if err := synth(in); err != nil {
		t.Fatal(err)
	}
	first, again := filesIn(t, synthesized(t, text)), filesIn(t, in.out)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("two assemblies differ (-first +again):\n%s", diff)
	}
}

// filesIn returns the contents of all files of a folder.
func filesIn(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(folder, path))
		files[path] = string(data)
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("read %d files of %s: %v", len(files), folder, err)
	}
	return files
}

// Nothing of a control is written in infra: one more control, made up here, is
// watched, evaluated and answered once it is in a list.
func TestOneMoreControlNeedsNothingOfInfra(t *testing.T) {
	text := baselineOf(t, "smallest") + "  sqs-queue-policy: {mode: enforce}\n"
	before := templatesOf(t, baselineOf(t, "smallest"))
	domains := append(controls.Domains(), control.Domain{Name: "mail", Controls: []control.Control{queueControl()}})
	after := templatesIn(t, synthesizedFrom(t, "one more control", text, domains))

	added := func(stack, kind, property string) []string {
		var names []string
		for id, r := range after[stack].Resources {
			if _, had := before[stack].Resources[id]; r.Type == kind && !had {
				names = append(names, fmt.Sprint(r.Properties[property]))
			}
		}
		slices.Sort(names)
		return names
	}
	for _, want := range []struct {
		stack, kind, property string
		names                 []string
	}{
		{"member", "AWS::Events::Rule", "Name", []string{"snapback-sqs"}},
		{"member", "AWS::IAM::Role", "RoleName", []string{"snapback-mail"}},
		{"member", "AWS::IAM::ManagedPolicy", "ManagedPolicyName", []string{"snapback-mail-evaluate", "snapback-mail-protect", "snapback-mail-remediate"}},
		{deployment.HubStack, "AWS::Events::Rule", "Name", []string{"snapback-mail-config", "snapback-mail-drill", "snapback-mail-sqs"}},
		{deployment.HubStack, "AWS::Lambda::Function", "FunctionName", []string{"snapback-mail"}},
		{deployment.HubStack, "AWS::SQS::Queue", "QueueName", []string{"snapback-mail", "snapback-mail-dead"}},
		{deployment.HubStack, "AWS::IAM::Role", "RoleName", []string{"snapback-function-mail"}},
	} {
		if diff := cmp.Diff(want.names, added(want.stack, want.kind, want.property)); diff != "" {
			t.Errorf("%s: what was added of %s differs (-want +got):\n%s", want.stack, want.kind, diff)
		}
	}
	for action, policy := range map[string]string{
		"sqs:GetQueueAttributes": "snapback-mail-evaluate", "sqs:SetQueueAttributes": "snapback-mail-remediate",
	} {
		for _, r := range after["member"].Resources {
			if r.Properties["ManagedPolicyName"] == policy && !strings.Contains(encoded(t, r.Properties), action) {
				t.Errorf("%s does not allow %s", policy, action)
			}
		}
	}
	if pattern := patternsIn(t, after["member"], anAccount)["snapback-sqs"]; !strings.Contains(pattern, "SetQueueAttributes") {
		t.Errorf("the new rule does not send what the control is triggered by: %s", pattern)
	}
}

// queueControl is a control that does not exist.
func queueControl() control.Control {
	on := func(call, action string) []control.Permission {
		return []control.Permission{{Call: "SQS." + call, Action: "sqs:" + action, Resource: "arn:${Partition}:sqs:${Region}:${Account}:*"}}
	}
	return control.Control{
		ID: "sqs-queue-policy", Title: "Queues take messages of their own account alone", Severity: control.High,
		Resource: control.Resource{
			Type: "AWS::SQS::Queue",
			ARN:  func(t control.Target) string { return "arn:aws:sqs:" + t.Region + ":" + t.Account + ":" + t.ID },
			IDs:  regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`),
		},
		Triggers: []control.Trigger{{Source: "sqs.amazonaws.com", Names: []string{"SetQueueAttributes"}}},
		Remedy: control.Remedy{
			Name:  "restrict-queue-policy",
			Plan:  func(context.Context, *cloud.Session, control.Target) (*control.Change, error) { return nil, nil },
			Apply: func(context.Context, *cloud.Session, control.Change) error { return nil },
			Undo:  func(context.Context, *cloud.Session, control.Change) error { return nil },
			Permissions: control.Permissions{
				Plan:  on("GetQueueAttributes", "GetQueueAttributes"),
				Apply: on("SetQueueAttributes", "SetQueueAttributes"), Undo: on("SetQueueAttributes", "SetQueueAttributes"),
			},
		},
	}
}

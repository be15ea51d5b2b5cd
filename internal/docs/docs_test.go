package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

func TestCommittedPagesAreWhatTheControlsSay(t *testing.T) {
	for _, p := range pages {
		want, err := p.render(controls.Domains())
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(local.Root(), "docs", p.file))
		if err != nil {
			t.Fatalf("%v: run `go run ./internal/docs`", err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
			t.Errorf("docs/%s is not what the controls say: run `go run ./internal/docs` and look at the difference:\n%s", p.file, diff)
		}
	}
}

// Alerts link to docs/controls.md#<ID>: GitHub makes the anchor of a heading
// from its text, which must be the ID alone.
func TestEveryControlHasItsAnchor(t *testing.T) {
	text, err := pages[0].render(controls.Domains())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range controls.All() {
		if n := strings.Count(string(text), "\n## "+c.ID+"\n"); n != 1 {
			t.Errorf("%d headings %q, want one", n, c.ID)
		}
	}
}

// Alerts link to docs/runbooks.md#<ID>.
func TestEveryRunbookHasItsAnchorAndEveryFindingTypeItsRow(t *testing.T) {
	text, err := pages[1].render(controls.Domains())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runbooks.All() {
		if n := strings.Count(string(text), "\n## "+r.ID+"\n"); n != 1 {
			t.Errorf("%d headings %q, want one", n, r.ID)
		}
	}
	for _, ft := range runbooks.FindingTypes() {
		if n := strings.Count(string(text), "\n| `"+ft.Name+"` | "); n != 1 {
			t.Errorf("%d rows of %s, want one", n, ft.Name)
		}
	}
	for _, want := range []string{
		"| `CryptoCurrency:EC2/BitcoinTool.B` | [ec2-quarantine](#ec2-quarantine) | ec2-quarantine: if its resource is an instance itself |",
		"| `UnauthorizedAccess:EC2/SSHBruteForce` | [ec2-quarantine](#ec2-quarantine), [ec2-attacked](#ec2-attacked), [ec2-attacked-ingress](#ec2-attacked-ingress) |",
		"| `CryptoCurrency:EC2/BitcoinTool.A` | told | AWS has retired this type",
		"- `take-out-of-service`, after `preserve-instance`. Change: can be undone.", "untrack-connections: true",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// An auditor reads the page instead of the templates: nothing is granted that it
// does not tell of, and its links lead somewhere.
func TestPermissionsPageTellsOfEveryGrant(t *testing.T) {
	data, err := permissions(controls.Domains())
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	b := &baseline.Baseline{Mode: baseline.Enforce, Runbooks: []baseline.Setting{{Name: "*", Mode: baseline.Enforce}}}
	for _, d := range deployment.On(controls.Domains(), b) {
		_, section, _ := strings.Cut(text, "\n## "+deployment.MemberRole(d.Name)+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		for _, g := range deployment.Grants(d, b) {
			row := "\n| `" + g.Action + "` | `" + g.Resource + "` | "
			if strings.Count(section, row) != 1 {
				t.Errorf("%s: %d rows%s, want one", d.Name, strings.Count(section, row), row)
			}
			for _, n := range g.Needs {
				if !strings.Contains(section, "["+n.ID+"](") {
					t.Errorf("%s: %s is not named", d.Name, n.ID)
				}
			}
		}
	}
	for _, link := range regexp.MustCompile(`\]\(#([a-z-]+)\)`).FindAllStringSubmatch(text, -1) {
		heading := regexp.MustCompile(`(?im)^## ` + strings.ReplaceAll(link[1], "-", "[- ]") + `$`)
		if !heading.MatchString(text) {
			t.Errorf("the page links to #%s, which is no heading of it", link[1])
		}
	}
	for _, want := range []string{
		"| `s3:PutBucketPublicAccessBlock` | `arn:${Partition}:s3:::*` | remediate |  | [s3-bucket-public-access](controls.md#s3-bucket-public-access): Apply, Undo |",
		"| identity | [`snapback-function-identity`](#function-roles) | [`snapback-identity`](#snapback-identity) | may change something |",
		"| storage | [`snapback-function-storage`](#function-roles) | [`snapback-storage`](#snapback-storage) | only reads |",
		"| `s3:PutAccountPublicAccessBlock` | There is one such setting in an account. | `snapback-storage` |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestControlThatOnlyReportsSaysSo(t *testing.T) {
	type params struct {
		MaxAgeDays int `yaml:"max-age-days"`
	}
	text, err := pages[0].render([]control.Domain{{Name: "identity", Controls: []control.Control{{
		ID: "iam-key-age", Title: "Keys are young | or gone", Resource: control.Resource{Type: "AWS::IAM::User"}, Params: &params{90},
		Remedy: control.Remedy{Permissions: control.Permissions{
			Plan: []control.Permission{{Call: "IAM.ListAccessKeys", Action: "iam:ListAccessKeys", Resource: "*"}},
		}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`| Keys are young \| or gone |`, "| Change | nothing: it only reports |", "```yaml\nmax-age-days: 90\n```",
		"| Plan | `iam:ListAccessKeys` | `*` | `IAM.ListAccessKeys` |",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "What the change may break") || strings.Contains(string(text), "| Apply |") {
		t.Errorf("the page tells of a change:\n%s", text)
	}
}

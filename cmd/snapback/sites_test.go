package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/health"
)

// manySites are so many accounts in so many Regions, with nothing wrong.
func manySites(accounts, regions int) []health.Site {
	var all []health.Site
	for a := range accounts {
		for r := range regions {
			all = append(all, health.Site{Account: fmt.Sprintf("%012d", a+1), Region: fmt.Sprintf("eu-central-%d", r+1)})
		}
	}
	return all
}

var siteScenes = map[string]func() []health.Site{
	"fine": func() []health.Site { return manySites(3, 2) },
	"small": func() []health.Site {
		s := manySites(3, 3)
		s[1].Missing = []string{"network", "storage"}
		s[3].Faults = []string{"the rule snapback-s3 is DISABLED", "no trail logs write management events here"}
		s[4].Faults = []string{"no trail logs write management events here"}
		s[5].Faults = []string{"no trail logs write management events here"}
		s[8].Undelivered = 3
		return s[:9]
	},
	"wide": func() []health.Site { // faults in two accounts and three Regions
		s := manySites(1000, 17)
		s[3].Missing = []string{"storage"}
		s[17*500+3].Undelivered = 1
		s[17*500+9].Faults = []string{"assume arn:aws:iam::000000000501:role/snapback-health: \x1b[31mSTS AssumeRole: AccessDenied: " + strings.Repeat("very ", 30) + "long"}
		s[17*500+16].Faults = []string{"the queue snapback-undelivered is missing"}
		return s
	},
	"broken": func() []health.Site { // everything
		s := manySites(60, 9)
		for i := range s {
			s[i].Faults = []string{"the role can't be entered"}
		}
		return s
	},
	"uneven": func() []health.Site { // an account was not looked at in one Region
		return manySites(2, 2)[:3]
	},
}

func TestSitesArePrintedAsATable(t *testing.T) {
	for name, scene := range siteScenes {
		t.Run(name, func(t *testing.T) {
			var doctor, drill bytes.Buffer
			f := sitesFinding(scene())
			f.Check = "members"
			if err := printFinding(&doctor, f); err != nil {
				t.Fatal(err)
			}
			cmd := &cobra.Command{}
			cmd.SetOut(&drill)
			a := health.Answer{Verdict: engine.NotSo, Drill: "20261122-7k3m9x2q", Milliseconds: 14210, Sites: scene()}
			if err := printDrill(cmd, a); err != nil {
				t.Fatal(err)
			}
			got := "doctor:\n" + doctor.String() + "\ndrill:\n" + drill.String()
			for line := range strings.Lines(got) {
				if n := len([]rune(line)) - 1; n > columns {
					t.Errorf("a line has %d columns: %s", n, line)
				}
			}
			file := filepath.Join("testdata", "sites", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s: run `go test ./cmd/snapback -update` if it is right\n%s", file, diff)
			}
		})
	}
}

func TestEverySiteIsAFindingOfItsOwn(t *testing.T) {
	f := sitesFinding(siteScenes["small"]())
	f.Check = "members"
	all := siteFindings(f)
	if len(all) != 9 {
		t.Fatalf("%d findings, want 9", len(all))
	}
	want := finding{
		Check: "site", Account: "000000000002", Region: "eu-central-1", Standing: isWrong,
		Found: "the rule snapback-s3 is DISABLED\nno trail logs write management events here", Mend: f.Mend,
	}
	if diff := cmp.Diff(want, all[3], cmp.AllowUnexported(finding{})); diff != "" {
		t.Error(diff)
	}
	want = finding{Check: "site", Account: "000000000001", Region: "eu-central-1", Standing: isOK, Found: "all is as it must be"}
	if diff := cmp.Diff(want, all[0], cmp.AllowUnexported(finding{})); diff != "" {
		t.Error(diff)
	}
}

// What waits undelivered from before is told, and is no missing canary.
func TestADrillFailsWhereACanaryIsMissing(t *testing.T) {
	for _, tt := range []struct {
		name string
		a    health.Answer
		want string
	}{
		{"all back", health.Answer{Verdict: engine.Done, Sites: manySites(2, 1)}, ""},
		{"events of before", health.Answer{Verdict: engine.NotSo, Reason: "not in order", Sites: []health.Site{{}, {Undelivered: 2}}}, ""},
		{"missing", health.Answer{Verdict: engine.NotSo, Reason: "1 of 2 came back", Sites: []health.Site{{Missing: []string{"storage"}}, {Undelivered: 2}}},
			"drill: 1 of 2 came back"},
		{"not sent", health.Answer{Verdict: engine.NotSo, Reason: "none came back", Sites: []health.Site{{Faults: []string{"denied"}}}}, "drill: none came back"},
		{"something else", health.Answer{Verdict: engine.NotSo, Reason: "the ledger can't be read", Sites: manySites(1, 1)}, "drill: the ledger can't be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := &cobra.Command{Use: "drill"}
			(&cobra.Command{Use: "snapback"}).AddCommand(cmd)
			cmd.SetErr(&bytes.Buffer{})
			got := ""
			if err := drillVerdict(cmd, tt.a); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

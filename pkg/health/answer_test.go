package health_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/health"
)

// manySites are those of a thousand accounts in seventeen Regions.
func manySites() []health.Site {
	var sites []health.Site
	for i := range 1000 {
		for _, region := range strings.Fields(seventeen) {
			sites = append(sites, health.Site{Account: fmt.Sprintf("%012d", i), Region: region})
		}
	}
	return sites
}

func TestWhatIsMissingOfManyIsTheDifference(t *testing.T) {
	sites, domains := manySites(), []string{"storage", "identity", "network", "data"}
	came := map[string][][2]string{}
	want := map[string][]string{}
	lost := 0
	for i, s := range sites {
		for j, d := range domains {
			if i%1000 == 500+j || i == 16_999 {
				want[s.Account+" "+s.Region] = append(want[s.Account+" "+s.Region], d)
				lost++
				continue
			}
			came[d] = append(came[d], [2]string{s.Account, s.Region})
		}
		came["storage"] = append(came["storage"], [2]string{"999999999999", s.Region}) // of no site
	}
	after, late := health.Missed(sites, domains, came)
	got := map[string][]string{}
	for _, s := range after {
		if len(s.Missing) > 0 {
			got[s.Account+" "+s.Region] = s.Missing
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || late != len(want) || lost != 4*17+4 || len(after) != 17_000 {
		t.Errorf("late at %d sites of %d, %d lost (-want +got):\n%s", late, len(after), lost, diff)
	}
}

func TestAnswerAboutManyWrongSitesFitsIntoLambdasAnswer(t *testing.T) {
	a := health.Answer{Sites: manySites()}
	why := strings.Repeat("é", 400)
	for i := range a.Sites {
		a.Sites[i].Faults, a.Sites[i].Missing = []string{why, "short"}, []string{"storage", "identity", "network", "data"}
	}
	out, err := json.Marshal(health.Fitting(a))
	must(t, err)
	if len(out) > 6_000_000 || len(a.Sites) != 17_000 {
		t.Errorf("%d bytes about %d sites", len(out), len(a.Sites))
	}
	for _, s := range a.Sites {
		if len(s.Faults) != 2 || !strings.HasPrefix(why, strings.TrimSuffix(s.Faults[0], "…")) || s.Faults[1] != "short" || len(s.Missing) != 4 {
			t.Fatalf("%+v", s)
		}
	}
	short := health.Answer{Sites: []health.Site{{Faults: []string{why}}}}
	if got := health.Fitting(short).Sites[0].Faults[0]; got != why {
		t.Errorf("a short answer is cut: %s", got)
	}
}

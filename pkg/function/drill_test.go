package function_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

const canary = "snapback/drill"

// begin begins a drill and returns its canary as it arrives.
func (s *stage) begin() (drill string, body []byte) {
	s.t.Helper()
	drill, err := s.hub.Ledger().BeginDrill(s.t.Context(), time.Now())
	must(s.t, err)
	return drill, bytes.ReplaceAll(sample(s.t, canary), []byte("20261122-0d1e2f3g"), []byte(drill))
}

// came are the canaries of a drill that came to the storage domain.
func (s *stage) came(drill string) []ledger.Canary {
	s.t.Helper()
	all, err := s.hub.Ledger().Canaries(s.t.Context(), drill, "storage")
	must(s.t, err)
	return all
}

func TestCanaryIsTakenDownAndNothingElseHappens(t *testing.T) {
	s := newStage(t, false)
	drill, body := s.begin()
	if diff := cmp.Diff([]string{"storage-drill"}, rulesMet(t, body)); diff != "" {
		t.Errorf("rules that the canary meets (-want +got):\n%s", diff)
	}
	f := s.start(0)
	if d := s.deliver(f, body, body); len(d.Delivered) != 2 {
		t.Errorf("delivery: %+v", d)
	}
	want := []ledger.Canary{{Drill: drill, Domain: "storage", Account: local.MemberAccount, Region: "eu-west-1"}}
	if diff := cmp.Diff(want, s.came(drill)); diff != "" {
		t.Errorf("canaries (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"drill": 2}, outcomes(t, f)); diff != "" {
		t.Errorf("outcome lines (-want +got):\n%s", diff)
	}
	if strings.Contains(f.Logs(), "_aws") {
		t.Errorf("a canary is counted as an event:\n%s", f.Logs())
	}
	if n, m := len(s.cases()), len(s.alerts()); n+m > 0 {
		t.Errorf("%d cases, %d alerts", n, m)
	}
}

// Whoever may put events on a bus of the organization can send these.
func TestWhatOnlyLooksLikeACanaryIsDismissedWithoutAnAlert(t *testing.T) {
	s := newStage(t, false)
	drill, body := s.begin()
	f := s.start(0)
	d := s.deliver(f, sample(t, canary),
		bytes.ReplaceAll(body, []byte(drill), []byte("x#"+drill)),
		bytes.ReplaceAll(body, []byte("eu-west-1"), []byte("here")),
		bytes.ReplaceAll(body, []byte("Snapback Drill"), []byte("AWS API Call via CloudTrail")))
	if len(d.Delivered) != 4 {
		t.Errorf("delivery: %+v", d)
	}
	if diff := cmp.Diff(map[string]int{"drill-dismissed": 4}, outcomes(t, f)); diff != "" {
		t.Errorf("outcome lines (-want +got):\n%s\n%s", diff, f.Logs())
	}
	if n, m := len(s.came(drill)), len(s.alerts()); n+m > 0 {
		t.Errorf("%d canaries, %d alerts", n, m)
	}
}

func TestCanaryIsHandedOutAgainWhileTheLedgerFails(t *testing.T) {
	s := newStage(t, false)
	proxy, err := local.StartProxy(t.Context(), s.aws, nil)
	must(t, err)
	t.Cleanup(proxy.Close)
	for i, v := range s.env {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_ENDPOINT_URL") {
			s.env[i] = name + "=" + proxy.Endpoint()
		}
	}
	drill, body := s.begin()
	f := s.start(0)
	const attempts = 4 // of one call, as package cloud bounds it
	proxy.Inject("DynamoDB.PutItem", 1, local.ServerError(attempts))
	if d := s.deliver(f, body); len(d.Failed) != 1 {
		t.Errorf("delivery: %+v\n%s", d, f.Logs())
	}
	if n := len(s.came(drill)); n != 0 {
		t.Errorf("%d canaries", n)
	}
	d, err := s.hub.Source(f).Poll(t.Context())
	must(t, err)
	if len(d.Delivered) != 1 || len(s.came(drill)) != 1 {
		t.Errorf("delivery: %+v, canaries: %+v\n%s", d, s.came(drill), f.Logs())
	}
}

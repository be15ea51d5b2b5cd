package site

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// Cases are those of the account, oldest first.
func (s *Site) Cases() (cases []*ledger.Case) {
	s.T.Helper()
	for c, err := range s.house.Hub.Ledger().Cases(s.T.Context(), ledger.Query{Account: s.Account}) {
		Must(s.T, err)
		cases = append(cases, c)
	}
	slices.Reverse(cases)
	return cases
}

// OneCase is the case of a control or runbook, of which there must be one.
func (s *Site) OneCase(rule string) *ledger.Case {
	s.T.Helper()
	of := slices.DeleteFunc(s.Cases(), func(c *ledger.Case) bool { return c.Control != rule })
	if len(of) != 1 {
		s.T.Fatalf("there are %d cases of %s, want one: %+v\n%s", len(of), rule, of, s.Function.Logs())
	}
	return of[0]
}

// Alerts are those about the account that were not looked at yet.
func (s *Site) Alerts() (alerts []local.Alert) {
	s.T.Helper()
	h := s.house
	h.mu.Lock()
	defer h.mu.Unlock()
	arrived, err := h.Hub.Alerts(s.T.Context())
	Must(s.T, err)
	h.alerts = slices.DeleteFunc(append(h.alerts, arrived...), func(a local.Alert) bool {
		if a.Account == s.Account {
			alerts = append(alerts, a)
		}
		return a.Account == s.Account
	})
	return alerts
}

// Told is the one alert that was sent since the last look, and its subject
// begins so.
func (s *Site) Told(subject string) local.Alert {
	s.T.Helper()
	alerts := s.Alerts()
	if len(alerts) != 1 || !strings.HasPrefix(alerts[0].Subject, "Snapback "+subject+":") {
		s.T.Fatalf("want one alert %s, got %d: %+v\n%s", subject, len(alerts), alerts, s.Function.Logs())
	}
	return alerts[0]
}

// WantTold says of which controls and runbooks alerts were sent since the last
// look, one of each, and how their subjects begin.
func (s *Site) WantTold(want map[string]string) {
	s.T.Helper()
	told := map[string]string{}
	for _, a := range s.Alerts() {
		subject, _, _ := strings.Cut(strings.TrimPrefix(a.Subject, "Snapback "), ":")
		if told[a.Control] != "" {
			s.T.Errorf("%s is told twice", a.Control)
		}
		told[a.Control] = subject
	}
	if diff := cmp.Diff(want, told); diff != "" {
		s.T.Errorf("alerts (-want +got):\n%s\n%s", diff, s.Function.Logs())
	}
}

// NotTold says that no alert was sent since the last look.
func (s *Site) NotTold() {
	s.T.Helper()
	if a := s.Alerts(); len(a) > 0 {
		s.T.Errorf("want no alert, got %+v", a)
	}
}

// Outcome is an outcome line of the function.
type Outcome struct {
	Msg, Control, Target, Reason string
	Outcome                      control.Outcome
	Calls                        []string
}

// Outcomes are the outcome lines of the site's function, oldest first.
func (s *Site) Outcomes() (all []Outcome) {
	s.T.Helper()
	for _, line := range s.Function.Lines() {
		var o Outcome
		Must(s.T, json.Unmarshal(line, &o))
		if o.Msg == "outcome" {
			all = append(all, o)
		}
	}
	return all
}

// Last is the function's last outcome line of a control or runbook.
func (s *Site) Last(rule string) Outcome {
	s.T.Helper()
	for _, o := range slices.Backward(s.Outcomes()) {
		if o.Control == rule {
			return o
		}
	}
	s.T.Fatalf("the function has no outcome of %s\n%s", rule, s.Function.Logs())
	return Outcome{}
}

// Command gives the function a command about a case, as an operator does. The
// remedies are those whose changes an undo keeps.
func (s *Site) Command(name string, c *ledger.Case, keep ...string) engine.Answer {
	s.T.Helper()
	return s.CommandBy(s.house.AWS.Config(local.HubAccount), name, c, keep...)
}

// CommandBy is Command with the credentials of whoever gives it.
func (s *Site) CommandBy(cfg aws.Config, name string, c *ledger.Case, keep ...string) (a engine.Answer) {
	s.T.Helper()
	r := function.Request{Command: name, Case: c.ID, Keep: keep, At: time.Now().UTC()}
	if name == engine.Approve || name == engine.Release {
		r.Digest = c.Digest()
	}
	proof, err := cloud.Prove(s.T.Context(), cfg, r.Hash())
	Must(s.T, err)
	r.Proof = &proof
	payload, err := json.Marshal(r)
	Must(s.T, err)
	result, err := s.Function.Invoke(s.T.Context(), payload)
	Must(s.T, err)
	Must(s.T, json.Unmarshal(result, &a))
	return a
}

// Done gives a command that must be carried out.
func (s *Site) Done(name string, c *ledger.Case, keep ...string) engine.Answer {
	s.T.Helper()
	a := s.Command(name, c, keep...)
	if a.Verdict != engine.Done {
		s.T.Fatalf("%s: %s: %s\n%s", name, a.Verdict, a.Reason, s.Function.Logs())
	}
	return a
}

// OutcomesOf are those of the steps of a case that count: "preserve-instance
// remediated, …".
func OutcomesOf(c *ledger.Case) string {
	var all []string
	for _, s := range c.Current() {
		all = append(all, s.Remedy+" "+string(s.Outcome))
	}
	return strings.Join(all, ", ")
}

// WantCase says how a case has ended, which nobody works on any more.
func WantCase(t *testing.T, c *ledger.Case, outcome control.Outcome, steps string) {
	t.Helper()
	if got := OutcomesOf(c); c.Outcome != outcome || c.State != "" || c.Closed.IsZero() || got != steps {
		t.Errorf("the case is %s, its state %q, and its steps are %s", c.Outcome, c.State, got)
	}
}

package reliability_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/control"
)

const stops = `version: 1
reviewed: 2026-11-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}
runbooks: {iam-privilege-escalation: {mode: enforce}}
`

// The steps of the runbook that have something to do.
const (
	takeBack = "take-back-grant"
	deny     = "deny-principal"
	keysOff  = "deactivate-access-keys"
)

// escalation is a user who has attached AdministratorAccess to himself.
type escalation struct {
	*threat
	*scene.Person
	calls int // of his that were sent
}

func (w *world) newEscalation(t *testing.T) (s *escalation) {
	t.Helper()
	s = &escalation{threat: w.newThreat(t, 5, "identity")}
	var err error
	s.Person, err = scene.MakePerson(t.Context(), w.aws.Config(s.account), "alice") // as in the sample
	must(t, err)
	must(t, s.Raise(t.Context()))
	s.begin(s)
	return s
}

// event is his call.
func (s *escalation) event() []byte {
	s.t.Helper()
	sample, err := os.ReadFile(filepath.Join(local.Root(), "events", "cloudtrail", "iam-attach-user-policy.json"))
	must(s.t, err)
	s.calls++
	return []byte(strings.NewReplacer(
		local.MemberAccount, s.account, "-000000060010", fmt.Sprintf("-%s%d", s.account[1:], s.calls),
	).Replace(string(sample)))
}

func (s *escalation) now() scene.World {
	s.t.Helper()
	w, err := scene.IAM(s.t.Context(), s.aws.Config(s.account))
	must(s.t, err)
	return w
}

func (s *escalation) disturbed() {}

func (s *escalation) cleared() {}

func (s *escalation) steps() map[string]control.Outcome {
	steps := all(control.Remediated, takeBack, deny, keysOff)
	steps["revoke-role-sessions"] = control.Compliant // no role let him in
	return steps
}

// made is the world once some steps are made: nothing else is another one.
func (s *escalation) made(steps ...string) scene.World {
	w := maps.Clone(s.before)
	for _, step := range steps {
		switch step {
		case takeBack:
			delete(w, user+"policies") // he had no other
		case deny:
			w[user+"boundary"] = "arn:aws:iam::aws:policy/AWSDenyAll"
		case keysOff:
			w[user+"keys"] = s.Key + " Inactive"
		}
	}
	return w
}

// user is how what is his is named in a world.
const user = "user alice "

// stopped says that the grant is gone, he is denied everything, and no key of his
// is active.
func (s *escalation) stopped() { s.standsAs(s.made(takeBack, deny, keysOff)) }

func (s *escalation) standing(right threatDenial) {
	s.t.Helper()
	var steps []string
	for _, step := range []string{takeBack, deny, keysOff} {
		if _, not := right.but[step]; right.made || !not && !right.open {
			steps = append(steps, step)
		}
	}
	s.standsAs(s.made(steps...))
}

func (s *escalation) standsAs(want scene.World) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.now()); diff != "" {
		s.t.Errorf("the account's IAM (-want +got):\n%s\n%s", diff, s.function.Logs())
	}
}

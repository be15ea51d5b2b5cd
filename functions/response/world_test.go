// Package main_test plays the runbooks with the built response function: from a
// finding on its queue to the state of the member account, the ledger, and the
// alert on the queue of the operators.
package main_test

import (
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/internal/site"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

const (
	quarantine = "ec2-quarantine"
	role       = "snapback-response"

	// enforced lets an instance be quarantined at once.
	enforced = "runbooks: {ec2-quarantine: {mode: enforce}}"
)

// Findings of events/guardduty.
const (
	mining   = "ec2-cryptomining"
	miningID = "5eed0000000000000000000000002001"
	tunnel   = "ec2-dns-exfiltration" // another one, of another type
	attacked = "ec2-ssh-brute-force-target"
)

var house = &site.House{Domain: runbooks.Domain()}

func TestMain(m *testing.M) { os.Exit(house.Main(m)) }

// member is an account in which there are instances.
type member struct{ *site.Site }

func newMember(t *testing.T, lines ...string) *member {
	t.Helper()
	return &member{house.New(t, lines...)}
}

func (s *member) ec2() *ec2.Client { return ec2.NewFromConfig(s.Config()) }

func (s *member) scene(o scene.Options) *scene.Scene {
	s.T.Helper()
	made, err := scene.Make(s.T.Context(), s.Config(), o)
	site.Must(s.T, err)
	return made
}

// sample is one of the findings of events/guardduty.
func sample(t *testing.T, name string) []byte {
	t.Helper()
	return site.Sample(t, "guardduty/"+name)
}

// exemption is the one of an instance that is in the ledger; nil if none is.
func (s *member) exemption(of *scene.Scene) *ledger.Exemption {
	s.T.Helper()
	target := control.Target{Account: s.Account, Region: local.Region, Type: "AWS::EC2::Instance", ID: of.Instance}
	g, err := house.Hub.Ledger().Read(s.T.Context(), ledger.Question{
		Control: quarantine, Target: target, ARN: "arn:aws:ec2:" + local.Region + ":" + s.Account + ":instance/" + of.Instance,
	})
	site.Must(s.T, err)
	return g.Exemption
}

func worldOf(t *testing.T, of *scene.Scene) scene.World {
	t.Helper()
	w, err := of.World(t.Context())
	site.Must(t, err)
	return w
}

// wantWorld compares the whole world.
func wantWorld(t *testing.T, of *scene.Scene, want scene.World) {
	t.Helper()
	if diff := cmp.Diff(want, worldOf(t, of)); diff != "" {
		t.Errorf("the world (-want +got):\n%s", diff)
	}
}

// wantLines compares some lines of the world; an empty one must not be there.
func wantLines(t *testing.T, w, want scene.World) {
	t.Helper()
	for name, line := range want {
		if got := w[name]; got != line {
			t.Errorf("%s is %q, want %q", name, got, line)
		}
	}
}

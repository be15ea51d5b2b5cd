package reliability_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/control"
)

const contains = `version: 1
reviewed: 2026-11-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}
runbooks: {ec2-quarantine: {mode: enforce}}
`

// instance is an instance in service, which GuardDuty has a finding about.
type instance struct {
	*threat
	*scene.Scene
}

func (w *world) newInstance(t *testing.T) (s *instance) {
	t.Helper()
	s = &instance{threat: w.newThreat(t, 4, "response")}
	var err error
	s.Scene, err = scene.Make(t.Context(), w.aws.Config(s.account), scene.Options{})
	must(t, err)
	s.begin(s)
	return s
}

// event is the finding.
func (s *instance) event() []byte { return s.finding("ec2-cryptomining") }

// finding is one of the findings of events/guardduty about the instance.
func (s *instance) finding(name string) []byte {
	s.t.Helper()
	sample, err := os.ReadFile(filepath.Join(local.Root(), "events", "guardduty", name+".json"))
	must(s.t, err)
	return s.Finding(sample)
}

// disturbed has a walk wait for the case, and DeleteSecurityGroup fail as AWS's.
func (s *instance) disturbed() {
	s.proxy.Inject("ElasticLoadBalancingv2.DescribeTargetHealth", 1, s.late())
	s.cleared()
}

func (s *instance) cleared() { s.proxy.Inject(deleteGroup, 1, s.inUse()) }

// inUse answers that a group can't be deleted as long as an interface is in it,
// where moto deletes it. Source: EC2 API reference, DeleteSecurityGroup. Only the
// wide-open group is ever deleted.
func (s *instance) inUse() local.Fault {
	violated := refused(http.StatusBadRequest, "DependencyViolation")
	client := ec2.NewFromConfig(s.aws.Config(s.account))
	return local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		in, err := client.DescribeNetworkInterfaces(s.t.Context(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: s.Interfaces})
		if err != nil || slices.ContainsFunc(in.NetworkInterfaces, wideOpen) {
			violated.Disturb(x)
			return
		}
		x.Answer(x.Forward())
	}}
}

// wideOpen reports whether an interface is in the group that ends connections.
func wideOpen(i ec2types.NetworkInterface) bool {
	return slices.ContainsFunc(i.Groups, func(g ec2types.GroupIdentifier) bool {
		return strings.HasPrefix(aws.ToString(g.GroupName), "snapback-untrack-")
	})
}

// late holds the answer to a read that the steps which are not urgent wait for,
// until the case was opened: so these are always written down after the urgent
// ones, and the calls of each walk are the same. Where the case is not opened
// without it, it comes late.
func (s *instance) late() local.Fault {
	return local.Fault{Times: 1, Disturb: func(x *local.Exchange) {
		a := x.Forward()
		tick, end := time.NewTicker(5*time.Millisecond), time.After(2*time.Second)
		defer tick.Stop()
		for s.proxy.Count(transact) == 0 {
			select {
			case <-tick.C:
				continue
			case <-end:
			}
			break
		}
		x.Answer(a)
	}}
}

func (s *instance) now() scene.World {
	s.t.Helper()
	w, err := s.World(s.t.Context())
	must(s.t, err)
	// moto registers an instance with a classic load balancer again that is there.
	classic := "classic load balancer " + scene.Classic
	w[classic] = strings.Join(slices.Compact(strings.Fields(w[classic])), " ")
	return w
}

func (s *instance) steps() map[string]control.Outcome {
	return all(control.Remediated, "preserve-instance", "take-out-of-service", isolate, "cut-instance-credentials", "take-snapshots")
}

// stopped says that the instance is in quarantine.
func (s *instance) stopped() {
	s.t.Helper()
	if open := s.open(); len(open) > 0 {
		s.t.Errorf("packets are let through: %q\n%s", open, s.function.Logs())
	}
	w := s.now()
	s.noWideOpen(w)
	for name, want := range map[string]string{
		"termination protection of " + s.Instance: "true", "shutdown behavior of " + s.Instance: "stop",
		"auto scaling group": "", "target group " + scene.Target: "", "classic load balancer " + scene.Classic: "",
	} {
		if w[name] != want {
			s.t.Errorf("%s is %q, want %q", name, w[name], want)
		}
	}
	for name, line := range w {
		if strings.HasPrefix(name, "volume ") && strings.HasSuffix(name, s.Instance) && !strings.HasSuffix(line, "deleted on termination: false") {
			s.t.Errorf("%s: %s", name, line)
		}
	}
	if cut := w["policy snapback-quarantine-"+s.Instance+" of role "+scene.Role]; !strings.Contains(cut, s.RoleID+":"+s.Instance) {
		s.t.Errorf("the policy that cuts off the instance is %q", cut)
	}
	for _, volume := range s.Volumes {
		if n := strings.Count(w["evidence of "+volume], "snap-"); n != 1 {
			s.t.Errorf("%d snapshots of %s are held, want 1", n, volume)
		}
	}
}

func (s *instance) standing(right threatDenial) {
	s.t.Helper()
	if open := s.open(); (len(open) > 0) != right.open {
		s.t.Errorf("open: %q, want open %t", open, right.open)
	}
	s.noWideOpen(s.now())
}

func (s *instance) open() []string {
	s.t.Helper()
	open, err := s.Open(s.t.Context())
	must(s.t, err)
	return open
}

// noWideOpen says that the group which ends connections is gone, or has no rule.
func (s *instance) noWideOpen(w scene.World) {
	s.t.Helper()
	for name, line := range w {
		group, ok := strings.CutPrefix(name, "group ")
		if ok && strings.HasPrefix(line, "snapback-untrack") && w["rules of "+group] != "" {
			s.t.Errorf("group %s is left wide open: %s", line, w["rules of "+group])
		}
	}
}

// forgetGroup takes the wide-open group out of a world, where it must be, without
// rules.
func (s *instance) forgetGroup(w scene.World) {
	s.t.Helper()
	s.noWideOpen(w)
	for name, line := range w {
		if group, ok := strings.CutPrefix(name, "group "); ok && line == "snapback-untrack-"+s.Instance {
			delete(w, name)
			delete(w, "rules of "+group)
			return
		}
	}
	s.t.Error("the group that could not be deleted is not there")
}

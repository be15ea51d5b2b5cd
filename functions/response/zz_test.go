package main_test

import (
	"testing"
	"time"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
)

func TestZZRace(t *testing.T) {
	s := newSite(t, "runbooks: {ec2-quarantine: {mode: enforce, from-severity: 1}, ec2-attacked-ingress: {mode: enforce, from-severity: 1}}")
	web := s.scene(scene.Options{})
	s.proxy.Inject("EC2.DescribeSecurityGroupRules", 3, local.Fault{Times: 1, Disturb: func(x *local.Exchange) {
		for range 100 {
			if s.proxy.Count("EC2.RevokeSecurityGroupIngress") > 0 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		x.Answer(x.Forward())
	}})
	s.found(web.Finding(sample(t, attacked)))
	for _, a := range s.alerts() {
		t.Log(a.Subject, a.Reason)
		for _, c := range a.Changes {
			t.Log(c.Reason, string(c.Before))
		}
	}
	t.Log(s.proxy.Calls())
}

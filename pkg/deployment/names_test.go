package deployment_test

import (
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// clash says which name of one deployment stands for two things; empty if none.
// In the hub, which is a member too, the names of both meet.
func clash(domains []string) string {
	taken := map[string]bool{}
	for _, name := range []string{
		"role " + deployment.ForwardRole("us-east-1"), "role " + deployment.Scheduler,
		"role " + deployment.MemberRole(deployment.Health), "role " + deployment.FunctionRole(deployment.Health),
		"function " + deployment.Function(deployment.Health), "queue " + deployment.Undelivered,
	} {
		taken[name] = true
	}
	for _, d := range domains {
		for _, name := range []string{
			"role " + deployment.MemberRole(d), "role " + deployment.FunctionRole(d), "function " + deployment.Function(d),
			"queue " + deployment.Queue(d), "queue " + deployment.DeadQueue(d),
		} {
			if taken[name] {
				return name
			}
			taken[name] = true
		}
	}
	return ""
}

func TestNamesOfDomainsStandForOneThingEach(t *testing.T) {
	var domains []string
	for _, d := range controls.Domains() {
		domains = append(domains, d.Name)
		if strings.HasPrefix(d.Name, "function-") || strings.HasSuffix(d.Name, "-dead") {
			t.Errorf("domain %s has a name that could be taken for that of another's role or queue", d.Name)
		}
	}
	if name := clash(domains); name != "" {
		t.Errorf("there are two: %s", name)
	}
	for _, reserved := range []string{"forward-us-east-1", "health", "scheduler", "undelivered", "function-storage", "function-health", "storage-dead"} {
		if clash(append(domains, reserved)) == "" {
			t.Errorf("a domain %s would meet nothing of the same name", reserved)
		}
	}
}

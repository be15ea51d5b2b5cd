package control

import (
	"fmt"
	"slices"

	"github.com/snapback-aws/snapback/pkg/event"
)

// Named is the Targets of calls that name one resource by its ID at a path of
// the CloudTrail record: Named("requestParameters.bucketName").
func Named(path string) func(*event.Call) []Target {
	return func(call *event.Call) []Target {
		id := call.Get(path).String()
		if id == "" {
			return nil
		}
		return []Target{{ID: id}}
	}
}

// Foreign says why an event may not reach the target: the target is not in the
// account whose bus sent the event. Empty if it is. Of a GuardDuty finding, the
// bus of an administrator account sends a copy: there the finding's account counts.
func (t Target) Foreign(e *event.Event) string {
	from := e.Account
	if f, ok := e.Detail.(*event.Finding); ok {
		from = f.Account
	}
	if t.Account == from {
		return ""
	}
	return fmt.Sprintf("The event came from the bus of account %s but names %s.", e.Account, t)
}

// Targets finds the resources of this control's type that an event concerns;
// none if the event is no reason to look at any. No call is made.
func (c *Control) Targets(e *event.Event) []Target {
	if e.Dismiss() != "" {
		return nil
	}
	switch detail := e.Detail.(type) {
	case *event.Call:
		return c.callTargets(detail)
	case *event.Item:
		return c.configTargets(e, detail.Resource)
	case *event.Compliance:
		return c.configTargets(e, detail.Resource)
	}
	return nil
}

func (c *Control) callTargets(call *event.Call) []Target {
	var targets []Target
	for _, trigger := range c.Triggers {
		if trigger.Source != call.Source || !slices.Contains(trigger.Names, call.Name) {
			continue
		}
		for _, t := range trigger.Targets(call) {
			if t.Region == "" {
				t.Region = call.Region
			}
			t.Type = c.Type
			t.Account = c.owner(call, t)
			if !slices.Contains(targets, t) {
				targets = append(targets, t)
			}
		}
	}
	return targets
}

// owner is the account that the record names as the resource's owner, which is
// another one than the record's in the caller's copy of a call across accounts.
func (c *Control) owner(call *event.Call, t Target) string {
	for _, r := range call.Get("resources").Array() {
		t.Account = r.Get("accountId").String() // it is part of most ARNs
		if t.Account != "" && r.Get("ARN").String() == c.ARN(t) {
			return t.Account
		}
	}
	return call.Account
}

// configTargets is the resource of a Config event. Config puts global resources
// such as IAM users into a Region "global" (AWS Config developer guide, example
// notifications): their API answers in the Region whose bus sent the event.
func (c *Control) configTargets(e *event.Event, r event.Resource) []Target {
	if !slices.Contains(c.ConfigTypes(), r.Type) {
		return nil
	}
	if r.Region == "global" {
		r.Region = e.Region
	}
	return []Target{{Account: r.Account, Region: r.Region, Type: c.Type, ID: r.ID}}
}

// ConfigTypes are the Config resource types whose events concern the control.
func (c *Control) ConfigTypes() []string {
	if c.Unrecorded {
		return c.AlsoTypes
	}
	return append([]string{c.Type}, c.AlsoTypes...)
}

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/event"
)

// bus reads the rules of the hub's bus, all of which must be enabled. The rule
// that EventBridge makes for an archive has a name of its own (EventBridge user
// guide, "Archiving and replaying events").
func (d *doctor) bus(ctx context.Context) finding {
	client := eventbridge.NewFromConfig(d.cfg)
	in := &eventbridge.ListRulesInput{EventBusName: aws.String(deployment.Bus), NamePrefix: aws.String(deployment.Prefix + "-")}
	for {
		page, err := client.ListRules(ctx, in)
		switch {
		case cloud.Is(err, "ResourceNotFoundException"):
			return wrong("there is no event bus %s in this account and Region", deployment.Bus).
				mend("be in the hub account and Region, or deploy Snapback's hub stack")
		case err != nil:
			return unread(err)
		}
		d.rules = append(d.rules, page.Rules...)
		if page.NextToken == nil {
			break
		}
		in.NextToken = page.NextToken
	}
	if len(d.rules) == 0 {
		return wrong("the event bus %s has no rules: no event reaches a function", deployment.Bus).mend(deployAgain)
	}
	var off []string
	for i := range d.rules {
		if d.rules[i].State == ebtypes.RuleStateDisabled {
			off = append(off, aws.ToString(d.rules[i].Name))
		}
	}
	if len(off) > 0 {
		return wrong("%d of %s of the event bus %s disabled: %s", len(off), plural(len(d.rules), "rule"), deployment.Bus, strings.Join(off, ", ")).
			mend("enable each").by("aws events enable-rule --event-bus-name " + deployment.Bus + " --name " + off[0])
	}
	return ok("%s has %s, all enabled", deployment.Bus, plural(len(d.rules), "rule"))
}

// deployed are the domains that the bus has rules of: in the others everything
// is off. Where the bus can't be read, or has no rule at all, they are all that
// there are.
func (d *doctor) deployed(bus standing) []control.Domain {
	all := domains()
	if bus == isWrong && len(d.rules) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(domain control.Domain) bool {
		return !slices.ContainsFunc(d.rules, func(r ebtypes.Rule) bool {
			return strings.HasPrefix(aws.ToString(r.Name), deployment.Rule(domain.Name)+"-")
		})
	})
}

// generated compares the rules of the bus with those that this version of the
// command line makes from the deployed baseline, where that is at hand.
func (d *doctor) generated(context.Context) finding {
	data, err := os.ReadFile(d.baseline)
	if err != nil {
		return note("not compared: the deployed baseline file is not at hand: name it by --baseline")
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	for _, domain := range slices.Sorted(maps.Keys(d.told)) {
		if made := d.told[domain]; made.baseline != digest {
			return note("not compared: %s is not the baseline that %s carries (SHA-256 %.12s, not %.12s): name that by --baseline",
				d.baseline, deployment.Function(domain), digest, made.baseline)
		}
	}
	all := domains()
	b, _ := baseline.Parse(d.baseline, data, all, time.Now())
	if b == nil {
		return wrong("%s can't be read by version %s of the command line: `snapback baseline check` says why", d.baseline, version).
			mend("use the command line of the version that is deployed")
	}
	if faults := ruleFaults(d.rules, deployment.On(all, b)); len(faults) > 0 {
		return wrong("the rules are not those of %s and this version of the command line:\n%s", d.baseline, strings.Join(faults, "\n")).
			mend("versions differ: deploy Snapback's hub stack again, or use the command line of the version that is deployed")
	}
	return ok("as they are generated from %s", d.baseline)
}

// ruleFaults compares deployed rules with those of the domains that are on.
func ruleFaults(deployed []ebtypes.Rule, on []control.Domain) []string {
	patterns := map[string]string{}
	for i := range deployed {
		patterns[aws.ToString(deployed[i].Name)] = aws.ToString(deployed[i].EventPattern)
	}
	var faults []string
	for _, domain := range on {
		for _, r := range domain.Rules() {
			name := deployment.Rule(r.Name)
			is, there := patterns[name]
			switch {
			case !there:
				faults = append(faults, name+" is missing")
			case !samePattern(is, r.Pattern):
				faults = append(faults, name+" has another pattern")
			}
			delete(patterns, name)
		}
	}
	for name := range patterns {
		faults = append(faults, name+" is one too many")
	}
	slices.Sort(faults)
	return faults
}

// samePattern compares patterns whatever the order of their fields.
func samePattern(text string, want event.Pattern) bool {
	is, err := event.ParsePattern(text)
	return err == nil && is.String() == want.String()
}

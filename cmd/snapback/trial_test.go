package main

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/function"
)

// commandLine is the command line as the scripts run it. It knows the domain
// alone that their variable DOMAIN names, and without it all.
func commandLine() {
	if name := os.Getenv("DOMAIN"); name != "" {
		domains = func() []control.Domain {
			return slices.DeleteFunc(append(controls.Domains(), trial()), func(d control.Domain) bool { return d.Name != name })
		}
	}
	main()
}

// trialFunction is the function of the domain trial.
func trialFunction() { os.Exit(function.Main(trial())) }

// trial is a domain for the scripts, with a runbook that answers findings about
// an instance by shutting two doors, each of which is a bucket of its account
// with its Block Public Access off. So the world can be looked at, and be
// disturbed, door by door.
func trial() control.Domain {
	return control.Domain{Name: "trial", Runbooks: []control.Runbook{{
		ID: "shut-doors", Title: "Doors are shut", Rationale: "It is a trial.", Hazard: "Nobody comes in.",
		Resource: control.Resource{
			Type: "AWS::EC2::Instance", IDs: regexp.MustCompile(`^i-[0-9a-f]{8,17}$`), Sample: "i-0123456789abcdef0",
			ARN: func(t control.Target) string {
				return "arn:aws:ec2:" + t.Region + ":" + t.Account + ":instance/" + t.ID
			},
		},
		Findings: []string{"CryptoCurrency:EC2/*"},
		Targets: func(f *event.Finding) []control.Target {
			return []control.Target{{ID: f.Get("resource.instanceDetails.instanceId").String()}}
		},
		Steps: []control.Step{
			{Remedy: door("north").remedy()},
			{Remedy: door("south").remedy(), After: []string{"shut-north"}},
		},
	}}}
}

// door is a bucket. While there is a bucket cat-flap, shutting the door to the
// south leaves something open.
type door string

func (d door) remedy() control.Remedy {
	r := control.Remedy{Name: "shut-" + string(d), Plan: d.plan, Apply: d.apply, Undo: d.undo}
	if d == "south" {
		r.Look = func(context.Context, *cloud.Session, control.Change) ([]string, error) {
			return []string{"the paint is dry by 40\u00a0%\x1b[31m"}, nil
		}
	}
	return r
}

func (d door) client(s *cloud.Session) *s3.Client {
	return cloud.Client(s, func(cfg aws.Config) *s3.Client { return s3.NewFromConfig(cfg) })
}

// state is how the door is: "open", "ajar" or "shut".
func (d door) state(ctx context.Context, s *cloud.Session) (string, error) {
	out, err := d.client(s).GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: aws.String(string(d))})
	switch {
	case cloud.Is(err, "NoSuchPublicAccessBlockConfiguration"):
		return "open", nil
	case err != nil:
		return "", err
	case *out.PublicAccessBlockConfiguration.BlockPublicPolicy:
		return "shut", nil
	}
	return "ajar", nil
}

func (d door) plan(ctx context.Context, s *cloud.Session, t control.Target) (*control.Change, error) {
	now, err := d.state(ctx, s)
	if err != nil {
		return nil, err
	}
	c := &control.Change{Target: t, Reason: "Door " + string(d) + " is " + now + ".", Before: quoted(now), After: quoted("shut")}
	if d == "south" {
		c.Touches = []string{"arn:aws:s3:::south"}
		c.Facts = []byte(`{"paint":"green","keys":[1,2],"note":"` + "\u202e" + `"}`)
		if _, err := door("cat-flap").state(ctx, s); err == nil {
			c.Left = []string{"The cat flap can't be shut."}
		}
	}
	switch {
	case now == "shut" && len(c.Left) == 0:
		return nil, nil
	case now == "shut":
		c.After = nil
	}
	return c, nil
}

func (d door) apply(ctx context.Context, s *cloud.Session, _ control.Change) error {
	return d.put(ctx, s, true)
}

// put leaves the door shut or ajar.
func (d door) put(ctx context.Context, s *cloud.Session, shut bool) error {
	_, err := d.client(s).PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: aws.String(string(d)), PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(shut),
			IgnorePublicAcls: aws.Bool(shut), RestrictPublicBuckets: aws.Bool(shut),
		},
	})
	return err
}

func (d door) undo(ctx context.Context, s *cloud.Session, c control.Change) error {
	now, err := d.state(ctx, s)
	switch {
	case cloud.Is(err, "NoSuchBucket"):
		return &control.LeftError{Left: []string{"There is no door " + string(d) + " any more."}}
	case err != nil:
		return err
	case now != "shut":
		return &control.MovedError{Change: c, Now: quoted(now)}
	case string(c.Before) == `"ajar"`:
		return d.put(ctx, s, false)
	}
	_, err = d.client(s).DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: aws.String(string(d))})
	return err
}

func quoted(state string) json.RawMessage { return json.RawMessage(`"` + state + `"`) }

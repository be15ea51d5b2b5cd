package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

const escalation = "iam-privilege-escalation"

// escalation is the fourth act: a user makes himself administrator.
func (d *demo) escalation() []step {
	return []step{
		{"A user in the member: his policy lets him attach any policy to anybody", d.hire},
		{"He attaches AdministratorAccess to himself, and the identity function takes it back and stops him", d.raise},
		{"What the operator's e-mail shows", d.raiseAlert},
		{"A false alarm: the operator undoes it all, and everything is as it was", d.rehire},
	}
}

func (d *demo) hire(ctx context.Context) (err error) {
	// The name is that of the sample event.
	if d.person, err = scene.MakePerson(ctx, d.aws.Config(local.MemberAccount), "alice"); err != nil {
		return err
	}
	return d.tellIAM(ctx)
}

// tellIAM says how the account's IAM is set.
func (d *demo) tellIAM(ctx context.Context) error {
	w, err := scene.IAM(ctx, d.aws.Config(local.MemberAccount))
	if err == nil {
		mine := scene.World{}
		for name, value := range w {
			if bytes.HasPrefix([]byte(name), []byte("user "+d.person.Name+" ")) {
				mine[name] = value
			}
		}
		d.tell(mine)
	}
	return err
}

func (d *demo) raise(ctx context.Context) (err error) {
	if _, err := d.hub.Alerts(ctx); err != nil {
		return err
	}
	if err := d.person.Raise(ctx); err != nil {
		return err
	}
	if d.raised, err = scene.IAM(ctx, d.aws.Config(local.MemberAccount)); err != nil {
		return err
	}
	const name = "cloudtrail/iam-attach-user-policy"
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", name+".json"))
	if err != nil {
		return err
	}
	e, err := event.Decode(data)
	if err != nil {
		return err
	}
	if err := d.hub.Send(ctx, e.Raw()); err != nil {
		return err
	}
	results, err := d.work(ctx, "identity")
	if err != nil {
		return err
	}
	printResults(ruleOf(e), []string{name}, results)
	if err := want(results, control.Remediated, 1); err != nil {
		return err
	}
	say("")
	if err := d.tellIAM(ctx); err != nil {
		return err
	}
	denied, err := d.person.Denied(ctx)
	if err == nil && !denied {
		err = errors.New("he is not denied everything")
	}
	return err
}

func (d *demo) raiseAlert(ctx context.Context) error {
	alerts, err := d.hub.Alerts(ctx)
	if err != nil {
		return err
	}
	if len(alerts) != 1 || alerts[0].Outcome != control.Remediated || alerts[0].Actor == nil || alerts[0].Actor.Name != d.person.Name {
		return fmt.Errorf("want one alert that tells who it was, got %+v", alerts)
	}
	printAlert(alerts[0].Subject, alerts[0].Alert)
	return nil
}

func (d *demo) rehire(ctx context.Context) error {
	c, err := d.latest(ctx, escalation)
	if err != nil {
		return err
	}
	if err := d.run(ctx, "cases", "undo", c.ID, "--why", "he was asked to"); err != nil {
		return err
	}
	w, err := scene.IAM(ctx, d.aws.Config(local.MemberAccount))
	if err != nil {
		return err
	}
	if diff := cmp.Diff(d.raised, w); diff != "" {
		return fmt.Errorf("the account's IAM is not as he had made it (-before +now):\n%s", diff)
	}
	say("   boundary, key and the policy he attached are as they were before Snapback stepped in;")
	say("   `--keep take-back-grant` would have released him without it")
	return nil
}

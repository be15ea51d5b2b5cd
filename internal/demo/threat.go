package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

const runbook = "ec2-quarantine"

// threat is the third act: GuardDuty finds an instance that mines.
func (d *demo) threat() []step {
	return []step{
		{"A web server in the member: three interfaces, an Auto Scaling group, two load balancers, a role", d.serve},
		{"GuardDuty finds that it mines, and the response function quarantines it", d.quarantine},
		{"What the operator's e-mail shows", d.threatAlert},
		{"The finding comes again, seen more often: nothing more happens", d.findAgain},
		{"A false alarm: the operator releases the server, and everything is as it was", d.release},
	}
}

func (d *demo) serve(ctx context.Context) (err error) {
	if d.victim, err = scene.Make(ctx, d.aws.Config(local.MemberAccount), scene.Options{}); err != nil {
		return err
	}
	if d.before, err = d.victim.World(ctx); err != nil {
		return err
	}
	d.tell(d.before)
	open, err := d.victim.Open(ctx)
	if err == nil && len(open) == 0 {
		err = errors.New("the server is not on the network")
	}
	say("   rules that let packets to it or from it: %d", len(open))
	return err
}

func (d *demo) tell(w scene.World) {
	for _, name := range slices.Sorted(maps.Keys(w)) {
		say("   %-44s %s", name, w[name])
	}
}

// find delivers a finding of the folder events as if it were about the server.
func (d *demo) find(ctx context.Context, name string, outcome control.Outcome) error {
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", "guardduty", name+".json"))
	if err != nil {
		return err
	}
	e, err := event.Decode(d.victim.Finding(data))
	if err != nil {
		return err
	}
	if err := d.hub.Send(ctx, e.Raw()); err != nil {
		return err
	}
	results, err := d.work(ctx, "response")
	if err != nil {
		return err
	}
	printResults(ruleOf(e), []string{"guardduty/" + name}, results)
	return want(results, outcome, 1)
}

func (d *demo) quarantine(ctx context.Context) error {
	if _, err := d.hub.Alerts(ctx); err != nil {
		return err
	}
	if err := d.find(ctx, "ec2-cryptomining", control.Remediated); err != nil {
		return err
	}
	world, err := d.victim.World(ctx)
	if err != nil {
		return err
	}
	say("")
	d.tell(world)
	return d.wantIsolated(ctx)
}

// wantIsolated looks at the world: no interface has a rule that lets a packet in
// or out.
func (d *demo) wantIsolated(ctx context.Context) error {
	open, err := d.victim.Open(ctx)
	if err != nil {
		return err
	}
	say("   rules that let packets to it or from it: %d", len(open))
	if len(open) > 0 {
		return fmt.Errorf("the server is not isolated: %v", open)
	}
	return nil
}

func (d *demo) threatAlert(ctx context.Context) error {
	alerts, err := d.hub.Alerts(ctx)
	if err != nil {
		return err
	}
	if len(alerts) != 1 || alerts[0].Outcome != control.Remediated || len(alerts[0].Changes) != 5 {
		return fmt.Errorf("want one alert that tells of five steps, got %+v", alerts)
	}
	printAlert(alerts[0].Subject, alerts[0].Alert)
	return nil
}

func (d *demo) findAgain(ctx context.Context) error {
	if err := d.find(ctx, "ec2-cryptomining-repeat", control.Compliant); err != nil {
		return err
	}
	if alerts, err := d.hub.Alerts(ctx); err != nil || len(alerts) > 0 {
		return errors.Join(err, fmt.Errorf("%d alerts, want none", len(alerts)))
	}
	c, err := d.latest(ctx, runbook)
	if err != nil {
		return err
	}
	if len(c.Findings) != 1 || c.Findings[0].Count < 2 {
		return fmt.Errorf("the case does not say that the finding came again: %+v", c.Findings)
	}
	say("   case %s now says that it was seen %d times", c.ID, c.Findings[0].Count)
	return d.wantIsolated(ctx)
}

func (d *demo) release(ctx context.Context) error {
	c, err := d.latest(ctx, runbook)
	if err != nil {
		return err
	}
	if err := d.run(ctx, "cases", "show", c.ID, "--live"); err != nil {
		return err
	}
	if err := d.run(ctx, "cases", "undo", c.ID, "--why", "a false alarm"); err != nil {
		return err
	}
	world, err := d.victim.World(ctx)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(d.before, world); diff != "" {
		return fmt.Errorf("the server's world is not as it was (-before +now):\n%s", diff)
	}
	say("   its network, service, role and protection are as they were before the finding")
	return nil
}

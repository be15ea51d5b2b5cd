package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/facts"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

// mining is the sample finding that leads to a quarantine, and its instance.
const (
	mining   = "guardduty/ec2-cryptomining"
	minerID  = "i-0123456789abcdef0"
	isolates = "EC2.ModifyNetworkInterfaceAttribute" // the last one of these puts the last interface into quarantine
)

// quarantines are the rows of the table. The first one of an account is cold; each
// instance is in a VPC of its own, where the quarantine group has to be made.
var quarantines = []struct {
	name, account string
	options       scene.Options
	params        string
	again         bool // the same finding once more, on the instance of the row before
}{
	{name: "bare instance, cold", account: local.MemberAccount, options: scene.Options{Bare: true, NoProfile: true}},
	{name: "3 interfaces, warm", account: local.MemberAccount},
	{name: "the same finding again", account: local.MemberAccount, again: true},
	{name: "3 interfaces, cold", account: "333333333333"},
	{name: "bare, no wide-open group", account: "333333333333", options: scene.Options{Bare: true, NoProfile: true}, params: ", params: {untrack-connections: false}"},
}

// quarantineTrips counts the AWS calls and serial round trips from a finding to
// where the instance's network is isolated, to the alert, and to the end.
func quarantineTrips(ctx context.Context, _ string) error {
	server, e, err := delayed(ctx, "response")
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Println("quarantine of an instance: AWS calls and serial round trips, to where its network is isolated, to the alert and to the end")
	fmt.Printf("  %-28s %-12s %6s %9s %6s %11s\n", "finding", "outcome", "calls", "isolated", "alert", "to the end")
	var s *scene.Scene
	for _, q := range quarantines {
		if !q.again {
			if s, err = scene.Make(ctx, server.Config(q.account), q.options); err != nil {
				return err
			}
			domain := runbooks.Domain()
			e.Runbooks = domain.Runbooks
			if e.Baseline, err = enforce("runbooks: {ec2-quarantine: {mode: enforce"+q.params+"}}", domain); err != nil {
				return err
			}
		}
		if err := measure(ctx, e, s, q.name, q.account); err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
	}
	fmt.Println("  goal: isolated within 6 on a warm start (plan, open, make both groups, their rules, into the wide-open one, into the")
	fmt.Println("  empty one), the alert within one more. It comes later: it says contained once all is read back, and the snapshots,")
	fmt.Println("  which wait until the instance is isolated, are begun and read back too.")
	fmt.Println()
	return nil
}

// delayed is an engine of a domain in a hub on moto, whose every answer is late. It
// has neither rules nor a baseline yet.
func delayed(ctx context.Context, domain string) (*local.AWS, *engine.Engine, error) {
	server, err := local.StartAWS(ctx)
	if err != nil {
		return nil, nil, err
	}
	hub, err := local.NewHub(ctx, server, nil)
	if err != nil {
		server.Close()
		return nil, nil, err
	}
	cfg := server.Config(local.HubAccount)
	// Many calls are made side by side, which moto answers one after the other: the
	// delay is far longer than that takes.
	slow := &late{HTTPClient: cfg.HTTPClient, delay: time.Second}
	cfg.HTTPClient = slow
	return server, &engine.Engine{
		Sessions: cloud.NewSessions(cfg, "snapback-"+domain, domain),
		Facts:    facts.New(cfg), Ledger: hub.LedgerVia(slow), Alerts: alert.NewTopic(cfg, hub.Topic),
	}, nil
}

// enforce is a baseline with one line of its own for a domain.
func enforce(line string, domain control.Domain) (*baseline.Baseline, error) {
	text := fmt.Sprintf(enforced, time.Now().UTC().Format(time.DateOnly)) + line + "\n"
	all := controls.Domains()
	for i := range all {
		if all[i].Name == domain.Name {
			all[i] = domain
		}
	}
	b, problems := baseline.Parse("baseline.yaml", []byte(text), all, time.Now())
	if b == nil {
		return nil, problems
	}
	return b, nil
}

// measure handles the sample finding as if it were about the scene's instance.
func measure(ctx context.Context, e *engine.Engine, s *scene.Scene, name, account string) error {
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", mining+".json"))
	if err != nil {
		return err
	}
	data = bytes.ReplaceAll(data, []byte(local.MemberAccount), []byte(account))
	ev, err := event.Decode(bytes.ReplaceAll(data, []byte(minerID), []byte(s.Instance)))
	if err != nil {
		return err
	}
	for _, r := range e.Handle(ctx, ev) {
		if r.Retry != nil {
			return r.Retry
		}
		at, alerted := "-", "-"
		if r.Outcome == control.Remediated {
			for _, call := range r.Trace { // in the order of their end
				switch call.Name() {
				case isolates:
					at = fmt.Sprint(tripsUntil(r, call.End))
				case "SNS.Publish":
					alerted = fmt.Sprint(tripsUntil(r, call.End))
				}
			}
			if open, err := s.Open(ctx); err != nil || len(open) > 0 {
				return errors.Join(err, fmt.Errorf("it is not isolated: %v", open))
			}
		}
		fmt.Printf("  %-28s %-12s %6d %9s %6s %11d\n", name, r.Outcome, len(r.Calls), at, alerted, cloud.RoundTrips(r.Trace))
	}
	return nil
}

// tripsUntil is how many serial round trips it took until a time.
func tripsUntil(r engine.Result, t time.Time) int {
	r.Contained = t
	return r.ContainedTrips()
}

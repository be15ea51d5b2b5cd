package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

const (
	deleted = "cloudtrail/s3-delete-bucket-public-access-block"
	rule    = "s3-bucket-public-access"
)

// operators is the second act: what the people in command do, by the command
// line, which invokes the function as it does in the cloud.
func (d *demo) operators() []step {
	return []step{
		{"Approve: a change that waits for a yes is made exactly as it was shown", d.approve},
		{"Undo: the team's website is down, so the operator puts back what was there", d.undo},
		{"The exemption is taken away, and the next event closes the bucket again", d.unexempt},
		{"Tug of war: alice opens it again, and the third round is not fought", d.tugOfWar},
		{"Stop: one command, and everything only observes", d.stop},
		{"The whole story of the first case", d.story},
	}
}

// snapback runs the built command line as an operator of the hub would, and
// returns what it printed and its exit code.
func (d *demo) snapback(ctx context.Context, args ...string) (printed string, code int, err error) {
	env, err := d.hub.Env(ctx, "snapback-storage", d.baseline)
	if err != nil {
		return "", 0, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(local.Root(), "build", "snapback"), args...)
	cmd.Env = append(env, "AWS_ENDPOINT_URL_LAMBDA="+d.lambda.Endpoint())
	var quoted []string
	for _, a := range args {
		if strings.Contains(a, " ") {
			a = `"` + a + `"`
		}
		quoted = append(quoted, a)
	}
	say("   $ snapback %s", strings.Join(quoted, " "))
	out, err := cmd.CombinedOutput()
	say("   | %s", strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "\n   | "))
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		say("   exit code %d", exit.ExitCode())
		return string(out), exit.ExitCode(), nil
	}
	return string(out), 0, err
}

// run is a command that must end with exit code 0.
func (d *demo) run(ctx context.Context, args ...string) error {
	_, code, err := d.snapback(ctx, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("snapback %s ended with exit code %d", strings.Join(args, " "), code)
	}
	return err
}

// expect delivers an event that must have one outcome.
func (d *demo) expect(ctx context.Context, name string, outcome control.Outcome) error {
	results, err := d.deliver(ctx, name)
	if err != nil {
		return err
	}
	return want(results, outcome, 1)
}

// latest is the member's newest case of a control.
func (d *demo) latest(ctx context.Context, controlID string) (*ledger.Case, error) {
	cases, err := d.cases(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range cases {
		if c.Control == controlID {
			return c, nil
		}
	}
	return nil, fmt.Errorf("there is no case of %s", controlID)
}

func (d *demo) approve(ctx context.Context) error {
	if err := d.expect(ctx, "config/account-non-compliant", control.AwaitingApproval); err != nil {
		return err
	}
	c, err := d.latest(ctx, "s3-account-public-access")
	if err != nil {
		return err
	}
	if err := d.run(ctx, "cases", "approve", c.ID, "--digest", c.Digest()[:12]); err != nil {
		return err
	}
	if c, err = d.latest(ctx, "s3-account-public-access"); err != nil {
		return err
	}
	if c.Outcome != control.Remediated || len(c.Commands) != 1 || c.Commands[0].By.ARN == "" {
		return fmt.Errorf("the case is %s and does not say who approved: %+v", c.Outcome, c.Commands)
	}
	say("   the ledger knows who approved: %s", c.Commands[0].By.ARN)
	_, code, err := d.snapback(ctx, "cases", "approve", c.ID)
	if err == nil && code != 2 {
		err = fmt.Errorf("approving it again ended with exit code %d, want 2", code)
	}
	return err
}

func (d *demo) undo(ctx context.Context) error {
	c, err := d.latest(ctx, rule)
	if err != nil {
		return err
	}
	if err := d.run(ctx, "cases", "undo", c.ID, "--for", "2h", "--why", "the website is down"); err != nil {
		return err
	}
	if err := d.wantBlock(ctx, 0); err != nil {
		return err
	}
	return d.expect(ctx, deleted, control.Exempt)
}

func (d *demo) unexempt(ctx context.Context) error {
	if err := d.run(ctx, "exempt", "remove", "--control", rule, "--resource", "arn:aws:s3:::"+bucket); err != nil {
		return err
	}
	if err := d.expect(ctx, deleted, control.Remediated); err != nil {
		return err
	}
	return d.wantBlock(ctx, 4)
}

func (d *demo) tugOfWar(ctx context.Context) error {
	if _, err := d.hub.Alerts(ctx); err != nil {
		return err
	}
	if err := d.removeBlock(ctx); err != nil {
		return err
	}
	if err := d.expect(ctx, deleted, control.Held); err != nil {
		return err
	}
	if err := d.expect(ctx, deleted, control.Held); err != nil {
		return err
	}
	alerts, err := d.hub.Alerts(ctx)
	if err != nil {
		return err
	}
	if len(alerts) != 1 || alerts[0].Severity != control.Critical || len(alerts[0].Rounds) != 2 {
		return fmt.Errorf("want one critical alert with both rounds, got %d alerts", len(alerts))
	}
	printAlert(alerts[0].Subject, alerts[0].Alert)
	if err := d.run(ctx, "cases", "release", "--control", rule, "--account", local.MemberAccount); err != nil {
		return err
	}
	return d.wantBlock(ctx, 4)
}

func (d *demo) stop(ctx context.Context) error {
	if err := d.run(ctx, "stop", "--why", "a drill"); err != nil {
		return err
	}
	if err := d.removeBlock(ctx); err != nil {
		return err
	}
	if err := d.expect(ctx, deleted, control.Observed); err != nil {
		return err
	}
	if err := d.wantBlock(ctx, 0); err != nil {
		return err
	}
	if err := d.run(ctx, "start"); err != nil {
		return err
	}
	return d.run(ctx, "status")
}

func (d *demo) story(ctx context.Context) error {
	cases, err := d.cases(ctx)
	if err != nil {
		return err
	}
	return d.run(ctx, "cases", "show", cases[len(cases)-1].ID)
}

func printAlert(subject string, a alert.Alert) {
	say("   Subject: %s\n", subject)
	say("   | %s", strings.ReplaceAll(strings.TrimSpace(a.Text()), "\n", "\n   | "))
}

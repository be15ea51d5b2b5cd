// Command demo plays Snapback's main job on real parts, without an AWS account,
// and prints it for a person to follow. Each step is checked against the
// emulator's state; if one is not so, the demo names it and ends with exit code 1.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := play(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

const (
	bucket = "example-reports" // of the sample events
	policy = `version: 1
reviewed: %s
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1, eu-west-1]}
mode: observe
controls:
  s3-bucket-public-access: {mode: enforce}
  s3-account-public-access: {mode: approve}
runbooks:
  ec2-quarantine: {mode: enforce}
  iam-privilege-escalation: {mode: enforce}
`
)

// demo is the stage and what has been played on it.
type demo struct {
	aws       *local.AWS
	hub       *local.Hub
	functions map[string]*local.Function // by domain
	lambda    *local.Lambda
	baseline  string         // its file
	lines     map[string]int // of a domain's log that have been read
	victim    *scene.Scene   // of the third act
	before    scene.World    // the victim's world before its quarantine
	person    *scene.Person  // of the fourth act
	raised    scene.World    // the account's IAM before he is stopped
}

// step is one scene: what is told, what is done, and what must then be so.
type step struct {
	title string
	play  func(context.Context) error
}

func play(ctx context.Context) error {
	began := time.Now()
	say("Snapback: a bucket that becomes public is closed again, an instance that mines is quarantined,\nand a user who makes himself administrator is stopped.\n")
	say("Real parts: the built functions under AWS's Lambda Runtime Interface Emulator;")
	say("S3, EC2, IAM, STS, SQS, SNS, DynamoDB and more of moto's server; the event")
	say("patterns that are generated from controls and runbooks. No AWS account is touched.")
	d := &demo{functions: map[string]*local.Function{}, lines: map[string]int{}}
	defer d.close()
	acts := slices.Concat([]step{
		{"An organization: hub 111111111111, member 222222222222 with a closed bucket", d.setUp},
		{"In the member, alice removes the bucket's public access block", d.removeBlock},
		{"EventBridge: the CloudTrail event meets the generated patterns", d.patterns},
		{"The storage function takes the event from its queue", d.remediate},
		{"What the operator's e-mail shows", d.alert},
		{"The ledger keeps what was there before", d.ledger},
		{"The same event again, and ten times at once: nothing more happens", d.repeat},
		{"AWS Config tells of the bucket: its live state is looked at, and is well", d.config},
		{"Events that are no reason to look at anything cost no AWS call", d.ignored},
	}, d.operators(), d.threat(), d.escalation())
	for i, s := range acts {
		say("\n%d. %s", i+1, s.title)
		if err := s.play(ctx); err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, s.title, err)
		}
	}
	say("\nEverything was as it should be, in %.0f s. Read on in README.md.", time.Since(began).Seconds())
	return nil
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (d *demo) close() {
	if d.lambda != nil {
		d.lambda.Close()
	}
	for _, f := range d.functions {
		f.Close()
	}
	if d.aws != nil {
		d.aws.Close()
	}
}

func (d *demo) setUp(ctx context.Context) (err error) {
	if d.aws, err = local.StartAWS(ctx); err != nil {
		return err
	}
	if d.hub, err = local.NewHub(ctx, d.aws, nil); err != nil {
		return err
	}
	if _, err = d.s3().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		return err
	}
	if _, err = d.s3().PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: aws.String(bucket), PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true),
			BlockPublicPolicy: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
		},
	}); err != nil {
		return err
	}
	if err := d.startFunctions(ctx, "storage", "response", "identity"); err != nil {
		return err
	}
	say("   the baseline enforces s3-bucket-public-access and the runbooks, asks before it changes the account, and observes all else")
	return d.wantBlock(ctx, 4)
}

func (d *demo) startFunctions(ctx context.Context, domains ...string) error {
	d.baseline = filepath.Join(local.Root(), "build", "demo-baseline.yaml")
	text := fmt.Sprintf(policy, time.Now().UTC().Format(time.DateOnly))
	if err := os.WriteFile(d.baseline, []byte(text), 0o600); err != nil {
		return err
	}
	behind := map[string]*local.Function{}
	for _, domain := range domains {
		name := "snapback-" + domain // of the function, and of its role
		env, err := d.hub.Env(ctx, name, d.baseline)
		if err != nil {
			return err
		}
		f, err := local.StartFunction(ctx, local.FunctionOptions{
			Binary: filepath.Join(local.Root(), "build", "local", domain, "bootstrap"), Env: env,
		})
		if err != nil {
			return err
		}
		d.functions[domain], behind[name] = f, f
	}
	var err error
	d.lambda, err = local.StartLambda(ctx, behind)
	return err
}

func (d *demo) s3() *s3.Client { return s3.NewFromConfig(d.aws.Config(local.MemberAccount)) }

func (d *demo) removeBlock(ctx context.Context) error {
	if _, err := d.s3().DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: aws.String(bucket)}); err != nil {
		return err
	}
	return d.wantBlock(ctx, 0)
}

func (d *demo) patterns(context.Context) error {
	e, err := sample("cloudtrail/s3-delete-bucket-public-access-block")
	if err != nil {
		return err
	}
	var met []string
	rules := 0
	for _, domain := range controls.Domains() {
		for _, rule := range domain.Rules() {
			rules++
			if rule.Pattern.Matcher().Match(e) {
				met = append(met, rule.Name)
				say("   rule %s, %d characters: MATCH", rule.Name, len(rule.Pattern.String()))
			}
		}
	}
	say("   %d rules more: no", rules-len(met))
	if len(met) != 1 || met[0] != "storage-s3" {
		return fmt.Errorf("the event meets the rules %v, want storage-s3 alone", met)
	}
	return nil
}

func (d *demo) remediate(ctx context.Context) error {
	results, err := d.deliver(ctx, "cloudtrail/s3-delete-bucket-public-access-block")
	if err != nil {
		return err
	}
	if err := want(results, control.Remediated, 1); err != nil {
		return err
	}
	return d.wantBlock(ctx, 4)
}

func (d *demo) alert(ctx context.Context) error {
	alerts, err := d.hub.Alerts(ctx)
	if err != nil {
		return err
	}
	if len(alerts) != 1 {
		return fmt.Errorf("%d alerts arrived at the subscribed queue, want 1", len(alerts))
	}
	a := alerts[0]
	printAlert(a.Subject, a.Alert)
	if a.Outcome != control.Remediated || a.Actor == nil || a.Actor.Name != "alice" {
		return errors.New("the alert does not say that it was remediated and who did it")
	}
	return nil
}

func (d *demo) ledger(ctx context.Context) error {
	cases, err := d.cases(ctx)
	if err != nil {
		return err
	}
	if len(cases) != 1 {
		return fmt.Errorf("the ledger holds %d cases, want 1", len(cases))
	}
	c := cases[0]
	say("   case %s: %s, opened %s, closed %s", c.ID, c.Outcome, clock(c.Opened), clock(c.Closed))
	say("   before %s", c.Steps[0].Before)
	say("   after  %s", c.Steps[0].After)
	if c.Outcome != control.Remediated || string(c.Steps[0].Before) != "null" {
		return errors.New("the case does not hold the state before, which was none")
	}
	return nil
}

func (d *demo) repeat(ctx context.Context) error {
	const name = "cloudtrail/s3-delete-bucket-public-access-block"
	results, err := d.deliver(ctx, name)
	if err != nil {
		return err
	}
	if err := want(results, control.Compliant, 1); err != nil {
		return err
	}
	ten := make([]string, 10)
	for i := range ten {
		ten[i] = name
	}
	if results, err = d.deliver(ctx, ten...); err != nil {
		return err
	}
	if err := want(results, control.Compliant, 10); err != nil {
		return err
	}
	return d.wantNothingNew(ctx)
}

func (d *demo) config(ctx context.Context) error {
	results, err := d.deliver(ctx, "config/s3-bucket-item")
	if err != nil {
		return err
	}
	if err := want(results, control.Compliant, 1); err != nil {
		return err
	}
	return d.wantNothingNew(ctx)
}

func (d *demo) ignored(ctx context.Context) error {
	for _, name := range []string{
		"cloudtrail/s3-put-bucket-public-access-block-failed", "cloudtrail/s3-get-bucket-acl", "other/unknown-source",
	} {
		results, err := d.deliver(ctx, name)
		if err != nil {
			return err
		}
		if err := want(results, control.Ignored, 1); err != nil {
			return err
		}
		if n := len(results[0].Calls); n != 0 {
			return fmt.Errorf("event %s cost %d AWS calls, want none", name, n)
		}
	}
	return d.wantNothingNew(ctx)
}

// result is what the demo reads of the function's outcome line.
type result struct {
	Msg, Reason string
	Outcome     control.Outcome
	Calls       []string
}

// deliver puts sample events on the storage function's queue as one batch, and
// returns what the function logged.
func (d *demo) deliver(ctx context.Context, names ...string) ([]result, error) {
	var rule string
	for _, name := range names {
		e, err := sample(name)
		if err != nil {
			return nil, err
		}
		rule = ruleOf(e)
		if err := d.hub.Send(ctx, e.Raw()); err != nil {
			return nil, err
		}
	}
	results, err := d.work(ctx, "storage")
	if err == nil {
		printResults(rule, names, results)
	}
	return results, err
}

// work lets a domain's function work on what is in the queue, and returns what
// it logged.
func (d *demo) work(ctx context.Context, domain string) ([]result, error) {
	f := d.functions[domain]
	delivery, err := d.hub.Source(f).Poll(ctx)
	if err = errors.Join(err, delivery.Err); err != nil {
		return nil, err
	}
	if len(delivery.Failed) > 0 {
		return nil, fmt.Errorf("the function gave %d messages back:\n%s", len(delivery.Failed), f.Logs())
	}
	all := f.Lines()
	var results []result
	for _, line := range all[d.lines[domain]:] {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("read the function's log: %w", err)
		}
		if r.Msg == "outcome" { // commands have lines of their own
			results = append(results, r)
		}
	}
	d.lines[domain] = len(all)
	return results, nil
}

// printResults prints one line for an event, or one for all where they ended alike.
func printResults(rule string, names []string, results []result) {
	if len(results) == 0 {
		return
	}
	r, times := results[0], ""
	if len(names) > 1 {
		times = fmt.Sprintf(", %d times in one batch", len(names))
	}
	say("   %s%s", names[0], times)
	say("     %s", rule)
	say("     %s: %s", strings.ToUpper(string(r.Outcome)), r.Reason)
	if len(names) == 1 {
		say("     %s", strings.TrimRight(fmt.Sprintf("%d AWS calls %s", len(r.Calls), strings.Join(r.Calls, " ")), " "))
	}
}

// ruleOf says which rule brings an event to the function. Those that none
// brings are handed to it all the same, to show that it would not mind.
func ruleOf(e *event.Event) string {
	for _, domain := range controls.Domains() {
		for _, rule := range domain.Rules() {
			if rule.Pattern.Matcher().Match(e) {
				return "rule " + rule.Name
			}
		}
	}
	return "no rule: EventBridge would not even send it"
}

func want(results []result, outcome control.Outcome, times int) error {
	if len(results) != times {
		return fmt.Errorf("%d outcomes were logged, want %d", len(results), times)
	}
	for _, r := range results {
		if r.Outcome != outcome {
			return fmt.Errorf("the outcome is %s (%s), want %s", r.Outcome, r.Reason, outcome)
		}
	}
	return nil
}

// wantBlock checks how many settings of the bucket's block are on.
func (d *demo) wantBlock(ctx context.Context, on int) error {
	got := 0
	out, err := d.s3().GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: aws.String(bucket)})
	if err != nil && !cloud.Is(err, "NoSuchPublicAccessBlockConfiguration") {
		return err
	}
	if err == nil {
		c := out.PublicAccessBlockConfiguration
		for _, flag := range []*bool{c.BlockPublicAcls, c.IgnorePublicAcls, c.BlockPublicPolicy, c.RestrictPublicBuckets} {
			if aws.ToBool(flag) {
				got++
			}
		}
	}
	say("   S3 says: %d of the 4 settings of bucket %s are on", got, bucket)
	if got != on {
		return fmt.Errorf("%d settings of the bucket's public access block are on, want %d", got, on)
	}
	return nil
}

// wantNothingNew checks that there is still the one case, no alert, and the
// bucket closed.
func (d *demo) wantNothingNew(ctx context.Context) error {
	cases, err := d.cases(ctx)
	if err != nil {
		return err
	}
	alerts, err := d.hub.Alerts(ctx)
	if err != nil {
		return err
	}
	if len(cases) != 1 || len(alerts) != 0 {
		return fmt.Errorf("there are %d cases and %d new alerts, want 1 and 0", len(cases), len(alerts))
	}
	return d.wantBlock(ctx, 4)
}

func (d *demo) cases(ctx context.Context) ([]*ledger.Case, error) {
	var cases []*ledger.Case
	for c, err := range d.hub.Ledger().Cases(ctx, ledger.Query{Account: local.MemberAccount}) {
		if err != nil {
			return nil, err
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func sample(name string) (*event.Event, error) {
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", name+".json"))
	if err != nil {
		return nil, err
	}
	return event.Decode(data)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

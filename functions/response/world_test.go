// Package main_test plays the runbooks with the built response function: from a
// finding on its queue to the state of the member account, the ledger, and the
// alert on the queue of the operators.
package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

const (
	quarantine = "ec2-quarantine"
	role       = "snapback-response"

	// enforced lets an instance be quarantined at once.
	enforced = "runbooks: {ec2-quarantine: {mode: enforce}}"
)

// Findings of events/guardduty.
const (
	mining   = "ec2-cryptomining"
	miningID = "5eed0000000000000000000000002001"
	tunnel   = "ec2-dns-exfiltration" // another one, of another type
	attacked = "ec2-ssh-brute-force-target"
)

// built is the response function, built for this test so that it is the code
// under test.
var built string

// house is the hub that all tests share: one AWS, one ledger, one topic. Each
// test has a member account of its own.
var house struct {
	aws *local.AWS
	db  *local.DynamoDB
	hub *local.Hub

	mu     sync.Mutex
	sites  int
	alerts []local.Alert
}

func TestMain(m *testing.M) {
	// go test keeps a result for as long as the test's own binary stays the same:
	// so the function is linked into it, too.
	_, _ = fmt.Fprintf(io.Discard, "%p%p", function.Main, runbooks.Domain)
	code := 1
	if err := open(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	if house.db != nil {
		house.db.Close()
	}
	if house.aws != nil {
		house.aws.Close()
	}
	_ = os.RemoveAll(filepath.Dir(built)) // a temporary folder left behind harms nobody
	os.Exit(code)
}

// open builds the function and starts the hub.
func open() error {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "snapback-response")
	if err != nil {
		return err
	}
	if built, err = local.Build(ctx, "./functions/response", dir); err != nil {
		return err
	}
	if house.aws, err = local.StartAWS(ctx); err != nil {
		return err
	}
	if house.db, err = local.StartDynamoDB(ctx); err != nil {
		return err
	}
	house.hub, err = local.NewHub(ctx, house.aws, house.db)
	return err
}

// site is a member account with a queue of its own, a cold function of the
// baseline that the test wants, and the proxy between that function and AWS.
type site struct {
	t        *testing.T
	account  string
	queue    local.Hub
	proxy    *local.Proxy
	baseline string
	function *local.Function
}

// newSite is a site in an account of its own. The lines are what its baseline
// says more than what is governed.
func newSite(t *testing.T, lines ...string) *site {
	t.Helper()
	house.mu.Lock()
	house.sites++
	account := fmt.Sprintf("3%011d", house.sites)
	house.mu.Unlock()
	return newSiteIn(t, account, lines...)
}

func newSiteIn(t *testing.T, account string, lines ...string) *site {
	t.Helper()
	s := &site{t: t, account: account, queue: *house.hub, baseline: filepath.Join(t.TempDir(), "baseline.yaml")}
	text := strings.Join(append([]string{
		"version: 1", "reviewed: " + time.Now().Format(time.DateOnly),
		`organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}`,
	}, lines...), "\n")
	must(t, os.WriteFile(s.baseline, []byte(text), 0o600))
	q, err := s.sqs().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("events-" + account)})
	must(t, err)
	s.queue.QueueURL = aws.ToString(q.QueueUrl)
	s.proxy, err = local.StartProxy(t.Context(), house.aws, house.db)
	must(t, err)
	t.Cleanup(s.proxy.Close)
	s.function = s.start()
	return s
}

// start is a function more that works for the site.
func (s *site) start() *local.Function {
	s.t.Helper()
	env, err := house.hub.EnvVia(s.t.Context(), role, s.baseline, s.proxy.Endpoint())
	must(s.t, err)
	f, err := local.StartFunction(s.t.Context(), local.FunctionOptions{Binary: built, Env: env})
	must(s.t, err)
	s.t.Cleanup(f.Close)
	return f
}

func (s *site) sqs() *sqs.Client { return sqs.NewFromConfig(house.aws.Config(local.HubAccount)) }

func (s *site) config() aws.Config { return house.aws.Config(s.account) }

func (s *site) ec2() *ec2.Client { return ec2.NewFromConfig(s.config()) }

func (s *site) scene(o scene.Options) *scene.Scene {
	s.t.Helper()
	made, err := scene.Make(s.t.Context(), s.config(), o)
	must(s.t, err)
	return made
}

// sample is one of the findings of events/guardduty.
func sample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", "guardduty", name+".json"))
	must(t, err)
	return data
}

// edited is a finding with other texts in it, given in pairs of old and new.
func edited(t *testing.T, finding []byte, edits ...string) []byte {
	t.Helper()
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(string(finding), edits[i]) {
			t.Fatalf("the finding has no %s", edits[i])
		}
	}
	return []byte(strings.NewReplacer(edits...).Replace(string(finding)))
}

// found puts findings on the queue, as the rule of the domain does, and has the
// function work them off.
func (s *site) found(findings ...[]byte) {
	s.t.Helper()
	if d := s.deliver(findings...); len(d.Failed) > 0 {
		s.t.Fatalf("delivery: %+v\n%s", d, s.function.Logs())
	}
}

func (s *site) deliver(findings ...[]byte) local.Delivery {
	s.t.Helper()
	rule := runbooks.Domain().Rules()[0].Pattern.Matcher()
	for _, f := range findings {
		e, err := event.Decode(f)
		must(s.t, err)
		if !rule.Match(e) {
			s.t.Errorf("no rule of the domain brings it the event %s", f)
		}
	}
	must(s.t, s.queue.Send(s.t.Context(), findings...))
	d, err := s.queue.Source(s.function).Poll(s.t.Context())
	must(s.t, err)
	must(s.t, d.Err)
	return d
}

// batch is an invocation with some findings.
func batch(t *testing.T, findings ...[]byte) []byte {
	t.Helper()
	var b events.SQSEvent
	for i, f := range findings {
		b.Records = append(b.Records, events.SQSMessage{MessageId: fmt.Sprint("m-", i), Body: string(f)})
	}
	data, err := json.Marshal(b)
	must(t, err)
	return data
}

// again hands the messages of a batch that the function reported as failed out
// again, as the queue does, until none is.
func (s *site) again(answer string, batch []byte) {
	s.t.Helper()
	for range 3 {
		if answer == `{"batchItemFailures":[]}` {
			return
		}
		body, err := s.function.Invoke(s.t.Context(), batch)
		must(s.t, err)
		answer = string(body)
	}
	s.t.Errorf("the queue would move messages to the dead-letter queue: %s\n%s", answer, s.function.Logs())
}

// cases are those of the account, oldest first.
func (s *site) cases() (cases []*ledger.Case) {
	s.t.Helper()
	for c, err := range house.hub.Ledger().Cases(s.t.Context(), ledger.Query{Account: s.account}) {
		must(s.t, err)
		cases = append(cases, c)
	}
	slices.Reverse(cases)
	return cases
}

// oneCase is the case of a runbook, of which there must be one.
func (s *site) oneCase(runbook string) *ledger.Case {
	s.t.Helper()
	var of []*ledger.Case
	for _, c := range s.cases() {
		if c.Control == runbook {
			of = append(of, c)
		}
	}
	if len(of) != 1 {
		s.t.Fatalf("there are %d cases of %s, want one: %+v", len(of), runbook, of)
	}
	return of[0]
}

// alerts are those about the account that were not looked at yet.
func (s *site) alerts() (alerts []local.Alert) {
	s.t.Helper()
	house.mu.Lock()
	defer house.mu.Unlock()
	arrived, err := house.hub.Alerts(s.t.Context())
	must(s.t, err)
	house.alerts = slices.DeleteFunc(append(house.alerts, arrived...), func(a local.Alert) bool {
		if a.Account == s.account {
			alerts = append(alerts, a)
		}
		return a.Account == s.account
	})
	return alerts
}

// told is the one alert that was sent since the last look, and its subject
// begins so.
func (s *site) told(subject string) local.Alert {
	s.t.Helper()
	alerts := s.alerts()
	if len(alerts) != 1 || !strings.HasPrefix(alerts[0].Subject, "Snapback "+subject+":") {
		s.t.Fatalf("want one alert %s, got %d: %+v\n%s", subject, len(alerts), alerts, s.function.Logs())
	}
	return alerts[0]
}

func (s *site) notTold() {
	s.t.Helper()
	if a := s.alerts(); len(a) > 0 {
		s.t.Errorf("want no alert, got %+v", a)
	}
}

// outcome is an outcome line of the function.
type outcome struct {
	Msg, Control, Target, Reason string
	Outcome                      control.Outcome
	Calls                        []string
}

// outcomes are the function's outcome lines, oldest first.
func outcomes(t *testing.T, f *local.Function) (all []outcome) {
	t.Helper()
	for _, line := range f.Lines() {
		var o outcome
		must(t, json.Unmarshal(line, &o))
		if o.Msg == "outcome" {
			all = append(all, o)
		}
	}
	return all
}

// last is the function's last outcome line of a runbook.
func (s *site) last(runbook string) outcome {
	s.t.Helper()
	for _, o := range slices.Backward(outcomes(s.t, s.function)) {
		if o.Control == runbook {
			return o
		}
	}
	s.t.Fatalf("the function has no outcome of %s\n%s", runbook, s.function.Logs())
	return outcome{}
}

// command gives the function a command about a case, as an operator does.
func (s *site) command(name string, c *ledger.Case) (a engine.Answer) {
	s.t.Helper()
	r := function.Request{Command: name, Case: c.ID, At: time.Now().UTC()}
	if name == engine.Approve || name == engine.Release {
		r.Digest = c.Digest()
	}
	proof, err := cloud.Prove(s.t.Context(), house.aws.Config(local.HubAccount), r.Hash())
	must(s.t, err)
	r.Proof = &proof
	payload, err := json.Marshal(r)
	must(s.t, err)
	result, err := s.function.Invoke(s.t.Context(), payload)
	must(s.t, err)
	must(s.t, json.Unmarshal(result, &a))
	return a
}

// done gives a command that must be carried out.
func (s *site) done(name string, c *ledger.Case) engine.Answer {
	s.t.Helper()
	a := s.command(name, c)
	if a.Verdict != engine.Done {
		s.t.Fatalf("%s: %s: %s\n%s", name, a.Verdict, a.Reason, s.function.Logs())
	}
	return a
}

// exemption is the one of an instance that is in the ledger; nil if none is.
func (s *site) exemption(of *scene.Scene) *ledger.Exemption {
	s.t.Helper()
	target := control.Target{Account: s.account, Region: local.Region, Type: "AWS::EC2::Instance", ID: of.Instance}
	g, err := house.hub.Ledger().Read(s.t.Context(), ledger.Question{
		Control: quarantine, Target: target, ARN: "arn:aws:ec2:" + local.Region + ":" + s.account + ":instance/" + of.Instance,
	})
	must(s.t, err)
	return g.Exemption
}

func worldOf(t *testing.T, of *scene.Scene) scene.World {
	t.Helper()
	w, err := of.World(t.Context())
	must(t, err)
	return w
}

// wantWorld compares the whole world.
func wantWorld(t *testing.T, of *scene.Scene, want scene.World) {
	t.Helper()
	if diff := cmp.Diff(want, worldOf(t, of)); diff != "" {
		t.Errorf("the world (-want +got):\n%s", diff)
	}
}

// wantLines compares some lines of the world; an empty one must not be there.
func wantLines(t *testing.T, w, want scene.World) {
	t.Helper()
	for name, line := range want {
		if got := w[name]; got != line {
			t.Errorf("%s is %q, want %q", name, got, line)
		}
	}
}

// outcomesOf are those of the steps of a case that count: "preserve-instance
// remediated, …".
func outcomesOf(c *ledger.Case) string {
	var all []string
	for _, s := range c.Current() {
		all = append(all, s.Remedy+" "+string(s.Outcome))
	}
	return strings.Join(all, ", ")
}

// wantCase says how a case has ended, which nobody works on any more.
func wantCase(t *testing.T, c *ledger.Case, outcome control.Outcome, steps string) {
	t.Helper()
	if got := outcomesOf(c); c.Outcome != outcome || c.State != "" || c.Closed.IsZero() || got != steps {
		t.Errorf("the case is %s, its state %q, and its steps are %s", c.Outcome, c.State, got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

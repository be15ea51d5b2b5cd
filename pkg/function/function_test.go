package function_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

const (
	role     = "snapback-storage"
	reports  = "example-reports"
	deleted  = "cloudtrail/s3-delete-bucket-public-access-block"
	enforced = `version: 1
reviewed: 2026-11-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1, eu-west-1]}
mode: enforce
`
)

// The binary is built for this test, so that it is the code under test.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "snapback-function")
	if err == nil {
		binary, err = local.Build(context.Background(), "./functions/storage", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir) // a temporary folder left behind harms nobody
	os.Exit(code)
}

// stage is the hub and a member with the real parts around the built function.
type stage struct {
	t   *testing.T
	aws *local.AWS
	hub *local.Hub
	env []string
}

func newStage(t *testing.T, atomic bool) *stage {
	t.Helper()
	server, err := local.StartAWS(t.Context())
	must(t, err)
	t.Cleanup(server.Close)
	var db *local.DynamoDB
	if atomic {
		db, err = local.StartDynamoDB(t.Context())
		must(t, err)
		t.Cleanup(db.Close)
	}
	hub, err := local.NewHub(t.Context(), server, db)
	must(t, err)
	file := filepath.Join(t.TempDir(), "baseline.yaml")
	must(t, os.WriteFile(file, []byte(enforced), 0o600))
	env, err := hub.Env(t.Context(), role, file)
	must(t, err)
	return &stage{t, server, hub, env}
}

// start runs the function under Lambda's Runtime Interface Emulator.
func (s *stage) start(timeout time.Duration) *local.Function {
	s.t.Helper()
	f, err := local.StartFunction(s.t.Context(), local.FunctionOptions{Binary: binary, Env: s.env, Timeout: timeout})
	must(s.t, err)
	s.t.Cleanup(f.Close)
	return f
}

func (s *stage) s3() *s3.Client { return s3.NewFromConfig(s.aws.Config(local.MemberAccount)) }

func (s *stage) makeBucket(name string) {
	s.t.Helper()
	_, err := s.s3().CreateBucket(s.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)})
	must(s.t, err)
}

// closed reports whether all four flags of the bucket's block are on.
func (s *stage) closed(name string) bool {
	s.t.Helper()
	return s.closedIn(local.MemberAccount, name)
}

func (s *stage) closedIn(account, name string) bool {
	s.t.Helper()
	out, err := s3.NewFromConfig(s.aws.Config(account)).GetPublicAccessBlock(s.t.Context(), &s3.GetPublicAccessBlockInput{Bucket: aws.String(name)})
	if cloud.Is(err, "NoSuchPublicAccessBlockConfiguration") {
		return false
	}
	must(s.t, err)
	c := out.PublicAccessBlockConfiguration
	return *c.BlockPublicAcls && *c.IgnorePublicAcls && *c.BlockPublicPolicy && *c.RestrictPublicBuckets
}

// deliver puts events on the domain's queue and polls it once.
func (s *stage) deliver(f *local.Function, bodies ...[]byte) local.Delivery {
	s.t.Helper()
	must(s.t, s.hub.Send(s.t.Context(), bodies...))
	d, err := s.hub.Source(f).Poll(s.t.Context())
	must(s.t, err)
	must(s.t, d.Err)
	return d
}

func (s *stage) cases() []*ledger.Case {
	s.t.Helper()
	var cases []*ledger.Case
	for c, err := range s.hub.Ledger().Cases(s.t.Context(), ledger.Query{Account: local.MemberAccount}) {
		must(s.t, err)
		cases = append(cases, c)
	}
	return cases
}

func (s *stage) alerts() []local.Alert {
	s.t.Helper()
	alerts, err := s.hub.Alerts(s.t.Context())
	must(s.t, err)
	return alerts
}

// outcomes are those of the function's outcome lines.
func outcomes(t *testing.T, f *local.Function) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, line := range f.Lines() {
		var l struct{ Msg, Outcome string }
		must(t, json.Unmarshal(line, &l))
		if l.Msg == "outcome" {
			found[l.Outcome]++
		}
	}
	return found
}

func sample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", name+".json"))
	must(t, err)
	return data
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWayOfAnEventThroughTheBuiltFunction(t *testing.T) {
	s := newStage(t, false)
	s.makeBucket(reports)
	f := s.start(0)
	body := sample(t, deleted)
	if diff := cmp.Diff([]string{"storage-s3"}, rulesMet(t, body)); diff != "" {
		t.Fatalf("rules that the event meets (-want +got):\n%s", diff)
	}
	if d := s.deliver(f, body); len(d.Delivered) != 1 || len(d.Failed) != 0 {
		t.Fatalf("delivery: %+v\n%s", d, f.Logs())
	}
	if !s.closed(reports) {
		t.Error("the bucket is still open")
	}
	if c := s.cases(); len(c) != 1 || c[0].Outcome != control.Remediated || c[0].Closed.IsZero() {
		t.Errorf("cases: %+v", c)
	}
	if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Remediated || a[0].Actor.Name != "alice" {
		t.Errorf("alerts: %+v", a)
	}
	line := string(f.Lines()[0])
	for _, want := range []string{
		`"outcome":"remediated"`, `"control":"s3-bucket-public-access"`, `"Namespace":"Snapback"`, `"ContainedAfter":`, `"calls":["`, `"case":"`,
	} {
		if !strings.Contains(line, want) {
			t.Errorf("%s is missing in the outcome line %s", want, line)
		}
	}
	if strings.Contains(line, "requestParameters") || strings.Contains(line, "aws-cli") {
		t.Errorf("the outcome line holds the event: %s", line)
	}
}

func TestTheSameEventAgainAndTenTimesInABatchChangesNothingMore(t *testing.T) {
	s := newStage(t, false)
	s.makeBucket(reports)
	f := s.start(0)
	body := sample(t, deleted)
	s.deliver(f, body)
	s.alerts()
	s.deliver(f, body)
	ten := make([][]byte, 10)
	for i := range ten {
		ten[i] = body
	}
	if d := s.deliver(f, ten...); len(d.Delivered) != 10 {
		t.Errorf("delivery: %+v", d)
	}
	if n := len(s.cases()); n != 1 {
		t.Errorf("%d cases", n)
	}
	if a := s.alerts(); len(a) != 0 {
		t.Errorf("alerts: %+v", a)
	}
	if diff := cmp.Diff(map[string]int{"remediated": 1, "compliant": 11}, outcomes(t, f)); diff != "" {
		t.Errorf("outcome lines (-want +got):\n%s", diff)
	}
}

// rulesMet are the generated rules that would bring an event to the function.
func rulesMet(t *testing.T, body []byte) []string {
	t.Helper()
	e, err := event.Decode(body)
	must(t, err)
	var rules []string
	for _, r := range storage.Domain().Rules() {
		if r.Pattern.Matcher().Match(e) {
			rules = append(rules, r.Name)
		}
	}
	return rules
}

func TestTenBuiltFunctionsAtOnceChangeOnce(t *testing.T) {
	s := newStage(t, true)
	s.makeBucket(reports)
	functions := make([]*local.Function, 4)
	for i := range functions {
		functions[i] = s.start(0)
	}
	batch := sqsBatch(sample(t, deleted), 3)
	type answer struct {
		body []byte
		err  error
	}
	answers := make(chan answer)
	for _, f := range functions {
		go func() {
			body, err := f.Invoke(t.Context(), batch)
			answers <- answer{body, err}
		}()
	}
	for range functions {
		a := <-answers
		must(t, a.err)
		if string(a.body) != `{"batchItemFailures":[]}` {
			t.Errorf("answer %s", a.body)
		}
	}
	total := map[string]int{}
	for _, f := range functions {
		for outcome, n := range outcomes(t, f) {
			total[outcome] += n
		}
	}
	if diff := cmp.Diff(map[string]int{"remediated": 1, "compliant": 11}, total); diff != "" {
		t.Errorf("outcomes of twelve events at once in four functions (-want +got):\n%s", diff)
	}
	if n := len(s.cases()); n != 1 {
		t.Errorf("%d cases", n)
	}
	if n := len(s.alerts()); n != 1 {
		t.Errorf("%d alerts", n)
	}
}

// sqsBatch is an invocation with the same event n times.
func sqsBatch(body []byte, n int) []byte {
	var batch events.SQSEvent
	for i := range n {
		batch.Records = append(batch.Records, events.SQSMessage{MessageId: fmt.Sprint("m-", i), Body: string(body)})
	}
	data, err := json.Marshal(batch)
	if err != nil {
		panic(err) // texts always marshal
	}
	return data
}

func TestReorderedEventsLeaveTheBucketClosed(t *testing.T) {
	s := newStage(t, false)
	s.makeBucket(reports)
	f := s.start(0)
	// The newest first, then an older call, then what Config tells of them.
	s.deliver(f, sample(t, "config/s3-bucket-item"))
	s.deliver(f, sample(t, "cloudtrail/s3-put-bucket-policy"), sample(t, deleted))
	if !s.closed(reports) || len(s.cases()) != 1 {
		t.Errorf("closed: %v, cases: %d", s.closed(reports), len(s.cases()))
	}
}

func TestFailedMessagesAreReportedOneByOne(t *testing.T) {
	s := newStage(t, false)
	s.makeBucket(reports)
	// The topic is another's: the violation is mended, its alert can't go out.
	for i, v := range s.env {
		if strings.HasPrefix(v, "SNAPBACK_TOPIC=") {
			s.env[i] = v + "-missing"
		}
	}
	f := s.start(0)
	d := s.deliver(f, sample(t, deleted), sample(t, "cloudtrail/s3-get-bucket-acl"), sample(t, "other/unknown-source"))
	if len(d.Delivered) != 2 || len(d.Failed) != 1 {
		t.Fatalf("want the one event with an alert to be handed out again: %+v", d)
	}
	if !s.closed(reports) {
		t.Error("the bucket stays open because an alert can't be sent")
	}
	for range 3 {
		_, err := s.hub.Source(f).Poll(t.Context())
		must(t, err)
	}
	if dead, err := s.hub.Dead(t.Context()); err != nil || dead != "1" {
		t.Errorf("the dead-letter queue holds %s messages, want 1 (%v)", dead, err)
	}
}

func TestKilledFunctionsWorkIsFinishedByTheRedelivery(t *testing.T) {
	s := newStage(t, true)
	s.makeBucket(reports)
	// A case that a killed function left open: its lease ended, the change half made.
	now := time.Now()
	change := control.Change{
		Target: control.Target{Account: local.MemberAccount, Region: local.Region, Type: "AWS::S3::Bucket", ID: reports},
		Before: []byte("null"), After: []byte(`{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":true,"RestrictPublicBuckets":true}`),
	}
	left := &ledger.Case{
		Version: ledger.CaseVersion, ID: ledger.NewID(now), Control: "s3-bucket-public-access", Target: change.Target, Opened: now,
		Steps: []ledger.Step{{Remedy: "block-bucket-public-access", Before: change.Before, After: change.After, Digest: change.Digest()}},
	}
	must(t, s.hub.Ledger().Open(t.Context(), left, ledger.Gates{}, ledger.NewWorker(now.Add(-time.Second))))
	f := s.start(0)
	s.deliver(f, sample(t, deleted))
	c := s.cases()
	if len(c) != 1 || c[0].ID != left.ID || c[0].Outcome != control.Remediated || string(c[0].Steps[0].Before) != "null" {
		t.Errorf("cases: %+v", c)
	}
	if !s.closed(reports) {
		t.Error("the bucket is still open")
	}
}

func TestFunctionThatLacksConfigurationDoesNotStart(t *testing.T) {
	f, err := local.StartFunction(t.Context(), local.FunctionOptions{Binary: binary, Env: []string{"AWS_REGION=us-east-1", "SNAPBACK_TOPIC=alerts"}})
	must(t, err)
	t.Cleanup(f.Close)
	_, err = f.Invoke(t.Context(), []byte(`{"Records":[]}`))
	if err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{
		"the function does not start", "SNAPBACK_TABLE is missing: set it to", "SNAPBACK_ROLE is missing",
		`SNAPBACK_TOPIC is \"alerts\": want an ARN`,
	} {
		if !strings.Contains(f.Logs(), want) {
			t.Errorf("the log does not say %q:\n%s", want, f.Logs())
		}
	}
}

func TestFaultyBaselineIsNamedWithItsPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline.yaml")
	must(t, os.WriteFile(file, []byte(strings.Replace(enforced, "mode: enforce", "mode: sometimes", 1)), 0o600))
	_, err := function.New(t.Context(), function.Config{Baseline: file}, storage.Domain(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), file+":4:7: ") {
		t.Errorf("got %v", err)
	}
	_, err = function.New(t.Context(), function.Config{Baseline: file + ".missing"}, storage.Domain(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "read the baseline") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyTheBaselineThatWasDeployedIsTaken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline.yaml")
	must(t, os.WriteFile(file, []byte(enforced), 0o600))
	sum := sha256.Sum256([]byte(enforced))
	digest := hex.EncodeToString(sum[:])
	t.Setenv("AWS_REGION", local.Region)
	for _, deployed := range []string{"", digest} {
		if _, err := function.New(t.Context(), function.Config{Baseline: file, Digest: deployed}, storage.Domain(), slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("digest %q: %v", deployed, err)
		}
	}
	env := []string{
		"AWS_REGION=us-east-1", "SNAPBACK_TABLE=t", "SNAPBACK_TOPIC=arn:aws:sns:us-east-1:111111111111:a", "SNAPBACK_ROLE=r",
		"SNAPBACK_BASELINE=" + file, "SNAPBACK_BASELINE_DIGEST=" + digest[1:] + "0",
	}
	f, err := local.StartFunction(t.Context(), local.FunctionOptions{Binary: binary, Env: env})
	must(t, err)
	t.Cleanup(f.Close)
	if _, err := f.Invoke(t.Context(), []byte(`{"Records":[]}`)); err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{"the function does not start", file, digest, digest[1:] + "0", "deploy again"} {
		if !strings.Contains(f.Logs(), want) {
			t.Errorf("the log does not say %q:\n%s", want, f.Logs())
		}
	}
}

func TestConfigurationIsReadFromTheEnvironment(t *testing.T) {
	env := map[string]string{
		"SNAPBACK_TABLE": "t", "SNAPBACK_TOPIC": "arn:aws:sns:us-east-1:111111111111:a", "SNAPBACK_ROLE": "r", "LAMBDA_TASK_ROOT": "/var/task",
	}
	c, err := function.ReadConfig(func(name string) string { return env[name] })
	must(t, err)
	want := function.Config{Table: "t", Topic: env["SNAPBACK_TOPIC"], Role: "r", Baseline: "/var/task/baseline.yaml", Version: "dev"}
	if c != want {
		t.Errorf("got %+v", c)
	}
	env["SNAPBACK_VERSION"], env["SNAPBACK_BASELINE_DIGEST"] = "1.2.0", "3f2a"
	want.Version, want.Digest = "1.2.0", "3f2a"
	if c, err = function.ReadConfig(func(name string) string { return env[name] }); err != nil || c != want {
		t.Errorf("got %+v, %v", c, err)
	}
}

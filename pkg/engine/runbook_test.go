package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/facts"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// house is a stage with a runbook of its own: it answers findings about a house
// by shutting four doors, each of which is a bucket of the member account with
// its Block Public Access off. So a house has the shape of an instance with
// several things to contain, and a world that can be looked at.
type house struct {
	*stage
	doors  map[string]*door
	called bool // by a call, and not by findings
}

type door struct {
	after   []string
	urgent  bool
	left    string // what shutting it leaves open
	touches string
	fixed   bool // there is nothing that could be shut
}

const theHouse = "i-0123456789abcdef0"

// newHouse is a house whose runbook has the given mode; empty: the default.
func newHouse(t *testing.T, mode string, more ...string) *house {
	t.Helper()
	return newHouseOn(t, newStage(t, "observe"), mode, more...)
}

func newHouseOn(t *testing.T, s *stage, mode string, more ...string) *house {
	t.Helper()
	h := &house{stage: s, doors: map[string]*door{
		"north": {}, "south": {after: []string{"shut-north"}}, "east": {urgent: true}, "west": {after: []string{"shut-east", "shut-south"}},
	}}
	for name := range h.doors {
		h.open(name)
	}
	lines := []string{"runbooks: {shut-doors: {mode: " + mode + "}}"}
	if mode == "" {
		lines = nil
	}
	h.engine = h.rebuild(append(lines, more...)...)
	return h
}

// rebuild is another engine with the same runbooks.
func (h *house) rebuild(more ...string) *engine.Engine {
	h.t.Helper()
	domain := control.Domain{Name: "houses", Runbooks: []control.Runbook{h.runbook(), teller()}}
	if h.called {
		domain.Runbooks = []control.Runbook{h.calledRunbook()}
	}
	text := strings.Join(append([]string{
		"version: 1", "reviewed: " + time.Now().Format(time.DateOnly),
		`organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1, eu-west-1]}`,
	}, more...), "\n")
	b, problems := baseline.Parse("baseline.yaml", []byte(text), []control.Domain{domain}, time.Now())
	if b == nil {
		h.t.Fatal(problems)
	}
	cfg := h.aws.Config(local.HubAccount)
	cfg.HTTPClient = h.faults
	return &engine.Engine{
		Runbooks: domain.Runbooks, Baseline: b, Sessions: cloud.NewSessions(cfg, "snapback-houses", "houses"),
		Facts: facts.New(cfg), Ledger: h.hub.LedgerVia(h.faults), Alerts: alert.NewTopic(cfg, h.hub.Topic), Version: version,
	}
}

func (h *house) runbook() control.Runbook {
	r := control.Runbook{
		ID: "shut-doors", Title: "Doors are shut", Rationale: "x", Hazard: "x",
		Resource: control.Resource{
			Type: "AWS::EC2::Instance", IDs: regexp.MustCompile(`^i-[0-9a-f]{17}$`), Sample: theHouse,
			ARN: func(t control.Target) string {
				return "arn:aws:ec2:" + t.Region + ":" + t.Account + ":instance/" + t.ID
			},
		},
		Findings: []string{"CryptoCurrency:EC2/*", "Backdoor:EC2/*"},
		Targets: func(f *event.Finding) []control.Target {
			return []control.Target{{ID: f.Get("resource.instanceDetails.instanceId").String()}}
		},
	}
	for _, name := range []string{"north", "south", "east", "west"} {
		if d := h.doors[name]; d != nil {
			r.Steps = append(r.Steps, control.Step{After: d.after, Urgent: d.urgent, Remedy: h.remedy(name)})
		}
	}
	return r
}

func (h *house) remedy(name string) control.Remedy {
	return control.Remedy{
		Name: "shut-" + name,
		Plan: func(ctx context.Context, s *cloud.Session, t control.Target) (*control.Change, error) {
			return h.doors[name].plan(ctx, s, t, name)
		},
		Apply: func(ctx context.Context, s *cloud.Session, _ control.Change) error { return shut(ctx, s, name) },
		Undo: func(ctx context.Context, s *cloud.Session, c control.Change) error {
			now, err := isShut(ctx, s, name)
			switch {
			case cloud.Is(err, "NoSuchBucket"):
				return &control.LeftError{Left: []string{"There is no door " + name + " any more."}}
			case err != nil:
				return err
			case !now:
				return &control.MovedError{Change: c, Now: c.Before}
			}
			_, err = client(s).DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: &name})
			return err
		},
	}
}

func (d *door) plan(ctx context.Context, s *cloud.Session, t control.Target, name string) (*control.Change, error) {
	if t.ID != theHouse {
		return nil, fmt.Errorf("read house: %w", control.ErrGone)
	}
	now, err := isShut(ctx, s, name)
	c := &control.Change{Target: t, Reason: "Door " + name + " is open.", Before: []byte(`"open"`), After: []byte(`"shut"`)}
	if d.left != "" {
		c.Left = []string{d.left}
	}
	if d.touches != "" {
		c.Touches = []string{d.touches}
	}
	switch {
	case err != nil:
		return nil, err
	case d.fixed || now && d.left != "":
		c.After = nil
	case now:
		return nil, nil
	}
	return c, nil
}

func client(s *cloud.Session) *s3.Client {
	return cloud.Client(s, func(cfg aws.Config) *s3.Client { return s3.NewFromConfig(cfg) })
}

func shut(ctx context.Context, s *cloud.Session, name string) error {
	_, err := client(s).PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: &name, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true),
			IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
		},
	})
	return err
}

func isShut(ctx context.Context, s *cloud.Session, name string) (bool, error) {
	_, err := client(s).GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &name})
	if cloud.Is(err, "NoSuchPublicAccessBlockConfiguration") {
		return false, nil
	}
	return err == nil, err
}

// teller only tells of findings.
func teller() control.Runbook {
	return control.Runbook{
		ID: "tell", Title: "Findings are told", Rationale: "x", Findings: []string{"*"},
		Resource: control.Resource{
			Type: control.TypeFinding, IDs: regexp.MustCompile(`^[a-z0-9]+$`),
			ARN: func(t control.Target) string { return "arn:aws:guardduty:" + t.Region + ":" + t.Account + ":" + t.ID },
		},
		Targets: func(f *event.Finding) []control.Target { return []control.Target{{ID: f.ID}} },
		Reason:  func(*event.Finding) string { return "Nobody knows what to do." },
	}
}

// found is the event of a finding about the house; change edits its JSON.
func found(t *testing.T, edits ...string) *event.Event {
	t.Helper()
	text := `{"version":"0","id":"e0000001","detail-type":"GuardDuty Finding","source":"aws.guardduty","account":"222222222222",
"time":"2026-11-22T01:00:00Z","region":"us-east-1","resources":[],"detail":{"schemaVersion":"2.0","accountId":"222222222222",
"region":"us-east-1","partition":"aws","id":"f0000001","type":"CryptoCurrency:EC2/BitcoinTool.B","severity":8,"title":"The house is mining.",
"updatedAt":"2026-11-22T01:00:00.000Z","resource":{"resourceType":"Instance","instanceDetails":{"instanceId":"` + theHouse + `"}},
"service":{"serviceName":"guardduty","resourceRole":"ACTOR","count":1,"archived":false,"additionalInfo":{}}}}`
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("the finding has no %s", edits[i])
		}
		text = strings.ReplaceAll(text, edits[i], edits[i+1])
	}
	e, err := event.Decode([]byte(text))
	must(t, err)
	return e
}

func (h *house) find(edits ...string) engine.Result {
	h.t.Helper()
	return one(h.t, h.engine.Handle(h.t.Context(), found(h.t, edits...)))
}

// shut are the doors that are shut, in alphabetical order.
func (h *house) shut() string {
	h.t.Helper()
	var names []string
	for name := range h.doors {
		if h.block(name) == "on" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (h *house) wantShut(want string) {
	h.t.Helper()
	if got := h.shut(); got != want {
		h.t.Errorf("shut are the doors %q, want %q", got, want)
	}
}

// outcomes are those of the current steps of a case.
func outcomes(c *ledger.Case) string {
	var all []string
	for _, s := range c.Current() {
		all = append(all, strings.TrimPrefix(s.Remedy, "shut-")+" "+string(s.Outcome))
	}
	return strings.Join(all, ", ")
}

const all = "east north south west"

// refuse lets S3 refuse to shut a door, for good or, with another status, not.
func (h *house) refuse(door string, status int, code string) {
	h.refuseTo("PutPublicAccessBlock", door, status, code)
}

// unreadable answers with an error where a door is looked at.
func (h *house) unreadable(door string, status int, code string) {
	h.refuseTo("GetPublicAccessBlock", door, status, code)
}

func (h *house) refuseTo(call, door string, status int, code string) {
	h.faults.set(func(service, operation string, r *http.Request) (*http.Response, error) {
		if service == "S3" && operation == call && strings.HasSuffix(r.URL.Path, "/"+door) {
			return says(status, code, "no", r), nil
		}
		return nil, nil
	})
}

func TestEveryStepIsMadeInItsOrderAndReadBack(t *testing.T) {
	h := newHouse(t, "enforce")
	var mu sync.Mutex
	var order []string
	h.faults.set(func(_, operation string, r *http.Request) (*http.Response, error) {
		if operation == "PutPublicAccessBlock" {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, strings.Trim(r.URL.Path, "/"))
		}
		return nil, nil
	})
	h.want(h.find(), control.Remediated, "The house is mining.")
	h.wantShut(all)
	before := func(a, b string) {
		if slices.Index(order, a) > slices.Index(order, b) {
			t.Errorf("%s was shut after %s: %v", a, b, order)
		}
	}
	before("north", "south")
	before("south", "west")
	before("east", "west")
	c := h.oneCase()
	if got := outcomes(c); got != "north remediated, south remediated, east remediated, west remediated" || c.State != "" || c.Closed.IsZero() {
		t.Errorf("the case says %s: %+v", got, c)
	}
	if f := c.Findings; len(f) != 1 || f[0].ID != "f0000001" || f[0].Severity != 8 || c.Severity != control.High {
		t.Errorf("the case's findings: %+v, severity %s", f, c.Severity)
	}
	if a := h.alerts(); len(a) != 1 || a[0].Outcome != control.Remediated || len(a[0].Changes) != 4 {
		t.Errorf("alerts: %+v", a)
	}
	u, err := h.hub.Ledger().Usage(t.Context(), ledger.Limit{Scope: ledger.PerThreatAccount, Of: local.MemberAccount}, time.Now())
	must(t, err)
	posture, err := h.hub.Ledger().Usage(t.Context(), ledger.Limit{Scope: ledger.PerAccount, Of: local.MemberAccount}, time.Now())
	must(t, err)
	if u.Changes != 1 || posture.Changes != 0 {
		t.Errorf("counted %d changes after findings and %d others, want 1 and 0", u.Changes, posture.Changes)
	}
}

// The urgent door is shut while another one can't even be looked at.
func TestUrgentStepDoesNotWaitForThePlansOfTheOthers(t *testing.T) {
	h := newHouse(t, "enforce")
	eastShut := make(chan struct{})
	h.faults.set(func(_, operation string, r *http.Request) (*http.Response, error) {
		switch {
		case operation == "PutPublicAccessBlock" && strings.HasSuffix(r.URL.Path, "/east"):
			close(eastShut)
		case operation == "GetPublicAccessBlock" && strings.HasSuffix(r.URL.Path, "/north"):
			select {
			case <-eastShut:
			case <-time.After(30 * time.Second):
				t.Error("the urgent door was not shut before all doors were looked at")
			}
		}
		return nil, nil
	})
	h.want(h.find(), control.Remediated, "")
	h.wantShut(all)
	if got := outcomes(h.oneCase()); got != "north remediated, south remediated, east remediated, west remediated" {
		t.Errorf("the case says %s", got)
	}
}

func TestFailedStepDoesNotStopTheRest(t *testing.T) {
	h := newHouse(t, "enforce")
	h.refuse("north", 403, "AccessDenied")
	h.want(h.find(), control.Partial, "AccessDenied")
	h.wantShut("east south west")
	c := h.oneCase()
	if got := outcomes(c); got != "north failed, south remediated, east remediated, west remediated" {
		t.Errorf("the case says %s", got)
	}
	if a := h.alerts(); len(a) != 1 || a[0].Outcome != control.Partial {
		t.Errorf("alerts: %+v", a)
	}
	h.faults.set(nil)
	h.answered(h.do(engine.Retry, c), engine.Done, "")
	h.wantShut(all)
	c = h.oneCase()
	if got := outcomes(c); got != "north remediated, south remediated, east remediated, west remediated" || c.Outcome != control.Remediated {
		t.Errorf("after the retry the case is %s and says %s", c.Outcome, got)
	}
	h.answered(h.do(engine.Undo, c), engine.Done, "undone")
	h.wantShut("")
}

func TestWhatCantBeChangedIsNeverCalledContained(t *testing.T) {
	h := newHouse(t, "enforce")
	h.doors["east"].left = "The cat flap stays open."
	h.doors["north"].fixed = true
	h.engine = h.rebuild("runbooks: {shut-doors: {mode: enforce}}")
	h.want(h.find(), control.Partial, "")
	h.wantShut("east south west")
	c := h.oneCase()
	if diff := cmp.Diff([]string{"The cat flap stays open."}, c.Step("shut-east").Left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	h.alerts()
	h.want(h.find("e0000001", "e0000002"), control.Partial, "contained by case "+c.ID)
	h.oneCase()
	h.noAlert()
}

func TestProtectedPrincipalIsNotTouched(t *testing.T) {
	h := newHouse(t, "enforce")
	h.doors["west"].touches = "arn:aws:iam::222222222222:role/break-glass"
	h.engine = h.rebuild("runbooks: {shut-doors: {mode: enforce}}", `protected: {principals: ["arn:aws:iam::*:role/break-glass"]}`)
	h.want(h.find(), control.Partial, "break-glass is not changed: it is a protected principal")
	h.wantShut("east north south")
}

func TestDefaultModeFollowsTheSeverity(t *testing.T) {
	h := newHouse(t, "")
	h.want(h.find(`"severity":8`, `"severity":5`), control.Observed, "")
	h.wantShut("")
	h.alerts()
	h.want(h.find("f0000001", "f0000002"), control.AwaitingApproval, "")
	h.wantShut("")
	c := h.cases()[0]
	if a := h.alerts(); len(a) != 1 || a[0].Outcome != control.AwaitingApproval {
		t.Errorf("alerts: %+v", a)
	}
	h.answered(h.do(engine.Approve, c), engine.Done, "changed, and read back")
	h.wantShut(all)
}

func TestApprovalOfOtherDoorsThanShownIsRefused(t *testing.T) {
	h := newHouse(t, "approve")
	h.find()
	c := h.oneCase()
	h.setBlock("south", true, true, true, true)
	a := h.do(engine.Approve, c)
	h.answered(a, engine.NotSo, "the resource has moved since")
	if a.Shown == nil || a.Now == nil || a.Shown.Remedy != "shut-south" {
		t.Errorf("shown %+v, now %+v", a.Shown, a.Now)
	}
	h.wantShut("south")
	h.answered(h.do(engine.Approve, h.oneCase()), engine.Done, "")
	h.wantShut(all)
	h.answered(h.do(engine.Undo, h.oneCase()), engine.Done, "")
	h.wantShut("south") // which was shut before
}

func TestFindingThatComesAgainAddsToItsCase(t *testing.T) {
	for _, tt := range []struct {
		mode    string
		outcome control.Outcome
		shut    string
	}{{"enforce", control.Compliant, all}, {"approve", control.AwaitingApproval, ""}, {"observe", control.Observed, ""}} {
		t.Run(tt.mode, func(t *testing.T) {
			h := newHouse(t, tt.mode)
			h.find()
			h.alerts()
			h.want(h.find("e0000001", "e0000002", `"count":1`, `"count":7`), tt.outcome, "")
			// The administrator's copy, and a delivery that comes late.
			h.want(h.find("e0000001", "e0000003", `"account":"222222222222"`, `"account":"111111111111"`, `"count":1`, `"count":7`), tt.outcome, "")
			h.want(h.find(), tt.outcome, "")
			h.noAlert()
			h.wantShut(tt.shut)
			if f := h.oneCase().Findings; len(f) != 1 || f[0].Count != 7 {
				t.Errorf("findings: %+v", f)
			}
		})
	}
}

func TestAnotherThreatToAWaitingResourceIsNews(t *testing.T) {
	h := newHouse(t, "approve")
	h.find()
	first := h.alerts()
	h.want(h.find("f0000001", "f0000002", "CryptoCurrency:EC2/BitcoinTool.B", "Backdoor:EC2/Spambot"), control.AwaitingApproval, "")
	second := h.alerts()
	if len(first) != 1 || len(second) != 1 || first[0].ID == second[0].ID {
		t.Errorf("alerts: %+v, then %+v", first, second)
	}
	h.find("f0000001", "f0000002", "CryptoCurrency:EC2/BitcoinTool.B", "Backdoor:EC2/Spambot")
	h.noAlert()
	if f := h.oneCase().Findings; len(f) != 2 {
		t.Errorf("findings: %+v", f)
	}
}

func TestSampleIsADrill(t *testing.T) {
	h := newHouse(t, "enforce")
	sample := []string{`"additionalInfo":{}`, `"additionalInfo":{"sample":true}`}
	h.want(h.find(sample...), control.Observed, "")
	h.find(sample...) // handed out twice
	h.wantShut("")
	c := h.oneCase()
	if !c.Drill || len(c.Steps) != 4 || c.State != "" || c.Closed.IsZero() || string(c.Steps[0].After) != `"shut"` {
		t.Errorf("the drill: %+v", c)
	}
	if a := h.alerts(); len(a) != 1 {
		t.Errorf("alerts: %+v", a)
	}
	h.answered(h.do(engine.Approve, c), engine.Misuse, "")
	h.want(h.find(), control.Remediated, "") // and the house can still be shut
	gone := append(sample, theHouse, "i-99999999999999999", "f0000001", "f0000009")
	h.want(h.find(gone...), control.Observed, "does not exist")
	if c := h.cases()[0]; !c.Drill || len(c.Steps) != 0 {
		t.Errorf("the drill: %+v", c)
	}
}

func TestFindingNobodyKnowsIsToldOnce(t *testing.T) {
	h := newHouse(t, "enforce")
	h.want(h.find("CryptoCurrency:EC2/BitcoinTool.B", "Future:Moon/Landing"), control.Observed, "Nobody knows what to do.")
	h.find("CryptoCurrency:EC2/BitcoinTool.B", "Future:Moon/Landing", `"count":1`, `"count":2`, "e0000001", "e0000002")
	c := h.oneCase()
	if c.Control != "tell" || c.State != "" || c.Closed.IsZero() || c.Findings[0].Count != 2 {
		t.Errorf("the case: %+v", c)
	}
	if a := h.alerts(); len(a) != 1 {
		t.Errorf("alerts: %+v", a)
	}
	h.wantShut("")
}

func TestFindingAboutWhatIsGoneIsTold(t *testing.T) {
	h := newHouse(t, "enforce")
	results := h.engine.Handle(t.Context(), found(t, theHouse, "i-00000000000000000"))
	if len(results) != 2 || results[0].Outcome != control.Gone {
		t.Fatalf("results: %+v", results)
	}
	h.want(results[1], control.Observed, "shut-doors found nothing to do on i-00000000000000000")
	if a := h.alerts(); len(a) != 1 {
		t.Errorf("alerts: %+v", a)
	}
}

func TestArchivedFindingIsIgnored(t *testing.T) {
	h := newHouse(t, "enforce")
	h.want(h.find(`"archived":false`, `"archived":true`), control.Ignored, "archived")
	h.wantShut("")
	h.noAlert()
}

func TestReleaseLeavesAnExemptionUnderWhichThreatsAreStillTold(t *testing.T) {
	h := newHouse(t, "enforce")
	h.find()
	h.deleteBucket("south")
	a := h.do(engine.Undo, h.oneCase())
	h.answered(a, engine.Done, "Not put back: shut-south: There is no door south any more.")
	h.open("south")
	h.wantShut("")
	h.alerts()
	h.want(h.find("e0000001", "e0000002", `"count":1`, `"count":2`), control.Observed, "exempt until")
	h.wantShut("")
	if a := h.alerts(); len(a) != 1 {
		t.Errorf("alerts: %+v", a)
	}
	h.find("e0000001", "e0000003", `"count":1`, `"count":3`)
	h.noAlert()
}

func TestTwoFindingsAtOnceAreOneCase(t *testing.T) {
	h := newHouseOn(t, newAtomicStage(t, "observe"), "enforce")
	results := make([]engine.Result, 4)
	var side sync.WaitGroup
	for i := range results {
		e := found(t, "e0000001", fmt.Sprintf("e100000%d", i), "f0000001", fmt.Sprintf("f000000%d", i))
		other := h.rebuild("runbooks: {shut-doors: {mode: enforce}}")
		side.Go(func() { results[i] = other.Handle(t.Context(), e)[0] })
	}
	side.Wait()
	h.wantShut(all)
	c := h.oneCase()
	if c.Outcome != control.Remediated || len(c.Findings) != 4 {
		t.Errorf("the case is %s, with the findings %+v", c.Outcome, c.Findings)
	}
	if a := h.alerts(); len(a) != 1 {
		t.Errorf("alerts: %+v", a)
	}
}

// A worker that is killed at any of its calls, before or after AWS has carried
// it out, leaves a case that the next delivery finishes, and an undo that leads
// to where it began.
func TestKilledWorkerIsFollowedByAnother(t *testing.T) {
	for killed := 1; ; killed++ {
		h := newHouse(t, "enforce")
		over := h.kill(killed, "runbooks: {shut-doors: {mode: enforce}}")
		h.wantShut(all)
		c := h.oneCase()
		if c.Outcome != control.Remediated || c.State != "" {
			t.Errorf("killed at call %d, the case is %s: %s", killed, c.Outcome, outcomes(c))
		}
		h.answered(h.do(engine.Undo, c), engine.Done, "")
		h.wantShut("")
		if t.Failed() {
			t.Fatalf("killed at call %d", killed)
		}
		if over {
			t.Logf("killed at each of %d calls", killed-1)
			return
		}
	}
}

// Whoever follows a killed worker leaves alone what is protected.
func TestProtectedPrincipalIsNotTouchedAfterACrash(t *testing.T) {
	for killed := 5; killed < 15; killed += 3 {
		h := newHouse(t, "enforce")
		h.doors["north"].touches = "arn:aws:iam::222222222222:role/break-glass"
		lines := []string{"runbooks: {shut-doors: {mode: enforce}}", `protected: {principals: ["arn:aws:iam::*:role/break-glass"]}`}
		h.engine = h.rebuild(lines...)
		h.kill(killed, lines...)
		h.wantShut("east south west")
		if c := h.oneCase(); c.Outcome != control.Partial || c.Step("shut-north").Outcome != control.Held {
			t.Errorf("killed at call %d, the case is %s: %s", killed, c.Outcome, outcomes(c))
		}
	}
}

// kill kills the worker of a finding at its nth call, every other time after AWS
// has carried that out, and lets another worker follow. It reports whether the
// first one had made all its calls.
func (h *house) kill(nth int, baseline ...string) (over bool) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	calls := 0
	var mu sync.Mutex
	h.faults.set(func(_, _ string, r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls == nth {
			cancel()
			if nth%2 == 0 {
				_, _ = h.faults.client.Do(r) // AWS did it, nobody heard
			}
		}
		return nil, ctx.Err()
	})
	h.engine.Handle(ctx, found(h.t))
	over = calls < nth
	h.faults.set(nil)
	h.endLease()
	h.engine = h.rebuild(baseline...)
	h.engine.Handle(h.t.Context(), found(h.t))
	return over
}

// endLease ends the lease of a killed worker, as time does.
func (h *house) endLease() {
	h.t.Helper()
	_, err := h.db().UpdateItem(h.t.Context(), &dynamodb.UpdateItemInput{
		TableName: aws.String(h.hub.Table), Key: map[string]ddb.AttributeValue{
			"pk": &ddb.AttributeValueMemberS{Value: "target#222222222222/us-east-1/AWS::EC2::Instance/" + theHouse},
			"sk": &ddb.AttributeValueMemberS{Value: "lock"},
		},
		UpdateExpression:          aws.String("SET lease = :past"),
		ConditionExpression:       aws.String("attribute_exists(lease)"),
		ExpressionAttributeValues: map[string]ddb.AttributeValue{":past": &ddb.AttributeValueMemberN{Value: "1"}},
	})
	if !cloud.Is(err, "ConditionalCheckFailedException") { // it was given free, or never taken
		must(h.t, err)
	}
}

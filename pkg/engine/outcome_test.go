package engine_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

const deleted = "cloudtrail/s3-delete-bucket-public-access-block"

func TestViolationIsChangedVerifiedRecordedAndAlerted(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)

	r := s.handle(deleted)
	s.want(r, control.Remediated, "not configured")
	if got := s.block(reports); got != "on" {
		t.Errorf("the bucket's block is %s, want on", got)
	}
	c := s.oneCase()
	wantRemediatedCase(t, r, c)
	alerts := s.alerts()
	if len(alerts) != 1 {
		t.Fatalf("want one alert, got %d", len(alerts))
	}
	a := alerts[0]
	if a.Outcome != control.Remediated || a.Case != c.ID || a.Subject != "Snapback REMEDIATED: s3-bucket-public-access example-reports in 222222222222" {
		t.Errorf("the alert does not tell of the case: %+v", a)
	}
	if a.Baseline != s.engine.Baseline.Digest {
		t.Errorf("the alert names the baseline %s, and %s decided", a.Baseline, s.engine.Baseline.Digest)
	}
	want := map[string]string{
		"outcome": "remediated", "severity": "HIGH", "account": local.MemberAccount, "region": "us-east-1", "control": "s3-bucket-public-access",
	}
	if diff := cmp.Diff(want, a.Attributes); diff != "" {
		t.Errorf("attributes for filter policies (-want +got):\n%s", diff)
	}
}

// wantRemediatedCase checks what a case must tell years later.
func wantRemediatedCase(t *testing.T, r engine.Result, c *ledger.Case) {
	t.Helper()
	if c.ID != r.Case || c.Outcome != control.Remediated || c.Closed.IsZero() || len(c.Alerts) != 1 || c.State != "" {
		t.Errorf("the case is not closed as remediated: %+v", c)
	}
	if c.Actor == nil || c.Actor.Name != "alice" || c.Event.Name != "DeleteBucketPublicAccessBlock" || c.ARN != "arn:aws:s3:::"+reports {
		t.Errorf("the case does not say who did what to which resource: %+v", c)
	}
	step := c.Steps[0]
	if string(step.Before) != "null" || !strings.Contains(string(step.After), `"BlockPublicAcls":true`) || step.Verified.IsZero() {
		t.Errorf("the step does not hold the states before and after: %+v", step)
	}
}

func TestOnlyTheBlockIsChanged(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	s.setBlock(reports, true, false, true, false)
	r := s.handle("cloudtrail/s3-put-bucket-policy")
	s.want(r, control.Remediated, "IgnorePublicAcls, RestrictPublicBuckets")
	if got := string(s.oneCase().Steps[0].Before); got != `{"BlockPublicAcls":true,"IgnorePublicAcls":false,"BlockPublicPolicy":true,"RestrictPublicBuckets":false}` {
		t.Errorf("Before is %s", got)
	}
}

func TestSecondEventFindsItCompliantAndWritesNothing(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	s.handle(deleted)
	s.alerts()
	for range 3 {
		r := s.handle(deleted)
		s.want(r, control.Compliant, "")
		for _, call := range r.Calls {
			if call != "DynamoDB.BatchGetItem" && call != "S3.GetPublicAccessBlock" {
				t.Errorf("a compliant bucket cost the call %s", call)
			}
		}
	}
	s.noAlert()
	s.oneCase()
}

func TestEveryKindOfEventLeadsToTheBucket(t *testing.T) {
	s := newStage(t, "enforce", manyRounds)
	s.open(reports)
	for _, name := range []string{
		deleted, "cloudtrail/s3-put-bucket-policy",
		"config/s3-bucket-item", "config/s3-bucket-item-oversized", "config/s3-bucket-non-compliant",
	} {
		s.removeBlock(reports)
		s.want(s.handle(name), control.Remediated, "")
		if got := s.block(reports); got != "on" {
			t.Errorf("%s: the bucket's block is %s, want on", name, got)
		}
	}
	s.want(s.handle("config/account-non-compliant"), control.Remediated, "account 222222222222")
}

func TestEventsThatAreNoReasonToLookCostNoCall(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	for name, reason := range map[string]string{
		"cloudtrail/s3-put-bucket-public-access-block-failed": "the call failed (AccessDenied)",
		"cloudtrail/s3-get-bucket-acl":                        "the call only reads",
		"cloudtrail/signin-console-login":                     "concerns no control",
		"config/s3-bucket-compliant":                          "COMPLIANT",
		"guardduty/s3-bucket-anonymous-access-granted":        "concerns no control",
		"other/unknown-source":                                "no control reads",
	} {
		r := s.handle(name)
		s.want(r, control.Ignored, reason)
		if len(r.Calls) != 0 {
			t.Errorf("%s cost calls: %v", name, r.Calls)
		}
	}
	if got := s.block(reports); got != "off" {
		t.Errorf("the bucket's block is %s: something was changed", got)
	}
	s.noAlert()
}

func TestEventReachesOnlyItsOwnAccount(t *testing.T) {
	for name, reason := range map[string]string{
		"cloudtrail/s3-delete-bucket-public-access-block-mismatched": "came from the bus of account 222222222222 but tells of account 333333333333",
		"cloudtrail/s3-put-bucket-acl-other-account":                 "but names AWS::S3::Bucket example-of-another in 333333333333",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "enforce")
			s.open(reports)
			r := s.handle(name)
			s.want(r, control.Refused, reason)
			if diff := cmp.Diff([]string{"SNS.Publish"}, r.Calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Refused {
				t.Errorf("want one alert that it was refused, got %+v", a)
			}
			if got := s.block(reports); got != "off" {
				t.Errorf("the bucket's block is %s: something was changed", got)
			}
		})
	}
}

func TestMalformedEventIsRefusedAndAlerted(t *testing.T) {
	good := string(sample(t, deleted).Raw())
	s := newStage(t, "enforce")
	for name, c := range map[string]struct{ body, reason string }{
		"not JSON":           {`{"id": `, "is not JSON"},
		"no envelope":        {`{"hello": "world"}`, `field "id"`},
		"no account":         {strings.Replace(good, `"account"`, `"acc"`, 1), `field "account"`},
		"malformed account":  {strings.Replace(good, `"account": "222222222222"`, `"account": "12"`, 1), `field "account" is "12"`},
		"no eventName":       {strings.Replace(good, `"eventName"`, `"event"`, 1), `field "detail.eventName"`},
		"a list as a detail": {`{"id":"1","source":"aws.s3","detail-type":"x","account":"222222222222","region":"r","time":"2026-11-22T01:00:00Z","detail":[]}`, `field "detail"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := one(t, s.engine.HandleJSON(t.Context(), "message-1", []byte(c.body)))
			s.want(r, control.Refused, c.reason)
			if r.Retry != nil {
				t.Errorf("retrying can't mend a malformed event: %v", r.Retry)
			}
			if a := s.alerts(); len(a) != 1 || !strings.Contains(a[0].Reason, c.reason) {
				t.Errorf("want one alert that says why, got %+v", a)
			}
		})
	}
}

func TestBucketThatIsGoneIsCompliant(t *testing.T) {
	s := newStage(t, "enforce")
	r := s.handle("cloudtrail/s3-create-bucket")
	s.want(r, control.Gone, "no longer exists")
	if r.Target.Region != "eu-west-1" {
		t.Errorf("the bucket was looked for in %s, not in the Region it was created in", r.Target.Region)
	}
	s.noAlert()
	if n := len(s.cases()); n != 0 {
		t.Errorf("%d cases were written", n)
	}
}

func TestObservedViolationIsReportedOnceUntilItIsMended(t *testing.T) {
	s := newStage(t, "observe")
	s.open(reports)
	first := s.handle(deleted)
	s.want(first, control.Observed, "not configured")
	if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Observed {
		t.Errorf("want one alert, got %+v", a)
	}
	again := s.handle("cloudtrail/s3-put-bucket-policy")
	s.want(again, control.Observed, "")
	if again.Case != first.Case {
		t.Errorf("the same violation became another case: %s, then %s", first.Case, again.Case)
	}
	s.noAlert()
	if got := s.block(reports); got != "off" {
		t.Errorf("mode observe changed the bucket: %s", got)
	}

	s.setBlock(reports, true, true, true, true)
	s.want(s.handle(deleted), control.Compliant, "")
	if c := s.oneCase(); c.State != "" || c.Closed.IsZero() || c.Ended != "found compliant" {
		t.Errorf("the case did not end: %+v", c)
	}
	s.removeBlock(reports)
	if r := s.handle(deleted); r.Outcome != control.Observed || r.Case == first.Case {
		t.Errorf("a new violation is not a new case: %+v", r)
	}
	if n := len(s.alerts()); n != 1 {
		t.Errorf("want one alert, got %d", n)
	}
}

func TestAnotherViolationOfAnObservedResourceIsAnotherCase(t *testing.T) {
	s := newStage(t, "observe")
	s.open(reports)
	first := s.handle(deleted)
	s.setBlock(reports, true, true, false, false)
	second := s.handle(deleted)
	if second.Case == first.Case {
		t.Error("a different state is the same case")
	}
	old, err := s.hub.Ledger().Case(t.Context(), first.Case)
	must(t, err)
	if old.Ended != "superseded by case "+second.Case {
		t.Errorf("the first case ended with %q", old.Ended)
	}
}

func TestApproveOpensACaseThatWaits(t *testing.T) {
	s := newStage(t, "approve")
	s.open(reports)
	r := s.handle(deleted)
	s.want(r, control.AwaitingApproval, "not configured")
	c := s.oneCase()
	if c.State != ledger.State(control.AwaitingApproval) || c.Steps[0].Digest == "" {
		t.Errorf("the case does not wait with the digest of its change: %+v", c)
	}
	var waiting int
	for _, err := range s.hub.Ledger().Cases(t.Context(), ledger.Query{State: c.State}) {
		must(t, err)
		waiting++
	}
	if waiting != 1 {
		t.Errorf("%d cases are listed as awaiting approval, want 1", waiting)
	}
	if got := s.block(reports); got != "off" {
		t.Errorf("mode approve changed the bucket: %s", got)
	}
	if a := s.alerts(); len(a) != 1 || len(a[0].Changes) != 1 || a[0].Changes[0].Digest != c.Steps[0].Digest {
		t.Errorf("the alert does not show the change: %+v", a)
	}
}

func TestOffAndExemptCostNoCall(t *testing.T) {
	exemption := "exemptions: [{control: s3-bucket-public-access, resource: 'arn:aws:s3:::" + reports +
		"', reason: public site, owner: web@example.com, expires: " + time.Now().AddDate(0, 1, 0).Format(time.DateOnly) + "}]"
	for name, c := range map[string]struct {
		mode, more string
		outcome    control.Outcome
		reason     string
	}{
		"off":    {"off", "", control.Ignored, "the control is off"},
		"exempt": {"enforce", exemption, control.Exempt, "public site (web@example.com)"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, c.mode, c.more)
			s.open(reports)
			r := s.handle(deleted)
			s.want(r, c.outcome, c.reason)
			if len(r.Calls) != 0 {
				t.Errorf("it cost calls: %v", r.Calls)
			}
			s.noAlert()
		})
	}
}

func TestOverridesByTagAndUnitReadWhatTheyNeed(t *testing.T) {
	t.Run("tag", func(t *testing.T) {
		s := newStage(t, "enforce", `overrides: [{match: {tags: {env: dev}}, controls: ["s3-*"], mode: observe}]`)
		s.open(reports)
		_, err := s.s3().PutBucketTagging(t.Context(), &s3.PutBucketTaggingInput{Bucket: aws.String(reports), Tagging: &types.Tagging{
			TagSet: []types.Tag{{Key: aws.String("env"), Value: aws.String("dev")}},
		}})
		must(t, err)
		s.want(s.handle(deleted), control.Observed, "")
		s.open("example-other")
		s.removeTags(reports)
		s.want(s.handle(deleted), control.Remediated, "")
	})
	t.Run("organizational unit", func(t *testing.T) {
		s := newStage(t, "enforce")
		account, unit := s.memberInUnit()
		s.engine = s.newEngine("enforce", `overrides: [{match: {organizational-units: [`+unit+`]}, controls: ["s3-*"], mode: off}]`)
		e := sample(t, deleted)
		raw := strings.ReplaceAll(string(e.Raw()), local.MemberAccount, account)
		s.want(one(t, s.engine.HandleJSON(t.Context(), "m", []byte(raw))), control.Ignored, "off")
	})
	t.Run("what can't be read holds the change", func(t *testing.T) {
		s := newStage(t, "enforce", `overrides: [{match: {organizational-units: [ou-abcd-12345678]}, controls: ["s3-*"], mode: observe}]`)
		s.open(reports)
		r := s.handle(deleted) // there is no organization
		s.want(r, control.Held, "ListParents")
		if got := s.block(reports); got != "off" || r.Retry == nil {
			t.Errorf("the block is %s and the event is retried: %v; want it untouched and handed out again", got, r.Retry != nil)
		}
		if a := s.alerts(); len(a) != 1 || a[0].Outcome != control.Held {
			t.Errorf("want one alert that it is held, got %+v", a)
		}
	})
}

func (s *stage) removeTags(name string) {
	s.t.Helper()
	_, err := s.s3().DeleteBucketTagging(s.t.Context(), &s3.DeleteBucketTaggingInput{Bucket: aws.String(name)})
	must(s.t, err)
}

// memberInUnit makes an organization of the hub's with an account in a unit.
func (s *stage) memberInUnit() (account, unit string) {
	s.t.Helper()
	org, ctx := organizations.NewFromConfig(s.aws.Config(local.HubAccount)), s.t.Context()
	_, err := org.CreateOrganization(ctx, &organizations.CreateOrganizationInput{})
	must(s.t, err)
	roots, err := org.ListRoots(ctx, &organizations.ListRootsInput{})
	must(s.t, err)
	made, err := org.CreateOrganizationalUnit(ctx, &organizations.CreateOrganizationalUnitInput{
		Name: aws.String("sandbox"), ParentId: roots.Roots[0].Id,
	})
	must(s.t, err)
	status, err := org.CreateAccount(ctx, &organizations.CreateAccountInput{
		AccountName: aws.String("dev"), Email: aws.String("dev@example.com"),
	})
	must(s.t, err)
	account, unit = aws.ToString(status.CreateAccountStatus.AccountId), aws.ToString(made.OrganizationalUnit.Id)
	_, err = org.MoveAccount(ctx, &organizations.MoveAccountInput{
		AccountId: aws.String(account), SourceParentId: roots.Roots[0].Id, DestinationParentId: aws.String(unit),
	})
	must(s.t, err)
	return account, unit
}

func TestResultPrintsTheDocumentedFields(t *testing.T) {
	s := newStage(t, "enforce")
	s.open(reports)
	text, err := json.Marshal(s.handle(deleted))
	must(t, err)
	var fields map[string]any
	must(t, json.Unmarshal(text, &fields))
	for _, name := range []string{"event", "control", "target", "outcome", "reason", "case", "changes", "calls"} {
		if fields[name] == nil {
			t.Errorf("field %s is missing in %s", name, text)
		}
	}
}

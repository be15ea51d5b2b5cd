package health_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/health"
)

func TestSitesAreInOrderAsTheyAreDeployed(t *testing.T) {
	w := newWorld(t)
	a := ask(t, t.Context(), w.health(0), health.Request{Command: health.Look, Accounts: accounts})
	if a.Verdict != engine.Done || len(a.Sites) != 6 || a.Reason != "all 6 sites are in order" {
		t.Errorf("answer: %+v", a)
	}
	if diff := cmp.Diff(map[string]int{"SitesWrong": 0}, measured(t, w.log.String())); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestWhatIsWrongWithASiteIsNamed(t *testing.T) {
	w := newWorld(t)
	type edit struct {
		account, region, fault string
		do                     func(c *eventbridge.Client) error
	}
	name := aws.String("snapback-s3")
	edits := []edit{
		{local.HubAccount, far, "there are 1 forwarding rules, not 2: deploy the member stack again", func(c *eventbridge.Client) error {
			if _, err := c.RemoveTargets(t.Context(), &eventbridge.RemoveTargetsInput{Rule: name, Ids: []string{"hub"}}); err != nil {
				return err
			}
			_, err := c.DeleteRule(t.Context(), &eventbridge.DeleteRuleInput{Name: name})
			return err
		}},
		{local.HubAccount, local.Region, "1 forwarding rules are disabled: enable them", func(c *eventbridge.Client) error {
			_, err := c.DisableRule(t.Context(), &eventbridge.DisableRuleInput{Name: name})
			return err
		}},
		{local.MemberAccount, far, "1 forwarding rules are not of the member template 0123456789ab", func(c *eventbridge.Client) error {
			_, err := c.PutRule(t.Context(), &eventbridge.PutRuleInput{
				Name: name, EventPattern: aws.String(event.Drills().String()), Description: aws.String(deployment.RuleDescription("ba9876543210")),
			})
			return err
		}},
		{local.MemberAccount, local.Region, "find the queue snapback-undelivered: SQS GetQueueUrl: ", func(*eventbridge.Client) error {
			_, err := sqs.NewFromConfig(w.config(local.MemberAccount, local.Region)).DeleteQueue(t.Context(),
				&sqs.DeleteQueueInput{QueueUrl: aws.String(w.queue(local.MemberAccount, local.Region, "snapback-undelivered"))})
			return err
		}},
		{third, far, "no trail logs write management events in this Region, so EventBridge hears of no change: make one that does; " +
			"arn:aws:cloudtrail:us-east-1:333333333333:trail/main is stopped", func(*eventbridge.Client) error {
			_, err := cloudtrail.NewFromConfig(w.aws.Config(third)).StopLogging(t.Context(), &cloudtrail.StopLoggingInput{Name: aws.String("main")})
			return err
		}},
	}
	for _, e := range edits {
		must(t, e.do(w.events(e.account, e.region)))
	}
	a := ask(t, t.Context(), w.health(0), health.Request{Command: health.Look, Accounts: accounts})
	found := wrong(a)
	for _, e := range edits {
		s := found[e.account+" "+e.region]
		if len(s.Faults) != 1 || !strings.Contains(s.Faults[0], e.fault) {
			t.Errorf("%s %s: %q, want %q", e.account, e.region, s.Faults, e.fault)
		}
	}
	if diff := cmp.Diff(map[string]int{"SitesWrong": 6}, measured(t, w.log.String())); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if len(found) != 6 || a.Verdict != engine.NotSo { // the trail of the third account is missing in both Regions
		t.Errorf("answer: %+v", a)
	}
}

// Whoever hides from a rule may leave its name, state and description.
func TestAPatternThatSomebodyChangedIsNoticed(t *testing.T) {
	w := newWorld(t)
	for region, pattern := range map[string]string{
		local.Region: `{"source":["aws.s3"],"account":["222222222222"]}`,
		far:          forwarding[1].Pattern.String(),
	} {
		_, err := w.events(local.MemberAccount, region).PutRule(t.Context(), &eventbridge.PutRuleInput{
			Name: aws.String("snapback-s3"), EventPattern: &pattern, Description: aws.String(deployment.RuleDescription(digest)),
		})
		must(t, err)
	}
	found := wrong(ask(t, t.Context(), w.health(0), health.Request{Command: health.Look, Accounts: accounts}))
	for region, want := range map[string]string{
		local.Region: "the forwarding rules' patterns are not those of the member template",
		far:          "the pattern of rule snapback-s3 does not name the account 222222222222 alone",
	} {
		s := found[local.MemberAccount+" "+region]
		if len(s.Faults) != 1 || !strings.HasPrefix(s.Faults[0], want) {
			t.Errorf("%s: %q, want %q", region, s.Faults, want)
		}
	}
	if len(found) != 2 {
		t.Errorf("sites that are wrong: %v", found)
	}
}

func TestAccountWithoutTheMemberStackIsNamed(t *testing.T) {
	w := newWorld(t)
	a := ask(t, t.Context(), w.health(0), health.Request{Command: health.Look, Accounts: []string{"444444444444"}, Regions: []string{far}})
	if s := wrong(a)["444444444444 "+far]; len(s.Faults) != 3 || s.Faults[0] != "there is no forwarding rule: deploy the member stack here" {
		t.Errorf("%+v", s)
	}
}

// A rule of somebody else's, and of the hub's own bus, is no forwarding rule.
func TestOtherRulesAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	for _, r := range []struct{ bus, name string }{{"default", "snapbacks"}, {"snapback", "snapback-other"}} {
		c := w.events(local.HubAccount, local.Region)
		_, err := c.PutRule(t.Context(), &eventbridge.PutRuleInput{
			Name: &r.name, EventBusName: &r.bus, EventPattern: aws.String(control.Rule{Pattern: event.Drills()}.Pattern.String()),
		})
		must(t, err)
	}
	a := ask(t, t.Context(), w.health(0), health.Request{Command: health.Look, Accounts: accounts[:1]})
	if len(wrong(a)) > 0 {
		t.Errorf("answer: %+v", a)
	}
}

const (
	own    = `"TrailARN":"arn:aws:cloudtrail:us-east-1:333333333333:trail/own"`
	theirs = `"TrailARN":"arn:aws:cloudtrail:us-east-1:444444444444:trail/org"`
	shadow = `,"IsMultiRegionTrail":true,"HomeRegion":"us-east-1"`
	single = `,"IsMultiRegionTrail":false,"HomeRegion":"us-east-1"`
	local1 = `,"IsMultiRegionTrail":false,"HomeRegion":"eu-west-1"`
)

// The stand-in answers for CloudTrail alone: moto shows no trail of the
// organization to members.
func TestTrailMustLogWriteManagementEventsInTheRegion(t *testing.T) {
	denied := `{"__type":"AccessDeniedException","message":"not yours"}`
	for name, tt := range map[string]struct {
		trails, status, selectors string
		fault                     string // empty: a trail logs
	}{
		"none":                        {"", "", "", "make one that does"},
		"own, without selectors":      {"{" + own + local1 + "}", `{"IsLogging":true}`, `{}`, ""},
		"own, everything":             {"{" + own + shadow + "}", `{"IsLogging":true}`, `{"EventSelectors":[{"IncludeManagementEvents":true,"ReadWriteType":"All"}]}`, ""},
		"own, writes":                 {"{" + own + shadow + "}", `{"IsLogging":true}`, `{"EventSelectors":[{"IncludeManagementEvents":true,"ReadWriteType":"WriteOnly"}]}`, ""},
		"own, reads":                  {"{" + own + shadow + "}", `{"IsLogging":true}`, `{"EventSelectors":[{"IncludeManagementEvents":true,"ReadWriteType":"ReadOnly"}]}`, "trail/own leaves write management events out"},
		"own, data alone":             {"{" + own + shadow + "}", `{"IsLogging":true}`, `{"EventSelectors":[{"IncludeManagementEvents":false,"ReadWriteType":"All"}]}`, "trail/own leaves"},
		"own, advanced, everything":   {"{" + own + shadow + "}", `{"IsLogging":true}`, advanced(`{"Field":"eventCategory","Equals":["Management"]}`), ""},
		"own, advanced, without KMS":  {"{" + own + shadow + "}", `{"IsLogging":true}`, advanced(`{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventSource","NotEquals":["kms.amazonaws.com"]}`), ""},
		"own, advanced, writes":       {"{" + own + shadow + "}", `{"IsLogging":true}`, advanced(`{"Field":"eventCategory","Equals":["Management"]},{"Field":"readOnly","Equals":["false"]}`), ""},
		"own, advanced, reads":        {"{" + own + shadow + "}", `{"IsLogging":true}`, advanced(`{"Field":"eventCategory","Equals":["Management"]},{"Field":"readOnly","Equals":["true"]}`), "trail/own leaves"},
		"own, advanced, one service":  {"{" + own + shadow + "}", `{"IsLogging":true}`, advanced(`{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventSource","Equals":["ec2.amazonaws.com"]}`), "trail/own leaves"},
		"own, advanced, data":         {"{" + own + shadow + "}", `{"IsLogging":true}`, advanced(`{"Field":"eventCategory","Equals":["Data"]}`), "trail/own leaves"},
		"own, stopped":                {"{" + own + shadow + "}", `{"IsLogging":false}`, `{}`, "trail/own is stopped"},
		"own, of another Region":      {"{" + own + single + "}", `{"IsLogging":true}`, `{}`, "make one that does"},
		"of the organization":         {"{" + theirs + shadow + "}", `{"IsLogging":true}`, denied, ""},
		"of the organization,stopped": {"{" + theirs + shadow + "}", `{"IsLogging":false}`, denied, "trail/org is stopped"},
		"that can't be read":          {"{" + own + shadow + "}", denied, `{}`, "AccessDeniedException: not yours"},
		"stopped, and one that logs":  {"{" + own + single + "},{" + theirs + shadow + "}", `{"IsLogging":true}`, `{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newBareWorld(t)
			w.front(func(q question) (int, string) {
				body := map[string]string{
					"DescribeTrails": `{"trailList":[` + tt.trails + `]}`, "GetTrailStatus": tt.status, "GetEventSelectors": tt.selectors,
				}[q.operation]
				switch {
				case q.service != "cloudtrail":
					return 0, ""
				case strings.Contains(body, "__type"):
					return http.StatusBadRequest, body
				case q.operation == "GetEventSelectors" && q.region == far && strings.Contains(tt.trails, shadow):
					return http.StatusBadRequest, denied // asked elsewhere than at its home
				}
				return http.StatusOK, body
			})
			a := ask(t, t.Context(), w.health(0), health.Request{Command: health.Look, Accounts: []string{third}, Regions: []string{far}})
			var got []string
			for _, fault := range a.Sites[0].Faults {
				if strings.Contains(fault, "trail") {
					got = append(got, fault)
				}
			}
			if tt.fault == "" && len(got) > 0 || tt.fault != "" && (len(got) != 1 || !strings.Contains(got[0], tt.fault)) {
				t.Errorf("faults %q, want %q", got, tt.fault)
			}
		})
	}
}

func advanced(fields string) string {
	return `{"AdvancedEventSelectors":[{"FieldSelectors":[` + fields + `]}]}`
}

// moto makes no sample findings: the stand-in answers for GuardDuty alone.
func TestSampleFindingsAreMadeInOneAccountAndRegion(t *testing.T) {
	w := newBareWorld(t)
	detectors, made := `[]`, ""
	w.front(func(q question) (int, string) {
		switch {
		case q.service != "guardduty":
			return 0, ""
		case q.region != far:
			return http.StatusBadRequest, `{"message":"another Region","__type":"InvalidInputException"}`
		case q.path == "/detector":
			return http.StatusOK, `{"detectorIds":` + detectors + `}`
		}
		made = q.path + " " + q.body
		return http.StatusOK, `{}`
	})
	r := health.Request{Command: health.Sample, Accounts: []string{third}, Regions: []string{far}}
	a := ask(t, t.Context(), w.health(0), r)
	if a.Verdict != engine.NotSo || a.Reason != "GuardDuty has no detector in account 333333333333 and Region eu-west-1: enable GuardDuty there" {
		t.Errorf("answer: %+v", a)
	}
	detectors = `["d1"]`
	for types, want := range map[string]string{
		"":                              `{"findingTypes":["CryptoCurrency:EC2/BitcoinTool.B!DNS"]}`,
		"Recon:EC2/Portscan,Policy:S3/": `{"findingTypes":["Recon:EC2/Portscan","Policy:S3/"]}`,
	} {
		if r.Types = nil; types != "" {
			r.Types = strings.Split(types, ",")
		}
		a = ask(t, t.Context(), w.health(0), r)
		if diff := cmp.Diff("/detector/d1/findings/create "+want, made); diff != "" || a.Verdict != engine.Done {
			t.Errorf("answer %+v, made (-want +got):\n%s", a, diff)
		}
	}
}

func TestWhatCanMeanNothingIsMisuse(t *testing.T) {
	w := newBareWorld(t)
	h := w.health(time.Second)
	for reason, r := range map[string]health.Request{
		`there is no command "dance": want drill, look or sample`:              {Command: "dance"},
		`there is no command ""`:                                               {},
		`"x" is no 12-digit account number`:                                    {Command: health.Drill, Accounts: []string{third, "x"}},
		`"ap-south-1" is no governed Region: want one of us-east-1, eu-west-1`: {Command: health.Look, Regions: []string{"ap-south-1"}},
		"name both": {Command: health.Sample, Accounts: []string{third}},
	} {
		if a := ask(t, t.Context(), h, r); a.Verdict != engine.Misuse || !strings.Contains(a.Reason, reason) || len(a.Sites) > 0 {
			t.Errorf("%+v: want misuse that says %q, got %+v", r, reason, a)
		}
	}
	a, err := h.Handle(t.Context(), []byte(`{"command":5}`))
	if err != nil || a.Verdict != engine.Misuse || !strings.Contains(a.Reason, "this is no command that the function can read") {
		t.Errorf("%v, %+v", err, a)
	}
}

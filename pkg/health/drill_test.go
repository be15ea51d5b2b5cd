package health_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/health"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// measured are the metrics of the last drill in a log.
func measured(t *testing.T, log string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for line := range strings.Lines(log) {
		var l struct {
			AWS *struct {
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name string }
				}
			} `json:"_aws"`
		}
		if json.Unmarshal([]byte(line), &l) != nil || l.AWS == nil {
			continue
		}
		m := l.AWS.CloudWatchMetrics[0]
		if m.Namespace != "Snapback" || len(m.Dimensions) != 1 || len(m.Dimensions[0]) != 0 {
			t.Errorf("metrics %+v, want those of Snapback without a dimension", m)
		}
		values := map[string]any{}
		must(t, json.Unmarshal([]byte(line), &values))
		for _, name := range m.Metrics {
			value, ok := values[name.Name].(float64)
			if !ok {
				t.Errorf("metric %s has no value: %s", name.Name, line)
			}
			found[name.Name] = int(value)
		}
	}
	return found
}

// metrics are those of a drill.
func metrics(sent, missing, undelivered, stops int) map[string]int {
	return map[string]int{"DrillsSent": sent, "DrillsMissing": missing, "Undelivered": undelivered, "Stops": stops}
}

func TestDrillComesBackFromEverySite(t *testing.T) {
	w := newWorld(t)
	defer w.listen()()
	f, err := local.StartFunction(t.Context(), local.FunctionOptions{Binary: built["health"], Env: append(w.env("snapback-health"),
		"SNAPBACK_DOMAINS=storage,network", "SNAPBACK_MEMBER="+digest, "SNAPBACK_RULES=2", "SNAPBACK_PATTERNS="+deployment.Fingerprint(forwarding), "SNAPBACK_VERSION=v1")})
	must(t, err)
	t.Cleanup(f.Close)
	payload, err := json.Marshal(health.Request{Command: health.Drill, Accounts: accounts})
	must(t, err)
	out, err := f.Invoke(t.Context(), payload)
	must(t, err)
	var a health.Answer
	must(t, json.Unmarshal(out, &a))
	if a.Verdict != engine.Done || len(a.Sites) != 6 || len(wrong(a)) > 0 || a.Version != "v1" || len(a.Baseline) != 64 {
		t.Errorf("answer: %s", out)
	}
	if a.Milliseconds > 30_000 {
		t.Errorf("it took %d ms: it does not end when all have come back", a.Milliseconds)
	}
	want := []string{
		"111111111111 eu-west-1", "111111111111 us-east-1", "222222222222 eu-west-1", "222222222222 us-east-1",
		"333333333333 eu-west-1", "333333333333 us-east-1",
	}
	for domain := range w.queues {
		if diff := cmp.Diff(want, w.came(a.Drill, domain)); diff != "" {
			t.Errorf("canaries that came to %s (-want +got):\n%s", domain, diff)
		}
	}
	var lines string
	for _, l := range f.Lines() {
		lines += string(l) + "\n"
	}
	if diff := cmp.Diff(metrics(6, 0, 0, 0), measured(t, lines)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestOnlyTheSiteWhoseRuleIsMissingIsReported(t *testing.T) {
	w := newWorld(t)
	broken := w.events(third, far)
	_, err := broken.RemoveTargets(t.Context(), &eventbridge.RemoveTargetsInput{Rule: aws.String("snapback-drill"), Ids: []string{"hub"}})
	must(t, err)
	_, err = broken.DeleteRule(t.Context(), &eventbridge.DeleteRuleInput{Name: aws.String("snapback-drill")})
	must(t, err)
	must(t, w.hub.Ledger().Switch(t.Context(), ledger.Stop{Scope: third, On: true, At: time.Now()}))
	defer w.listen()()
	a := ask(t, t.Context(), w.health(10*time.Second), health.Request{Command: health.Drill, Accounts: accounts})
	want := map[string]health.Site{third + " " + far: {Account: third, Region: far, Missing: []string{"storage", "network"}}}
	if diff := cmp.Diff(want, wrong(a)); diff != "" || a.Verdict != engine.NotSo || a.Stops != 1 {
		t.Errorf("answer %s, %s, stops %d; wrong sites (-want +got):\n%s", a.Verdict, a.Reason, a.Stops, diff)
	}
	if diff := cmp.Diff(metrics(6, 1, 0, 1), measured(t, w.log.String())); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if n := strings.Count(w.log.String(), `"msg":"site"`); n != 1 || !strings.Contains(w.log.String(), `"account":"333333333333","region":"eu-west-1","missing":["storage","network"]`) {
		t.Errorf("%d lines about sites:\n%s", n, w.log)
	}
}

// STS refuses one account; moto lets everybody in everywhere.
func TestAccountThatCannotBeEnteredStopsNoOther(t *testing.T) {
	w := newWorld(t)
	refused := 0
	w.front(func(q question) (int, string) {
		if q.service != "sts" || !strings.Contains(q.body, local.MemberAccount) {
			return 0, ""
		}
		refused++
		return http.StatusForbidden, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>` +
			`<Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>`
	})
	defer w.listen()()
	a := ask(t, t.Context(), w.health(time.Minute), health.Request{Command: health.Drill, Accounts: accounts})
	if got := wrong(a); len(got) != 2 || refused != 1 {
		t.Errorf("wrong sites: %+v; the account was tried %d times", got, refused)
	}
	for _, region := range regions {
		s := wrong(a)[local.MemberAccount+" "+region]
		if len(s.Faults) != 1 || !strings.Contains(s.Faults[0], "AccessDenied") || !strings.Contains(s.Faults[0], "role/snapback-health") || len(s.Missing) > 0 {
			t.Errorf("%s: %+v", region, s)
		}
	}
	if diff := cmp.Diff(metrics(4, 2, 0, 0), measured(t, w.log.String())); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestCanaryThatComesLateIsTakenDownAndReportedMissing(t *testing.T) {
	w := newWorld(t)
	ctx, recorder := cloud.Record(t.Context())
	a := ask(t, ctx, w.health(time.Second), health.Request{Command: health.Drill, Accounts: accounts})
	if len(wrong(a)) != 6 || a.Verdict != engine.NotSo {
		t.Errorf("answer: %+v", a)
	}
	stop := w.listen()
	defer stop()
	until, cancel := contextOf(t, time.Minute)
	defer cancel()
	for len(w.came(a.Drill, "storage"))+len(w.came(a.Drill, "network")) < 12 {
		if until.Err() != nil {
			t.Fatal("canaries that are late are not taken down")
		}
	}
	calls := map[string]int{}
	for _, c := range recorder.Calls() {
		calls[c.Name()]++
	}
	if calls["DynamoDB.Query"] < 3 { // the kill switches, and the canaries of two domains
		t.Errorf("the ledger was read %d times", calls["DynamoDB.Query"])
	}
	delete(calls, "DynamoDB.Query")
	want := map[string]int{
		"STS.AssumeRole": len(accounts), "EventBridge.PutEvents": 6, "SQS.GetQueueUrl": 6, "SQS.GetQueueAttributes": 6, "DynamoDB.PutItem": 1,
	}
	t.Logf("calls for %d accounts in %d Regions: %v", len(accounts), len(regions), calls)
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestEveryActiveAccountOfTheOrganizationIsDrilled(t *testing.T) {
	w := newBareWorld(t)
	org := organizations.NewFromConfig(w.aws.Config(local.HubAccount))
	_, err := org.CreateOrganization(t.Context(), &organizations.CreateOrganizationInput{})
	must(t, err)
	want := []string{local.HubAccount}
	for _, name := range []string{"closed", "one", "two"} {
		out, err := org.CreateAccount(t.Context(), &organizations.CreateAccountInput{AccountName: &name, Email: aws.String(name + "@example.com")})
		must(t, err)
		if name == "closed" {
			_, err = org.CloseAccount(t.Context(), &organizations.CloseAccountInput{AccountId: out.CreateAccountStatus.AccountId})
			must(t, err)
			continue
		}
		want = append(want, aws.ToString(out.CreateAccountStatus.AccountId))
	}
	slices.Sort(want)
	a := ask(t, t.Context(), w.health(time.Millisecond), health.Request{Command: health.Drill, Regions: []string{far, far}})
	var got []string
	for _, s := range a.Sites {
		if s.Region != far {
			t.Errorf("Region %s was not asked for", s.Region)
		}
		got = append(got, s.Account)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

// moto knows no Region that is not enabled.
func TestRegionThatIsNotEnabledIsAFaultOfItsSites(t *testing.T) {
	w := newWorld(t)
	w.front(func(q question) (int, string) {
		if q.service != "events" || q.region != far {
			return 0, ""
		}
		return http.StatusBadRequest, `{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}`
	})
	a := ask(t, t.Context(), w.health(time.Millisecond), health.Request{Command: health.Drill, Accounts: []string{third}})
	s := wrong(a)[third+" "+far]
	if len(s.Faults) != 1 || !strings.Contains(s.Faults[0], "eu-west-1 does not know sessions of account 333333333333: is the Region enabled there?") {
		t.Errorf("%+v", s)
	}
	if other := wrong(a)[third+" "+local.Region]; len(other.Faults) > 0 {
		t.Errorf("%+v", other)
	}
}

func TestEventsThatCouldNotBePutOnTheHubsBusAreCounted(t *testing.T) {
	w := newWorld(t)
	client := sqs.NewFromConfig(w.config(third, far))
	for range 3 {
		_, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: aws.String(w.queue(third, far, "snapback-undelivered")), MessageBody: aws.String("{}"),
		})
		must(t, err)
	}
	a := ask(t, t.Context(), w.health(time.Millisecond), health.Request{Command: health.Drill, Accounts: accounts})
	if got := wrong(a)[third+" "+far].Undelivered; got != 3 {
		t.Errorf("%d undelivered", got)
	}
	if diff := cmp.Diff(metrics(6, 6, 3, 0), measured(t, w.log.String())); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestAnswerComesBeforeTheTimeIsOverAlthoughARegionHangs(t *testing.T) {
	w := newWorld(t)
	w.front(func(q question) (int, string) {
		if q.service != "events" || q.region != far {
			return 0, ""
		}
		<-q.ended
		return http.StatusGatewayTimeout, ""
	})
	ctx, cancel := contextOf(t, 8*time.Second)
	defer cancel()
	a := ask(t, ctx, w.health(time.Minute), health.Request{Command: health.Drill, Accounts: accounts})
	if ctx.Err() != nil {
		t.Error("the answer comes too late")
	}
	for place, s := range wrong(a) {
		if strings.HasSuffix(place, far) && !strings.Contains(strings.Join(s.Faults, ""), "deadline exceeded") {
			t.Errorf("%s: %+v", place, s)
		}
	}
	if len(wrong(a)) != 6 || a.Verdict != engine.NotSo {
		t.Errorf("answer: %+v", a)
	}
}

func TestDrillThatCannotBeWrittenDownIsNotSent(t *testing.T) {
	w := newBareWorld(t)
	ctx, recorder := cloud.Record(t.Context())
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
	a := ask(t, ctx, w.health(time.Minute), health.Request{Command: health.Drill, Accounts: accounts})
	if a.Verdict != engine.NotSo || !strings.Contains(a.Reason, "begin drill") || len(recorder.Calls()) != 1 {
		t.Errorf("answer: %+v, calls %+v", a, recorder.Calls())
	}
}

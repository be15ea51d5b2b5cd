package alert_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// maxSNS is how many bytes SNS takes in one Publish. Source: SNS API reference.
const maxSNS = 256 << 10

const topicARN = "arn:aws:sns:us-east-1:111111111111:snapback-alerts"

// publication is what a Publish sent.
type publication struct {
	form       url.Values
	signature  string
	bodies     map[string]string // by protocol
	attributes map[string]string
}

// size is what SNS counts: message and attributes.
func (p publication) size() int {
	n := len(p.form.Get("Message"))
	for name, value := range p.attributes {
		n += len(name) + len("String") + len(value)
	}
	return n
}

// publish publishes to a server that stands in for SNS: it takes the request
// and checks nothing. That SNS takes it is shown by the tests on moto.
func publish(t *testing.T, a alert.Alert, status int) (publication, error) {
	t.Helper()
	return publishTo(t, "", a, status)
}

func publishTo(t *testing.T, topic string, a alert.Alert, status int) (publication, error) {
	t.Helper()
	var p publication
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		p.form, p.signature = r.PostForm, r.Header.Get("Authorization")
		w.WriteHeader(status)
		body := `<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>`
		if status != http.StatusOK {
			body = `<ErrorResponse><Error><Code>NotFound</Code><Message>Topic does not exist</Message></Error></ErrorResponse>`
		}
		_, _ = fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	err := alert.NewTopic(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(server.URL),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
	}, topicARN).Publish(t.Context(), topic, a)
	if err == nil {
		if err := json.Unmarshal([]byte(p.form.Get("Message")), &p.bodies); err != nil {
			t.Fatal(err)
		}
	}
	p.attributes = map[string]string{}
	for i := 1; p.form.Has(fmt.Sprintf("MessageAttributes.entry.%d.Name", i)); i++ {
		at := fmt.Sprintf("MessageAttributes.entry.%d.", i)
		p.attributes[p.form.Get(at+"Name")] = p.form.Get(at + "Value.StringValue")
	}
	return p, err
}

func TestAlertIsPublishedForPeopleMachinesAndFilters(t *testing.T) {
	a := published(control.Remediated, nil)
	p, err := publish(t, a, http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Action": "Publish", "TopicArn": topicARN, "Subject": a.Subject(), "MessageStructure": "json",
	} {
		if got := p.form.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff(map[string]string{"email": a.Text(), "default": string(body)}, p.bodies); diff != "" {
		t.Errorf("bodies differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{
		"outcome": "remediated", "severity": "HIGH", "account": "222222222222", "region": "us-east-1", "control": "s3-bucket-public-access",
	}, p.attributes); diff != "" {
		t.Errorf("attributes differ (-want +got):\n%s", diff)
	}
}

func TestAlertCanGoToAnotherTopic(t *testing.T) {
	const other = "arn:aws:sns:eu-west-1:111111111111:team-web"
	p, err := publishTo(t, other, published(control.Remediated, nil), http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.form.Get("TopicArn"); got != other {
		t.Errorf("it went to %s, want %s", got, other)
	}
	if !strings.Contains(p.signature, "/eu-west-1/sns/") {
		t.Errorf("it was not sent to the topic's Region: %s", p.signature)
	}
	if _, err = publishTo(t, other, published(control.Remediated, nil), http.StatusNotFound); err == nil || !strings.Contains(err.Error(), " to "+other) {
		t.Errorf("the error does not name the topic: %v", err)
	}
	if got := alert.NewTopic(aws.Config{}, topicARN).ARN(); got != topicARN {
		t.Errorf("the topic says it is %s, want %s", got, topicARN)
	}
}

func TestAlertOfNoAccountHasNoAttributeForIt(t *testing.T) {
	p, err := publish(t, alerts()["stopped-organization"], http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"outcome": "stopped", "severity": "HIGH"}, p.attributes); diff != "" {
		t.Errorf("attributes differ (-want +got):\n%s", diff)
	}
}

func TestEverySubscriberIsToldWhereToReadOnAndWhatTellsHim(t *testing.T) {
	for name, a := range alerts() {
		p, err := publish(t, a, http.StatusOK)
		if err != nil {
			t.Fatal(err)
		}
		var body alert.Alert
		if err := json.Unmarshal([]byte(p.bodies["default"]), &body); err != nil {
			t.Fatal(err)
		}
		from := body.Version
		if body.Outcome != alert.Stopped && body.Outcome != alert.Started {
			from += ", baseline " + body.Baseline[:12]
		}
		if body.Docs == "" || !strings.HasSuffix(p.bodies["email"], "\nDocs      "+body.Docs+"\nSnapback  "+from+"\n") {
			t.Errorf("%s: the JSON names %q, told by %q; the e-mail is\n%s", name, body.Docs, from, p.bodies["email"])
		}
	}
}

func TestAlertThatDoesNotSayWhatTellsItEndsWithTheDocs(t *testing.T) {
	a := published(control.Remediated, nil)
	a.Version, a.Baseline = "", ""
	if !strings.HasSuffix(a.Text(), "\nDocs      "+a.Docs+"\n") {
		t.Errorf("the e-mail is\n%s", a.Text())
	}
}

func TestEmptyAttributesAreLeftOut(t *testing.T) {
	p, err := publish(t, alerts()["refused-malformed"], http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"outcome": "refused", "severity": "HIGH"}, p.attributes); diff != "" {
		t.Errorf("attributes differ (-want +got):\n%s", diff)
	}
}

func TestRefusalBySNSIsAnError(t *testing.T) {
	_, err := publish(t, published(control.Remediated, nil), http.StatusNotFound)
	if err == nil || !strings.Contains(err.Error(), "publish alert 20261122-7k3m9x2q-remediated to "+topicARN) {
		t.Errorf("got %v", err)
	}
}

func TestChangesTooLongForSNSAreLeftToTheCase(t *testing.T) {
	of := func(bytes int) alert.Alert {
		return published(control.Remediated, func(c *ledger.Case) {
			// What grows most when it is quoted twice.
			state := strings.Repeat(`<"`, bytes/12)
			before, err := json.Marshal(map[string]string{"Policy": state})
			if err != nil {
				t.Fatal(err)
			}
			c.Steps[0].Before, c.Steps[0].After = before, json.RawMessage(`{"Policy":"none"}`)
		})
	}
	for _, tt := range []struct {
		name      string
		bytes     int
		truncated bool
	}{
		{"small", 1 << 10, false},
		{"large", 100 << 10, false},
		{"too large", 300 << 10, true},
		{"huge", 4 << 20, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := of(tt.bytes)
			p, err := publish(t, a, http.StatusOK)
			if err != nil {
				t.Fatal(err)
			}
			if n := p.size(); n > maxSNS {
				t.Errorf("the message has %d bytes, the limit is %d", n, maxSNS)
			}
			var body alert.Alert
			if err := json.Unmarshal([]byte(p.bodies["default"]), &body); err != nil {
				t.Fatal(err)
			}
			if body.Truncated != tt.truncated || (len(body.Changes) == 0) != tt.truncated || body.Reason != a.Reason {
				t.Errorf("truncated: %t, %d changes; want truncated: %t", body.Truncated, len(body.Changes), tt.truncated)
			}
			if p.bodies["email"] != a.Text() || !strings.Contains(a.Text(), "Policy:\n    was ") {
				t.Errorf("the e-mail does not show the change:\n%s", p.bodies["email"])
			}
			const note = "The changes are too long for this message: the case has\nthem.\n"
			if strings.Contains(body.Text(), note) != tt.truncated {
				t.Errorf("what is written from the JSON says:\n%s", body.Text())
			}
		})
	}
}

func TestManyChangesFitAMessage(t *testing.T) {
	a := published(control.Remediated, func(c *ledger.Case) {
		step := c.Steps[0]
		fields := map[string]string{}
		for i := range 100 {
			fields[strings.Repeat("\n", 300)+fmt.Sprint(i)] = strings.Repeat("漢\\", 1000)
		}
		before, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		step.Before = before
		c.Steps = nil
		for i := range 50 {
			step.Remedy = "remedy-" + strings.Repeat("i", i)
			c.Steps = append(c.Steps, step)
		}
	})
	p, err := publish(t, a, http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.size(); n > maxSNS {
		t.Errorf("the message has %d bytes, the limit is %d", n, maxSNS)
	}
	if !strings.Contains(p.bodies["email"], "… and 36 more changes\n") {
		t.Errorf("the e-mail does not say that there are more:\n%s", p.bodies["email"])
	}
}

func TestTextsTooLongForSNSAreCut(t *testing.T) {
	long := strings.Repeat("\x00\\漢", 10<<10)
	a := published(control.Held, func(c *ledger.Case) {
		tugOfWar(c)
		rounds(c, 50, long[:2000])
		c.Reason, c.Held, c.Steps[0].Error, c.Target.ID, c.Actor.UserAgent, c.Actor.ARN, c.Event.Name = long, long, long, long, long, long, long
	})
	p, err := publish(t, a, http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.size(); n > maxSNS {
		t.Errorf("the message has %d bytes, the limit is %d", n, maxSNS)
	}
	var body alert.Alert
	if err := json.Unmarshal([]byte(p.bodies["default"]), &body); err != nil {
		t.Fatal(err)
	}
	if !body.Truncated || len(body.Changes) != 0 || len(body.Rounds) != 10 || len(body.Reason) > 600 || body.ID != a.ID {
		t.Errorf("truncated: %t, %d rounds, reason of %d characters, ID %s", body.Truncated, len(body.Rounds), len(body.Reason), body.ID)
	}
	if diff := cmp.Diff(a.Commands, body.Commands); diff != "" {
		t.Errorf("the commands were cut (-want +got):\n%s", diff)
	}
}

// hostileFindings are as many as a case keeps, with texts that grow most when
// they are quoted twice.
func hostileFindings() []ledger.Finding {
	long := strings.Repeat("\x00<", 2<<10)
	var all []ledger.Finding
	for i := range 50 {
		f := ledger.Finding{
			ID: long, ARN: long, Type: fmt.Sprint(i, long), Title: long, Severity: 8, Count: 1, Role: long, Resource: long,
		}
		for j := range 500 {
			f.Remotes, f.Ports = append(f.Remotes, fmt.Sprintf("2001:db8:%x:%x::ffff:203.0.113.255", i, j)), append(f.Ports, j)
		}
		all = append(all, f)
	}
	return all
}

func TestFindingsTooLongForSNSAreCut(t *testing.T) {
	long := strings.Repeat("\x00<", 2<<10)
	a := alert.FromCase(contained(control.Partial, func(c *ledger.Case) {
		partly(c)
		c.Findings, c.Steps[2].Left = hostileFindings(), slices.Repeat([]string{long}, 50)
		c.Reason, c.Held, c.Target.ID, c.ARN, c.Event.Name = long, long, long, long, long
		tugOfWar(c)
		rounds(c, 50, long)
		command("retry", long)(c)
	}))
	p, err := publish(t, a, http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.size(); n > maxSNS {
		t.Errorf("the message has %d bytes, the limit is %d", n, maxSNS)
	}
	var body alert.Alert
	if err := json.Unmarshal([]byte(p.bodies["default"]), &body); err != nil {
		t.Fatal(err)
	}
	if !body.Truncated || len(body.Findings) != 3 || len(body.Findings[2].Remotes) != 10 || len(body.Findings[2].Ports) != 10 ||
		!strings.HasPrefix(body.Findings[2].Type, "49") || body.ID != a.ID || body.Docs != a.Docs {
		t.Errorf("truncated: %t, %d findings, ID %s", body.Truncated, len(body.Findings), body.ID)
	}
	if len(a.Findings) != 50 || len(a.Findings[49].Remotes) != 500 {
		t.Error("the alert itself was cut")
	}
}

func TestThreatIsPublishedForFilters(t *testing.T) {
	p, err := publish(t, fromThreats()["threat-partly-contained"], http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"outcome": "partial", "severity": "HIGH", "account": "222222222222", "region": "us-east-1", "control": "ec2-quarantine",
	}
	if diff := cmp.Diff(want, p.attributes); diff != "" {
		t.Errorf("attributes differ (-want +got):\n%s", diff)
	}
}

package site

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/event"
)

// Site is a member account with a queue of its own, a cold function of the
// baseline that the test wants, and the proxy between that function and AWS.
type Site struct {
	T        *testing.T
	Account  string
	Proxy    *local.Proxy
	Function *local.Function

	house    *House
	queue    local.Hub
	baseline string
}

// New is a site in an account of its own. The lines are what its baseline says
// more than what is governed.
func (h *House) New(t *testing.T, lines ...string) *Site {
	t.Helper()
	h.mu.Lock()
	h.sites++
	account := fmt.Sprintf("3%011d", h.sites)
	h.mu.Unlock()
	return h.NewIn(t, account, lines...)
}

// NewIn is New in a certain account.
func (h *House) NewIn(t *testing.T, account string, lines ...string) *Site {
	t.Helper()
	s := &Site{T: t, Account: account, house: h, queue: *h.Hub, baseline: filepath.Join(t.TempDir(), "baseline.yaml")}
	text := strings.Join(append([]string{
		"version: 1", "reviewed: " + time.Now().Format(time.DateOnly),
		`organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}`,
	}, lines...), "\n")
	Must(t, os.WriteFile(s.baseline, []byte(text), 0o600))
	q, err := sqs.NewFromConfig(h.AWS.Config(local.HubAccount)).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("events-" + account)})
	Must(t, err)
	s.queue.QueueURL = aws.ToString(q.QueueUrl)
	s.Proxy, err = local.StartProxy(t.Context(), h.AWS, h.db)
	Must(t, err)
	t.Cleanup(s.Proxy.Close)
	s.Function = s.Start()
	return s
}

// Start is a function more that works for the site.
func (s *Site) Start() *local.Function {
	s.T.Helper()
	env, err := s.house.Hub.EnvVia(s.T.Context(), "snapback-"+s.house.Domain.Name, s.baseline, s.Proxy.Endpoint())
	Must(s.T, err)
	f, err := local.StartFunction(s.T.Context(), local.FunctionOptions{Binary: s.house.built, Env: env})
	Must(s.T, err)
	s.T.Cleanup(f.Close)
	return f
}

// Config acts in the site's account.
func (s *Site) Config() aws.Config { return s.house.AWS.Config(s.Account) }

// Sample is one of the sample events, such as "guardduty/iam-root".
func Sample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", filepath.FromSlash(name)+".json"))
	Must(t, err)
	return data
}

// Edited is an event with other texts in it, given in pairs of old and new.
func Edited(t *testing.T, e []byte, edits ...string) []byte {
	t.Helper()
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(string(e), edits[i]) {
			t.Fatalf("the event has no %s", edits[i])
		}
	}
	return []byte(strings.NewReplacer(edits...).Replace(string(e)))
}

// Handle puts events on the queue, as the rules of the domain do, and has the
// function work them off.
func (s *Site) Handle(events ...[]byte) {
	s.T.Helper()
	if d := s.Deliver(events...); len(d.Failed) > 0 {
		s.T.Fatalf("delivery: %+v\n%s", d, s.Function.Logs())
	}
}

// Deliver is Handle, of events that need not all be worked off.
func (s *Site) Deliver(events ...[]byte) local.Delivery {
	s.T.Helper()
	for _, e := range events {
		s.WantRouted(e)
	}
	Must(s.T, s.queue.Send(s.T.Context(), events...))
	d, err := s.queue.Source(s.Function).Poll(s.T.Context())
	Must(s.T, err)
	Must(s.T, d.Err)
	return d
}

// WantRouted says that a rule of the domain brings it the event.
func (s *Site) WantRouted(data []byte) {
	s.T.Helper()
	e, err := event.Decode(data)
	Must(s.T, err)
	if !slices.ContainsFunc(s.house.rules, func(m event.Matcher) bool { return m.Match(e) }) {
		s.T.Errorf("no rule of the domain brings it the event %s", data)
	}
}

// Batch is an invocation with some events.
func Batch(t *testing.T, bodies ...[]byte) []byte {
	t.Helper()
	var b events.SQSEvent
	for i, body := range bodies {
		b.Records = append(b.Records, events.SQSMessage{MessageId: fmt.Sprint("m-", i), Body: string(body)})
	}
	data, err := json.Marshal(b)
	Must(t, err)
	return data
}

// Again hands the messages of a batch that the function reported as failed out
// again, as the queue does, until none is.
func (s *Site) Again(answer string, batch []byte) {
	s.T.Helper()
	for range 3 {
		if answer == `{"batchItemFailures":[]}` {
			return
		}
		body, err := s.Function.Invoke(s.T.Context(), batch)
		Must(s.T, err)
		answer = string(body)
	}
	s.T.Errorf("the queue would move messages to the dead-letter queue: %s\n%s", answer, s.Function.Logs())
}

// Must ends the test on an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

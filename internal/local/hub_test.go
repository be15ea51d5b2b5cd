package local_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/snapback-aws/snapback/internal/local"
)

func TestQueuesAreNamedAsTheyAreDeployed(t *testing.T) {
	hub, err := local.NewHub(t.Context(), local.StartTestAWS(t), nil)
	must(t, err)
	for url, name := range map[string]string{hub.QueueURL: "/snapback-storage", hub.DeadURL: "/snapback-storage-dead"} {
		if !strings.HasSuffix(url, name) {
			t.Errorf("a queue's URL is %s, want one that ends in %s", url, name)
		}
	}
}

func TestRedriveHandsDeadMessagesOutAgain(t *testing.T) {
	a := local.StartTestAWS(t)
	hub, err := local.NewHub(t.Context(), a, nil)
	must(t, err)
	must(t, hub.Redrive(t.Context())) // there is nothing to move
	var events [][]byte
	for range 12 { // more than one batch
		events = append(events, []byte("an event"))
	}
	must(t, hub.Send(t.Context(), events...))
	failure := errors.New("it failed")
	handed := 0
	source := &local.EventSource{
		SQS: sqs.NewFromConfig(a.Config(local.HubAccount)), QueueURL: hub.QueueURL,
		Invoke: func(_ context.Context, payload []byte) ([]byte, error) {
			if failure == nil {
				handed += strings.Count(string(payload), `"body":"an event"`)
			}
			return nil, failure
		},
	}
	work := func() {
		for {
			d, err := source.Poll(t.Context())
			must(t, err)
			if len(d.Delivered)+len(d.Failed) == 0 {
				return
			}
		}
	}
	dead := func() string {
		n, err := hub.Dead(t.Context())
		must(t, err)
		return n
	}
	work()
	if n := dead(); n != "12" {
		t.Fatalf("%s messages are dead, want 12", n)
	}
	must(t, hub.Redrive(t.Context()))
	if n := dead(); n != "0" {
		t.Errorf("%s messages are still dead", n)
	}
	work() // they fail as often as before
	if n := dead(); n != "12" {
		t.Errorf("%s messages are dead, want 12", n)
	}
	must(t, hub.Redrive(t.Context()))
	failure = nil
	work()
	if n := dead(); n != "0" || handed != 12 {
		t.Errorf("%d messages were handed out, and %s are dead", handed, n)
	}
}

func TestEnvironmentViaAProxyLeadsNowhereElse(t *testing.T) {
	db := startDynamoDB(t)
	hub, err := local.NewHub(t.Context(), local.StartTestAWS(t), db)
	must(t, err)
	env, err := hub.EnvVia(t.Context(), "snapback-storage", "baseline.yaml", "http://127.0.0.1:1")
	must(t, err)
	if got := slices.DeleteFunc(slices.Clone(env), func(v string) bool { return !strings.Contains(v, "http://") }); !slices.Equal(got, []string{"AWS_ENDPOINT_URL=http://127.0.0.1:1"}) {
		t.Errorf("the endpoints are %q", got)
	}
	for _, want := range []string{"SNAPBACK_TABLE=snapback", "SNAPBACK_ROLE=snapback-storage", "SNAPBACK_BASELINE=baseline.yaml", "AWS_REGION=us-east-1"} {
		if !slices.Contains(env, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	env, err = hub.Env(t.Context(), "snapback-storage", "baseline.yaml")
	must(t, err)
	if !slices.Contains(env, "AWS_ENDPOINT_URL_DYNAMODB="+db.Endpoint()) {
		t.Error("the plain environment lacks the endpoint of the ledger")
	}
}

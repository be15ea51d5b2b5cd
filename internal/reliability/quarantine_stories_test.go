package reliability_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
)

var quarantineStories = []story{
	{"killed while the instance is in the wide-open group", killedWideOpen},
	{"two workers with a finding each about one instance, and the first is killed", firstOfTwoKilled},
	{"killed, and the instance is terminated before the finding is handed out again", terminatedInTheMiddle},
	{"killed in the middle of a release, and the command given again", releasedAgain},
}

// killedInside puts the finding on the queue and has the worker killed when all
// interfaces are in the wide-open group and none has come out of it. Before that
// something else comes to pass.
func (s *instance) killedInside(before func()) {
	s.t.Helper()
	var once sync.Once
	s.proxy.Inject(regroup, len(s.Interfaces)+1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		once.Do(func() { before(); s.kill() }) // the others wait for that too
		x.Reset()
	}})
	s.disturbed()
	s.send()
	if d := s.poll(); len(d.Failed) != 1 || d.Err == nil {
		s.t.Fatalf("delivery %+v: the worker was not killed", d)
	}
	s.clear()
	wide := map[string]bool{}
	for _, rule := range s.open() {
		name, rest, _ := strings.Cut(rule, " ")
		if !strings.HasPrefix(rest, "snapback-untrack-") {
			s.t.Fatalf("it is open otherwise than by the wide-open group: %s", rule)
		}
		wide[name] = true
	}
	if len(wide) != len(s.Interfaces) {
		s.t.Fatalf("%d of %d interfaces are in the wide-open group", len(wide), len(s.Interfaces))
	}
}

func killedWideOpen(w *world, t *testing.T) string {
	s := w.newInstance(t)
	s.killedInside(func() {})
	end := s.settle()
	end.tries++
	words := s.words(end)
	s.contained(end)
	s.released(nil)
	return words
}

// firstOfTwoKilled has a second worker wait for the first one's lease in vain,
// and take its case over once that has ended.
func firstOfTwoKilled(w *world, t *testing.T) string {
	s := w.newInstance(t)
	env, err := w.hub.EnvVia(t.Context(), "snapback-response", w.baseline, s.proxy.Endpoint())
	must(t, err)
	second, err := local.StartFunction(t.Context(), local.FunctionOptions{Binary: built["response"], Env: env})
	must(t, err)
	t.Cleanup(second.Close)
	other := s.finding("ec2-dns-exfiltration")
	s.killedInside(func() {
		if body, err := second.Invoke(t.Context(), batchOf(t, other)); err != nil || !strings.Contains(string(body), "itemIdentifier") {
			t.Errorf("the second worker did not give its message back: %s (%v)\n%s", body, err, second.Logs())
		}
	})
	s.remember()
	s.endLease()
	if body, err := second.Invoke(t.Context(), batchOf(t, other)); err != nil || strings.Contains(string(body), "itemIdentifier") {
		t.Errorf("the second worker did not take the case over: %s (%v)\n%s", body, err, second.Logs())
	}
	s.contained(fate{tries: 1})
	end := s.settle()
	end.tries++
	words := s.words(end)
	s.contained(end)
	if n := len(s.cases()[0].Findings); n != 2 {
		t.Errorf("the case has %d findings, want both", n)
	}
	s.released(nil)
	return words
}

// batchOf is an invocation with one message.
func batchOf(t *testing.T, body []byte) []byte {
	t.Helper()
	data, err := json.Marshal(events.SQSEvent{Records: []events.SQSMessage{{MessageId: "m-1", Body: string(body)}}})
	must(t, err)
	return data
}

// terminatedInTheMiddle ends with an instance that nothing can be done about: what
// was made of its quarantine is put back where it is not gone with it.
func terminatedInTheMiddle(w *world, t *testing.T) string {
	s := w.newInstance(t)
	s.proxy.Inject("EC2.CreateSnapshots", 1, local.KilledBefore(s.kill))
	s.disturbed()
	s.send()
	s.poll()
	s.terminate()
	end := s.settle()
	end.tries++
	words := s.words(end)
	cases := s.cases()
	if len(cases) != 1 || cases[0].Outcome != control.Gone || cases[0].Closed.IsZero() {
		t.Fatalf("cases %+v: want one that is gone and closed\n%s", cases, s.function.Logs())
	}
	for name, line := range s.now() {
		if strings.HasPrefix(name, "group ") && strings.HasPrefix(line, "snapback-untrack-") {
			t.Errorf("%s %s is left", name, line)
		}
	}
	// What outlives the instance can be put back: its role is denied nothing more.
	if a, err := s.command(engine.Undo, cases[0].ID); err != nil || a.Verdict != engine.Done {
		t.Errorf("undo: %s: %s (%v)", a.Verdict, a.Reason, err)
	}
	for name, line := range s.now() {
		if strings.Contains(name+line, "snapback-quarantine-") {
			t.Errorf("%s %s is left after the undo", name, line)
		}
	}
	return words
}

// terminate ends the instance in spite of its protection.
func (s *instance) terminate() {
	s.t.Helper()
	client := ec2.NewFromConfig(s.aws.Config(s.account))
	_, err := client.ModifyInstanceAttribute(s.t.Context(), &ec2.ModifyInstanceAttributeInput{
		InstanceId: &s.Instance, DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(false)},
	})
	must(s.t, err)
	_, err = client.TerminateInstances(s.t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{s.Instance}})
	must(s.t, err)
}

func releasedAgain(w *world, t *testing.T) string { return w.newInstance(t).releasedAgain(regroup, 2) }

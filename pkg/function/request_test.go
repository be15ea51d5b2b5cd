package function_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// send gives a command to the built function.
func (s *stage) send(f *local.Function, r any) engine.Answer {
	s.t.Helper()
	payload, err := json.Marshal(r)
	must(s.t, err)
	out, err := f.Invoke(s.t.Context(), payload)
	must(s.t, err)
	var a engine.Answer
	must(s.t, json.Unmarshal(out, &a))
	return a
}

// proved is a request with the proof that the hub's credentials give it.
func (s *stage) proved(r function.Request) function.Request {
	s.t.Helper()
	r.At = time.Now().UTC()
	proof, err := cloud.Prove(s.t.Context(), s.aws.Config(local.HubAccount), r.Hash())
	must(s.t, err)
	r.Proof = &proof
	return r
}

func TestCommandIsCarriedOutForWhoProvesWhoHeIs(t *testing.T) {
	s := newStage(t, false)
	s.makeBucket(reports)
	f := s.start(0)
	s.deliver(f, sample(t, deleted))
	c := s.cases()[0]
	undo := function.Request{Command: engine.Undo, Case: c.ID, For: "36h", Why: "a test", Host: "laptop"}
	for reason, r := range map[string]function.Request{
		"lacks the proof": undo,
		"is no time such": s.proved(function.Request{Command: engine.Undo, Case: c.ID, For: "a while"}),
	} {
		if reason == "is no time such" {
			reason = `for is "a while": want a time such as 36h`
		}
		if a := s.send(f, r); a.Verdict != engine.Misuse || !strings.Contains(a.Reason, reason) {
			t.Errorf("want misuse that says %q, got %s: %s", reason, a.Verdict, a.Reason)
		}
	}
	a := s.send(f, s.proved(undo))
	if a.Verdict != engine.Done || a.Case == nil || a.Case.Outcome != control.Undone || time.Until(a.Exemption.Until) < 35*time.Hour {
		t.Fatalf("undo: %+v", a)
	}
	me, err := sts.NewFromConfig(s.aws.Config(local.HubAccount)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	must(t, err)
	want := ledger.Caller{ARN: aws.ToString(me.Arn), Account: aws.ToString(me.Account), Host: "laptop"}
	got := a.Case.Commands[0].By
	if got.UserID == "" { // moto's is another one in each answer
		t.Error("the ledger has no user ID")
	}
	if got.UserID = ""; got != want {
		t.Errorf("undone by %+v, want %+v", got, want)
	}
	if s.closed(reports) {
		t.Error("the bucket is closed still")
	}
	if !strings.Contains(f.Logs(), `"msg":"command"`) || !strings.Contains(f.Logs(), `"by":"`+want.ARN+`"`) {
		t.Errorf("the log does not tell of the command:\n%s", f.Logs())
	}
}

func TestProofIsGoodForOneCommandAlone(t *testing.T) {
	r := function.Request{Command: engine.Approve, Case: "a", Digest: "d", At: time.Now().UTC()}
	hash := r.Hash()
	r.Proof = &cloud.Proof{Date: "x"}
	if r.Hash() != hash {
		t.Error("the proof is part of what it is bound to")
	}
	for name, edit := range map[string]func(*function.Request){
		"command": func(r *function.Request) { r.Command = engine.Undo }, "case": func(r *function.Request) { r.Case = "b" },
		"digest": func(r *function.Request) { r.Digest = "e" }, "why": func(r *function.Request) { r.Why = "w" },
		"host": func(r *function.Request) { r.Host = "h" }, "time": func(r *function.Request) { r.At = r.At.Add(1) },
		"for":       func(r *function.Request) { r.For = "1h" },
		"exemption": func(r *function.Request) { r.Exemption = &ledger.Exemption{Control: "c"} },
	} {
		other := r
		edit(&other)
		if other.Hash() == hash {
			t.Errorf("another %s has the same hash", name)
		}
	}
}

func TestWhatIsNoCommandIsRefusedWithASentence(t *testing.T) {
	s := newStage(t, false)
	s.env = append(s.env, "SNAPBACK_VERSION=1.2.0")
	f := s.start(0)
	for payload, reason := range map[string]string{
		`{"command":5}`:                  "this is no command",
		`{"command":"dance","case":"x"}`: "lacks the proof",
	} {
		if a := s.send(f, json.RawMessage(payload)); a.Verdict != engine.Misuse || !strings.Contains(a.Reason, reason) {
			t.Errorf("%s: want misuse that says %q, got %+v", payload, reason, a)
		}
	}
	if a := s.send(f, function.Request{Command: function.Expire}); a.Verdict != engine.Done {
		t.Errorf("expire: %+v", a)
	}
	if a := s.send(f, function.Request{Command: function.Check, Accounts: []string{local.MemberAccount}}); a.Verdict != engine.Done || !strings.Contains(a.Reason, "accounts that can be entered: 1") {
		t.Errorf("check: %+v", a)
	} else if sum := sha256.Sum256([]byte(enforced)); a.Version != "1.2.0" || a.Baseline != hex.EncodeToString(sum[:]) {
		t.Errorf("the check says version %q and baseline %q", a.Version, a.Baseline)
	}
}

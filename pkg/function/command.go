package function

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// The commands besides those about one case, which package engine names.
const (
	Exempt   = "exempt"   // make an exemption
	Unexempt = "unexempt" // end one
	Expire   = "expire"   // end the cases that nobody answered in time; the scheduler gives it
	Check    = "check"    // tell whether the function can do its work
)

// Request is a command to a domain's function, the payload of a synchronous
// Lambda Invoke. What tells it from a batch of events is the field command. The
// function's answer is an engine.Answer.
//
// Whoever may invoke the function may send it anything, so it does not say who
// he is: the proof does, which STS confirms.
type Request struct {
	// Command is engine.Approve, Deny, Release, Retry, Undo or Look, or one of this
	// package's constants.
	Command string `json:"command"`
	// Case is the case that the first six are about.
	Case string `json:"case,omitempty"`
	// Digest is that of the change that the operator was shown: 64 hexadecimal
	// digits. For approve and release.
	Digest string `json:"digest,omitempty"`
	// Why is the operator's reason. For deny, and if he likes for the others.
	Why string `json:"why,omitempty"`
	// For is how long the resource is exempt after an undo, as "36h"; empty: a day.
	For string `json:"for,omitempty"`
	// Keep are the remedies whose changes an undo leaves as they are.
	Keep []string `json:"keep,omitempty"`
	// Exemption is the one to make or end; of the latter, control and resource
	// are enough. Created and by are set by the function.
	Exemption *ledger.Exemption `json:"exemption,omitempty"`
	// Accounts are those whose roles a check is to try.
	Accounts []string `json:"accounts,omitempty"`
	// Host is the name of the machine that the command was typed on.
	Host string `json:"host,omitempty"`
	// At is when the command was given, so that no two have the same hash.
	At time.Time `json:"at"`
	// Proof proves who gives the command. Expire and check, which change
	// nothing that anybody decides, need none.
	Proof *cloud.Proof `json:"proof,omitempty"`
}

// Hash is what a proof is bound to: the SHA-256, in hexadecimal, of the request
// without the proof.
func (r Request) Hash() string {
	r.Proof = nil
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // texts and times always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// command carries out a request and writes one line about it.
func (f *Function) command(ctx context.Context, payload []byte) engine.Answer {
	var r Request
	var a engine.Answer
	var by ledger.Caller
	if err := json.Unmarshal(payload, &r); err != nil {
		a = refused(engine.Misuse, fmt.Sprintf("this is no command that the function can read: %v", err))
	} else {
		by, a = f.obey(ctx, r)
	}
	level := slog.LevelInfo
	if a.Verdict != engine.Done {
		level = slog.LevelWarn
	}
	f.log.LogAttrs(ctx, level, "command", slog.String("domain", f.domain), slog.String("command", r.Command),
		slog.String("case", r.Case), slog.String("by", by.ARN), slog.String("host", r.Host),
		slog.String("verdict", string(a.Verdict)), slog.String("reason", a.Reason), slog.Any("calls", a.Calls))
	return a
}

func (f *Function) obey(ctx context.Context, r Request) (ledger.Caller, engine.Answer) {
	switch r.Command {
	case Expire:
		return ledger.Caller{}, f.engine.Expire(ctx)
	case Check:
		return ledger.Caller{}, f.engine.Check(ctx, r.Accounts)
	}
	by, err := f.identify(ctx, r)
	if err != nil {
		verdict := engine.NotSo
		if errors.Is(err, cloud.ErrProof) {
			verdict = engine.Misuse
		}
		return by, refused(verdict, cloud.Reason(err))
	}
	switch x := cmp.Or(r.Exemption, &ledger.Exemption{}); r.Command {
	case Exempt:
		x.By = by
		return by, f.engine.Exempt(ctx, *x)
	case Unexempt:
		return by, f.engine.Unexempt(ctx, x.Control, x.Resource, by)
	}
	var last time.Duration
	if r.For != "" {
		if last, err = time.ParseDuration(r.For); err != nil || last <= 0 {
			return by, refused(engine.Misuse, fmt.Sprintf("for is %q: want a time such as 36h", r.For))
		}
	}
	return by, f.engine.Do(ctx, engine.Command{Name: r.Command, Case: r.Case, Digest: r.Digest, Why: r.Why, For: last, Keep: r.Keep, By: by})
}

// refused is the answer to a command that does not reach the engine.
func refused(verdict engine.Verdict, reason string) engine.Answer {
	return engine.Answer{Verdict: verdict, Reason: reason, Calls: []string{}}
}

func (f *Function) identify(ctx context.Context, r Request) (ledger.Caller, error) {
	by := ledger.Caller{Host: r.Host}
	if r.Proof == nil {
		return by, fmt.Errorf("%w: the command lacks the proof of who gives it: use the command line `snapback`", cloud.ErrProof)
	}
	who, err := cloud.Identify(ctx, f.config, *r.Proof, r.Hash())
	if err != nil {
		return by, err
	}
	by.ARN, by.Account, by.UserID = who.ARN, who.Account, who.UserID
	return by, nil
}

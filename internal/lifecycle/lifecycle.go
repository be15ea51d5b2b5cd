// Package lifecycle is the test that every remedy must pass on the local AWS:
// violate, plan, apply twice, compliant, undo, as before, undo again refused;
// what it verifies is open before Apply and after Undo, and only then; and the
// calls that it really made are the permissions that it declares.
package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// Violation is one way in which a resource can leave the baseline. All
// violations of a remedy together must need every permission it declares.
type Violation struct {
	Name string
	// Make creates the resource and violates the baseline, with a configuration
	// that acts in the member account, and returns the target's ID: what the API
	// call needs.
	Make func(ctx context.Context, t *testing.T, cfg aws.Config) string
	// State reads all of the resource that the remedy could touch, to be
	// compared as a whole before and after.
	// It is given the target's ID.
	State func(ctx context.Context, t *testing.T, cfg aws.Config, id string) any
}

// Case is a control with its violations.
type Case struct {
	Domain control.Domain
	ID     string // of the control
	Test
}

// Test is what a remedy is tested with.
type Test struct {
	// Gone is the ID of a resource that does not exist; empty where the resource
	// always exists.
	Gone       string
	Violations []Violation
	// Request, if set, checks every request that the control makes.
	Request func(t *testing.T, r *http.Request)
}

// Run runs the lifecycle of one control.
func Run(t *testing.T, c Case) {
	t.Helper()
	i := slices.IndexFunc(c.Domain.Controls, func(k control.Control) bool { return k.ID == c.ID })
	if i < 0 {
		t.Fatalf("control %s is not in the list of domain %s", c.ID, c.Domain.Name)
	}
	k := c.Domain.Controls[i]
	r := &run{Test: c.Test, domain: c.Domain.Name, typ: k.Type, remedy: k.Remedy, list: k.List}
	r.all(t)
}

// Remedy runs the lifecycle of one remedy of a runbook, whose targets are of
// the given type.
func Remedy(t *testing.T, domain, typ string, remedy control.Remedy, test Test) {
	t.Helper()
	r := &run{Test: test, domain: domain, typ: typ, remedy: remedy}
	r.all(t)
}

type run struct {
	Test
	domain, typ string
	remedy      control.Remedy
	list        func(context.Context, *cloud.Session) iter.Seq2[control.Target, error] // nil: targets are not listed
	aws         *local.AWS
	made        map[string]map[string]bool // step: calls
}

func (r *run) all(t *testing.T) {
	t.Helper()
	if len(r.Violations) == 0 {
		t.Fatalf("remedy %s has no violation to be tested with", r.remedy.Name)
	}
	server, err := local.StartAWS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	r.aws, r.made = server, map[string]map[string]bool{}
	for _, v := range r.Violations {
		t.Run(v.Name, func(t *testing.T) { r.violation(t, v) })
	}
	if r.Gone != "" {
		t.Run("a resource that is gone is told apart", r.gone)
	}
	t.Run("calls are the declared permissions", r.permissions)
}

func (r *run) violation(t *testing.T, v Violation) {
	ctx := t.Context()
	member := r.aws.Config(local.MemberAccount)
	id := v.Make(ctx, t, member)
	state := func() any { return v.State(ctx, t, member, id) }
	before := state()
	session := r.session(ctx, t)
	target := control.Target{Account: local.MemberAccount, Region: local.Region, Type: r.typ, ID: id}

	if r.list != nil && !r.lists(ctx, t, session, target) {
		t.Errorf("List does not yield %s", target)
	}
	change := r.plan(ctx, t, session, target)
	if change == nil {
		t.Fatal("Plan finds nothing to do on a violation")
	}
	change.Case, change.Finding = "20261122-example0", "finding-example" // as the engine does
	if change.Target != target || change.Reason == "" {
		t.Errorf("Plan returned target %v and reason %q", change.Target, change.Reason)
	}
	unchanged(t, "Plan", before, state())
	if r.remedy.Apply == nil {
		return
	}
	r.verifyOpen(ctx, t, session, *change)

	r.step(ctx, t, "Apply", func(ctx context.Context) error { return r.remedy.Apply(ctx, session, *change) })
	after := state()
	if cmp.Equal(before, after) {
		t.Error("Apply changed nothing")
	}
	r.step(ctx, t, "Apply", func(ctx context.Context) error { return r.remedy.Apply(ctx, session, *change) })
	unchanged(t, "applying again", after, state())
	if again := r.plan(ctx, t, session, target); again != nil && !again.Report() {
		t.Fatalf("after Apply, Plan still finds: %s", again.Reason)
	}
	if open := r.verify(ctx, t, session, *change); open != nil && !open.Report() {
		t.Errorf("after Apply, Verify still finds %s", open.Before)
	}
	r.look(ctx, t, session, *change)
	r.undo(ctx, t, session, *change, before, state)
}

// verify reads a change back as the engine does; nil if the remedy has no Verify.
func (r *run) verify(ctx context.Context, t *testing.T, session *cloud.Session, change control.Change) (open *control.Change) {
	t.Helper()
	if r.remedy.Verify != nil {
		r.step(ctx, t, "Verify", func(ctx context.Context) (err error) {
			open, err = r.remedy.Verify(ctx, session, change)
			return err
		})
	}
	return open
}

// verifyOpen checks that Verify finds a change that is not made, as it was planned.
func (r *run) verifyOpen(ctx context.Context, t *testing.T, session *cloud.Session, change control.Change) {
	t.Helper()
	if r.remedy.Verify == nil {
		return
	}
	switch open := r.verify(ctx, t, session, change); {
	case open == nil:
		t.Fatal("Verify finds nothing open of a change that is not made")
	case open.Digest() != change.Digest():
		t.Errorf("Verify of a change that is not made finds %s, want %s; to become %s, want %s", open.Before, change.Before, open.After, change.After)
	}
}

// look checks that what Apply made can be told of.
func (r *run) look(ctx context.Context, t *testing.T, session *cloud.Session, change control.Change) {
	t.Helper()
	if r.remedy.Look != nil {
		r.step(ctx, t, "Look", func(ctx context.Context) error {
			lines, err := r.remedy.Look(ctx, session, change)
			if err == nil && len(lines) == 0 {
				t.Error("Look tells nothing after Apply")
			}
			return err
		})
	}
}

// undo checks that Undo leads back to the state before, once.
func (r *run) undo(ctx context.Context, t *testing.T, session *cloud.Session, change control.Change, before any, state func() any) {
	t.Helper()
	if r.remedy.Undo == nil {
		return
	}
	r.step(ctx, t, "Undo", func(ctx context.Context) error { return r.remedy.Undo(ctx, session, change) })
	unchanged(t, "Apply and Undo", before, state())
	r.verifyOpen(ctx, t, session, change)
	var moved *control.MovedError
	if err := r.remedy.Undo(ctx, session, change); !errors.As(err, &moved) {
		t.Errorf("undoing again: want a *control.MovedError, got %v", err)
	} else if string(moved.Now) != string(change.Before) {
		t.Errorf("undoing again: the error shows %s as the state now, want %s", moved.Now, change.Before)
	}
	unchanged(t, "the refused Undo", before, state())
}

func (r *run) gone(t *testing.T) {
	session := r.session(t.Context(), t)
	target := control.Target{Account: local.MemberAccount, Region: local.Region, Type: r.typ, ID: r.Gone}
	if _, err := r.remedy.Plan(t.Context(), session, target); !errors.Is(err, control.ErrGone) {
		t.Errorf("Plan: want control.ErrGone, got %v", err)
	}
	if r.remedy.Apply == nil {
		return
	}
	change := control.Change{Target: target, Before: []byte("null"), After: []byte("{}")}
	if err := r.remedy.Apply(t.Context(), session, change); !errors.Is(err, control.ErrGone) {
		t.Errorf("Apply: want control.ErrGone, got %v", err)
	}
}

// permissions holds the declaration to what was really called.
func (r *run) permissions(t *testing.T) {
	declared := r.remedy.Permissions
	for _, step := range []struct {
		name        string
		permissions []control.Permission
	}{{"List", declared.List}, {"Plan", declared.Plan}, {"Verify", declared.Verify}, {"Apply", declared.Apply}, {"Undo", declared.Undo}, {"Look", declared.Look}} {
		want := map[string]bool{}
		for _, p := range step.permissions {
			want[p.Call] = true
		}
		got := r.made[step.name]
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("%s: permissions declared (-) and calls made (+) differ:\n%s", step.name, diff)
		}
	}
}

// session enters the member account as Snapback does.
func (r *run) session(ctx context.Context, t *testing.T) *cloud.Session {
	t.Helper()
	hub := r.aws.Config(local.HubAccount)
	hub.HTTPClient = inspector{hub.HTTPClient, func(q *http.Request) {
		if r.Request != nil {
			r.Request(t, q)
		}
	}}
	session, err := cloud.NewSessions(hub, "snapback-"+r.domain, r.domain).
		For(ctx, local.MemberAccount, local.Region, "lifecycle")
	if err != nil {
		t.Fatal(err)
	}
	return session
}

func (r *run) lists(ctx context.Context, t *testing.T, session *cloud.Session, target control.Target) (found bool) {
	t.Helper()
	r.step(ctx, t, "List", func(ctx context.Context) error {
		for listed, err := range r.list(ctx, session) {
			if err != nil {
				return err
			}
			found = found || listed == target
		}
		return nil
	})
	return found
}

func (r *run) plan(ctx context.Context, t *testing.T, session *cloud.Session, target control.Target) (change *control.Change) {
	t.Helper()
	r.step(ctx, t, "Plan", func(ctx context.Context) (err error) {
		change, err = r.remedy.Plan(ctx, session, target)
		return err
	})
	return change
}

// step runs one step and keeps the calls that it made.
func (r *run) step(ctx context.Context, t *testing.T, name string, do func(context.Context) error) {
	t.Helper()
	ctx, recorder := cloud.Record(ctx)
	if err := do(ctx); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if r.made[name] == nil {
		r.made[name] = map[string]bool{}
	}
	for _, call := range recorder.Calls() {
		r.made[name][call.Name()] = true
	}
}

func unchanged(t *testing.T, by string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s left the resource changed (-want +got):\n%s", by, diff)
	}
}

// inspector looks at requests on their way.
type inspector struct {
	aws.HTTPClient
	look func(*http.Request)
}

func (i inspector) Do(r *http.Request) (*http.Response, error) {
	i.look(r)
	return i.HTTPClient.Do(r)
}

// Comparable is a state of SDK types as plain values, which can be compared:
// SDK types have unexported fields.
func Comparable(state any) any {
	text, err := json.Marshal(state)
	if err != nil {
		panic(err) // SDK types always marshal
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		panic(err) // it was just marshalled
	}
	return plain
}

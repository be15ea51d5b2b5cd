package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
)

// raised is the sample event of a user who attaches AdministratorAccess to
// himself, and the user's name there.
const (
	raised = "cloudtrail/iam-attach-user-policy"
	raiser = "alice"
)

// escalations are the rows of the table: each is about a user of his own.
var escalations = []struct {
	name, user string
	before     func(context.Context, *scene.Person) error // what he does; nil: nothing
	again      bool                                       // the same user as in the row before
}{
	{name: "self-attach, cold", user: "ann", before: func(ctx context.Context, p *scene.Person) error { return p.Raise(ctx) }},
	{name: "self-attach, warm", user: "bob", before: func(ctx context.Context, p *scene.Person) error { return p.Raise(ctx) }},
	{name: "the same event again", user: "bob", again: true},
	{name: "the grant is taken back already", user: "eve"},
}

// escalationTrips counts the AWS calls and serial round trips from the event to
// where the grant is taken back, the actor is denied everything, the alert is
// out, and to the end.
func escalationTrips(ctx context.Context, _ string) error {
	domain := identity.Domain()
	server, e, err := delayed(ctx, domain.Name)
	if err != nil {
		return err
	}
	defer server.Close()
	e.Controls, e.Runbooks = domain.Controls, domain.Runbooks
	if e.Baseline, err = enforce("runbooks: {iam-privilege-escalation: {mode: enforce}}", domain); err != nil {
		return err
	}
	fmt.Println("a user makes himself administrator: AWS calls and serial round trips, to where the grant is taken back, he is denied")
	fmt.Println("everything, the alert is out, and to the end")
	fmt.Printf("  %-32s %-12s %6s %11s %7s %6s %11s\n", "event", "outcome", "calls", "taken back", "denied", "alert", "to the end")
	var p *scene.Person
	for _, row := range escalations {
		if !row.again {
			if p, err = scene.MakePerson(ctx, server.Config(local.MemberAccount), row.user); err != nil {
				return err
			}
		}
		if row.before != nil {
			if err := row.before(ctx, p); err != nil {
				return err
			}
		}
		if err := raise(ctx, e, p, row.name); err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
	}
	fmt.Println("  goal: denied within 8 on a warm start. Reading the user, his policies and those of his group takes 4.")
	fmt.Println()
	return nil
}

// raise handles the sample event as if it were about the person.
func raise(ctx context.Context, e *engine.Engine, p *scene.Person, name string) error {
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", raised+".json"))
	if err != nil {
		return err
	}
	ev, err := event.Decode(bytes.ReplaceAll(data, []byte(raiser), []byte(p.Name)))
	if err != nil {
		return err
	}
	for _, r := range e.Handle(ctx, ev) {
		if r.Retry != nil {
			return r.Retry
		}
		at := map[string]string{"IAM.DetachUserPolicy": "-", "IAM.PutUserPermissionsBoundary": "-", "SNS.Publish": "-"}
		for _, call := range r.Trace {
			if _, ok := at[call.Name()]; ok {
				at[call.Name()] = fmt.Sprint(tripsUntil(r, call.End))
			}
		}
		if denied, err := p.Denied(ctx); r.Outcome == control.Remediated && (err != nil || !denied) {
			return errors.Join(err, errors.New("he is not denied everything"))
		}
		fmt.Printf("  %-32s %-12s %6d %11s %7s %6s %11d\n", name, r.Outcome, len(r.Calls), at["IAM.DetachUserPolicy"],
			at["IAM.PutUserPermissionsBoundary"], at["SNS.Publish"], cloud.RoundTrips(r.Trace))
	}
	return nil
}

// Package grant sets back settings of IAM that give rights: a policy that is
// attached, an inline policy's text, the default version of a managed policy, the
// membership of a group, a role's trust policy, an access key's status, a
// permissions boundary. What is set, and to what, is found by whoever uses it.
//
// IAM is eventually consistent: what was set may take some seconds until it holds
// everywhere (IAM user guide, "Troubleshoot IAM", "Changes that I make are not
// always immediately visible"), and sessions that are open go by it too.
package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// Kind is a kind of setting.
type Kind string

// The kinds, with what Entity, Name and Value are of each. An entity is written
// as in its ARN: "user/team/alice", "group/developers", "role/deploy".
const (
	// AttachedPolicy: a user, group or role; the ARN of a managed policy; "attached",
	// or nil if it is not.
	AttachedPolicy Kind = "attached-policy"
	// InlinePolicy: a user, group or role; the policy's name; its text, decoded, or
	// nil if there is none.
	InlinePolicy Kind = "inline-policy"
	// DefaultVersion: the ARN of a customer managed policy; empty; "v3".
	DefaultVersion Kind = "default-version"
	// Membership: a user; a group's name; "member", or nil.
	Membership Kind = "membership"
	// Trust: a role; empty; its trust policy's text, decoded.
	Trust Kind = "trust"
	// AccessKey: a user; the key's ID; "Active", "Inactive".
	AccessKey Kind = "access-key"
	// Boundary: a user or role; empty; the ARN of its permissions boundary, or nil.
	Boundary Kind = "boundary"
)

// Setting is one setting with its value.
type Setting struct {
	Kind   Kind
	Entity string
	Name   string `json:",omitempty"`
	Value  *string
}

// String names a setting for people: "inline policy admin of user/alice".
func (s Setting) String() string {
	what := strings.ReplaceAll(string(s.Kind), "-", " ")
	if s.Name != "" {
		what += " " + s.Name
	}
	return what + " of " + s.Entity
}

// Edit is one setting as it is, and what it is to be.
type Edit struct {
	Setting
	To *string
}

// Plan is what is to be set back.
type Plan struct {
	// Reason is the sentence of the change.
	Reason string
	// Edits are in the order in which they are made. None: it is a report.
	Edits []Edit
	// Left says, in a sentence each, what can't be set back.
	Left []string
	// Touches are the ARNs of all that the edits change, with their paths.
	Touches []string
}

// Planner finds what is to be set back for a target, reading live state.
type Planner struct {
	// Plan returns nil if there is nothing.
	Plan func(context.Context, *cloud.Session, control.Target) (*Plan, error)
	// Permissions are the calls that Plan makes, and Kinds the kinds of settings that
	// it may want to set.
	Permissions []control.Permission
	Kinds       []Kind
}

// Remedy sets back what a planner finds. Undo sets what was there before, the
// last edit first; it also goes on from where an undo was broken off.
func Remedy(name string, p Planner) control.Remedy {
	read, write := permissions(p.Kinds)
	return control.Remedy{
		Name: name,
		Plan: func(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
			found, err := p.Plan(ctx, session, t)
			if err != nil || found == nil {
				return nil, err
			}
			return found.change(t)
		},
		Verify: verify,
		Apply:  apply,
		Undo:   undo,
		Permissions: control.Permissions{
			Plan: p.Permissions, Verify: read, Apply: write, Undo: slices.Concat(read, write),
		},
	}
}

// change is the change that makes the edits. Before and After are lists of the
// same settings with different values, in the order of the edits.
func (p *Plan) change(t control.Target) (*control.Change, error) {
	c := &control.Change{Target: t, Reason: p.Reason, Left: p.Left, Before: []byte("null")}
	if len(p.Edits) == 0 {
		return c, nil
	}
	before, after := make([]Setting, len(p.Edits)), make([]Setting, len(p.Edits))
	for i, e := range p.Edits {
		before[i], after[i] = e.Setting, e.Setting
		after[i].Value = e.To
		if _, err := rowOf(e.Setting); err != nil {
			return nil, err
		}
	}
	var err error
	c.Touches = p.Touches
	if c.Before, err = json.Marshal(before); err != nil {
		return nil, err
	}
	c.After, err = json.Marshal(after)
	return c, err
}

// state is the settings of a change, as they were, are to be and are.
type state struct {
	before, after, now []Setting
	gone               []error // of each setting, why it can no longer be there
}

// read reads the settings of a change. A document that says what the one before
// said has its text: AWS returns some in an order of its own.
func read(ctx context.Context, session *cloud.Session, c control.Change) (*state, error) {
	s := &state{}
	if err := errors.Join(json.Unmarshal(c.Before, &s.before), json.Unmarshal(c.After, &s.after)); err != nil {
		return nil, fmt.Errorf("read the recorded settings of %s: %w", c.Target, err)
	}
	same := func(a, b Setting) bool { return a.Kind == b.Kind && a.Entity == b.Entity && a.Name == b.Name }
	if !slices.EqualFunc(s.before, s.after, same) {
		return nil, fmt.Errorf("the recorded settings of %s before and after the change are not the same ones", c.Target)
	}
	s.now, s.gone = slices.Clone(s.after), make([]error, len(s.after))
	failed := make([]error, len(s.now))
	var side sync.WaitGroup
	for i := range s.now {
		side.Go(func() {
			s.now[i].Value, failed[i] = s.now[i].read(ctx, client(session))
			switch {
			case errors.Is(failed[i], control.ErrGone):
				s.gone[i], failed[i] = failed[i], nil
			case s.now[i].is(s.before[i]):
				s.now[i].Value = s.before[i].Value
			}
		})
	}
	side.Wait()
	return s, errors.Join(failed...)
}

// verify counts what is gone as set: it gives nobody any rights.
func verify(ctx context.Context, session *cloud.Session, c control.Change) (*control.Change, error) {
	s, err := read(ctx, session, c)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(s.gone, nil) {
		return nil, errors.Join(s.gone...)
	}
	set := true
	for i := range s.now {
		set = set && (s.gone[i] != nil || s.now[i].is(s.after[i]))
	}
	if set && len(c.Left) == 0 {
		return nil, nil
	}
	open := &control.Change{Target: c.Target, Reason: c.Reason, Left: c.Left}
	if !set {
		open.After, open.Touches = c.After, c.Touches
	}
	open.Before, err = json.Marshal(s.now)
	return open, err
}

// apply makes all edits even if one fails: the more is taken back, the better.
func apply(ctx context.Context, session *cloud.Session, c control.Change) error {
	var after []Setting
	if err := json.Unmarshal(c.After, &after); err != nil {
		return fmt.Errorf("read the settings that %s is to have: %w", c.Target, err)
	}
	var gone, again, final []error
	for _, s := range after {
		err := s.write(ctx, client(session))
		switch {
		case err == nil:
		case errors.Is(err, control.ErrGone):
			gone = append(gone, err)
		case cloud.Permanent(err):
			final = append(final, err)
		default:
			again = append(again, err)
		}
	}
	if len(gone) == len(after) {
		return errors.Join(gone...)
	}
	return errors.Join(append(again, final...)...) // the first one decides whether to retry
}

// undo sets what was there before, if every setting that still exists is as the
// change left it or, from an undo that was broken off, as before.
func undo(ctx context.Context, session *cloud.Session, c control.Change) error {
	s, err := read(ctx, session, c)
	if err != nil {
		return err
	}
	if s.moved() {
		now, err := json.Marshal(s.now)
		if err != nil {
			return err
		}
		return &control.MovedError{Change: c, Now: now}
	}
	left, err := s.restore(ctx, client(session))
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return &control.LeftError{Left: left}
	}
	return nil
}

func (s *state) moved() bool {
	undone := true
	for i, now := range s.now {
		was := now.is(s.before[i])
		if s.gone[i] == nil && !was && !now.is(s.after[i]) {
			return true
		}
		undone = undone && s.gone[i] == nil && was
	}
	return undone
}

// restore sets what was there before, and says in a sentence each what could not
// be set: what has it or what it names no longer exists. AWS takes no trust
// policy either that names a principal which was deleted (AWS re:Post knowledge
// center, "Failed to update trust policy. Invalid principal in policy").
func (s *state) restore(ctx context.Context, c *iam.Client) (left []string, err error) {
	var failed []error
	for i, was := range slices.Backward(s.before) {
		if s.gone[i] != nil {
			left = append(left, fmt.Sprintf("The %s was not put back: it or %s no longer exists.", was, was.Entity))
			continue
		}
		if s.now[i].is(was) {
			continue
		}
		err := was.write(ctx, c)
		switch {
		case err == nil:
		case cloud.Is(err, noSuchEntity, "MalformedPolicyDocument"):
			left = append(left, fmt.Sprintf("The %s was not put back (%s).", was, cloud.Reason(errors.Unwrap(err))))
		default:
			failed = append(failed, err)
		}
	}
	return left, errors.Join(failed...)
}

func client(session *cloud.Session) *iam.Client {
	return cloud.Client(session, func(cfg aws.Config) *iam.Client { return iam.NewFromConfig(cfg) })
}

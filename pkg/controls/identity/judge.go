package identity

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/aws/smithy-go"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
	"github.com/snapback-aws/snapback/pkg/remedies/grant"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

// judge decides whether a grant is an escalation.
type judge struct {
	identities *control.Identities

	mu      sync.Mutex
	running map[question]*verdict
}

// escalation is a grant by which its actor raised his rights, as the live state
// shows it. It is shared, and must not be changed.
type escalation struct {
	act
	// reason is what the operators read: who did what, by which right he could, and
	// what closes the hole for good.
	reason string
	// back is how the grant is taken back; without edits it can't be.
	back grant.Plan
	// revoke is the role whose sessions somebody may hold who should not, because its
	// trust policy let him in; nil if there is none.
	revoke *principal.Actor
	// with is the ARN of the role with which something was started; empty if nothing was.
	with string
	// denied says that the user whose password was set is denied everything already,
	// so that the password alone is left.
	denied bool
}

// judgePermissions are the calls that judging makes: all of them read.
var judgePermissions = readPermissions

// unknownError says that a verdict depends on something that can't be known: a
// policy that nobody can understand, or one that is gone. It has an API error's
// methods so that cloud.Permanent goes by them: asking again won't mend it.
type unknownError struct{ why string }

func (e *unknownError) Error() string               { return "can't tell whether this is an escalation: " + e.why }
func (*unknownError) ErrorCode() string             { return "Unknown" }
func (e *unknownError) ErrorMessage() string        { return e.why }
func (*unknownError) ErrorFault() smithy.ErrorFault { return smithy.FaultClient }

// question is what a judge is asked.
type question struct {
	session *cloud.Session
	target  control.Target
}

// verdict is the answer to a question, once done is closed.
type verdict struct {
	done chan struct{}
	*escalation
	err error
}

// escalation reads the live state and tells whether the grant of a target is an
// escalation; nil if it is none. Remedies that ask the same at the same time, as
// those of one runbook do, share the answer. An error that wraps *unknownError
// says that it can't be told.
func (j *judge) escalation(ctx context.Context, session *cloud.Session, t control.Target) (*escalation, error) {
	q := question{session, t}
	j.mu.Lock()
	v := j.running[q]
	if v == nil {
		v = &verdict{done: make(chan struct{}), err: errNoVerdict}
		if j.running == nil {
			j.running = map[question]*verdict{}
		}
		j.running[q] = v
		j.mu.Unlock()
		defer func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			delete(j.running, q)
			close(v.done)
		}()
		v.escalation, v.err = j.decide(ctx, session, t)
		return v.escalation, v.err
	}
	j.mu.Unlock()
	select {
	case <-v.done:
		return v.escalation, v.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// errNoVerdict is what those get who waited for one who panicked.
var errNoVerdict = errors.New("judge the grant: no verdict was come to")

// answers are how each call of IAM is looked into; a call of another service is
// one that was passed a role.
var answers = map[string]func(*inquiry, context.Context) (*escalation, error){
	"AddUserToGroup":                (*inquiry).membership,
	"AttachGroupPolicy":             (*inquiry).policy,
	"AttachRolePolicy":              (*inquiry).policy,
	"AttachUserPolicy":              (*inquiry).policy,
	"CreateAccessKey":               (*inquiry).accessKey,
	"CreateLoginProfile":            (*inquiry).password,
	"CreatePolicyVersion":           (*inquiry).version,
	"DeleteRolePermissionsBoundary": (*inquiry).boundary,
	"DeleteUserPermissionsBoundary": (*inquiry).boundary,
	"DeleteUserPolicy":              (*inquiry).deleted,
	"DetachUserPolicy":              (*inquiry).detached,
	"PutGroupPolicy":                (*inquiry).policy,
	"PutRolePermissionsBoundary":    (*inquiry).boundary,
	"PutRolePolicy":                 (*inquiry).policy,
	"PutUserPermissionsBoundary":    (*inquiry).boundary,
	"PutUserPolicy":                 (*inquiry).policy,
	"SetDefaultPolicyVersion":       (*inquiry).version,
	"UpdateAssumeRolePolicy":        (*inquiry).trust,
	"UpdateLoginProfile":            (*inquiry).password,
}

// decide is escalation for one who asks alone. Who is on the list of
// administrators is not looked at, nor is root, whom nothing can give more.
func (j *judge) decide(ctx context.Context, session *cloud.Session, t control.Target) (*escalation, error) {
	a, ok := parseAct(t)
	if !ok || a.actor.Root || j.identities.Administrator(a.actor.ARN()) {
		return nil, nil
	}
	q := &inquiry{act: a, sensitive: j.identities.Sensitive, reader: reader{session}}
	answer := answers[a.call]
	if answer == nil {
		answer = (*inquiry).passed
	}
	return answer(q, ctx)
}

// inquiry looks into one grant.
type inquiry struct {
	act
	reader    reader
	sensitive []control.Access
	// self is the actor with the rights that he has now; nil if he is gone, or of
	// another account.
	self *iampolicy.Principal
	// all is the whole account, once it was needed.
	all *iampolicy.Account
}

// readSelf reads the actor. A role of the same name that is not the one that
// acted is another one. A user who is contained is looked at as he will be once
// he is released: what he gave himself before the denial held is his then. Only
// whether he has a boundary is looked at as it is.
func (q *inquiry) readSelf(ctx context.Context) (err error) {
	switch {
	case q.actor.Foreign != "":
		return nil
	case q.actor.User != "":
		q.self, err = q.reader.user(ctx, q.actor.Name())
		if q.self != nil && q.self.Boundary != nil && strings.HasSuffix(q.self.Boundary.ARN, denyAll) && !strings.HasSuffix(q.call, "PermissionsBoundary") {
			q.self.Boundary = nil
		}
		return err
	}
	q.self, err = q.reader.role(ctx, q.actor.Name())
	if q.self != nil && q.self.ID != q.actor.RoleID {
		q.self = nil
	}
	return err
}

// isSelf tells whether what the grant is on is the actor: "user/alice". IAM does
// not tell names apart by case (IAM user guide, "IAM identifiers").
func (q *inquiry) isSelf() bool {
	kind, name, _ := strings.Cut(q.on, "/")
	return strings.EqualFold(lastPart(name), q.actor.Name()) &&
		(kind == "user" && q.actor.User != "" || kind == "role" && q.actor.Role != "")
}

// bearer is who has a grant that the actor can use.
type bearer struct {
	// Principal is the actor himself, or a role that he can assume.
	*iampolicy.Principal
	// entity is what the grant is on: the same, or the actor's group.
	entity *iampolicy.Principal
	// unsure says that he can assume the role only under conditions.
	unsure bool
}

// bearer reads the actor and what the grant is on, side by side; nil if he can't
// act as it. A user whom he gave rights is somebody else: that he could act as
// him shows once he makes an access key or a password for him.
func (q *inquiry) bearer(ctx context.Context) (*bearer, error) {
	kind, name, _ := strings.Cut(q.on, "/")
	var other *iampolicy.Principal
	readOther := func() error { return nil }
	switch {
	case q.isSelf():
	case kind == "group" && q.actor.User != "":
		readOther = func() (err error) { other, err = q.reader.group(ctx, name); return err }
	case kind == "role":
		readOther = func() (err error) { other, err = q.reader.role(ctx, name); return err }
	default:
		return nil, nil
	}
	err := sideBySide(func() error { return q.readSelf(ctx) }, readOther)
	switch {
	case err != nil:
		return nil, err
	case q.isSelf():
		return q.himself(q.self), nil
	case other == nil:
		return nil, nil
	case kind == "group":
		return q.himself(other), nil // who is not in it has none of its policies
	}
	return q.assumed(other), nil
}

// himself is the actor with a grant on an entity; nil if he is gone.
func (q *inquiry) himself(entity *iampolicy.Principal) *bearer {
	if q.self == nil {
		return nil
	}
	return &bearer{Principal: q.self, entity: entity}
}

// assumed is a role with a grant; nil if the actor can't assume it.
func (q *inquiry) assumed(role *iampolicy.Principal) *bearer {
	lets := q.lets(role, role.Trust, q.self)
	if lets == iampolicy.No {
		return nil
	}
	return &bearer{Principal: role, entity: role, unsure: lets == iampolicy.Conditional}
}

// same tells whether two names are one to IAM.
func same(a, b string) bool { return strings.EqualFold(a, b) }

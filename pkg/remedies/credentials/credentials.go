// Package credentials takes from one compromised instance what the role of its
// instance profile allows, and from nothing else that has the role.
//
// Credentials that the instance metadata service hands out can't be called back,
// but what they allow is asked with every request. So the role gets an inline
// policy that denies everything to the sessions of this instance: EC2 names them
// after it, and their aws:userid is ROLE-ID:INSTANCE-ID (IAM user guide, "IAM
// policy elements: Variables and tags", principal key values). An explicit denial
// also wins over what resource policies allow to the role or the session, in
// other accounts too (IAM user guide, "Policy evaluation logic"), and over URLs
// that were signed before. It holds for credentials that were carried away from
// the instance, and outlives it. Systems Manager, where it goes by that role, no
// longer reaches the instance either.
//
// IAM is eventually consistent: it may take some minutes until the denial holds
// everywhere (IAM user guide, "Disable permissions for temporary security
// credentials"). And it never cuts:
//   - sessions of other roles that the instance assumed with its own, and access
//     keys, passwords and tokens that lie on it;
//   - sessions of the same role that somebody else assumed under another name;
//   - the roles of ECS tasks and EKS pods on the instance, which have sessions of
//     their own;
//   - a role that was taken out of its instance profile, or whose profile was, before
//     the plan: those credentials hold until they expire, for up to six hours
//     (Uptycs, "AWS IAM roles and instance profiles: quirks");
//   - sts:GetCallerIdentity, which can't be denied (STS API reference): whoever
//     takes its answer as a proof, as an EKS cluster does, still lets the instance in;
//   - the instance identity role, which no policy binds (EC2 user guide, "Instance
//     identity roles"): Systems Manager's Default Host Management, EC2 Instance
//     Connect and GuardDuty's own agent use it;
//   - what other services gave it before and don't ask IAM about again: a database
//     connection, a registry's token.
package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
	"github.com/snapback-aws/snapback/pkg/remedies/rolepolicy"
)

// Remedy denies everything to the sessions of one instance. Undo takes back that
// denial alone. Both touch the role, which outlives the instance: they work
// whether or not the instance is still there.
func Remedy() control.Remedy {
	const role = "arn:${Partition}:iam::${Account}:role/*"
	read := control.Permission{Call: "IAM.GetRolePolicy", Action: "iam:GetRolePolicy", Resource: role}
	put := control.Permission{Call: "IAM.PutRolePolicy", Action: "iam:PutRolePolicy", Resource: role}
	return control.Remedy{
		Name:  "cut-instance-credentials",
		Plan:  plan,
		Apply: apply,
		Undo:  undo,
		Permissions: control.Permissions{
			Plan: []control.Permission{
				instance.Read,
				{Call: "IAM.GetInstanceProfile", Action: "iam:GetInstanceProfile", Resource: "arn:${Partition}:iam::${Account}:instance-profile/*"},
				read,
			},
			Apply: []control.Permission{put},
			Undo: []control.Permission{
				{Call: "IAM.GetRole", Action: "iam:GetRole", Resource: role},
				read, put,
				{Call: "IAM.DeleteRolePolicy", Action: "iam:DeleteRolePolicy", Resource: role},
			},
		},
	}
}

// state is the policy of one instance in its role, under IAM's names.
//
// Every instance has a policy of its own. One policy for all instances of a role
// would be smaller, but IAM has no conditional write: of two instances that are
// quarantined at once, the one that is written last would take away the denial
// of the other, and both would read back as done.
type state struct {
	RoleName       string
	PolicyName     string
	PolicyDocument *string // nil: there is no such policy
}

// policyName is the name of an instance's policy: at most 39 of the 128
// characters that IAM allows.
func policyName(id string) string { return "snapback-quarantine-" + id }

func plan(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
	in, err := instance.Describe(ctx, session, t)
	if err != nil {
		return nil, err
	}
	if in.IamInstanceProfile == nil {
		return nil, nil
	}
	arn := aws.ToString(in.IamInstanceProfile.Arn)
	role, err := roleOf(ctx, session, arn)
	switch {
	case cloud.Is(err, noSuchEntity):
		return report(t, "Which role instance "+t.ID+" has can't be told, and so its credentials still hold: its instance profile "+arn+" no longer exists."), nil
	case err != nil || role == nil:
		return nil, err
	case !editable(role):
		return report(t, "The credentials of instance "+t.ID+" still hold: AWS lets nobody edit its role "+aws.ToString(role.Arn)+"."), nil
	}
	return planRole(ctx, session, t, role)
}

// report says what AWS lets nobody do.
func report(t control.Target, left string) *control.Change {
	return &control.Change{Target: t, Reason: "The credentials of instance " + t.ID + " can't be cut.", Before: []byte("null"), Left: []string{left}}
}

func planRole(ctx context.Context, session *cloud.Session, t control.Target, role *types.Role) (*control.Change, error) {
	before := state{RoleName: aws.ToString(role.RoleName), PolicyName: policyName(t.ID)}
	after := before
	after.PolicyDocument = aws.String(rolepolicy.Deny(aws.ToString(role.RoleId) + ":" + t.ID))
	var err error
	if before.PolicyDocument, err = rolepolicy.Read(ctx, session, before.RoleName, before.PolicyName); err != nil {
		return nil, err
	}
	if before.equal(after) {
		return nil, nil
	}
	c := &control.Change{
		Target:  t,
		Reason:  fmt.Sprintf("Instance %s may do what its role %s allows.", t.ID, before.RoleName),
		Touches: []string{aws.ToString(role.Arn)},
	}
	if before.PolicyDocument != nil {
		c.Reason = fmt.Sprintf("Policy %s of role %s is not the one that takes everything from instance %s.", before.PolicyName, before.RoleName, t.ID)
	}
	if c.Before, err = json.Marshal(before); err != nil {
		return nil, err
	}
	c.After, err = json.Marshal(after)
	return c, err
}

func apply(ctx context.Context, session *cloud.Session, c control.Change) error {
	_, after, err := states(c)
	if err != nil {
		return err
	}
	return after.write(ctx, session)
}

func undo(ctx context.Context, session *cloud.Session, c control.Change) error {
	before, after, err := states(c)
	if err != nil {
		return err
	}
	var left []string
	if before.RoleName != after.RoleName {
		left = append(left, fmt.Sprintf("Role %s may still have policy %s: instance %s was given another role while its credentials were cut.",
			before.RoleName, before.PolicyName, c.Target.ID))
		before = state{RoleName: after.RoleName, PolicyName: after.PolicyName}
	}
	now := after
	var unread, gone error
	var side sync.WaitGroup
	side.Go(func() { now.PolicyDocument, unread = rolepolicy.Read(ctx, session, after.RoleName, after.PolicyName) })
	_, gone = client(session).GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(after.RoleName)})
	side.Wait()
	switch {
	case cloud.Is(gone, noSuchEntity):
		return &control.LeftError{Left: append(left, fmt.Sprintf("Role %s no longer exists, and its policy %s neither.", after.RoleName, after.PolicyName))}
	case gone != nil || unread != nil:
		return fmt.Errorf("look for the policy of instance %s: %w", c.Target.ID, errors.Join(gone, unread))
	case !now.equal(after):
		text, err := json.Marshal(now)
		if err != nil {
			return err
		}
		return &control.MovedError{Change: c, Now: text}
	}
	if err := before.write(ctx, session); err != nil {
		return err
	}
	if len(left) > 0 {
		return &control.LeftError{Left: left}
	}
	return nil
}

func states(c control.Change) (before, after state, err error) {
	if err := errors.Join(json.Unmarshal(c.Before, &before), json.Unmarshal(c.After, &after)); err != nil {
		return before, after, fmt.Errorf("read the recorded policy of instance %s: %w", c.Target.ID, err)
	}
	return before, after, nil
}

// equal reports whether the policies are equal.
func (s state) equal(other state) bool {
	return rolepolicy.Same(s.PolicyDocument, other.PolicyDocument)
}

// write makes the role's policy as the state says.
func (s state) write(ctx context.Context, session *cloud.Session) error {
	return rolepolicy.Write(ctx, session, s.RoleName, s.PolicyName, s.PolicyDocument)
}

const noSuchEntity = "NoSuchEntity"

func client(session *cloud.Session) *iam.Client {
	return cloud.Client(session, func(cfg aws.Config) *iam.Client { return iam.NewFromConfig(cfg) })
}

// roleOf is the role of an instance profile; nil if it has none. A profile has
// one at most (IAM user guide, "Use instance profiles").
func roleOf(ctx context.Context, session *cloud.Session, arn string) (*types.Role, error) {
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	out, err := client(session).GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(name)})
	switch {
	case err != nil:
		return nil, fmt.Errorf("get instance profile %s: %w", name, err)
	case len(out.InstanceProfile.Roles) == 0:
		return nil, nil
	}
	return &out.InstanceProfile.Roles[0], nil
}

// editable reports whether the account may write a role's policies. It may not
// where the role is a service's own or one of IAM Identity Center's, named
// AWSReservedSSO_…. Sources: IAM user guide, "Create a service-linked role"; IAM
// Identity Center user guide, "Referencing permission sets in resource policies".
func editable(role *types.Role) bool {
	path := aws.ToString(role.Path)
	return !strings.HasPrefix(path, "/aws-service-role/") && !strings.HasPrefix(path, "/aws-reserved/")
}

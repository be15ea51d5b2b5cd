package principal

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/rolepolicy"
)

// revocation is what one policy of a role does to its sessions.
type revocation struct {
	RoleName, PolicyName string
	Sessions             string  // one of the words below
	PolicyDocument       *string `json:",omitempty"` // another policy that is there in its place
}

// The words for what may happen to a role's sessions. The time of the change is
// none of them: two plans of the same state are the same.
const (
	allowed = "allowed"
	revoked = "those issued before the change are denied"
	other   = "as PolicyDocument says"
)

// RevokeSessions denies everything to all sessions of a role that were issued
// before the change, where enabled says so. What AWS lets nobody edit, and who has
// no role, is Deny's to tell.
//
// Its states are {"RoleName","PolicyName","Sessions"}, with Sessions in words, and
// the "PolicyDocument" that was there, if any. Source of the policy: IAM user
// guide, "Revoke IAM role temporary security credentials".
func RevokeSessions(f Finder, enabled *bool) control.Remedy {
	plan := f.plan(revoke)
	return control.Remedy{
		Name: "revoke-role-sessions",
		Plan: func(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
			if !*enabled {
				return nil, nil
			}
			return plan(ctx, session, t)
		},
		Resume: f.resume(func(ctx context.Context, session *cloud.Session, c control.Change, s *Suspect) (*control.Change, error) {
			if !*enabled {
				return nil, nil
			}
			return revoke(ctx, session, c, s)
		}),
		Verify: revocations.verify,
		Apply:  applyRevocation,
		Undo:   revocations.undo,
		Permissions: control.Permissions{
			Plan:   f.needs(getRole, getRolePolicy),
			Verify: []control.Permission{getRole, getRolePolicy},
			Apply:  []control.Permission{getRole, getRolePolicy, putRolePolicy},
			Undo:   []control.Permission{getRole, getRolePolicy, putRolePolicy, deleteRolePolicy},
		},
	}
}

var revocations = setting[revocation]{
	read:  readRevocation,
	write: writeRevocation,
	same: func(a, b revocation) bool {
		return a.Sessions == b.Sessions && rolepolicy.Same(a.PolicyDocument, b.PolicyDocument)
	},
	of: func(r revocation) string { return "Role " + r.RoleName },
}

// revoke plans to revoke a role's sessions because of one of them. Sessions that
// were revoked before, by whatever case, need not be revoked again as long as that
// one is denied, since it can't have done anything in the meantime. If it is not,
// then it could, and so could others that were opened since.
func revoke(ctx context.Context, session *cloud.Session, c control.Change, s *Suspect) (*control.Change, error) {
	if s.Role == "" || outOfReach(s.Actor) != nil {
		return nil, nil
	}
	want := revocation{RoleName: s.Name(), PolicyName: policyName("snapback-revoke-", s.userID()), Sessions: revoked}
	denied := denialOf(s.Actor)
	var document *string
	var unread error
	var side sync.WaitGroup
	side.Go(func() { document, unread = rolepolicy.Read(ctx, session, want.RoleName, want.PolicyName) })
	now, role, err := readDenial(ctx, session, c, denied)
	side.Wait()
	if err := errors.Join(err, unread); err != nil {
		return nil, err
	}
	if locked(s.Actor, role.arn) != nil || denials.same(now, denied) && revocationForm.MatchString(rolepolicy.Compact(document)) {
		return nil, nil
	}
	return revocations.change(c, want.as(document, c), want, holder{arn: role.arn})
}

// revocationPolicy denies everything to the sessions that were issued before a
// time. Its Sid names the case that has put it: a later case puts a later time.
func revocationPolicy(id, before string) string {
	return `{"Version":"2012-10-17","Statement":{"Sid":"` + id + `","Effect":"Deny","Action":"*","Resource":"*",` +
		`"Condition":{"DateLessThan":{"aws:TokenIssueTime":"` + before + `"}}}}`
}

var revocationForm = regexp.MustCompile(`^` + strings.NewReplacer("ID", "([0-9A-Za-z]+)", "TIME", `[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z`).
	Replace(regexp.QuoteMeta(revocationPolicy("ID", "TIME"))) + `$`)

// policyID is the Sid of a case's policy: letters and digits alone may be in it
// (IAM user guide, "IAM JSON policy elements: Sid").
func policyID(c control.Change) string { return "Case" + strings.ReplaceAll(c.Case, "-", "") }

// as is the state in which a policy leaves the role's sessions, told as a change
// tells it.
func (r revocation) as(document *string, c control.Change) revocation {
	r.Sessions, r.PolicyDocument = other, document
	form := revocationForm.FindStringSubmatch(rolepolicy.Compact(document))
	switch {
	case document == nil:
		r.Sessions = allowed
	case form != nil && form[1] == policyID(c):
		r.Sessions, r.PolicyDocument = revoked, nil
	}
	return r
}

func readRevocation(ctx context.Context, session *cloud.Session, c control.Change, r revocation) (revocation, holder, error) {
	role, document, err := readRole(ctx, session, r.RoleName, r.PolicyName)
	if err != nil {
		return r, holder{}, err
	}
	return r.as(document, c), holder{arn: aws.ToString(role.Arn)}, nil
}

func writeRevocation(ctx context.Context, session *cloud.Session, c control.Change, r revocation) error {
	document := r.PolicyDocument
	if r.Sessions == revoked {
		// Rounded up, so that a session of this very second is denied too.
		now := time.Now().UTC().Truncate(time.Second).Add(time.Second)
		document = aws.String(revocationPolicy(policyID(c), now.Format(time.RFC3339)))
	}
	return rolepolicy.Write(ctx, session, r.RoleName, r.PolicyName, document)
}

// applyRevocation leaves a policy that this very case has put: its time stays.
func applyRevocation(ctx context.Context, session *cloud.Session, c control.Change) error {
	open, err := revocations.verify(ctx, session, c)
	if err != nil || open == nil {
		return err
	}
	return revocations.apply(ctx, session, c)
}

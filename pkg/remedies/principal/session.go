package principal

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/rolepolicy"
)

// denial is the inline policy of a role that denies one of its sessions
// everything, under IAM's names.
type denial struct {
	RoleName       string
	Session        string // its aws:userid: ROLE-ID:SESSION-NAME
	PolicyName     string
	PolicyDocument *string // nil: there is no such policy
}

func denialOf(a Actor) denial {
	return denial{
		RoleName: a.Name(), Session: a.userID(), PolicyName: policyName("snapback-deny-", a.userID()),
		PolicyDocument: aws.String(rolepolicy.Deny(a.userID())),
	}
}

// userID is the aws:userid of a role's session (IAM user guide, "IAM policy
// elements: Variables and tags", principal key values).
func (a Actor) userID() string { return a.RoleID + ":" + a.Session }

var denials = setting[denial]{
	read: readDenial,
	write: func(ctx context.Context, session *cloud.Session, _ control.Change, d denial) error {
		return rolepolicy.Write(ctx, session, d.RoleName, d.PolicyName, d.PolicyDocument)
	},
	same: func(a, b denial) bool { return rolepolicy.Same(a.PolicyDocument, b.PolicyDocument) },
	of:   func(d denial) string { return "Role " + d.RoleName },
}

// readDenial takes a role that was made anew under the same name for another one:
// the sessions of the former have nothing any more.
func readDenial(ctx context.Context, session *cloud.Session, _ control.Change, d denial) (denial, holder, error) {
	role, document, err := readRole(ctx, session, d.RoleName, d.PolicyName)
	if err != nil {
		return d, holder{}, err
	}
	roleID, name, _ := strings.Cut(d.Session, ":")
	if roleID != aws.ToString(role.RoleId) {
		return d, holder{}, fmt.Errorf("role %s with ID %s: %w", d.RoleName, roleID, control.ErrGone)
	}
	d.PolicyDocument = document
	return d, holder{arn: aws.ToString(role.Arn), left: certificate(role, name)}, nil
}

// IAM Roles Anywhere names a session after the serial number of the certificate
// with which it was opened, in hexadecimal, unless its profile lets the caller
// choose (IAM Roles Anywhere user guide, "CreateSession"). A serial number has 20
// bytes at most (RFC 5280, 4.1.2.2).
var serialNumber = regexp.MustCompile(`^[0-9a-fA-F]{1,40}$`)

// certificate says what is left open where a certificate opened the session.
func certificate(role *types.Role, session string) (left []string) {
	trust, err := url.PathUnescape(aws.ToString(role.AssumeRolePolicyDocument))
	if err != nil || !strings.Contains(trust, `"rolesanywhere.amazonaws.com"`) || !serialNumber.MatchString(session) {
		return nil
	}
	return []string{"The certificate with serial number " + session +
		" can still open sessions of other roles: in IAM Roles Anywhere, import a revocation list that names it, or disable the trust anchor or the profile that lets it in."}
}

package principal

import (
	"fmt"
	"strings"

	"github.com/snapback-aws/snapback/pkg/control"
)

// report makes a change a report: nobody can change anything here, and what is
// left says what to do instead.
func report(c control.Change, left []string) *control.Change {
	c.Before, c.Left = []byte("null"), left
	return &c
}

// Snapback's own roles begin with this name.
const ownRoles = "snapback-"

// outOfReach says what to do about an actor whom no policy of the account binds,
// or none of Snapback's; nil if he can be contained.
func outOfReach(a Actor) []string {
	switch {
	case a.Root:
		// IAM user guide, "Disabling permissions for temporary security credentials" and
		// "Centrally manage root access for member accounts"; AWS Organizations user
		// guide, "Service control policies".
		return []string{
			"No policy of an account binds its root user: sign in as root, change the password, delete its access keys and replace its MFA device. " +
				"For a member account, the management account can delete them by IAM's root access management.",
			"Until then a service control policy that denies everything to " + a.ARN() + " binds it, unless this is the management account.",
		}
	case a.Foreign != "":
		return []string{
			fmt.Sprintf("%s belongs to account %s, in which nothing was changed: have it contained there.", a.Foreign, account(a.Foreign)),
			fmt.Sprintf("What lets it into account %s is a policy of the resource that it used, or the trust policy of a role.", a.Account),
		}
	case a.Role != "" && strings.HasPrefix(a.Name(), ownRoles):
		return []string{fmt.Sprintf("Snapback does not change its own role %s: look in CloudTrail who opened its session %s, and close the trust policy that let him.", a.Name(), a.Session)}
	}
	return nil
}

// account is the account of an IAM or STS ARN.
func account(arn string) string { return strings.SplitN(arn, ":", 6)[4] }

// locked says what to do about a session of a role that AWS lets nobody edit; nil
// if it can be edited. The path decides, which AWS gives to nobody else. Sources:
// IAM user guide, "Create a service-linked role"; IAM Identity Center user guide,
// "Referencing permission sets in resource policies" and "Deny user access with
// service control policies".
func locked(a Actor, arn string) []string {
	_, role, _ := strings.Cut(arn, ":role/")
	switch {
	case strings.HasPrefix(role, "aws-reserved/"):
		return []string{
			fmt.Sprintf("Role %s is IAM Identity Center's, and can't be edited in an account: there, disable user %s, end his active sessions and take his assignment to account %s away.", a.Name(), a.Session, a.Account),
			fmt.Sprintf("That does not end a session of the role, which may last for 12 hours: to cut it at once, deny everything where aws:userid is %s in the inline policy of the permission set, "+
				"or where it is like *:%s in a service control policy.", a.userID(), a.Session),
		}
	case strings.HasPrefix(role, "aws-service-role/"):
		return []string{fmt.Sprintf("Role %s is linked to an AWS service, and can't be edited: find out in CloudTrail what the service does in session %s, and stop it in that service.", a.Name(), a.Session)}
	}
	return nil
}

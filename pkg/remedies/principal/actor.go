// Package principal contains whoever misuses his rights: it denies a user or a
// role's session everything and makes access keys inactive, and takes exactly
// that back.
//
// A user is denied by a permissions boundary, AWS's own policy AWSDenyAll. A user
// has one boundary at most and it counts towards no other limit, so one call
// always fits, however many groups and policies he has. What a boundary denies
// explicitly is denied whatever allows it, resource policies of other accounts
// too (IAM user guide, "Permissions boundaries for IAM entities" and "Policy
// evaluation logic"). It is asked with every request: it binds his access keys,
// whoever is signed in to the console as him, and the sessions that he opened
// with GetSessionToken and GetFederationToken (IAM user guide, "Disabling
// permissions for temporary security credentials"). A session of a role is denied
// by its aws:userid, as package credentials does; every later session of the same
// name is denied with it.
//
// IAM is eventually consistent: it may take some minutes until a denial holds
// everywhere. And it never cuts:
//   - sessions of roles that a user or a session assumed before: they are others'
//     sessions to IAM, and hold until they expire, for up to 12 hours, or until
//     they are contained themselves;
//   - sessions under another name of the same role, unless they are older than the
//     change and RevokeSessions is on; whoever may still assume the role can open
//     new ones;
//   - other users, keys and roles that he made or took over before;
//   - the password: he can still sign in, and then do nothing;
//   - sts:GetCallerIdentity and sts:GetSessionToken, which need no permission (STS
//     API reference): whoever takes an answer of the former as a proof still
//     believes it;
//   - what services gave him before and don't ask IAM about again: a database
//     connection, a registry's token, a resource that runs with a role of its own.
package principal

import (
	"regexp"
	"strings"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// Actor is who did something in an account. Its text is the first word of the ID
// of a target that is about him.
type Actor struct {
	// Account is the account in which he acted, Partition its partition.
	Account, Partition string
	// User is the path and name of an IAM user: "team/alice". With Session it is the
	// user who opened a federated session of that name.
	User string
	// Role is the path and name of a role, RoleID its unique ID, and Session the
	// name of the session that acted.
	Role, RoleID, Session string
	// Root is set for the account's root user.
	Root bool
	// Foreign is the ARN of an actor of another account.
	Foreign string
}

// The words that an actor's text begins with.
const (
	userWord      = "user/"
	roleWord      = "role/"
	federatedWord = "federated/"
	foreignWord   = "foreign/"
	rootWord      = "root"
)

// ActorPattern is what the text of an actor looks like, as a regular expression.
// A path may hold colons, what follows a name does not. Source: IAM user guide,
// "IAM identifiers" (names and paths), STS API reference (names of sessions).
const ActorPattern = `(?:user/` + pathAndName + `|role/` + pathAndName + `:[A-Z0-9]{4,128}:[\w+=,.@-]{1,128}` +
	`|federated/` + pathAndName + `:[\w+=,.@*-]{1,128}|root|foreign/arn:[a-z-]+:(?:iam|sts)::\d{12}:[!-~]{1,600})`

const pathAndName = `(?:[!-~]{1,512}/)?[\w+=,.@-]{1,128}`

var actorText = regexp.MustCompile(`^` + ActorPattern + `$`)

// FromCall is who made a call, as CloudTrail tells; not ok where that is nobody
// who could be contained: an AWS service, or somebody who is not known.
func FromCall(c *event.Call) (a Actor, ok bool) {
	who := c.Actor
	a = Actor{Account: c.Account, Partition: cloud.Partition(c.Region)}
	switch {
	case who.Type == "IdentityCenterUser": // in its portal; in an account he acts with a role
		return a, false
	case who.Type == "Root" && who.Account == c.Account:
		a.Root = true
	case who.Account != "" && who.Account != c.Account:
		a.Foreign = who.ARN
		if a.Foreign == "" {
			a.Foreign = "arn:" + a.Partition + ":iam::" + who.Account + ":root"
		}
	case who.Type == "IAMUser":
		_, a.User, _ = strings.Cut(who.ARN, ":user/")
	case who.Issuer == nil:
		return a, false
	case who.Issuer.Type == "Role":
		_, a.Role, _ = strings.Cut(who.Issuer.ARN, ":role/")
		a.RoleID, a.Session, _ = strings.Cut(who.Principal, ":")
	case who.Issuer.Type == "IAMUser":
		_, a.User, _ = strings.Cut(who.Issuer.ARN, ":user/")
		if who.Type == "FederatedUser" {
			_, a.Session, _ = strings.Cut(who.ARN, ":federated-user/")
		}
	case who.Issuer.Type == "Root":
		a.Root = true
	}
	return a, actorText.MatchString(a.String())
}

// ParseActor reads the text of an actor in a target's ID: its first word.
func ParseActor(t control.Target) (a Actor, ok bool) {
	word, _, _ := strings.Cut(t.ID, " ")
	if !actorText.MatchString(word) {
		return a, false
	}
	a = Actor{Account: t.Account, Partition: cloud.Partition(t.Region)}
	switch {
	case word == rootWord:
		a.Root = true
	case strings.HasPrefix(word, userWord):
		a.User = word[len(userWord):]
	case strings.HasPrefix(word, roleWord):
		word, a.Session = cutLast(word[len(roleWord):])
		a.Role, a.RoleID = cutLast(word)
	case strings.HasPrefix(word, federatedWord):
		a.User, a.Session = cutLast(word[len(federatedWord):])
	default:
		a.Foreign = word[len(foreignWord):]
	}
	return a, true
}

// cutLast cuts at the last colon.
func cutLast(s string) (before, after string) {
	i := strings.LastIndexByte(s, ':')
	return s[:i], s[i+1:]
}

// String is the actor's text: "user/team/alice", "role/deploy:AROA…:session",
// "federated/alice:session", "root", "foreign/arn:…".
func (a Actor) String() string {
	switch {
	case a.Root:
		return rootWord
	case a.Foreign != "":
		return foreignWord + a.Foreign
	case a.User != "" && a.Session != "":
		return federatedWord + a.User + ":" + a.Session
	case a.User != "":
		return userWord + a.User
	}
	return roleWord + a.Role + ":" + a.RoleID + ":" + a.Session
}

// ARN names the user or the role whose rights he has, as exemptions and lists of
// the baseline do.
func (a Actor) ARN() string {
	in := "arn:" + a.Partition + ":iam::" + a.Account + ":"
	switch {
	case a.Root:
		return in + "root"
	case a.Foreign != "":
		return a.Foreign
	case a.User != "":
		return in + "user/" + a.User
	}
	return in + "role/" + a.Role
}

// Name is the name of the user or role, without its path.
func (a Actor) Name() string {
	return a.ARN()[strings.LastIndexAny(a.ARN(), "/:")+1:]
}

// ARN is the Resource.ARN of types whose targets are about an actor. Of an ID
// that is none's it takes what it is given, so that it can be told what stands
// around an ID.
func ARN(t control.Target) string {
	if a, ok := ParseActor(t); ok {
		return a.ARN()
	}
	word, _, _ := strings.Cut(t.ID, " ")
	return "arn:" + cloud.Partition(t.Region) + ":iam::" + t.Account + ":" + word
}

package runbooks

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

// The types of credentials that can be contained, as findings name them.
const (
	typeUser    = "IAMUser"     // a user's own key, his password, or a session that he opened with GetSessionToken
	typeSession = "AssumedRole" // a session of a role
)

// targetsFor are the targets of a finding, one for each of the credentials that
// were used and that id has an ID for. IAM is one for all Regions, wherever
// GuardDuty saw them used: so is the target.
func targetsFor(id func(event.Credentials) string) func(*event.Finding) []control.Target {
	return func(f *event.Finding) []control.Target {
		var all []control.Target
		for _, c := range f.Credentials() {
			if s := id(c); s != "" {
				all = append(all, control.Target{Region: cloud.AnyRegion(cloud.Partition(f.Region)), ID: s})
			}
		}
		return all
	}
}

// userID is the ID of a target that is a user, "user/alice AIDA…", or his access
// key, "user/alice AIDA… AKIA…"; empty of credentials that are none of a user's. A
// user is told by his unique ID: one of that name may be another account's, or
// another one by now.
func userID(c event.Credentials) string {
	if c.Type != typeUser || c.Name == "" || c.Principal == "" {
		return ""
	}
	id := principal.Actor{User: c.Name}.String() + " " + c.Principal
	if longTerm(c) {
		id += " " + c.Key
	}
	return id
}

// longTerm reports whether the key is a user's own. That of a session begins with
// ASIA (IAM user guide, "IAM identifiers").
func longTerm(c event.Credentials) bool { return strings.HasPrefix(c.Key, "AKIA") }

// sessionID is the ID of a target that is a role's session; empty of credentials
// that are none of one.
func sessionID(c event.Credentials) string {
	role, session, ok := strings.Cut(c.Principal, ":")
	if c.Type != typeSession || c.Name == "" || !ok {
		return ""
	}
	return principal.Actor{Role: c.Name, RoleID: role, Session: session}.String()
}

// What IDs of users and roles are made of. Findings name both without their
// paths, and so do the ARNs by which these targets are exempt.
const (
	nameForm = `[\w+=,.@-]{1,128}`
	idForm   = `\w{4,128}`
	keyForm  = `AKIA[A-Z0-9]{12,124}`
)

// resource is a type of targets that are credentials. It is Untagged because the
// tags of users and roles can't be read where those of other resources are
// (Resource Groups Tagging API reference, supported services).
func resource(typ, sample, ids string) control.Resource {
	return control.Resource{
		Type: typ, ARN: principal.ARN, IDs: regexp.MustCompile(`^(?:` + ids + `)$`), Sample: sample, Untagged: true, Unrecorded: true,
	}
}

const noSuchEntity = "NoSuchEntity"

func client(session *cloud.Session) *iam.Client {
	return cloud.Client(session, func(cfg aws.Config) *iam.Client { return iam.NewFromConfig(cfg) })
}

// The finders below read whom the remedies read again: their calls are declared
// there.

// findUser finds the user of a target.
func findUser(ctx context.Context, session *cloud.Session, t control.Target) (*principal.Suspect, error) {
	a, words, err := parse(t)
	if err != nil {
		return nil, err
	}
	out, err := client(session).GetUser(ctx, &iam.GetUserInput{UserName: aws.String(a.Name())})
	switch {
	case cloud.Is(err, noSuchEntity):
		return nil, fmt.Errorf("get user %s: %w", a.Name(), control.ErrGone)
	case err != nil:
		return nil, fmt.Errorf("get user %s: %w", a.Name(), err)
	case aws.ToString(out.User.UserId) != words[0]:
		return nil, fmt.Errorf("user %s with ID %s: %w", a.Name(), words[0], control.ErrGone)
	}
	s := &principal.Suspect{Actor: a, Reason: "GuardDuty found that credentials of user " + a.Name() + " are misused."}
	if len(words) > 1 {
		s.Key = words[1]
		s.Reason = "GuardDuty found that access key " + s.Key + " of user " + a.Name() + " is misused."
	}
	return s, nil
}

// findSession finds the role's session of a target.
func findSession(ctx context.Context, session *cloud.Session, t control.Target) (*principal.Suspect, error) {
	a, _, err := parse(t)
	if err != nil {
		return nil, err
	}
	out, err := client(session).GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(a.Name())})
	switch {
	case cloud.Is(err, noSuchEntity):
		return nil, fmt.Errorf("get role %s: %w", a.Name(), control.ErrGone)
	case err != nil:
		return nil, fmt.Errorf("get role %s: %w", a.Name(), err)
	case aws.ToString(out.Role.RoleId) != a.RoleID:
		return nil, fmt.Errorf("role %s with ID %s: %w", a.Name(), a.RoleID, control.ErrGone)
	}
	return &principal.Suspect{Actor: a, Reason: "GuardDuty found that session " + a.Session + " of role " + a.Name() + " is misused."}, nil
}

// ofUsers and ofRoles are how the resources of permissions end.
const (
	ofUsers = ":user/*"
	ofRoles = ":role/*"
)

// forAll gives a remedy the name that says what it does here, since its domain has
// it in more than one place, and leaves it the permissions on users or on roles
// alone: where the one runbook may change something, the other may not yet.
func forAll(of, name string, r control.Remedy) control.Remedy {
	r.Name = name
	p := &r.Permissions
	for _, some := range []*[]control.Permission{&p.List, &p.Plan, &p.Verify, &p.Apply, &p.Undo, &p.Look} {
		*some = slices.DeleteFunc(*some, func(p control.Permission) bool { return !strings.HasSuffix(p.Resource, of) })
	}
	return r
}

var errNoActor = errors.New("the ID names no user and no session")

// parse reads the ID of a target: who it is about, and the other words.
func parse(t control.Target) (principal.Actor, []string, error) {
	a, ok := principal.ParseActor(t)
	words := strings.Split(t.ID, " ")[1:]
	if !ok || a.User != "" && len(words) == 0 {
		return a, nil, fmt.Errorf("read the target %q: %w", t.ID, errNoActor)
	}
	return a, words, nil
}

// ofCredentials reports whether a type is answered by what is done about
// somebody's credentials.
func ofCredentials(findingType string) bool {
	return slices.Contains(misused, findingType) || slices.Contains(exfiltrated, findingType) || findingType == consoleLogins
}

// consoleLogins is the type that is about users' passwords alone: no access key
// is used.
const consoleLogins = "UnauthorizedAccess:IAMUser/ConsoleLoginSuccess.B"

// exfiltrated are the types that are about sessions of roles alone: the
// credentials were made for an instance, a task or a function, and are used
// elsewhere.
var exfiltrated = []string{
	"UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.InsideAWS",
	"UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS",
	"UnauthorizedAccess:IAMUser/ResourceCredentialExfiltration.InsideAWS",
	"UnauthorizedAccess:IAMUser/ResourceCredentialExfiltration.OutsideAWS",
}

// misused are the types that say that somebody works with credentials that are
// not his, or as if they weren't. Each is one of GuardDuty's types that calls for
// them to be cut off, of any severity: how far Snapback goes at which severity is
// up to the baseline.
var misused = []string{
	"AttackSequence:IAM/CompromisedCredentials",
	"AttackSequence:S3/CompromisedData",
	"CredentialAccess:IAMUser/AnomalousBehavior",
	"CredentialAccess:IAMUser/CompromisedCredentials",
	"Discovery:S3/MaliciousIPCaller",
	"Discovery:S3/MaliciousIPCaller.Custom",
	"Discovery:S3/TorIPCaller",
	"Exfiltration:IAMUser/AnomalousBehavior",
	"Exfiltration:S3/AnomalousBehavior",
	"Exfiltration:S3/MaliciousIPCaller",
	"Impact:IAMUser/AnomalousBehavior",
	"Impact:IAMUser/CostHarvesting",
	"Impact:S3/AnomalousBehavior.Delete",
	"Impact:S3/AnomalousBehavior.Write",
	"Impact:S3/MaliciousIPCaller",
	"InitialAccess:IAMUser/AnomalousBehavior",
	"PenTest:IAMUser/KaliLinux",
	"PenTest:IAMUser/ParrotLinux",
	"PenTest:IAMUser/PentooLinux",
	"PenTest:S3/KaliLinux",
	"PenTest:S3/ParrotLinux",
	"PenTest:S3/PentooLinux",
	"Persistence:IAMUser/AnomalousBehavior",
	"PrivilegeEscalation:IAMUser/AnomalousBehavior",
	"Recon:IAMUser/MaliciousIPCaller",
	"Recon:IAMUser/MaliciousIPCaller.Custom",
	"Recon:IAMUser/TorIPCaller",
	"UnauthorizedAccess:IAMUser/MaliciousIPCaller",
	"UnauthorizedAccess:IAMUser/MaliciousIPCaller.Custom",
	"UnauthorizedAccess:IAMUser/TorIPCaller",
	"UnauthorizedAccess:S3/MaliciousIPCaller.Custom",
	"UnauthorizedAccess:S3/TorIPCaller",
}

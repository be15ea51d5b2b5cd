package identity

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

// typeGrant is the type of a target that is a grant: what somebody's call gave.
// It is no resource of AWS's own. Its ID names who called, what, and what that
// was about, a word each:
//
//	user/alice AttachUserPolicy user/alice arn:aws:iam::aws:policy/AdministratorAccess
//	role/ci:AROA…:build-7 UpdateAssumeRolePolicy role/admin
//	user/alice RunInstances profile/admin i-0123456789abcdef0
const typeGrant = "AWS::IAM::Grant"

// act is what somebody did, as the ID of a target names it.
type act struct {
	actor principal.Actor
	call  string // the record's eventName: "AttachUserPolicy", "CreateFunction20150331"
	// on is what was given rights: "user/alice", "group/developers", "role/admin", or
	// the ARN of a managed policy; of what was started with a role that was passed,
	// the role, or "profile/NAME".
	on string
	// what is what it was given: the ARN of a managed policy, the name of an inline
	// one, a group's name, a version's or an access key's ID; of what was started, its
	// ID, where the call tells it. Empty where there is nothing to name.
	what string
}

// String is the act as the ID of a target.
func (a act) String() string {
	return strings.TrimSuffix(strings.Join([]string{a.actor.String(), a.call, a.on, a.what}, " "), " ")
}

// parseAct reads the ID of a target.
func parseAct(t control.Target) (a act, ok bool) {
	words := strings.Split(t.ID, " ")
	if len(words) < 3 || len(words) > 4 {
		return a, false
	}
	if a.actor, ok = principal.ParseActor(t); !ok {
		return a, false
	}
	a.call, a.on = words[1], words[2]
	if len(words) == 4 {
		a.what = words[3]
	}
	return a, true
}

// grantIDs are what the IDs of grants look like, and what stands for them in the
// ARN of an exemption: the actor alone.
var grantIDs = regexp.MustCompile(`^` + principal.ActorPattern + `(?: [A-Za-z0-9]{1,100} [!-~]{1,700}(?: [!-~]{1,700})?)?$`)

func grantResource() control.Resource {
	return control.Resource{
		Type: typeGrant, ARN: principal.ARN, IDs: grantIDs, Sample: "user/alice", Untagged: true, Unrecorded: true,
	}
}

// reading tells what a call of IAM was about: on and what.
type reading struct {
	on, what string // paths below the record; on has its kind before it: "user/requestParameters.userName"
}

// readings are the calls of IAM that can give rights.
var readings = map[string]reading{
	"AddUserToGroup":                {"user/requestParameters.userName", "requestParameters.groupName"},
	"AttachGroupPolicy":             {"group/requestParameters.groupName", "requestParameters.policyArn"},
	"AttachRolePolicy":              {"role/requestParameters.roleName", "requestParameters.policyArn"},
	"AttachUserPolicy":              {"user/requestParameters.userName", "requestParameters.policyArn"},
	"CreateAccessKey":               {"user/requestParameters.userName", "responseElements.accessKey.accessKeyId"},
	"CreateLoginProfile":            {"user/requestParameters.userName", ""},
	"UpdateLoginProfile":            {"user/requestParameters.userName", ""},
	"CreatePolicyVersion":           {"requestParameters.policyArn", "responseElements.policyVersion.versionId"},
	"SetDefaultPolicyVersion":       {"requestParameters.policyArn", "requestParameters.versionId"},
	"DeleteRolePermissionsBoundary": {"role/requestParameters.roleName", ""},
	"DeleteUserPermissionsBoundary": {"user/requestParameters.userName", ""},
	"PutRolePermissionsBoundary":    {"role/requestParameters.roleName", "requestParameters.permissionsBoundary"},
	"PutUserPermissionsBoundary":    {"user/requestParameters.userName", "requestParameters.permissionsBoundary"},
	"DeleteUserPolicy":              {"user/requestParameters.userName", "requestParameters.policyName"},
	"DetachUserPolicy":              {"user/requestParameters.userName", "requestParameters.policyArn"},
	"PutGroupPolicy":                {"group/requestParameters.groupName", "requestParameters.policyName"},
	"PutRolePolicy":                 {"role/requestParameters.roleName", "requestParameters.policyName"},
	"PutUserPolicy":                 {"user/requestParameters.userName", "requestParameters.policyName"},
	"UpdateAssumeRolePolicy":        {"role/requestParameters.roleName", ""},
}

const iamSource = "iam.amazonaws.com"

// triggers are every call of the table of paths, and those that give rights to
// the like.
func triggers() []control.Trigger {
	calls := map[string][]string{iamSource: slices.Collect(maps.Keys(readings))}
	for _, p := range iampolicy.Paths() {
		for _, e := range p.Events {
			source, name, _ := strings.Cut(e, ":")
			calls[source] = append(calls[source], name)
		}
	}
	var all []control.Trigger
	for _, source := range slices.Sorted(maps.Keys(calls)) {
		slices.Sort(calls[source])
		all = append(all, control.Trigger{Source: source, Names: slices.Compact(calls[source]), Targets: grants})
	}
	return all
}

// grants are the grants that a call made, as far as the call tells.
func grants(call *event.Call) []control.Target {
	actor, ok := principal.FromCall(call)
	if !ok || strings.HasPrefix(actor.Role, "aws-service-role/") {
		// A service acts on what somebody set up before: an Auto Scaling group launches
		// instances with the profile of its template.
		return nil
	}
	a := act{actor: actor, call: call.Name}
	if call.Source == iamSource {
		r, ok := readings[call.Name]
		if !ok || !a.read(call, r) {
			return nil
		}
		// IAM is one for all Regions, wherever its events arrive: the grant is one too.
		return []control.Target{{Region: cloud.AnyRegion(cloud.Partition(call.Region)), ID: a.String()}}
	}
	var targets []control.Target
	for _, passed := range passed(call) {
		a.on = passed
		for _, a.what = range started(call) {
			targets = append(targets, control.Target{ID: a.String()})
		}
	}
	return targets
}

// read reads what a call of IAM was about. A call without a user is about the
// caller himself.
func (a *act) read(call *event.Call, r reading) bool {
	kind, path, ok := strings.Cut(r.on, "/")
	if !ok {
		kind, path = "", r.on
	}
	name := call.Get(path).String()
	if name == "" && kind == "user" {
		name = a.actor.Name()
	}
	if kind != "" {
		a.on = kind + "/" + name
	} else {
		a.on = name
	}
	if r.what != "" {
		a.what = call.Get(r.what).String()
	}
	return name != "" && (r.what == "" || a.what != "")
}

// roleARN finds the ARNs of roles and instance profiles.
var roleARN = regexp.MustCompile(`^arn:[a-z-]{3,20}:iam::(\d{12}):((?:role|instance-profile)/[!-~]{1,512})$`)

// passed are the roles that a call's request names, wherever in it: every service
// has another name for its parameter. PassRole itself leaves no record.
func passed(call *event.Call) []string {
	var found []string
	add := func(s string) {
		if !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	walkTexts(call.Get("requestParameters"), func(name, text string) {
		m := roleARN.FindStringSubmatch(text)
		switch {
		case strings.HasSuffix(name, ".principal"): // a permission for it (AddPermission)
		case m != nil && m[1] == call.Account:
			add(strings.Replace(m[2], "instance-profile/", "profile/", 1))
		case m == nil && name == "iamInstanceProfile.name":
			add("profile/" + text)
		}
	})
	return found
}

// walkTexts walks the texts of a value, each with the names of the last two
// fields that it is in.
func walkTexts(v gjson.Result, visit func(name, text string)) {
	var walk func(v gjson.Result, outer, name string)
	walk = func(v gjson.Result, outer, name string) {
		switch {
		case v.Type == gjson.String:
			visit(outer+"."+name, v.Str)
		case v.IsArray():
			v.ForEach(func(_, item gjson.Result) bool { walk(item, outer, name); return true })
		case v.IsObject():
			v.ForEach(func(k, field gjson.Result) bool { walk(field, name, k.Str); return true })
		}
	}
	walk(v, "", "")
}

// startedAt is where calls tell what they have started, by eventName.
var startedAt = map[string]string{
	"RunInstances":           "responseElements.instancesSet.items.#.instanceId",
	"CreateFunction20150331": "responseElements.functionName",
	"CreateStack":            "responseElements.stackId",
}

// started are what a call has started; one that is empty where it does not tell.
func started(call *event.Call) []string {
	path := startedAt[call.Name]
	if path == "" {
		return []string{""}
	}
	var ids []string
	for _, id := range call.Get(path).Array() {
		ids = append(ids, cmp.Or(id.String(), ""))
	}
	if len(ids) == 0 {
		return []string{""}
	}
	return ids
}

package iampolicy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tidwall/gjson"
)

// ParseAccount reads the output of `aws iam get-account-authorization-details`,
// one page or several one after the other. Documents are objects, as the command
// line tool prints them, or percent-encoded strings, as the API returns them.
//
// An error does not mean that there is no account. It joins all faults, each with
// its place, and what could be read is returned with it: a document that can't be
// understood leaves a policy (or a trust policy) without Document, so that what
// rests on it is Conditional; a principal that can't be read is missing, and the
// account then not Whole. Only if nothing could be read is the account nil.
//
// The account is Whole if the last page says of itself that nothing follows. That
// the output was filtered or that AWS changed something meanwhile can't be seen.
func ParseAccount(r io.Reader) (*Account, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read account: %w", err)
	}
	l := &loader{a: &Account{Policies: map[string][]PolicyVersion{}}, documents: map[string]*Document{}}
	l.pages(data)
	if l.read == 0 {
		return nil, errors.Join(l.faults...)
	}
	l.resolve()
	l.a.Whole = !l.more && !l.lost
	return l.a, errors.Join(l.faults...)
}

// loader puts an account together.
type loader struct {
	a         *Account
	documents map[string]*Document // the default version of each managed policy
	details   []detail
	page      int // the one that is read, from 1
	read      int // pages that could be read
	more      bool
	lost      bool // something could not be read of which it is not known what it is
	faults    []error
}

func (l *loader) fault(place string, err error) {
	if l.page > 1 {
		place = "page " + strconv.Itoa(l.page) + ", " + place
	}
	l.faults = append(l.faults, fmt.Errorf("%s: %w", place, err))
}

// pages reads one page after the other, until one is no JSON.
func (l *loader) pages(data []byte) {
	stream := json.NewDecoder(bytes.NewReader(data))
	for l.page = 1; ; l.page++ {
		var raw json.RawMessage
		err := stream.Decode(&raw)
		if errors.Is(err, io.EOF) && l.page > 1 {
			return
		}
		text := string(raw)
		fault := (*DocumentError)(nil)
		if err != nil {
			text = string(data)
			fault = faultAt(text, broken(err, text), "it is not JSON: %v", err)
		} else {
			fault = l.onePage(text)
		}
		if fault != nil {
			l.lost = true
			l.faults = append(l.faults, fmt.Errorf("account details, page %d, line %d, column %d: %s", l.page, fault.Line, fault.Column, fault.Problem))
		}
		if err != nil {
			return
		}
	}
}

// broken is where a text ceases to be JSON.
func broken(err error, text string) int {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return min(max(int(syntax.Offset)-1, 0), len(text))
	}
	return len(text)
}

// onePage reads a page, which is JSON.
func (l *loader) onePage(text string) *DocumentError {
	if at := invalid(text); at > 0 {
		return faultAt(text, at, "this is no UTF-8: save the output as UTF-8")
	}
	if at := tooDeep(text); at >= 0 {
		return faultAt(text, at, "it is nested deeper than %d levels", maxDepth)
	}
	r := reader{text}
	if fault := r.once(gjson.Parse(text)); fault != nil {
		return fault
	}
	known := false
	l.more = false
	fault := r.members(gjson.Parse(text), func(name string, v gjson.Result) (fault *DocumentError) {
		switch name {
		case "UserDetailList", "GroupDetailList", "RoleDetailList":
			fault, known = l.principals(r, name, v), true
		case "Policies":
			fault, known = l.policies(r, v), true
		case "IsTruncated":
			l.more = l.more || v.Bool()
		case "NextToken": // of the command line tool with --max-items
			l.more = l.more || v.Str != ""
		}
		return fault
	})
	if fault == nil && !known {
		fault = faultAt(text, 0, "it has none of UserDetailList, GroupDetailList, RoleDetailList and Policies: it is no output of aws iam get-account-authorization-details")
	}
	if known {
		l.read++
	}
	return fault
}

// once looks that no object has a member twice, of which only one would count.
func (r reader) once(v gjson.Result) *DocumentError {
	switch {
	case v.IsObject():
		return r.members(v, func(_ string, v gjson.Result) *DocumentError { return r.once(v) })
	case v.IsArray():
		for _, one := range v.ForEach {
			if fault := r.once(one); fault != nil {
				return fault
			}
		}
	}
	return nil
}

// detail is what the output says of a user, group or role.
type detail struct {
	kind  PrincipalType
	place string

	UserName, GroupName, RoleName   string
	UserID                          string `json:"UserId"`
	GroupID                         string `json:"GroupId"`
	RoleID                          string `json:"RoleId"`
	Arn                             string
	UserPolicyList, GroupPolicyList []inlineDetail
	RolePolicyList                  []inlineDetail
	AttachedManagedPolicies         []struct{ PolicyArn string }
	GroupList                       []string
	PermissionsBoundary             struct{ PermissionsBoundaryArn string }
	AssumeRolePolicyDocument        json.RawMessage
	InstanceProfileList             []struct{}
	Tags                            []struct{ Key, Value string }
}

type inlineDetail struct {
	PolicyName     string
	PolicyDocument json.RawMessage
}

func (d *detail) name() string { return d.UserName + d.GroupName + d.RoleName }

// principals reads a list of users, groups or roles.
func (l *loader) principals(r reader, list string, v gjson.Result) *DocumentError {
	kind := PrincipalType(strings.ToLower(strings.TrimSuffix(list, "DetailList")))
	return l.each(r, v, list, func(place string, v gjson.Result) {
		d := detail{kind: kind}
		err := json.Unmarshal([]byte(v.Raw), &d)
		d.place = place + " (" + cmp.Or(d.name(), "no name") + ")"
		if err != nil {
			l.fault(d.place, fmt.Errorf("it is not as AWS prints it: %w", err))
			l.lost = true
		}
		if d.Arn == "" || !l.belongs(d.Arn) {
			l.fault(d.place, fmt.Errorf("its Arn is %q: that of a %s of the account is needed", d.Arn, kind))
			l.lost = true
			return
		}
		if l.page > 1 {
			d.place = "page " + strconv.Itoa(l.page) + ", " + d.place
		}
		l.details = append(l.details, d)
	})
}

// each reads the entries of a list, each with its place.
func (l *loader) each(r reader, v gjson.Result, list string, read func(place string, v gjson.Result)) *DocumentError {
	if !v.IsArray() {
		return r.fault(v, "%s is a list, this is %s", list, describe(v))
	}
	for i, one := range values(v) {
		read(list+"["+strconv.Itoa(i)+"]", one)
	}
	return nil
}

// belongs reports whether an ARN is of the account, which the first one tells.
func (l *loader) belongs(arn string) bool {
	id, partition := accountOf(arn), partitionOf(arn)
	if l.a.ID == "" {
		l.a.ID, l.a.Partition = id, partition
	}
	return id != "" && l.a.ID == id && l.a.Partition == partition
}

// policies reads the list of managed policies.
func (l *loader) policies(r reader, v gjson.Result) *DocumentError {
	return l.each(r, v, "Policies", func(place string, v gjson.Result) {
		var d struct {
			Arn               string
			PolicyVersionList []struct {
				VersionID        string `json:"VersionId"`
				IsDefaultVersion bool
				Document         json.RawMessage
			}
		}
		err := json.Unmarshal([]byte(v.Raw), &d)
		place += " (" + cmp.Or(d.Arn, "no Arn") + ")"
		if err != nil {
			l.fault(place, fmt.Errorf("it is not as AWS prints it: %w", err))
		}
		var versions []PolicyVersion
		for i, version := range d.PolicyVersionList {
			document := l.document(fmt.Sprintf("%s: PolicyVersionList[%d].Document", place, i), version.Document)
			versions = append(versions, PolicyVersion{ID: version.VersionID, Default: version.IsDefaultVersion, Document: document})
			if version.IsDefaultVersion {
				l.documents[d.Arn] = document
			}
		}
		if customerManaged(d.Arn) {
			slices.SortStableFunc(versions, func(x, y PolicyVersion) int { return cmp.Compare(y.number(), x.number()) })
			l.a.Policies[d.Arn] = versions
		}
	})
}

// number is that of "v3"; 0 if it has none.
func (v PolicyVersion) number() int {
	n, _ := strconv.Atoi(strings.TrimPrefix(v.ID, "v"))
	return n
}

// document reads a document: an object, or a string with one in it.
func (l *loader) document(place string, raw json.RawMessage) *Document {
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			l.fault(place, err)
			return nil
		}
	}
	d, err := Parse(text)
	if err != nil {
		l.fault(place, err)
		return nil
	}
	return d
}

// resolve makes principals of what was read, now that all managed policies and
// groups are known.
func (l *loader) resolve() {
	l.page = 0
	groups := map[string]*Principal{}
	for i := range l.details {
		p := l.principal(&l.details[i])
		l.a.Principals = append(l.a.Principals, p)
		if p.Type == Group {
			groups[p.Name()] = p
		}
	}
	for i, p := range l.a.Principals {
		for j, name := range p.Groups {
			if groups[name] == nil {
				l.fault(fmt.Sprintf("%s: GroupList[%d]", l.details[i].place, j), fmt.Errorf("group %s is not in the output", name))
				p.Policies = append(p.Policies, Policy{Group: name})
				continue
			}
			for _, policy := range groups[name].Policies {
				policy.Group = name
				p.Policies = append(p.Policies, policy)
			}
		}
	}
}

func (l *loader) principal(d *detail) *Principal {
	p := &Principal{
		ARN: d.Arn, ID: d.UserID + d.GroupID + d.RoleID, Type: d.kind, Groups: d.GroupList,
		Tags: map[string]string{}, Profile: len(d.InstanceProfileList) > 0, Keys: -1,
	}
	for _, tag := range d.Tags {
		p.Tags[tag.Key] = tag.Value
	}
	inline, list := slices.Concat(d.UserPolicyList, d.GroupPolicyList, d.RolePolicyList), p.list()
	for i, policy := range inline {
		place := fmt.Sprintf("%s: %s[%d].PolicyDocument", d.place, list, i)
		p.Policies = append(p.Policies, Policy{Name: policy.PolicyName, Document: l.document(place, policy.PolicyDocument)})
	}
	for i, policy := range d.AttachedManagedPolicies {
		p.Policies = append(p.Policies, l.managed(fmt.Sprintf("%s: AttachedManagedPolicies[%d]", d.place, i), policy.PolicyArn))
	}
	if arn := d.PermissionsBoundary.PermissionsBoundaryArn; arn != "" {
		boundary := l.managed(d.place+": PermissionsBoundary", arn)
		p.Boundary = &boundary
	}
	if p.Type == Role {
		p.Trust = l.document(d.place+": AssumeRolePolicyDocument", d.AssumeRolePolicyDocument)
	}
	return p
}

// list is the name of the list of a principal's inline policies.
func (p *Principal) list() string {
	return map[PrincipalType]string{User: "UserPolicyList", Group: "GroupPolicyList", Role: "RolePolicyList"}[p.Type]
}

// managed is a managed policy. The account's own are all in the output; of AWS's,
// two are known whatever it says.
func (l *loader) managed(place, arn string) Policy {
	document, found := l.documents[arn]
	if !found {
		document = wellKnown(arn)
	}
	if !found && customerManaged(arn) {
		l.fault(place, fmt.Errorf("policy %q is not in the output", arn))
	}
	return Policy{Name: arn[strings.LastIndexByte(arn, '/')+1:], ARN: arn, Document: document}
}

// wellKnown is the document of a policy of AWS's that never changed what it says;
// nil for any other (AWS managed policy reference, "AdministratorAccess" and
// "AWSDenyAll").
func wellKnown(arn string) *Document {
	if customerManaged(arn) {
		return nil
	}
	switch {
	case strings.HasSuffix(arn, ":policy/AdministratorAccess"):
		return administratorAccess()
	case strings.HasSuffix(arn, ":policy/AWSDenyAll"):
		return denyAll()
	}
	return nil
}

var (
	administratorAccess = onAll(Allow)
	denyAll             = onAll(Deny)
)

// onAll is a document about all actions on all resources.
func onAll(effect Effect) func() *Document {
	return sync.OnceValue(func() *Document {
		d, err := Parse(`{"Version": "2012-10-17", "Statement": [{"Effect": "` + string(effect) + `", "Action": "*", "Resource": "*"}]}`)
		if err != nil {
			panic(err) // it is ours
		}
		return d
	})
}

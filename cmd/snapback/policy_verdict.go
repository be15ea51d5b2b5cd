package main

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// policyVerdict is the JSON of one policy document, of one principal of an account,
// or of what is wrong with an account as a whole.
type policyVerdict struct {
	File string `json:"file"`
	// Principal is the ARN of a user or role; empty where no single one is judged.
	Principal string         `json:"principal"`
	Kind      iampolicy.Kind `json:"kind"` // empty if it can't be told
	// Found says that there is something that somebody should look at.
	Found bool `json:"found"`
	// Admin and Public are null where it can't be told.
	Admin  *bool `json:"admin"`
	Public *bool `json:"public"`
	// Outside are the principals outside the organization that are let in.
	Outside     []string           `json:"outside"`
	Escalations []policyEscalation `json:"escalations"`
	// Conditional says that all that was found holds only under conditions, or if
	// something exists, that are not known here.
	Conditional bool `json:"conditional"`
	// Expected says that it is meant to be an administrator.
	Expected bool `json:"expected"`
	// CantTell says what could not be understood, a line each; empty if all was.
	CantTell string `json:"cantTell"`
}

// policyEscalation is one way to become administrator.
type policyEscalation struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Actions     []string `json:"actions"`
	Resources   []string `json:"resources"`
	Through     []string `json:"through"`
	Presumes    string   `json:"presumes"`
	Conditional bool     `json:"conditional"`
}

// judged is a verdict with what the text says besides.
type judged struct {
	policyVerdict
	sure bool // something of what was found holds whatever the circumstances
	why  []string
}

func verdictOn(file string) *judged {
	return &judged{policyVerdict: policyVerdict{File: file, Outside: []string{}, Escalations: []policyEscalation{}}}
}

func (v *judged) admin() bool { return v.Admin != nil && *v.Admin }

func (v *judged) public() bool { return v.Public != nil && *v.Public }

func (v *judged) cantTell(format string, args ...any) {
	if v.CantTell != "" {
		v.CantTell += "\n"
	}
	v.CantTell += fmt.Sprintf(format, args...)
}

// concluded is the verdict once all is found; the ways that are certain come first.
func (v *judged) concluded() *judged {
	slices.SortStableFunc(v.Escalations, func(a, b policyEscalation) int {
		switch {
		case a.Conditional == b.Conditional:
			return 0
		case b.Conditional:
			return -1
		}
		return 1
	})
	raised, open := v.admin() || len(v.Escalations) > 0, v.public() || len(v.Outside) > 0
	v.Found = raised && !v.Expected || open
	v.Conditional = !v.sure && (raised || open)
	return v
}

// judge judges the document, or each principal, of a file.
func (c *policyCheck) judge(file string, data []byte) []*judged {
	if isAccount(data) {
		return c.account(file, data)
	}
	return []*judged{c.document(file, string(data)).concluded()}
}

// document judges a policy by itself.
func (c *policyCheck) document(file, text string) *judged {
	v := verdictOn(file)
	v.Kind = c.kind
	inner := carried(text)
	d, err := iampolicy.Parse(inner)
	if err != nil {
		v.cantTell("%v", err)
		if wrong := (*iampolicy.DocumentError)(nil); inner == text && errors.As(err, &wrong) && wrong.Path == "" && gjson.Valid(text) {
			v.cantTell("%s", wanted)
		}
		return v
	}
	if v.Kind == "" {
		v.Kind = d.Kind()
	}
	if misfit := misfit(d, v.Kind); misfit != "" {
		v.cantTell("%s", misfit)
		return v
	}
	v.Admin, v.Public = new(false), new(false)
	if v.Kind == iampolicy.IdentityPolicy {
		v.identity(d)
		return v
	}
	of := iampolicy.Organization{ID: c.organization, Accounts: c.accounts}
	if len(c.accounts) > 0 {
		of.Account = c.accounts[0]
	}
	v.opened(d, of, func(s iampolicy.Statement) string { return fmt.Sprintf("line %d: ", s.Line) })
	return v
}

// wanted tells somebody who passed something else what a file may be.
const wanted = "a file holds a policy document, or the output of aws iam get-account-authorization-details, get-policy-version, " +
	"get-user-policy, get-group-policy, get-role-policy or get-role"

// carriers are the places where outputs of the AWS command line tool have a policy
// document, as an object or in a string.
var carriers = []string{
	"PolicyVersion.Document",        // iam get-policy-version
	"PolicyDocument",                // iam get-user-policy, get-group-policy, get-role-policy
	"Role.AssumeRolePolicyDocument", // iam get-role
	"Policy",                        // s3api get-bucket-policy, kms get-key-policy, lambda get-policy
	"Attributes.Policy",             // sqs get-queue-attributes, sns get-topic-attributes
	"ResourcePolicy",                // secretsmanager get-resource-policy
}

// carried is the document in an output of the AWS command line tool; any other text
// as it is. An object keeps its place, so that a fault has the line of the file.
func carried(text string) string {
	if !gjson.Valid(text) || gjson.Get(text, "Statement").Exists() {
		return text
	}
	for _, path := range carriers {
		switch r := gjson.Get(text, path); {
		case r.Type == gjson.String:
			return r.Str
		case r.IsObject() && path != "Policy": // of iam get-policy it has no document
			return blank(text[:r.Index]) + r.Raw
		}
	}
	return text
}

// blank is a text with nothing in it but its lines.
func blank(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		return ' '
	}, text)
}

// misfit says why a document can't be of a kind; empty if it can. A statement that
// AWS would not take there would be left out of the verdict.
func misfit(d *iampolicy.Document, kind iampolicy.Kind) string {
	for _, s := range d.Statements {
		names := len(s.Principals)+len(s.NotPrincipals) > 0
		switch {
		case names && kind == iampolicy.IdentityPolicy:
			return fmt.Sprintf("line %d: the statement names a Principal, which those of an identity policy don't: take it out, or check it with --type resource or trust", s.Line)
		case !names && kind != iampolicy.IdentityPolicy:
			return fmt.Sprintf("line %d: the statement names no Principal, which all of a %s policy do: write one, or check it with --type identity", s.Line, kind)
		}
	}
	return ""
}

// opened judges to whom a resource or trust policy is open. Where it is not known
// who is inside, neither is who is outside.
func (v *judged) opened(d *iampolicy.Document, of iampolicy.Organization, place func(iampolicy.Statement) string) {
	for _, o := range d.Openings(of) {
		why := place(d.Statements[o.Statement]) + o.Why
		certain := o.Answer == iampolicy.Yes && of.ID != ""
		if !o.Public && !certain && len(of.Accounts) == 0 {
			v.cantTell("%s: tell by --account which accounts are of the organization", why)
			continue
		}
		v.why = append(v.why, why)
		v.sure = v.sure || o.Answer == iampolicy.Yes
		v.Public = new(v.public() || o.Public)
		for _, who := range o.Outside {
			if !slices.Contains(v.Outside, who) {
				v.Outside = append(v.Outside, who)
			}
		}
	}
}

// identity judges an identity policy by itself, as if anybody had it.
func (v *judged) identity(d *iampolicy.Document) {
	answer, statements := d.Admin()
	v.Admin = new(answer != iampolicy.No)
	v.sure = answer == iampolicy.Yes
	for _, s := range statements {
		v.why = append(v.why, fmt.Sprintf("line %d: it gives full administrative rights", d.Statements[s].Line))
	}
	if answer == iampolicy.Yes {
		return
	}
	d = forWhoever(d)
	partition, account := "aws", "*"
	for _, s := range d.Statements {
		for _, r := range s.Resources {
			if m := someAccount.FindStringSubmatch(r); m != nil && account == "*" {
				partition, account = m[1], m[2]
			}
		}
	}
	// What a user or a role by some name can do, somebody can for certain. What only
	// somebody can of whom nothing is known, by his name or what else he has.
	arn := "arn:" + partition + ":iam::" + account + ":"
	policy := iampolicy.Policy{Name: itself, ARN: arn + "policy/" + itself, Document: d}
	for _, p := range []*iampolicy.Principal{
		{ARN: arn + "user/whoever-has-the-policy", Type: iampolicy.User, Policies: []iampolicy.Policy{policy}, Keys: -1},
		{ARN: arn + "role/whatever-has-the-policy", Type: iampolicy.Role, Policies: []iampolicy.Policy{policy}, Keys: -1},
	} {
		a := &iampolicy.Account{ID: account, Partition: partition, Principals: []*iampolicy.Principal{p}}
		v.add(a.Escalations(p), false)
	}
	policies := append([]iampolicy.Policy{policy}, named(d)...)
	a := &iampolicy.Account{Partition: partition}
	v.add(a.Escalations(&iampolicy.Principal{Policies: policies, Keys: -1}), true)
}

var someAccount = regexp.MustCompile(`^arn:(aws[a-z-]*):[a-z0-9-]+:[a-z0-9-]*:(\d{12}):`)

// itself is the name of the policy that is judged, which it can change if it is a
// managed one.
const itself = "the-policy"

// named are the managed policies that a policy names: who has it may have them too,
// and they are nothing but names here.
func named(d *iampolicy.Document) (all []iampolicy.Policy) {
	const most = 20
	for _, s := range d.Statements {
		for _, r := range s.Resources {
			if strings.Contains(r, ":policy/") && len(all) < most {
				all = append(all, iampolicy.Policy{ARN: r, Document: &iampolicy.Document{}})
			}
		}
	}
	return all
}

// forWhoever is a document in which no condition tells of the principal who he is,
// since that is not known: it is as if it asked for something unheard of.
func forWhoever(d *iampolicy.Document) *iampolicy.Document {
	who := []string{"aws:principalarn", "aws:principalaccount", "aws:username", "aws:userid"}
	q := *d
	q.Statements = slices.Clone(d.Statements)
	for i := range q.Statements {
		s := &q.Statements[i]
		s.Conditions = slices.Clone(s.Conditions)
		for j := range s.Conditions {
			if c := &s.Conditions[j]; slices.Contains(who, strings.ToLower(c.Key)) {
				c.Key = "unknown:" + c.Key
			}
		}
	}
	return &q
}

// add adds escalations that are not there yet. What AWS has ended is none.
func (v *judged) add(escalations []iampolicy.Escalation, conditional bool) {
	for _, e := range escalations {
		at := slices.IndexFunc(v.Escalations, func(had policyEscalation) bool { return had.ID == e.Path.ID })
		if e.Path.Status == "ended" || at >= 0 && !v.Escalations[at].Conditional {
			continue
		}
		conditional := e.Conditional || conditional
		if at >= 0 && conditional {
			continue
		}
		one := policyEscalation{e.Path.ID, e.Path.Name, list(e.Actions), list(e.Resources), list(e.Through), e.Path.Presumes, conditional}
		v.sure = v.sure || !conditional
		if at >= 0 {
			v.Escalations[at] = one
		} else {
			v.Escalations = append(v.Escalations, one)
		}
	}
}

// isAccount reports whether a file is the output of
// get-account-authorization-details.
func isAccount(data []byte) bool {
	return slices.ContainsFunc([]string{"UserDetailList", "RoleDetailList", "GroupDetailList", "Policies"}, func(list string) bool {
		return gjson.GetBytes(data, list).Exists()
	})
}

// account judges the users and roles of an account. The first verdict is that on the
// file, if something is wrong with it as a whole or with parts of it.
func (c *policyCheck) account(file string, data []byte) []*judged {
	a, err := iampolicy.ParseAccount(bytes.NewReader(data))
	whole := verdictOn(file)
	var all []*judged
	if a != nil {
		for _, p := range a.Principals {
			if p.Type != iampolicy.Group { // what it allows, its users have
				all = append(all, c.principal(file, a, p).concluded())
			}
		}
	}
	switch {
	case err != nil:
		whole.cantTell("%v", err)
	case !a.Whole:
		whole.cantTell("the output is not whole, for it says itself that more follows: run the command without --max-items and --no-paginate")
	case len(all) == 0:
		whole.cantTell("there is no user and no role in it: run aws iam get-account-authorization-details without --filter")
	default:
		return all
	}
	return append([]*judged{whole}, all...)
}

// principal judges a user or role. Of one with a policy that was not understood, what
// is found holds unless that policy denies it, and what is not may be there.
func (c *policyCheck) principal(file string, a *iampolicy.Account, p *iampolicy.Principal) *judged {
	v := verdictOn(file)
	v.Principal, v.Kind = p.ARN, iampolicy.IdentityPolicy
	v.Expected = c.administrators.Administrator(p.ARN) || strings.Contains(p.ARN, ":role/aws-service-role/") // which AWS alone can use and change
	known := v.understood(p)
	answer := known.Admin()
	if answer != iampolicy.No || p.Admin() == iampolicy.No {
		v.Admin = new(answer != iampolicy.No)
	}
	v.sure = answer == iampolicy.Yes && v.CantTell == ""
	for _, policy := range known.Policies {
		if gives, _ := policy.Document.Admin(); gives != iampolicy.No && v.admin() && !v.Expected {
			v.why = append(v.why, policyName(policy)+" gives full administrative rights")
		}
	}
	v.add(a.Escalations(known), v.CantTell != "")
	switch {
	case p.Type == iampolicy.Role && p.Trust == nil:
		v.cantTell("its trust policy was not understood")
		return v
	case p.Trust != nil:
		of := iampolicy.Organization{ID: c.organization, Account: a.ID, Accounts: c.accounts}
		v.Public = new(false)
		v.opened(p.Trust, of, func(iampolicy.Statement) string { return "its trust policy: " })
	default:
		v.Public = new(false)
	}
	return v
}

// understood is the principal without those of its policies that were not
// understood; the verdict says which these are.
func (v *judged) understood(p *iampolicy.Principal) *iampolicy.Principal {
	q := *p
	q.Policies = nil
	for _, policy := range p.Policies {
		if policy.Document != nil {
			q.Policies = append(q.Policies, policy)
			continue
		}
		v.cantTell("%s was not understood, or is not in the file", policyName(policy))
	}
	if p.Boundary != nil && p.Boundary.Document == nil {
		v.cantTell("its boundary %s was not understood, or is not in the file", p.Boundary.ARN)
	}
	if v.CantTell == "" {
		return p
	}
	return &q
}

// policyName names a policy of a principal: "policy deploy of its group builders".
func policyName(p iampolicy.Policy) string {
	name := "policy"
	if p.Name != "" { // else its group is not in the file
		name += " " + p.Name
	}
	if p.Group != "" {
		name += " of its group " + p.Group
	}
	return name
}

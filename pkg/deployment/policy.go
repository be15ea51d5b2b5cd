package deployment

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Document is an IAM policy document. ${Partition} and ${Account} stand in its
// texts where the deployment fills them in, and ${TopicKey} the ARN of the key
// of the topic; all else is as IAM reads it.
type Document struct {
	Version   string
	Statement []Statement
}

// Statement is one statement of a document.
type Statement struct {
	Sid         string `json:",omitempty"`
	Effect      string
	Principal   any                            `json:",omitempty"`
	Action      []string                       `json:",omitempty"`
	NotAction   []string                       `json:",omitempty"`
	Resource    []string                       `json:",omitempty"`
	NotResource []string                       `json:",omitempty"`
	Condition   map[string]map[string][]string `json:",omitempty"`
	// Why says in a sentence what needs it, for the docs; IAM does not see it.
	Why string `json:"-"`
}

// Policy is a document with its name.
type Policy struct {
	Name     string
	Document Document
}

// version is that of the policy language.
const version = "2012-10-17"

const allow, deny = "Allow", "Deny"

// assume is what a trust policy allows.
const assume = "sts:AssumeRole"

func document(statements ...Statement) Document {
	return Document{Version: version, Statement: statements}
}

// maxManaged is how many characters a customer managed policy may hold, white
// space not counted. Source: IAM user guide, "IAM and AWS STS quotas".
const maxManaged = 6144

// longest fills in what the deployment fills in, at its longest.
var longest = strings.NewReplacer("${Partition}", "aws-us-gov", "${Account}", "222222222222")

// length is how many characters IAM counts of a document, at most.
func (d Document) length() int {
	text, err := json.Marshal(d)
	if err != nil {
		panic(err) // texts always encode
	}
	return len(longest.Replace(string(text)))
}

// allowing are statements that allow all of the grants, which are sorted: one for
// each list of resources, with the actions on just these.
func allowing(grants []Grant) []Statement {
	on := map[string][]string{} // the resources of an action
	for _, g := range grants {
		on[g.Action] = append(on[g.Action], g.Resource)
	}
	var statements []Statement
	for action, resources := range on {
		i := slices.IndexFunc(statements, func(s Statement) bool { return slices.Equal(s.Resource, resources) })
		if i < 0 {
			i = len(statements)
			statements = append(statements, Statement{Effect: allow, Resource: resources})
		}
		statements[i].Action = append(statements[i].Action, action)
	}
	slices.SortFunc(statements, func(a, b Statement) int { return slices.Compare(a.Resource, b.Resource) })
	names := map[string]int{}
	for i := range statements {
		s := &statements[i]
		slices.Sort(s.Action)
		s.Sid = sid(s.Resource)
		if names[s.Sid]++; names[s.Sid] > 1 {
			s.Sid += strconv.Itoa(names[s.Sid])
		}
	}
	slices.SortFunc(statements, func(a, b Statement) int { return cmp.Compare(a.Sid, b.Sid) })
	return statements
}

// sid names a statement after the kinds of its resources: "Ec2InstanceEc2Volume".
func sid(resources []string) string {
	var kinds []string
	for _, arn := range resources {
		kind := "AnyResource"
		if f := strings.SplitN(arn, ":", 6); len(f) == 6 {
			kind = words(f[2])
			if end := strings.IndexAny(f[5], ":/"); end > 0 {
				kind += words(f[5][:end])
			}
		}
		kinds = append(kinds, kind)
	}
	return strings.Join(slices.Compact(kinds), "")
}

// words is a name without its hyphens, each word with a capital.
func words(name string) string {
	var out strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		out.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return out.String()
}

// packed are policies that together hold the statements, each within the limit
// of a managed policy: "snapback-identity-evaluate", "snapback-identity-evaluate-2".
func packed(name string, statements []Statement) []Policy {
	var policies []Policy
	for _, s := range statements {
		for _, action := range s.Action {
			if n := len(policies); n > 0 {
				if with := policies[n-1].Document.with(s, action); with.length() <= maxManaged {
					policies[n-1].Document = with
					continue
				}
			}
			p := Policy{name, document().with(s, action)}
			if n := len(policies); n > 0 {
				p.Name += "-" + strconv.Itoa(n+1)
			}
			policies = append(policies, p)
		}
	}
	return policies
}

// with is the document with one action of a statement besides.
func (d Document) with(s Statement, action string) Document {
	d.Statement = slices.Clone(d.Statement)
	if n := len(d.Statement); n > 0 && d.Statement[n-1].Sid == s.Sid {
		d.Statement[n-1].Action = append(slices.Clip(d.Statement[n-1].Action), action)
		return d
	}
	s.Action = []string{action}
	d.Statement = append(d.Statement, s)
	return d
}

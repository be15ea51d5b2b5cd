package iampolicy

import (
	"strings"

	"github.com/tidwall/gjson"
)

// Document is a policy document. It is never changed: what takes something out
// returns another one, in which all else is byte for byte as it was.
type Document struct {
	Version    string // "2012-10-17", "2008-10-17"; empty if it has none, which means the older one
	ID         string
	Statements []Statement

	text string
}

// Parse reads a policy document: JSON, or percent-encoded JSON as IAM's API
// returns it. A fault is a *DocumentError.
//
// It is as strict as AWS where a document's meaning depends on it. Elements that
// AWS does not know are kept in the text and otherwise ignored, but for those
// that look like a misspelt one of AWS's: these would change what it means.
func Parse(text string) (*Document, error) {
	text, fault := decode(text)
	if fault != nil {
		return nil, fault
	}
	if fault = check(text); fault != nil {
		return nil, fault
	}
	d, fault := reader{text}.document()
	if fault != nil {
		return nil, fault
	}
	return d, nil
}

// String is the document's text, byte for byte as it was parsed (decoded, if it
// was percent-encoded) but for what was taken out.
func (d *Document) String() string { return d.text }

// Kind tells by what is in the document what it can be attached to. A trust
// policy names principals, actions of STS alone and no resource; a resource
// policy names principals.
func (d *Document) Kind() Kind {
	kind := IdentityPolicy
	trust := true
	for i := range d.Statements {
		s := &d.Statements[i]
		if len(s.Principals)+len(s.NotPrincipals) > 0 {
			kind = ResourcePolicy
		}
		trust = trust && s.trusts()
	}
	if kind == ResourcePolicy && trust {
		return TrustPolicy
	}
	return kind
}

// trusts reports whether the statement could be one of a trust policy.
func (s *Statement) trusts() bool {
	if len(s.Actions) == 0 || len(s.Resources)+len(s.NotResources) > 0 {
		return false
	}
	for _, action := range s.Actions {
		if service, _, _ := strings.Cut(action, ":"); !strings.EqualFold(service, "sts") {
			return false
		}
	}
	return true
}

// number writes down in which lines the statements begin, after an edit.
func (d *Document) number() {
	lines := lines{text: d.text}
	for i, v := range values(d.member("Statement")) {
		d.Statements[i].Line = lines.at(v.Index)
	}
}

// member is one of the document's elements.
func (d *Document) member(name string) gjson.Result {
	_, v := member(gjson.Parse(d.text), name)
	return v
}

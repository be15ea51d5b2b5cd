package iampolicy

import (
	"encoding/json"
	"errors"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// The bounds of a document. IAM's API takes up to 131,072 characters (its model,
// policyDocumentType), other services less; what AWS knows nests six deep.
const (
	maxSize  = 1 << 20
	maxDepth = 100
)

// example is what a fault shows that concerns the document as a whole.
const example = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}`

// decode undoes percent-encoding. JSON never begins with a percent sign.
func decode(text string) (string, *DocumentError) {
	if len(text) > maxSize {
		return "", faultAt(text, 0, "it is %d bytes long: shorten it to %d at most, AWS takes far less", len(text), maxSize)
	}
	if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "%") {
		return text, nil
	}
	plain, err := url.PathUnescape(text)
	var escape url.EscapeError
	switch {
	case errors.As(err, &escape) && len(escape) < 3: // the text ends within it
		return "", faultAt(text, len(text)-len(escape), "the percent-encoding breaks off in %q: write two hexadecimal digits after each %%", string(escape))
	case errors.As(err, &escape):
		return "", faultAt(text, strings.Index(text, string(escape)), "%q is no percent-encoding: write two hexadecimal digits after each %%", string(escape))
	}
	return plain, nil
}

// check looks whether the text is JSON that is safe to walk.
func check(text string) *DocumentError {
	if strings.HasPrefix(text, "\uFEFF") {
		return faultAt(text, 0, "it begins with a byte order mark: save it as UTF-8 without one")
	}
	if !utf8.ValidString(text) {
		return faultAt(text, invalid(text), "this is no UTF-8: save the document as UTF-8")
	}
	if at := tooDeep(text); at >= 0 {
		return faultAt(text, at, "it is nested deeper than %d levels: a policy has six", maxDepth)
	}
	if strings.TrimLeft(text, " \t\r\n") == "" {
		return faultAt(text, 0, "it is empty: write a policy, such as %s", example)
	}
	if !gjson.Valid(text) {
		return notJSON(text)
	}
	return nil
}

// invalid is where the first byte stands that is no UTF-8.
func invalid(text string) int {
	for i, r := range text {
		if _, size := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && size == 1 {
			return i
		}
	}
	return 0
}

// tooDeep is where arrays and objects nest deeper than maxDepth; -1 if they do
// not. The text need not be JSON.
func tooDeep(text string) int {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return i
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return -1
}

// notJSON says where and why a text is no JSON.
func notJSON(text string) *DocumentError {
	var v json.RawMessage
	err := json.Unmarshal([]byte(text), &v)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return faultAt(text, 0, "it is not JSON: write a policy, such as %s", example)
	}
	at := min(max(int(syntax.Offset)-1, 0), len(text)-1)
	return faultAt(text, at, "it is not JSON: %v", syntax)
}

// reader reads a document's text, which is JSON.
type reader struct{ text string }

func (r reader) fault(at gjson.Result, problem string, args ...any) *DocumentError {
	return faultAt(r.text, at.Index, problem, args...)
}

func (r reader) document() (*Document, *DocumentError) {
	root := gjson.Parse(r.text)
	if !root.IsObject() {
		return nil, r.fault(root, "it is %s and no policy: write an object, such as %s", describe(root), example)
	}
	d := &Document{text: r.text}
	lines := lines{text: r.text}
	fault := r.members(root, func(name string, v gjson.Result) (fault *DocumentError) {
		switch name {
		case "Version":
			d.Version, fault = r.version(v)
		case "Id":
			d.ID, fault = r.string(v)
		case "Statement":
			fault = r.some(v, func(v gjson.Result) *DocumentError {
				s, fault := r.statement(v)
				s.Line = lines.at(v.Index)
				d.Statements = append(d.Statements, s)
				return fault
			})
		default:
			fault = r.unknown(name, v, "Version", "Statement")
		}
		return fault
	})
	if fault == nil && d.Statements == nil {
		fault = r.fault(root, "it has no Statement, so it is no policy: write one, such as %s", example)
	}
	return d, fault
}

func (r reader) version(v gjson.Result) (string, *DocumentError) {
	s, fault := r.string(v)
	if fault == nil && s != "2012-10-17" && s != "2008-10-17" {
		fault = r.fault(v, `%.40q is no version of the policy language: write "2012-10-17" or, for the older one, "2008-10-17"`, s)
	}
	return s, fault
}

func (r reader) statement(v gjson.Result) (s Statement, fault *DocumentError) {
	if !v.IsObject() {
		return s, r.fault(v, "a statement is an object, this is %s: write {\"Effect\": …, \"Action\": …, \"Resource\": …}", describe(v))
	}
	fault = r.members(v, func(name string, v gjson.Result) *DocumentError { return r.element(&s, name, v) })
	if fault == nil {
		fault = r.whole(v, &s)
	}
	return s, fault
}

// element reads one of a statement's elements.
func (r reader) element(s *Statement, name string, v gjson.Result) (fault *DocumentError) {
	switch name {
	case "Sid":
		s.Sid, fault = r.string(v)
	case "Effect":
		s.Effect, fault = r.effect(v)
	case "Action":
		s.Actions, fault = r.strings(v, r.action)
	case "NotAction":
		s.NotActions, fault = r.strings(v, r.action)
	case "Resource":
		s.Resources, fault = r.strings(v, r.string)
	case "NotResource":
		s.NotResources, fault = r.strings(v, r.string)
	case "Principal":
		s.Principals, fault = r.principals(v)
	case "NotPrincipal":
		s.NotPrincipals, fault = r.principals(v)
	case "Condition":
		s.Conditions, fault = r.conditions(v)
	default:
		fault = r.unknown(name, v, "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition")
	}
	return fault
}

// whole looks whether a statement has what it needs and nothing that excludes
// something else.
func (r reader) whole(v gjson.Result, s *Statement) *DocumentError {
	action, notAction := len(s.Actions) > 0, len(s.NotActions) > 0
	resource, notResource := len(s.Resources) > 0, len(s.NotResources) > 0
	principal, notPrincipal := len(s.Principals) > 0, len(s.NotPrincipals) > 0
	switch {
	case s.Effect == "":
		return r.fault(v, `the statement has no Effect: write "Effect": "Allow" or "Effect": "Deny"`)
	case action && notAction:
		return r.fault(v, "the statement has both Action and NotAction: keep one of them")
	case resource && notResource:
		return r.fault(v, "the statement has both Resource and NotResource: keep one of them")
	case principal && notPrincipal:
		return r.fault(v, "the statement has both Principal and NotPrincipal: keep one of them")
	case !action && !notAction:
		return r.fault(v, "the statement has neither Action nor NotAction: write one of them")
	// One of an identity policy needs a resource, one of any other a principal;
	// those of trust policies have no resource.
	case !resource && !notResource && !principal && !notPrincipal:
		return r.fault(v, "the statement has neither Resource nor Principal: write on what it allows or denies something, or to whom")
	}
	return nil
}

// effect reads an Effect. Its value is case sensitive (IAM user guide, "IAM JSON
// policy elements: Effect").
func (r reader) effect(v gjson.Result) (Effect, *DocumentError) {
	s, fault := r.string(v)
	if fault == nil && Effect(s) != Allow && Effect(s) != Deny {
		fault = r.fault(v, `%.40q is no effect: write "Allow" or "Deny", with a capital letter`, s)
	}
	return Effect(s), fault
}

func (r reader) action(v gjson.Result) (string, *DocumentError) {
	s, fault := r.string(v)
	if fault == nil && s != "*" && !strings.Contains(s, ":") {
		fault = r.fault(v, `%.40q is no action, for it has no colon: write service:action, such as "s3:GetObject" or "s3:*", or "*" for all`, s)
	}
	return s, fault
}

// principals reads a Principal. "*" is the only one that may stand outside an
// object (IAM user guide, "Grammar of the IAM JSON policy language").
func (r reader) principals(v gjson.Result) ([]StatementPrincipal, *DocumentError) {
	if v.Type == gjson.String && v.Str == "*" {
		return []StatementPrincipal{{"*", "*"}}, nil
	}
	if !v.IsObject() {
		return nil, r.fault(v, `a principal is "*" or an object, this is %s: write {"AWS": "arn:aws:iam::111111111111:root"}`, describe(v))
	}
	var all []StatementPrincipal
	fault := r.members(v, func(kind string, v gjson.Result) *DocumentError {
		switch kind {
		case "AWS", "Service", "Federated", "CanonicalUser":
		default:
			return r.fault(v, "%.40q is no kind of principal: write AWS, Service, Federated or CanonicalUser", kind)
		}
		return r.some(v, func(v gjson.Result) *DocumentError {
			s, fault := r.string(v)
			all = append(all, StatementPrincipal{kind, s})
			return fault
		})
	})
	if fault == nil && all == nil {
		fault = r.fault(v, `the object names nobody: write {"AWS": "arn:aws:iam::111111111111:root"}, or take the element out`)
	}
	return all, fault
}

func (r reader) conditions(v gjson.Result) ([]Condition, *DocumentError) {
	var all []Condition
	fault := r.members(v, func(operator string, v gjson.Result) *DocumentError {
		// Names of condition keys are not case sensitive; the same one twice in
		// different letters is as much a fault as in the same (IAM user guide,
		// "IAM policy validation check reference").
		seen := map[string]bool{}
		return r.members(v, func(key string, v gjson.Result) *DocumentError {
			name := strings.ToLower(key)
			if seen[name] {
				return r.fault(v, "%.80q is there twice, in other letters: put all its values into one list", key)
			}
			seen[name] = true
			list, fault := r.conditionValues(v)
			all = append(all, Condition{operator, key, list})
			return fault
		})
	})
	return all, fault
}

// conditionValues reads a condition's values. None at all is something that AWS
// takes (IAM user guide, "IAM policy validation check reference": "Empty array
// condition"), and so are numbers and booleans without quotes.
func (r reader) conditionValues(v gjson.Result) ([]string, *DocumentError) {
	var all []string
	fault := r.each(v, func(v gjson.Result) *DocumentError {
		switch v.Type {
		case gjson.String:
			all = append(all, v.Str)
		case gjson.Number, gjson.True, gjson.False:
			all = append(all, v.Raw)
		default:
			return r.fault(v, "a condition's value is a string, a number or a boolean, this is %s: write it in quotes", describe(v))
		}
		return nil
	})
	return all, fault
}

// unknown looks at an element that AWS does not know. It is ignored, unless it
// looks like a misspelt known one: AWS names its elements with capital letters
// and takes no others at all.
func (r reader) unknown(name string, v gjson.Result, known ...string) *DocumentError {
	for _, k := range known {
		if alike(name, k) {
			return r.fault(v, "AWS knows no element %.40q: write %q, if it is that", name, k)
		}
	}
	return nil
}

// string reads a string.
func (r reader) string(v gjson.Result) (string, *DocumentError) {
	if v.Type != gjson.String {
		return "", r.fault(v, "a string is needed, this is %s: write it in quotes", describe(v))
	}
	return v.Str, nil
}

// strings reads a string or a list of them, each with read.
func (r reader) strings(v gjson.Result, read func(gjson.Result) (string, *DocumentError)) ([]string, *DocumentError) {
	var all []string
	fault := r.some(v, func(v gjson.Result) *DocumentError {
		s, fault := read(v)
		all = append(all, s)
		return fault
	})
	return all, fault
}

// some is each for what must not be empty: IAM refuses an empty list, and it
// means something else than a list that is not there.
func (r reader) some(v gjson.Result, read func(gjson.Result) *DocumentError) *DocumentError {
	n := 0
	fault := r.each(v, func(v gjson.Result) *DocumentError {
		n++
		return read(v)
	})
	if fault == nil && n == 0 {
		fault = r.fault(v, "the list is empty: write what it is to hold")
	}
	return fault
}

// each calls read with a value that stands alone, or with each of a list.
func (r reader) each(v gjson.Result, read func(gjson.Result) *DocumentError) *DocumentError {
	for i, one := range values(v) {
		if fault := read(one); fault != nil && v.IsArray() {
			return fault.under("[" + strconv.Itoa(i) + "]")
		} else if fault != nil {
			return fault
		}
	}
	return nil
}

// members calls read with each member of an object.
func (r reader) members(v gjson.Result, read func(name string, v gjson.Result) *DocumentError) *DocumentError {
	if !v.IsObject() {
		return r.fault(v, "an object is needed, this is %s: write {…}", describe(v))
	}
	seen := map[string]bool{}
	for key, v := range v.ForEach {
		fault := (*DocumentError)(nil)
		if seen[key.Str] {
			fault = r.fault(key, "%.80q is there twice: keep one, for only one of them would count", key.Str)
		} else {
			fault = read(key.Str, v)
		}
		if fault != nil {
			return fault.under(step(key.Str))
		}
		seen[key.Str] = true
	}
	return nil
}

// lines counts a text's lines up to one place after the other.
type lines struct {
	text        string
	counted, to int
}

// at is the line of a byte, which is not before the last one that was asked for.
func (l *lines) at(i int) int {
	l.counted += strings.Count(l.text[l.to:i], "\n")
	l.to = i
	return 1 + l.counted
}

// values are a value that stands alone, or those of a list, with their indices.
func values(v gjson.Result) iter.Seq2[int, gjson.Result] {
	return func(yield func(int, gjson.Result) bool) {
		if !v.IsArray() {
			if v.Exists() {
				yield(0, v)
			}
			return
		}
		i := 0
		for _, one := range v.ForEach {
			if !yield(i, one) {
				return
			}
			i++
		}
	}
}

// member is one of an object's members, its name and its value.
func member(v gjson.Result, name string) (key, value gjson.Result) {
	for key, value := range v.ForEach {
		if key.Str == name {
			return key, value
		}
	}
	return gjson.Result{}, gjson.Result{}
}

// describe names what a value is.
func describe(v gjson.Result) string {
	switch {
	case v.IsArray():
		return "a list"
	case v.IsObject():
		return "an object"
	case v.Type == gjson.String:
		return "a string"
	case v.Type == gjson.Number:
		return "a number"
	case v.Type == gjson.Null:
		return "null"
	}
	return "a boolean"
}

// alike reports whether a name could be meant to be a known one: it begins with
// it, in whatever letters, or is two letters away from it at most.
func alike(name, known string) bool {
	if len(name) > 2*len(known) {
		return false
	}
	name, known = strings.ToLower(name), strings.ToLower(known)
	if strings.HasPrefix(name, known) {
		return true
	}
	// Levenshtein's distance, row by row.
	row := make([]int, len(known)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(name) {
		diagonal := i
		row[0] = i + 1
		for j := range len(known) {
			if name[i] != known[j] {
				diagonal = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], diagonal
		}
	}
	return row[len(known)] <= 2
}

package iampolicy

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// facts is what is known of a request: who makes it, and what the caller told.
type facts struct {
	principal *Principal // nil if it is not known who it is
	known     Context
	// variables says that the document that is looked at has policy variables: only
	// those of version 2012-10-17 do ("IAM policy elements: Variables and tags").
	variables bool
}

func (f *facts) of(d *Document) { f.variables = d.Version == "2012-10-17" }

// fact is what is known of a condition key.
type fact struct {
	there  Answer // whether the request has the key
	values []string
	open   bool // the values are patterns: one text of each
}

var unknown = fact{there: Conditional, values: []string{"*"}, open: true}

// about is what is known of a condition key. Keys have no case ("IAM JSON policy
// elements: Condition").
func (f *facts) about(key string) fact {
	key = strings.ToLower(key)
	if values, ok := f.known[key]; ok {
		if len(values) == 0 {
			return fact{there: No}
		}
		return fact{there: Yes, values: values}
	}
	if p := f.principal; p != nil && p.Type != Group {
		return p.fact(key)
	}
	return unknown
}

// fact is what a user or role knows about itself ("IAM policy elements: Variables
// and tags", "Principal key values"): a session of a role has the ARN of the role,
// no user name, and an ID that ends in the name of the session.
func (p *Principal) fact(key string) fact {
	is := func(value string) fact { return fact{there: Yes, values: []string{value}} }
	switch key {
	case "aws:principalarn":
		return is(p.ARN)
	case "aws:principalaccount":
		return is(accountOf(p.ARN))
	case "aws:principalisawsservice":
		return is("false")
	case "aws:principaltype":
		if p.Type == User {
			return is("User")
		}
		return is("AssumedRole")
	case "aws:username":
		if p.Type == User {
			return is(p.Name())
		}
		return fact{there: No}
	case "aws:userid":
		return p.userID()
	}
	if tag, ok := strings.CutPrefix(key, "aws:principaltag/"); ok {
		return p.tag(tag)
	}
	return unknown
}

func (p *Principal) userID() fact {
	id := p.ID
	if id == "" {
		id = "*"
	}
	if p.Type == Role {
		id += ":*"
	}
	return fact{there: Yes, values: []string{id}, open: wild(id)}
}

// tag is what is known of a tag of a principal. A session of a role may bring
// other tags, if the role's trust policy lets it ("Pass session tags in AWS STS").
func (p *Principal) tag(key string) fact {
	if p.Tags == nil || p.Type == Role && p.takesTags() {
		return unknown
	}
	for k, v := range p.Tags {
		if strings.EqualFold(k, key) {
			return fact{there: Yes, values: []string{v}}
		}
	}
	return fact{there: No}
}

func (p *Principal) takesTags() bool {
	if p.Trust == nil {
		return true
	}
	for i := range p.Trust.Statements {
		if s := &p.Trust.Statements[i]; s.Effect == Allow && s.doing("sts:TagSession") != No {
			return true
		}
	}
	return false
}

// fill puts what is known into the variables of a text and makes a pattern of it,
// in which * and ? of the text are wildcards or not. Yes: it is all known.
// Conditional: something is not, and is a * in the pattern. No: a variable is
// missing from the request and has no default, so that the text stands for nothing.
func (f *facts) fill(text string, wildcards bool) (pattern string, known Answer) {
	plain := func(s string) string {
		if wildcards {
			return s
		}
		return literal(s)
	}
	before, rest, found := strings.Cut(text, "${")
	if !found || !f.variables {
		return plain(text), Yes
	}
	var out strings.Builder
	known = Yes
	for ; found; before, rest, found = strings.Cut(rest, "${") {
		out.WriteString(plain(before))
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			out.WriteString(plain("${" + rest))
			return out.String(), known
		}
		value, sure := f.variable(name)
		if sure == No {
			return "", No
		}
		out.WriteString(value)
		known, rest = min(known, sure), after
	}
	out.WriteString(plain(before))
	return out.String(), known
}

// variable is the value of what is between ${ and }, as a pattern.
func (f *facts) variable(name string) (pattern string, known Answer) {
	switch name {
	case "*", "?", "$":
		return literal(name), Yes
	}
	key, fallback, hasDefault := strings.Cut(name, ",")
	switch is := f.about(strings.TrimSpace(key)); {
	case is.there == No && hasDefault:
		return literal(strings.Trim(strings.TrimSpace(fallback), "'")), Yes
	case is.there == No:
		return "", No
	case is.there == Conditional || len(is.values) != 1:
		return "*", Conditional
	case is.open:
		return is.values[0], Conditional
	default:
		return literal(is.values[0]), Yes
	}
}

// conditions tells whether the conditions of a statement hold: for each request,
// for none, or for some.
func (f *facts) conditions(s *Statement) Answer {
	all := Yes
	for i := range s.Conditions {
		all = min(all, f.condition(&s.Conditions[i]))
		if all == No {
			return No
		}
	}
	if all == Conditional && f.contradictory(s.Conditions) {
		return No
	}
	return all
}

func (f *facts) condition(c *Condition) Answer {
	op, ok := parseOperator(c.Operator)
	if !ok {
		return Conditional // AWS knows an operator that this package does not
	}
	return f.holds(op, c, f.about(c.Key))
}

// The most conditions and values of a statement among which contradictions are
// looked for, so that the time is bounded.
const (
	maxContradictory = 32
	maxCandidates    = 256
)

// contradictory tells whether a key is asked to be one of some values and
// something else that none of these is.
func (f *facts) contradictory(all []Condition) bool {
	if len(all) < 2 || len(all) > maxContradictory {
		return false
	}
	for i := range all {
		c := &all[i]
		if c.Operator == "StringEquals" && len(c.Values) <= maxCandidates && f.about(c.Key).there == Conditional && !f.possible(c, all) {
			return true
		}
	}
	return false
}

// possible tells whether all conditions on a key can hold for one of the values
// that one of them names.
func (f *facts) possible(exact *Condition, all []Condition) bool {
	for _, v := range exact.Values {
		if strings.Contains(v, "${") {
			return true
		}
		is, could := fact{there: Yes, values: []string{v}}, true
		for i := range all {
			c := &all[i]
			op, ok := parseOperator(c.Operator)
			if ok && strings.EqualFold(c.Key, exact.Key) && len(c.Values) <= maxCandidates && f.holds(op, c, is) == No {
				could = false
				break
			}
		}
		if could {
			return true
		}
	}
	return false
}

// operator is a condition operator ("IAM JSON policy elements: Condition
// operators").
type operator struct {
	base
	set quantifier

	ifExists bool
}

type quantifier byte

// What a condition asks of several values of a request.
const (
	forOne quantifier = iota
	forAll
	forAny
)

type base struct {
	// compare tells whether a value of the request, or each text of an open one, is
	// what a value of the policy asks for, or that a variable in that is missing from
	// the request; nil for Null.
	compare comparison
	negated bool
}

type comparison func(f *facts, have string, open bool, want string) (is Answer, missing bool)

func parseOperator(text string) (operator, bool) {
	var op operator
	if rest, ok := strings.CutPrefix(text, "ForAllValues:"); ok {
		op.set, text = forAll, rest
	} else if rest, ok := strings.CutPrefix(text, "ForAnyValue:"); ok {
		op.set, text = forAny, rest
	}
	text, op.ifExists = strings.CutSuffix(text, "IfExists")
	var ok bool
	op.base, ok = operators[text]
	if op.compare == nil && (op.ifExists || op.set != forOne) {
		return op, false
	}
	return op, ok
}

var operators = map[string]base{
	"StringEquals":              {compare: exact(false)},
	"StringNotEquals":           {compare: exact(false), negated: true},
	"StringEqualsIgnoreCase":    {compare: exact(true)},
	"StringNotEqualsIgnoreCase": {compare: exact(true), negated: true},
	"StringLike":                {compare: like},
	"StringNotLike":             {compare: like, negated: true},
	"ArnEquals":                 {compare: arnLike},
	"ArnNotEquals":              {compare: arnLike, negated: true},
	"ArnLike":                   {compare: arnLike},
	"ArnNotLike":                {compare: arnLike, negated: true},
	"NumericEquals":             {compare: typed(number, func(have, want float64) bool { return have == want })},
	"NumericNotEquals":          {compare: typed(number, func(have, want float64) bool { return have == want }), negated: true},
	"NumericLessThan":           {compare: typed(number, func(have, want float64) bool { return have < want })},
	"NumericLessThanEquals":     {compare: typed(number, func(have, want float64) bool { return have <= want })},
	"NumericGreaterThan":        {compare: typed(number, func(have, want float64) bool { return have > want })},
	"NumericGreaterThanEquals":  {compare: typed(number, func(have, want float64) bool { return have >= want })},
	"DateEquals":                {compare: typed(date, time.Time.Equal)},
	"DateNotEquals":             {compare: typed(date, time.Time.Equal), negated: true},
	"DateLessThan":              {compare: typed(date, time.Time.Before)},
	"DateLessThanEquals":        {compare: typed(date, func(have, want time.Time) bool { return !have.After(want) })},
	"DateGreaterThan":           {compare: typed(date, time.Time.After)},
	"DateGreaterThanEquals":     {compare: typed(date, func(have, want time.Time) bool { return !have.Before(want) })},
	"Bool":                      {compare: typed(boolean, func(have, want bool) bool { return have == want })},
	"BinaryEquals":              {compare: typed(binary, func(have, want string) bool { return have == want })},
	"IpAddress":                 {compare: typed(addresses, within)},
	"NotIpAddress":              {compare: typed(addresses, within), negated: true},
	"Null":                      {},
}

// absent is what the operator says of a request without the key.
func (op operator) absent() Answer {
	switch {
	case op.ifExists || op.set == forAll:
		return Yes
	case op.set == forAny:
		return No
	case op.negated:
		return Yes
	}
	return No
}

// holds tells whether a condition holds for what is known of its key.
func (f *facts) holds(op operator, c *Condition, is fact) Answer {
	if op.compare == nil {
		return null(c.Values, is.there)
	}
	if is.there == No {
		return op.absent()
	}
	present := f.present(op, c.Values, is)
	if is.there == Conditional && present != op.absent() {
		return Conditional
	}
	return present
}

// null is the answer of the operator Null: the key is missing, or not.
func null(values []string, there Answer) Answer {
	var missing, present bool
	for _, v := range values {
		missing = missing || strings.EqualFold(v, "true")
		present = present || strings.EqualFold(v, "false")
	}
	switch {
	case missing && present:
		return Yes
	case missing:
		return Yes - there
	case present:
		return there
	}
	return No
}

// present is what the operator says of a request that has the key. Several values
// of a request without ForAllValues or ForAnyValue are taken like ForAnyValue, and
// negated as none of them.
func (f *facts) present(op operator, wants []string, is fact) Answer {
	every := op.set == forAll || op.set == forOne && op.negated
	holds := No
	if every {
		holds = Yes
	}
	for _, have := range is.values {
		one := f.oneOf(op, have, is.open, wants)
		if every {
			holds = min(holds, one)
		} else {
			holds = max(holds, one)
		}
	}
	return holds
}

// oneOf tells whether a value of the request is one of a policy's; if the operator
// is negated, whether it is none.
func (f *facts) oneOf(op operator, have string, open bool, wants []string) Answer {
	found := No
	for _, want := range wants {
		is, missing := op.compare(f, have, open, want)
		if missing && op.negated {
			is = Conditional // what AWS makes of it is not documented
		}
		found = max(found, is)
	}
	if op.negated {
		return Yes - found
	}
	return found
}

func exact(fold bool) comparison {
	return func(f *facts, have string, open bool, want string) (is Answer, missing bool) {
		pattern, known := f.fill(want, false)
		return min(compared(pattern, have, open, fold), known), known == No
	}
}

func like(f *facts, have string, open bool, want string) (is Answer, missing bool) {
	pattern, known := f.fill(want, true)
	return min(compared(pattern, have, open, false), known), known == No
}

func compared(pattern, have string, open, fold bool) Answer {
	switch {
	case !open && match(pattern, have, fold):
		return Yes
	case !open:
		return No
	case covers(pattern, have, fold):
		return Yes
	case overlap(pattern, have, fold):
		return Conditional
	}
	return No
}

// arnLike compares the six parts of an ARN, each for itself. What AWS makes of a
// pattern with fewer parts is not documented.
func arnLike(f *facts, have string, open bool, want string) (is Answer, missing bool) {
	pattern, known := f.fill(want, true)
	is = min(compared(pattern, have, open, false), known)
	if open || pattern == "*" || is == No {
		return is, known == No
	}
	for range 5 {
		p, restPattern, inPattern := strings.Cut(pattern, ":")
		h, restHave, inHave := strings.Cut(have, ":")
		if !inPattern {
			return Conditional, false
		}
		if !inHave || !match(p, h, false) {
			return No, false
		}
		pattern, have = restPattern, restHave
	}
	return min(compared(pattern, have, false, false), known), false
}

// typed compares values that are of a type. What is not of the type is nothing's
// equal; a variable, which AWS allows only in text and ARNs, can't be told.
func typed[T any](parse func(string) (T, bool), holds func(have, want T) bool) comparison {
	return func(f *facts, have string, open bool, want string) (is Answer, missing bool) {
		if f.variables && strings.Contains(want, "${") {
			return Conditional, false
		}
		w, ok := parse(want)
		if !ok {
			return No, false
		}
		if open {
			return Conditional, false
		}
		if h, ok := parse(have); ok && holds(h, w) {
			return Yes, false
		}
		return No, false
	}
}

func number(s string) (float64, bool) {
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// date reads the forms of ISO 8601 that the W3C names, or seconds since 1970.
func date(s string) (time.Time, bool) {
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly, "2006-01"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	seconds, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if t, err := time.Parse("2006", s); err == nil {
		return t, true
	}
	return time.Unix(seconds, 0), true
}

func boolean(s string) (value, ok bool) {
	value = strings.EqualFold(s, "true")
	return value, value || strings.EqualFold(s, "false")
}

func binary(s string) (string, bool) { return s, true }

func addresses(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

func within(have, want netip.Prefix) bool {
	return want.Bits() <= have.Bits() && want.Contains(have.Addr())
}

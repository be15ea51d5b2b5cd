package event

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// MaxPattern is how many characters an event pattern may hold. Source: quota
// page of the EventBridge user guide ("Event pattern size").
const MaxPattern = 2048

// Pattern is an EventBridge event pattern, of the part of the pattern language
// that our rules need: every field of it must be there with one of the named
// texts, and so must every field of at least one alternative of Or, if any.
// Where the event has a list, one element of it must match.
type Pattern struct {
	Fields []Field
	Or     [][]Field
}

// Field is the texts that one field of an event may have.
type Field struct {
	Path   string // "detail.eventName"
	Values []string
}

// String prints the pattern as EventBridge reads it.
func (p Pattern) String() string {
	tree := fieldTree(p.Fields)
	if len(p.Or) > 0 {
		var alternatives []any
		for _, fields := range p.Or {
			alternatives = append(alternatives, fieldTree(fields))
		}
		tree["$or"] = alternatives
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(tree); err != nil {
		panic(err) // texts always encode
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func fieldTree(fields []Field) map[string]any {
	tree := map[string]any{}
	for _, f := range fields {
		at, keys := tree, strings.Split(f.Path, ".")
		for _, key := range keys[:len(keys)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[key] = next
			}
			at = next
		}
		at[keys[len(keys)-1]] = f.Values
	}
	return tree
}

// Split builds patterns that together accept all values, each within
// MaxPattern. The values are sorted first, so the same values always give the
// same patterns.
func Split(values []string, build func(values []string) Pattern) []Pattern {
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	var patterns []Pattern
	for len(values) > 0 {
		n := sort.Search(len(values), func(i int) bool { return len(build(values[:i+1]).String()) > MaxPattern })
		n = max(n, 1) // a value that is too long by itself is not lost
		patterns = append(patterns, build(values[:n]))
		values = values[n:]
	}
	return patterns
}

// ParsePattern reads a pattern that String printed. Anything else of the
// pattern language is refused by name.
func ParsePattern(text string) (Pattern, error) {
	switch {
	case tooDeep([]byte(text)):
		return Pattern{}, fmt.Errorf("pattern is nested deeper than %d levels", MaxDepth)
	case !gjson.Valid(text) || !utf8.ValidString(text) || !gjson.Parse(text).IsObject():
		return Pattern{}, errors.New("pattern is not a JSON object")
	}
	var p Pattern
	var err error
	gjson.Parse(text).ForEach(func(key, value gjson.Result) bool {
		switch {
		case key.Str != "$or":
			p.Fields, err = parseField(p.Fields, key.Str, key.Str, value)
		case p.Or != nil:
			err = errors.New("pattern field $or is there twice")
		default:
			p.Or, err = parseOr(value)
		}
		return err == nil
	})
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return Pattern{}, err
	}
	return p, nil
}

func parseOr(value gjson.Result) ([][]Field, error) {
	alternatives := value.Array()
	if !value.IsArray() || len(alternatives) < 2 {
		return nil, errors.New("pattern field $or: want a list of two or more alternatives")
	}
	var or [][]Field
	for _, a := range alternatives {
		if !a.IsObject() {
			return nil, errors.New("pattern field $or: want objects as alternatives")
		}
		fields, err := parseObject(nil, "", a)
		if err != nil {
			return nil, err
		}
		or = append(or, fields)
	}
	return or, nil
}

// parseObject appends the fields of an object that stands at a path.
func parseObject(fields []Field, path string, object gjson.Result) ([]Field, error) {
	had := len(fields)
	var err error
	object.ForEach(func(key, value gjson.Result) bool {
		at := key.Str
		if path != "" {
			at = path + "." + key.Str
		}
		fields, err = parseField(fields, at, key.Str, value)
		return err == nil
	})
	if err == nil && len(fields) == had {
		err = fmt.Errorf("pattern field %s: want at least one field in it", cmp.Or(path, "$or"))
	}
	return fields, err
}

// parseField appends what a pattern says of the field at a path, whose last
// name is given too.
func parseField(fields []Field, path, name string, value gjson.Result) ([]Field, error) {
	switch {
	case name == "" || strings.ContainsAny(name, ".$"):
		return nil, fmt.Errorf("pattern field %s: this matcher knows no empty names, no names with dots and $or at the top alone", path)
	case value.IsObject():
		return parseObject(fields, path, value)
	case !value.IsArray():
		return nil, fmt.Errorf("pattern field %s: want a list of texts", path)
	}
	var values []string
	for _, v := range value.Array() {
		if v.Type != gjson.String {
			return nil, fmt.Errorf("pattern field %s: this matcher knows texts alone, not %.60s", path, v.Raw)
		}
		values = append(values, v.Str)
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("pattern field %s: want at least one text", path)
	}
	return append(fields, Field{path, values}), nil
}

// check refuses what EventBridge would refuse or read in another way than
// Matcher.
func (p Pattern) check() error {
	if len(p.Fields) == 0 && len(p.Or) == 0 {
		return errors.New("pattern is empty: want at least one field")
	}
	if len(p.Or) == 0 {
		return unambiguous(p.Fields)
	}
	for _, alternative := range p.Or {
		if err := unambiguous(slices.Concat(p.Fields, alternative)); err != nil {
			return err
		}
	}
	return nil
}

// unambiguous refuses two conditions on one field.
func unambiguous(fields []Field) error {
	seen := map[string]bool{}
	for _, f := range fields {
		if seen[f.Path] {
			return fmt.Errorf("pattern field %s is there twice", f.Path)
		}
		seen[f.Path] = true
	}
	for _, f := range fields {
		for i, c := range f.Path {
			if c == '.' && seen[f.Path[:i]] {
				return fmt.Errorf("pattern field %s is both a list of texts and an object", f.Path[:i])
			}
		}
	}
	return nil
}

// Matcher is a pattern made ready to match many events. It is safe for
// concurrent use.
type Matcher struct {
	sources      []string // of the event's field source, if the pattern names any
	alternatives []*matcher
}

// Matcher makes the pattern ready.
func (p Pattern) Matcher() Matcher {
	var m Matcher
	for _, f := range p.Fields {
		if f.Path == "source" {
			m.sources = f.Values
		}
	}
	if len(p.Or) == 0 {
		m.alternatives = []*matcher{compile(p.Fields)}
	}
	for _, alternative := range p.Or {
		m.alternatives = append(m.alternatives, compile(slices.Concat(p.Fields, alternative)))
	}
	return m
}

// Match reports whether EventBridge would match the event.
func (m Matcher) Match(e *Event) bool {
	if m.sources != nil && !slices.Contains(m.sources, e.Source) {
		return false // most events of a log end here, without a look at their text
	}
	root := gjson.ParseBytes(e.Raw())
	return slices.ContainsFunc(m.alternatives, func(a *matcher) bool { return a.match(root) })
}

// matcher is a pattern without alternatives as a tree: an inner node holds the
// fields of an object, a leaf the texts that a field may have.
type matcher struct {
	fields map[string]*matcher
	values []string
}

func compile(fields []Field) *matcher {
	root := &matcher{fields: map[string]*matcher{}}
	for _, f := range fields {
		at := root
		for key := range strings.SplitSeq(f.Path, ".") {
			if at.fields == nil {
				at.fields = map[string]*matcher{}
			}
			if at.fields[key] == nil {
				at.fields[key] = &matcher{}
			}
			at = at.fields[key]
		}
		at.values = f.Values
	}
	return root
}

// match walks pattern and event together. All fields of an object that stands
// in a list must match within the same element, as EventBridge has it.
func (m *matcher) match(v gjson.Result) bool {
	switch {
	case v.IsArray():
		return slices.ContainsFunc(v.Array(), m.match)
	case m.values != nil:
		return v.Type == gjson.String && slices.Contains(m.values, v.Str)
	case !v.IsObject():
		return false
	}
	left := maps.Clone(m.fields)
	v.ForEach(func(key, value gjson.Result) bool {
		if f := left[key.Str]; f != nil && f.match(value) {
			delete(left, key.Str)
		}
		return len(left) > 0
	})
	return len(left) == 0
}

// Calls accepts the named CloudTrail calls of one event source.
func Calls(source string, names []string) Pattern {
	service, _, _ := strings.Cut(source, ".")
	return Pattern{Fields: []Field{
		{"source", []string{"aws." + service}},
		{"detail-type", []string{CallViaCloudTrail}},
		{"detail.eventSource", []string{source}},
		{"detail.eventName", names},
	}}
}

// ConfigResources accepts what AWS Config tells of resources of the types: that
// one changed, or that a rule, whatever its name, found one not compliant.
func ConfigResources(types []string) Pattern {
	return Pattern{
		Fields: []Field{{"source", []string{"aws.config"}}},
		Or: [][]Field{
			{{"detail-type", []string{ConfigItemChange}}, {"detail.configurationItem.resourceType", types}},
			{{"detail-type", []string{ConfigItemChange}}, {"detail.configurationItemSummary.resourceType", types}},
			{
				{"detail-type", []string{ConfigComplianceChange}},
				{"detail.newEvaluationResult.complianceType", []string{NonCompliant}},
				{"detail.resourceType", types},
			},
		},
	}
}

// Findings accepts GuardDuty findings of every type: which are answered is not
// for a pattern to say, so that none is lost.
func Findings() Pattern {
	return Pattern{Fields: []Field{
		{"source", []string{"aws.guardduty"}},
		{"detail-type", []string{GuardDutyFinding}},
	}}
}

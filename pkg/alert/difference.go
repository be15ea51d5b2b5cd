package alert

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// The bounds of what is compared: no real state comes near them.
const (
	maxDepth  = 12  // levels of fields in fields
	maxFields = 100 // that are kept; the others are counted
	maxKey    = 60  // characters
)

// root is the path of a state that is no object.
const root = "state"

// field is a field that differs between two states, by its path, with its
// values in words.
type field struct{ path, was, now string }

// differ collects the fields that differ.
type differ struct {
	fields []field
	more   int // fields that differ besides
}

// difference finds the fields that differ between two states. Objects and lists
// are taken apart down to their single values, also where they are kept as text
// (policies are).
func difference(before, after raw) *differ {
	d := &differ{}
	d.compare("", 0, decode(before), decode(after))
	return d
}

// decode reads a state; what is no JSON is taken for text, nothing for null.
func decode(r []byte) any {
	if len(r) == 0 {
		return nil
	}
	if !json.Valid(r) {
		return string(r)
	}
	d := json.NewDecoder(bytes.NewReader(r))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return string(r)
	}
	return v
}

// unfold takes a text that holds a JSON object or list for that.
func unfold(v any) any {
	s, ok := v.(string)
	if t := strings.TrimSpace(s); !ok || !strings.HasPrefix(t, "{") && !strings.HasPrefix(t, "[") {
		return v
	}
	return decode([]byte(s))
}

func (d *differ) compare(path string, depth int, was, now any) {
	was, now = unfold(was), unfold(now)
	wasFields, wasObject := orNone[map[string]any](was)
	nowFields, nowObject := orNone[map[string]any](now)
	wasItems, wasList := orNone[[]any](was)
	nowItems, nowList := orNone[[]any](now)
	switch {
	case reflect.DeepEqual(was, now):
	case !nested(was) && !nested(now):
		d.add(path, value(was), value(now))
	case depth == maxDepth:
		d.add(path, "…", "…")
	case wasObject && nowObject:
		d.compareObjects(path, depth, wasFields, nowFields)
	case wasList && nowList:
		d.compareLists(path, depth, wasItems, nowItems)
	default: // it was of one kind and is of another
		d.compare(path, depth+1, was, nil)
		d.compare(path, depth+1, nil, now)
	}
}

// nested reports whether v has anything in it that can be taken apart.
func nested(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) > 0
	case []any:
		return len(v) > 0
	}
	return false
}

// orNone is v as an object or a list; an empty one if there is nothing.
func orNone[T any](v any) (T, bool) {
	of, ok := v.(T)
	return of, ok || v == nil
}

func (d *differ) compareObjects(path string, depth int, was, now map[string]any) {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(was)), maps.Keys(now))
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		d.compare(join(path, clean(key, maxKey)), depth+1, was[key], now[key])
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// compareLists shows short lists of single values whole; of others, the items
// that are not in both, by name or place.
func (d *differ) compareLists(path string, depth int, was, now []any) {
	path = cmp.Or(path, root)
	if whole, ok := inOneLine(path, was, now); ok {
		d.add(path, whole.was, whole.now)
		return
	}
	wasLeft, nowLeft := without(was, now), without(now, was)
	if len(wasLeft) == 1 && len(nowLeft) == 1 {
		d.compare(path+wasLeft[0].name, depth+1, wasLeft[0].value, nowLeft[0].value)
		return
	}
	if len(wasLeft)+len(nowLeft) == 0 {
		d.add(path, "one order", "another order")
	}
	others := map[string]any{}
	for _, item := range nowLeft {
		others[item.name] = item.value
	}
	for _, item := range wasLeft {
		d.compare(path+item.name, depth+1, item.value, others[item.name])
		delete(others, item.name)
	}
	for _, item := range nowLeft {
		if other, ok := others[item.name]; ok {
			d.compare(path+item.name, depth+1, nil, other)
		}
	}
}

// inOneLine joins the items of two lists of single values, if they fit a line.
func inOneLine(path string, was, now []any) (field, bool) {
	words := func(items []any) (string, bool) {
		var all []string
		for _, item := range items {
			switch unfold(item).(type) {
			case map[string]any, []any:
				return "", false
			}
			all = append(all, value(item))
		}
		switch {
		case items == nil:
			return "not set", true
		case len(items) == 0:
			return "empty", true
		}
		return strings.Join(all, ", "), true
	}
	wasWords, wasOK := words(was)
	nowWords, nowOK := words(now)
	f := field{path, wasWords, nowWords}
	return f, wasOK && nowOK && len(f.lines("    ")) == 1
}

// item is an item of a list, with its name in a path.
type item struct {
	name  string
	value any
}

// names are the fields by which AWS tells the items of a list apart.
var names = []string{"Sid", "Id", "ID", "Name", "Key"}

// without are the items of a list that another list does not have.
func without(list, other []any) []item {
	others := map[string]int{}
	for _, v := range other {
		others[canonical(v)]++
	}
	taken := map[string]bool{}
	var left []item
	for i, v := range list {
		if c := canonical(v); others[c] > 0 {
			others[c]--
			continue
		}
		name := fmt.Sprintf("#%d", i+1)
		if fields, ok := v.(map[string]any); ok {
			for _, key := range names {
				if id, ok := fields[key].(string); ok && id != "" && !taken["."+clean(id, maxKey)] {
					name = "." + clean(id, maxKey)
					break
				}
			}
		}
		taken[name] = true
		left = append(left, item{name, v})
	}
	return left
}

// canonical is a value as JSON in one form, so that equal values are equal texts.
func canonical(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v) // no value that was decoded fails to be encoded
	}
	return string(out)
}

func (d *differ) add(path, was, now string) {
	if len(d.fields) == maxFields {
		d.more++
		return
	}
	d.fields = append(d.fields, field{cmp.Or(path, root), was, now})
}

// value is a single value in words.
func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "not set"
	case bool:
		if v {
			return "on"
		}
		return "off"
	case string:
		if v != "" {
			return v
		}
		return "empty"
	case json.Number:
		return v.String()
	}
	return "empty" // an object or list that has anything in it is taken apart
}

// lines are at most so many lines of a field each, and how many fields are left out.
func (d *differ) lines(prefix string, most int) []string {
	var lines []string
	shown := 0
	for i, f := range d.fields {
		entry, rest := f.lines(prefix), 1
		if i+1 == len(d.fields) && d.more == 0 {
			rest = 0
		}
		if len(lines)+len(entry)+rest > most {
			break
		}
		lines = append(lines, entry...)
		shown++
	}
	if left := len(d.fields) - shown + d.more; left > 0 && most > 0 {
		lines = append(lines, fmt.Sprintf("%s… and %d more fields", prefix, left))
	}
	return lines
}

// lines shows a field before and after, on one line if it fits. What both begin
// with is left out where they are too long to be shown whole.
func (f field) lines(prefix string) []string {
	const lead = 20 // characters of what is the same, so that one sees where it is
	show := func(s string) string {
		if strings.Contains(s, " ") { // prose, and no name that must stay whole
			return clean(s, width-length(prefix+"  was …"))
		}
		return clean(s, maxName)
	}
	was, now := show(f.was), show(f.now)
	if same := common(f.was, f.now); same > 2*lead && (strings.HasSuffix(was, "…") || strings.HasSuffix(now, "…")) {
		was, now = show("…"+string([]rune(f.was)[same-lead:])), show("…"+string([]rune(f.now)[same-lead:]))
	}
	path := clean(f.path, maxName)
	if line := prefix + path + ": " + was + " -> " + now; length(line) <= width {
		return []string{line}
	}
	return []string{prefix + path + ":", prefix + "  was " + was, prefix + "  now " + now}
}

// common is how many characters two texts both begin with.
func common(a, b string) int {
	n := 0
	for i, r := range a {
		if i >= len(b) || !strings.HasPrefix(b[i:], string(r)) {
			break
		}
		n++
	}
	return n
}

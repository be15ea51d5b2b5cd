package local

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"
)

// node is a JSON value whose parts may be changed, in ways that a map would
// not keep: the order of keys, a key that comes twice, the spelling of texts.
type node struct {
	kind   byte     // '{', '[', or '=' for a scalar
	keys   []string // of an object's values, as JSON
	values []*node
	raw    string // a scalar as JSON
}

func parseNode(v gjson.Result) *node {
	switch {
	case v.IsObject():
		n := &node{kind: '{'}
		v.ForEach(func(key, value gjson.Result) bool {
			n.keys, n.values = append(n.keys, key.Raw), append(n.values, parseNode(value))
			return true
		})
		return n
	case v.IsArray():
		n := &node{kind: '['}
		for _, element := range v.Array() {
			n.values = append(n.values, parseNode(element))
		}
		return n
	}
	return scalar(v.Raw)
}

func scalar(raw string) *node         { return &node{kind: '=', raw: raw} }
func list(values ...*node) *node      { return &node{kind: '[', values: values} }
func (n *node) key(i int) string      { return gjson.Parse(n.keys[i]).Str }
func (n *node) isText() bool          { return n.kind == '=' && strings.HasPrefix(n.raw, `"`) }
func (n *node) add(k string, v *node) { n.keys, n.values = append(n.keys, k), append(n.values, v) }

func (n *node) String() string {
	if n.kind == '=' {
		return n.raw
	}
	parts := make([]string, len(n.values))
	for i, v := range n.values {
		if parts[i] = v.String(); n.kind == '{' {
			parts[i] = n.keys[i] + ":" + parts[i]
		}
	}
	if n.kind == '{' {
		return "{" + strings.Join(parts, ",") + "}"
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// setSource changes the field source of an event.
func setSource(data []byte, change func(string) string) []byte {
	root := parseNode(gjson.ParseBytes(data))
	for i := range root.keys {
		if root.key(i) == "source" && root.values[i].isText() {
			root.values[i] = scalar(strconv.Quote(change(gjson.Parse(root.values[i].raw).Str)))
		}
	}
	return []byte(root.String())
}

// vary returns an event with one to three random changes, most of them at keys
// of the given names. Its envelope keeps its form, since EventBridge writes it;
// only the texts of source and detail type vary.
func vary(random *rand.Rand, data []byte, names map[string]bool) []byte {
	root := parseNode(gjson.ParseBytes(data))
	for range 1 + random.IntN(3) {
		var envelope, named, other []place
		for i := range root.keys {
			switch root.key(i) {
			case "source", "detail-type":
				envelope = append(envelope, place{root, i})
			case "detail":
				for _, p := range places(root.values[i], nil) {
					if names[p.object.key(p.i)] {
						named = append(named, p)
					} else {
						other = append(other, p)
					}
				}
			}
		}
		switch {
		case random.IntN(12) == 0:
			pick(random, textChanges)(random, pick(random, envelope))
		case len(named) > 0 && random.IntN(8) > 0:
			pick(random, changes)(random, pick(random, named))
		case len(other) > 0:
			pick(random, changes)(random, pick(random, other))
		}
	}
	return []byte(root.String())
}

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

// place is one value of an object.
type place struct {
	object *node
	i      int
}

func (p place) value() *node    { return p.object.values[p.i] }
func (p place) set(value *node) { p.object.values[p.i] = value }

// places are all values of all objects in n.
func places(n *node, found []place) []place {
	for i, v := range n.values {
		if n.kind == '{' {
			found = append(found, place{n, i})
		}
		found = places(v, found)
	}
	return found
}

// changes are what may happen to a value, textChanges to one that stays a text.
// A dot in a key is not among them: EventBridge reads {"a.b": "x"} as it reads
// {"a": {"b": "x"}}, our matcher does not, and no AWS event has such a key
// where a pattern of ours looks.
var (
	textChanges = []func(*rand.Rand, place){swapCase, escapeValue, escapeKey, lengthen}
	changes     = append([]func(*rand.Rand, place){rename, drop, retype, wrap, nest, split, multiply, repeat}, textChanges...)
)

func rename(random *rand.Rand, p place) {
	names := []string{"other", strings.ToUpper(p.object.key(p.i)), p.object.key(p.i) + " ", ""}
	p.object.keys[p.i] = strconv.Quote(pick(random, names))
}

func drop(_ *rand.Rand, p place) {
	p.object.keys = append(p.object.keys[:p.i:p.i], p.object.keys[p.i+1:]...)
	p.object.values = append(p.object.values[:p.i:p.i], p.object.values[p.i+1:]...)
}

func retype(random *rand.Rand, p place) {
	others := []string{"1", "0.5e3", "true", "false", "null", "{}", "[]", "[[]]", "[null]", `""`, `[""]`, `{"":1}`}
	p.set(parseNode(gjson.Parse(pick(random, others))))
}

func swapCase(_ *rand.Rand, p place) {
	if !p.value().isText() {
		return
	}
	p.set(scalar(strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, p.value().raw)))
	if !gjson.Valid(p.value().raw) { // an escape was hit
		p.set(scalar(`"OTHER"`))
	}
}

// wrap puts a value into a list, alone or among others.
func wrap(random *rand.Rand, p place) {
	others := []*node{scalar(`"other"`), scalar("7"), scalar("null"), list(), {kind: '{'}, parseNode(gjson.Parse(`{"other":["x"]}`))}
	values := []*node{p.value()}
	for range random.IntN(3) {
		values = append(values, pick(random, others))
	}
	random.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	p.set(list(values...))
}

// nest puts a value into lists of lists.
func nest(random *rand.Rand, p place) {
	for range 2 + random.IntN(2) {
		wrap(random, p)
	}
}

// split makes a list of two objects of an object and divides its fields.
func split(random *rand.Rand, p place) {
	v := p.value()
	if v.kind != '{' {
		wrap(random, p)
		return
	}
	halves := [2]*node{{kind: '{'}, {kind: '{'}}
	for i, key := range v.keys {
		halves[random.IntN(2)].add(key, v.values[i])
	}
	p.set(list(halves[:]...))
}

// multiply makes a list of copies of a value and damages some of them.
func multiply(random *rand.Rand, p place) {
	v := p.value()
	copies := list()
	for range 2 + random.IntN(2) {
		c := parseNode(gjson.Parse(v.String()))
		copies.values = append(copies.values, c)
		if inside := places(c, nil); len(inside) > 0 && random.IntN(3) > 0 {
			retype(random, pick(random, inside))
		}
	}
	p.set(copies)
}

// escapeValue spells a letter of a text as a Unicode escape.
func escapeValue(random *rand.Rand, p place) {
	if v := p.value(); v.isText() {
		p.set(scalar(escape(random, v.raw)))
	}
}

func escapeKey(random *rand.Rand, p place) {
	p.object.keys[p.i] = escape(random, p.object.keys[p.i])
}

func escape(random *rand.Rand, text string) string {
	if len(text) < 3 || strings.Contains(text, `\`) {
		return text
	}
	at := 1 + random.IntN(len(text)-2)
	if text[at] >= 0x80 {
		return text
	}
	return fmt.Sprintf(`%s\u%04x%s`, text[:at], text[at], text[at+1:])
}

// repeat puts a key a second time into its object.
func repeat(random *rand.Rand, p place) {
	p.object.add(p.object.keys[p.i], parseNode(gjson.Parse(p.value().String())))
	if random.IntN(2) == 0 {
		retype(random, place{p.object, len(p.object.values) - 1})
	}
}

// lengthen puts a character before or after a text.
func lengthen(random *rand.Rand, p place) {
	v := p.value()
	if !v.isText() {
		return
	}
	more := pick(random, []string{" ", "é", "*", `\n`, `\u0000`, "\U0001F600"})
	if random.IntN(2) == 0 {
		p.set(scalar(`"` + more + v.raw[1:]))
		return
	}
	p.set(scalar(v.raw[:len(v.raw)-1] + more + `"`))
}

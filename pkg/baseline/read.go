package baseline

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// The tags that the YAML library gives to values without quotes.
const (
	textTag  = "!!str"
	intTag   = "!!int"
	floatTag = "!!float"
	boolTag  = "!!bool"
	dateTag  = "!!timestamp"
	nullTag  = "!!null"
	mergeTag = "!!merge"
)

// plain reports everything that YAML can write and a baseline file may not,
// because it would make the file say something else than it shows: anchors,
// aliases, merge keys, tags and values left out. It follows no alias.
func (p *parser) plain(n *yaml.Node, name string) {
	switch {
	case n.Kind == yaml.AliasNode:
		p.errorf(n, "YAML aliases are not supported: write the value out instead of *%s, or quote it if it is a glob", n.Value)
		return
	case n.Anchor != "":
		p.errorf(n, "YAML anchors are not supported: remove &%s and write the value out wherever it is used", n.Anchor)
	case tagged(n):
		p.errorf(n, "YAML tags are not supported: remove %s, and quote the value if it is text", n.Tag)
	case isNull(n):
		p.errorf(n, "%s has no value: give it one or remove it", name)
	}
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			p.plain(item, "an item of "+name)
		}
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if p.plainKey(key) {
			p.plain(value, quote(key.Value))
		}
	}
}

func (p *parser) plainKey(key *yaml.Node) bool {
	switch {
	case key.Tag == mergeTag:
		p.errorf(key, "YAML merge keys are not supported: write the keys out instead of <<")
		return false
	case key.Kind == yaml.MappingNode || key.Kind == yaml.SequenceNode:
		p.errorf(key, "a key is %s: want text", describe(key))
	case !isNull(key):
		p.plain(key, "a key")
	}
	return true
}

// reported reports whether a node can't be read and plain has said so.
func reported(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || tagged(n) || isNull(n)
}

func tagged(n *yaml.Node) bool {
	return n.Style&yaml.TaggedStyle != 0 || n.Tag == "!"
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == nullTag
}

// field is a key that a mapping may hold.
type field struct {
	key string
	// missing says what to write if the key is missing; empty: it is optional.
	missing string
	read    func(key, value *yaml.Node)
}

// mapping reads a mapping that may hold these fields and no others.
func (p *parser) mapping(n *yaml.Node, name string, fields []field) {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	if !p.is(n, yaml.MappingNode, name, "a mapping with "+words(keys, "and")) {
		return
	}
	found := make([]bool, len(fields))
	for key, value := range p.pairs(n, name) {
		i := slices.Index(keys, key.Value)
		if i < 0 {
			p.errorf(key, "unknown key %s in %s: %s", quote(key.Value), name, meant(nearest(key.Value, keys), "want "+words(keys, "or")))
			continue
		}
		found[i] = true
		if !reported(value) {
			fields[i].read(key, value)
		}
	}
	for i, f := range fields {
		if f.missing != "" && !found[i] {
			p.errorf(n, "%s lacks %s: %s", name, f.key, f.missing)
		}
	}
}

// has reports whether a mapping holds a key.
func has(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// pairs yields the keys and values of a mapping that can be read, and reports
// keys that are given twice.
func (p *parser) pairs(n *yaml.Node, name string) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		lines := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			if key.Kind != yaml.ScalarNode || key.Tag == mergeTag || tagged(key) {
				continue
			}
			if line, twice := lines[key.Value]; twice {
				p.errorf(key, "%s is given twice in %s: line %d has it already, keep only one", quote(key.Value), name, line)
				continue
			}
			lines[key.Value] = key.Line
			if !yield(key, value) {
				return
			}
		}
	}
}

// list hands every item of a list that can be read to read.
func (p *parser) list(n *yaml.Node, name string, read func(item *yaml.Node)) {
	if !p.is(n, yaml.SequenceNode, name, "a list") {
		return
	}
	for _, item := range n.Content {
		if !reported(item) {
			read(item)
		}
	}
}

// texts reads a list of different texts that is not empty. Items that read
// turns down are left out.
func (p *parser) texts(n *yaml.Node, name string, read func(item *yaml.Node, name string) (string, bool)) []string {
	var all []string
	lines := map[string]int{}
	p.list(n, name, func(item *yaml.Node) {
		s, ok := read(item, "an item of "+name)
		if !ok {
			return
		}
		if line, twice := lines[s]; twice {
			p.errorf(item, "%s is listed twice in %s: line %d has it already, keep only one", quote(s), name, line)
			return
		}
		lines[s] = item.Line
		all = append(all, s)
	})
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		p.errorf(n, "%s is an empty list: name at least one item, or remove what it belongs to", name)
	}
	return all
}

// is reports whether a node is of a kind, and the fault if it is not.
func (p *parser) is(n *yaml.Node, kind yaml.Kind, name, want string) bool {
	if n.Kind != kind {
		p.errorf(n, "%s is %s: want %s", name, describe(n), want)
	}
	return n.Kind == kind
}

// text reads a scalar that YAML takes for text.
func (p *parser) text(n *yaml.Node, name string) (string, bool) {
	switch {
	case reported(n):
		return "", false
	case n.Kind != yaml.ScalarNode:
		p.errorf(n, "%s is %s: want text", name, describe(n))
		return "", false
	case n.Tag != textTag:
		p.errorf(n, "%s is %s and not text: put it in quotes", name, describe(n))
		return "", false
	}
	return n.Value, true
}

// filled reads a text that must say something.
func (p *parser) filled(n *yaml.Node, name string) (string, bool) {
	s, ok := p.text(n, name)
	if ok && strings.TrimSpace(s) == "" {
		p.errorf(n, "%s is blank: write something that helps the next reader", name)
		return "", false
	}
	return s, ok
}

// describe says what a node is, for a message.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	}
	switch n.Tag {
	case intTag, floatTag:
		return "the number " + cut(n.Value)
	case boolTag:
		return "the truth value " + cut(n.Value)
	case dateTag:
		return "the date " + cut(n.Value)
	}
	return quote(n.Value)
}

// quote quotes text of the file and cuts it to what fits into a message.
func quote(s string) string { return fmt.Sprintf("%q", cut(s)) }

// longest is how much of the file's own text a message shows, in bytes: the
// longest ID or Region fits, and so does an ARN of the usual length.
const longest = 100

func cut(s string) string {
	if len(s) > longest {
		return strings.ToValidUTF8(s[:longest], "") + "..."
	}
	return s
}

// words joins words: "a, b and c".
func words(all []string, and string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " " + and + " " + all[last]
}

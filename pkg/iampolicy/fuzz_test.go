package iampolicy_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

func FuzzParse(f *testing.F) {
	for _, text := range documents(f) {
		f.Add(text)
		f.Add(url.PathEscape(text))
	}
	for _, tt := range faulty() {
		if len(tt.text) < 1<<12 {
			f.Add(tt.text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := iampolicy.Parse(text)
		if err != nil {
			var fault *iampolicy.DocumentError
			if d != nil || !errors.As(err, &fault) || fault.Line < 1 || fault.Column < 1 || fault.Problem == "" {
				t.Fatalf("want no document and a *DocumentError with its place, got %v and %#v", d, err)
			}
			return
		}
		plain := text
		if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "%") {
			plain, _ = url.PathUnescape(text)
		}
		if d.String() != plain {
			t.Fatalf("%q is printed as %q", text, d)
		}
		checkEdited(t, d)
		checkRead(t, d)
		// The first ones are like all others, and a long text has very many.
		for i := range min(len(d.Statements), 5) {
			checkEdits(t, d, i)
		}
	})
}

// checkRead checks what was read against what encoding/json reads.
func checkRead(t *testing.T, d *iampolicy.Document) {
	t.Helper()
	var policy struct{ Statement json.RawMessage }
	if err := json.Unmarshal([]byte(d.String()), &policy); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, d)
	}
	var statements []map[string]json.RawMessage
	if policy.Statement[0] == '{' {
		policy.Statement = []byte("[" + string(policy.Statement) + "]")
	}
	if err := json.Unmarshal(policy.Statement, &statements); err != nil {
		t.Fatal(err)
	}
	if len(statements) != len(d.Statements) {
		t.Fatalf("%d statements, encoding/json reads %d", len(d.Statements), len(statements))
	}
	for i, s := range d.Statements {
		for name, got := range map[string][]string{"Action": s.Actions, "NotAction": s.NotActions, "Resource": s.Resources, "NotResource": s.NotResources} {
			if diff := gocmp.Diff(listed(t, statements[i][name]), got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-encoding/json +Parse):\n%s", name, diff)
			}
		}
		if effect := listed(t, statements[i]["Effect"]); effect[0] != string(s.Effect) {
			t.Errorf("effect %q, encoding/json reads %q", s.Effect, effect)
		}
	}
}

// listed reads a string or a list of them with encoding/json.
func listed(t *testing.T, raw json.RawMessage) []string {
	t.Helper()
	if len(raw) == 0 {
		return nil
	}
	if raw[0] == '"' {
		raw = []byte("[" + string(raw) + "]")
	}
	var all []string
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// checkEdits makes every edit of a statement and checks that it leaves all others
// as they are.
func checkEdits(t *testing.T, d *iampolicy.Document, statement int) {
	t.Helper()
	text := d.String()
	others := func(d *iampolicy.Document) (all []iampolicy.Statement) {
		for i, s := range d.Statements {
			if i != statement {
				s.Line = 0 // they may move up
				all = append(all, s)
			}
		}
		return all
	}
	check := func(edited *iampolicy.Document, left []iampolicy.Statement) {
		t.Helper()
		checkEdited(t, edited)
		if before := others(d); !slices.EqualFunc(before, left, func(a, b iampolicy.Statement) bool { return reflect.DeepEqual(a, b) }) {
			t.Errorf("other statements have changed (-before +after):\n%s", gocmp.Diff(before, left))
		}
	}
	without := d.Without(statement)
	check(without, unnumbered(without.Statements))
	for _, effect := range []iampolicy.Effect{iampolicy.Allow, iampolicy.Deny} {
		edited := d.WithEffect(statement, effect)
		check(edited, others(edited))
		if got := edited.Statements[statement].Effect; got != effect {
			t.Errorf("effect is %q, not %q", got, effect)
		}
	}
	s := d.Statements[statement]
	for _, p := range s.Principals[:min(len(s.Principals), 5)] {
		edited := d.WithoutPrincipal(statement, p)
		if len(edited.Statements) == len(d.Statements) {
			check(edited, others(edited))
			continue
		}
		check(edited, unnumbered(edited.Statements))
		if edited.String() != without.String() {
			t.Errorf("without its last principal a statement leaves\n%s\nand not\n%s", edited, without)
		}
	}
	if d.String() != text {
		t.Errorf("an edit has changed the document itself")
	}
}

// unnumbered are statements without their lines.
func unnumbered(statements []iampolicy.Statement) []iampolicy.Statement {
	all := slices.Clone(statements)
	for i := range all {
		all[i].Line = 0
	}
	return all
}

// FuzzEdit edits documents that are made of a few choices: random text seldom has
// several statements with several principals.
func FuzzEdit(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3})
	f.Add([]byte("a document is made of a few choices, as many as there are letters here"))
	f.Fuzz(func(t *testing.T, made []byte) {
		c := choices(made)
		d := parsed(t, c.document())
		checkEdited(t, d)
		checkRead(t, d)
		var out, left []string
		var indices []int
		for i, s := range d.Statements {
			checkEdits(t, d, i)
			if c.next(2) == 1 {
				indices, out = append(indices, i), append(out, s.Sid)
			} else {
				left = append(left, s.Sid)
			}
		}
		edited := d.Without(indices...)
		checkEdited(t, edited)
		var got []string
		for _, s := range edited.Statements {
			got = append(got, s.Sid)
		}
		if diff := gocmp.Diff(left, got); diff != "" {
			t.Errorf("without %q there are (-want +got):\n%s\n%s", out, diff, edited)
		}
	})
}

// choices makes documents; when they are used up, it takes the first of all things.
type choices []byte

func (c *choices) next(n int) int {
	if len(*c) == 0 {
		return 0
	}
	b := (*c)[0]
	*c = (*c)[1:]
	return int(b) % n
}

func (c *choices) document() string {
	var statements []string
	for i := range 1 + c.next(5) {
		statements = append(statements, c.object([]string{
			c.pair("Sid", strconv.Quote(strconv.Itoa(i))), c.pair("Effect", `"Allow"`), c.pair("Action", c.oneOrMore([]string{`"sts:AssumeRole"`})),
			c.pair("Principal", c.principal()),
		}))
	}
	return c.object([]string{c.pair("Version", `"2012-10-17"`), c.pair("Statement", c.oneOrMore(statements)), c.pair("Id", `"]}"`)})
}

func (c *choices) principal() string {
	if c.next(4) == 3 {
		return `"*"`
	}
	var kinds []string
	for _, kind := range []string{"AWS", "Service", "Federated", "CanonicalUser"}[c.next(4):] {
		var names []string
		for range 1 + c.next(4) {
			names = append(names, []string{`"a"`, `"b"`, `"\u0061"`, `"*"`, `",{"`}[c.next(5)])
		}
		kinds = append(kinds, c.pair(kind, c.oneOrMore(names)))
	}
	return c.object(kinds)
}

func (c *choices) space() string {
	return []string{"", " ", "\n", "\r\n\t"}[c.next(4)]
}

func (c *choices) pair(name, value string) string {
	return strconv.Quote(name) + c.space() + ":" + c.space() + value
}

func (c *choices) object(members []string) string { return "{" + c.joined(members) + "}" }

func (c *choices) oneOrMore(values []string) string {
	if len(values) == 1 && c.next(2) == 0 {
		return values[0]
	}
	return "[" + c.joined(values) + "]"
}

func (c *choices) joined(all []string) string {
	text := c.space() + all[0]
	for _, one := range all[1:] {
		text += c.space() + "," + c.space() + one
	}
	return text + c.space()
}

package iampolicy

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// Without is the document without some of its statements, given by their
// indices; one that there is not is ignored. Without any statement left, its
// Statement is an empty list: AWS takes no such document, nor does Parse, so the
// caller must look at len(Statements).
func (d *Document) Without(statements ...int) *Document {
	out := make([]bool, len(d.Statements))
	for _, i := range statements {
		if i >= 0 && i < len(out) {
			out[i] = true
		}
	}
	if !slices.Contains(out, true) {
		return d
	}
	next := *d
	next.Statements = nil
	for i, s := range d.Statements {
		if !out[i] {
			next.Statements = append(next.Statements, s)
		}
	}
	list := d.member("Statement")
	if len(next.Statements) == 0 {
		next.text = d.replaced(list, "[]")
		return &next
	}
	next.text = cut(d.text, list, func(i int, _, _ gjson.Result) bool { return out[i] })
	next.number()
	return &next
}

// WithoutPrincipal is the document without one principal of a statement; without
// the statement if it names no other. A document whose statement does not name it
// is returned as it is. A NotPrincipal is never touched: to take one out of it
// would let in whom it names.
func (d *Document) WithoutPrincipal(statement int, p StatementPrincipal) *Document {
	if statement < 0 || statement >= len(d.Statements) || !slices.Contains(d.Statements[statement].Principals, p) {
		return d
	}
	left := slices.DeleteFunc(slices.Clone(d.Statements[statement].Principals), func(other StatementPrincipal) bool { return other == p })
	if len(left) == 0 {
		return d.Without(statement)
	}
	next, s := d.with(statement)
	s.Principals = left
	// Since it names others too, its Principal is an object.
	_, kinds := member(d.statement(statement), "Principal")
	if slices.ContainsFunc(left, func(other StatementPrincipal) bool { return other.Kind == p.Kind }) {
		_, list := member(kinds, p.Kind)
		next.text = cut(d.text, list, func(_ int, _, v gjson.Result) bool { return v.Str == p.Value })
	} else {
		next.text = cut(d.text, kinds, func(_ int, kind, _ gjson.Result) bool { return kind.Str == p.Kind })
	}
	next.number()
	return next
}

// WithEffect is the document with another effect of one statement. A statement
// that there is not, and an effect that is neither Allow nor Deny, change nothing.
func (d *Document) WithEffect(statement int, e Effect) *Document {
	if statement < 0 || statement >= len(d.Statements) || e != Allow && e != Deny || d.Statements[statement].Effect == e {
		return d
	}
	next, s := d.with(statement)
	s.Effect = e
	_, effect := member(d.statement(statement), "Effect")
	next.text = d.replaced(effect, `"`+string(e)+`"`)
	return next
}

// with is a copy of the document and the one of its statements that is to change.
func (d *Document) with(statement int) (*Document, *Statement) {
	next := *d
	next.Statements = slices.Clone(d.Statements)
	return &next, &next.Statements[statement]
}

// statement is one of the statements in the text.
func (d *Document) statement(index int) gjson.Result {
	for i, v := range values(d.member("Statement")) {
		if i == index {
			return v
		}
	}
	return gjson.Result{}
}

// replaced is the text with something else in a value's place.
func (d *Document) replaced(v gjson.Result, by string) string {
	return d.text[:v.Index] + by + d.text[v.Index+len(v.Raw):]
}

// cut takes some of a list's or an object's members out of a text, each with the
// comma and the white space that part it from the one before it, or from the next
// one if it is the first. One of them at least has to stay.
func cut(text string, from gjson.Result, out func(i int, name, v gjson.Result) bool) string {
	var b strings.Builder
	i, kept, end := 0, 0, 0
	for name, v := range from.ForEach {
		start := v.Index
		if from.IsObject() {
			start = name.Index
		}
		if i == 0 {
			b.WriteString(text[:start])
		}
		if !out(i, name, v) {
			if kept == 0 {
				end = start
			}
			b.WriteString(text[end : v.Index+len(v.Raw)])
			kept++
		}
		end = v.Index + len(v.Raw)
		i++
	}
	b.WriteString(text[end:])
	return b.String()
}

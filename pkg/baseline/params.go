package baseline

import (
	"errors"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// decoded are the params of one control or runbook, kept until the whole file is
// found to be without errors.
type decoded struct {
	params reflect.Value // the struct that its Params points to
	value  reflect.Value // what is to be put there
}

// params decodes the params of a control or a runbook and returns its pointer to
// them, or nil if they can't be read. The domains that use a control get the
// same as the one that it belongs to.
func (p *parser) params(k *kind, id string, key, n *yaml.Node) any {
	if isGlob(id) {
		p.errorf(key, "the glob %s takes no params: give them to each %s by its ID", quote(id), k.word)
		return nil
	}
	r := k.rule(id)
	if r == nil {
		return nil // Reported as unknown, or another domain's.
	}
	if len(r.params) == 0 {
		p.errorf(key, "the %s %s takes no parameters: remove params", k.word, id)
		return nil
	}
	pointers, ok := p.pointers(k, r, key)
	if !ok {
		return nil
	}
	before := p.errors
	value := reflect.New(pointers[0].Type().Elem())
	value.Elem().Set(pointers[0].Elem())
	p.structure(n, "params", value.Elem())
	if p.errors > before {
		return nil
	}
	if v, ok := value.Interface().(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			p.errorf(n, "the params of %s don't fit together: %v", id, err)
		}
	}
	for _, pointer := range pointers {
		p.decoded = append(p.decoded, decoded{pointer.Elem(), value.Elem()})
	}
	return r.params[0]
}

// pointers returns the pointers to the params of a rule, or reports that they
// are not all pointers to one struct.
func (p *parser) pointers(k *kind, r *rule, key *yaml.Node) ([]reflect.Value, bool) {
	pointers := make([]reflect.Value, len(r.params))
	for i, params := range r.params {
		pointer := reflect.ValueOf(params)
		if pointer.Kind() != reflect.Pointer || pointer.IsNil() || pointer.Elem().Kind() != reflect.Struct || pointer.Type() != reflect.TypeOf(r.params[0]) {
			p.errorf(key, "the %s %s keeps its params in a %T, which is a fault of Snapback: report it, and remove params until it is mended", k.word, r.id, params)
			return nil, false
		}
		pointers[i] = pointer
	}
	return pointers, true
}

// structure decodes a mapping into a struct whose fields name their keys in
// `yaml` tags (inline is not supported). Keys that are missing leave their
// fields alone.
func (p *parser) structure(n *yaml.Node, name string, to reflect.Value) {
	var fields []field
	for i := range to.NumField() {
		f := to.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || key == "-" {
			continue
		}
		if key == "" {
			key = strings.ToLower(f.Name)
		}
		fields = append(fields, field{key: key, read: func(_, v *yaml.Node) { p.value(v, key, to.Field(i)) }})
	}
	p.mapping(n, name, fields)
}

// value decodes a node into what a param is made of. It is stricter than the
// YAML library where that guesses: a yes is no true, a 010 no number.
func (p *parser) value(n *yaml.Node, name string, to reflect.Value) {
	t := to.Type()
	if t == reflect.TypeFor[time.Duration]() || t == reflect.TypeFor[time.Time]() || reflect.PointerTo(t).Implements(reflect.TypeFor[yaml.Unmarshaler]()) {
		p.load(n, name, to)
		return
	}
	switch to.Kind() {
	case reflect.Struct:
		p.structure(n, name, to)
	case reflect.Slice:
		p.values(n, name, to)
	case reflect.String:
		s, _ := p.text(n, name)
		to.SetString(s)
	case reflect.Bool:
		p.truth(n, name, to)
	case reflect.Int, reflect.Int64:
		p.number(n, name, to)
	default:
		p.load(n, name, to)
	}
}

func (p *parser) truth(n *yaml.Node, name string, to reflect.Value) {
	if n.Tag != boolTag {
		p.errorf(n, "%s is %s: want true or false", name, describe(n))
		return
	}
	to.SetBool(strings.EqualFold(n.Value, "true"))
}

func (p *parser) number(n *yaml.Node, name string, to reflect.Value) {
	i, ok := wholeNumber(n, to.Type().Bits())
	if !ok {
		p.errorf(n, "%s is %s: want a whole number", name, describe(n))
		return
	}
	to.SetInt(i)
}

// values decodes a list. It makes a new one: that of the defaults is shared
// with the control.
func (p *parser) values(n *yaml.Node, name string, to reflect.Value) {
	made := reflect.MakeSlice(to.Type(), 0, len(n.Content))
	p.list(n, name, func(item *yaml.Node) {
		v := reflect.New(to.Type().Elem()).Elem()
		p.value(item, "an item of "+name, v)
		made = reflect.Append(made, v)
	})
	to.Set(made)
}

// load leaves a value to the YAML library. It starts from nothing: a map or
// pointer of the defaults is shared with the control.
func (p *parser) load(n *yaml.Node, name string, to reflect.Value) {
	to.SetZero()
	err := n.Load(to.Addr().Interface(), yaml.WithKnownFields())
	if err == nil {
		return
	}
	if to.Type() == reflect.TypeFor[time.Duration]() {
		p.errorf(n, "%s is %s: want a duration such as 36h", name, describe(n))
		return
	}
	for _, fault := range loadErrors(err) {
		at := n
		if fault.Mark.Line > 0 {
			at = &yaml.Node{Line: fault.Mark.Line, Column: fault.Mark.Column}
		}
		p.errorf(at, "%s can't be read: %s", name, fault.Message)
	}
}

// loadErrors returns the faults that the YAML library found, one by one.
func loadErrors(err error) []*yaml.LoadError {
	var many *yaml.LoadErrors
	if errors.As(err, &many) {
		return many.Errors
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		return []*yaml.LoadError{one}
	}
	return []*yaml.LoadError{{Message: err.Error()}}
}

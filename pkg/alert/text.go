package alert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of an e-mail's parts, in characters.
const (
	width       = 60 // a phone held upright
	maxSentence = 600
	maxName     = 200
	maxWord     = 20 // an account, the type of an actor
	maxAgent    = 120
	maxEntries  = 20 // of all changes
	indent      = "          "
)

// raw is JSON that is passed on as it is; empty becomes null.
type raw json.RawMessage

// MarshalJSON returns the JSON itself; what is none, as text, so that the alert
// is still sent.
func (r raw) MarshalJSON() ([]byte, error) {
	switch {
	case len(r) == 0:
		return []byte("null"), nil
	case !json.Valid(r):
		return json.Marshal(string(r))
	}
	return r, nil
}

// UnmarshalJSON keeps the JSON as it is.
func (r *raw) UnmarshalJSON(data []byte) error {
	*r = bytes.Clone(data)
	return nil
}

// clean makes text that an attacker can choose harmless: control and
// direction characters are shown by their codes, addresses are broken so that
// no mail program makes them a link, and what is then longer than most
// characters is cut.
func clean(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ReplaceAll(s, "://", "[:]//") {
		shown := string(r)
		if !unicode.IsPrint(r) {
			shown = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if n += utf8.RuneCountInString(shown); n > most {
			b.WriteString("…")
			break
		}
		b.WriteString(shown)
	}
	return b.String()
}

// wrap breaks a paragraph at spaces into lines of at most width characters,
// each begun with the prefix. Words longer than that stay whole.
func wrap(s, prefix string) string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && len([]rune(prefix+line+" "+word)) > width {
			lines = append(lines, prefix+line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, prefix+line), "\n")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// difference lists the fields that differ between two JSON objects, one entry
// each, indented, at most so many; a missing object has no fields.
func difference(before, after raw, most int) []string {
	var old, now map[string]json.RawMessage
	if json.Unmarshal(orNull(before), &old) != nil || json.Unmarshal(orNull(after), &now) != nil {
		return []string{entry("state", json.RawMessage(before), json.RawMessage(after))}
	}
	keys := slices.Collect(maps.Keys(old))
	for k := range now {
		if _, ok := old[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var entries []string
	for _, k := range keys {
		if canonical(old[k]) != canonical(now[k]) {
			entries = append(entries, entry(clean(k, maxName), old[k], now[k]))
		}
	}
	if len(entries) > most {
		entries = append(entries[:most], fmt.Sprintf("  … and %d more", len(entries)-most))
	}
	return entries
}

func orNull(r raw) []byte {
	if len(r) == 0 {
		return []byte("null")
	}
	return r
}

// entry shows a field before and after, on one line if it fits. What both
// begin with is left out where they are too long to be shown whole.
func entry(name string, before, after json.RawMessage) string {
	old, now := []rune(value(before)), []rune(value(after))
	if max(len(old), len(now)) > maxName {
		same := 0
		for same < min(len(old), len(now)) && old[same] == now[same] {
			same++
		}
		const lead = 20 // of what is the same, so that one sees where it is
		if same > 2*lead {
			old, now = append([]rune("…"), old[same-lead:]...), append([]rune("…"), now[same-lead:]...)
		}
	}
	was, is := clean(string(old), maxName), clean(string(now), maxName)
	if line := fmt.Sprintf("  %s: %s -> %s", name, was, is); len([]rune(line)) <= width {
		return line
	}
	return fmt.Sprintf("  %s:\n    was %s\n    now %s", name, was, is)
}

// value is one JSON value for people.
func value(v json.RawMessage) string {
	switch c := canonical(v); c {
	case "", "null":
		return "not set"
	case "true":
		return "on"
	case "false":
		return "off"
	default:
		var text string
		if json.Unmarshal(v, &text) == nil {
			return text
		}
		return c
	}
}

// canonical is JSON in one form, whatever its white space, escapes and order
// of fields, so that equal values are equal texts.
func canonical(v json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(v))
	d.UseNumber()
	var decoded any
	if !json.Valid(v) || d.Decode(&decoded) != nil {
		return string(v)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(decoded) != nil {
		return string(v)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

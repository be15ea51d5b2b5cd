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
)

// The bounds of an e-mail's parts, in characters.
const (
	width       = 60 // a phone held upright
	maxSentence = 600
	maxName     = 200
	maxAgent    = 120
	maxLines    = 20 // of one change
	indent      = "          "
)

// raw is JSON that is passed on as it is; empty becomes null.
type raw json.RawMessage

// MarshalJSON returns the JSON itself.
func (r raw) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
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
// no mail program makes them a link, and what is longer than most is cut.
func clean(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	s = strings.ReplaceAll(s, "://", "[:]//")
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
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

// difference lists the fields that differ between two JSON objects, one line
// each; a missing object has no fields.
func difference(before, after raw) []string {
	var old, now map[string]json.RawMessage
	if json.Unmarshal(orNull(before), &old) != nil || json.Unmarshal(orNull(after), &now) != nil {
		return []string{"before: " + value(json.RawMessage(before)), "after:  " + value(json.RawMessage(after))}
	}
	keys := slices.Collect(maps.Keys(old))
	for k := range now {
		if _, ok := old[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var lines []string
	for _, k := range keys {
		if !bytes.Equal(old[k], now[k]) {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", clean(k, maxName), value(old[k]), value(now[k])))
		}
	}
	if len(lines) > maxLines {
		lines = append(lines[:maxLines], fmt.Sprintf("… and %d more", len(lines)-maxLines))
	}
	return lines
}

func orNull(r raw) []byte {
	if len(r) == 0 {
		return []byte("null")
	}
	return r
}

// value prints one JSON value for people.
func value(v json.RawMessage) string {
	switch s := string(v); s {
	case "", "null":
		return "not set"
	case "true":
		return "on"
	case "false":
		return "off"
	default:
		var text string
		if json.Unmarshal(v, &text) == nil {
			s = text
		}
		return clean(s, maxName)
	}
}

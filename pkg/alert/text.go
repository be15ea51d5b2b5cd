package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
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
// no mail program makes them a link, JSON is left out, and what is then longer
// than most characters is cut.
func clean(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range withoutJSON(strings.ReplaceAll(s, "://", "[:]//")) {
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

// openings are how JSON objects and lists begin that are more than a bracket in
// a sentence.
var openings = regexp.MustCompile(`\{\s*["}]|\[\s*["{\[\]]`)

// withoutJSON puts an ellipsis for each JSON object and list in a text, or for
// its first bracket where it does not end: an attacker must not hide what
// follows. Of a text longer than any e-mail shows, it returns the beginning.
func withoutJSON(s string) string {
	const window = 8 << 10 // bytes
	whole := len(s) <= window
	s = s[:min(len(s), window)]
	var b strings.Builder
	for tries := 0; ; {
		var at []int
		if strings.ContainsAny(s, "{[") { // which is faster
			at = openings.FindStringIndex(s)
		}
		if at == nil {
			return b.String() + s
		}
		b.WriteString(s[:at[0]] + "…")
		s = s[at[0]:]
		skip := 1
		if tries < 10 { // each may read to the end of the text
			d := json.NewDecoder(strings.NewReader(s))
			var found json.RawMessage
			switch err := d.Decode(&found); {
			case err == nil:
				skip = int(d.InputOffset())
			case !whole && errors.Is(err, io.ErrUnexpectedEOF):
				return b.String() // it goes on where the text was cut
			}
			tries++
		}
		s = s[skip:]
	}
}

// bare are the texts that a shell takes for themselves.
var bare = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// word is a value in a command, quoted for a POSIX shell. What can't be shown as
// it is can't be copied either: the placeholder stands for it.
func word(s, placeholder string) string {
	const longest = 1000 // bytes; an exemption's resource has at most 900
	quoted := s
	if !bare.MatchString(s) {
		quoted = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	if s == "" || len(quoted) > longest || !utf8.ValidString(s) || clean(s, longest) != s {
		return placeholder
	}
	return quoted
}

// wrap breaks a text at spaces into lines of at most width characters, each
// begun with the prefix. Words longer than that stay whole.
func wrap(s, prefix string) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && length(prefix+line+" "+word) > width {
			lines = append(lines, prefix+line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, prefix+line)
}

// hanging wraps a text whose first line begins with one prefix and all others
// with another one, which is as long or longer.
func hanging(first, others, s string) []string {
	lines := wrap(s, others)
	lines[0] = first + strings.TrimPrefix(lines[0], others)
	return lines
}

// cut keeps the first lines, and says so if there were more.
func cut(lines []string, most int) []string {
	if len(lines) <= most {
		return lines
	}
	lines = lines[:max(most, 0)]
	if most > 0 {
		last := lines[most-1]
		if at := strings.LastIndexByte(last, ' '); length(last)+2 > width && strings.TrimSpace(last[:max(at, 0)]) != "" {
			last = last[:at]
		}
		lines[most-1] = last + " …"
	}
	return lines
}

func length(s string) int { return utf8.RuneCountInString(s) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// The bounds of a file. A baseline of a thousand exemptions is some 200 KiB;
// its own keys nest five deep, params a little deeper.
const (
	maxSize  = 1 << 20
	maxDepth = 20
)

// document reads the file's one YAML document into nodes. It is nil if there
// is none.
func (p *parser) document(data []byte) *yaml.Node {
	if len(data) > maxSize {
		p.problem(1, 1, fmt.Sprintf("the file is %d bytes long: a baseline file may hold at most %d", len(data), maxSize), false)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if line, column, why := unreadable(data); why != "" {
		p.problem(line, column, why, false)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthFunc(checkDepth))))
	if err != nil {
		p.problem(1, 1, err.Error(), false)
		return nil
	}
	var document, second yaml.Node
	switch err := loader.Load(&document); {
	case errors.Is(err, io.EOF) || err == nil && isNull(document.Content[0]):
		p.problem(1, 1, "the file is empty: start from the baseline.yaml that Snapback ships", false)
		return nil
	case err != nil:
		p.notYAML(err, data)
		return nil
	}
	switch err := loader.Load(&second); {
	case err == nil:
		p.errorf(&second, "a second YAML document begins here: put everything into one and remove this line")
	case !errors.Is(err, io.EOF):
		p.notYAML(err, data)
	}
	return document.Content[0]
}

func checkDepth(depth int, _ *yaml.DepthContext) error {
	if depth > maxDepth {
		return fmt.Errorf("it is nested deeper than the %d levels that a baseline file may have", maxDepth)
	}
	return nil
}

// notYAML reports a fault that the YAML library found.
func (p *parser) notYAML(err error, data []byte) {
	var fault *yaml.LoadError
	if !errors.As(err, &fault) {
		p.problem(1, 1, "this can't be read as YAML: "+err.Error(), false)
		return
	}
	lines := bytes.Split(data, []byte("\n"))
	line, column := within(lines, fault.Mark) // as it is told in the message, too
	cause := fault.Mark
	message := "this can't be read as YAML: " + fault.Message
	if fault.ContextMsg != "" {
		cause = fault.ContextMark
		message += " " + fault.ContextMsg
		if l, c := within(lines, cause); l != line || c != column {
			message += fmt.Sprintf(" that begins at %d:%d", l, c)
		}
	}
	if hint := hints[characterAt(lines, cause)]; hint != "" {
		message += "; " + hint
	}
	p.problem(line, column, message, false)
}

// hints say what is meant by a character that YAML stumbles over.
var hints = map[rune]string{
	'*':  `if this is a glob, quote it: "*"`,
	'@':  "quote a value that begins with @",
	'`':  "quote a value that begins with `",
	'%':  "quote a value that begins with %",
	':':  "quote a value that holds a colon and a blank, and see whether the line is indented too far",
	'\t': "indent with spaces, not with tabs",
}

// within moves a mark into the file: the library puts the end of a file that
// lacks its last line break on the line after it.
func within(lines [][]byte, mark yaml.Mark) (line, column int) {
	if mark.Line > len(lines) {
		return len(lines), utf8.RuneCount(lines[len(lines)-1]) + 1
	}
	return max(mark.Line, 1), max(mark.Column, 1)
}

func characterAt(lines [][]byte, mark yaml.Mark) rune {
	if mark.Line < 1 || mark.Line > len(lines) {
		return 0
	}
	text := []rune(string(lines[mark.Line-1]))
	if mark.Column < 1 || mark.Column > len(text) {
		return 0
	}
	return text[mark.Column-1]
}

// unreadable finds the first character that would let a reviewer see another
// file than the parser reads: what YAML takes for a line break and an editor
// does not, and what changes the direction of writing. It also finds what is
// no text at all.
func unreadable(data []byte) (line, column int, why string) {
	line, column = 1, 1
	for i := 0; i < len(data); {
		r, size := rune(data[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(data[i:])
		}
		if why := refuse(r, size, data[i+size:]); why != "" {
			return line, column, why
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		i += size
	}
	return 0, 0, ""
}

func refuse(r rune, size int, rest []byte) string {
	switch {
	case r == utf8.RuneError && size == 1:
		return "this byte is not UTF-8: save the file as UTF-8 text"
	case r == '\n' || r == '\t' || r >= ' ' && r < 0x7F:
		return ""
	case r == '\r' && bytes.HasPrefix(rest, []byte("\n")):
		return ""
	case unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r):
		return fmt.Sprintf("the invisible character %U can hide lines from a reviewer: remove it", r)
	}
	return ""
}

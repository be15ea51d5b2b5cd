package baseline_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/snapback-aws/snapback/pkg/baseline"
)

func FuzzParse(f *testing.F) {
	f.Add(read(f, "..", "..", "baseline.yaml"))
	f.Add([]byte(decideFile))
	for _, folder := range []string{"good", "warnings", "faults"} {
		for _, path := range files(f, folder) {
			f.Add(read(f, path))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, problems := baseline.Parse("b.yaml", data, testControls(), now)
		if (b == nil) != (problems.Err() != nil) {
			t.Fatalf("baseline: %v, problems: %v", b != nil, problems)
		}
		lines := strings.Split(string(data), "\n")
		last := baseline.Problem{}
		for _, p := range problems {
			if p.Line < 1 || p.Line > len(lines) || p.Column < 1 || p.Column > utf8.RuneCountInString(lines[p.Line-1])+1 {
				t.Errorf("not within the file: %s", p)
			}
			if p.Line < last.Line || p.Line == last.Line && p.Column < last.Column {
				t.Errorf("out of order: %s after %s", p, last)
			}
			if p.Message == "" || strings.ContainsAny(p.Message, "\r\n") {
				t.Errorf("not one line: %q", p.Message)
			}
			last = p
		}
	})
}

package event_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/event"
)

// addSamples adds the sample events and the test records as seeds.
func addSamples(f *testing.F) {
	f.Helper()
	for _, folder := range []string{samples, filepath.Join("testdata", "records")} {
		for _, path := range walk(f, folder) {
			f.Add(read(f, folder, path))
		}
	}
}

func FuzzDecode(f *testing.F) {
	addSamples(f)
	f.Add([]byte(record("a")))
	f.Add(bytes.Repeat([]byte("["), 200))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, decode := range []func([]byte) (*event.Event, error){event.Decode, event.DecodeAny} {
			e, err := decode(data)
			if err != nil {
				var fault *event.FieldError
				if !errors.As(err, &fault) || e != nil {
					t.Fatalf("want no event and a *FieldError, got %v and %v", e, err)
				}
				continue
			}
			checkEvent(t, e)
			if utf8.Valid(data) { // what is not becomes a replacement character in the envelope
				checkRaw(t, e)
			}
		}
	})
}

// checkSource checks that an event is taken for nothing that its source can't send.
func checkSource(t *testing.T, e *event.Event) {
	t.Helper()
	ok := strings.HasPrefix(e.Source, "aws.")
	switch e.Detail.(type) {
	case *event.Other:
		ok = true
	case *event.Canary:
		ok = e.Source == event.DrillSource
	}
	if !ok {
		t.Errorf("an event from %q is taken for a %T", e.Source, e.Detail)
	}
}

// checkEvent checks what holds for every event that was decoded.
func checkEvent(t *testing.T, e *event.Event) {
	t.Helper()
	accounts := []string{e.Account}
	named := []string{e.ID, e.Source, e.DetailType, e.Region}
	switch d := e.Detail.(type) {
	case *event.Call:
		accounts, named = append(accounts, d.Account), append(named, d.Source, d.Name, d.Region)
	case *event.Item:
		accounts, named = append(accounts, d.Account), append(named, d.Region, d.Type, d.ID)
	case *event.Compliance:
		accounts, named = append(accounts, d.Account), append(named, d.Region, d.Type, d.ID)
	case *event.Finding:
		accounts, named = append(accounts, d.Account), append(named, d.Region, d.Type, d.ID, d.Resource())
		checkNamed(t, d)
	case *event.Canary, *event.Other:
		if e.Dismiss() == "" {
			t.Errorf("an event of a kind that no control reads is a reason to look: %T", d)
		}
	default:
		t.Errorf("the detail is a %T", d)
	}
	checkSource(t, e)
	for _, account := range accounts {
		if len(account) != 12 || strings.Trim(account, "0123456789") != "" {
			t.Errorf("account is %q", account)
		}
	}
	for i, s := range named {
		if s == "" {
			t.Errorf("name %d of those that must be there is empty", i)
		}
	}
	if _, err := e.Time.MarshalJSON(); err != nil {
		t.Errorf("time can't be written down: %v", err)
	}
}

// checkNamed checks that what a finding names has the shape of an ID.
func checkNamed(t *testing.T, f *event.Finding) {
	t.Helper()
	for _, id := range f.Groups() {
		if !strings.HasPrefix(id, "sg-") || strings.Trim(id[3:], "0123456789abcdef") != "" {
			t.Errorf("group is %q", id)
		}
	}
	for _, c := range f.Credentials() {
		if s := c.Type + c.Name + c.Principal + c.Key; s == "" || strings.ContainsAny(s, "/* \n\x00") {
			t.Errorf("credentials are %+v", c)
		}
	}
	for _, in := range f.Instances() {
		if !strings.HasPrefix(in.ID, "i-") || strings.Trim(in.ID[2:], "0123456789abcdef") != "" || in.Account != "" && !event.IsAccount(in.Account) {
			t.Errorf("instance is %+v", in)
		}
	}
}

// checkRaw checks that the envelope as JSON is the same event again.
func checkRaw(t *testing.T, e *event.Event) {
	t.Helper()
	again, err := event.Decode(e.Raw())
	var fault *event.FieldError
	if errors.As(err, &fault) && fault.Field == "" && !strings.Contains(err.Error(), "JSON") {
		return // a record that is just short or flat enough, before the envelope is put around it
	}
	if err != nil {
		t.Fatalf("the envelope does not decode: %v\n%s", err, e.Raw())
	}
	if diff := gocmp.Diff(identify(e), identify(again)); diff != "" {
		t.Errorf("the envelope decodes to another event (-event +envelope):\n%s", diff)
	}
}

func FuzzRead(f *testing.F) {
	addSamples(f)
	a, b, e := record("a"), record("b"), envelope("e")
	for _, seed := range []string{
		`{"Records":[` + a + "," + b + `],"x":{}}`, `{"v":1,"Records":[` + a + `]}`, "[1," + a + `,"x",` + e + "]",
		a + "\r\n\r\n" + e + "\n", a[:80] + "\n" + b, "\uFEFF" + e, zip(f, a+b), zip(f, a)[:20], "hello\n" + a, "[[" + a + "]]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2 && data[0] == 0x1f && data[1] == 0x8b && len(data) > 1<<12 {
			t.Skip("may unpack to very much")
		}
		// Each yield but the last takes at least one byte, gzipped a thousandth of one.
		most := 1100*len(data) + 1
		n := 0
		for e, err := range event.Read(bytes.NewReader(data)) {
			if (e == nil) == (err == nil) {
				t.Fatalf("yielded event %v and error %v", e, err)
			}
			if e != nil {
				checkEvent(t, e)
			}
			if n++; n > most {
				t.Fatalf("%d yields from %d bytes", n, len(data))
			}
		}
	})
}

func FuzzMatcher(f *testing.F) {
	sample := read(f, samples, "cloudtrail/s3-put-bucket-policy.json")
	for _, p := range rulerPatterns() {
		for _, path := range walk(f, samples) {
			f.Add(p.String(), read(f, samples, path))
		}
	}
	for _, p := range []string{
		`{"x":["a"],"x":{"y":["b"]}}`, `{"$or":[{"x":["a"]},{"y":["a"]}]}`, `{"detail":{"a.b":["x"]}}`, `{"":["x"]}`,
		`{"detail":{"userIdentity":{"type":["AssumedRole"]}}}`, `{"a":["\ud800"]}`, `{"a":[{"prefix":"x"}]}`,
	} {
		f.Add(p, sample)
	}
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		p, err := event.ParsePattern(text)
		if err != nil {
			return
		}
		back, err := event.ParsePattern(p.String())
		if err != nil {
			t.Fatalf("what String printed is refused: %v\n%s", err, p)
		}
		if diff := gocmp.Diff(sorted(p), sorted(back)); diff != "" {
			t.Errorf("read back as another pattern (-read +again):\n%s", diff)
		}
		e, err := event.DecodeAny(data)
		if err != nil {
			return
		}
		if one, other := p.Matcher().Match(e), back.Matcher().Match(e); one != other {
			t.Errorf("the pattern matches: %t; read back: %t", one, other)
		}
	})
}

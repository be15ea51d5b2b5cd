package event_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/snapback-aws/snapback/pkg/event"
)

// record is a bare CloudTrail record on one line.
func record(id string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::222222222222:user/a\"{[","userName":"a\"{["},`+
		`"eventTime":"2026-11-22T01:00:00Z","eventSource":"s3.amazonaws.com","eventName":"PutBucketAcl","awsRegion":"eu-west-1",`+
		`"requestParameters":{"list":[[],{},[{"x":"]}\\"}]]},"eventID":%q,"recipientAccountId":"222222222222"}`, id)
}

// envelope is an EventBridge event on one line.
func envelope(id string) string {
	return fmt.Sprintf(`{"version":"0","id":%q,"detail-type":"Order Paid","source":"com.example.shop","account":"222222222222",`+
		`"time":"2026-11-22T01:00:00Z","region":"eu-west-1","resources":[],"detail":{"order":"4711"}}`, id)
}

// indented is JSON as people write it.
func indented(t testing.TB, data string) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(data), "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func zip(t testing.TB, data string) string {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// readAll returns what Read yields, one line each: the ID of an event or an
// error after "! ".
func readAll(r io.Reader) []string {
	yields := []string{}
	for e, err := range event.Read(r) {
		switch {
		case err != nil && e != nil:
			yields = append(yields, "an event and an error")
		case err != nil:
			yields = append(yields, "! "+err.Error())
		default:
			yields = append(yields, e.ID)
		}
	}
	return yields
}

func TestEventsAreReadInEveryForm(t *testing.T) {
	a, b, e := record("a"), record("b"), envelope("e")
	log := `{"Records":[` + a + "," + b + `]}`
	for _, tt := range []struct {
		name, input string
		want        []string
	}{
		{"nothing", "", nil},
		{"white space", " \r\n\t\n", nil},
		{"envelope", e, []string{"e"}},
		{"indented envelope", indented(t, e) + "\n", []string{"e"}},
		{"bare record", a, []string{"a"}},
		{"log file", log, []string{"a", "b"}},
		{"indented log file", indented(t, log), []string{"a", "b"}},
		{"log file with blanks everywhere", "\r\n { \t\"Records\" \n : \r\n [ " + a + " , " + b + " ] } \n", []string{"a", "b"}},
		{"log file with many blanks before the list", "{" + strings.Repeat(" ", 100) + `"Records":[` + a + "," + b + "]}", []string{"a", "b"}},
		{"log file of no records", `{"Records":[]}`, nil},
		{"log file of one record", `{"Records":[` + a + `]}`, []string{"a"}},
		{"log file whose records come later", `{"version":"1","Records":[` + a + "," + b + `]}`, []string{"a", "b"}},
		{"log file with something after the list", `{"Records":[` + a + `],"more":{"x":["]}",{}]},"Records2":[]}` + "\n" + b, []string{"a", "b"}},
		{"log files one after another", log + "\n" + log + e, []string{"a", "b", "a", "b", "e"}},
		{"list", "[" + a + "," + e + "]", []string{"a", "e"}},
		{"empty list", "[]", nil},
		{"lists in a list", "[[" + a + "],[],[[" + e + "]]," + b + "]", []string{"a", "e", "b"}},
		{"indented list", indented(t, "["+a+","+e+"]"), []string{"a", "e"}},
		{"lists one after another", "[" + a + "]\n[" + e + "]", []string{"a", "e"}},
		{"JSON lines", a + "\n" + e + "\n" + b + "\n", []string{"a", "e", "b"}},
		{"JSON lines without an end of line", a + "\n" + e, []string{"a", "e"}},
		{"JSON lines of Windows", a + "\r\n" + e + "\r\n", []string{"a", "e"}},
		{"JSON lines with a byte order mark", "\uFEFF" + a + "\r\n" + e + "\r\n", []string{"a", "e"}},
		{"JSON lines with blank lines", "\n\n" + a + "\n\n \n" + e + "\n\n", []string{"a", "e"}},
		{"values one after another", a + e + b, []string{"a", "e", "b"}},
		{"indented values one after another", indented(t, a) + indented(t, e), []string{"a", "e"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == nil {
				tt.want = []string{}
			}
			for form, input := range map[string]string{"plain": tt.input, "gzipped": zip(t, tt.input)} {
				if diff := cmp.Diff(tt.want, readAll(strings.NewReader(input))); diff != "" {
					t.Errorf("%s (-want +got):\n%s", form, diff)
				}
			}
		})
	}
}

func TestDamageCostsNoMoreThanWhatIsDamaged(t *testing.T) {
	a, b, e := record("a"), record("b"), envelope("e")
	half := a[:len(a)/2]
	unfit := `{"id":"x"}`
	faulty := func(at int) string {
		return fmt.Sprintf(`! at byte %d: event field "source" is missing or no text: an EventBridge event always has it`, at)
	}
	found := func(at int, what rune) string {
		return fmt.Sprintf("! at byte %d: want a JSON object, found %q", at, what)
	}
	cut := func(at int) string {
		return fmt.Sprintf("! at byte %d: event is cut off: what follows it can't be part of it", at)
	}
	for _, tt := range []struct {
		name, input string
		want        []string
	}{
		{"a faulty line", a + "\n" + unfit + "\n" + b, []string{"a", faulty(len(a) + 1), "b"}},
		{"a faulty record", `{"Records":[` + a + "," + unfit + "," + b + "]}", []string{"a", faulty(13 + len(a)), "b"}},
		{"a faulty record in a log file whose records come later", `{"v":1,"Records":[` + a + "," + unfit + "," + b + "]}", []string{
			"a", `! in the value at byte 0: event field "source" is missing or no text: an EventBridge event always has it`, "b",
		}},
		{"a line that is no JSON", a + "\n{\"id\":nonsense}\n" + b, []string{
			"a", fmt.Sprintf("! at byte %d: event is not JSON: invalid character 'o' in literal null (expecting 'u') at byte 8", len(a)+1), "b",
		}},
		{"a line of text", "hello {world}\n" + a, []string{found(0, 'h'), "a"}},
		{"a last line of text", a + "\nbye", []string{"a", found(len(a)+1, 'b')}},
		{"a line with an odd quote", "it's 5\" long\n" + a, []string{found(0, 'i'), "a"}},
		{"a scalar in a list", "[1, " + a + ", null, \"{[\\\"\", " + b + "]", []string{found(1, '1'), "a", found(6+len(a), 'n'), "b"}},
		{"a scalar at a list's end", "[" + a + ",1]\n" + b, []string{"a", found(2+len(a), '1'), "b"}},
		{"a text with an odd quote in a list", "[\n5\" long\n" + a + "]", []string{found(2, '5'), "a"}},
		{"a stray bracket", a + "\n]\n" + b, []string{"a", found(len(a)+1, ']'), "b"}},
		{"a line that was cut off", a + "\n" + half + "\n" + b, []string{"a", cut(len(a) + 1), "b"}},
		{"a line that was cut off in a text", a + "\n" + `{"id":"x` + "\n" + b, []string{"a", cut(len(a) + 1), "b"}},
		{"a line without its last bracket", a[:len(a)-1] + "\n" + b, []string{cut(0), "b"}},
		{"a record that was cut off in a list", "[\n" + half + "\n,\n" + b + ",\n" + e + "\n]", []string{cut(2), "b", "e"}},
		{"the input ends within a value", a + half, []string{"a", fmt.Sprintf("! at byte %d: the input ends within a value", len(a))}},
		{"the input ends within a list", "[" + a + ",", []string{"a", fmt.Sprintf("! at byte %d: the input ends within a list", len(a)+2)}},
		{"the input ends after the list", `{"Records":[` + a + "]", []string{
			"a", fmt.Sprintf("! at byte %d: after the Records: the input ends within a value", len(a)+13),
		}},
		{"nested too deep", strings.Repeat(`{"x":`, 200) + "1" + strings.Repeat("}", 200) + a, []string{
			"! at byte 0: event is nested deeper than 100 levels", "a",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, readAll(strings.NewReader(tt.input))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordThatIsTooLongIsPassedOver(t *testing.T) {
	long := `{"eventID":"` + strings.Repeat("x", event.MaxSize) + `"}`
	for name, input := range map[string]string{
		"lines":    record("a") + "\n" + long + "\n" + record("b"),
		"list":     "[" + record("a") + "," + long + "," + record("b") + "]",
		"log file": `{"Records":[` + record("a") + "," + long + "," + record("b") + "]}",
	} {
		got := readAll(strings.NewReader(input))
		want := fmt.Sprintf("! at byte %d: event is longer than 1048576 bytes", strings.Index(input, `{"eventID":"xx`))
		if diff := cmp.Diff([]string{"a", want, "b"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	longest := strings.Replace(record("a"), "{", "{"+strings.Repeat(" ", event.MaxSize-len(record("a"))), 1)
	if diff := cmp.Diff([]string{"a", "b"}, readAll(strings.NewReader(longest+record("b")))); diff != "" {
		t.Errorf("a record of the greatest length (-want +got):\n%s", diff)
	}
}

func TestFaultOfTheStreamEndsIt(t *testing.T) {
	broken := errors.New("the disk is on fire")
	zipped := zip(t, record("a")+"\n"+record("b")+"\n")
	corrupt := []byte(zipped)
	corrupt[len(corrupt)-6] ^= 0xff // in the checksum
	for _, tt := range []struct {
		name  string
		input io.Reader
		read  int // events read before
		want  string
	}{
		{"between values", io.MultiReader(strings.NewReader(record("a")), iotest.ErrReader(broken)), 1, broken.Error()},
		{"within a value", io.MultiReader(strings.NewReader(record("a")+"{"), iotest.ErrReader(broken)), 1, broken.Error()},
		{"within a list", io.MultiReader(strings.NewReader("["+record("a")+","), iotest.ErrReader(broken)), 1, broken.Error()},
		{"at once", iotest.ErrReader(broken), 0, broken.Error()},
		{"a gzip header that is cut off", strings.NewReader(zipped[:3]), 0, "gunzip: "},
		{"a gzip stream that is cut off", strings.NewReader(zipped[:len(zipped)-8]), 2, "unexpected EOF"},
		{"a gzip stream with a wrong checksum", bytes.NewReader(corrupt), 2, "gzip: invalid checksum"},
		{"a gzip stream with something after it", strings.NewReader(zipped + "hello, hello"), 2, "gzip: invalid header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := readAll(tt.input)
			if len(got) != tt.read+1 || !strings.HasPrefix(got[tt.read], "! ") || !strings.Contains(got[tt.read], tt.want) {
				t.Errorf("got %q, want %d events and the error %q", got, tt.read, tt.want)
			}
		})
	}
}

func TestEventsOutliveTheReading(t *testing.T) {
	var events []*event.Event
	for e, err := range event.Read(strings.NewReader(record("a") + envelope("e") + record("b"))) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	var ids []string
	for _, e := range events {
		again, err := event.Decode(e.Raw())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, again.ID)
	}
	if diff := cmp.Diff([]string{"a", "e", "b"}, ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadingEndsWhenAskedTo(t *testing.T) {
	for name, input := range map[string]string{
		"values":   record("a") + record("b"),
		"log file": `{"v":1,"Records":[` + record("a") + "," + record("b") + "]}",
		"faults":   "1\n2\n3\n",
	} {
		n := 0
		for range event.Read(strings.NewReader(input)) { //nolint:errcheck // That something came is all that is asked.
			n++
			break
		}
		if n != 1 {
			t.Errorf("%s: %d yields after the end was asked for", name, n)
		}
	}
}

func TestTheSameIsReadInChunksOfAnySize(t *testing.T) {
	parts := []string{
		record("a"), record("b"), envelope("e"), " ", "\n", "\r\n", ",", "[", "]", "{", "}", `{"Records":[`, `]}`,
		`{"Records" : [`, `{"v":1,"Records":[`, "1", `"`, `\`, "hello", `{"x":"`, "\uFEFF",
	}
	rapid.Check(t, func(t *rapid.T) {
		input := strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 20).Draw(t, "parts"), "")
		want := readAll(strings.NewReader(input))
		for name, r := range map[string]io.Reader{
			"one byte each": iotest.OneByteReader(strings.NewReader(input)),
			"halves":        iotest.HalfReader(strings.NewReader(input)),
			"end with data": iotest.DataErrReader(strings.NewReader(input)),
		} {
			if diff := cmp.Diff(want, readAll(r)); diff != "" {
				t.Fatalf("%s: %q (-at once +in chunks):\n%s", name, input, diff)
			}
		}
	})
}

// endless is a log file of about the given size that is written while it is
// read.
type endless struct {
	record []byte
	left   int64
	rest   []byte
}

func (r *endless) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.left <= 0 {
			return 0, io.EOF
		}
		r.rest = r.record
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.left -= int64(n)
	return n, nil
}

func TestMemoryDoesNotGrowWithTheInput(t *testing.T) {
	const much, some = 200 << 20, 32 << 20
	// Large records, so that the time goes into what is tested.
	large := strings.Replace(record("a"), `"list"`, `"text":"`+strings.Repeat("x", 256<<10)+`","list"`, 1)
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for name, r := range map[string]*endless{
		"log file":                 {rest: []byte(`{"Records":[`), record: []byte(large + ","), left: much},
		"lines":                    {record: []byte(large + "\n"), left: some},
		"one record without end":   {rest: []byte(`{"x":"`), record: bytes.Repeat([]byte("x"), 1<<20), left: some},
		"nesting without end":      {record: bytes.Repeat([]byte(`{"x":[`), 1<<18), left: some},
		"a line of text, no end":   {record: bytes.Repeat([]byte("hello "), 1<<18), left: some},
		"white space without end":  {record: bytes.Repeat([]byte(" \n"), 1<<18), left: some},
		"a list of scalars, ditto": {rest: []byte("["), record: bytes.Repeat([]byte(`1,"{",`), 1<<18), left: some},
	} {
		t.Run(name, func(t *testing.T) {
			before, most, n := live(), uint64(0), 0
			for range event.Read(r) { //nolint:errcheck // Some of the inputs are faulty; memory is what is asked.
				if n++; n%200 == 0 {
					most = max(most, live())
				}
			}
			most = max(most, live())
			if r.left > 0 {
				t.Errorf("%d bytes were not read", r.left)
			}
			// Twice the largest value: the one being read and the one that was yielded last.
			if grown := int64(most) - int64(before); grown > 4*event.MaxSize {
				t.Errorf("the heap grew by %d bytes in %d yields", grown, n)
			}
		})
	}
}

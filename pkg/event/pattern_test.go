package event_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/snapback-aws/snapback/pkg/event"
)

// sorted is the pattern with its fields and alternatives in order: String
// prints them sorted.
func sorted(p event.Pattern) event.Pattern {
	byPath := func(fields []event.Field) []event.Field {
		return slices.SortedFunc(slices.Values(fields), func(a, b event.Field) int { return cmp.Compare(a.Path, b.Path) })
	}
	s := event.Pattern{Fields: byPath(p.Fields)}
	for _, fields := range p.Or {
		s.Or = append(s.Or, byPath(fields))
	}
	return s
}

func TestPatternIsPrintedAsEventBridgeReadsIt(t *testing.T) {
	for _, tt := range []struct {
		name    string
		pattern event.Pattern
		want    string
	}{
		{
			"calls", event.Calls("s3.amazonaws.com", []string{"PutBucketAcl", "CreateBucket"}),
			`{"detail":{"eventName":["PutBucketAcl","CreateBucket"],"eventSource":["s3.amazonaws.com"]},` +
				`"detail-type":["AWS API Call via CloudTrail"],"source":["aws.s3"]}`,
		},
		{
			"Config", event.ConfigResources([]string{"AWS::S3::Bucket"}),
			`{"$or":[{"detail":{"configurationItem":{"resourceType":["AWS::S3::Bucket"]}},"detail-type":["Config Configuration Item Change"]},` +
				`{"detail":{"configurationItemSummary":{"resourceType":["AWS::S3::Bucket"]}},"detail-type":["Config Configuration Item Change"]},` +
				`{"detail":{"newEvaluationResult":{"complianceType":["NON_COMPLIANT"]},"resourceType":["AWS::S3::Bucket"]},` +
				`"detail-type":["Config Rules Compliance Change"]}],"source":["aws.config"]}`,
		},
		{
			"characters that HTML would escape",
			event.Pattern{Fields: []event.Field{{Path: "detail.type", Values: []string{`<&> "é`}}}}, `{"detail":{"type":["<&> \"é"]}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.pattern.String(); got != tt.want {
				t.Errorf("printed %s\nwant    %s", got, tt.want)
			}
			back, err := event.ParsePattern(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(sorted(tt.pattern), sorted(back)); diff != "" {
				t.Errorf("read back as another pattern (-printed +read):\n%s", diff)
			}
		})
	}
}

func TestUnsupportedPatternIsRefusedByName(t *testing.T) {
	texts := func(what string) string {
		return "pattern field detail.x: this matcher knows texts alone, not " + what
	}
	const names = "this matcher knows no empty names, no names with dots and $or at the top alone"
	for _, tt := range []struct{ name, pattern, want string }{
		{"no JSON", `{`, "pattern is not a JSON object"},
		{"no object", `["x"]`, "pattern is not a JSON object"},
		{"invalid UTF-8", "{\"x\":[\"\xff\"]}", "pattern is not a JSON object"},
		{"nesting", strings.Repeat(`{"x":`, 101) + `["x"]` + strings.Repeat("}", 101), "pattern is nested deeper than 100 levels"},
		{"nesting without end", strings.Repeat("[", 1<<20), "pattern is nested deeper than 100 levels"},
		{"nothing", `{}`, "pattern is empty: want at least one field"},
		{"an empty object", `{"detail":{}}`, "pattern field detail: want at least one field in it"},
		{"prefix", `{"detail":{"x":[{"prefix":"a"}]}}`, texts(`{"prefix":"a"}`)},
		{"suffix", `{"detail":{"x":[{"suffix":"a"}]}}`, texts(`{"suffix":"a"}`)},
		{"wildcard", `{"detail":{"x":["a",{"wildcard":"a*"}]}}`, texts(`{"wildcard":"a*"}`)},
		{"exists", `{"detail":{"x":[{"exists":false}]}}`, texts(`{"exists":false}`)},
		{"anything-but", `{"detail":{"x":[{"anything-but":["a"]}]}}`, texts(`{"anything-but":["a"]}`)},
		{"equals-ignore-case", `{"detail":{"x":[{"equals-ignore-case":"a"}]}}`, texts(`{"equals-ignore-case":"a"}`)},
		{"numeric", `{"detail":{"x":[{"numeric":[">",0]}]}}`, texts(`{"numeric":[">",0]}`)},
		{"cidr", `{"detail":{"x":[{"cidr":"10.0.0.0/8"}]}}`, texts(`{"cidr":"10.0.0.0/8"}`)},
		{"a long condition", `{"detail":{"x":[{"prefix":"` + strings.Repeat("a", 100) + `"}]}}`, texts(`{"prefix":"` + strings.Repeat("a", 49))},
		{"a number", `{"detail":{"x":[1]}}`, texts("1")},
		{"null", `{"detail":{"x":[null]}}`, texts("null")},
		{"a boolean", `{"detail":{"x":[true]}}`, texts("true")},
		{"a list in a list", `{"detail":{"x":[["a"]]}}`, texts(`["a"]`)},
		{"no value", `{"detail":{"x":[]}}`, "pattern field detail.x: want at least one text"},
		{"a bare text", `{"detail":{"x":"a"}}`, "pattern field detail.x: want a list of texts"},
		{"dots at the top", `{"detail.x":["a"]}`, "pattern field detail.x: " + names},
		{"dots below", `{"detail":{"x.y":["a"]}}`, "pattern field detail.x.y: " + names},
		{"an empty name", `{"detail":{"":["a"]}}`, "pattern field detail.: " + names},
		{"$or below the top", `{"detail":{"$or":[{"x":["a"]},{"y":["a"]}]}}`, "pattern field detail.$or: " + names},
		{"$or in $or", `{"$or":[{"x":["a"]},{"$or":[{"y":["a"]},{"z":["a"]}]}]}`, "pattern field $or: " + names},
		{"$or of one", `{"$or":[{"x":["a"]}]}`, "pattern field $or: want a list of two or more alternatives"},
		{"$or of none", `{"$or":[]}`, "pattern field $or: want a list of two or more alternatives"},
		{"$or as an object", `{"$or":{"x":["a"],"y":["a"]}}`, "pattern field $or: want a list of two or more alternatives"},
		{"$or of texts", `{"$or":["x","y"]}`, "pattern field $or: want objects as alternatives"},
		{"$or with an empty object", `{"$or":[{"x":["a"]},{}]}`, "pattern field $or: want at least one field in it"},
		{"$or twice", `{"$or":[{"x":["a"]},{"y":["a"]}],"$or":[{"x":["a"]},{"y":["a"]}]}`, "pattern field $or is there twice"},
		{"a field twice", `{"x":["a"],"x":["b"]}`, "pattern field x is there twice"},
		{"a field twice, below", `{"detail":{"x":["a"]},"detail":{"x":["b"]}}`, "pattern field detail.x is there twice"},
		{"a field again in $or", `{"x":["a"],"$or":[{"x":["b"]},{"y":["b"]}]}`, "pattern field x is there twice"},
		{"a field twice within $or", `{"$or":[{"y":["b"]},{"x":["a"],"x":["b"]}]}`, "pattern field x is there twice"},
		{"texts and object", `{"x":["a"],"x":{"y":["b"]}}`, "pattern field x is both a list of texts and an object"},
		{"texts and object, the other way around", `{"x":{"y":["b"]},"$or":[{"x":["a"]},{"z":["a"]}]}`, "pattern field x is both a list of texts and an object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := event.ParsePattern(tt.pattern)
			if err == nil {
				t.Fatalf("accepted as %s", p)
			}
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("refused with %q, want %q", err, tt.want)
			}
		})
	}
}

func TestMatcherMatchesAsEventBridge(t *testing.T) {
	const nested = `{"detail":{"x":{"a":["1"],"b":["2"]}}}`
	const or = `{"source":["aws.s3"],"$or":[{"detail":{"a":["1"]}},{"detail":{"b":["2"],"c":["3"]}}]}`
	for _, tt := range []struct {
		name, pattern, source, detail string
		want                          bool
	}{
		{"the text", `{"detail":{"x":["a"]}}`, "aws.s3", `{"x":"a"}`, true},
		{"one of the texts", `{"detail":{"x":["a","b"]}}`, "aws.s3", `{"y":1,"x":"b"}`, true},
		{"another text", `{"detail":{"x":["a"]}}`, "aws.s3", `{"x":"A"}`, false},
		{"an escaped text", `{"detail":{"x":["é"]}}`, "aws.s3", `{"\u0078":"\u00e9"}`, true},
		{"the empty text", `{"detail":{"x":[""]}}`, "aws.s3", `{"x":""}`, true},
		{"no field", `{"detail":{"x":["a"]}}`, "aws.s3", `{}`, false},
		{"a number that prints alike", `{"detail":{"x":["1"]}}`, "aws.s3", `{"x":1}`, false},
		{"null", `{"detail":{"x":["null"]}}`, "aws.s3", `{"x":null}`, false},
		{"true", `{"detail":{"x":["true"]}}`, "aws.s3", `{"x":true}`, false},
		{"an object in place of a text", `{"detail":{"x":["a"]}}`, "aws.s3", `{"x":{"a":"a"}}`, false},
		{"a text in place of an object", nested, "aws.s3", `{"x":"a"}`, false},
		{"a field elsewhere", `{"detail":{"x":["a"]}}`, "aws.s3", `{"y":{"x":"a"}}`, false},
		{"an element of a list", `{"detail":{"x":["a"]}}`, "aws.s3", `{"x":["b","a"]}`, true},
		{"an element of a nested list", `{"detail":{"x":["a"]}}`, "aws.s3", `{"x":[["b"],["a"]]}`, true},
		{"no element of a list", `{"detail":{"x":["a"]}}`, "aws.s3", `{"x":["b",1,null,{"x":"a"}]}`, false},
		{"an empty list", `{"detail":{"x":["a"]}}`, "aws.s3", `{"x":[]}`, false},
		{"both fields", nested, "aws.s3", `{"x":{"b":"2","a":"1"}}`, true},
		{"one of two fields", nested, "aws.s3", `{"x":{"a":"1","b":"1"}}`, false},
		{"both fields in one element", nested, "aws.s3", `{"x":[{"a":"0"},{"a":"1","b":"2"}]}`, true},
		{"both fields in different elements", nested, "aws.s3", `{"x":[{"a":"1"},{"b":"2"}]}`, false},
		{"the first alternative", or, "aws.s3", `{"a":"1"}`, true},
		{"the second alternative", or, "aws.s3", `{"a":"0","b":"2","c":"3"}`, true},
		{"half an alternative", or, "aws.s3", `{"b":"2"}`, false},
		{"an alternative from another source", or, "aws.iam", `{"a":"1"}`, false},
		{"no alternative", or, "aws.s3", `{}`, false},
		{"the source alone", `{"source":["aws.s3"]}`, "aws.s3", `{}`, true},
		{"another source", `{"source":["aws.s3"]}`, "aws.s3control", `{}`, false},
		{"the source in an alternative", `{"$or":[{"source":["aws.iam"]},{"detail":{"x":["a"]}}]}`, "aws.iam", `{}`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := event.ParsePattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			e := decode(t, fmt.Appendf(nil, `{"id":"x","detail-type":"Order Paid","source":%q,"account":"222222222222",`+
				`"time":"2026-11-22T01:00:00Z","region":"eu-west-1","detail":%s}`, tt.source, tt.detail))
			if got := p.Matcher().Match(e); got != tt.want {
				t.Errorf("pattern %s, event with detail %s: match is %t, want %t", tt.pattern, tt.detail, got, tt.want)
			}
		})
	}
}

func TestBareRecordMatchesAsItsEnvelopeWould(t *testing.T) {
	e := decode(t, read(t, "testdata", "records", "iam-user.json"))
	if !event.Calls("s3.amazonaws.com", []string{"PutBucketPolicy"}).Matcher().Match(e) {
		t.Error("the record of PutBucketPolicy does not match its pattern")
	}
	if event.Calls("s3.amazonaws.com", []string{"PutBucketAcl"}).Matcher().Match(e) {
		t.Error("the record of PutBucketPolicy matches the pattern of PutBucketAcl")
	}
}

func TestSplitPatternsAcceptTheSameWithinTheLimit(t *testing.T) {
	builds := map[string]func([]string) event.Pattern{
		"calls":  func(names []string) event.Pattern { return event.Calls("s3.amazonaws.com", names) },
		"config": event.ConfigResources,
	}
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{"calls", "config"}).Draw(t, "kind")
		values := rapid.SliceOfN(rapid.StringMatching(`[A-Z][A-Za-z0-9:"<\\]{0,99}`), 0, 200).Draw(t, "values")
		accepted := []string{}
		for _, p := range event.Split(values, builds[kind]) {
			if n := len([]rune(p.String())); n > event.MaxPattern {
				t.Errorf("a pattern of %d characters", n)
			}
			fields := slices.Concat(append([][]event.Field{p.Fields}, p.Or...)...)
			i := slices.IndexFunc(fields, func(f event.Field) bool {
				return f.Path == "detail.eventName" || f.Path == "detail.resourceType"
			})
			accepted = append(accepted, fields[i].Values...)
		}
		if diff := gocmp.Diff(append([]string{}, slices.Compact(slices.Sorted(slices.Values(values)))...), accepted); diff != "" {
			t.Errorf("the patterns accept other values (-want +got):\n%s", diff)
		}
	})
}

func TestSplitIsAsFewPatternsAsFitInAnyOrder(t *testing.T) {
	calls := func(names []string) event.Pattern { return event.Calls("s3.amazonaws.com", names) }
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("PutBucketSetting%03d", i))
	}
	want := event.Split(names, calls)
	if len(want) != 4 {
		t.Errorf("%d patterns, want 4", len(want))
	}
	for i, p := range want[:len(want)-1] {
		next := want[i+1].Fields[3].Values[0]
		if more := calls(append(slices.Clone(p.Fields[3].Values), next)); len(more.String()) <= event.MaxPattern {
			t.Errorf("pattern %d has room for %s", i, next)
		}
	}
	slices.Reverse(names)
	if diff := gocmp.Diff(want, event.Split(append(names, names...), calls)); diff != "" {
		t.Errorf("the same values in another order give other patterns:\n%s", diff)
	}
}

func TestPatternMayBeExactlyAsLongAsTheLimit(t *testing.T) {
	build := func(values []string) event.Pattern {
		return event.Pattern{Fields: []event.Field{{Path: "x", Values: values}}}
	}
	// {"x":["a","…"]} is as long as its second text and 14 characters.
	for n, want := range map[int]int{event.MaxPattern - 15: 1, event.MaxPattern - 14: 1, event.MaxPattern - 13: 2} {
		values := []string{"a", strings.Repeat("b", n)}
		if got := event.Split(values, build); len(got) != want {
			t.Errorf("a pattern of %d characters becomes %d patterns, want %d", len(build(values).String()), len(got), want)
		}
	}
}

func TestValueTooLongForAnyPatternIsNotLost(t *testing.T) {
	long := strings.Repeat("x", event.MaxPattern)
	got := event.Split([]string{"a", long, "z"}, func(values []string) event.Pattern {
		return event.Pattern{Fields: []event.Field{{Path: "x", Values: values}}}
	})
	if len(got) != 3 || got[1].Fields[0].Values[0] != long {
		t.Errorf("got %d patterns", len(got))
	}
}

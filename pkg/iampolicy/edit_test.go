package iampolicy_test

import (
	"reflect"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

func TestStatementIsTakenOutExactly(t *testing.T) {
	const (
		a = "{\"Sid\":\"a\",\"Effect\":\"Allow\",\r\n \"Action\": \"s3:*\", \"Resource\":\"*\" }"
		b = "{\"Action\":\"*\", \"Sid\":\"b\",\"Effect\":\"Deny\",\"Resource\":[\"]\"]}"
		c = "{\"Resource\":\"},{\",\"Sid\":\"c\",\"Effect\":\"Allow\",\n\n\"NotAction\": \"s3:*\"}"
		// before and after stand around what the Statement is.
		before = "{ \"Version\": \"2012-10-17\",\r\n  \"Statement\" : "
		after  = "\r\n, \"Id\": \"x\" }\n"
		three  = "[\r\n    " + a + ",\r\n    " + b + " ,\r\n\r\n    " + c + "\r\n  ]"
	)
	for _, tt := range []struct {
		name, statement string
		out             []int
		want            string
	}{
		{"first", three, []int{0}, "[\r\n    " + b + " ,\r\n\r\n    " + c + "\r\n  ]"},
		{"middle", three, []int{1}, "[\r\n    " + a + " ,\r\n\r\n    " + c + "\r\n  ]"},
		{"last", three, []int{2}, "[\r\n    " + a + ",\r\n    " + b + "\r\n  ]"},
		{"first two", three, []int{0, 1}, "[\r\n    " + c + "\r\n  ]"},
		{"last two", three, []int{2, 1}, "[\r\n    " + a + "\r\n  ]"},
		{"outer two", three, []int{0, 2}, "[\r\n    " + b + "\r\n  ]"},
		{"all", three, []int{0, 1, 2}, "[]"},
		{"the same one twice", three, []int{2, 2}, "[\r\n    " + a + ",\r\n    " + b + "\r\n  ]"},
		{"none", three, nil, three},
		{"such as there are not", three, []int{-1, 3}, three},
		{"only one of a list", "[ " + a + " ]", []int{0}, "[]"},
		{"only one, without a list", a, []int{0}, "[]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := parsed(t, before+tt.statement+after)
			got := d.Without(tt.out...)
			if want := before + tt.want + after; got.String() != want {
				t.Errorf("is\n%s\nwant\n%s", got, want)
			}
			checkEdited(t, got)
			checkUnchanged(t, d, before+tt.statement+after)
		})
	}
}

func TestPrincipalIsTakenOutExactly(t *testing.T) {
	const before, after = `{"Statement":[ {"Effect":"Allow","Action":"*","Principal":"*"} , {"Effect":"Allow","Principal": `, ` ,"Action":"sts:AssumeRole"} ]}`
	const gone = `{"Statement":[ {"Effect":"Allow","Action":"*","Principal":"*"} ]}`
	aws := func(value string) iampolicy.StatementPrincipal {
		return iampolicy.StatementPrincipal{Kind: "AWS", Value: value}
	}
	for _, tt := range []struct {
		name, principal string
		out             iampolicy.StatementPrincipal
		want            string // empty if the statement is gone
	}{
		{"first of a list", `{"AWS": [ "a" , "b" ,"c"]}`, aws("a"), `{"AWS": [ "b" ,"c"]}`},
		{"middle of a list", `{"AWS": [ "a" , "b" ,"c"]}`, aws("b"), `{"AWS": [ "a" ,"c"]}`},
		{"last of a list", `{"AWS": [ "a" , "b" ,"c"]}`, aws("c"), `{"AWS": [ "a" , "b"]}`},
		{"several times in a list", `{"AWS": ["a", "b", "a", "c", "\u0061"]}`, aws("a"), `{"AWS": ["b", "c"]}`},
		{"only one of a kind", `{"AWS": ["a"] , "Service": "a", "Federated" : "f" }`, aws("a"), `{"Service": "a", "Federated" : "f" }`},
		{"only one of a kind, without a list", `{"Service": "a" , "AWS": "a", "Federated" : "f" }`, aws("a"), `{"Service": "a", "Federated" : "f" }`},
		{"last kind", `{"Service": "s" , "AWS": ["a","a"] }`, aws("a"), `{"Service": "s" }`},
		{"only one", `{"AWS": "a"}`, aws("a"), ""},
		{"only one of a list", `{"AWS": ["a", "a"]}`, aws("a"), ""},
		{"everybody", `"*"`, iampolicy.StatementPrincipal{Kind: "*", Value: "*"}, ""},
		{"everybody of a kind", `{"AWS": ["*", "a"]}`, aws("*"), `{"AWS": ["a"]}`},
		{"another kind", `{"AWS": ["a", "b"]}`, iampolicy.StatementPrincipal{Kind: "Service", Value: "a"}, `{"AWS": ["a", "b"]}`},
		{"another value", `{"AWS": ["a", "b"]}`, aws("A"), `{"AWS": ["a", "b"]}`},
		{"everybody, who is not named so", `{"AWS": "*"}`, iampolicy.StatementPrincipal{Kind: "*", Value: "*"}, `{"AWS": "*"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := parsed(t, before+tt.principal+after)
			got := d.WithoutPrincipal(1, tt.out)
			want := before + tt.want + after
			if tt.want == "" {
				want = gone
			}
			if got.String() != want {
				t.Errorf("is\n%s\nwant\n%s", got, want)
			}
			checkEdited(t, got)
			checkUnchanged(t, d, before+tt.principal+after)
		})
	}
}

func TestEffectIsReplacedAlone(t *testing.T) {
	d := parsed(t, documents(t)["escaped.json"])
	got := d.WithEffect(0, iampolicy.Deny)
	want := strings.Replace(d.String(), `"\u0041llow"`, `"Deny"`, 1)
	if got.String() != want || want == d.String() {
		t.Errorf("is\n%s\nwant\n%s", got, want)
	}
	checkEdited(t, got)
	checkUnchanged(t, d, documents(t)["escaped.json"])
	if back := got.WithEffect(0, iampolicy.Allow).WithEffect(1, iampolicy.Deny); back.Statements[0].Effect != iampolicy.Allow {
		t.Errorf("is not put back: %s", back)
	}
}

// What an edit can't apply to is left as it is.
func TestEditOfWhatIsNotThereChangesNothing(t *testing.T) {
	text := documents(t)["resource.json"]
	d := parsed(t, text)
	everybody := iampolicy.StatementPrincipal{Kind: "*", Value: "*"}
	excepted := iampolicy.StatementPrincipal{Kind: "AWS", Value: "arn:aws:iam::111111111111:user/alice"}
	for name, got := range map[string]*iampolicy.Document{
		"no statement":              d.Without(),
		"statement 3":               d.Without(3),
		"principal of statement -1": d.WithoutPrincipal(-1, everybody),
		"principal of statement 3":  d.WithoutPrincipal(3, everybody),
		"NotPrincipal":              d.WithoutPrincipal(2, excepted),
		"effect of statement -1":    d.WithEffect(-1, iampolicy.Deny),
		"effect of statement 3":     d.WithEffect(3, iampolicy.Deny),
		"no effect":                 d.WithEffect(0, "Maybe"),
		"effect that it has":        d.WithEffect(0, iampolicy.Allow),
	} {
		t.Run(name, func(t *testing.T) { checkUnchanged(t, got, text) })
	}
}

// checkEdited checks that what an edit returned is what its text says.
func checkEdited(t *testing.T, d *iampolicy.Document) {
	t.Helper()
	again, err := iampolicy.Parse(d.String())
	if len(d.Statements) == 0 {
		// That the list is empty is all that may be wrong with it.
		if err == nil || !strings.Contains(err.Error(), "Statement: the list is empty") {
			t.Errorf("without any statement: %v\n%s", err, d)
		}
		return
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, d)
	}
	if reflect.DeepEqual(again, d) {
		return // which is told faster than a difference
	}
	if diff := gocmp.Diff(again, d, cmpopts.IgnoreUnexported(iampolicy.Document{})); diff != "" {
		t.Errorf("the document is not what its text says (-text +document):\n%s\n%s", diff, d)
	}
}

// checkUnchanged checks that a document is still what its text was.
func checkUnchanged(t *testing.T, d *iampolicy.Document, text string) {
	t.Helper()
	if d.String() != text {
		t.Errorf("the text has changed:\n%s", d)
	}
	if diff := gocmp.Diff(parsed(t, text), d, cmpopts.IgnoreUnexported(iampolicy.Document{})); diff != "" {
		t.Errorf("the document has changed (-before +after):\n%s", diff)
	}
}

package iampolicy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// documents reads the test documents, by the name of their file.
func documents(tb testing.TB) map[string]string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "documents", "*"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no test documents: %v", err)
	}
	all := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		all[filepath.Base(path)] = string(text)
	}
	return all
}

func parsed(tb testing.TB, text string) *iampolicy.Document {
	tb.Helper()
	d, err := iampolicy.Parse(text)
	if err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	return d
}

func TestDocumentIsReadAsItIsWritten(t *testing.T) {
	texts := documents(t)
	type principal = iampolicy.StatementPrincipal
	for name, want := range map[string]iampolicy.Document{
		"identity.json": {Version: "2012-10-17", Statements: []iampolicy.Statement{{
			Line: 4, Sid: "ReadOwnPrefix", Effect: iampolicy.Allow,
			Actions:   []string{"s3:GetObject", "S3:list*"},
			Resources: []string{"arn:aws:s3:::example", "arn:aws:s3:::example/${aws:username}/*"},
			Conditions: []iampolicy.Condition{
				{Operator: "StringLike", Key: "s3:prefix", Values: []string{"", "home/${aws:username}/*"}},
				{Operator: "Bool", Key: "aws:SecureTransport", Values: []string{"true"}},
				{Operator: "NumericLessThanEquals", Key: "s3:max-keys", Values: []string{"10.50"}},
			},
		}, {
			Line: 18, Effect: iampolicy.Deny,
			NotActions: []string{"iam:*"}, NotResources: []string{"arn:aws:iam::*:role/a?c"},
			Conditions: []iampolicy.Condition{{Operator: "ForAllValues:StringEquals", Key: "aws:TagKeys"}},
		}}},
		"single.json": {Statements: []iampolicy.Statement{{
			Line: 1, Effect: iampolicy.Allow, Actions: []string{"*"}, Resources: []string{"*"},
		}}},
		"resource.json": {Version: "2008-10-17", ID: "bucket", Statements: []iampolicy.Statement{{
			Line: 3, Sid: "All", Effect: iampolicy.Allow, Principals: []principal{{Kind: "*", Value: "*"}},
			Actions: []string{"s3:GetObject"}, Resources: []string{"arn:aws:s3:::example/*"},
		}, {
			Line: 4, Sid: "Some", Effect: iampolicy.Allow,
			Principals: []principal{
				{Kind: "AWS", Value: "arn:aws:iam::111111111111:root"}, {Kind: "AWS", Value: "222222222222"},
				{Kind: "CanonicalUser", Value: "79a59df900b949e5"}, {Kind: "Service", Value: "logs.amazonaws.com"},
			},
			Actions: []string{"s3:PutObject"}, Resources: []string{"arn:aws:s3:::example/*"},
		}, {
			Line: 7, Effect: iampolicy.Deny, NotPrincipals: []principal{{Kind: "AWS", Value: "arn:aws:iam::111111111111:user/alice"}},
			Actions: []string{"*"}, Resources: []string{"*"},
		}}},
		"unknown-elements.json": {Version: "2012-10-17", Statements: []iampolicy.Statement{{
			Line: 2, Effect: iampolicy.Allow, Actions: []string{"s3:GetObject"}, Resources: []string{"*"},
		}}},
		"escaped.json": {Statements: []iampolicy.Statement{
			{Line: 1, Effect: iampolicy.Allow, Actions: []string{"s3:Get*"}, Resources: []string{"arn:aws:s3:::ü\n😀"}},
			{Line: 1, Effect: iampolicy.Deny, Actions: []string{"s3:*"}, Resources: []string{"*"}},
			{Line: 2, Effect: iampolicy.Allow, Actions: []string{"*:*"}, Resources: []string{"*"}},
		}},
		"encoded.txt": {Version: "2012-10-17", Statements: []iampolicy.Statement{{
			Line: 2, Effect: iampolicy.Allow, Actions: []string{"s3:GetObject"}, Resources: []string{"arn:aws:s3:::a+b/*"},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := parsed(t, texts[name])
			if diff := gocmp.Diff(want.Statements, d.Statements); diff != "" {
				t.Errorf("statements (-want +got):\n%s", diff)
			}
			if d.Version != want.Version || d.ID != want.ID {
				t.Errorf("version %q, ID %q, want %q, %q", d.Version, d.ID, want.Version, want.ID)
			}
		})
	}
}

func TestDocumentPrintsBackByteForByte(t *testing.T) {
	for name, text := range documents(t) {
		want := text
		if name == "encoded.txt" {
			want = "{\"Version\": \"2012-10-17\",\n\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::a+b/*\"}]}"
		}
		for _, around := range []string{"", " \r\n\t"} {
			if got := parsed(t, around+text+around).String(); got != around+want+around {
				t.Errorf("%s is printed as\n%s", name, got)
			}
		}
	}
}

func TestKindIsToldByTheContent(t *testing.T) {
	texts := documents(t)
	for _, tt := range []struct {
		text string
		want iampolicy.Kind
	}{
		{texts["identity.json"], iampolicy.IdentityPolicy},
		{texts["resource.json"], iampolicy.ResourcePolicy},
		{texts["trust.json"], iampolicy.TrustPolicy},
		{`{"Statement":{"Effect":"Deny","NotPrincipal":{"AWS":"111111111111"},"Action":"STS:assumeRole*"}}`, iampolicy.TrustPolicy},
		// A role itself is the resource of its trust policy, so one with resources is another's.
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}}`, iampolicy.ResourcePolicy},
		// Policies of ECR repositories name no resource either.
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"ecr:*"}}`, iampolicy.ResourcePolicy},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"*"}}`, iampolicy.ResourcePolicy},
		{`{"Statement":{"Effect":"Allow","Principal":"*","NotAction":"ecr:*"}}`, iampolicy.ResourcePolicy},
		{`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"},{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}]}`, iampolicy.ResourcePolicy},
		{`{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}`, iampolicy.IdentityPolicy},
	} {
		if got := parsed(t, tt.text).Kind(); got != tt.want {
			t.Errorf("is %q, want %q:\n%s", got, tt.want, tt.text)
		}
	}
	if got := parsed(t, texts["trust.json"]).Without(0, 1).Kind(); got != iampolicy.IdentityPolicy {
		t.Errorf("a document without statements is %q: it can be attached to nothing and says nothing of principals", got)
	}
}

// faulty are documents each with one fault, where it is, and words of the sentence
// on it.
func faulty() []struct{ name, text, want string } {
	// statement is a document with one statement, on its second line.
	statement := func(elements string) string { return "{\"Statement\": [\n{" + elements + "}]}" }
	return []struct{ name, text, want string }{
		{"empty", "", `line 1, column 1: it is empty: write a policy, such as {`},
		{"white space", " \n\t", `line 1, column 1: it is empty`},
		{"prose", "hello", `line 1, column 1: it is not JSON: invalid character 'h'`},
		{"broken off", "{\"Statement\":\n [", `line 2, column 2: it is not JSON: unexpected end`},
		{"comma too many", statement(`"Effect":"Allow",`), `line 2, column 19: it is not JSON: invalid character '}'`},
		{"line break in a string", "{\"Statement\":\"a\nb\"}", `line 1, column 16: it is not JSON: invalid character '\n'`},
		{"trailing content", "{\"Statement\":[]}\n{}", `line 2, column 1: it is not JSON: invalid character '{' after top-level value`},
		{"byte order mark", "\uFEFF{}", `line 1, column 1: it begins with a byte order mark: save it as UTF-8 without one`},
		{"UTF-16", "{\x00\"\x00\xff", `line 1, column 5: this is no UTF-8`},
		{"Latin-1", "{\"Id\": \"ü\",\n\"Statement\": \"f\xfcr\"}", `line 2, column 16: this is no UTF-8`},
		{"encoded badly", "%7B%22\n%zz", `line 2, column 1: "%zz" is no percent-encoding: write two`},
		{"encoded and broken off", "%7B%22%2", `line 1, column 7: the percent-encoding breaks off in "%2"`},
		{"encoded Latin-1", "%7B%22%FC", `line 1, column 3: this is no UTF-8`},
		{"encoded twice", "%257B%257D", `line 1, column 1: it is not JSON`},
		{"too large", strings.Repeat(" ", 1<<20) + "{}", `line 1, column 1: it is 1048578 bytes long: shorten it to 1048576`},
		{"too deep", "{\"Note\":\n" + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", `line 2, column 100: it is nested deeper than 100 levels`},

		{"list", " []", `line 1, column 2: it is a list and no policy: write an object`},
		{"string", `"a"`, `line 1, column 1: it is a string and no policy`},
		{"number", `1`, `line 1, column 1: it is a number and no policy`},
		{"null", `null`, `line 1, column 1: it is null and no policy`},
		{"boolean", `true`, `line 1, column 1: it is a boolean and no policy`},
		{"no statement", `{"Version":"2012-10-17"}`, `line 1, column 1: it has no Statement, so it is no policy`},
		{"IAM's answer", `{"PolicyVersion":{"Document":{}}}`, `it has no Statement`},
		{"other version", `{"Version":"2012-10-18"}`, `line 1, column 12, Version: "2012-10-18" is no version of the policy language: write "2012-10-17"`},
		{"no version", `{"Version":null}`, `line 1, column 12, Version: a string is needed, this is null`},
		{"ID", `{"Id":["a"]}`, `line 1, column 7, Id: a string is needed, this is a list`},
		{"element in small letters", `{"version":"2012-10-17"}`, `line 1, column 12, version: AWS knows no element "version": write "Version"`},
		{"misspelt element", `{"Statemant":[]}`, `line 1, column 14, Statemant: AWS knows no element "Statemant": write "Statement"`},
		{"element twice", `{"Id":"a","I\u0064":"a"}`, `line 1, column 11, Id: "Id" is there twice: keep one`},
		{"unknown element twice", `{"Note":"a","Note":"a"}`, `line 1, column 13, Note: "Note" is there twice`},

		{"no statements", `{"Statement":[]}`, `line 1, column 14, Statement: the list is empty`},
		{"statement is a string", `{"Statement":"a"}`, `line 1, column 14, Statement: a statement is an object, this is a string`},
		{"statement is null", `{"Statement":null}`, `line 1, column 14, Statement: a statement is an object, this is null`},
		{"statements in a list of lists", `{"Statement":[[]]}`, `line 1, column 15, Statement[0]: a statement is an object, this is a list`},
		{"statement is empty", statement(``), `line 2, column 1, Statement[0]: the statement has no Effect: write "Effect": "Allow" or "Effect": "Deny"`},
		{"no effect", statement(`"Action":"*","Resource":"*"`), `line 2, column 1, Statement[0]: the statement has no Effect`},
		{"effect in small letters", statement(`"Effect":"allow"`), `line 2, column 11, Statement[0].Effect: "allow" is no effect: write "Allow" or "Deny"`},
		{"effect in a list", statement(`"Effect":["Allow"]`), `Statement[0].Effect: a string is needed, this is a list`},
		{"effect twice", statement(`"Effect":"Deny","Effect":"Allow"`), `line 2, column 18, Statement[0].Effect: "Effect" is there twice`},
		{"no action", statement(`"Effect":"Deny","Resource":"*"`), `Statement[0]: the statement has neither Action nor NotAction`},
		{"two actions", statement(`"Effect":"Deny","Action":"*","NotAction":"*","Resource":"*"`), `Statement[0]: the statement has both Action and NotAction`},
		{"two resources", statement(`"Effect":"Deny","Action":"*","Resource":"*","NotResource":"*"`), `Statement[0]: the statement has both Resource and NotResource`},
		{"two principals", statement(`"Effect":"Deny","Action":"*","Principal":"*","NotPrincipal":"*"`), `Statement[0]: the statement has both Principal and NotPrincipal`},
		{"neither resource nor principal", statement(`"Effect":"Deny","Action":"*"`), `Statement[0]: the statement has neither Resource nor Principal`},
		{"second statement", "{\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":\"*\"},\n {\"Effect\":\"Deny\"}]}", `line 2, column 2, Statement[1]: the statement has neither Action`},

		{"action without a colon", statement(`"Action":"s3"`), `line 2, column 11, Statement[0].Action: "s3" is no action, for it has no colon: write service:action, such as "s3:GetObject"`},
		{"action without a colon in a list", statement(`"Action":["s3:*", "**"]`), `line 2, column 20, Statement[0].Action[1]: "**" is no action`},
		{"empty action", statement(`"NotAction":""`), `Statement[0].NotAction: "" is no action`},
		{"action in one statement", `{"Statement":{"Action":["s3"]}}`, `line 1, column 25, Statement.Action[0]: "s3" is no action`},
		{"no actions", statement(`"Action":[ ]`), `Statement[0].Action: the list is empty: write what it is to hold`},
		{"action in an object", statement(`"Action":{"a":"s3:*"}`), `Statement[0].Action: a string is needed, this is an object`},
		{"actions in a list of lists", statement(`"Action":[["s3:*"]]`), `Statement[0].Action[0]: a string is needed, this is a list`},
		{"no resources", statement(`"Resource":[]`), `Statement[0].Resource: the list is empty`},
		{"resource is null", statement(`"Resource":["*",null]`), `Statement[0].Resource[1]: a string is needed, this is null`},

		{"principal is no object", statement(`"Principal":"arn:aws:iam::111111111111:root"`), `Statement[0].Principal: a principal is "*" or an object, this is a string: write {"AWS": "arn`},
		{"principals in a list", statement(`"Principal":["*"]`), `Statement[0].Principal: a principal is "*" or an object, this is a list`},
		{"nobody", statement(`"Principal":{}`), `Statement[0].Principal: the object names nobody`},
		{"nobody of a kind", statement(`"NotPrincipal":{"AWS":[]}`), `Statement[0].NotPrincipal.AWS: the list is empty`},
		{"kind of principal", statement(`"Principal":{"aws":"*"}`), `Statement[0].Principal.aws: "aws" is no kind of principal: write AWS, Service`},
		{"kind of principal twice", statement(`"Principal":{"AWS":"111111111111","AWS":"*"}`), `Statement[0].Principal.AWS: "AWS" is there twice`},
		{"principal is a number", statement(`"Principal":{"AWS":[111111111111]}`), `line 2, column 22, Statement[0].Principal.AWS[0]: a string is needed, this is a number: write it in quotes`},

		{"condition in a list", statement(`"Condition":[]`), `Statement[0].Condition: an object is needed, this is a list`},
		{"condition without a key", statement(`"Condition":{"Bool":"true"}`), `Statement[0].Condition.Bool: an object is needed, this is a string`},
		{"operator twice", statement(`"Condition":{"Bool":{"a:b":"true"},"Bool":{"a:b":"false"}}`), `Statement[0].Condition.Bool: "Bool" is there twice`},
		{"key twice", statement(`"Condition":{"Bool":{"a:b":"true","a:b":"false"}}`), `Statement[0].Condition.Bool.a:b: "a:b" is there twice`},
		{"key twice in other letters", statement(`"Condition":{"Bool":{"aws:SourceVpc":"true","AWS:sourceVPC":"false"}}`), `Statement[0].Condition.Bool.AWS:sourceVPC: "AWS:sourceVPC" is there twice, in other letters`},
		{"value in an object", statement(`"Condition":{"Bool":{"a:b":{"c":"d"}}}`), `Statement[0].Condition.Bool.a:b: a condition's value is a string, a number or a boolean, this is an object`},
		{"value is null", statement(`"Condition":{"Bool":{"a:b":["true",null]}}`), `Statement[0].Condition.Bool.a:b[1]: a condition's value is a string, a number or a boolean, this is null`},
		{"misspelt condition", statement(`"Conditiom":{"Bool":{"a:b":true}}`), `Statement[0].Conditiom: AWS knows no element "Conditiom": write "Condition", if it is that`},
		{"conditions", statement(`"Conditions":{"Bool":{"a:b":true}}`), `Statement[0].Conditions: AWS knows no element "Conditions": write "Condition"`},
		{"condition block", statement(`"conditionBlock":{"Bool":{"a:b":true}}`), `AWS knows no element "conditionBlock": write "Condition"`},
		{"principle", statement(`"Principle":"*"`), `Statement[0].Principle: AWS knows no element "Principle": write "Principal"`},
		{"Sid in small letters means nothing", `{"Statement":[{"sid":"a","Effect":"Allow"}]}`, `Statement[0]: the statement has neither Action`},
		{"name that plays tricks", statement(`"Condition":{"\u001b[2J\n":1}`), `Statement[0].Condition."\x1b[2J\n": an object is needed, this is a number`},
	}
}

func TestFaultIsNamedWithItsPlace(t *testing.T) {
	for _, tt := range faulty() {
		t.Run(tt.name, func(t *testing.T) {
			d, err := iampolicy.Parse(tt.text)
			var fault *iampolicy.DocumentError
			if d != nil || !errors.As(err, &fault) {
				t.Fatalf("got %v and %v, want no document and a *DocumentError", d, err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("says\n%s\nwant\n%s", err, tt.want)
			}
			if !strings.Contains(err.Error(), fmt.Sprintf("line %d, column %d", fault.Line, fault.Column)) {
				t.Errorf("%v, but its place is %d:%d", err, fault.Line, fault.Column)
			}
		})
	}
}

// Elements of other makers stay in the text and change nothing; what is near to
// one of AWS's is a fault instead.
func TestUnknownElementsAreKept(t *testing.T) {
	for _, name := range []string{"Note", "Owner", "_comment", "x-id", "", "sid", "Description", "Metadata", "Reason", "Notes", "CreatedBy"} {
		text := `{"` + name + `":[{}],"Statement":{"Effect":"Allow","` + name + `":{"a":1},"Action":"*","Resource":"*"}}`
		d := parsed(t, text)
		if got := len(d.Statements); got != 1 || d.String() != text {
			t.Errorf("%d statements in %s", got, d)
		}
	}
}

// Brackets in quotes nest nothing.
func TestBracketsInStringsAreText(t *testing.T) {
	for _, text := range []string{strings.Repeat("[", 200), `\"` + strings.Repeat("{", 200), `\\\"` + strings.Repeat("[", 200) + `\\`} {
		parsed(t, `{"Id":"`+text+`","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	}
}

func TestHostileDocumentIsRefusedQuickly(t *testing.T) {
	fill := func(head, unit string) string {
		return head + strings.Repeat(unit, (1<<20-len(head))/len(unit))
	}
	for name, text := range map[string]string{
		"lists":               fill("", "["),
		"objects":             fill("", `{"Statement":`),
		"lists in a policy":   fill(`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Note":`, "["),
		"lists in conditions": fill(`{"Statement":[{"Condition":{"Bool":{"a:b":`, "["),
		"lists after escapes": fill(`{"Id":"\\\"\\","Note":`, "["),
		"broken quotes":       fill(`{"Statement":`, `"\`),
		"percent signs":       fill("", "%25"),
		"same name":           `{` + fill(`"a":1`, `,"a":1`) + `}`,
		"line breaks":         fill(`{`, "\n"),
		"empty statements":    `{"Statement":[` + fill("{}", ",{}") + `]}`,
	} {
		start := time.Now()
		var d *iampolicy.Document
		var err error
		allocated := testing.AllocsPerRun(1, func() { d, err = iampolicy.Parse(text) })
		if err == nil || d != nil {
			t.Errorf("%s: not refused", name)
		}
		if took := time.Since(start); took > 2*time.Second || allocated > 100 {
			t.Errorf("%s: refused after %v and %v allocations", name, took, allocated)
		}
	}
}

// Twice the document takes twice the memory, whatever there is more of.
func TestParseIsLinear(t *testing.T) {
	const n = 500
	numbered := func(format string, n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(format, i))
		}
		return strings.Join(all, ",")
	}
	statement := func(elements string) string {
		return `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*",` + elements + `}}`
	}
	for name, text := range map[string]func(n int) string{
		"statements": func(n int) string {
			return `{"Statement":[` + numbered(`{"Sid":"%d","Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"*"}`, n) + `]}`
		},
		"actions": func(n int) string {
			return `{"Statement":{"Effect":"Allow","Action":[` + numbered(`"a:%d"`, n) + `],"Resource":"*"}}`
		},
		"principals":   func(n int) string { return statement(`"Principal":{"AWS":[` + numbered(`"%012d"`, n) + `]}`) },
		"operators":    func(n int) string { return statement(`"Condition":{` + numbered(`"Op%d":{"a:b":"c"}`, n) + `}`) },
		"keys":         func(n int) string { return statement(`"Condition":{"Bool":{` + numbered(`"a:%d":[true]`, n) + `}}`) },
		"values":       func(n int) string { return statement(`"Condition":{"Bool":{"a:b":[` + numbered(`"%d"`, n) + `]}}`) },
		"other things": func(n int) string { return statement(numbered(`"_%d":[{}]`, n)) },
	} {
		allocations := func(n int) float64 {
			text := text(n)
			return testing.AllocsPerRun(3, func() { parsed(t, text) })
		}
		if once, twice := allocations(n), allocations(2*n); twice > 2*once+50 {
			t.Errorf("%s: %v allocations for %d, %v for twice as many", name, once, n, twice)
		}
	}
}

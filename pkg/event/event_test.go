package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/event"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// samples are the project's sample events, by source and name.
const samples = "../../events"

func read(t testing.TB, elem ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// walk returns the paths of all JSON files in a folder, from there.
func walk(t testing.TB, folder string) []string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".json" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		t.Fatalf("no JSON files in %s: %v", folder, err)
	}
	return paths
}

func decode(t testing.TB, data []byte) *event.Event {
	t.Helper()
	e, err := event.DecodeAny(data)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// edit returns the JSON object with the value at a path of dots replaced; an
// empty value removes the field.
func edit(t testing.TB, data []byte, path, value string) []byte {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	keys := strings.Split(path, ".")
	at := root
	for _, key := range keys[:len(keys)-1] {
		next, ok := at[key].(map[string]any)
		if !ok {
			t.Fatalf("edit %s: there is no object %s", path, key)
		}
		at = next
	}
	last := keys[len(keys)-1]
	if value == "" {
		delete(at, last)
	} else {
		at[last] = json.RawMessage(value)
	}
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// decoded is an event as the golden file shows it.
type decoded struct {
	Kind                                    string
	ID, Source, DetailType, Account, Region string
	Detail                                  event.Detail
	Mismatch, Dismiss                       string `json:",omitempty"`
}

func kind(d event.Detail) string {
	switch d.(type) {
	case *event.Call:
		return "call"
	case *event.Item:
		return "item"
	case *event.Compliance:
		return "compliance"
	case *event.Finding:
		return "finding"
	case *event.Canary:
		return "canary"
	case *event.Other:
		return "other"
	}
	return "unknown"
}

func TestSampleEventsDecode(t *testing.T) {
	all := map[string]decoded{}
	for _, path := range walk(t, samples) {
		e := decode(t, read(t, samples, path))
		all[path] = decoded{
			kind(e.Detail), e.ID, e.Source, e.DetailType, e.Account, e.Region, e.Detail, e.Mismatch(), e.Dismiss(),
		}
	}
	got, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	golden := filepath.Join("testdata", "samples.golden.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(read(t, golden)), string(got)); diff != "" {
		t.Errorf("decoded events differ from %s (-want +got); go test -update rewrites it:\n%s", golden, diff)
	}
}

func TestDetailTypeAndSourceChooseTheKind(t *testing.T) {
	call := read(t, samples, "cloudtrail/s3-put-bucket-policy.json")
	for _, tt := range []struct{ name, source, detailType, kind string }{
		{"API call", "aws.s3", "AWS API Call via CloudTrail", "call"},
		{"sign-in as events spell it", "aws.signin", "AWS Console Sign In via CloudTrail", "call"},
		{"sign-in as the user guide spells it", "aws.signin", "AWS Console Signin via CloudTrail", "call"},
		{"service event", "aws.ec2", "AWS Service Event via CloudTrail", "call"},
		{"imitation from an application", "com.example", "AWS API Call via CloudTrail", "other"},
		{"imitation of the prefix", "awsome.s3", "AWS API Call via CloudTrail", "other"},
		{"another AWS event", "aws.ec2", "EC2 Instance State-change Notification", "other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := edit(t, edit(t, call, "source", `"`+tt.source+`"`), "detail-type", `"`+tt.detailType+`"`)
			if got := kind(decode(t, data).Detail); got != tt.kind {
				t.Errorf("decoded as %s, want %s", got, tt.kind)
			}
		})
	}
}

func TestImitationOfCloudTrailIsDismissed(t *testing.T) {
	data := edit(t, read(t, samples, "cloudtrail/s3-put-bucket-policy.json"), "source", `"com.example"`)
	if e := decode(t, data); e.Dismiss() == "" {
		t.Error("an event that only imitates CloudTrail is a reason to look")
	}
}

func TestEventThatChangesNothingIsDismissed(t *testing.T) {
	call := read(t, samples, "cloudtrail/s3-put-bucket-policy.json")
	compliance := read(t, samples, "config/s3-bucket-non-compliant.json")
	finding := read(t, samples, "guardduty/s3-bucket-anonymous-access-granted.json")
	for _, tt := range []struct {
		name, want  string
		data        []byte
		path, value string
	}{
		{"successful call", "", call, "detail.readOnly", "false"},
		{"call without readOnly", "", call, "detail.readOnly", ""},
		{"call whose errorCode is null", "", call, "detail.errorCode", "null"},
		{"failed call", "the call failed (AccessDenied)", call, "detail.errorCode", `"AccessDenied"`},
		{"failed call with a long code", "the call failed (" + strings.Repeat("x", 100) + ")", call, "detail.errorCode", `"` + strings.Repeat("x", 101) + `"`},
		{"reading call", "the call only reads", call, "detail.readOnly", "true"},
		{"reading call, as text", "the call only reads", call, "detail.readOnly", `"true"`},
		{"violation found by Config", "", compliance, "detail.newEvaluationResult.complianceType", `"NON_COMPLIANT"`},
		{"compliance found by Config", `AWS Config's verdict is "COMPLIANT"`, compliance, "detail.newEvaluationResult.complianceType", `"COMPLIANT"`},
		{"rule that no longer evaluates", `AWS Config's verdict is ""`, compliance, "detail.newEvaluationResult", "null"},
		{"finding", "", finding, "detail.service.archived", "false"},
		{"archived finding", "the finding is archived", finding, "detail.service.archived", "true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := decode(t, edit(t, tt.data, tt.path, tt.value)).Dismiss(); got != tt.want {
				t.Errorf("dismissed because %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDetailOfAnotherAccountIsAMismatch(t *testing.T) {
	for _, tt := range []struct {
		file, path string
		mismatch   bool
	}{
		{"cloudtrail/s3-put-bucket-policy.json", "detail.recipientAccountId", true},
		{"config/s3-bucket-item.json", "detail.configurationItem.awsAccountId", true},
		{"config/s3-bucket-item-oversized.json", "detail.configurationItemSummary.awsAccountId", true},
		{"config/s3-bucket-non-compliant.json", "detail.awsAccountId", true},
		// The bus of a GuardDuty administrator carries its members' findings.
		{"guardduty/s3-bucket-anonymous-access-granted.json", "detail.accountId", false},
	} {
		t.Run(tt.file, func(t *testing.T) {
			data := read(t, samples, tt.file)
			if got := decode(t, data).Mismatch(); got != "" {
				t.Errorf("the sample itself is a mismatch: %s", got)
			}
			got := decode(t, edit(t, data, tt.path, `"333333333333"`)).Mismatch()
			if want := "The event came from the bus of account 222222222222 but tells of account 333333333333."; tt.mismatch && got != want {
				t.Errorf("mismatch is %q, want %q", got, want)
			}
			if !tt.mismatch && got != "" {
				t.Errorf("mismatch is %q, want none", got)
			}
		})
	}
}

func TestSampleFindingsAreKnownInBothSpellings(t *testing.T) {
	data := read(t, samples, "guardduty/s3-bucket-anonymous-access-granted.json")
	for _, tt := range []struct {
		name, info string
		want       bool
	}{
		{"field", `{"sample": true}`, true},
		{"JSON text", `{"value": "{\"sample\":true}", "type": "default"}`, true},
		{"no sample", `{"value": "{}", "type": "default"}`, false},
		{"text that is no JSON", `{"value": "sample", "type": "default"}`, false},
		{"nothing", ``, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := decode(t, edit(t, data, "detail.service.additionalInfo", tt.info)).Detail.(*event.Finding)
			if f.Sample != tt.want {
				t.Errorf("Sample is %t, want %t", f.Sample, tt.want)
			}
		})
	}
}

func TestFaultyFieldIsNamed(t *testing.T) {
	const (
		call       = "cloudtrail/s3-put-bucket-policy.json"
		item       = "config/s3-bucket-item.json"
		oversized  = "config/s3-bucket-item-oversized.json"
		compliance = "config/s3-bucket-non-compliant.json"
		finding    = "guardduty/s3-bucket-anonymous-access-granted.json"
	)
	fields := map[string][]string{
		call: {
			"id", "source", "detail-type", "account", "region", "time", "detail",
			"detail.eventSource", "detail.eventName", "detail.awsRegion", "detail.eventTime", "detail.recipientAccountId",
		},
		item: {
			"detail.configurationItem.awsAccountId", "detail.configurationItem.awsRegion",
			"detail.configurationItem.resourceType", "detail.configurationItem.resourceId",
		},
		oversized: {
			"detail.configurationItemSummary.awsAccountId", "detail.configurationItemSummary.awsRegion",
			"detail.configurationItemSummary.resourceType", "detail.configurationItemSummary.resourceId",
		},
		compliance: {"detail.awsAccountId", "detail.awsRegion", "detail.resourceType", "detail.resourceId"},
		finding:    {"detail.accountId", "detail.id", "detail.type", "detail.region"},
	}
	for file, names := range fields {
		for _, name := range names {
			for _, value := range []string{"", "null", "4711", "true", `""`, `["x"]`} {
				t.Run(name+" is "+value, func(t *testing.T) {
					e, err := event.Decode(edit(t, read(t, samples, file), name, value))
					wantField(t, e, err, name)
				})
			}
		}
	}
	for _, tt := range []struct{ file, field, value string }{
		{call, "account", `"22222222222"`},
		{call, "account", `"2222222222222"`},
		{call, "account", `"22222222222x"`},
		{call, "account", `"２２２２"`}, // 12 bytes
		{call, "detail.recipientAccountId", `"anonymous"`},
		{item, "detail.configurationItem.awsAccountId", `"example"`},
		{compliance, "detail.awsAccountId", `"example"`},
		{finding, "detail.accountId", `"example"`},
		{call, "time", `"yesterday"`},
		{call, "time", `"2026-11-22"`},
		{call, "time", `"0000-01-01T00:00:00+01:00"`}, // the year before 0 in UTC
		{call, "detail.eventTime", `"2026-13-22T01:00:00Z"`},
		{call, "detail.eventTime", `"9999-12-31T23:59:59-01:00"`}, // the year 10000 in UTC
		{call, "detail", `"text"`},
	} {
		t.Run(tt.field+" is "+tt.value, func(t *testing.T) {
			e, err := event.Decode(edit(t, read(t, samples, tt.file), tt.field, tt.value))
			wantField(t, e, err, tt.field)
		})
	}
}

func TestFaultyFieldOfABareRecordIsNamed(t *testing.T) {
	record := read(t, "testdata", "records", "iam-user.json")
	for _, name := range []string{"eventName", "awsRegion", "eventTime", "recipientAccountId", "eventID"} {
		for _, value := range []string{"", "null", `""`} {
			t.Run(name+" is "+value, func(t *testing.T) {
				e, err := event.DecodeAny(edit(t, record, name, value))
				wantField(t, e, err, name)
			})
		}
	}
}

// wantField checks that there is no event but a *FieldError which names the field.
func wantField(t *testing.T, e *event.Event, err error, name string) {
	t.Helper()
	var fault *event.FieldError
	switch {
	case e != nil:
		t.Errorf("got event %v with error %v", e, err)
	case !errors.As(err, &fault):
		t.Errorf("got error %v, want a *FieldError", err)
	case fault.Field != name || !strings.Contains(err.Error(), name):
		t.Errorf("got %q about field %q, want field %q", err, fault.Field, name)
	}
}

func TestWhatIsNoEventIsRefused(t *testing.T) {
	good := read(t, samples, "cloudtrail/s3-put-bucket-policy.json")
	nested := func(levels int) []byte {
		value := strings.Repeat("[", levels) + strings.Repeat("]", levels)
		return edit(t, good, "detail.requestParameters", value)
	}
	for _, tt := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "event is not JSON: it is empty"},
		{"white space", []byte(" \n"), "event is not JSON: unexpected end of JSON input at byte 2"},
		{"text", []byte("hello"), "event is not JSON: invalid character 'h' looking for beginning of value at byte 1"},
		{"NUL bytes", []byte("\x00\x00\x00"), `event is not JSON: invalid character '\x00' looking for beginning of value at byte 1`},
		{"NUL byte in the middle", []byte("{\"id\":\x00}"), `event is not JSON: invalid character '\x00' looking for beginning of value at byte 7`},
		{"cut off", []byte(`{"id":"x","acc`), "event is not JSON: unexpected end of JSON input at byte 14"},
		{"two values", []byte(`{}{}`), "event is not JSON: invalid character '{' after top-level value at byte 3"},
		{"number", []byte("4711"), "event is not a JSON object"},
		{"text in quotes", []byte(`"{}"`), "event is not a JSON object"},
		{"null", []byte("null"), "event is not a JSON object"},
		{"list", []byte("[{}]"), "event is not a JSON object"},
		{"too long", append(bytes.Clone(good), bytes.Repeat([]byte(" "), event.MaxSize+1-len(good))...), "event is 1048577 bytes long, the limit is 1048576"},
		{"nested too deep", nested(event.MaxDepth - 1), "event is nested deeper than 100 levels"},
		{"nested far too deep", bytes.Repeat([]byte("["), event.MaxSize), "event is nested deeper than 100 levels"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, decode := range []func([]byte) (*event.Event, error){event.Decode, event.DecodeAny} {
				_, err := decode(tt.data)
				var fault *event.FieldError
				if !errors.As(err, &fault) || fault.Field != "" || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want a *FieldError about the whole event: %s", err, tt.want)
				}
			}
		})
	}
	t.Run("just nested enough", func(t *testing.T) {
		if _, err := event.Decode(nested(event.MaxDepth - 2)); err != nil { // root and detail are the first two levels
			t.Error(err)
		}
	})
	t.Run("just short enough", func(t *testing.T) {
		if _, err := event.Decode(append(bytes.Clone(good), bytes.Repeat([]byte(" "), event.MaxSize-len(good))...)); err != nil {
			t.Error(err)
		}
	})
	t.Run("brackets in a text are no nesting", func(t *testing.T) {
		data := edit(t, good, "detail.requestParameters", `"\"`+strings.Repeat("[", 200)+`"`)
		if _, err := event.Decode(data); err != nil {
			t.Error(err)
		}
	})
}

func TestInvalidUTF8InAnActorDoesNotHideTheEvent(t *testing.T) {
	data := bytes.Replace(read(t, samples, "cloudtrail/s3-delete-bucket-public-access-block.json"), []byte("aws-cli"), []byte("\xff\xfe\xc3"), 1)
	e := decode(t, data)
	if c := e.Detail.(*event.Call); c.Name != "DeleteBucketPublicAccessBlock" || !strings.Contains(c.Actor.UserAgent, "\xff\xfe\xc3") {
		t.Errorf("decoded as %s by %q", c.Name, c.Actor.UserAgent)
	}
}

func TestBareRecordIsPutIntoItsEnvelope(t *testing.T) {
	for _, tt := range []struct{ file, source, detailType string }{
		{"iam-user.json", "aws.s3", event.CallViaCloudTrail},
		{"root-sign-in-mfa.json", "aws.signin", event.SignInViaCloudTrail},
		{"service-event.json", "aws.ec2", "AWS Service Event via CloudTrail"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			e := decode(t, read(t, "testdata", "records", tt.file))
			c := e.Detail.(*event.Call)
			if e.Source != tt.source || e.DetailType != tt.detailType || e.ID != c.ID || e.Account != c.Account || e.Region != c.Region {
				t.Errorf("the envelope says %s, %s, %s, %s, %s", e.Source, e.DetailType, e.ID, e.Account, e.Region)
			}
			again, err := event.Decode(e.Raw())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(identify(e), identify(again)); diff != "" {
				t.Errorf("the envelope decodes to another event (-record +envelope):\n%s", diff)
			}
		})
	}
}

// identity is what decides where an event leads.
type identity struct {
	ID, Source, DetailType, Account, Region string
	Name, CallAccount, CallRegion           string
	Actor                                   event.Actor
	Dismiss, Mismatch                       string
}

func identify(e *event.Event) identity {
	i := identity{
		ID: e.ID, Source: e.Source, DetailType: e.DetailType, Account: e.Account, Region: e.Region,
		Dismiss: e.Dismiss(), Mismatch: e.Mismatch(),
	}
	if c, ok := e.Detail.(*event.Call); ok {
		i.Name, i.CallAccount, i.CallRegion, i.Actor = c.Name, c.Account, c.Region, c.Actor
	}
	return i
}

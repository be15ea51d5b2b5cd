package event_test

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/guardduty/types"
	"github.com/tidwall/gjson"

	"github.com/snapback-aws/snapback/pkg/event"
)

// extraFields are fields of the sample findings that GuardDuty's API does not
// have, with why they are there all the same.
var extraFields = map[string]string{
	"service.additionalInfo.sample": "EventBridge has what value holds as JSON text as fields too; CreateSampleFindings sets this one",
	"service.additionalInfo.domain": "EventBridge has what value holds as JSON text as fields too",
}

// The sample findings are written for this project: what they are made of must
// be what GuardDuty really has. The SDK's types are generated from its model.
func TestSampleFindingsHaveGuardDutysOwnFields(t *testing.T) {
	used := map[string]bool{}
	for _, path := range walk(t, filepath.Join(samples, "guardduty")) {
		t.Run(path, func(t *testing.T) {
			detail := gjson.GetBytes(read(t, samples, "guardduty", path), "detail")
			checkFields(t, "", detail, reflect.TypeFor[types.Finding](), used)
		})
	}
	for field, why := range extraFields {
		if !used[field] {
			t.Errorf("no sample finding has the extra field %s (%s)", field, why)
		}
	}
}

// checkFields holds JSON to a type of the SDK.
func checkFields(t *testing.T, path string, v gjson.Result, of reflect.Type, used map[string]bool) {
	t.Helper()
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	switch {
	case v.Type == gjson.Null:
	case !fits(v, of):
		t.Errorf("%s is %.40s, of which GuardDuty makes a %s", path, v.Raw, of)
	case v.IsArray():
		for _, element := range v.Array() {
			checkFields(t, path, element, of.Elem(), used)
		}
	case v.IsObject():
		v.ForEach(func(key, value gjson.Result) bool {
			field, ok := fieldOf(of, key.Str)
			at := strings.TrimPrefix(path+"."+key.Str, ".")
			switch {
			case ok:
				checkFields(t, at, value, field, used)
			case extraFields[at] != "":
				used[at] = true
			default:
				t.Errorf("GuardDuty's %s has no field %s", of, at)
			}
			return true
		})
	}
}

// fits reports whether a value is of the JSON that a type is written as.
func fits(v gjson.Result, of reflect.Type) bool {
	switch {
	case of == reflect.TypeFor[time.Time](), of.Kind() == reflect.String:
		return v.Type == gjson.String
	case of.Kind() == reflect.Bool:
		return v.IsBool()
	case of.Kind() == reflect.Slice:
		return v.IsArray()
	case of.Kind() == reflect.Struct, of.Kind() == reflect.Map:
		return v.IsObject()
	}
	return v.Type == gjson.Number
}

// fieldOf is the type of the field that is written under a name.
func fieldOf(of reflect.Type, name string) (reflect.Type, bool) {
	if of.Kind() == reflect.Map {
		return of.Elem(), true
	}
	first, size := utf8.DecodeRuneInString(name)
	field, ok := of.FieldByName(string(unicode.ToUpper(first)) + name[size:])
	if !ok || !unicode.IsLower(first) {
		return nil, false
	}
	return field.Type, true
}

// asEventBridge writes a value of the SDK's types as EventBridge delivers it.
func asEventBridge(v reflect.Value) any {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return nil
	case v.Kind() == reflect.Pointer:
		return asEventBridge(v.Elem())
	case v.Type() == reflect.TypeFor[time.Time](), v.Kind() != reflect.Struct && v.Kind() != reflect.Slice:
		return v.Interface()
	case v.Kind() == reflect.Slice:
		list := []any{}
		for i := range v.Len() {
			list = append(list, asEventBridge(v.Index(i)))
		}
		return list
	}
	object := map[string]any{}
	for i := range v.NumField() {
		if field := v.Type().Field(i); field.IsExported() && !v.Field(i).IsZero() {
			object[strings.ToLower(field.Name[:1])+field.Name[1:]] = asEventBridge(v.Field(i))
		}
	}
	return object
}

// finding decodes a finding that is written in the SDK's types, so that what
// the accessors read of it is GuardDuty's own field.
func finding(t *testing.T, f types.Finding) *event.Finding {
	t.Helper()
	f.AccountId, f.Id, f.Region = aws.String("222222222222"), aws.String("f"), aws.String("us-east-1")
	if f.Type == nil {
		f.Type = aws.String("Test:Any/Type")
	}
	detail, err := json.Marshal(asEventBridge(reflect.ValueOf(f)))
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, edit(t, read(t, samples, "guardduty/ec2-cryptomining.json"), "detail", string(detail))).Detail.(*event.Finding)
}

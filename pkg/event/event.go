// Package event reads what EventBridge delivers: CloudTrail calls, AWS Config
// items and compliance changes, GuardDuty findings. It also holds the event
// patterns that our rules are made of and a matcher for them.
//
// Decoding is strict where the identity of account and resource depends on it
// and lenient where AWS varies. What an event says beyond identities is kept
// as raw JSON and read by path; nothing in it is believed.
package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// The bounds of an event. EventBridge takes up to 1 MB a request (quota page
// of the EventBridge user guide); no AWS event nests deeper than some 20.
const (
	MaxSize  = 1 << 20
	MaxDepth = 100
)

// Event is an EventBridge envelope with its decoded detail.
type Event struct {
	ID         string
	Source     string
	DetailType string
	// Account and Region are those of the bus that sent the event.
	Account string
	Region  string
	Time    time.Time
	// Detail is a *Call, *Item, *Compliance, *Finding, *Canary or *Other.
	Detail Detail

	raw func() []byte
}

// Detail is what the event tells of.
type Detail interface {
	// account is the account that the detail itself names; empty if none.
	account() string
	// dismiss says why the detail is no reason to look at anything; empty if
	// it is one.
	dismiss() string
}

// Other is a detail of a kind that no control reads.
type Other struct{}

func (*Other) account() string { return "" }
func (*Other) dismiss() string { return "no control reads events of this kind" }

// Mismatch says why the event can't be trusted: its detail tells of another
// account than the one whose bus sent it. Empty if it does not. GuardDuty
// findings are the one exception: an administrator account's bus carries its
// members' findings too.
func (e *Event) Mismatch() string {
	account := e.Detail.account()
	if _, finding := e.Detail.(*Finding); finding || account == "" || account == e.Account {
		return ""
	}
	return fmt.Sprintf("The event came from the bus of account %s but tells of account %s.", e.Account, account)
}

// Dismiss says why the event is no reason to look at anything: the call
// failed, it was read-only, Config found the resource compliant. Empty if it
// is a reason.
func (e *Event) Dismiss() string { return e.Detail.dismiss() }

// Raw is the whole envelope as JSON.
func (e *Event) Raw() json.RawMessage { return e.raw() }

// FieldError is a fault of an event: the field by its path, and what is wrong.
// Retrying can't mend it.
type FieldError struct {
	Field   string // "account", "detail.eventName"; empty: the event as a whole
	Problem string
}

// Error names the field and the fault.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return "event " + e.Problem
	}
	return fmt.Sprintf("event field %q %s", e.Field, e.Problem)
}

// Decode reads one EventBridge envelope. A fault is a *FieldError. The event
// keeps data; the caller must not change it.
func Decode(data []byte) (*Event, error) {
	root, err := parse(data)
	if err != nil {
		return nil, err
	}
	return decode(root, data)
}

// DecodeAny reads one EventBridge envelope or one bare CloudTrail record, as
// CloudTrail writes it to its log files.
func DecodeAny(data []byte) (*Event, error) {
	root, err := parse(data)
	if err != nil {
		return nil, err
	}
	// Most of what is read so are records: that the name is nowhere in one is
	// seen faster than that it is no field.
	envelope := bytes.Contains(data, []byte(`"detail-type"`)) && root.Get("detail-type").Exists()
	if !envelope && root.Get("eventSource").Exists() {
		return fromRecord(root, data)
	}
	return decode(root, data)
}

func parse(data []byte) (gjson.Result, error) {
	if len(data) > MaxSize {
		return gjson.Result{}, &FieldError{"", fmt.Sprintf("is %d bytes long, the limit is %d", len(data), MaxSize)}
	}
	if tooDeep(data) {
		return gjson.Result{}, &FieldError{"", fmt.Sprintf("is nested deeper than %d levels", MaxDepth)}
	}
	if !gjson.ValidBytes(data) {
		return gjson.Result{}, &FieldError{"", "is not JSON: " + syntaxError(data)}
	}
	root := gjson.ParseBytes(data)
	if !root.IsObject() {
		return gjson.Result{}, &FieldError{"", "is not a JSON object"}
	}
	return root, nil
}

// syntaxError says where JSON breaks.
func syntaxError(data []byte) string {
	var v json.RawMessage
	err := json.Unmarshal(data, &v)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return "unknown fault"
	case len(data) == 0:
		return "it is empty"
	case errors.As(err, &syntax):
		return fmt.Sprintf("%v at byte %d", syntax, syntax.Offset)
	}
	return err.Error()
}

// tooDeep reports whether arrays and objects nest deeper than MaxDepth in data,
// which need not be valid JSON.
func tooDeep(data []byte) bool {
	if bytes.Count(data, []byte("{"))+bytes.Count(data, []byte("[")) <= MaxDepth {
		return false // so it is for most events, and counting is quick
	}
	depth := 0
	var q quotes
	for _, c := range data {
		switch {
		case q.hold(c):
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth > MaxDepth {
			return true
		}
	}
	return false
}

// quotes tells, byte by byte, which part of JSON stands in quotes.
type quotes struct{ open, escaped bool }

// plain returns how many of the next bytes stand in quotes for themselves. It
// is what hold would say of them, and quick: most of an object is such text.
func (q *quotes) plain(next []byte) int {
	if !q.open || q.escaped {
		return 0
	}
	for i, c := range next {
		if c == '"' || c == '\\' || c == '\n' {
			return i
		}
	}
	return len(next)
}

// hold reports whether the next byte belongs to a quoted text.
func (q *quotes) hold(c byte) bool {
	switch {
	case q.escaped:
		q.escaped = false
	case q.open && c == '\\':
		q.escaped = true
	case c == '"':
		q.open = !q.open
	default:
		return q.open
	}
	return true
}

func decode(root gjson.Result, data []byte) (*Event, error) {
	e := &Event{raw: func() []byte { return data }}
	var stamp string
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"id", &e.ID}, {"source", &e.Source}, {"detail-type", &e.DetailType},
		{"account", &e.Account}, {"region", &e.Region}, {"time", &stamp},
	} {
		v := root.Get(f.name)
		if v.Type != gjson.String || v.Str == "" {
			return nil, &FieldError{f.name, "is missing or no text: an EventBridge event always has it"}
		}
		*f.to = v.Str
	}
	if !IsAccount(e.Account) {
		return nil, &FieldError{"account", fmt.Sprintf("is %.40q, not a 12-digit account number", e.Account)}
	}
	var err error
	if e.Time, err = parseTime("time", stamp); err != nil {
		return nil, err
	}
	detail := root.Get("detail")
	if !detail.IsObject() {
		return nil, &FieldError{"detail", "is missing or no object"}
	}
	if e.Detail, err = decodeDetail(e, detail); err != nil {
		return nil, err
	}
	return e, nil
}

func decodeDetail(e *Event, detail gjson.Result) (Detail, error) {
	if e.Source == DrillSource && e.DetailType == DrillType {
		return decodeCanary(e, detail)
	}
	// Only AWS itself can send a source that begins with "aws.": PutEvents
	// refuses it. An event that merely looks like CloudTrail's is another kind.
	if !strings.HasPrefix(e.Source, "aws.") {
		return &Other{}, nil
	}
	switch {
	case strings.HasSuffix(e.DetailType, cloudTrailSuffix):
		return decodeCall(detail)
	case e.DetailType == ConfigItemChange:
		return decodeItem(detail)
	case e.DetailType == ConfigComplianceChange:
		return decodeCompliance(detail)
	case e.DetailType == GuardDutyFinding:
		return decodeFinding(detail)
	}
	return &Other{}, nil
}

// The detail types that are decoded. Console sign-ins are seen in two
// spellings: "Sign In" in real events, "Signin" in the CloudTrail user guide.
const (
	CallViaCloudTrail      = "AWS API Call via CloudTrail"
	SignInViaCloudTrail    = "AWS Console Sign In via CloudTrail"
	SigninViaCloudTrail    = "AWS Console Signin via CloudTrail"
	ConfigItemChange       = "Config Configuration Item Change"
	ConfigComplianceChange = "Config Rules Compliance Change"
	GuardDutyFinding       = "GuardDuty Finding"

	cloudTrailSuffix = " via CloudTrail"
)

// parseTime reads a field's time, in UTC. A time whose year has more than four
// digits there could not be written down as JSON again.
func parseTime(field, stamp string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, stamp)
	if t = t.UTC(); err != nil || t.Year() < 0 || t.Year() > 9999 {
		return time.Time{}, &FieldError{field, fmt.Sprintf("is %.40q, not an RFC 3339 time", stamp)}
	}
	return t, nil
}

// IsAccount reports whether s is a 12-digit AWS account number.
func IsAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// field is where the value of a named field goes.
type field struct {
	name string
	to   *gjson.Result
}

// pick reads fields of an object in one pass over its text, where every Get is
// a pass of its own. Of a field that is there twice the first counts, as in Get.
func pick(object gjson.Result, fields ...field) {
	if !object.IsObject() {
		return
	}
	object.ForEach(func(name, value gjson.Result) bool {
		for _, f := range fields {
			if f.name == name.Str && !f.to.Exists() {
				*f.to = value
			}
		}
		return true
	})
}

// text reads a string of a detail that must be there.
func text(detail gjson.Result, path string) (string, error) { return asText(detail.Get(path), path) }

func asText(v gjson.Result, path string) (string, error) {
	if v.Type != gjson.String || v.Str == "" {
		return "", &FieldError{"detail." + path, "is missing or no text"}
	}
	return v.Str, nil
}

// accountAt reads an account number of a detail that must be there.
func accountAt(detail gjson.Result, path string) (string, error) {
	return asAccount(detail.Get(path), path)
}

func asAccount(v gjson.Result, path string) (string, error) {
	s, err := asText(v, path)
	if err == nil && !IsAccount(s) {
		err = &FieldError{"detail." + path, fmt.Sprintf("is %.40q, not a 12-digit account number", s)}
	}
	return s, err
}

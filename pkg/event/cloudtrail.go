package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
)

// Call is a CloudTrail record: one API call or console sign-in.
type Call struct {
	ID      string
	Time    time.Time
	Source  string // eventSource: "s3.amazonaws.com"
	Name    string // eventName, which may differ from the API's name
	Region  string
	Account string // recipientAccountId: the account whose trail wrote the record
	Actor   Actor
	// ErrorCode is set if the call failed: nothing was changed.
	ErrorCode string
	ReadOnly  bool

	eventType string
	record    gjson.Result
}

func (c *Call) account() string { return c.Account }

func (c *Call) dismiss() string {
	switch {
	case c.ErrorCode != "":
		return fmt.Sprintf("the call failed (%.100s)", c.ErrorCode)
	case c.ReadOnly:
		return "the call only reads"
	}
	return ""
}

// Get reads the record by a path in the syntax of gjson:
// "requestParameters.bucketName". Only identities are to be read from it.
func (c *Call) Get(path string) gjson.Result { return c.record.Get(path) }

// Actor is who made a call, as CloudTrail's userIdentity tells it. Source:
// CloudTrail user guide, userIdentity element.
type Actor struct {
	Type      string `json:"type"` // IAMUser, AssumedRole, Root, AWSService, IdentityCenterUser, …
	ARN       string `json:"arn,omitempty"`
	Account   string `json:"account,omitempty"`
	Principal string `json:"principalId,omitempty"`
	// Name is the user's name, the session's name, "root", or the service; empty
	// for a caller of another account, of whom CloudTrail tells no name.
	Name      string `json:"name,omitempty"`
	AccessKey string `json:"accessKeyId,omitempty"`
	// Issuer is the role or user whose credentials opened the session.
	Issuer *Issuer `json:"sessionIssuer,omitempty"`
	MFA    bool    `json:"mfa"`
	// Address is where the call came from: an IP address or an AWS service.
	Address   string `json:"sourceAddress,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
	// InvokedBy is the AWS service that called on the actor's behalf.
	InvokedBy string `json:"invokedBy,omitempty"`
	// OnBehalfOf is the Identity Center user for whom the call was made.
	OnBehalfOf *IdentityCenterUser `json:"onBehalfOf,omitempty"`
}

// Issuer is the source of a session's credentials.
type Issuer struct {
	Type      string `json:"type,omitempty"`
	ARN       string `json:"arn,omitempty"`
	Account   string `json:"account,omitempty"`
	Principal string `json:"principalId,omitempty"`
	Name      string `json:"name,omitempty"`
}

// IdentityCenterUser is a user of IAM Identity Center.
type IdentityCenterUser struct {
	UserID        string `json:"userId"`
	IdentityStore string `json:"identityStoreArn,omitempty"`
}

func decodeCall(record gjson.Result) (*Call, error) {
	var source, name, region, account, stamp, id, eventType, errorCode, readOnly gjson.Result
	var by caller
	pick(record, append(by.fields(),
		field{"eventSource", &source}, field{"eventName", &name}, field{"awsRegion", &region},
		field{"recipientAccountId", &account}, field{"eventTime", &stamp}, field{"eventID", &id},
		field{"eventType", &eventType}, field{"errorCode", &errorCode}, field{"readOnly", &readOnly})...)
	c := &Call{
		ID: id.String(), ErrorCode: errorCode.String(), ReadOnly: readOnly.Bool(), Actor: by.actor(),
		eventType: eventType.String(), record: record,
	}
	var when string
	for _, want := range []struct {
		name string
		of   gjson.Result
		to   *string
	}{
		{"eventSource", source, &c.Source}, {"eventName", name, &c.Name}, {"awsRegion", region, &c.Region}, {"eventTime", stamp, &when},
	} {
		var err error
		if *want.to, err = asText(want.of, want.name); err != nil {
			return nil, err
		}
	}
	var err error
	if c.Time, err = parseTime("detail.eventTime", when); err != nil {
		return nil, err
	}
	if c.Account, err = asAccount(account, "recipientAccountId"); err != nil {
		return nil, err
	}
	return c, nil
}

// caller is the fields of a record that tell who made the call.
type caller struct{ identity, address, userAgent, additional gjson.Result }

func (c *caller) fields() []field {
	return []field{
		{"userIdentity", &c.identity}, {"sourceIPAddress", &c.address}, {"userAgent", &c.userAgent}, {"additionalEventData", &c.additional},
	}
}

func (c *caller) actor() Actor {
	var typ, arn, account, principal, name, key, session, invokedBy, onBehalfOf gjson.Result
	pick(c.identity,
		field{"type", &typ}, field{"arn", &arn}, field{"accountId", &account}, field{"principalId", &principal},
		field{"userName", &name}, field{"accessKeyId", &key}, field{"sessionContext", &session},
		field{"invokedBy", &invokedBy}, field{"onBehalfOf", &onBehalfOf})
	a := Actor{
		Type:      typ.String(),
		ARN:       arn.String(),
		Account:   account.String(),
		Principal: principal.String(),
		Name:      name.String(),
		AccessKey: key.String(),
		MFA: session.Get("attributes.mfaAuthenticated").Bool() ||
			c.additional.Get("MFAUsed").String() == "Yes",
		Address:   c.address.String(),
		UserAgent: c.userAgent.String(),
		InvokedBy: invokedBy.String(),
	}
	if s := session.Get("sessionIssuer"); s.Get("arn").Exists() || s.Get("principalId").Exists() {
		a.Issuer = &Issuer{
			Type:      s.Get("type").String(),
			ARN:       s.Get("arn").String(),
			Account:   s.Get("accountId").String(),
			Principal: s.Get("principalId").String(),
			Name:      s.Get("userName").String(),
		}
	}
	if b := onBehalfOf; b.IsObject() {
		a.OnBehalfOf = &IdentityCenterUser{UserID: b.Get("userId").String(), IdentityStore: b.Get("identityStoreArn").String()}
	}
	switch {
	case a.Type == "Root":
		a.Name = "root" // userName is the account's alias, if there is one
	case a.Name != "":
	case strings.Contains(a.ARN, ":assumed-role/"), strings.Contains(a.ARN, ":federated-user/"):
		a.Name = a.ARN[strings.LastIndexByte(a.ARN, '/')+1:]
	default:
		a.Name = a.InvokedBy
	}
	return a
}

// fromRecord puts a bare CloudTrail record into the envelope in which
// EventBridge would have delivered it.
func fromRecord(record gjson.Result, data []byte) (*Event, error) {
	c, err := decodeCall(record)
	var fault *FieldError
	if errors.As(err, &fault) {
		fault.Field = strings.TrimPrefix(fault.Field, "detail.")
	}
	if err != nil {
		return nil, err
	}
	if c.ID == "" {
		return nil, &FieldError{"eventID", "is missing: it becomes the event's ID"}
	}
	service, _, _ := strings.Cut(c.Source, ".")
	return &Event{
		ID:         c.ID,
		Source:     "aws." + service,
		DetailType: recordDetailType(c.eventType),
		Account:    c.Account,
		Region:     c.Region,
		Time:       c.Time,
		Detail:     c,
		// Few events of a log are matched: the envelope is written when asked for.
		raw: sync.OnceValue(func() []byte { return envelope(c, service, data) }),
	}, nil
}

// recordDetailType is the detail type under which EventBridge delivers
// CloudTrail's event types.
func recordDetailType(eventType string) string {
	switch eventType {
	case "AwsConsoleSignIn":
		return SignInViaCloudTrail
	case "AwsServiceEvent":
		return "AWS Service Event via CloudTrail"
	}
	return CallViaCloudTrail
}

// envelope prints the EventBridge envelope of a bare record.
func envelope(c *Call, service string, data []byte) []byte {
	head, err := json.Marshal(struct {
		Version    string   `json:"version"`
		ID         string   `json:"id"`
		DetailType string   `json:"detail-type"`
		Source     string   `json:"source"`
		Account    string   `json:"account"`
		Time       string   `json:"time"`
		Region     string   `json:"region"`
		Resources  []string `json:"resources"`
	}{
		"0", c.ID, recordDetailType(c.eventType), "aws." + service,
		c.Account, c.Time.UTC().Format(time.RFC3339), c.Region, []string{},
	})
	if err != nil {
		panic(err) // strings always marshal
	}
	out := make([]byte, 0, len(head)+len(data)+len(`,"detail":`))
	out = append(out, head[:len(head)-1]...)
	out = append(out, `,"detail":`...)
	out = append(out, data...)
	return append(out, '}')
}

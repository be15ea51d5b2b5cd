package evidence

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// manifest is what an investigation wants to know of an instance and can't read
// any longer once it is contained.
type manifest struct {
	Instance   description        `json:"instance"`
	Interfaces []networkInterface `json:"interfaces"`
	Groups     []group            `json:"securityGroups"`
	Tables     []routeTable       `json:"routeTables"`
	Addresses  []elasticAddress   `json:"elasticAddresses"`
	Console    string             `json:"consoleOutput"` // its end
	UserData   *userData          `json:"userData"`      // null: none
	// Unread says what could not be read, with EC2's error code.
	Unread map[string]string `json:"unread,omitempty"`
	// Truncated says that lists were cut, so that the manifest fits into the case.
	Truncated bool `json:"truncated,omitempty"`
}

type description struct {
	ID           string          `json:"id"`
	Type         string          `json:"type"`
	State        string          `json:"state"`
	Image        string          `json:"image"`
	Launched     time.Time       `json:"launched"`
	Lifecycle    string          `json:"lifecycle,omitempty"` // "spot", "scheduled"
	Zone         string          `json:"availabilityZone"`
	VPC          string          `json:"vpc"`
	Subnet       string          `json:"subnet"`
	Profile      string          `json:"instanceProfile,omitempty"` // ARN
	KeyName      string          `json:"keyName,omitempty"`
	Metadata     metadataOptions `json:"metadataOptions"`
	BlockDevices []blockDevice   `json:"blockDevices"`
	Tags         []tagged        `json:"tags"`
}

type metadataOptions struct {
	Endpoint string `json:"httpEndpoint"`
	Tokens   string `json:"httpTokens"`
	HopLimit int32  `json:"httpPutResponseHopLimit"`
	Tags     string `json:"instanceMetadataTags,omitempty"`
}

type blockDevice struct {
	Device              string    `json:"device"`
	Volume              string    `json:"volume"`
	Attached            time.Time `json:"attached"`
	DeleteOnTermination bool      `json:"deleteOnTermination"`
}

type tagged struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// userData stands for the instance's user data, which often holds secrets: enough
// to know them again.
type userData struct {
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// facts reads the manifest in one round trip. A part that may not be read is named
// in it; an error says that retrying may mend what went wrong.
func facts(ctx context.Context, session *cloud.Session, t control.Target, in *types.Instance) (json.RawMessage, error) {
	m := &manifest{Instance: describe(in), Interfaces: interfacesOf(in), Unread: map[string]string{}}
	parts := []struct {
		name string
		read func() error
	}{
		{"securityGroups", func() (err error) { m.Groups, err = groups(ctx, session, m.Interfaces); return err }},
		{"routeTables", func() (err error) { m.Tables, err = tables(ctx, session, m.Interfaces); return err }},
		{"elasticAddresses", func() (err error) { m.Addresses, err = addresses(ctx, session, m.Interfaces); return err }},
		{"consoleOutput", func() (err error) { m.Console, err = console(ctx, session, t); return err }},
		{"userData", func() (err error) { m.UserData, err = readUserData(ctx, session, t); return err }},
	}
	failed := make([]error, len(parts))
	var side sync.WaitGroup
	for i, p := range parts {
		side.Go(func() { failed[i] = p.read() })
	}
	side.Wait()
	for i, err := range failed {
		var api smithy.APIError
		switch {
		case err == nil:
		case !cloud.Permanent(err) || !errors.As(err, &api):
			return nil, err
		default:
			m.Unread[parts[i].name] = api.ErrorCode()
		}
	}
	return encode(m)
}

// encode makes JSON of a manifest that is no longer than a change may bring:
// where it is, the longest list is cut in half, as often as need be.
func encode(m *manifest) (json.RawMessage, error) {
	text, err := json.Marshal(m)
	if err != nil || len(text) <= control.MaxFacts {
		return text, err
	}
	m.Truncated = true
	if text, err = json.Marshal(m); err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	for len(text) > control.MaxFacts {
		list, cut := longest(tree, nil)
		if len(list) == 0 {
			break // what is left has no lists, and no text longer than the console's end
		}
		cut(list[:len(list)/2])
		if text, err = json.Marshal(tree); err != nil {
			return nil, err
		}
	}
	return text, nil
}

// longest finds the longest list in a tree of JSON, and how to replace it.
func longest(tree any, replace func([]any)) (list []any, cut func([]any)) {
	look := func(node any, replace func([]any)) {
		if l, r := longest(node, replace); len(l) > len(list) {
			list, cut = l, r
		}
	}
	switch n := tree.(type) {
	case []any:
		list, cut = n, replace
		for i := range n {
			look(n[i], func(v []any) { n[i] = v })
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(n)) {
			look(n[key], func(v []any) { n[key] = v })
		}
	}
	return list, cut
}

func describe(in *types.Instance) description {
	d := description{
		ID: aws.ToString(in.InstanceId), Type: string(in.InstanceType), Image: aws.ToString(in.ImageId),
		Launched: aws.ToTime(in.LaunchTime), Lifecycle: string(in.InstanceLifecycle),
		VPC: aws.ToString(in.VpcId), Subnet: aws.ToString(in.SubnetId), KeyName: aws.ToString(in.KeyName),
	}
	if in.State != nil {
		d.State = string(in.State.Name)
	}
	if in.Placement != nil {
		d.Zone = aws.ToString(in.Placement.AvailabilityZone)
	}
	if in.IamInstanceProfile != nil {
		d.Profile = aws.ToString(in.IamInstanceProfile.Arn)
	}
	if o := in.MetadataOptions; o != nil {
		d.Metadata = metadataOptions{string(o.HttpEndpoint), string(o.HttpTokens), aws.ToInt32(o.HttpPutResponseHopLimit), string(o.InstanceMetadataTags)}
	}
	for _, m := range in.BlockDeviceMappings {
		if m.Ebs != nil {
			d.BlockDevices = append(d.BlockDevices, blockDevice{
				aws.ToString(m.DeviceName), aws.ToString(m.Ebs.VolumeId), aws.ToTime(m.Ebs.AttachTime), aws.ToBool(m.Ebs.DeleteOnTermination),
			})
		}
	}
	for _, t := range in.Tags {
		d.Tags = append(d.Tags, tagged{aws.ToString(t.Key), aws.ToString(t.Value)})
	}
	slices.SortFunc(d.BlockDevices, func(a, b blockDevice) int { return cmp.Compare(a.Device, b.Device) })
	slices.SortFunc(d.Tags, func(a, b tagged) int { return cmp.Compare(a.Key, b.Key) })
	return d
}

// maxConsole is how many bytes of the console's output are kept: its end. EC2 has 64 KB.
const maxConsole = 4 << 10

// console reads the end of the console's output. The latest is there on Nitro
// instances alone; of others EC2 has what it was after the last start (EC2 API
// reference, GetConsoleOutput): that is one round trip more.
func console(ctx context.Context, session *cloud.Session, t control.Target) (string, error) {
	in := &ec2.GetConsoleOutputInput{InstanceId: aws.String(t.ID), Latest: aws.Bool(true)}
	out, err := instance.Client(session).GetConsoleOutput(ctx, in)
	if cloud.Is(err, "UnsupportedOperation") {
		in.Latest = nil
		out, err = instance.Client(session).GetConsoleOutput(ctx, in)
	}
	if err != nil {
		return "", fmt.Errorf("get console output of instance %s: %w", t.ID, err)
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	if err != nil {
		return "", fmt.Errorf("decode console output of instance %s: %w", t.ID, err)
	}
	return clean(string(text)), nil
}

// escape is an escape sequence of a terminal (ECMA-48, control sequences).
var escape = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]`)

// clean is the end of a text that whoever is on the instance could choose, without
// what would do something to the terminal of its reader.
func clean(text string) string {
	text = escape.ReplaceAllString(strings.ToValidUTF8(text, "?"), "")
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
	return strings.ToValidUTF8(text[max(0, len(text)-maxConsole):], "")
}

func readUserData(ctx context.Context, session *cloud.Session, t control.Target) (*userData, error) {
	out, err := instance.Client(session).DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: aws.String(t.ID), Attribute: types.InstanceAttributeNameUserData,
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("describe user data of instance %s: %w", t.ID, err)
	case out.UserData == nil || aws.ToString(out.UserData.Value) == "":
		return nil, nil
	}
	data, err := base64.StdEncoding.DecodeString(*out.UserData.Value)
	if err != nil {
		return nil, fmt.Errorf("decode user data of instance %s: %w", t.ID, err)
	}
	sum := sha256.Sum256(data)
	return &userData{len(data), hex.EncodeToString(sum[:])}, nil
}

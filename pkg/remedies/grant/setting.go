package grant

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/tidwall/gjson"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

const noSuchEntity = "NoSuchEntity"

// rowOf finds the calls for a setting by its kind and by what has it.
func rowOf(s Setting) (*row, error) {
	of, _, _ := strings.Cut(s.Entity, "/")
	if strings.HasPrefix(s.Entity, "arn:") {
		of = "policy"
	}
	i := slices.IndexFunc(rows, func(r row) bool { return r.kind == s.Kind && r.of == of })
	if i < 0 {
		return nil, fmt.Errorf("there is no %s", s)
	}
	return &rows[i], nil
}

// at is a setting as IAM's calls name it.
type at struct {
	entity *string // "alice", or the ARN of a policy
	name   *string
	value  *string
}

func (s Setting) at() at {
	entity := s.Entity
	if !strings.HasPrefix(entity, "arn:") {
		entity = entity[strings.LastIndexByte(entity, '/')+1:]
	}
	return at{aws.String(entity), aws.String(s.Name), s.Value}
}

// read is the setting's value now. It is control.ErrGone if what has it, or what
// has none but for not existing, is gone.
func (s Setting) read(ctx context.Context, c *iam.Client) (*string, error) {
	r, err := rowOf(s)
	if err != nil {
		return nil, err
	}
	value, err := r.read.do(ctx, c, s.at())
	switch {
	case cloud.Is(err, noSuchEntity), err == nil && value == nil && r.clear.do == nil:
		return nil, fmt.Errorf("read %s: %w", s, control.ErrGone)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", s, err)
	}
	return value, nil
}

// write sets the setting to its value, whatever it is now. To set it again is no
// error of any of these calls (IAM API reference; for groups cloud-custodian pull
// request 4730), and to take away what is not there is NoSuchEntity.
func (s Setting) write(ctx context.Context, c *iam.Client) error {
	r, err := rowOf(s)
	if err != nil {
		return err
	}
	w := r.set
	if s.Value == nil {
		w = r.clear
	}
	if w.do == nil {
		return fmt.Errorf("%s can't be without a value", s)
	}
	err = w.do(ctx, c, s.at())
	var limit *types.LimitExceededException
	switch {
	case err == nil, s.Value == nil && cloud.Is(err, noSuchEntity):
		return nil
	case r.alone && cloud.Is(err, noSuchEntity):
		return fmt.Errorf("set %s: %w", s, control.ErrGone)
	case errors.As(err, &limit):
		// IAM answers with status 409, which elsewhere stands for a conflict that a
		// later attempt does not meet. The exception alone, without the response, is
		// what it is: final.
		return fmt.Errorf("set %s: %w", s, limit)
	}
	return fmt.Errorf("set %s: %w", s, err)
}

// is reports whether two values of a setting are the same.
func (s Setting) is(other Setting) bool {
	if s.Value == nil || other.Value == nil {
		return s.Value == other.Value
	}
	if s.Kind == InlinePolicy || s.Kind == Trust {
		return canonical(*s.Value) == canonical(*other.Value)
	}
	return *s.Value == *other.Value
}

// canonical is the same for all documents that differ only in order, in white
// space or in whether a single value is a list: nothing of that means anything in
// a policy, and AWS keeps none of it for certain. Of trust policies it returns the
// lists and keys in an order of its own. Sources: IAM user guide, "Troubleshoot
// IAM policies", "Policy restructuring"; aws-controllers-k8s/community issue 2875;
// terraform-provider-aws issue 30870.
func canonical(document string) string {
	if !gjson.Valid(document) {
		return document
	}
	return ordered(gjson.Parse(document))
}

// ordered keeps a key that is there twice: who knows what it means to IAM.
func ordered(v gjson.Result) string {
	var parts []string
	switch {
	case v.IsObject():
		v.ForEach(func(key, value gjson.Result) bool {
			parts = append(parts, fmt.Sprintf("%q:%s", key.Str, ordered(value)))
			return true
		})
		slices.Sort(parts)
		return "{" + strings.Join(parts, ",") + "}"
	case v.IsArray():
		for _, item := range v.Array() {
			parts = append(parts, ordered(item))
		}
		if len(parts) == 1 {
			return parts[0]
		}
		slices.Sort(parts)
		return "[" + strings.Join(parts, ",") + "]"
	case v.Type == gjson.String:
		return fmt.Sprintf("%q", v.Str)
	}
	return fmt.Sprintf("%q", v.Raw) // true and "true" are one in a condition
}

// decoded is a document's text as IAM returns it: percent-encoded (IAM API
// reference, GetUserPolicy).
func decoded(document *string) (*string, error) {
	text, err := url.PathUnescape(aws.ToString(document))
	if err != nil {
		return nil, fmt.Errorf("decode the document: %w", err)
	}
	return &text, nil
}

// permissions are the calls that read settings of some kinds, and those that
// write them.
func permissions(kinds []Kind) (read, write []control.Permission) {
	for _, r := range rows {
		if !slices.Contains(kinds, r.kind) {
			continue
		}
		read = add(read, r.of, r.read.operations...)
		written := r.of
		if r.kind == Membership {
			written = "group" // service authorization reference, AWS Identity and Access Management
		}
		write = add(write, written, r.set.operation)
		if r.clear.do != nil {
			write = add(write, written, r.clear.operation)
		}
	}
	return read, write
}

// add adds the permissions for operations on one type of entity, once each.
func add(to []control.Permission, of string, operations ...string) []control.Permission {
	for _, o := range operations {
		p := control.Permission{Call: "IAM." + o, Action: "iam:" + o, Resource: "arn:${Partition}:iam::${Account}:" + of + "/*"}
		if !slices.Contains(to, p) {
			to = append(to, p)
		}
	}
	return to
}

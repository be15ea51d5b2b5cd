package principal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// maxPolicies is the number of characters, less white space, that the inline
// policies of a role may have together (IAM user guide, "IAM and AWS STS quotas").
const maxPolicies = 10240

// policyName is the name of a policy about one session: short, however long the
// session's name is. IAM has no conditional write: two sessions that are contained
// at once must not share a policy.
func policyName(prefix, userID string) string {
	sum := sha256.Sum256([]byte(userID))
	return prefix + hex.EncodeToString(sum[:8])
}

// readRole reads a role and one of its inline policies, side by side.
func readRole(ctx context.Context, session *cloud.Session, role, policy string) (r *types.Role, document *string, err error) {
	var unread error
	var side sync.WaitGroup
	side.Go(func() { document, unread = readPolicy(ctx, session, role, policy) })
	out, err := client(session).GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(role)})
	side.Wait()
	switch {
	case cloud.Is(err, noSuchEntity):
		return nil, nil, fmt.Errorf("get role %s: %w", role, control.ErrGone)
	case err != nil:
		return nil, nil, fmt.Errorf("get role %s: %w", role, err)
	}
	return out.Role, document, unread
}

// readPolicy reads an inline policy's text; nil if the role has no such policy.
// IAM hands it out percent-encoded (IAM API reference, GetRolePolicy).
func readPolicy(ctx context.Context, session *cloud.Session, role, policy string) (*string, error) {
	out, err := client(session).GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: aws.String(role), PolicyName: aws.String(policy)})
	switch {
	case cloud.Is(err, noSuchEntity):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get policy %s of role %s: %w", policy, role, err)
	}
	text, err := url.PathUnescape(aws.ToString(out.PolicyDocument))
	if err != nil {
		return nil, fmt.Errorf("decode policy %s of role %s: %w", policy, role, err)
	}
	return &text, nil
}

// writePolicy writes an inline policy of a role; a nil document is no policy.
func writePolicy(ctx context.Context, session *cloud.Session, role, policy string, document *string) error {
	if document == nil {
		_, err := client(session).DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String(role), PolicyName: aws.String(policy)})
		if err != nil && !cloud.Is(err, noSuchEntity) { // a first attempt may have lost its answer
			return fmt.Errorf("delete policy %s of role %s: %w", policy, role, err)
		}
		return nil
	}
	_, err := client(session).PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName: aws.String(role), PolicyName: aws.String(policy), PolicyDocument: document,
	})
	var limit *types.LimitExceededException
	switch {
	case errors.As(err, &limit):
		// IAM answers with status 409, which elsewhere stands for a conflict that a
		// later attempt does not meet. The exception alone, without the response, is
		// what it is: final.
		return fmt.Errorf("put policy %s of role %s: its inline policies may have %d characters together, and this one needs %d: make room and retry, or deny the whole role by hand: %w",
			policy, role, maxPolicies, len(compact(document)), limit)
	case err != nil:
		return fmt.Errorf("put policy %s of role %s: %w", policy, role, err)
	}
	return nil
}

// samePolicy reports whether two policies are equal, character by character but
// for white space: a key that is there twice may mean to IAM what it does not to us.
func samePolicy(a, b *string) bool { return (a == nil) == (b == nil) && compact(a) == compact(b) }

func compact(document *string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(aws.ToString(document))) != nil {
		return aws.ToString(document)
	}
	return b.String()
}

// Package rolepolicy reads and writes inline policies of roles, for the remedies
// that deny a role's sessions what the role allows.
package rolepolicy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

// maxPolicies is the number of characters, less white space, that the inline
// policies of a role may have together (IAM user guide, "IAM and AWS STS quotas").
// That is room for 60 of Deny's for an instance in a role that has no others.
const maxPolicies = 10240

// Deny is the policy that denies everything to the one session that has an
// aws:userid. It has not one character more than it needs: see maxPolicies.
func Deny(userID string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*",` +
		`"Condition":{"StringEquals":{"aws:userid":"` + userID + `"}}}}`
}

// Read reads an inline policy's text; nil if the role has no such policy.
// IAM hands it out percent-encoded (IAM API reference, GetRolePolicy).
func Read(ctx context.Context, session *cloud.Session, role, policy string) (*string, error) {
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

// Write writes an inline policy of a role; a nil document is no policy.
func Write(ctx context.Context, session *cloud.Session, role, policy string, document *string) error {
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
		return fmt.Errorf("put policy %s of role %s: its inline policies may have %d characters together, room for %d like this one and nothing else: "+
			"make room and retry, or deny the whole role by hand: %w", policy, role, maxPolicies, maxPolicies/len(Compact(document)), limit)
	case err != nil:
		return fmt.Errorf("put policy %s of role %s: %w", policy, role, err)
	}
	return nil
}

// Same reports whether two policies are equal, character by character but
// for white space: a key that is there twice may mean to IAM what it does not to us.
func Same(a, b *string) bool { return (a == nil) == (b == nil) && Compact(a) == Compact(b) }

// Compact is a policy without white space; as it is, if it is no JSON.
func Compact(document *string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(aws.ToString(document))) != nil {
		return aws.ToString(document)
	}
	return b.String()
}

const noSuchEntity = "NoSuchEntity"

func client(session *cloud.Session) *iam.Client {
	return cloud.Client(session, func(cfg aws.Config) *iam.Client { return iam.NewFromConfig(cfg) })
}

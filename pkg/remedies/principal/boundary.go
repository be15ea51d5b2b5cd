package principal

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// boundary is the permissions boundary of a user, under IAM's names.
type boundary struct {
	UserName            string
	PermissionsBoundary *string // the ARN of a managed policy; nil: there is none
}

// denied is the boundary that denies a user everything. AWSDenyAll is AWS's own
// and can't be edited, and an AWS managed policy may be a boundary (AWS managed
// policy reference, "AWSDenyAll"; IAM API reference, PutUserPermissionsBoundary).
func denied(a Actor) boundary {
	return boundary{UserName: a.Name(), PermissionsBoundary: aws.String("arn:" + a.Partition + ":iam::aws:policy/AWSDenyAll")}
}

var boundaries = setting[boundary]{
	read:  readBoundary,
	write: writeBoundary,
	same: func(a, b boundary) bool {
		return aws.ToString(a.PermissionsBoundary) == aws.ToString(b.PermissionsBoundary)
	},
	of: func(b boundary) string { return "User " + b.UserName },
}

func readBoundary(ctx context.Context, session *cloud.Session, _ control.Change, b boundary) (boundary, holder, error) {
	out, err := client(session).GetUser(ctx, &iam.GetUserInput{UserName: aws.String(b.UserName)})
	switch {
	case cloud.Is(err, noSuchEntity):
		return b, holder{}, fmt.Errorf("get user %s: %w", b.UserName, control.ErrGone)
	case err != nil:
		return b, holder{}, fmt.Errorf("get user %s: %w", b.UserName, err)
	}
	now := boundary{UserName: b.UserName}
	if p := out.User.PermissionsBoundary; p != nil {
		now.PermissionsBoundary = p.PermissionsBoundaryArn
	}
	return now, holder{arn: aws.ToString(out.User.Arn)}, nil
}

func writeBoundary(ctx context.Context, session *cloud.Session, _ control.Change, b boundary) error {
	if b.PermissionsBoundary == nil {
		_, err := client(session).DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: aws.String(b.UserName)})
		if err != nil && !cloud.Is(err, noSuchEntity) { // a first attempt may have lost its answer
			return fmt.Errorf("delete the permissions boundary of user %s: %w", b.UserName, err)
		}
		return nil
	}
	_, err := client(session).PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{
		UserName: aws.String(b.UserName), PermissionsBoundary: b.PermissionsBoundary,
	})
	if err != nil {
		return fmt.Errorf("put permissions boundary %s of user %s: %w", *b.PermissionsBoundary, b.UserName, err)
	}
	return nil
}

// undoBoundary puts the former boundary back. Where its policy was deleted in the
// meantime, the user stays denied: without a boundary he could do more than before.
func undoBoundary(ctx context.Context, session *cloud.Session, c control.Change) error {
	err := boundaries.undo(ctx, session, c)
	if !cloud.Is(err, noSuchEntity) {
		return err
	}
	before, _, unread := states[boundary](c)
	if unread != nil {
		return unread
	}
	return &control.LeftError{Left: []string{fmt.Sprintf(
		"Policy %s, which was the permissions boundary of user %s, no longer exists: he stays denied everything until he is given another one or his boundary is deleted.",
		aws.ToString(before.PermissionsBoundary), before.UserName)}}
}

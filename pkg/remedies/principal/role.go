package principal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/rolepolicy"
)

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
	side.Go(func() { document, unread = rolepolicy.Read(ctx, session, role, policy) })
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

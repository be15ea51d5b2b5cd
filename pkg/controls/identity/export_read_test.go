package identity

import (
	"context"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// What a reader reads, for tests.
var ReadPermissions = readPermissions

func ReadUser(ctx context.Context, s *cloud.Session, name string) (*iampolicy.Principal, error) {
	return reader{s}.user(ctx, name)
}

func ReadRole(ctx context.Context, s *cloud.Session, name string) (*iampolicy.Principal, error) {
	return reader{s}.role(ctx, name)
}

func ReadGroup(ctx context.Context, s *cloud.Session, name string) (*iampolicy.Principal, error) {
	return reader{s}.group(ctx, name)
}

func ReadVersions(ctx context.Context, s *cloud.Session, arn string) ([]iampolicy.PolicyVersion, error) {
	return reader{s}.versions(ctx, arn)
}

func ReadHolders(ctx context.Context, s *cloud.Session, arn string) ([]string, error) {
	return reader{s}.holders(ctx, arn)
}

func ReadProfileRole(ctx context.Context, s *cloud.Session, name string) (string, error) {
	return reader{s}.profileRole(ctx, name)
}

func ReadAccount(ctx context.Context, s *cloud.Session) (*iampolicy.Account, error) {
	return reader{s}.account(ctx)
}

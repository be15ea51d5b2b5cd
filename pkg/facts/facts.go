// Package facts reads what the baseline's overrides match beyond a target's
// account: the organizational units that the account is in and the tags on the
// resource. It is asked only where an override needs the answer.
package facts

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

// keep is how long an account's place in the organization is believed:
// accounts are rarely moved, and every level of the tree costs a call.
const keep = 15 * time.Minute

// Facts reads with the hub's credentials what concerns the organization and
// with a session what concerns a resource. It is safe for concurrent use.
type Facts struct {
	org *organizations.Client

	mu    sync.Mutex
	units map[string]units // by account
}

type units struct {
	ids  []string
	read time.Time
}

// New returns facts read with the hub's configuration. The hub must be the
// organization's management account or a delegated administrator of it.
func New(hub aws.Config) *Facts {
	return &Facts{org: organizations.NewFromConfig(hub), units: map[string]units{}}
}

// OrganizationalUnits are the IDs of all organizational units that hold an
// account, its parent first.
func (f *Facts) OrganizationalUnits(ctx context.Context, account string) ([]string, error) {
	f.mu.Lock()
	known, ok := f.units[account]
	f.mu.Unlock()
	if ok && time.Since(known.read) < keep {
		return known.ids, nil
	}
	ids := []string{}
	for child := account; ; {
		out, err := f.org.ListParents(ctx, &organizations.ListParentsInput{ChildId: aws.String(child)})
		if err != nil {
			return nil, fmt.Errorf("read the organizational units of account %s: list parents of %s: %w", account, child, err)
		}
		if len(out.Parents) == 0 || out.Parents[0].Type != orgtypes.ParentTypeOrganizationalUnit {
			break
		}
		child = aws.ToString(out.Parents[0].Id)
		ids = append(ids, child)
	}
	f.mu.Lock()
	f.units[account] = units{ids, time.Now()}
	f.mu.Unlock()
	return ids, nil
}

// Tags are the tags on a resource, read in its account and Region.
func (f *Facts) Tags(ctx context.Context, session *cloud.Session, arn string) (map[string]string, error) {
	client := cloud.Client(session, func(cfg aws.Config) *resourcegroupstaggingapi.Client {
		return resourcegroupstaggingapi.NewFromConfig(cfg)
	})
	out, err := client.GetResources(ctx, &resourcegroupstaggingapi.GetResourcesInput{ResourceARNList: []string{arn}})
	if err != nil {
		return nil, fmt.Errorf("read the tags of %s: %w", arn, err)
	}
	tags := map[string]string{}
	for _, r := range out.ResourceTagMappingList {
		for _, t := range r.Tags {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}
	return tags, nil
}

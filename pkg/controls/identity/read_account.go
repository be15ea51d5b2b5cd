package identity

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// account reads all principals of the account.
func (r reader) account(ctx context.Context) (*iampolicy.Account, error) {
	d, err := r.details(ctx)
	if err != nil {
		return nil, err
	}
	// Which of AWS's own policies are among the answers is nowhere documented: those
	// that somebody has and that are missing are read one by one.
	missing, err := each(d.missing(), func(arn string) (*iampolicy.Policy, error) { return r.managed(ctx, arn) })
	if err != nil {
		return nil, err
	}
	for _, p := range missing {
		d.managed[p.ARN] = p
	}
	return &iampolicy.Account{
		ID: r.session.Account, Partition: cloud.Partition(r.session.Region), Whole: true,
		Principals: d.principals(), Policies: d.versions,
	}, nil
}

// details is what GetAccountAuthorizationDetails tells, on all of its pages.
type details struct {
	users    []types.UserDetail
	groups   []types.GroupDetail
	roles    []types.RoleDetail
	managed  map[string]iampolicy.Policy          // by ARN
	versions map[string][]iampolicy.PolicyVersion // of customer managed policies, by ARN
}

func (r reader) details(ctx context.Context) (*details, error) {
	d := &details{managed: map[string]iampolicy.Policy{}, versions: map[string][]iampolicy.PolicyVersion{}}
	pages := iam.NewGetAccountAuthorizationDetailsPaginator(r.client(), &iam.GetAccountAuthorizationDetailsInput{
		Filter:   types.EntityType("").Values(),
		MaxItems: aws.Int32(1000), // the most that IAM takes (IAM API reference)
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read all principals of account %s: %w", r.session.Account, err)
		}
		d.users = append(d.users, page.UserDetailList...)
		d.groups = append(d.groups, page.GroupDetailList...)
		d.roles = append(d.roles, page.RoleDetailList...)
		for _, p := range page.Policies {
			d.add(p)
		}
	}
	return d, nil
}

// add keeps a managed policy.
func (d *details) add(p types.ManagedPolicyDetail) {
	arn := aws.ToString(p.Arn)
	versions := make([]iampolicy.PolicyVersion, len(p.PolicyVersionList))
	policy := iampolicy.Policy{Name: lastPart(arn), ARN: arn}
	for i, v := range p.PolicyVersionList {
		versions[i] = policyVersion(v)
		if versions[i].Default {
			policy.Document = versions[i].Document
		}
	}
	d.managed[arn] = policy
	if !strings.Contains(arn, ":iam::aws:policy/") {
		d.versions[arn] = newestFirst(versions)
	}
}

// missing are the ARNs of managed policies that somebody has and that were not
// told.
func (d *details) missing() []string {
	arns := map[string]bool{}
	need := func(boundary *types.AttachedPermissionsBoundary, attached []types.AttachedPolicy) {
		for _, a := range attached {
			arns[aws.ToString(a.PolicyArn)] = true
		}
		if boundary != nil {
			arns[aws.ToString(boundary.PermissionsBoundaryArn)] = true
		}
	}
	for _, u := range d.users {
		need(u.PermissionsBoundary, u.AttachedManagedPolicies)
	}
	for _, g := range d.groups {
		need(nil, g.AttachedManagedPolicies)
	}
	for _, role := range d.roles {
		need(role.PermissionsBoundary, role.AttachedManagedPolicies)
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(arns)), func(arn string) bool { return d.managed[arn].ARN != "" })
}

// principals are all of them, in the order of their ARNs.
func (d *details) principals() []*iampolicy.Principal {
	var all []*iampolicy.Principal
	groups := map[string][]iampolicy.Policy{}
	for _, g := range d.groups {
		name := aws.ToString(g.GroupName)
		groups[name] = d.policies(g.AttachedManagedPolicies, g.GroupPolicyList)
		all = append(all, &iampolicy.Principal{
			ARN: aws.ToString(g.Arn), ID: aws.ToString(g.GroupId), Type: iampolicy.Group, Policies: groups[name],
		})
	}
	for _, u := range d.users {
		p := &iampolicy.Principal{
			ARN: aws.ToString(u.Arn), ID: aws.ToString(u.UserId), Type: iampolicy.User,
			Policies: d.policies(u.AttachedManagedPolicies, u.UserPolicyList), Boundary: d.boundary(u.PermissionsBoundary),
			Groups: slices.Sorted(slices.Values(u.GroupList)), Tags: tags(u.Tags), Keys: -1,
		}
		for _, name := range p.Groups {
			p.Policies = append(p.Policies, ofGroup(name, groups[name])...)
		}
		all = append(all, p)
	}
	for _, role := range d.roles {
		all = append(all, &iampolicy.Principal{
			ARN: aws.ToString(role.Arn), ID: aws.ToString(role.RoleId), Type: iampolicy.Role,
			Policies: d.policies(role.AttachedManagedPolicies, role.RolePolicyList), Boundary: d.boundary(role.PermissionsBoundary),
			Trust: parse(role.AssumeRolePolicyDocument), Tags: tags(role.Tags), Profile: len(role.InstanceProfileList) > 0,
		})
	}
	slices.SortFunc(all, func(a, b *iampolicy.Principal) int { return cmp.Compare(a.ARN, b.ARN) })
	return all
}

// policies are the policies of one principal; one that has vanished is left out.
func (d *details) policies(attached []types.AttachedPolicy, inline []types.PolicyDetail) []iampolicy.Policy {
	var all []iampolicy.Policy
	for _, a := range attached {
		if p, ok := d.managed[aws.ToString(a.PolicyArn)]; ok {
			all = append(all, p)
		}
	}
	for _, p := range inline {
		all = append(all, iampolicy.Policy{Name: aws.ToString(p.PolicyName), Document: parse(p.PolicyDocument)})
	}
	return inOrder(all)
}

func (d *details) boundary(b *types.AttachedPermissionsBoundary) *iampolicy.Policy {
	if b == nil {
		return nil
	}
	arn := aws.ToString(b.PermissionsBoundaryArn)
	p, ok := d.managed[arn]
	if !ok {
		p = iampolicy.Policy{Name: lastPart(arn), ARN: arn}
	}
	return &p
}

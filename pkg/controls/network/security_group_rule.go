package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// rule is one rule of a security group, in or out, under AWS's names: what it
// lets through, and what is written on it. Its ID is no part of it: AWS gives a
// rule that is put back a new one, and it is the same rule all the same.
type rule struct {
	id string

	passage
	Description string            `json:",omitempty"`
	Tags        map[string]string `json:",omitempty"`
}

// passage is what a rule lets through: one protocol, range of ports, and source
// or destination. No two rules of a group have the same (EC2 API reference,
// AuthorizeSecurityGroupIngress, on duplicates).
type passage struct {
	IsEgress         bool   `json:",omitempty"`
	IPProtocol       string `json:"IpProtocol"`
	FromPort, ToPort int32  // -1 and -1: all
	CIDRIPv4         string `json:"CidrIpv4,omitempty"`
	CIDRIPv6         string `json:"CidrIpv6,omitempty"`
	PrefixListID     string `json:"PrefixListId,omitempty"`
	// The security group that is let in or out, and the account that owns it.
	ReferencedGroupID      string `json:"ReferencedGroupId,omitempty"`
	ReferencedGroupOwnerID string `json:"ReferencedGroupOwnerId,omitempty"`
}

func newRule(r *types.SecurityGroupRule) rule {
	all := aws.Int32(-1)
	n := rule{
		id: aws.ToString(r.SecurityGroupRuleId),
		passage: passage{
			IsEgress: aws.ToBool(r.IsEgress), IPProtocol: aws.ToString(r.IpProtocol),
			FromPort: aws.ToInt32(first(r.FromPort, all)), ToPort: aws.ToInt32(first(r.ToPort, all)),
			CIDRIPv4: aws.ToString(r.CidrIpv4), CIDRIPv6: aws.ToString(r.CidrIpv6), PrefixListID: aws.ToString(r.PrefixListId),
		},
		Description: aws.ToString(r.Description),
	}
	if g := r.ReferencedGroupInfo; g != nil {
		n.ReferencedGroupID, n.ReferencedGroupOwnerID = aws.ToString(g.GroupId), aws.ToString(g.UserId)
	}
	for _, tag := range r.Tags {
		// Nobody but AWS can put back tags of its own (EC2 developer guide, error codes,
		// InvalidTagKey.Malformed).
		if key := aws.ToString(tag.Key); !strings.HasPrefix(key, "aws:") {
			if n.Tags == nil {
				n.Tags = map[string]string{}
			}
			n.Tags[key] = aws.ToString(tag.Value)
		}
	}
	return n
}

// first is the first pointer that is not nil.
func first(a, b *int32) *int32 {
	if a != nil {
		return a
	}
	return b
}

// text is the rule in JSON: equal for equal rules, and the order in which rules
// are kept.
func (r *rule) text() string {
	text, _ := json.Marshal(r) // texts and numbers always marshal
	return string(text)
}

// source is where the rule lets traffic from, or to.
func (p *passage) source() string {
	for _, s := range []string{p.CIDRIPv4, p.CIDRIPv6, p.PrefixListID, p.ReferencedGroupID} {
		if s != "" {
			return s
		}
	}
	return "nowhere"
}

// traffic is what the rule lets through, for people: "tcp 22".
func (p *passage) traffic() string {
	switch {
	case p.IPProtocol == "-1":
		return "all traffic"
	case p.FromPort == -1:
		return "all of " + p.IPProtocol
	case p.FromPort == p.ToPort:
		return fmt.Sprintf("%s %d", p.IPProtocol, p.FromPort)
	}
	return fmt.Sprintf("%s %d-%d", p.IPProtocol, p.FromPort, p.ToPort)
}

// permission is the rule as AWS takes it where it is made.
func (r *rule) permission() types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String(r.IPProtocol)}
	// For ICMP, -1 says all types; for what has no ports, nothing is to be said (EC2
	// API reference, IpPermission).
	if r.FromPort != -1 || r.ToPort != -1 || strings.HasPrefix(r.IPProtocol, "icmp") {
		p.FromPort, p.ToPort = aws.Int32(r.FromPort), aws.Int32(r.ToPort)
	}
	var description *string
	if r.Description != "" {
		description = aws.String(r.Description)
	}
	switch {
	case r.CIDRIPv4 != "":
		p.IpRanges = []types.IpRange{{CidrIp: aws.String(r.CIDRIPv4), Description: description}}
	case r.CIDRIPv6 != "":
		p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String(r.CIDRIPv6), Description: description}}
	case r.PrefixListID != "":
		p.PrefixListIds = []types.PrefixListId{{PrefixListId: aws.String(r.PrefixListID), Description: description}}
	default:
		pair := types.UserIdGroupPair{GroupId: aws.String(r.ReferencedGroupID), Description: description}
		if r.ReferencedGroupOwnerID != "" {
			pair.UserId = aws.String(r.ReferencedGroupOwnerID)
		}
		p.UserIdGroupPairs = []types.UserIdGroupPair{pair}
	}
	return p
}

// newChange is the change that takes rules out of a group. Their IDs are among
// its facts: CloudTrail names a rule by its ID.
func newChange(t control.Target, reason string, rules []rule, facts map[string][]string) (*control.Change, error) {
	for i := range rules {
		facts["SecurityGroupRuleIds"] = append(facts["SecurityGroupRuleIds"], rules[i].id)
	}
	known, err := json.Marshal(facts)
	if err != nil {
		return nil, err
	}
	before, err := json.Marshal(rules)
	if err != nil {
		return nil, err
	}
	return &control.Change{Target: t, Reason: reason, Before: before, After: json.RawMessage("[]"), Facts: known}, nil
}

// recorded are the rules that a change took out of its group.
func recorded(c control.Change) ([]rule, error) {
	var rules []rule
	if err := json.Unmarshal(c.Before, &rules); err != nil {
		return nil, fmt.Errorf("read recorded rules of security group %s: %w", c.Target.ID, err)
	}
	return rules, nil
}

// holds reports whether one of the rules lets the same through.
func holds(rules []rule, p passage) bool {
	return slices.ContainsFunc(rules, func(r rule) bool { return r.passage == p })
}

// revoke takes the rules of a change out of its group, by their IDs. They are
// looked up for it: an ID that was read when the change was planned may since
// have come to stand for another rule, as ModifySecurityGroupRules keeps IDs.
func revoke(ctx context.Context, session *cloud.Session, c control.Change) error {
	rules, err := recorded(c)
	if err != nil {
		return err
	}
	now, err := readGroup(ctx, session, c.Target)
	if err != nil {
		return err
	}
	var in, out []string
	for i := range now.rules {
		switch r := &now.rules[i]; {
		case !holds(rules, r.passage):
		case r.IsEgress:
			out = append(out, r.id)
		default:
			in = append(in, r.id)
		}
	}
	var inErr, outErr error
	var side sync.WaitGroup
	side.Go(func() {
		inErr = without(in, func(ids []string) error {
			_, err := client(session).RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{
				GroupId: aws.String(c.Target.ID), SecurityGroupRuleIds: ids,
			})
			return err
		})
	})
	side.Go(func() {
		outErr = without(out, func(ids []string) error {
			_, err := client(session).RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{
				GroupId: aws.String(c.Target.ID), SecurityGroupRuleIds: ids,
			})
			return err
		})
	})
	side.Wait()
	return groupError("revoke rules of", c.Target, errors.Join(inErr, outErr))
}

// without takes rules out of a group. AWS takes out none of them if one is no
// longer there: then each is taken out by itself.
func without(ids []string, call func(ids []string) error) error {
	if len(ids) == 0 {
		return nil
	}
	err := call(ids)
	switch {
	case !cloud.Is(err, "InvalidSecurityGroupRuleId.NotFound", "InvalidPermission.NotFound"):
		return err
	case len(ids) == 1:
		return nil
	}
	return each(ids, func(id string) error { return without([]string{id}, call) })
}

// putBack puts the rules of a change back into its group, if those that are
// there now, of the ones that the change concerns, leave room for them: none, or
// some of them, where an undo before this one was cut short.
func putBack(ctx context.Context, session *cloud.Session, c control.Change, now []rule) error {
	before, err := recorded(c)
	if err != nil {
		return err
	}
	var missing []rule
	for _, r := range before {
		if !slices.ContainsFunc(now, func(n rule) bool { return n.text() == r.text() }) {
			missing = append(missing, r)
		}
	}
	if len(missing) == 0 || len(missing)+len(now) != len(before) {
		state, err := json.Marshal(append([]rule{}, now...))
		if err != nil {
			return err
		}
		return &control.MovedError{Change: c, Now: state}
	}
	var left []string
	var mu sync.Mutex
	err = each(requests(missing), func(rules []rule) error {
		return authorize(ctx, session, c.Target, rules, func(r rule) {
			mu.Lock()
			defer mu.Unlock()
			left = append(left, fmt.Sprintf("The rule for %s with %s can't be put back: %s no longer exists.", r.traffic(), r.source(), r.source()))
		})
	})
	switch {
	case err != nil:
		return err
	case len(left) > 0:
		slices.Sort(left)
		return &control.LeftError{Left: left}
	}
	return nil
}

// requests are the calls that it takes to put rules back: one a direction, and
// one for each rule with tags, since a call gives all its rules the same ones.
func requests(rules []rule) [][]rule {
	var in, out []rule
	var all [][]rule
	for _, r := range rules {
		switch {
		case len(r.Tags) > 0:
			all = append(all, []rule{r})
		case r.IsEgress:
			out = append(out, r)
		default:
			in = append(in, r)
		}
	}
	return slices.DeleteFunc(append(all, in, out), func(r []rule) bool { return len(r) == 0 })
}

// authorize puts rules of one direction and with the same tags into a group. If
// AWS refuses one of them it may put in none: then each is put in by itself. One
// that is there already was put in by a request whose answer was lost; one whose
// source no longer exists is lost.
func authorize(ctx context.Context, session *cloud.Session, t control.Target, rules []rule, lost func(rule)) error {
	err := authorizeAll(ctx, session, t, rules)
	const duplicate = "InvalidPermission.Duplicate"
	gone := cloud.Is(err, "InvalidGroup.NotFound", "InvalidPrefixListID.NotFound", "InvalidPrefixListId.NotFound")
	switch {
	case !gone && !cloud.Is(err, duplicate):
		return groupError("authorize rules of", t, err)
	case len(rules) > 1:
		return each(rules, func(r rule) error { return authorize(ctx, session, t, []rule{r}, lost) })
	case cloud.Is(err, duplicate):
		return nil
	case rules[0].ReferencedGroupID == "" && rules[0].PrefixListID == "": // the group itself is gone
		return groupError("authorize rules of", t, err)
	}
	lost(rules[0])
	return nil
}

func authorizeAll(ctx context.Context, session *cloud.Session, t control.Target, rules []rule) error {
	var permissions []types.IpPermission
	for i := range rules {
		permissions = append(permissions, rules[i].permission())
	}
	var tags []types.TagSpecification
	if len(rules[0].Tags) > 0 {
		tags = []types.TagSpecification{{ResourceType: types.ResourceTypeSecurityGroupRule, Tags: sdkTags(rules[0].Tags)}}
	}
	if rules[0].IsEgress {
		_, err := client(session).AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{
			GroupId: aws.String(t.ID), IpPermissions: permissions, TagSpecifications: tags,
		})
		return err
	}
	_, err := client(session).AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: aws.String(t.ID), IpPermissions: permissions, TagSpecifications: tags,
	})
	return err
}

func sdkTags(of map[string]string) []types.Tag {
	var tags []types.Tag
	for key, value := range of {
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return tags
}

// each does something to all of a list, side by side.
func each[T any](all []T, do func(T) error) error {
	errs := make([]error, len(all))
	var side sync.WaitGroup
	for i := range all {
		side.Go(func() { errs[i] = do(all[i]) })
	}
	side.Wait()
	return errors.Join(errs...)
}

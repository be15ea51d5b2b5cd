package isolate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// place is what is done in one VPC.
type place struct {
	session             *cloud.Session
	change              control.Change
	vpc                 string
	wanted              []string // the interfaces that are to be in quarantine
	outside             []string // those of them that are not
	quarantine, untrack *group   // nil: not known to exist
}

// apply puts the interfaces of the plan into quarantine. The groups that the
// plan did not find are made while the network is read again: four round trips
// lead to isolation where both groups are missing.
func apply(ctx context.Context, session *cloud.Session, c control.Change, untrack bool) error {
	before, after, err := states(c)
	if err != nil {
		return err
	}
	places := placesOf(session, c, after)
	var side sync.WaitGroup
	for _, p := range places {
		for _, name := range p.missing(before, after, untrack) {
			side.Go(func() { p.begin(ctx, name) })
		}
	}
	v, err := read(ctx, session, c.Target, attachedTo(c.Target))
	side.Wait()
	if err == nil {
		places = fill(places, session, c, v)
		err = each(places, func(p *place) error { return p.isolate(ctx, untrack) })
	}
	// A group that can't be deleted is none of the isolation's: the next plan finds it.
	_ = each(places, func(p *place) error { p.dismantle(ctx); return nil })
	return err
}

// placesOf are the VPCs of the interfaces that are to be in quarantine.
func placesOf(session *cloud.Session, c control.Change, after state) []*place {
	var places []*place
	for id, groups := range after.Interfaces {
		vpc, _, _ := strings.Cut(groups[0], "/")
		p := placeIn(&places, session, c, vpc)
		p.wanted = append(p.wanted, id)
	}
	return places
}

func placeIn(places *[]*place, session *cloud.Session, c control.Change, vpc string) *place {
	if i := slices.IndexFunc(*places, func(p *place) bool { return p.vpc == vpc }); i >= 0 {
		return (*places)[i]
	}
	p := &place{session: session, change: c, vpc: vpc}
	*places = append(*places, p)
	return p
}

// missing are the groups that are needed and that the plan did not find. The
// plan's facts are a hint: at worst AWS says that a group is there already, or
// the group is made later.
func (p *place) missing(before, after state, untrack bool) []string {
	if !slices.ContainsFunc(p.wanted, func(id string) bool { return !slices.Equal(before.Interfaces[id], after.Interfaces[id]) }) {
		return nil
	}
	var known facts
	_ = json.Unmarshal(p.change.Facts, &known) // no facts, no hint
	names := []string{quarantineName}
	if untrack {
		names = append(names, untrackName(p.change.Target))
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(known.Groups, key(p.vpc, name)) })
}

// begin makes a group before it is known whether it exists. If it can't be made,
// obtain tells why, if it is needed.
func (p *place) begin(ctx context.Context, name string) {
	if g, err := p.create(ctx, name); err == nil {
		*p.slot(name) = g
	}
}

func (p *place) slot(name string) **group {
	if name == quarantineName {
		return &p.quarantine
	}
	return &p.untrack
}

// fill adds what was read: the groups that exist, and the interfaces that are
// not in quarantine yet. One that is no longer attached is none of the instance's.
func fill(places []*place, session *cloud.Session, c control.Change, v *view) []*place {
	for _, g := range v.groups {
		p := placeIn(&places, session, c, g.vpc)
		if slot := p.slot(g.name); *slot == nil {
			*slot = g
		}
	}
	for _, n := range v.interfaces {
		id := aws.ToString(n.NetworkInterfaceId)
		for _, p := range places {
			if slices.Contains(p.wanted, id) && !slices.Equal(v.groupsOf(&n), isolated(&n)) {
				p.outside = append(p.outside, id)
			}
		}
	}
	return places
}

// isolate puts the interfaces of one VPC into quarantine. If the wide-open group
// can't be had they go there without it: what is sent anew is cut off in any
// case, and the error tells the rest.
func (p *place) isolate(ctx context.Context, untrack bool) error {
	if len(p.wanted) == 0 {
		return nil
	}
	var closed, opened error
	var side sync.WaitGroup
	side.Go(func() { closed = p.seal(ctx) })
	if untrack && len(p.outside) > 0 {
		side.Go(func() { opened = p.widen(ctx) })
	}
	side.Wait()
	if closed != nil {
		return errors.Join(closed, opened)
	}
	if untrack && opened == nil {
		opened = each(p.outside, func(id string) error { return p.put(ctx, id, p.untrack) })
	}
	if opened != nil {
		opened = fmt.Errorf("connections that were open may go on: %w", opened)
	}
	return errors.Join(opened, each(p.outside, func(id string) error { return p.put(ctx, id, p.quarantine) }))
}

// put puts an interface into a group alone. One that was deleted meanwhile needs
// none.
func (p *place) put(ctx context.Context, id string, g *group) error {
	err := put(ctx, p.session, id, g.id)
	if cloud.Is(err, "InvalidNetworkInterfaceID.NotFound") {
		return nil
	}
	return err
}

// seal sees to it that the quarantine group exists and has no rule.
func (p *place) seal(ctx context.Context) (err error) {
	if p.quarantine == nil {
		if len(p.outside) == 0 {
			return nil
		}
		if p.quarantine, err = p.obtain(ctx, quarantineName); err != nil {
			return err
		}
	}
	found := p.quarantine.rules
	if p.quarantine.fresh {
		found = defaults
	}
	return revoke(ctx, p.session, p.quarantine, found)
}

// widen sees to it that the wide-open group exists and allows everything.
func (p *place) widen(ctx context.Context) (err error) {
	if p.untrack == nil {
		p.untrack, err = p.obtain(ctx, untrackName(p.change.Target))
	}
	if err != nil {
		return err
	}
	return authorize(ctx, p.session, p.untrack, without(everything, p.untrack.rules))
}

// obtain makes a group, or finds the one that another worker made just now.
func (p *place) obtain(ctx context.Context, name string) (*group, error) {
	g, err := p.create(ctx, name)
	if !cloud.Is(err, "InvalidGroup.Duplicate") {
		return g, err
	}
	own, unread := describeOwn(ctx, p.session, p.change.Target)
	if unread != nil {
		return nil, unread
	}
	if g, ok := own[key(p.vpc, name)]; ok {
		return g, nil
	}
	// AWS takes no notice of case in the names of groups (EC2 API reference,
	// CreateSecurityGroup), but does in filters.
	return nil, fmt.Errorf("there is a group whose name differs in case alone: rename or delete it: %w", err)
}

func (p *place) create(ctx context.Context, name string) (*group, error) {
	description := "Snapback: no traffic in or out. Instances in quarantine are in this group alone."
	if name != quarantineName {
		description = "Snapback: for a moment, to end the connections of an instance that goes into quarantine. Delete it if you find it."
	}
	return create(ctx, p.session, p.vpc, name, description, p.change)
}

// dismantle deletes the wide-open group. If that can't be, because an interface
// did not get out of it, it is closed: an interface in it is cut off then too.
// It has a moment for that even if the time of the worker is over.
func (p *place) dismantle(ctx context.Context) {
	if p.untrack == nil {
		return
	}
	const moment = 5 * time.Second
	ctx = context.WithoutCancel(ctx)
	deleting, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	// An interface that has just left it may count as in it for a moment.
	_, err := instance.Client(p.session).DeleteSecurityGroup(deleting, &ec2.DeleteSecurityGroupInput{
		GroupId: aws.String(p.untrack.id),
	}, patient("DependencyViolation"))
	if err == nil || cloud.Is(err, "InvalidGroup.NotFound") {
		return
	}
	closing, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	// Whether it is closed, as whether it exists, is for the next plan to find.
	_ = revoke(closing, p.session, p.untrack, append(without(p.untrack.rules, everything), everything...))
}

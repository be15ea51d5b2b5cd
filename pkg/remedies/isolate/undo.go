package isolate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// release is one interface that is to be put back into its former groups.
type release struct {
	id     string
	groups []string
}

// undo puts each interface back into its former groups. What it finds may be
// half done: by an Apply that failed, or by an undo that did not live to put back
// all. The quarantine group stays: others may be in it, and it costs nothing.
func undo(ctx context.Context, session *cloud.Session, c control.Change) error {
	before, after, err := states(c)
	if err != nil {
		return err
	}
	if reflect.DeepEqual(before.Interfaces, after.Interfaces) {
		return &control.LeftError{Left: []string{fmt.Sprintf(
			"The interfaces of instance %s were in quarantine before this change; what it closed is not opened again.", c.Target.ID)}}
	}
	v, exists, err := readFormer(ctx, session, c.Target, before, after)
	if err != nil {
		return err
	}
	back, left, err := v.back(c, before, exists)
	if err != nil {
		return err
	}
	if err := each(back, func(r release) error { return put(ctx, session, r.id, r.groups...) }); err != nil {
		return err
	}
	if len(left) > 0 {
		return &control.LeftError{Left: left}
	}
	return nil
}

// readFormer reads, in one round trip, the interfaces of a change, wherever they
// are attached now, and which of their former groups exist.
func readFormer(ctx context.Context, session *cloud.Session, t control.Target, before, after state) (*view, map[string]bool, error) {
	interfaces := map[string]bool{}
	var groups []string
	for id, was := range before.Interfaces {
		interfaces[id] = true
		groups = append(groups, was...)
	}
	for id := range after.Interfaces {
		interfaces[id] = true
	}
	var v *view
	var exists map[string]bool
	var failed [2]error
	var side sync.WaitGroup
	side.Go(func() {
		v, failed[0] = read(ctx, session, t, filter("network-interface-id", slices.Sorted(maps.Keys(interfaces))...))
	})
	side.Go(func() { exists, failed[1] = existing(ctx, session, groups) })
	side.Wait()
	return v, exists, cmp.Or(failed[0], failed[1])
}

// existing says which of the groups exist. Those of Snapback's are not asked for.
func existing(ctx context.Context, session *cloud.Session, ids []string) (map[string]bool, error) {
	exists := map[string]bool{}
	ids = slices.DeleteFunc(ids, func(id string) bool { return strings.Contains(id, "/") })
	if len(ids) == 0 {
		return exists, nil
	}
	slices.Sort(ids)
	found, err := describeGroups(ctx, session, filter("group-id", slices.Compact(ids)...))
	for _, g := range found {
		exists[aws.ToString(g.GroupId)] = true
	}
	return exists, err
}

// back says what is to be put back and what can't be, or, as a *MovedError, that
// the interfaces are not as the change left them.
func (v *view) back(c control.Change, before state, exists map[string]bool) (back []release, left []string, err error) {
	now := state{Interfaces: map[string][]string{}}
	moved := false
	for _, n := range v.interfaces {
		id := aws.ToString(n.NetworkInterfaceId)
		now.Interfaces[id] = v.groupsOf(&n)
		was, known := before.Interfaces[id]
		r, missing := v.release(id, was, exists)
		switch {
		case known && slices.Equal(r.groups, members(&n)): // it is back already
			left = append(left, missing...)
		case !v.handled(&n):
			moved = true
		case !known:
			left = append(left, fmt.Sprintf("Network interface %s was attached when the case was open; its former groups are not known, and it stays isolated.", id))
		case len(r.groups) == 0:
			left = append(left, fmt.Sprintf("Network interface %s stays isolated: no group that it was in exists any more.", id))
		default:
			back, left = append(back, r), append(left, missing...)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before.Interfaces)) {
		if _, there := now.Interfaces[id]; !there {
			left = append(left, fmt.Sprintf("Network interface %s no longer exists.", id))
		}
	}
	if moved || len(back) == 0 && len(left) == 0 {
		live, err := json.Marshal(now)
		return nil, nil, cmp.Or(err, error(&control.MovedError{Change: c, Now: live}))
	}
	return back, left, nil
}

// handled reports whether an interface is as Apply leaves it, or as one that
// failed may have left it.
func (v *view) handled(n *types.NetworkInterface) bool {
	groups := v.groupsOf(n)
	return slices.Equal(groups, isolated(n)) || slices.Equal(groups, []string{key(aws.ToString(n.VpcId), v.untrack)})
}

// members are the IDs of the groups that an interface is in, sorted.
func members(n *types.NetworkInterface) []string {
	var ids []string
	for _, g := range n.Groups {
		ids = append(ids, aws.ToString(g.GroupId))
	}
	slices.Sort(ids)
	return ids
}

// release finds the former groups of an interface that still exist. The wide-open
// group is none that anything is put into by an undo.
func (v *view) release(id string, was []string, exists map[string]bool) (r release, missing []string) {
	r.id = id
	for _, name := range was {
		g, own := v.groups[name]
		switch {
		case own && g.name == quarantineName:
			r.groups = append(r.groups, g.id)
		case exists[name]:
			r.groups = append(r.groups, name)
		default:
			missing = append(missing, fmt.Sprintf("Security group %s, which network interface %s was in, no longer exists.", name, id))
		}
	}
	slices.Sort(r.groups)
	return r, missing
}

// Package evidence takes snapshots of all EBS volumes of a compromised instance
// at one moment, and puts into the case what the instance was like before
// anything was changed.
//
// The snapshots are evidence: nothing here deletes one, Undo neither. They carry
// tags: snapback:instance, snapback:case, snapback:finding, and
// snapback:evidence, which is "held" and, once the case is undone, "released":
// then the next quarantine of the instance takes new ones, and nothing of
// Snapback's needs the old ones any longer. Whoever may tag snapshots can claim
// that there is evidence: a service control policy should keep the tags with the
// prefix snapback: to Snapback's roles.
//
// Instance stores can't be snapshotted, and memory is not kept.
package evidence

import (
	"cmp"
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
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// The tags of a snapshot.
const (
	tagInstance = "snapback:instance"
	tagCase     = "snapback:case"
	tagFinding  = "snapback:finding"
	tagEvidence = "snapback:evidence"

	held     = "held"
	released = "released"
)

// Remedy takes snapshots of all EBS volumes of an instance that has none which
// are held as evidence, and never waits until they are complete: Look tells how
// far they are. Undo keeps the snapshots and marks them as released. The facts
// of its change are a manifest of the instance.
func Remedy() control.Remedy {
	// The account is no part of a snapshot's ARN (service authorization reference,
	// Amazon EC2, resource types).
	const owned, snapshots = "arn:${Partition}:ec2:${Region}:${Account}:", "arn:${Partition}:ec2:${Region}::snapshot/*"
	find := control.Permission{Call: "EC2.DescribeSnapshots", Action: "ec2:DescribeSnapshots", Resource: "*"}
	const create = "EC2.CreateSnapshots"
	return control.Remedy{
		Name:  "take-snapshots",
		Plan:  plan,
		Apply: apply,
		Undo:  undo,
		Look:  look,
		Permissions: control.Permissions{
			Plan: []control.Permission{
				instance.Read, find,
				{Call: "EC2.DescribeInstanceAttribute", Action: "ec2:DescribeInstanceAttribute", Resource: owned + "instance/*"},
				{Call: "EC2.GetConsoleOutput", Action: "ec2:GetConsoleOutput", Resource: owned + "instance/*"},
				{Call: "EC2.DescribeSecurityGroups", Action: "ec2:DescribeSecurityGroups", Resource: "*"},
				{Call: "EC2.DescribeRouteTables", Action: "ec2:DescribeRouteTables", Resource: "*"},
				{Call: "EC2.DescribeAddresses", Action: "ec2:DescribeAddresses", Resource: "*"},
			},
			// CreateSnapshots asks for all three resources, and for CreateTags since the
			// snapshots are tagged as they are made; Undo tags them later, so that a
			// condition on ec2:CreateAction would not do for both.
			Apply: []control.Permission{
				instance.Read, find,
				{Call: create, Action: "ec2:CreateSnapshots", Resource: owned + "instance/*"},
				{Call: create, Action: "ec2:CreateSnapshots", Resource: owned + "volume/*"},
				{Call: create, Action: "ec2:CreateSnapshots", Resource: snapshots},
				{Call: create, Action: "ec2:CreateTags", Resource: snapshots},
			},
			Undo: []control.Permission{find, {Call: "EC2.CreateTags", Action: "ec2:CreateTags", Resource: snapshots}},
			Look: []control.Permission{find},
		},
	}
}

// state is which volumes of an instance have a snapshot that is held as evidence,
// sorted. Which snapshots these are is not in it: they are found by their tags.
type state struct {
	HeldVolumes []string
}

func plan(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
	in, snapshots, err := read(ctx, session, t)
	if err != nil {
		return nil, err
	}
	before := heldOf(snapshots)
	missing := without(volumesOf(in), before)
	c := &control.Change{Target: t}
	if in.RootDeviceType == types.DeviceTypeInstanceStore {
		c.Left = []string{"There is no evidence of the root device of instance " + t.ID + ": it is an instance store, which can't be snapshotted."}
	}
	if len(missing) == 0 && len(c.Left) == 0 {
		return nil, nil
	}
	if c.Facts, err = facts(ctx, session, t, in); err != nil {
		return nil, err
	}
	if c.Before, err = json.Marshal(state{before}); err != nil {
		return nil, err
	}
	if len(missing) == 0 {
		c.Reason = fmt.Sprintf("There can't be evidence of all of instance %s.", t.ID)
		return c, nil
	}
	c.Reason = fmt.Sprintf("There is no evidence of the volumes of instance %s: %s.", t.ID, strings.Join(missing, ", "))
	c.After, err = json.Marshal(state{sorted(slices.Concat(before, missing))})
	return c, err
}

// apply takes the snapshots that are missing, those of several volumes at one
// moment.
//
// CreateSnapshots knows no client token. What a worker took that was killed is
// found by its tags, which are there from the first moment on; and an attempt
// whose answer is lost is not made again here, but by the next delivery of the
// event, for which it is time enough to be found. DescribeSnapshots is eventually
// consistent all the same: at worst there are two snapshots of one volume, which
// both are evidence.
func apply(ctx context.Context, session *cloud.Session, c control.Change) error {
	_, after, err := states(c)
	if err != nil {
		return err
	}
	in, snapshots, err := read(ctx, session, c.Target)
	if err != nil {
		return err
	}
	missing := without(after.HeldVolumes, heldOf(snapshots))
	excluded := without(volumesOf(in), missing)
	if len(excluded) == len(volumesOf(in)) { // what is missing was detached
		return nil
	}
	_, err = instance.Client(session).CreateSnapshots(ctx, &ec2.CreateSnapshotsInput{
		InstanceSpecification: specify(in, excluded),
		Description:           aws.String("Evidence of " + c.Target.ID + ", kept by Snapback for case " + c.Case),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: []types.Tag{
			{Key: aws.String(tagInstance), Value: aws.String(c.Target.ID)},
			{Key: aws.String(tagCase), Value: aws.String(c.Case)},
			{Key: aws.String(tagFinding), Value: aws.String(c.Finding)},
			{Key: aws.String(tagEvidence), Value: aws.String(held)},
		}}},
	}, func(o *ec2.Options) { o.RetryMaxAttempts = 1 })
	if err != nil {
		return fmt.Errorf("create snapshots of the volumes of instance %s: %w", c.Target.ID, err)
	}
	return nil
}

// maxExcluded is how many data volumes a call of CreateSnapshots may leave out
// (EC2 API reference, InstanceSpecification). Where there would be more, it leaves
// out none: too much evidence does no harm.
const maxExcluded = 40

// specify is the instance less some of its volumes.
func specify(in *types.Instance, excluded []string) *types.InstanceSpecification {
	root := rootOf(in)
	data := without(excluded, []string{root})
	spec := &types.InstanceSpecification{InstanceId: in.InstanceId}
	if len(data) < len(excluded) {
		spec.ExcludeBootVolume = aws.Bool(true)
	}
	if len(data) <= maxExcluded {
		spec.ExcludeDataVolumeIds = data
	}
	return spec
}

// undo marks the snapshots that apply took as released. Some may be so already,
// or have been deleted.
func undo(ctx context.Context, session *cloud.Session, c control.Change) error {
	before, after, err := states(c)
	if err != nil {
		return err
	}
	snapshots, err := find(ctx, session, tag(tagInstance, c.Target.ID), tag(tagEvidence, held))
	if err != nil {
		return err
	}
	now := heldOf(snapshots)
	taken := without(after.HeldVolumes, before.HeldVolumes)
	gone := without(taken, now)
	if len(without(now, after.HeldVolumes)) > 0 || len(gone) == len(taken) {
		text, err := json.Marshal(state{now})
		if err != nil {
			return err
		}
		return &control.MovedError{Change: c, Now: text}
	}
	var ids []string
	for _, s := range snapshots {
		if slices.Contains(taken, aws.ToString(s.VolumeId)) {
			ids = append(ids, aws.ToString(s.SnapshotId))
		}
	}
	_, err = instance.Client(session).CreateTags(ctx, &ec2.CreateTagsInput{
		Resources: ids, Tags: []types.Tag{{Key: aws.String(tagEvidence), Value: aws.String(released)}},
	})
	if err != nil {
		return fmt.Errorf("release the snapshots of instance %s: %w", c.Target.ID, err)
	}
	if len(gone) > 0 {
		return &control.LeftError{Left: []string{fmt.Sprintf(
			"Of some volumes of instance %s there was no snapshot any more that is held as evidence: %s.", c.Target.ID, strings.Join(gone, ", "))}}
	}
	return nil
}

func look(ctx context.Context, session *cloud.Session, c control.Change) ([]string, error) {
	snapshots, err := find(ctx, session, tag(tagInstance, c.Target.ID), tag(tagCase, c.Case))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(snapshots, func(a, b types.Snapshot) int {
		return cmp.Or(
			cmp.Compare(aws.ToString(a.VolumeId), aws.ToString(b.VolumeId)),
			cmp.Compare(aws.ToString(a.SnapshotId), aws.ToString(b.SnapshotId)),
		)
	})
	lines := make([]string, len(snapshots))
	for i, s := range snapshots {
		lines[i] = fmt.Sprintf("snapshot %s of volume %s: %s, %s",
			aws.ToString(s.SnapshotId), aws.ToString(s.VolumeId), s.State, cmp.Or(aws.ToString(s.Progress), "0%"))
	}
	if len(lines) == 0 {
		lines = []string{"no snapshot of case " + c.Case + " is there"}
	}
	return lines, nil
}

func states(c control.Change) (before, after state, err error) {
	if err := errors.Join(json.Unmarshal(c.Before, &before), json.Unmarshal(c.After, &after)); err != nil {
		return before, after, fmt.Errorf("read the recorded evidence of instance %s: %w", c.Target.ID, err)
	}
	return before, after, nil
}

// read reads the instance and the snapshots that are held as evidence of it, in
// one round trip.
func read(ctx context.Context, session *cloud.Session, t control.Target) (*types.Instance, []types.Snapshot, error) {
	var snapshots []types.Snapshot
	var unread error
	var side sync.WaitGroup
	side.Go(func() { snapshots, unread = find(ctx, session, tag(tagInstance, t.ID), tag(tagEvidence, held)) })
	in, err := instance.Describe(ctx, session, t)
	side.Wait()
	if err != nil {
		return nil, nil, err
	}
	return in, snapshots, unread
}

func tag(key, value string) types.Filter {
	return types.Filter{Name: aws.String("tag:" + key), Values: []string{value}}
}

// find finds the account's own snapshots. The owner is a filter, and the first
// one, since moto knows no OwnerIds and shows all public snapshots else.
func find(ctx context.Context, session *cloud.Session, filters ...types.Filter) ([]types.Snapshot, error) {
	var snapshots []types.Snapshot
	pages := ec2.NewDescribeSnapshotsPaginator(instance.Client(session), &ec2.DescribeSnapshotsInput{
		Filters: append([]types.Filter{{Name: aws.String("owner-id"), Values: []string{session.Account}}}, filters...),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe snapshots: %w", err)
		}
		snapshots = append(snapshots, page.Snapshots...)
	}
	return snapshots, nil
}

// heldOf are the volumes that snapshots are evidence of. One that failed is
// evidence of nothing.
func heldOf(snapshots []types.Snapshot) []string {
	var volumes []string
	for _, s := range snapshots {
		if s.State != types.SnapshotStateError {
			volumes = append(volumes, aws.ToString(s.VolumeId))
		}
	}
	return sorted(volumes)
}

// volumesOf are the EBS volumes of an instance. DescribeInstances tells of no
// instance store (EC2 user guide, "Block device mappings for volumes on Amazon EC2
// instances").
func volumesOf(in *types.Instance) []string {
	var volumes []string
	for _, m := range in.BlockDeviceMappings {
		if m.Ebs != nil {
			volumes = append(volumes, aws.ToString(m.Ebs.VolumeId))
		}
	}
	return sorted(volumes)
}

func rootOf(in *types.Instance) string {
	for _, m := range in.BlockDeviceMappings {
		if m.Ebs != nil && aws.ToString(m.DeviceName) == aws.ToString(in.RootDeviceName) {
			return aws.ToString(m.Ebs.VolumeId)
		}
	}
	return ""
}

// without are the volumes that are not among others.
func without(volumes, others []string) []string {
	return slices.DeleteFunc(slices.Clone(volumes), func(v string) bool { return slices.Contains(others, v) })
}

// sorted is never nil, so that no volume is [] in JSON.
func sorted(volumes []string) []string {
	volumes = append([]string{}, volumes...)
	slices.Sort(volumes)
	return slices.Compact(volumes)
}

// Package preserve keeps a compromised instance and its volumes from being lost
// before anybody has looked at them: termination protection goes on, a shutdown
// from within stops the instance instead of terminating it, and its EBS volumes
// outlive it.
//
// None of that binds AWS itself. Auto Scaling terminates its instances in spite
// of termination protection, and so do scheduled events (EC2 user guide, "Change
// instance termination protection"); a Spot Instance is interrupted; and whoever
// may call ModifyInstanceAttribute takes it back.
package preserve

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// Remedy keeps an EC2 instance and its volumes from being lost, as far as AWS
// lets that be set. What it does not is named in Change.Left.
func Remedy() control.Remedy {
	// Both actions know single instances, and ModifyInstanceAttribute asks for the
	// volumes as well where a call names some (service authorization reference,
	// Amazon EC2).
	owned := "arn:${Partition}:ec2:${Region}:${Account}:"
	reads := []control.Permission{
		instance.Read,
		{Call: "EC2.DescribeInstanceAttribute", Action: "ec2:DescribeInstanceAttribute", Resource: owned + "instance/*"},
	}
	writes := []control.Permission{
		{Call: "EC2.ModifyInstanceAttribute", Action: "ec2:ModifyInstanceAttribute", Resource: owned + "instance/*"},
		{Call: "EC2.ModifyInstanceAttribute", Action: "ec2:ModifyInstanceAttribute", Resource: owned + "volume/*"},
	}
	return control.Remedy{
		Name:  "preserve-instance",
		Plan:  plan,
		Apply: apply,
		Undo:  undo,
		Permissions: control.Permissions{
			Plan:  reads,
			Apply: append([]control.Permission{instance.Read}, writes...),
			Undo:  append(slices.Clone(reads), writes...),
		},
	}
}

// attributes are those that are set, in the order in which they are told.
var attributes = []struct {
	name   types.InstanceAttributeName
	wanted string
	wrong  string // what is so as long as it is not as wanted
}{
	{types.InstanceAttributeNameDisableApiTermination, "true", "can be terminated by a call"},
	{types.InstanceAttributeNameInstanceInitiatedShutdownBehavior, "stop", "is terminated by a shutdown from within"},
}

// state is what of an instance can be set, under AWS's names. What AWS does not
// let be set is not in it.
type state struct {
	Attributes map[types.InstanceAttributeName]string
	// DeleteOnTermination are the volumes that are deleted with the instance, by
	// device: EC2 asks for the device when it is to be changed.
	DeleteOnTermination map[string]string
}

// kept is the state in which nothing is lost. It is the same however much of it
// is made already.
func (s state) kept() state {
	k := state{Attributes: map[types.InstanceAttributeName]string{}, DeleteOnTermination: map[string]string{}}
	for _, a := range attributes {
		if _, ok := s.Attributes[a.name]; ok {
			k.Attributes[a.name] = a.wanted
		}
	}
	return k
}

func (s state) equal(other state) bool {
	return maps.Equal(s.Attributes, other.Attributes) && maps.Equal(s.DeleteOnTermination, other.DeleteOnTermination)
}

// live is an instance as it was read.
type live struct {
	state
	devices map[string]string // of all EBS volumes, by volume
	left    []string          // what is not as wanted and can't be set
}

func plan(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
	now, err := read(ctx, session, t)
	if err != nil {
		return nil, err
	}
	after := now.kept()
	done := now.equal(after)
	if done && len(now.left) == 0 {
		return nil, nil
	}
	c := &control.Change{Target: t, Left: now.left}
	if c.Before, err = json.Marshal(now.state); err != nil {
		return nil, err
	}
	if done {
		c.Reason = fmt.Sprintf("Instance %s can be lost, and AWS does not let that be changed.", t.ID)
		return c, nil
	}
	c.Reason = fmt.Sprintf("Instance %s %s.", t.ID, strings.Join(now.wrong(), ", "))
	c.After, err = json.Marshal(after)
	return c, err
}

// wrong says what can be set and is not as it should be.
func (s state) wrong() []string {
	var wrong []string
	for _, a := range attributes {
		if value, ok := s.Attributes[a.name]; ok && value != a.wanted {
			wrong = append(wrong, a.wrong)
		}
	}
	if volumes := slices.Sorted(maps.Values(s.DeleteOnTermination)); len(volumes) > 0 {
		wrong = append(wrong, "takes its volumes with it when it is terminated: "+strings.Join(volumes, " and "))
	}
	return wrong
}

// apply sets what the plan found wrong. Whether the instance and its volumes are
// still there is read beside the writes: it matters only if one of them fails.
func apply(ctx context.Context, session *cloud.Session, c control.Change) error {
	before, after, err := states(c)
	if err != nil {
		return err
	}
	var in *types.Instance
	var unread error
	var side sync.WaitGroup
	side.Go(func() { in, unread = instance.Describe(ctx, session, c.Target) })
	failed := write(ctx, session, c.Target, before, after)
	side.Wait()
	if errors.Is(unread, control.ErrGone) {
		return unread
	}
	if failed == nil || unread != nil {
		return failed
	}
	// Of several volumes EC2 changes all or none, and one that was detached since
	// it was planned makes it none.
	attached := devices(in)
	still := maps.Clone(before.DeleteOnTermination)
	maps.DeleteFunc(still, func(device, volume string) bool { return attached[volume] != device })
	if len(still) == len(before.DeleteOnTermination) {
		return failed
	}
	before.DeleteOnTermination = still
	return write(ctx, session, c.Target, before, after)
}

// undo puts back what apply changed. What it finds may lie between the two
// states: an undo before it may not have lived to put back all.
func undo(ctx context.Context, session *cloud.Session, c control.Change) error {
	before, after, err := states(c)
	if err != nil {
		return err
	}
	now, err := read(ctx, session, c.Target)
	if err != nil {
		return err
	}
	back := state{Attributes: before.Attributes, DeleteOnTermination: map[string]string{}}
	var left []string
	for _, device := range slices.Sorted(maps.Keys(before.DeleteOnTermination)) {
		volume := before.DeleteOnTermination[device]
		if at, ok := now.devices[volume]; ok {
			back.DeleteOnTermination[at] = volume
		} else {
			left = append(left, fmt.Sprintf("Volume %s is no longer attached to instance %s, which it was to be deleted with.", volume, c.Target.ID))
		}
	}
	if !now.equal(after) && (now.equal(back) || !now.between(back, after)) {
		state, err := json.Marshal(now.state)
		if err != nil {
			return err
		}
		return &control.MovedError{Change: c, Now: state}
	}
	if err := write(ctx, session, c.Target, now.state, back); err != nil {
		return err
	}
	if len(left) > 0 {
		return &control.LeftError{Left: left}
	}
	return nil
}

// between reports whether everything of a state is as in one of two others.
func (s state) between(a, b state) bool {
	if len(s.Attributes) != len(a.Attributes) {
		return false
	}
	for name, value := range s.Attributes {
		if value != a.Attributes[name] && value != b.Attributes[name] {
			return false
		}
	}
	for device, volume := range s.DeleteOnTermination {
		if a.DeleteOnTermination[device] != volume && b.DeleteOnTermination[device] != volume {
			return false
		}
	}
	return true
}

func states(c control.Change) (before, after state, err error) {
	if err := errors.Join(json.Unmarshal(c.Before, &before), json.Unmarshal(c.After, &after)); err != nil {
		return before, after, fmt.Errorf("read the recorded attributes of instance %s: %w", c.Target.ID, err)
	}
	return before, after, nil
}

// read reads the instance in one round trip.
func read(ctx context.Context, session *cloud.Session, t control.Target) (*live, error) {
	var in *types.Instance
	var gone error
	values := make([]string, len(attributes))
	failed := make([]error, len(attributes))
	var side sync.WaitGroup
	for i, a := range attributes {
		side.Go(func() { values[i], failed[i] = readAttribute(ctx, session, t, a.name) })
	}
	in, gone = instance.Describe(ctx, session, t)
	side.Wait()
	if gone != nil { // the attributes can't be read for the same reason
		return nil, gone
	}
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	return found(in, t, values), nil
}

func readAttribute(ctx context.Context, session *cloud.Session, t control.Target, name types.InstanceAttributeName) (string, error) {
	out, err := instance.Client(session).DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{
		InstanceId: aws.String(t.ID), Attribute: name,
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("describe attribute %s of instance %s: %w", name, t.ID, err)
	case out.DisableApiTermination != nil:
		return strconv.FormatBool(aws.ToBool(out.DisableApiTermination.Value)), nil
	case out.InstanceInitiatedShutdownBehavior != nil:
		return aws.ToString(out.InstanceInitiatedShutdownBehavior.Value), nil
	}
	return "", fmt.Errorf("describe attribute %s of instance %s: the answer has no value", name, t.ID)
}

// found tells what can be set from what can't.
func found(in *types.Instance, t control.Target, values []string) *live {
	l := &live{
		state:   state{Attributes: map[types.InstanceAttributeName]string{}, DeleteOnTermination: map[string]string{}},
		devices: devices(in),
	}
	for i, a := range attributes {
		why := fixed(in, a.name)
		switch {
		case why == "":
			l.Attributes[a.name] = values[i]
		case values[i] != a.wanted:
			l.left = append(l.left, fmt.Sprintf("Instance %s %s: %s.", t.ID, a.wrong, why))
		}
	}
	mappings := slices.SortedFunc(slices.Values(in.BlockDeviceMappings), func(a, b types.InstanceBlockDeviceMapping) int {
		return cmp.Compare(aws.ToString(a.DeviceName), aws.ToString(b.DeviceName))
	})
	for _, m := range mappings {
		if m.Ebs == nil || !aws.ToBool(m.Ebs.DeleteOnTermination) {
			continue
		}
		if why := fixedVolume(in, m.Ebs); why != "" {
			l.left = append(l.left, fmt.Sprintf("Volume %s is deleted with instance %s: %s.", aws.ToString(m.Ebs.VolumeId), t.ID, why))
			continue
		}
		l.DeleteOnTermination[aws.ToString(m.DeviceName)] = aws.ToString(m.Ebs.VolumeId)
	}
	return l
}

// devices are the devices of the EBS volumes that are attached, by volume.
func devices(in *types.Instance) map[string]string {
	devices := map[string]string{}
	for _, m := range in.BlockDeviceMappings {
		if m.Ebs != nil {
			devices[aws.ToString(m.Ebs.VolumeId)] = aws.ToString(m.DeviceName)
		}
	}
	return devices
}

// fixed says why AWS does not let an attribute of the instance be set; empty if
// it does. EC2 answers UnsupportedOperation to termination protection of a Spot
// Instance, and refuses the shutdown behavior "stop" where one is launched.
//
// Sources: EC2 user guide, "Change instance termination protection", "Amazon EC2
// managed instances" and "Root volumes for your Amazon EC2 instances"; issues
// cloud-custodian 2083 and ansible 63246.
func fixed(in *types.Instance, name types.InstanceAttributeName) string {
	shutdown := name == types.InstanceAttributeNameInstanceInitiatedShutdownBehavior
	switch {
	case managed(in.Operator) != "":
		return managed(in.Operator)
	case in.InstanceLifecycle == types.InstanceLifecycleTypeSpot:
		return "AWS does not let that be changed on a Spot Instance"
	case shutdown && in.RootDeviceType == types.DeviceTypeInstanceStore:
		return "an instance whose root device is an instance store can't be stopped"
	}
	return ""
}

// fixedVolume says why AWS does not let a volume outlive the instance; empty if
// it does. Source: EC2 API reference, ModifyInstanceAttribute, BlockDeviceMapping.N.
func fixedVolume(in *types.Instance, v *types.EbsInstanceBlockDevice) string {
	return cmp.Or(managed(in.Operator), managed(v.Operator))
}

// managed says that only an AWS service may change a resource: EKS Auto Mode and
// others run such instances in their customers' accounts. Empty if anyone may.
func managed(o *types.OperatorResponse) string {
	if o == nil || !aws.ToBool(o.Managed) {
		return ""
	}
	return "it is managed by " + cmp.Or(aws.ToString(o.Principal), "AWS") + ", and nobody else may change that"
}

// write sets what differs between two states, side by side: EC2 takes one
// attribute a call.
func write(ctx context.Context, session *cloud.Session, t control.Target, from, to state) error {
	var calls []ec2.ModifyInstanceAttributeInput
	for _, a := range attributes {
		if value, ok := to.Attributes[a.name]; ok && value != from.Attributes[a.name] {
			calls = append(calls, setting(a.name, value))
		}
	}
	volumes := append(flags(from, to, false), flags(to, from, true)...)
	if len(volumes) > 0 {
		calls = append(calls, ec2.ModifyInstanceAttributeInput{BlockDeviceMappings: volumes})
	}
	failed := make([]error, len(calls))
	var side sync.WaitGroup
	for i := range calls {
		side.Go(func() {
			calls[i].InstanceId = aws.String(t.ID)
			_, failed[i] = instance.Client(session).ModifyInstanceAttribute(ctx, &calls[i])
		})
	}
	side.Wait()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("modify attributes of instance %s: %w", t.ID, err)
	}
	return nil
}

func setting(name types.InstanceAttributeName, value string) ec2.ModifyInstanceAttributeInput {
	if name == types.InstanceAttributeNameDisableApiTermination {
		return ec2.ModifyInstanceAttributeInput{DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(value == "true")}}
	}
	// EC2 takes this one under a name of its own as well, and moto only like this.
	return ec2.ModifyInstanceAttributeInput{Attribute: name, Value: aws.String(value)}
}

// flags are the volumes that are deleted with the instance in one state and not
// in the other.
func flags(in, notIn state, flag bool) []types.InstanceBlockDeviceMappingSpecification {
	var volumes []types.InstanceBlockDeviceMappingSpecification
	for _, device := range slices.Sorted(maps.Keys(in.DeleteOnTermination)) {
		if notIn.DeleteOnTermination[device] == in.DeleteOnTermination[device] {
			continue
		}
		volumes = append(volumes, types.InstanceBlockDeviceMappingSpecification{
			DeviceName: aws.String(device),
			Ebs: &types.EbsInstanceBlockDeviceSpecification{
				VolumeId: aws.String(in.DeleteOnTermination[device]), DeleteOnTermination: aws.Bool(flag),
			},
		})
	}
	return volumes
}

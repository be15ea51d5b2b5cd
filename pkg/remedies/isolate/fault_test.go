package isolate_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/control"
)

// dies sends so many calls; of all after them none, as of a worker that was
// killed.
func dies(after int, made *atomic.Int64) wire {
	return wire{meet: func(_ call, send func() (*http.Response, error)) (*http.Response, error) {
		if made.Add(1) > int64(after) {
			return nil, errors.New("the worker is dead")
		}
		return send()
	}}
}

func TestWorkerKilledAtAnyCallOfApplyIsFollowedUp(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	before := b.memberships(ctx)
	for calls := 0; ; calls++ {
		first := b.plan(ctx)
		var made atomic.Int64
		err := remedy(true).Apply(ctx, b.session(dies(calls, &made)), *first)
		resumed := b.resume(ctx, *first)
		if resumed.Digest() != first.Digest() {
			t.Errorf("the change became another one: %s", resumed.After)
		}
		lifecycle.Must(t, remedy(true).Undo(ctx, b.session(wire{}), resumed))
		same(t, "groups before and after release", before, b.memberships(ctx))
		if t.Failed() {
			t.Fatalf("killed after %d calls", calls)
		}
		if err == nil && made.Load() <= int64(calls) {
			break // it lived
		}
		b.delete(ctx, aws.ToString(b.named(ctx, quarantineName)[0].GroupId))
	}
}

func TestWorkerKilledAtAnyCallOfUndoIsFollowedUp(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	before := b.memberships(ctx)
	for calls := 0; ; calls++ {
		change := b.isolate(ctx)
		var made atomic.Int64
		killed := remedy(true).Undo(ctx, b.session(dies(calls, &made)), *change)
		err := remedy(true).Undo(ctx, b.session(wire{}), *change)
		var moved *control.MovedError
		if err != nil && (!errors.As(err, &moved) || string(moved.Now) != string(change.Before)) {
			t.Errorf("want it finished, or to be told that it was, got %v", err)
		}
		same(t, "groups before and after release", before, b.memberships(ctx))
		if t.Failed() {
			t.Fatalf("killed after %d calls", calls)
		}
		if killed == nil {
			break // it lived
		}
	}
}

func TestInterfacesPassThroughTheOpenGroupIntoTheClosedOne(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	var mu sync.Mutex
	passed := map[string][]string{}
	session := b.session(wire{meet: func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		if c.name != "ModifyNetworkInterfaceAttribute" {
			return send()
		}
		mu.Lock()
		defer mu.Unlock()
		out, err := b.member.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{c.form.Get("SecurityGroupId.1")}})
		if err != nil || c.form.Has("SecurityGroupId.2") {
			t.Errorf("interface is put into groups %v: %v", c.form, err)
			return send()
		}
		g := out.SecurityGroups[0]
		id, name := c.form.Get("NetworkInterfaceId"), aws.ToString(g.GroupName)
		passed[id] = append(passed[id], name)
		rules := len(g.IpPermissions) + len(g.IpPermissionsEgress)
		if name == quarantineName && rules > 0 || name == b.untrackName() && !(wide(g.IpPermissions) && wide(g.IpPermissionsEgress)) {
			t.Errorf("interface is put into a group %s with rules %s", name, text(g))
		}
		return send()
	}})
	lifecycle.Must(t, remedy(true).Apply(ctx, session, *b.plan(ctx)))
	for _, id := range b.interfaces {
		same(t, "groups that interface passed", []string{b.untrackName(), quarantineName}, passed[id])
	}
	b.cutOff(ctx)
}

// wide reports whether permissions allow everything.
func wide(permissions []types.IpPermission) bool {
	v4, v6 := false, false
	for _, p := range permissions {
		for _, r := range p.IpRanges {
			v4 = v4 || aws.ToString(p.IpProtocol) == "-1" && aws.ToString(r.CidrIp) == "0.0.0.0/0"
		}
		for _, r := range p.Ipv6Ranges {
			v6 = v6 || aws.ToString(p.IpProtocol) == "-1" && aws.ToString(r.CidrIpv6) == "::/0"
		}
	}
	return v4 && v6
}

func TestTwoInstancesOfOneVPCAtOnce(t *testing.T) {
	ctx := t.Context()
	one := newBox(t)
	other := one.neighbour(ctx)
	plans := []*control.Change{one.plan(ctx), other.plan(ctx)}
	// AWS makes one group of a name; moto may make two that are asked for at once.
	var making sync.Mutex
	var side sync.WaitGroup
	for i, b := range []*box{one, other} {
		session := b.session(wire{meet: func(c call, send func() (*http.Response, error)) (*http.Response, error) {
			if c.name == "CreateSecurityGroup" {
				making.Lock()
				defer making.Unlock()
			}
			return send()
		}})
		side.Go(func() {
			if err := remedy(true).Apply(ctx, session, *plans[i]); err != nil {
				t.Error(err)
			}
		})
	}
	side.Wait()
	one.cutOff(ctx)
	other.cutOff(ctx)
	if got := one.named(ctx, quarantineName); len(got) != 1 {
		t.Errorf("want one quarantine group, got %s", text(got))
	}
}

// TestGroupMadeByAnotherWorkerInBetweenIsUsed has another worker isolate an
// instance of the same VPC after this one has read that there is no group, and
// before it makes one.
func TestGroupMadeByAnotherWorkerInBetweenIsUsed(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	other := b.neighbour(ctx)
	c := b.plan(ctx)
	read := make(chan struct{})
	var first sync.Once
	session := b.session(wire{meet: func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		switch c.name {
		case "DescribeSecurityGroups":
			answer, err := send()
			first.Do(func() { close(read) })
			return answer, err
		case "CreateSecurityGroup":
			<-read
			if c.form.Get("GroupName") == quarantineName && len(other.named(ctx, quarantineName)) == 0 {
				other.isolate(ctx)
			}
		}
		return send()
	}})
	lifecycle.Must(t, remedy(true).Apply(ctx, session, *c))
	b.cutOff(ctx)
	other.cutOff(ctx)
}

// TestWhatFailsLeavesNothingOpen has AWS refuse one kind of call. Whatever fails
// then, no interface may be left in a wide-open group, and the next plan and
// apply finish.
func TestWhatFailsLeavesNothingOpen(t *testing.T) {
	into := func(name string) func(*box, call) bool {
		return func(b *box, c call) bool {
			if c.name != "ModifyNetworkInterfaceAttribute" && c.name != "DeleteSecurityGroup" {
				return false
			}
			groups := b.named(b.t.Context(), name)
			return len(groups) == 1 && c.form.Get("SecurityGroupId.1") == aws.ToString(groups[0].GroupId)
		}
	}
	creates := func(name string) func(*box, call) bool {
		return func(_ *box, c call) bool {
			return c.name == "CreateSecurityGroup" && strings.HasPrefix(c.form.Get("GroupName"), name)
		}
	}
	called := func(name string) func(*box, call) bool {
		return func(_ *box, c call) bool { return c.name == name }
	}
	for _, tt := range []struct {
		name    string
		code    string
		refused func(*box, call) bool
		says    string // Apply's error; empty: none
		state   string // of the interfaces after it
	}{
		{"no wide-open group can be made", "UnauthorizedOperation", creates("snapback-untrack"), "connections that were open may go on", "isolated"},
		{"the wide-open group can't be opened", "UnauthorizedOperation", called("AuthorizeSecurityGroupIngress"), "connections that were open may go on", "isolated"},
		{"no quarantine group can be made", "SecurityGroupLimitExceeded", creates(quarantineName), "SecurityGroupLimitExceeded", "as before"},
		{"a group has the name in capitals", "InvalidGroup.Duplicate", creates(quarantineName), "whose name differs in case alone", "as before"},
		{"the quarantine group can't be closed", "UnauthorizedOperation", called("RevokeSecurityGroupEgress"), "revoke all traffic out", "as before"},
		{"no interface can be put anywhere", "UnauthorizedOperation", called("ModifyNetworkInterfaceAttribute"), "put network interface", "as before"},
		{"no interface gets out of the wide-open group", "InternalError", func(b *box, c call) bool {
			return into(quarantineName)(b, c) || c.name == "DeleteSecurityGroup" // moto deletes what is in use
		}, "put network interface", "wide"},
		{"the wide-open group can't be deleted", "DependencyViolation", called("DeleteSecurityGroup"), "", "isolated"},
		{"the interfaces are deleted meanwhile", "InvalidNetworkInterfaceID.NotFound", called("ModifyNetworkInterfaceAttribute"), "", "as before"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := t.Context()
			b := newBox(t)
			before := b.memberships(ctx)
			first := b.plan(ctx)
			err := remedy(true).Apply(ctx, b.session(refuse(tt.code, func(c call) bool { return tt.refused(b, c) })), *first)
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("Apply says %v, want %q", err, tt.says)
			}
			b.closed(ctx)
			switch tt.state {
			case "as before":
				same(t, "groups", before, b.memberships(ctx))
			case "isolated":
				b.quarantined(ctx)
			default:
				b.silent(ctx)
			}
			resumed := b.resume(ctx, *first)
			lifecycle.Must(t, remedy(true).Undo(ctx, b.session(wire{}), resumed))
			same(t, "groups before and after release", before, b.memberships(ctx))
		})
	}
}

// closed wants no wide-open group to be left that has any rule.
func (b *box) closed(ctx context.Context) {
	b.t.Helper()
	for _, g := range b.named(ctx, b.untrackName()) {
		if len(g.IpPermissions)+len(g.IpPermissionsEgress) > 0 {
			b.t.Errorf("a wide-open group is left: %s", text(g))
		}
	}
}

// resume takes a change up as the engine does with one that was begun: from the
// first Before to where a new plan would go. It wants all to be as it should then.
func (b *box) resume(ctx context.Context, c control.Change) control.Change {
	b.t.Helper()
	now, err := remedy(true).Plan(ctx, b.session(wire{}), b.target())
	lifecycle.Must(b.t, err)
	if now == nil { // at most a wide-open group is left, and that is closed
		b.closed(ctx)
		b.quarantined(ctx)
		b.done(ctx)
		return c
	}
	c.After = now.After
	lifecycle.Must(b.t, remedy(true).Apply(ctx, b.session(wire{}), c))
	b.cutOff(ctx)
	b.done(ctx)
	return c
}

// TestStuckInstanceCanBeReleased undoes what Apply failed to finish.
func TestStuckInstanceCanBeReleased(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	before := b.memberships(ctx)
	c := b.plan(ctx)
	var puts atomic.Int64
	err := remedy(true).Apply(ctx, b.session(refuse("InternalError", func(c call) bool {
		return c.name == "DeleteSecurityGroup" || c.name == "ModifyNetworkInterfaceAttribute" && puts.Add(1) > 4
	})), *c)
	if err == nil {
		t.Fatal("Apply says that it isolated the instance")
	}
	lifecycle.Must(t, remedy(true).Undo(ctx, b.session(wire{}), *c))
	same(t, "groups before and after release", before, b.memberships(ctx))
}

// TestEC2MayNotKnowAtOnceWhatItWasTold has each kind of call that follows on
// another one refused once.
func TestEC2MayNotKnowAtOnceWhatItWasTold(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	c := b.plan(ctx)
	var mu sync.Mutex
	seen := map[string]bool{}
	session := b.session(wire{meet: func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		mu.Lock()
		before := seen[c.name]
		seen[c.name] = true
		mu.Unlock()
		switch {
		case before, strings.HasPrefix(c.name, "Describe"), c.name == "CreateSecurityGroup":
			return send()
		case c.name == "DeleteSecurityGroup":
			return refusal("DependencyViolation"), nil
		}
		return refusal("InvalidGroup.NotFound"), nil
	}})
	lifecycle.Must(t, remedy(true).Apply(ctx, session, *c))
	b.cutOff(ctx)
}

func TestInstanceThatIsGoneLeavesNoWideOpenGroup(t *testing.T) {
	ctx := t.Context()
	b := newBox(t)
	c := b.plan(ctx)
	_, err := b.member.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{b.instance}})
	lifecycle.Must(t, err)
	if err := remedy(true).Apply(ctx, b.session(wire{}), *c); !errors.Is(err, control.ErrGone) {
		t.Errorf("want control.ErrGone, got %v", err)
	}
	if left := b.named(ctx, b.untrackName()); len(left) > 0 {
		t.Errorf("the wide-open group is still there: %s", text(left))
	}
}

// TestWorkerOutOfTimeStillClosesTheWideOpenGroup cancels the work while the
// interfaces are in it.
func TestWorkerOutOfTimeStillClosesTheWideOpenGroup(t *testing.T) {
	b := newBox(t)
	c := b.plan(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	session := b.session(wire{meet: func(c call, send func() (*http.Response, error)) (*http.Response, error) {
		switch c.name {
		case "DeleteSecurityGroup":
			return refusal("DependencyViolation"), nil // moto deletes what is in use
		case "ModifyNetworkInterfaceAttribute":
			defer cancel()
		}
		return send()
	}})
	if err := remedy(true).Apply(ctx, session, *c); err == nil {
		t.Error("Apply says that it isolated the instance")
	}
	b.closed(t.Context())
}

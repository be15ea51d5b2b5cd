package evidence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/evidence"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

func TestMain(m *testing.M) { lifecycle.Main(m) }

// Moto's snapshots are complete at once, and it takes no notice of
// ExcludeDataVolumeIds.
func TestLifecycle(t *testing.T) {
	lifecycle.Remedy(t, "response", instance.Resource().Type, evidence.Remedy(), lifecycle.Test{
		Gone: "i-0123456789abcdef0",
		Violations: []lifecycle.Violation{{
			Name: "an instance with two volumes",
			Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
				return launch(ctx, t, cfg, nil)
			},
			// The snapshots stay, released: what undo restores is that none is held.
			State: func(ctx context.Context, t *testing.T, cfg aws.Config, id string) any {
				client := ec2.NewFromConfig(cfg)
				out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
				lifecycle.Must(t, err)
				return lifecycle.Comparable([]any{out.Reservations, marked(ctx, t, client, id, "held")})
			},
		}},
	})
}

func TestSnapshotsOfAllVolumesAreTagged(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	c := s.Plan(id)
	volumes := s.volumes(id)
	lifecycle.Same(t, "Reason", c.Reason, "There is no evidence of the volumes of instance "+id+": "+strings.Join(volumes, ", ")+".")
	lifecycle.Same(t, "Before", string(c.Before), `{"HeldVolumes":[]}`)
	lifecycle.Same(t, "After", string(c.After), fmt.Sprintf(`{"HeldVolumes":[%q,%q]}`, volumes[0], volumes[1]))
	s.Apply(c)
	snapshots := s.snapshots(id)
	var of []string
	for _, snapshot := range snapshots {
		of = append(of, aws.ToString(snapshot.VolumeId))
		tags := map[string]string{}
		for _, tag := range snapshot.Tags {
			tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
		lifecycle.Same(t, "tags", tags, map[string]string{
			"snapback:instance": id, "snapback:case": c.Case, "snapback:finding": c.Finding, "snapback:evidence": "held",
		})
	}
	slices.Sort(of)
	lifecycle.Same(t, "volumes with a snapshot", of, volumes)
	if again := s.Plan(id); again != nil {
		t.Errorf("Plan still finds: %s", again.Reason)
	}
}

func TestLookTellsOfEachSnapshot(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	c := s.Plan(id)
	lines := func() []string {
		lines, err := s.Remedy.Look(s.Ctx, s.Session, *c)
		lifecycle.Must(t, err)
		return lines
	}
	lifecycle.Same(t, "before Apply", lines(), []string{"no snapshot of case " + c.Case + " is there"})
	s.Apply(c)
	s.Rewrite("EC2.DescribeSnapshots", "<status>completed<", "<status>pending<", "100%", "45%")
	var want []string
	for _, volume := range s.volumes(id) {
		want = append(want, fmt.Sprintf("snapshot %s of volume %s: pending, 45%%", s.snapshotsOf(id, volume)[0], volume))
	}
	lifecycle.Same(t, "after Apply", lines(), want)
}

func TestReleasedSnapshotsAreKeptAndTakenAnew(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	first := s.Plan(id)
	s.Apply(first)
	s.Undo(first)
	if n := len(s.snapshots(id)); n != 2 {
		t.Fatalf("%d snapshots after Undo, want the 2 that were taken", n)
	}
	second := s.Plan(id)
	second.Case = "20261123-again000"
	s.Apply(second)
	lifecycle.Same(t, "held", s.marked(id, "held"), s.volumes(id))
	lifecycle.Same(t, "released", s.marked(id, "released"), s.volumes(id))
	s.Undo(second)
	lifecycle.Same(t, "held in the end", s.marked(id, "held"), []string{})
}

// Moto leaves out the root volume, but takes snapshots of all data volumes
// whatever is excluded: of those the request is looked at.
func TestVolumesWithEvidenceAreLeftOut(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	s.Apply(s.Plan(id))
	added := s.attach(id, "/dev/sdg")
	c := s.Plan(id)
	before := s.volumes(id)
	before = slices.DeleteFunc(before, func(v string) bool { return v == added })
	lifecycle.Same(t, "Before", string(c.Before), fmt.Sprintf(`{"HeldVolumes":[%q,%q]}`, before[0], before[1]))
	s.Apply(c)
	if n := len(s.snapshotsOf(id, s.volumeAt(id, "/dev/sda1"))); n != 1 {
		t.Errorf("%d snapshots of the root volume, want 1", n)
	}
	if n := len(s.snapshotsOf(id, added)); n != 1 {
		t.Errorf("%d snapshots of the added volume, want 1", n)
	}
	if data := "ExcludeDataVolumeId.1=" + s.volumeAt(id, "/dev/sdf"); !s.sent("Action=CreateSnapshots", data) {
		t.Errorf("no request for snapshots has %s", data)
	}
	s.Undo(c)
	lifecycle.Same(t, "held after Undo", s.marked(id, "held"), before)
}

func TestSnapshotThatFailedIsNoEvidence(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	s.Apply(s.Plan(id))
	s.Rewrite("EC2.DescribeSnapshots", "<status>completed<", "<status>error<")
	if c := s.Plan(id); c == nil || string(c.Before) != `{"HeldVolumes":[]}` {
		t.Errorf("Plan returns %+v, want new snapshots", c)
	}
}

// Moto knows no instance stores: what it answers is changed on its way.
func TestInstanceStoreIsReported(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	s.Rewrite("EC2.DescribeInstances", "<rootDeviceType>ebs<", "<rootDeviceType>instance-store<")
	left := []string{"There is no evidence of the root device of instance " + id + ": it is an instance store, which can't be snapshotted."}
	c := s.Plan(id)
	lifecycle.Same(t, "Left", c.Left, left)
	if c.Report() {
		t.Error("it is a report, although there are volumes")
	}
	s.Apply(c)
	again := s.Plan(id)
	if again == nil || !again.Report() {
		t.Fatalf("after Apply, Plan returns %+v, want a report", again)
	}
	lifecycle.Same(t, "Left of the report", again.Left, left)
}

func TestInstanceWithoutVolumesHasNothingToTake(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	for _, volume := range s.volumes(id) {
		_, err := s.ec2.DetachVolume(s.Ctx, &ec2.DetachVolumeInput{VolumeId: aws.String(volume), InstanceId: aws.String(id)})
		lifecycle.Must(t, err)
	}
	if c := s.Plan(id); c != nil {
		t.Errorf("Plan finds: %s", c.Reason)
	}
}

func TestKilledWorkerIsFinished(t *testing.T) {
	for _, call := range []string{"EC2.DescribeInstances", "EC2.DescribeSnapshots", "EC2.CreateSnapshots"} {
		for name, fault := range lifecycle.Kills {
			t.Run(name+" "+call, func(t *testing.T) {
				s := newStage(t)
				id := s.launch()
				c := s.Plan(id)
				s.Killed(s.Remedy.Apply, c, call, 1, fault)
				s.finish(c, id)
			})
		}
	}
}

// The first attempt was carried out: another one would take the snapshots twice.
func TestSnapshotsWhoseAnswerIsLostAreNotTakenTwice(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	c := s.Plan(id)
	s.Proxy.Inject("EC2.CreateSnapshots", 1, local.AnswerLost())
	if err := s.Remedy.Apply(s.Ctx, s.Session, *c); err == nil || cloud.Permanent(err) {
		t.Fatalf("want an error that is worth retrying, got %v", err)
	}
	s.finish(c, id)
}

// finish is what the worker does that takes a case over: it keeps the first
// Before.
func (s *stage) finish(c *control.Change, id string) {
	s.T.Helper()
	if again := s.Plan(id); again != nil {
		lifecycle.Same(s.T, "After of the plan that finishes it", string(again.After), string(c.After))
		s.Apply(c)
	}
	if last := s.Plan(id); last != nil {
		s.T.Errorf("Plan still finds: %s", last.Reason)
	}
	for _, volume := range s.volumes(id) {
		if n := len(s.snapshotsOf(id, volume)); n != 1 {
			s.T.Errorf("%d snapshots of volume %s, want 1", n, volume)
		}
	}
	s.Undo(c)
	lifecycle.Same(s.T, "held after Undo", s.marked(id, "held"), []string{})
}

func TestUndoNamesSnapshotsThatAreGone(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	c := s.Plan(id)
	s.Apply(c)
	gone := s.volumeAt(id, "/dev/sdf")
	_, err := s.ec2.DeleteSnapshot(s.Ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(s.snapshotsOf(id, gone)[0])})
	lifecycle.Must(t, err)
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c), "Of some volumes of instance "+id+" there was no snapshot any more that is held as evidence: "+gone+".")
	lifecycle.Same(t, "released", s.marked(id, "released"), []string{s.volumeAt(id, "/dev/sda1")})
}

func TestUndoIsRefusedWhereThereIsMoreEvidence(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	c := s.Plan(id)
	s.Apply(c)
	s.attach(id, "/dev/sdg")
	s.Apply(s.Plan(id))
	var moved *control.MovedError
	if err := s.Remedy.Undo(s.Ctx, s.Session, *c); !errors.As(err, &moved) {
		t.Errorf("want a *control.MovedError, got %v", err)
	}
	lifecycle.Same(t, "held", s.marked(id, "held"), s.volumes(id))
}

func TestRoundTrips(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	s.RoundTrips(id, lifecycle.RoundTrips{Plan: 2, Apply: 2, Again: 1, Undo: 2})
}

// stage is the shared one, with the member's own client of EC2.
type stage struct {
	*lifecycle.Stage
	ec2 *ec2.Client

	mu    sync.Mutex
	asked []string // the bodies of the session's requests
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{Stage: lifecycle.NewStage(t, "response", instance.Resource().Type, evidence.Remedy())}
	s.ec2, s.Request = ec2.NewFromConfig(s.Member), s.keep
	return s
}

// keep keeps what is asked.
func (s *stage) keep(r *http.Request) {
	if r.Body == nil {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.T.Errorf("read a request: %v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, string(body))
}

// sent reports whether a request had all of some parts.
func (s *stage) sent(parts ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.asked, func(body string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(body, part) })
	})
}

func (s *stage) launch() string {
	s.T.Helper()
	return launch(s.Ctx, s.T, s.Member, nil)
}

// launch starts an instance with a root and a data volume.
func launch(ctx context.Context, t *testing.T, cfg aws.Config, with func(*ec2.RunInstancesInput)) string {
	t.Helper()
	disk := &types.EbsBlockDevice{VolumeSize: aws.Int32(8), DeleteOnTermination: aws.Bool(true)}
	in := &ec2.RunInstancesInput{
		ImageId: aws.String("ami-12c6146b"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		BlockDeviceMappings: []types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/sda1"), Ebs: disk}, {DeviceName: aws.String("/dev/sdf"), Ebs: disk},
		},
	}
	if with != nil {
		with(in)
	}
	out, err := ec2.NewFromConfig(cfg).RunInstances(ctx, in)
	lifecycle.Must(t, err)
	return aws.ToString(out.Instances[0].InstanceId)
}

func (s *stage) attach(id, device string) string {
	s.T.Helper()
	v, err := s.ec2.CreateVolume(s.Ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(local.Region + "a"), Size: aws.Int32(1)})
	lifecycle.Must(s.T, err)
	_, err = s.ec2.AttachVolume(s.Ctx, &ec2.AttachVolumeInput{InstanceId: aws.String(id), VolumeId: v.VolumeId, Device: aws.String(device)})
	lifecycle.Must(s.T, err)
	return aws.ToString(v.VolumeId)
}

// devices are the volumes of an instance, by device.
func (s *stage) devices(id string) map[string]string {
	s.T.Helper()
	out, err := s.ec2.DescribeInstances(s.Ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	lifecycle.Must(s.T, err)
	devices := map[string]string{}
	for _, m := range out.Reservations[0].Instances[0].BlockDeviceMappings {
		devices[aws.ToString(m.DeviceName)] = aws.ToString(m.Ebs.VolumeId)
	}
	return devices
}

func (s *stage) volumeAt(id, device string) string { return s.devices(id)[device] }

// volumes are the volumes of an instance, sorted.
func (s *stage) volumes(id string) []string {
	var volumes []string
	for _, v := range s.devices(id) {
		volumes = append(volumes, v)
	}
	slices.Sort(volumes)
	return volumes
}

// snapshots are those that are tagged for an instance.
func (s *stage) snapshots(id string) []types.Snapshot {
	s.T.Helper()
	return snapshots(s.Ctx, s.T, s.ec2, "tag:snapback:instance", id)
}

func (s *stage) snapshotsOf(id, volume string) []string {
	var ids []string
	for _, snapshot := range s.snapshots(id) {
		if aws.ToString(snapshot.VolumeId) == volume {
			ids = append(ids, aws.ToString(snapshot.SnapshotId))
		}
	}
	return ids
}

func (s *stage) marked(id, as string) []string {
	s.T.Helper()
	return marked(s.Ctx, s.T, s.ec2, id, as)
}

// marked are the volumes of an instance with a snapshot that is held or released.
func marked(ctx context.Context, t *testing.T, client *ec2.Client, id, as string) []string {
	t.Helper()
	volumes := []string{}
	for _, s := range snapshots(ctx, t, client, "tag:snapback:instance", id, "tag:snapback:evidence", as) {
		volumes = append(volumes, aws.ToString(s.VolumeId))
	}
	slices.Sort(volumes)
	return slices.Compact(volumes)
}

func snapshots(ctx context.Context, t *testing.T, client *ec2.Client, pairs ...string) []types.Snapshot {
	t.Helper()
	in := &ec2.DescribeSnapshotsInput{Filters: []types.Filter{{Name: aws.String("owner-id"), Values: []string{local.MemberAccount}}}}
	for pair := range slices.Chunk(pairs, 2) {
		in.Filters = append(in.Filters, types.Filter{Name: aws.String(pair[0]), Values: pair[1:]})
	}
	out, err := client.DescribeSnapshots(ctx, in)
	lifecycle.Must(t, err)
	return out.Snapshots
}

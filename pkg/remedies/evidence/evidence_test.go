package evidence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/evidence"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

// server is the AWS of all tests but the lifecycle's, each of which works on
// instances of its own.
var server *local.AWS

func TestMain(m *testing.M) {
	var err error
	if server, err = local.StartAWS(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	code := m.Run()
	server.Close()
	os.Exit(code)
}

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
				must(t, err)
				return lifecycle.Comparable([]any{out.Reservations, marked(ctx, t, client, id, "held")})
			},
		}},
	})
}

func TestSnapshotsOfAllVolumesAreTagged(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	c := s.plan(id)
	volumes := s.volumes(id)
	same(t, "Reason", c.Reason, "There is no evidence of the volumes of instance "+id+": "+strings.Join(volumes, ", ")+".")
	same(t, "Before", string(c.Before), `{"HeldVolumes":[]}`)
	same(t, "After", string(c.After), fmt.Sprintf(`{"HeldVolumes":[%q,%q]}`, volumes[0], volumes[1]))
	s.apply(c)
	snapshots := s.snapshots(id)
	var of []string
	for _, snapshot := range snapshots {
		of = append(of, aws.ToString(snapshot.VolumeId))
		tags := map[string]string{}
		for _, tag := range snapshot.Tags {
			tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
		}
		same(t, "tags", tags, map[string]string{
			"snapback:instance": id, "snapback:case": c.Case, "snapback:finding": c.Finding, "snapback:evidence": "held",
		})
	}
	slices.Sort(of)
	same(t, "volumes with a snapshot", of, volumes)
	if again := s.plan(id); again != nil {
		t.Errorf("Plan still finds: %s", again.Reason)
	}
}

func TestLookTellsOfEachSnapshot(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	c := s.plan(id)
	lines := func() []string {
		lines, err := s.remedy.Look(s.ctx, s.session, *c)
		must(t, err)
		return lines
	}
	same(t, "before Apply", lines(), []string{"no snapshot of case " + c.Case + " is there"})
	s.apply(c)
	s.rewrite("EC2.DescribeSnapshots", "<status>completed<", "<status>pending<", "100%", "45%")
	var want []string
	for _, volume := range s.volumes(id) {
		want = append(want, fmt.Sprintf("snapshot %s of volume %s: pending, 45%%", s.snapshotsOf(id, volume)[0], volume))
	}
	same(t, "after Apply", lines(), want)
}

func TestReleasedSnapshotsAreKeptAndTakenAnew(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	first := s.plan(id)
	s.apply(first)
	must(t, s.remedy.Undo(s.ctx, s.session, *first))
	if n := len(s.snapshots(id)); n != 2 {
		t.Fatalf("%d snapshots after Undo, want the 2 that were taken", n)
	}
	second := s.plan(id)
	second.Case = "20261123-again000"
	s.apply(second)
	same(t, "held", s.marked(id, "held"), s.volumes(id))
	same(t, "released", s.marked(id, "released"), s.volumes(id))
	must(t, s.remedy.Undo(s.ctx, s.session, *second))
	same(t, "held in the end", s.marked(id, "held"), []string{})
}

// Moto leaves out the root volume, but takes snapshots of all data volumes
// whatever is excluded: of those the request is looked at.
func TestVolumesWithEvidenceAreLeftOut(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	s.apply(s.plan(id))
	added := s.attach(id, "/dev/sdg")
	c := s.plan(id)
	before := s.volumes(id)
	before = slices.DeleteFunc(before, func(v string) bool { return v == added })
	same(t, "Before", string(c.Before), fmt.Sprintf(`{"HeldVolumes":[%q,%q]}`, before[0], before[1]))
	s.apply(c)
	if n := len(s.snapshotsOf(id, s.volumeAt(id, "/dev/sda1"))); n != 1 {
		t.Errorf("%d snapshots of the root volume, want 1", n)
	}
	if n := len(s.snapshotsOf(id, added)); n != 1 {
		t.Errorf("%d snapshots of the added volume, want 1", n)
	}
	if data := "ExcludeDataVolumeId.1=" + s.volumeAt(id, "/dev/sdf"); !s.late.sent("Action=CreateSnapshots", data) {
		t.Errorf("no request for snapshots has %s", data)
	}
	must(t, s.remedy.Undo(s.ctx, s.session, *c))
	same(t, "held after Undo", s.marked(id, "held"), before)
}

func TestSnapshotThatFailedIsNoEvidence(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	s.apply(s.plan(id))
	s.rewrite("EC2.DescribeSnapshots", "<status>completed<", "<status>error<")
	if c := s.plan(id); c == nil || string(c.Before) != `{"HeldVolumes":[]}` {
		t.Errorf("Plan returns %+v, want new snapshots", c)
	}
}

// Moto knows no instance stores: what it answers is changed on its way.
func TestInstanceStoreIsReported(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	s.rewrite("EC2.DescribeInstances", "<rootDeviceType>ebs<", "<rootDeviceType>instance-store<")
	left := []string{"There is no evidence of the root device of instance " + id + ": it is an instance store, which can't be snapshotted."}
	c := s.plan(id)
	same(t, "Left", c.Left, left)
	if c.Report() {
		t.Error("it is a report, although there are volumes")
	}
	s.apply(c)
	again := s.plan(id)
	if again == nil || !again.Report() {
		t.Fatalf("after Apply, Plan returns %+v, want a report", again)
	}
	same(t, "Left of the report", again.Left, left)
}

func TestInstanceWithoutVolumesHasNothingToTake(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	for _, volume := range s.volumes(id) {
		_, err := s.ec2.DetachVolume(s.ctx, &ec2.DetachVolumeInput{VolumeId: aws.String(volume), InstanceId: aws.String(id)})
		must(t, err)
	}
	if c := s.plan(id); c != nil {
		t.Errorf("Plan finds: %s", c.Reason)
	}
}

func TestKilledWorkerIsFinished(t *testing.T) {
	for _, call := range []string{"EC2.DescribeInstances", "EC2.DescribeSnapshots", "EC2.CreateSnapshots"} {
		for name, fault := range map[string]func(func()) local.Fault{"before": local.KilledBefore, "after": local.KilledAfter} {
			t.Run(name+" "+call, func(t *testing.T) {
				s := newStage(t)
				id := s.launch()
				c := s.plan(id)
				ctx, kill := context.WithCancel(s.ctx)
				s.proxy.Inject(call, 1, fault(kill))
				if err := s.remedy.Apply(ctx, s.session, *c); err == nil {
					t.Fatal("the killed Apply succeeded")
				}
				s.proxy.Clear()
				s.finish(c, id)
			})
		}
	}
}

// The first attempt was carried out: another one would take the snapshots twice.
func TestSnapshotsWhoseAnswerIsLostAreNotTakenTwice(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	c := s.plan(id)
	s.proxy.Inject("EC2.CreateSnapshots", 1, local.AnswerLost())
	if err := s.remedy.Apply(s.ctx, s.session, *c); err == nil || cloud.Permanent(err) {
		t.Fatalf("want an error that is worth retrying, got %v", err)
	}
	s.finish(c, id)
}

// finish is what the worker does that takes a case over: it keeps the first
// Before.
func (s *stage) finish(c *control.Change, id string) {
	s.t.Helper()
	if again := s.plan(id); again != nil {
		same(s.t, "After of the plan that finishes it", string(again.After), string(c.After))
		s.apply(c)
	}
	if last := s.plan(id); last != nil {
		s.t.Errorf("Plan still finds: %s", last.Reason)
	}
	for _, volume := range s.volumes(id) {
		if n := len(s.snapshotsOf(id, volume)); n != 1 {
			s.t.Errorf("%d snapshots of volume %s, want 1", n, volume)
		}
	}
	must(s.t, s.remedy.Undo(s.ctx, s.session, *c))
	same(s.t, "held after Undo", s.marked(id, "held"), []string{})
}

func TestUndoNamesSnapshotsThatAreGone(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	c := s.plan(id)
	s.apply(c)
	gone := s.volumeAt(id, "/dev/sdf")
	_, err := s.ec2.DeleteSnapshot(s.ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(s.snapshotsOf(id, gone)[0])})
	must(t, err)
	var left *control.LeftError
	if err := s.remedy.Undo(s.ctx, s.session, *c); !errors.As(err, &left) {
		t.Fatalf("want a *control.LeftError, got %v", err)
	}
	same(t, "Left", left.Left, []string{"Of some volumes of instance " + id + " there was no snapshot any more that is held as evidence: " + gone + "."})
	same(t, "released", s.marked(id, "released"), []string{s.volumeAt(id, "/dev/sda1")})
}

func TestUndoIsRefusedWhereThereIsMoreEvidence(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	c := s.plan(id)
	s.apply(c)
	s.attach(id, "/dev/sdg")
	s.apply(s.plan(id))
	var moved *control.MovedError
	if err := s.remedy.Undo(s.ctx, s.session, *c); !errors.As(err, &moved) {
		t.Errorf("want a *control.MovedError, got %v", err)
	}
	same(t, "held", s.marked(id, "held"), s.volumes(id))
}

func TestRoundTrips(t *testing.T) {
	s := newStage(t)
	id := s.launch()
	s.late.delay = 100 * time.Millisecond
	var c *control.Change
	plan := func(ctx context.Context) error {
		planned, err := s.remedy.Plan(ctx, s.session, target(id))
		if planned != nil {
			c = planned
		}
		return err
	}
	for _, step := range []struct {
		name string
		want int
		do   func(context.Context) error
	}{
		{"Plan", 2, plan},
		{"Apply", 2, func(ctx context.Context) error { return s.remedy.Apply(ctx, s.session, *c) }},
		{"Plan that finds nothing to do", 1, plan},
		{"Undo", 2, func(ctx context.Context) error { return s.remedy.Undo(ctx, s.session, *c) }},
	} {
		ctx, recorder := cloud.Record(s.ctx)
		must(t, step.do(ctx))
		if got := cloud.RoundTrips(recorder.Calls()); got != step.want {
			t.Errorf("%s takes %d serial round trips, want %d: %v", step.name, got, step.want, recorder.Calls())
		}
	}
}

// stage is a member account behind a proxy, entered as Snapback does.
type stage struct {
	t       *testing.T
	ctx     context.Context
	remedy  control.Remedy
	member  aws.Config
	ec2     *ec2.Client
	session *cloud.Session
	proxy   *local.Proxy
	late    *late
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, ctx: t.Context(), remedy: evidence.Remedy(), member: server.Config(local.MemberAccount)}
	s.ec2 = ec2.NewFromConfig(s.member)
	var err error
	s.proxy, err = local.StartProxy(s.ctx, server, nil)
	must(t, err)
	t.Cleanup(s.proxy.Close)
	hub := server.Config(local.HubAccount)
	hub.BaseEndpoint = aws.String(s.proxy.Endpoint())
	s.late = &late{HTTPClient: hub.HTTPClient}
	hub.HTTPClient = s.late
	s.session, err = cloud.NewSessions(hub, "snapback-response", "response").For(s.ctx, local.MemberAccount, local.Region, "test")
	must(t, err)
	return s
}

// late delays every request, so that calls made side by side overlap for certain,
// and keeps what was asked.
type late struct {
	aws.HTTPClient
	delay time.Duration

	mu    sync.Mutex
	asked []string
}

func (l *late) Do(r *http.Request) (*http.Response, error) {
	<-time.After(l.delay)
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		l.mu.Lock()
		l.asked = append(l.asked, string(body))
		l.mu.Unlock()
	}
	return l.HTTPClient.Do(r)
}

// sent reports whether a request had all of some parts.
func (l *late) sent(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.asked, func(body string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(body, part) })
	})
}

func target(id string) control.Target {
	return control.Target{Account: local.MemberAccount, Region: local.Region, Type: instance.Resource().Type, ID: id}
}

// plan plans as the engine does, with a case and a finding.
func (s *stage) plan(id string) *control.Change {
	s.t.Helper()
	c, err := s.remedy.Plan(s.ctx, s.session, target(id))
	must(s.t, err)
	if c != nil {
		c.Case, c.Finding = "20261122-example0", "finding-example"
	}
	return c
}

func (s *stage) apply(c *control.Change) {
	s.t.Helper()
	must(s.t, s.remedy.Apply(s.ctx, s.session, *c))
}

// rewrite changes what AWS answers to a call: pairs of what is there and what is
// put in its place.
func (s *stage) rewrite(call string, pairs ...string) {
	replacer := strings.NewReplacer(pairs...)
	s.proxy.Inject(call, 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		a := x.Forward()
		a.Body = []byte(replacer.Replace(string(a.Body)))
		a.Header.Del("Content-Length")
		x.Answer(a)
	}})
}

// refuse answers a call with an error in the form of EC2's protocol.
func (s *stage) refuse(call string, times, status int, code string) {
	s.proxy.Inject(call, 1, local.Fault{Times: times, Disturb: func(x *local.Exchange) {
		x.Answer(local.Answer{
			Status: status, Header: http.Header{"Content-Type": {"text/xml"}},
			Body: fmt.Appendf(nil, `<Response><Errors><Error><Code>%s</Code><Message>It is refused.</Message></Error></Errors><RequestID>local</RequestID></Response>`, code),
		})
	}})
}

func (s *stage) launch() string {
	s.t.Helper()
	return launch(s.ctx, s.t, s.member, nil)
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
	must(t, err)
	return aws.ToString(out.Instances[0].InstanceId)
}

func (s *stage) attach(id, device string) string {
	s.t.Helper()
	v, err := s.ec2.CreateVolume(s.ctx, &ec2.CreateVolumeInput{AvailabilityZone: aws.String(local.Region + "a"), Size: aws.Int32(1)})
	must(s.t, err)
	_, err = s.ec2.AttachVolume(s.ctx, &ec2.AttachVolumeInput{InstanceId: aws.String(id), VolumeId: v.VolumeId, Device: aws.String(device)})
	must(s.t, err)
	return aws.ToString(v.VolumeId)
}

// devices are the volumes of an instance, by device.
func (s *stage) devices(id string) map[string]string {
	s.t.Helper()
	out, err := s.ec2.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	must(s.t, err)
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
	s.t.Helper()
	return snapshots(s.ctx, s.t, s.ec2, "tag:snapback:instance", id)
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
	s.t.Helper()
	return marked(s.ctx, s.t, s.ec2, id, as)
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
	must(t, err)
	return out.Snapshots
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

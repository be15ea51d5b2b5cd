// Package reliability_test holds the built functions to their promises while AWS
// breaks under them: every call that they make, with every fault, one at a time.
// What came of each is docs/reliability.md.
package reliability_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/identity"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

const (
	controlID = "s3-bucket-public-access"
	// The limits are beyond what all sites of a run change together.
	enforced = `version: 1
reviewed: 2026-11-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}
mode: enforce
limits: {changes-per-control-per-hour: 1000}
`
	// maxReceives is how often a queue hands a message out before it is dead.
	maxReceives = 3
)

// block are the four settings of a bucket's public access block, in the order
// of their names in states.
type block [4]bool

// The block that each bucket starts with is half open, so that what was put
// back is told from what was never there.
var (
	first  = block{true, false, false, false}
	closed = block{true, true, true, true}
)

// firstState is first as a case keeps it.
const firstState = `{"BlockPublicAcls":true,"IgnorePublicAcls":false,"BlockPublicPolicy":false,"RestrictPublicBuckets":false}`

// built are the functions, built for this test so that they are the code under
// test.
var built = map[string]string{"storage": "", "response": "", "identity": ""}

func TestMain(m *testing.M) {
	// go test keeps a result for as long as the test's own binary stays the same:
	// so the function is linked into it, too.
	_, _ = fmt.Fprintf(io.Discard, "%p%p%p%p", function.Main, storage.Domain, runbooks.Domain, identity.Domain)
	dir, err := os.MkdirTemp("", "snapback-reliability")
	for domain := range built {
		if err == nil {
			built[domain], err = local.Build(context.Background(), "./functions/"+domain, filepath.Join(dir, domain))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir) // a temporary folder left behind harms nobody
	os.Exit(code)
}

// world is the hub that all sites share: one AWS, one ledger, one topic.
type world struct {
	aws      *local.AWS
	db       *local.DynamoDB
	hub      *local.Hub
	baseline string
	began    time.Time

	mu      sync.Mutex
	members int
	alerts  []local.Alert
	opened  int // changes that the checked sites have written down
}

func newWorld(t *testing.T, baseline string) *world {
	t.Helper()
	w := &world{began: time.Now(), baseline: filepath.Join(t.TempDir(), "baseline.yaml")}
	must(t, os.WriteFile(w.baseline, []byte(baseline), 0o600))
	var err error
	w.aws, err = local.StartAWS(t.Context())
	must(t, err)
	t.Cleanup(w.aws.Close)
	w.db, err = local.StartDynamoDB(t.Context())
	must(t, err)
	t.Cleanup(w.db.Close)
	w.hub, err = local.NewHub(t.Context(), w.aws, w.db)
	must(t, err)
	return w
}

// used is how much of a limit is used up since the world began.
func (w *world) used(t *testing.T, scope ledger.Scope, of string) (n int) {
	t.Helper()
	for hour := w.began.Truncate(time.Hour); hour.Before(time.Now()); hour = hour.Add(time.Hour) {
		u, err := w.hub.Ledger().Usage(t.Context(), ledger.Limit{Scope: scope, Of: of}, hour)
		must(t, err)
		n += u.Changes
	}
	return n
}

// member is a member account with all that is its own: a queue with its
// dead-letter queue, a cold function, and the proxy between that function and
// AWS.
type member struct {
	*world
	t        *testing.T
	account  string
	queue    local.Hub
	proxy    *local.Proxy
	function *local.Function
	source   *local.EventSource
}

// newMember is one more account, whose number begins with a digit.
func (w *world) newMember(t *testing.T, digit int, domain string, timeout time.Duration) *member {
	t.Helper()
	w.mu.Lock()
	w.members++
	m := &member{world: w, t: t, account: fmt.Sprintf("%d%011d", digit, w.members), queue: *w.hub}
	w.mu.Unlock()
	m.queue.DeadURL = m.newQueue("dead", nil)
	m.queue.QueueURL = m.newQueue("events", map[string]string{"RedrivePolicy": fmt.Sprintf(
		`{"deadLetterTargetArn":%q,"maxReceiveCount":"%d"}`, m.arn(m.queue.DeadURL), maxReceives)})

	var err error
	m.proxy, err = local.StartProxy(t.Context(), w.aws, w.db)
	must(t, err)
	t.Cleanup(m.proxy.Close)
	env, err := w.hub.EnvVia(t.Context(), "snapback-"+domain, w.baseline, m.proxy.Endpoint())
	must(t, err)
	m.function, err = local.StartFunction(t.Context(), local.FunctionOptions{Binary: built[domain], Env: env, Timeout: timeout})
	must(t, err)
	t.Cleanup(m.function.Close)
	m.source = m.queue.Source(m.function)
	return m
}

func (s *member) kill() {
	if err := s.function.Kill(); err != nil {
		s.t.Error(err)
	}
}

// site is a member account with one half-open bucket.
type site struct {
	*member
	bucket string
	events int
}

func (w *world) newSite(t *testing.T, timeout time.Duration) *site {
	t.Helper()
	s := &site{member: w.newMember(t, 3, "storage", timeout)}
	s.bucket = "example-reports-" + s.account
	_, err := s.s3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &s.bucket})
	must(t, err)
	s.put(first)
	return s
}

func (s *site) s3() *s3.Client { return s3.NewFromConfig(s.aws.Config(s.account)) }

func (s *member) sqs() *sqs.Client { return sqs.NewFromConfig(s.aws.Config(local.HubAccount)) }

func (s *member) newQueue(name string, attributes map[string]string) string {
	s.t.Helper()
	q, err := s.sqs().CreateQueue(s.t.Context(), &sqs.CreateQueueInput{
		QueueName: aws.String(s.account + "-" + name), Attributes: attributes,
	})
	must(s.t, err)
	return aws.ToString(q.QueueUrl)
}

// arn is that of a queue, whose URL ends in its name.
func (s *member) arn(queue string) string {
	return "arn:aws:sqs:" + local.Region + ":" + local.HubAccount + ":" + filepath.Base(queue)
}

func (s *site) put(b block) {
	s.t.Helper()
	_, err := s.s3().PutPublicAccessBlock(s.t.Context(), &s3.PutPublicAccessBlockInput{
		Bucket: &s.bucket, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: &b[0], IgnorePublicAcls: &b[1], BlockPublicPolicy: &b[2], RestrictPublicBuckets: &b[3],
		},
	})
	must(s.t, err)
}

// now is the block of the bucket as S3 has it, whatever the proxy says.
func (s *site) now() block {
	s.t.Helper()
	out, err := s.s3().GetPublicAccessBlock(s.t.Context(), &s3.GetPublicAccessBlockInput{Bucket: &s.bucket})
	must(s.t, err)
	b := out.PublicAccessBlockConfiguration
	return block{*b.BlockPublicAcls, *b.IgnorePublicAcls, *b.BlockPublicPolicy, *b.RestrictPublicBuckets}
}

func (s *site) target() control.Target {
	return control.Target{Account: s.account, Region: local.Region, Type: "AWS::S3::Bucket", ID: s.bucket}
}

// send puts another event about the bucket on the queue.
func (s *site) send() {
	s.t.Helper()
	sample, err := os.ReadFile(filepath.Join(local.Root(), "events", "cloudtrail", "s3-delete-bucket-public-access-block.json"))
	must(s.t, err)
	s.events++
	body := strings.NewReplacer(
		local.MemberAccount, s.account, "example-reports", s.bucket, "-000000001001", fmt.Sprintf("-%s%d", s.account[1:], s.events),
	).Replace(string(sample))
	must(s.t, s.queue.Send(s.t.Context(), []byte(body)))
}

// fate is what became of a message.
type fate struct {
	tries int  // how often it was handed out
	dead  bool // it is in the dead-letter queue
}

// settle hands out the message on the queue until the function has worked it
// off, or it is dead. Before each time something else comes to pass.
func (s *member) settle(before func()) (f fate) {
	s.t.Helper()
	for {
		before()
		d := s.poll()
		f.tries += len(d.Delivered) + len(d.Failed)
		switch {
		case len(d.Delivered) == 1:
			return f
		case len(d.Failed) == 0:
			if f.dead = s.dead() == "1"; !f.dead {
				s.t.Fatalf("the message is in no queue after %d tries\n%s", f.tries, s.function.Logs())
			}
			return f
		}
	}
}

// settle waits for each lease.
func (s *site) settle() fate { return s.member.settle(s.awaitLease) }

func (s *member) poll() local.Delivery {
	s.t.Helper()
	d, err := s.source.Poll(s.t.Context())
	must(s.t, err)
	if killed := (*local.FunctionError)(nil); d.Err != nil && !errors.As(d.Err, &killed) {
		s.t.Fatal(d.Err)
	}
	return d
}

func (s *member) dead() string {
	s.t.Helper()
	n, err := s.queue.Dead(s.t.Context())
	must(s.t, err)
	return n
}

// awaitLease waits until no worker holds the bucket: AWS's queue hands a message
// out again only after its visibility timeout, which is longer than a lease. The
// local one does at once.
func (s *site) awaitLease() {
	s.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for s.gates().Taken() {
		select {
		case <-tick.C:
		case <-s.t.Context().Done():
			s.t.Fatal("the lease does not end")
		}
	}
}

func (s *site) gates() ledger.Gates {
	s.t.Helper()
	g, err := s.hub.Ledger().Read(s.t.Context(), ledger.Question{
		Control: controlID, Target: s.target(), ARN: "arn:aws:s3:::" + s.bucket,
	})
	must(s.t, err)
	return g
}

// cases are those of the bucket, oldest first.
func (s *site) cases() (cases []*ledger.Case) {
	s.t.Helper()
	for c, err := range s.hub.Ledger().Cases(s.t.Context(), ledger.Query{Target: s.target()}) {
		must(s.t, err)
		cases = append(cases, c)
	}
	slices.Reverse(cases)
	return cases
}

// told are the alerts about the site so far, oldest first.
func (s *member) told() (alerts []local.Alert) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	arrived, err := s.hub.Alerts(s.t.Context())
	must(s.t, err)
	s.alerts = append(s.alerts, arrived...)
	for _, a := range s.alerts {
		if a.Account == s.account {
			alerts = append(alerts, a)
		}
	}
	return alerts
}

// outcome is that of the function's last outcome line.
func (s *member) outcome() control.Outcome {
	s.t.Helper()
	for _, line := range slices.Backward(s.function.Lines()) {
		var l struct {
			Msg     string
			Outcome control.Outcome
		}
		must(s.t, json.Unmarshal(line, &l))
		if l.Msg == "outcome" {
			return l.Outcome
		}
	}
	s.t.Fatalf("the function has no outcome\n%s", s.function.Logs())
	return ""
}

// command gives the function a command about a case, as an operator does.
func (s *member) command(name, id string) (a engine.Answer, err error) {
	s.t.Helper()
	r := function.Request{Command: name, Case: id, At: time.Now().UTC()}
	proof, err := cloud.Prove(s.t.Context(), s.aws.Config(local.HubAccount), r.Hash())
	must(s.t, err)
	r.Proof = &proof
	payload, err := json.Marshal(r)
	must(s.t, err)
	result, err := s.function.Invoke(s.t.Context(), payload)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(result, &a)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

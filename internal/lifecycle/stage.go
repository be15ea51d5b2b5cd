package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// shared is the AWS of a package's tests, once one of them has asked for it.
var shared struct {
	mu  sync.Mutex
	aws *local.AWS
}

// Main is what TestMain does in a package whose tests share one AWS: it runs them
// and ends it.
func Main(m *testing.M) {
	m.Run() // the testing package ends the program with its code
	if shared.aws != nil {
		shared.aws.Close()
	}
}

// AWS is the AWS that the tests of a package share, one after the other: each
// makes resources of its own, or empties it. The first that asks for it starts
// it; TestMain must call Main, which ends it.
func AWS(t *testing.T) *local.AWS {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.aws == nil {
		server, err := local.StartAWS(context.Background()) // it outlives the test
		Must(t, err)
		shared.aws = server
	}
	return shared.aws
}

// Stage is the member account of the shared AWS, where a test takes one remedy
// through its steps and disturbs them.
type Stage struct {
	T      *testing.T
	Ctx    context.Context // of the test
	Remedy control.Remedy
	// Member acts in the member account itself, past the proxy.
	Member aws.Config
	// Session enters the member account as Snapback does, through Proxy.
	Session *cloud.Session
	Proxy   *local.Proxy
	// Request, if set, sees every request of the session before it is sent; it may
	// be called from many goroutines at once.
	Request func(*http.Request)

	typ   string
	delay time.Duration // of every request of the session
}

// NewStage is a stage for a remedy of a domain, whose targets are of the given
// type.
func NewStage(t *testing.T, domain, typ string, remedy control.Remedy) *Stage {
	t.Helper()
	server := AWS(t)
	s := &Stage{T: t, Ctx: t.Context(), Remedy: remedy, Member: server.Config(local.MemberAccount), typ: typ}
	var err error
	s.Proxy, err = local.StartProxy(s.Ctx, server, nil)
	Must(t, err)
	t.Cleanup(s.Proxy.Close)
	hub := server.Config(local.HubAccount)
	hub.BaseEndpoint = aws.String(s.Proxy.Endpoint())
	hub.HTTPClient = inspector{hub.HTTPClient, s.look}
	s.Session, err = cloud.NewSessions(hub, "snapback-"+domain, domain).For(s.Ctx, local.MemberAccount, local.Region, "test")
	Must(t, err)
	return s
}

func (s *Stage) look(r *http.Request) {
	<-time.After(s.delay)
	if s.Request != nil {
		s.Request(r)
	}
}

// Target is the target with an ID.
func (s *Stage) Target(id string) control.Target {
	return control.Target{Account: local.MemberAccount, Region: local.Region, Type: s.typ, ID: id}
}

// Plan plans as the engine does, with a case and a finding. It is nil where
// there is nothing to do.
func (s *Stage) Plan(id string) *control.Change {
	s.T.Helper()
	c, err := s.plan(s.Ctx, id)
	Must(s.T, err)
	return c
}

func (s *Stage) plan(ctx context.Context, id string) (*control.Change, error) {
	c, err := s.Remedy.Plan(ctx, s.Session, s.Target(id))
	if c != nil {
		c.Case, c.Finding = "20261122-example0", "finding-example"
	}
	return c, err
}

// Apply applies a change.
func (s *Stage) Apply(c *control.Change) {
	s.T.Helper()
	Must(s.T, s.Remedy.Apply(s.Ctx, s.Session, *c))
}

// Undo undoes a change.
func (s *Stage) Undo(c *control.Change) {
	s.T.Helper()
	Must(s.T, s.Remedy.Undo(s.Ctx, s.Session, *c))
}

// Kills are the ways in which a worker can be killed at a call: before AWS has
// carried it out, and after.
var Kills = map[string]func(kill func()) local.Fault{"before": local.KilledBefore, "after": local.KilledAfter}

// Killed does a step of the remedy, its Apply or its Undo, with a worker that is
// killed, in one of the ways of Kills, at the nth attempt of a call. The next
// worker is not disturbed.
func (s *Stage) Killed(step func(context.Context, *cloud.Session, control.Change) error, c *control.Change,
	call string, nth int, fault func(kill func()) local.Fault) {
	s.T.Helper()
	ctx, kill := context.WithCancel(s.Ctx)
	defer kill()
	s.Proxy.Inject(call, nth, fault(kill))
	if err := step(ctx, s.Session, *c); err == nil {
		s.T.Fatal("the step of the killed worker succeeded")
	}
	s.Proxy.Clear()
}

// Rewrite changes what AWS answers to a call from now on: pairs of what is there
// and what is put in its place.
func (s *Stage) Rewrite(call string, pairs ...string) {
	replacer := strings.NewReplacer(pairs...)
	s.Proxy.Inject(call, 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		a := x.Forward()
		a.Body = []byte(replacer.Replace(string(a.Body)))
		a.Header.Del("Content-Length")
		x.Answer(a)
	}})
}

// Refuse answers a call of EC2, so many times, or for ever if the number is
// negative, with an HTTP status and an error code. Nothing is carried out.
func (s *Stage) Refuse(call string, times, status int, code string) {
	s.Proxy.Inject(call, 1, local.Fault{Times: times, Disturb: func(x *local.Exchange) {
		x.Answer(local.Answer{
			Status: status, Header: http.Header{"Content-Type": {"text/xml"}},
			Body: fmt.Appendf(nil, `<Response><Errors><Error><Code>%s</Code><Message>It is refused.</Message></Error></Errors><RequestID>local</RequestID></Response>`, code),
		})
	}})
}

// RoundTrips are the serial round trips that each step of a remedy takes, as
// cloud.RoundTrips counts them. Again is the Plan after Apply.
type RoundTrips struct{ Plan, Apply, Again, Undo int }

// RoundTrips takes the target with an ID through all steps, and wants each to
// take so many round trips. From now on every request is delayed, so that calls
// made side by side overlap for certain.
func (s *Stage) RoundTrips(id string, want RoundTrips) {
	s.T.Helper()
	s.delay = 100 * time.Millisecond
	var c *control.Change
	for _, step := range []struct {
		name string
		want int
		do   func(context.Context) error
	}{
		{"Plan", want.Plan, func(ctx context.Context) (err error) {
			c, err = s.plan(ctx, id)
			return err
		}},
		{"Apply", want.Apply, func(ctx context.Context) error { return s.Remedy.Apply(ctx, s.Session, *c) }},
		{"Plan after Apply", want.Again, func(ctx context.Context) error {
			_, err := s.plan(ctx, id)
			return err
		}},
		{"Undo", want.Undo, func(ctx context.Context) error { return s.Remedy.Undo(ctx, s.Session, *c) }},
	} {
		ctx, recorder := cloud.Record(s.Ctx)
		Must(s.T, step.do(ctx))
		if got := cloud.RoundTrips(recorder.Calls()); got != step.want {
			s.T.Errorf("%s takes %d serial round trips, want %d: %v", step.name, got, step.want, recorder.Calls())
		}
	}
}

// Left wants the error of an Undo that names what it could not put back, in
// these sentences.
func Left(t *testing.T, err error, want ...string) {
	t.Helper()
	var left *control.LeftError
	if !errors.As(err, &left) {
		t.Fatalf("want a *control.LeftError, got %v", err)
	}
	Same(t, "Left", left.Left, want)
}

// Same wants two values to be the same.
func Same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

// Must ends a test that has met an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/facts"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// The bucket of the sample events.
const reports = "example-reports"

// stage is an engine in a hub on the local AWS, with a member account.
type stage struct {
	t      *testing.T
	aws    *local.AWS
	hub    *local.Hub
	engine *engine.Engine
	faults *faults
}

// server is the AWS of all tests; each stage empties it.
var server *local.AWS

func TestMain(m *testing.M) {
	var err error
	if server, err = local.StartAWS(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	server.Close()
	os.Exit(code)
}

// version is that of every engine.
const version = "1.2.0-test"

// manyRounds lets a test break the same bucket again and again.
const manyRounds = "limits: {rounds-per-resource: 50}"

// newStage sets a stage whose storage controls have the given mode; more is
// further lines of the baseline. The ledger is moto's.
func newStage(t *testing.T, mode string, more ...string) *stage {
	t.Helper()
	return newStageOn(t, nil, mode, more...)
}

// newAtomicStage has its ledger in DynamoDB Local: moto's transactions are not
// atomic under concurrent requests.
func newAtomicStage(t *testing.T, mode string, more ...string) *stage {
	t.Helper()
	db, err := local.StartDynamoDB(t.Context())
	must(t, err)
	t.Cleanup(db.Close)
	return newStageOn(t, db, mode, more...)
}

func newStageOn(t *testing.T, db *local.DynamoDB, mode string, more ...string) *stage {
	t.Helper()
	must(t, server.Reset(t.Context()))
	hub, err := local.NewHub(t.Context(), server, db)
	must(t, err)
	s := &stage{t: t, aws: server, hub: hub, faults: &faults{}}
	s.engine = s.newEngine(mode, more...)
	return s
}

// newEngine is another engine in the same hub: another running function.
func (s *stage) newEngine(mode string, more ...string) *engine.Engine {
	s.t.Helper()
	domain := storage.Domain()
	text := strings.Join(append([]string{
		"version: 1", "reviewed: " + time.Now().Format(time.DateOnly),
		`organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1, eu-west-1]}`,
		"mode: " + mode,
	}, more...), "\n")
	b, problems := baseline.Parse("baseline.yaml", []byte(text), []control.Domain{domain}, time.Now())
	if b == nil {
		s.t.Fatal(problems)
	}
	cfg := s.aws.Config(local.HubAccount)
	s.faults.client = cfg.HTTPClient
	cfg.HTTPClient = s.faults
	return &engine.Engine{
		Controls: domain.Controls, Baseline: b, Sessions: cloud.NewSessions(cfg, "snapback-storage", "storage"),
		Facts: facts.New(cfg), Ledger: s.hub.LedgerVia(s.faults), Alerts: alert.NewTopic(cfg, s.hub.Topic), Version: version,
	}
}

// faults stands between the engine and AWS. A test sets what it answers in
// AWS's place; all else goes through.
type faults struct {
	client aws.HTTPClient
	delay  time.Duration

	mu     sync.Mutex
	answer func(service, operation string, r *http.Request) (*http.Response, error)
}

func (f *faults) Do(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	answer := f.answer
	f.mu.Unlock()
	if f.delay > 0 {
		timer := time.NewTimer(f.delay)
		defer timer.Stop()
		<-timer.C
	}
	if answer != nil {
		service, operation := operationOf(r)
		if resp, err := answer(service, operation, r); resp != nil || err != nil {
			return resp, err
		}
	}
	return f.client.Do(r)
}

func (f *faults) set(answer func(service, operation string, r *http.Request) (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// operationOf reads service and operation off a request, for the few that the
// tests disturb.
func operationOf(r *http.Request) (service, operation string) {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return "DynamoDB", target[strings.LastIndexByte(target, '.')+1:]
	}
	if _, ok := r.URL.Query()["publicAccessBlock"]; ok {
		return "S3", map[string]string{"GET": "GetPublicAccessBlock", "PUT": "PutPublicAccessBlock"}[r.Method]
	}
	if r.Body == nil {
		return "", ""
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", ""
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if form, err := url.ParseQuery(string(body)); err == nil && form.Has("Action") {
		return "Query", form.Get("Action")
	}
	return "", ""
}

// says is an answer of AWS: an error in the form of the service's protocol.
func says(status int, code, message string, r *http.Request) *http.Response {
	body := "<ErrorResponse><Error><Code>" + code + "</Code><Message>" + message + "</Message></Error></ErrorResponse>"
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		body = `{"__type":"` + code + `","message":"` + message + `"}`
	case r.URL.Query().Has("publicAccessBlock"):
		body = "<Error><Code>" + code + "</Code><Message>" + message + "</Message></Error>"
	}
	return &http.Response{
		StatusCode: status, Request: r, Header: http.Header{}, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

// open makes the bucket of the sample events with its public access block off.
func (s *stage) open(name string) {
	s.t.Helper()
	_, err := s.s3().CreateBucket(s.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)})
	must(s.t, err)
}

func (s *stage) s3() *s3.Client { return s3.NewFromConfig(s.aws.Config(local.MemberAccount)) }

// block is the bucket's public access block: "off" (none), "on" or "part".
func (s *stage) block(name string) string {
	s.t.Helper()
	out, err := s.s3().GetPublicAccessBlock(s.t.Context(), &s3.GetPublicAccessBlockInput{Bucket: aws.String(name)})
	if cloud.Is(err, "NoSuchPublicAccessBlockConfiguration") {
		return "off"
	}
	must(s.t, err)
	c := out.PublicAccessBlockConfiguration
	if *c.BlockPublicAcls && *c.BlockPublicPolicy && *c.IgnorePublicAcls && *c.RestrictPublicBuckets {
		return "on"
	}
	return "part"
}

func (s *stage) setBlock(name string, on ...bool) {
	s.t.Helper()
	_, err := s.s3().PutPublicAccessBlock(s.t.Context(), &s3.PutPublicAccessBlockInput{
		Bucket: aws.String(name), PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(on[0]), IgnorePublicAcls: aws.Bool(on[1]),
			BlockPublicPolicy: aws.Bool(on[2]), RestrictPublicBuckets: aws.Bool(on[3]),
		},
	})
	must(s.t, err)
}

func (s *stage) removeBlock(name string) {
	s.t.Helper()
	_, err := s.s3().DeletePublicAccessBlock(s.t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String(name)})
	must(s.t, err)
}

func (s *stage) deleteBucket(name string) {
	s.t.Helper()
	_, err := s.s3().DeleteBucket(s.t.Context(), &s3.DeleteBucketInput{Bucket: aws.String(name)})
	must(s.t, err)
}

// sample reads an event of the folder events.
func sample(t *testing.T, name string) *event.Event {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", name+".json"))
	must(t, err)
	e, err := event.Decode(data)
	must(t, err)
	return e
}

// handle handles a sample event that has one result.
func (s *stage) handle(name string) engine.Result {
	s.t.Helper()
	return one(s.t, s.engine.Handle(s.t.Context(), sample(s.t, name)))
}

func one(t *testing.T, results []engine.Result) engine.Result {
	t.Helper()
	if len(results) != 1 {
		t.Fatalf("want one result, got %d: %+v", len(results), results)
	}
	return results[0]
}

// alerts takes what the operators were told: always with the engine's version
// and the digest of its baseline.
func (s *stage) alerts() []local.Alert {
	s.t.Helper()
	alerts, err := s.hub.Alerts(s.t.Context())
	must(s.t, err)
	for _, a := range alerts {
		if a.Version != version || len(a.Baseline) != 64 {
			s.t.Errorf("the alert %q names version %q and baseline %q", a.Subject, a.Version, a.Baseline)
		}
	}
	return alerts
}

func (s *stage) noAlert() {
	s.t.Helper()
	for _, a := range s.alerts() {
		s.t.Errorf("unwanted alert: %s", a.Subject)
	}
}

// cases are all cases of the member account, newest first.
func (s *stage) cases() []*ledger.Case {
	s.t.Helper()
	var all []*ledger.Case
	for c, err := range s.hub.Ledger().Cases(s.t.Context(), ledger.Query{Account: local.MemberAccount}) {
		must(s.t, err)
		all = append(all, c)
	}
	return all
}

func (s *stage) oneCase() *ledger.Case {
	s.t.Helper()
	all := s.cases()
	if len(all) != 1 {
		s.t.Fatalf("want one case, got %d", len(all))
	}
	return all[0]
}

func (s *stage) want(r engine.Result, outcome control.Outcome, reason string) {
	s.t.Helper()
	if r.Outcome != outcome || !strings.Contains(r.Reason, reason) {
		s.t.Errorf("want outcome %s with a reason that says %q, got %s: %s", outcome, reason, r.Outcome, r.Reason)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

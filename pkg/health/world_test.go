package health_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/network"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/health"
)

const (
	far    = "eu-west-1"
	third  = "333333333333"
	digest = "0123456789ab" // of the member template
	text   = `version: 1
reviewed: 2026-11-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1, eu-west-1]}
mode: observe
`
)

// accounts and regions are those of the organization, the hub's among them.
var (
	accounts = []string{local.HubAccount, local.MemberAccount, third}
	regions  = []string{far, local.Region}
)

// server is the AWS of all tests: each finds it empty, and has it alone.
var server = sync.OnceValues(func() (*local.AWS, error) { return local.StartAWS(context.Background()) })

// built are the functions, built for these tests, by their names.
var built = map[string]string{}

func TestMain(m *testing.M) {
	// Linked in, so that go test knows when they are others.
	_, _ = fmt.Fprintf(io.Discard, "%p%p", function.Main, health.Main)
	dir, err := os.MkdirTemp("", "snapback-health")
	for _, name := range []string{"health", "storage", "network"} {
		if err == nil {
			folder := filepath.Join(dir, name)
			err = os.Mkdir(folder, 0o700)
			if err == nil {
				built[name], err = local.Build(context.Background(), "./functions/"+name, folder)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if a, err := server(); err == nil {
		a.Close()
	}
	_ = os.RemoveAll(dir) // a temporary folder left behind harms nobody
	os.Exit(code)
}

// world is an organization with two domains deployed in all its accounts and
// Regions: events go from every default bus over the hub's bus to the queues of
// the domains.
type world struct {
	t      *testing.T
	aws    *local.AWS
	hub    *local.Hub
	file   string            // the baseline
	queues map[string]string // URL by domain
	log    *bytes.Buffer     // of the function in process
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := newBareWorld(t)
	w.queues["network"] = w.queue(local.HubAccount, local.Region, "snapback-network")
	bus := w.events(local.HubAccount, local.Region)
	_, err := bus.CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: aws.String("snapback")})
	must(t, err)
	for _, d := range []control.Domain{storage.Domain(), network.Domain()} {
		rules := d.Rules()
		w.rule(bus, "snapback", rules[len(rules)-1], "arn:aws:sqs:us-east-1:"+local.HubAccount+":snapback-"+d.Name)
	}
	for _, account := range accounts {
		w.deploy(account)
	}
	return w
}

// newBareWorld is the hub alone, before anything is deployed in members.
func newBareWorld(t *testing.T) *world {
	t.Helper()
	a, err := server()
	must(t, err)
	must(t, a.Reset(t.Context()))
	hub, err := local.NewHub(t.Context(), a, nil)
	must(t, err)
	w := &world{t: t, aws: a, hub: hub, file: filepath.Join(t.TempDir(), "baseline.yaml"), log: &bytes.Buffer{},
		queues: map[string]string{"storage": hub.QueueURL}}
	must(t, os.WriteFile(w.file, []byte(text), 0o600))
	for _, v := range w.env("snapback-health") {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	return w
}

// env is the environment of a function in the hub.
func (w *world) env(role string) []string {
	w.t.Helper()
	env, err := w.hub.Env(w.t.Context(), role, w.file)
	must(w.t, err)
	return env
}

func (w *world) config(account, region string) aws.Config {
	cfg := w.aws.Config(account)
	cfg.Region = region
	return cfg
}

func (w *world) events(account, region string) *eventbridge.Client {
	return eventbridge.NewFromConfig(w.config(account, region))
}

func (w *world) queue(account, region, name string) string {
	w.t.Helper()
	q, err := sqs.NewFromConfig(w.config(account, region)).CreateQueue(w.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	must(w.t, err)
	return aws.ToString(q.QueueUrl)
}

func (w *world) rule(c *eventbridge.Client, bus string, r control.Rule, target string) {
	w.t.Helper()
	name := aws.String("snapback-" + r.Name)
	_, err := c.PutRule(w.t.Context(), &eventbridge.PutRuleInput{
		Name: name, EventBusName: &bus, EventPattern: aws.String(r.Pattern.String()), Description: aws.String(deployment.RuleDescription(digest)),
	})
	must(w.t, err)
	_, err = c.PutTargets(w.t.Context(), &eventbridge.PutTargetsInput{
		Rule: name, EventBusName: &bus, Targets: []ebtypes.Target{{Id: aws.String("hub"), Arn: &target}},
	})
	must(w.t, err)
}

// forwarding are the rules of every site.
var forwarding = []control.Rule{
	{Name: "drill", Pattern: event.Drills()}, {Name: "s3", Pattern: event.Calls("s3.amazonaws.com", []string{"CreateBucket"})},
}

// deploy makes in an account what the member stack makes there, and a trail.
// moto asks nobody whether the role to assume exists.
func (w *world) deploy(account string) {
	w.t.Helper()
	for _, region := range regions {
		w.queue(account, region, "snapback-undelivered")
		for _, r := range forwarding {
			r.Pattern.Fields = append(slices.Clip(r.Pattern.Fields), event.Field{Path: "account", Values: []string{account}})
			w.rule(w.events(account, region), "default", r, "arn:aws:events:us-east-1:"+local.HubAccount+":event-bus/snapback")
		}
	}
	bucket := aws.String("trail-" + account)
	_, err := s3.NewFromConfig(w.aws.Config(account)).CreateBucket(w.t.Context(), &s3.CreateBucketInput{Bucket: bucket})
	must(w.t, err)
	trails := cloudtrail.NewFromConfig(w.aws.Config(account))
	_, err = trails.CreateTrail(w.t.Context(), &cloudtrail.CreateTrailInput{
		Name: aws.String("main"), S3BucketName: bucket, IsMultiRegionTrail: aws.Bool(true), IncludeGlobalServiceEvents: aws.Bool(true),
	})
	must(w.t, err)
	_, err = trails.StartLogging(w.t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("main")})
	must(w.t, err)
}

// health is the function in this process, whose waiting can be cut short.
func (w *world) health(wait time.Duration) *health.Health {
	w.t.Helper()
	h, err := health.New(w.t.Context(), health.Config{
		Table: w.hub.Table, Role: "snapback-health", Baseline: w.file, Version: "v1", Domains: []string{"storage", "network"},
		Member: digest, Rules: len(forwarding), Patterns: deployment.Fingerprint(forwarding), Wait: wait,
	}, slog.New(slog.NewJSONHandler(w.log, nil)))
	must(w.t, err)
	return h
}

// ask gives a command to the function in this process.
func ask(t *testing.T, ctx context.Context, h *health.Health, r health.Request) health.Answer {
	t.Helper()
	payload, err := json.Marshal(r)
	must(t, err)
	a, err := h.Handle(ctx, payload)
	must(t, err)
	return a
}

// listen lets the built functions of the domains work off their queues until the
// test has what it wants.
func (w *world) listen() (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var side sync.WaitGroup
	for domain, url := range w.queues {
		f, err := local.StartFunction(w.t.Context(), local.FunctionOptions{Binary: built[domain], Env: w.env("snapback-" + domain)})
		must(w.t, err)
		w.t.Cleanup(f.Close)
		source := local.EventSource{SQS: sqs.NewFromConfig(w.aws.Config(local.HubAccount)), QueueURL: url, Invoke: f.Invoke}
		side.Go(func() {
			for ctx.Err() == nil {
				if d, err := source.Poll(ctx); ctx.Err() == nil && (err != nil || len(d.Failed) > 0) {
					w.t.Errorf("%v %+v\n%s", err, d, f.Logs())
				}
			}
		})
	}
	return func() { cancel(); side.Wait() }
}

// came are the canaries of a drill that came to a domain, by "account Region".
func (w *world) came(drill, domain string) []string {
	w.t.Helper()
	all, err := w.hub.Ledger().Canaries(w.t.Context(), drill, domain)
	must(w.t, err)
	var places []string
	for _, c := range all {
		places = append(places, c.Account+" "+c.Region)
	}
	return places
}

// front stands between the function and the local AWS. What answer gives is
// answered in place of AWS: a status, and a body in the service's form.
func (w *world) front(answer func(q question) (status int, body string)) {
	w.t.Helper()
	target, err := url.Parse(w.aws.Endpoint())
	must(w.t, err)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a caller that is gone asks nothing
		r.Body = io.NopCloser(bytes.NewReader(body))
		status, reply := answer(asked(r, body))
		if status == 0 {
			forward.ServeHTTP(rw, r)
			return
		}
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, reply)
	}))
	w.t.Cleanup(server.Close)
	w.t.Setenv("AWS_ENDPOINT_URL", server.URL)
}

// question is a request to AWS.
type question struct {
	service, region, operation, path, body string
	ended                                  <-chan struct{} // when the caller has gone
}

func asked(r *http.Request, body []byte) question {
	q := question{path: r.URL.Path, body: string(body), ended: r.Context().Done()}
	// AWS4-HMAC-SHA256 Credential=KEY/20261122/us-east-1/s3/aws4_request, …
	if scope := strings.Split(r.Header.Get("Authorization"), "/"); len(scope) > 3 {
		q.region, q.service = scope[2], scope[3]
	}
	target := r.Header.Get("X-Amz-Target")
	q.operation = target[strings.LastIndexByte(target, '.')+1:]
	return q
}

// wrong are the sites that are, by "account Region", with what is.
func wrong(a health.Answer) map[string]health.Site {
	found := map[string]health.Site{}
	for _, s := range a.Sites {
		if s.Wrong() {
			found[s.Account+" "+s.Region] = s
		}
	}
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func contextOf(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}

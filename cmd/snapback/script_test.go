package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/klauspost/compress/gzip"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/tidwall/gjson"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts, and that into the docs")

func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"snapback": commandLine, "trial": trialFunction})
}

// suite is the tests of the package, and the AWS that they share.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	code := s.m.Run()
	if a, err := server(); err == nil {
		a.Close()
	}
	_ = os.RemoveAll(built) // a temporary folder left behind harms nobody
	return code
}

// server is the local AWS. One script at a time has it, from its command hub to
// its end.
var (
	server = sync.OnceValues(func() (*local.AWS, error) { return local.StartAWS(context.Background()) })
	turn   sync.Mutex
)

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"alarm": alarm, "alerts": alerts, "block": block, "bucket": bucket, "case": casesOf, "drop": drop, "exits": exits, "function": startFunction,
			"day": day, "oldest": oldest, "part": part, "refuse": refuse, "refusing": refusing, "unconfirmed": unconfirmed,
			"carry": carry, "health": healthFunction, "healthtells": healthTells, "lacks": lacks, "members": members,
			"gzip": gzipFile, "hour": hour, "hub": hub, "instance": makeInstance, "keep": keep, "lapse": lapse, "setblock": setBlock, "steady": steady, "truncate": truncate, "write": write,
		},
	})
}

// setup puts the sample events into the folder events and today's date into
// baseline files, since a review that is too old draws a warning.
func setup(env *testscript.Env) error {
	env.Values[stageKey{}] = &stage{}
	env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if err := os.CopyFS(filepath.Join(env.WorkDir, "events"), os.DirFS(filepath.Join(local.Root(), "events"))); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(env.WorkDir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text = []byte(strings.ReplaceAll(string(text), "TODAY", time.Now().UTC().Format(time.DateOnly)))
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// exits N PROGRAM ARGUMENT…: the program must end with exit code N.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// write FORM FILE EVENT…: write sample events to a file, as the bare records of
// a CloudTrail log (records), as an array or as JSON lines of envelopes.
func write(ts *testscript.TestScript, _ bool, args []string) {
	forms := map[string]struct{ begin, between, end string }{
		"records": {`{"Records":[`, ",", "]}"}, "array": {"[", ",\n", "]\n"}, "lines": {"", "\n", "\n"},
	}
	if len(args) < 3 || forms[args[0]].end == "" {
		ts.Fatalf("usage: write records|array|lines FILE EVENT…")
	}
	form := forms[args[0]]
	var events []string
	for _, name := range args[2:] {
		var text bytes.Buffer
		ts.Check(json.Compact(&text, []byte(ts.ReadFile("events/"+name+".json"))))
		if args[0] == "records" {
			text = *bytes.NewBufferString(gjson.GetBytes(text.Bytes(), "detail").Raw)
		}
		events = append(events, text.String())
	}
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[1])), 0o700))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(form.begin+strings.Join(events, form.between)+form.end), 0o600))
}

// gzip FILE: compress a file to FILE.gz.
func gzipFile(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: gzip FILE")
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write([]byte(ts.ReadFile(args[0])))
	ts.Check(errors.Join(err, z.Close()))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".gz"), out.Bytes(), 0o600))
}

// truncate FILE: cut off the last third of a file.
func truncate(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: truncate FILE")
	}
	file := ts.MkAbs(args[0])
	info, err := os.Stat(file)
	ts.Check(err)
	ts.Check(os.Truncate(file, info.Size()*2/3))
}

// case FILE [VARIABLE…]: set the variables (else CASE) to the cases that are
// named in a file, in their order.
func casesOf(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: case FILE [VARIABLE…]")
	}
	variables := args[1:]
	if len(variables) == 0 {
		variables = []string{"CASE"}
	}
	var ids []string
	for _, id := range someCase.FindAllString(ts.ReadFile(args[0]), -1) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) < len(variables) {
		ts.Fatalf("%s names the cases %q", args[0], ids)
	}
	for i, variable := range variables {
		ts.Setenv(variable, ids[i])
	}
}

// hub: an empty AWS with a hub and an operator logged in to it.
func hub(ts *testscript.TestScript, _ bool, _ []string) {
	if ts.Value(stageKey{}).(*stage).hub != nil {
		ts.Fatalf("this script has its hub already: it would wait for itself")
	}
	a, err := server()
	ts.Check(err)
	turn.Lock()
	ts.Defer(turn.Unlock)
	ctx := context.Background()
	ts.Check(a.Reset(ctx))
	h, err := local.NewHub(ctx, a, nil)
	ts.Check(err)
	env, err := h.Env(ctx, "", "")
	ts.Check(err)
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		ts.Setenv(name, value)
	}
	ts.Value(stageKey{}).(*stage).hub = h
}

// domainUnderTest is the domain whose function a script deploys.
func domainUnderTest(ts *testscript.TestScript) string { return cmp.Or(ts.Getenv("DOMAIN"), "storage") }

// A domain's function is built once, so that it is the code under test.
var (
	built    string                // the folder that they are in
	binaries = map[string]string{} // by domain
	building sync.Mutex            // guards both
)

// binaryOf is the built function of a domain.
func binaryOf(domain string) (string, error) {
	if domain == trial().Name {
		return exec.LookPath(domain) // it is this test itself
	}
	building.Lock()
	defer building.Unlock()
	if binaries[domain] != "" {
		return binaries[domain], nil
	}
	var err error
	if built == "" {
		if built, err = os.MkdirTemp("", "snapback-cli"); err != nil {
			return "", err
		}
	}
	binaries[domain], err = local.Build(context.Background(), "./functions/"+domain, filepath.Join(built, domain))
	return binaries[domain], err
}

// function BASELINE [VERSION]: deploy the function of the domain that the variable DOMAIN
// names, or of storage, with a baseline file. It keeps what it has read of that
// until it is deployed again.
func startFunction(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: function BASELINE [VERSION]")
	}
	env, err := hubOf(ts).Env(context.Background(), deployment.Function(domainUnderTest(ts)), ts.MkAbs(args[0]))
	ts.Check(err)
	deploy(ts, domainUnderTest(ts), append(env, "SNAPBACK_VERSION="+strings.Join(args[1:], "")))
}

// deploy starts the function of a domain with an environment, and a front door that the
// command line's Invoke finds.
func deploy(ts *testscript.TestScript, domain string, env []string) {
	ctx := context.Background()
	binary, err := binaryOf(domain)
	ts.Check(err)
	f, err := local.StartFunction(ctx, local.FunctionOptions{Binary: binary, Env: env})
	ts.Check(err)
	ts.Defer(f.Close)
	s := ts.Value(stageKey{}).(*stage)
	if s.functions == nil {
		s.functions = map[string]*local.Function{}
	}
	s.functions[deployment.Function(domain)] = f
	door, err := local.StartLambda(ctx, maps.Clone(s.functions))
	ts.Check(err)
	ts.Defer(door.Close)
	s.door = door.Endpoint()
	front(ts)
}

// front puts up Lambda's API: functions are invoked through the front door, all
// else is moto's.
func front(ts *testscript.TestScript) {
	s := ts.Value(stageKey{}).(*stage)
	a, err := server()
	ts.Check(err)
	to := func(endpoint string) http.Handler {
		at, err := url.Parse(endpoint)
		ts.Check(err)
		return httputil.NewSingleHostReverseProxy(at)
	}
	mux := http.NewServeMux()
	mux.Handle("/", to(a.Endpoint()))
	mux.Handle("POST /2015-03-31/functions/{name}/invocations", to(s.door))
	if s.told != nil {
		mux.Handle("POST /2015-03-31/functions/"+deployment.Function(deployment.Health)+"/invocations", s.told)
	}
	api := httptest.NewServer(mux)
	ts.Defer(api.Close)
	ts.Setenv("AWS_ENDPOINT_URL_LAMBDA", api.URL)
}

// someAge is a time in the cases of keep.
var someAge = regexp.MustCompile(`"(\w+) ago"`)

// keep FILE: write cases, JSON one on a line, into the ledger as a function
// would have: without an outcome as opened, of a live state as recorded (and
// ended, if they say how), of another outcome as closed. A time may be "36h ago".
func keep(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: keep FILE")
	}
	l := hubOf(ts).Ledger()
	now := time.Now().UTC()
	text := someAge.ReplaceAllStringFunc(ts.ReadFile(args[0]), func(s string) string {
		age, err := time.ParseDuration(someAge.FindStringSubmatch(s)[1])
		ts.Check(err)
		return strconv.Quote(now.Add(-age).Format(time.RFC3339))
	})
	for line := range strings.Lines(text) {
		c := &ledger.Case{Version: ledger.CaseVersion}
		ts.Check(json.Unmarshal([]byte(line), c))
		ts.Check(keepCase(l, c))
	}
}

func keepCase(l *ledger.Ledger, c *ledger.Case) error {
	ctx := context.Background()
	if ledger.State(c.Outcome).Valid() {
		err := l.Record(ctx, c, ledger.Gates{}, time.Time{})
		if err == nil && c.Ended != "" {
			err = l.End(ctx, c)
		}
		return err
	}
	w := ledger.NewWorker(time.Now().Add(time.Minute))
	gates, err := l.Read(ctx, ledger.Question{Control: c.Control, Target: c.Target, ARN: c.ARN})
	if err != nil {
		return err
	}
	if err := l.Open(ctx, c, gates, w); err != nil || c.Outcome == "" {
		return err
	}
	return l.Close(ctx, c, w)
}

// instance EVENT: make an instance in service in the member account, and let a
// sample event name it in the place of its own.
func makeInstance(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: instance EVENT")
	}
	hubOf(ts)
	a, err := server()
	ts.Check(err)
	made, err := scene.Make(context.Background(), a.Config(local.MemberAccount), scene.Options{})
	ts.Check(err)
	text := ts.ReadFile(args[0])
	id := gjson.Get(text, "detail.resource.instanceDetails.instanceId").String()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(text, id, made.Instance)), 0o600))
	ts.Setenv("INSTANCE", made.Instance)
}

// lapse CASE: the time is over in which the case waits for an answer.
func lapse(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: lapse CASE")
	}
	h, ctx := hubOf(ts), context.Background()
	a, err := server()
	ts.Check(err)
	_, err = dynamodb.NewFromConfig(a.Config(local.HubAccount)).UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(h.Table), UpdateExpression: aws.String("SET #until = :past"), ExpressionAttributeNames: map[string]string{"#until": "until"},
		Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: "case#" + args[0]}, "sk": &types.AttributeValueMemberS{Value: "case"},
		},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":past": &types.AttributeValueMemberS{Value: time.Now().UTC().Add(-time.Minute).Format("2006-01-02T15:04:05.000Z")},
		},
	})
	ts.Check(err)
}

// hour: wait for the next hour if this one is about to end, since limits count
// by the hour.
func hour(*testscript.TestScript, bool, []string) {
	now := time.Now()
	if next := now.Truncate(time.Hour).Add(time.Hour); next.Sub(now) < time.Minute {
		<-time.After(time.Until(next))
	}
}

// stage is what a script holds of the local AWS.
type (
	stage struct {
		hub       *local.Hub
		functions map[string]*local.Function // that are deployed, by their names
		metrics   *metrics
		door      string       // the front door to the functions
		told      http.Handler // in the place of the health function
	}
	stageKey struct{}
)

func hubOf(ts *testscript.TestScript) *local.Hub {
	h := ts.Value(stageKey{}).(*stage).hub
	if h == nil {
		ts.Fatalf("the script has no hub yet")
	}
	return h
}

// s3Of is the S3 of an account.
func s3Of(ts *testscript.TestScript, account string) *s3.Client {
	hubOf(ts)
	a, err := server()
	ts.Check(err)
	return s3.NewFromConfig(a.Config(account))
}

// [!] bucket ACCOUNT NAME: make a bucket that blocks no public access, or delete
// it.
func bucket(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] bucket ACCOUNT NAME")
	}
	client, ctx := s3Of(ts, args[0]), context.Background()
	var err error
	if neg {
		_, err = client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String(args[1])})
	} else {
		_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(args[1])})
	}
	ts.Check(err)
}

// [!] block ACCOUNT NAME: the bucket must (not) block all public access.
func block(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] block ACCOUNT NAME")
	}
	out, err := s3Of(ts, args[0]).GetPublicAccessBlock(context.Background(), &s3.GetPublicAccessBlockInput{Bucket: aws.String(args[1])})
	on := false
	if !cloud.Is(err, "NoSuchPublicAccessBlockConfiguration") {
		ts.Check(err)
		c := out.PublicAccessBlockConfiguration
		on = *c.BlockPublicAcls && *c.BlockPublicPolicy && *c.IgnorePublicAcls && *c.RestrictPublicBuckets
	}
	if on == neg {
		ts.Fatalf("bucket %s blocks all public access: %t", args[1], on)
	}
}

// setblock ACCOUNT NAME on|part|off: set the bucket's settings that block public
// access, all or one of them, or take them away.
func setBlock(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 || !slices.Contains([]string{"on", "part", "off"}, args[2]) {
		ts.Fatalf("usage: setblock ACCOUNT NAME on|part|off")
	}
	client, ctx := s3Of(ts, args[0]), context.Background()
	if args[2] == "off" {
		_, err := client.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: aws.String(args[1])})
		ts.Check(err)
		return
	}
	all := aws.Bool(args[2] == "on")
	_, err := client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: aws.String(args[1]), PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: all, BlockPublicPolicy: all, RestrictPublicBuckets: all,
		},
	})
	ts.Check(err)
}

// alerts OUTCOME…: these alerts, and no others, have arrived since the last
// time that this was asked.
func alerts(ts *testscript.TestScript, _ bool, want []string) {
	arrived, err := hubOf(ts).Alerts(context.Background())
	ts.Check(err)
	var got []string
	for _, a := range arrived {
		got = append(got, string(a.Outcome))
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		ts.Fatalf("alerts %q, want %q", got, want)
	}
}

// drop table|topic: take a part of the hub away.
func drop(ts *testscript.TestScript, _ bool, args []string) {
	h, ctx := hubOf(ts), context.Background()
	a, err := server()
	ts.Check(err)
	cfg := a.Config(local.HubAccount)
	switch {
	case slices.Equal(args, []string{"table"}):
		_, err = dynamodb.NewFromConfig(cfg).DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: aws.String(h.Table)})
	case slices.Equal(args, []string{"topic"}):
		_, err = sns.NewFromConfig(cfg).DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: aws.String(h.Topic)})
	default:
		ts.Fatalf("usage: drop table|topic")
	}
	ts.Check(err)
}

// What differs from run to run in the output of the commands.
var (
	someCase   = regexp.MustCompile(`\b\d{8}-[0-9a-hjkmnp-tv-z]{8}\b`)
	someClock  = regexp.MustCompile(`(\d{8}-\w{8}  )\w{3} \d\d \d\d:\d\d`)
	someTime   = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)`)
	someDigest = regexp.MustCompile(`"baseline":"[0-9a-f]{64}"`)
	somePart   = regexp.MustCompile(`baseline [0-9a-f]{12}\b`)
	someSpan   = regexp.MustCompile(`came back in [0-9.]+s`)
	someWrite  = regexp.MustCompile(`"revision":"\w{8}"`)
	someUser   = regexp.MustCompile(`"userId":"[^"]*"`)
	someHost   = regexp.MustCompile(`(?m)( on |"host":")` + regexp.QuoteMeta(host()) + `("|$)`)
	someCalls  = regexp.MustCompile(`("calls":\[|calls +\d+ )([^]\n]*)`)
)

func host() string {
	name, _ := os.Hostname() // a machine without a name prints none
	return name
}

// steady: give what differs from run to run in the last standard output the
// same values always.
func steady(ts *testscript.TestScript, _ bool, _ []string) {
	text := ts.ReadFile("stdout")
	ids := []string{}
	text = someCase.ReplaceAllStringFunc(text, func(id string) string {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
		return fmt.Sprintf("20261122-7k3m9x2%c", "qrstvwxyz"[slices.Index(ids, id)])
	})
	text = someClock.ReplaceAllString(text, "${1}Nov 22 01:00")
	text = someTime.ReplaceAllStringFunc(text, steadyTime)
	text = someWrite.ReplaceAllString(text, `"revision":"4c8d2f7h"`)
	text = someUser.ReplaceAllString(text, `"userId":"AROAEXAMPLE00000001:operator"`)
	text = someHost.ReplaceAllString(text, "${1}laptop$2")
	text = someDigest.ReplaceAllString(text, `"baseline":"5b0c"`)
	text = somePart.ReplaceAllString(text, "baseline 5b0c3f2a9d71")
	text = someSpan.ReplaceAllString(text, "came back in 4.1s")
	text = someCalls.ReplaceAllStringFunc(text, gatesFirst)
	_, err := ts.Stdout().Write([]byte(text))
	ts.Check(err)
}

// steadyTime gives a time of this run, or whole days after it, the same value
// always.
func steadyTime(s string) string {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 UTC"} {
		t, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		later := time.Until(t).Round(24 * time.Hour)
		if later >= 0 && (time.Until(t)-later).Abs() < 10*time.Minute {
			return time.Date(2026, 11, 22, 1, 0, 3, 0, time.UTC).Add(later).Format(layout)
		}
	}
	return s
}

// gatesFirst gives the gates, which are read side by side with the resource,
// the first place in a list of calls.
func gatesFirst(list string) string {
	parts := someCalls.FindStringSubmatch(list)
	separator := " "
	if strings.Contains(parts[2], `"`) {
		separator = ","
	}
	calls := strings.Split(parts[2], separator)
	if i := slices.IndexFunc(calls, func(c string) bool { return strings.Contains(c, "BatchGetItem") }); i > 0 {
		gates := calls[i]
		calls = slices.Insert(slices.Delete(calls, i, i+1), 0, gates)
	}
	return parts[1] + strings.Join(calls, separator)
}

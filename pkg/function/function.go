// Package function is the Lambda side of the engine. It reads batches of
// events from SQS, hands each to the engine side by side with the others, and
// reports failed messages one by one, so that the queue hands out again only
// those. And it carries out the operators' commands (Request), so that they
// need no rights in member accounts but that of invoking the function.
package function

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/tidwall/gjson"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/facts"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// Config is what a function reads from its environment at start.
type Config struct {
	Table    string // SNAPBACK_TABLE: name or ARN of the ledger's DynamoDB table
	Topic    string // SNAPBACK_TOPIC: ARN of the SNS topic for alerts
	Role     string // SNAPBACK_ROLE: name of the role to assume in each member account
	Baseline string // SNAPBACK_BASELINE: the baseline file; default baseline.yaml beside the binary
	Digest   string // SNAPBACK_BASELINE_DIGEST: the SHA-256 that the file must have, in hexadecimal; empty: any
	Version  string // SNAPBACK_VERSION: that of this Snapback; default dev
}

// ReadConfig reads the configuration. Everything that is missing or malformed
// is named at once.
func ReadConfig(getenv func(string) string) (Config, error) {
	c := Config{
		Table: getenv("SNAPBACK_TABLE"), Topic: getenv("SNAPBACK_TOPIC"),
		Role: getenv("SNAPBACK_ROLE"), Baseline: getenv("SNAPBACK_BASELINE"),
		Digest: getenv("SNAPBACK_BASELINE_DIGEST"), Version: cmp.Or(getenv("SNAPBACK_VERSION"), "dev"),
	}
	if c.Baseline == "" {
		c.Baseline = filepath.Join(getenv("LAMBDA_TASK_ROOT"), "baseline.yaml")
	}
	var faults []string
	for _, v := range []struct{ name, value, what string }{
		{"SNAPBACK_TABLE", c.Table, "the name of the ledger's DynamoDB table"},
		{"SNAPBACK_TOPIC", c.Topic, "the ARN of the SNS topic for alerts"},
		{"SNAPBACK_ROLE", c.Role, "the name of the role to assume in member accounts"},
	} {
		if v.value == "" {
			faults = append(faults, v.name+" is missing: set it to "+v.what)
		}
	}
	if c.Topic != "" && (!strings.HasPrefix(c.Topic, "arn:") || strings.Count(c.Topic, ":") != 5) {
		faults = append(faults, fmt.Sprintf("SNAPBACK_TOPIC is %q: want an ARN such as arn:aws:sns:us-east-1:111111111111:snapback-alerts", c.Topic))
	}
	if len(faults) > 0 {
		return c, errors.New(strings.Join(faults, "; "))
	}
	return c, nil
}

// Function is one domain's function: everything that is built once.
type Function struct {
	engine *engine.Engine
	drills *ledger.Drills
	config aws.Config
	domain string
	log    *slog.Logger
}

// New builds the function of a domain: reads the baseline, makes the clients.
// It calls no AWS service.
func New(ctx context.Context, c Config, domain control.Domain, log *slog.Logger) (*Function, error) {
	b, err := Deployed(c.Baseline, c.Digest, domain)
	if err != nil {
		return nil, err
	}
	cfg, err := cloud.Load(ctx)
	if err != nil {
		return nil, err
	}
	return &Function{
		engine: &engine.Engine{
			Controls: domain.Controls,
			Runbooks: domain.Runbooks,
			Baseline: b,
			Sessions: cloud.NewSessions(cfg, c.Role, domain.Name),
			Facts:    facts.New(cfg),
			Ledger:   ledger.New(cfg, c.Table),
			Alerts:   alert.NewTopic(cfg, c.Topic),
			Version:  c.Version,
		},
		drills: ledger.NewDrills(ledger.New(cfg, c.Table)),
		config: cfg,
		domain: domain.Name,
		log:    log,
	}, nil
}

// Main runs the function of a domain for as long as Lambda wants it. If it
// can't start it says why in one line and returns the exit code.
func Main(domain control.Domain) int {
	return Serve(domain.Name, func(ctx context.Context, log *slog.Logger) (any, error) {
		c, err := ReadConfig(os.Getenv)
		if err != nil {
			return nil, err
		}
		f, err := New(ctx, c, domain, log)
		if err != nil {
			return nil, err
		}
		return f.Handle, nil
	})
}

// spare is what is kept of an invocation's time to write down and report what
// could not be finished.
const spare = 2 * time.Second

// Handle carries out one invocation: a batch of events from SQS, or an
// operator's command, which has a field of that name (Request).
func (f *Function) Handle(ctx context.Context, payload json.RawMessage) (any, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-spare))
		defer cancel()
	}
	if gjson.GetBytes(payload, "command").Exists() {
		return f.command(ctx, payload), nil
	}
	var batch events.SQSEvent
	if err := json.Unmarshal(payload, &batch); err != nil {
		return nil, fmt.Errorf("read the batch: %w", err)
	}
	return f.batch(ctx, batch), nil
}

// batch works on a batch, its messages side by side. The response names the
// messages that the queue is to hand out again.
func (f *Function) batch(ctx context.Context, batch events.SQSEvent) events.SQSEventResponse {
	failed := make([]bool, len(batch.Records))
	var side sync.WaitGroup
	for i, message := range batch.Records {
		side.Go(func() { failed[i] = !f.handle(ctx, message) })
	}
	side.Wait()
	response := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}}
	for i, message := range batch.Records {
		if failed[i] {
			response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: message.MessageId})
		}
	}
	return response
}

// handle works on one message, and reports whether the queue may forget it. A
// panic fails its own message alone.
func (f *Function) handle(ctx context.Context, message events.SQSMessage) (done bool) {
	defer func() {
		if p := recover(); p != nil {
			f.log.Error("panic", "message", message.MessageId, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			done = false
		}
	}()
	if ofDrill(message) {
		return f.drill(ctx, message)
	}
	done = true
	for i, r := range f.engine.HandleJSON(ctx, message.MessageId, []byte(message.Body)) {
		f.report(r, i == 0)
		done = done && r.Retry == nil
	}
	return done
}

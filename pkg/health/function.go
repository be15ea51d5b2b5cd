package health

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// Config is what the function reads from its environment at start.
type Config struct {
	Table    string   // SNAPBACK_TABLE: name or ARN of the ledger's DynamoDB table
	Role     string   // SNAPBACK_ROLE: name of the role to assume in each account
	Baseline string   // SNAPBACK_BASELINE: the baseline file; default baseline.yaml beside the binary
	Digest   string   // SNAPBACK_BASELINE_DIGEST: the SHA-256 that the file must have, in hexadecimal; empty: any
	Version  string   // SNAPBACK_VERSION: that of this Snapback; default dev
	Domains  []string // SNAPBACK_DOMAINS: names of the domains that are on
	Member   string   // SNAPBACK_MEMBER: digest of the member template that is deployed
	Rules    int      // SNAPBACK_RULES: how many rules that template makes in a Region
	Patterns string   // SNAPBACK_PATTERNS: fingerprint of these rules' names and patterns
	// Wait is how long canaries have to come back; zero: a minute. It has no
	// variable.
	Wait time.Duration
}

// ReadConfig reads the configuration. Everything that is missing or malformed
// is named at once.
func ReadConfig(getenv func(string) string) (Config, error) {
	c := Config{
		Table: getenv("SNAPBACK_TABLE"), Role: getenv("SNAPBACK_ROLE"),
		Baseline: getenv("SNAPBACK_BASELINE"), Digest: getenv("SNAPBACK_BASELINE_DIGEST"),
		Version: cmp.Or(getenv("SNAPBACK_VERSION"), "dev"), Member: getenv("SNAPBACK_MEMBER"), Patterns: getenv("SNAPBACK_PATTERNS"),
	}
	if c.Baseline == "" {
		c.Baseline = filepath.Join(getenv("LAMBDA_TASK_ROOT"), "baseline.yaml")
	}
	var faults []string
	for _, v := range []struct{ name, what string }{
		{"SNAPBACK_TABLE", "the name of the ledger's DynamoDB table"},
		{"SNAPBACK_ROLE", "the name of the role to assume in every account"},
		{"SNAPBACK_DOMAINS", "the names of the domains that are on, parted by commas"},
		{"SNAPBACK_MEMBER", "the digest of the member template"},
		{"SNAPBACK_PATTERNS", "the fingerprint of the forwarding rules"},
	} {
		if getenv(v.name) == "" {
			faults = append(faults, v.name+" is missing: set it to "+v.what)
		}
	}
	c.Domains = strings.Split(getenv("SNAPBACK_DOMAINS"), ",")
	var err error
	if c.Rules, err = strconv.Atoi(getenv("SNAPBACK_RULES")); err != nil || c.Rules < 1 {
		faults = append(faults, fmt.Sprintf("SNAPBACK_RULES is %q: set it to the number of forwarding rules in a Region", getenv("SNAPBACK_RULES")))
	}
	if len(faults) > 0 {
		return c, errors.New(strings.Join(faults, "; "))
	}
	return c, nil
}

// Health is the function: everything that is built once.
type Health struct {
	Config
	baseline *baseline.Baseline
	hub      aws.Config
	ledger   *ledger.Ledger
	log      *slog.Logger
}

// New builds the function: reads the baseline, makes the clients. It calls no
// AWS service.
func New(ctx context.Context, c Config, log *slog.Logger) (*Health, error) {
	b, err := function.Deployed(c.Baseline, c.Digest, control.Domain{Name: deployment.Health})
	if err != nil {
		return nil, err
	}
	cfg, err := cloud.Load(ctx)
	if err != nil {
		return nil, err
	}
	if c.Wait == 0 {
		c.Wait = time.Minute
	}
	return &Health{Config: c, baseline: b, hub: cfg, ledger: ledger.New(cfg, c.Table), log: log}, nil
}

// Main runs the function for as long as Lambda wants it. If it can't start it
// says why in one line and returns the exit code.
func Main() int {
	return function.Serve(deployment.Health, func(ctx context.Context, log *slog.Logger) (any, error) {
		c, err := ReadConfig(os.Getenv)
		if err != nil {
			return nil, err
		}
		h, err := New(ctx, c, log)
		if err != nil {
			return nil, err
		}
		return h.Handle, nil
	})
}

// spare is what is kept of an invocation's time to say what came of it, for a
// thousand accounts too.
const spare = 10 * time.Second

// Handle carries out one command. What goes wrong is in the answer.
func (h *Health) Handle(ctx context.Context, payload json.RawMessage) (Answer, error) {
	began := time.Now()
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-min(spare, time.Until(deadline)/2)))
		defer cancel()
	}
	var r Request
	var a Answer
	err := json.Unmarshal(payload, &r)
	if err != nil {
		a = Answer{Verdict: engine.Misuse, Reason: fmt.Sprintf("this is no command that the function can read: %v", err)}
	} else if a, err = h.obey(ctx, r); err != nil {
		a.Verdict, a.Reason = engine.NotSo, cloud.Reason(err)
	}
	if a.Sites == nil {
		a.Sites = []Site{}
	}
	a.Version, a.Baseline, a.Milliseconds = h.Version, h.baseline.Digest, time.Since(began).Milliseconds()
	h.report(r.Command, a)
	return fitting(a), nil
}

func (h *Health) obey(ctx context.Context, r Request) (Answer, error) {
	do := map[string]func(context.Context, Request) (Answer, error){Drill: h.drill, Look: h.look, Sample: h.sample}[r.Command]
	if do == nil {
		return Answer{Verdict: engine.Misuse, Reason: fmt.Sprintf("there is no command %q: want %s, %s or %s", r.Command, Drill, Look, Sample)}, nil
	}
	if fault := h.misuse(r); fault != "" {
		return Answer{Verdict: engine.Misuse, Reason: fault}, nil
	}
	return do(ctx, r)
}

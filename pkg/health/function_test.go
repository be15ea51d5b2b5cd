package health_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/health"
)

func TestConfigurationIsReadFromTheEnvironment(t *testing.T) {
	env := map[string]string{
		"SNAPBACK_TABLE": "t", "SNAPBACK_ROLE": "r", "SNAPBACK_DOMAINS": "storage,network", "SNAPBACK_MEMBER": "m", "SNAPBACK_RULES": "9", "SNAPBACK_PATTERNS": "p",
		"SNAPBACK_BASELINE_DIGEST": "d", "LAMBDA_TASK_ROOT": "/var/task",
	}
	c, err := health.ReadConfig(func(name string) string { return env[name] })
	must(t, err)
	want := health.Config{
		Table: "t", Role: "r", Baseline: "/var/task/baseline.yaml", Digest: "d", Version: "dev",
		Domains: []string{"storage", "network"}, Member: "m", Rules: 9, Patterns: "p",
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFunctionThatLacksConfigurationDoesNotStart(t *testing.T) {
	f, err := local.StartFunction(t.Context(), local.FunctionOptions{Binary: built["health"], Env: []string{"AWS_REGION=us-east-1", "SNAPBACK_RULES=none"}})
	must(t, err)
	t.Cleanup(f.Close)
	if _, err = f.Invoke(t.Context(), []byte(`{"command":"look"}`)); err == nil {
		t.Fatal("it started")
	}
	for _, want := range []string{
		"the function does not start", "SNAPBACK_TABLE is missing: set it to", "SNAPBACK_ROLE is missing", "SNAPBACK_DOMAINS is missing",
		"SNAPBACK_MEMBER is missing", "SNAPBACK_PATTERNS is missing", `SNAPBACK_RULES is \"none\"`,
	} {
		if !strings.Contains(f.Logs(), want) {
			t.Errorf("the log does not say %q:\n%s", want, f.Logs())
		}
	}
}

func TestBaselineThatWasNotDeployedIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline.yaml")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	log := slog.New(slog.NewJSONHandler(&bytes.Buffer{}, nil))
	for want, c := range map[string]health.Config{
		"is not the one that was deployed": {Baseline: file, Digest: strings.Repeat("0", 64)},
		"read the baseline":                {Baseline: file + ".missing"},
	} {
		if _, err := health.New(t.Context(), c, log); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

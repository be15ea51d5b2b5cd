package local

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildEcho builds the function of testdata/echo.
func buildEcho(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "echo", "bootstrap")
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", binary, "./testdata/echo")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the function: %v\n%s", err, out)
	}
	return binary
}

func startEcho(t *testing.T, env ...string) *Function {
	t.Helper()
	f, err := StartFunction(t.Context(), FunctionOptions{Binary: buildEcho(t), Env: env, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestInvokeReturnsTheResultAndKeepsTheLogs(t *testing.T) {
	f := startEcho(t, "GREETING=hello")
	for _, event := range []string{`{"a":1}`, `"errorMessage"`, `null`, `[]`} {
		result, err := f.Invoke(t.Context(), []byte(event))
		if err != nil {
			t.Fatal(err)
		}
		if string(result) != event {
			t.Errorf("got %s, want %s", result, event)
		}
		lines := f.Lines()
		if want := `{"msg":"hello","event":` + event + `}`; len(lines) == 0 || string(lines[len(lines)-1]) != want {
			t.Errorf("got lines %s, want %s as the last one", lines, want)
		}
	}
	if !strings.Contains(f.Logs(), "not JSON") {
		t.Errorf("the logs lack what the function printed:\n%s", f.Logs())
	}
}

func TestInvokeTellsAFunctionErrorFromAResult(t *testing.T) {
	f := startEcho(t, "GREETING=hello")
	for _, c := range []struct{ event, kind, message string }{
		{`"fail"`, "errorString", "it failed"},
		{`"panic"`, "string", "it panicked"},
		{`"exit"`, "Runtime.ExitError", "exit status 3"},
		{`"hang"`, "", "Task timed out after 2.00 seconds"},
	} {
		_, err := f.Invoke(t.Context(), []byte(c.event))
		var e *FunctionError
		if !errors.As(err, &e) || e.Type != c.kind || !strings.Contains(e.Message, c.message) {
			t.Errorf("event %s: got error %v, want type %q with %q", c.event, err, c.kind, c.message)
			continue
		}
		if !strings.Contains(e.Printed, `"event":`+c.event) {
			t.Errorf("event %s: the error lacks what the function printed: %v", c.event, e)
		}
	}
	// However it ended, the function is started anew.
	if _, err := f.Invoke(t.Context(), []byte(`1`)); err != nil {
		t.Error(err)
	}
}

func TestInvokeShowsWhyTheFunctionDidNotStart(t *testing.T) {
	f := startEcho(t)
	for range 2 {
		_, err := f.Invoke(t.Context(), []byte(`1`))
		var e *FunctionError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "GREETING is not set") {
			t.Errorf("got error %v, want a function error with the function's own words", err)
		}
	}
}

func TestFunctionSeesOnlyItsOwnEnvironment(t *testing.T) {
	t.Setenv("AWS_PROFILE", "production")
	dir := t.TempDir()
	f, err := StartFunction(t.Context(), FunctionOptions{Binary: buildEcho(t), Dir: dir, Env: []string{"GREETING=hello"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	out, err := f.Invoke(t.Context(), []byte(`"environment"`))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Dir string
		Env []string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Dir != dir {
		t.Errorf("got working directory %s, want %s", got.Dir, dir)
	}
	for _, want := range []string{"GREETING=hello", "AWS_LAMBDA_FUNCTION_NAME=echo", "LAMBDA_TASK_ROOT=" + dir} {
		if !slices.Contains(got.Env, want) {
			t.Errorf("the environment lacks %s: %q", want, got.Env)
		}
	}
	for _, variable := range got.Env {
		if strings.HasPrefix(variable, "HOME=") || strings.HasPrefix(variable, "AWS_PROFILE=") {
			t.Errorf("the environment holds the caller's %s", variable)
		}
	}
}

func TestInvocationsSideBySideAreWorkedOneByOne(t *testing.T) {
	f := startEcho(t, "GREETING=hello")
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if _, err := f.Invoke(t.Context(), []byte(`1`)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// whileHanging invokes the function, and calls do while it works on the event.
func whileHanging(t *testing.T, ctx context.Context, f *Function, do func()) error {
	t.Helper()
	done := make(chan error, 1)
	before := len(f.Lines())
	go func() {
		_, err := f.Invoke(ctx, []byte(`"hang"`))
		done <- err
	}()
	eventually(t, "the function to take the event", func() bool { return len(f.Lines()) > before })
	do()
	return <-done
}

func TestKillEndsTheInvocationAndTheNextOneStartsAnew(t *testing.T) {
	f := startEcho(t, "GREETING=hello")
	if err := f.Kill(); !errors.Is(err, ErrIdle) {
		t.Errorf("got %v before the first invocation, want ErrIdle", err)
	}
	err := whileHanging(t, t.Context(), f, func() {
		if err := f.Kill(); err != nil {
			t.Error(err)
		}
	})
	var e *FunctionError
	if !errors.As(err, &e) || !strings.Contains(e.Message, "signal: killed") {
		t.Errorf("got error %v, want that the function was killed", err)
	}
	if _, err := f.Invoke(t.Context(), []byte(`1`)); err != nil {
		t.Error(err)
	}
}

func TestCancelledInvocationLeavesTheFunctionUsable(t *testing.T) {
	f := startEcho(t, "GREETING=hello")
	ctx, cancel := context.WithCancel(t.Context())
	if err := whileHanging(t, ctx, f, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	if _, err := f.Invoke(t.Context(), []byte(`1`)); err != nil {
		t.Error(err)
	}
}

func TestCloseEndsEmulatorAndFunctionAtWork(t *testing.T) {
	f := startEcho(t, "GREETING=hello")
	var pids []int
	err := whileHanging(t, t.Context(), f, func() {
		pids = append(descendants(f.process.pid), f.process.pid)
		f.Close()
	})
	if err == nil || len(pids) < 2 {
		t.Errorf("got error %v and processes %v, want an error and at least two", err, pids)
	}
	waitGone(t, pids...)
}

func TestMissingBinarySaysWhatToRun(t *testing.T) {
	_, err := StartFunction(t.Context(), FunctionOptions{Binary: "no/such/bootstrap"})
	if err == nil || !strings.Contains(err.Error(), "run `make build`") {
		t.Errorf("got %v, want an error that says what to run", err)
	}
}

package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// FunctionOptions say what to run as a Lambda function.
type FunctionOptions struct {
	// Binary is the built bootstrap for this machine.
	Binary string
	// Dir is the working directory, Lambda's /var/task; empty: the binary's.
	Dir string
	// Env is all of the function's environment but what Lambda itself sets.
	// Nothing of the caller's own is passed on.
	Env []string
	// Timeout is the longest that an invocation may take, in whole seconds;
	// zero: a minute.
	Timeout time.Duration
}

// Function is a built function under AWS's own Lambda Runtime Interface
// Emulator, which starts it with the first invocation, as Lambda would, and
// again with the next one after it ended.
type Function struct {
	process *process
	url     string
	timeout time.Duration
	// turn holds one token: an invocation beside another one kills the emulator.
	turn chan struct{}
}

// StartFunction makes a function ready to be invoked. It ends on Close or with
// ctx.
func StartFunction(ctx context.Context, o FunctionOptions) (*Function, error) {
	rie, err := tool("tools", "aws-lambda-rie")
	if err != nil {
		return nil, err
	}
	binary, err := filepath.Abs(o.Binary)
	if err != nil {
		return nil, fmt.Errorf("start a function: %w", err)
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("start a function: %w: run `make build`", err)
	}
	if o.Dir == "" {
		o.Dir = filepath.Dir(binary)
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	seconds := int((o.Timeout + time.Second - 1) / time.Second)
	name := filepath.Base(filepath.Dir(binary))
	p, addresses, err := startOn(ctx, "function "+name, 2,
		func(addresses []string) *exec.Cmd {
			cmd := exec.Command(rie, "--runtime-interface-emulator-address", addresses[0],
				"--runtime-api-address", addresses[1], binary)
			cmd.Dir = o.Dir
			cmd.Env = environment(append([]string{
				"AWS_LAMBDA_FUNCTION_NAME=" + name,
				"AWS_LAMBDA_FUNCTION_TIMEOUT=" + strconv.Itoa(seconds),
				"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512",
				"LAMBDA_TASK_ROOT=" + o.Dir,
			}, o.Env...)...)
			return cmd
		},
		func(ctx context.Context, addresses []string) error {
			for _, a := range addresses {
				if err := dial(ctx, a); err != nil {
					return err
				}
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	return &Function{
		process: p,
		url:     "http://" + addresses[0] + "/2015-03-31/functions/function/invocations",
		timeout: time.Duration(seconds) * time.Second,
		turn:    make(chan struct{}, 1),
	}, nil
}

// FunctionError says that an invocation ended without a result: the handler
// returned an error, the function timed out, or its process ended.
type FunctionError struct {
	// Type and Message are what Lambda answers; Type is empty where it names none.
	Type, Message string
	// Printed is what the function printed during this invocation.
	Printed string
}

// Error shows the fault and the last lines that the function printed.
func (e *FunctionError) Error() string {
	text := "function error"
	if e.Type != "" {
		text += " " + e.Type
	}
	text += ": " + e.Message
	lines := strings.Split(strings.TrimSpace(e.Printed), "\n")
	if lines[0] == "" {
		return text
	}
	const most = 10
	return text + "; it printed:\n  " + strings.Join(lines[max(0, len(lines)-most):], "\n  ")
}

// Invoke hands a payload to the function and returns its result. The function's
// own failure is a *FunctionError; anything else is a fault of the emulator.
// Invocations are made one after the other, as in one Lambda sandbox. When ctx
// ends in the middle of one, the function's process is killed.
func (f *Function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("invoke: %w", ctx.Err())
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("invoke: %w", err)
	}
	from := f.process.size()
	// The emulator goes on with an invocation that its caller gave up, and would
	// break at the next one: so the function is killed and the answer awaited.
	unhook := context.AfterFunc(ctx, func() { _ = f.Kill() })
	status, body, err := f.post(context.WithoutCancel(ctx), payload)
	unhook()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("invoke: %w", ctx.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("invoke: %w; the emulator printed:\n%s", err, f.process.tail())
	}
	if e := functionError(status, body); e != nil {
		e.Printed = strings.Join(functionLines(f.process.printed(from)), "\n")
		return nil, e
	}
	return body, nil
}

func (f *Function) post(ctx context.Context, payload []byte) (int, []byte, error) {
	// The emulator ends an invocation itself; a start and an end come on top.
	ctx, cancel := context.WithTimeout(ctx, f.timeout+30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(payload))
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, errors.Join(err, resp.Body.Close())
}

// functionError tells an error from a result. The emulator answers 502 if the
// process ended, without a body if that was before it asked for work. An error
// that the handler returned comes with status 200, without the header
// X-Amz-Function-Error that Lambda would set; a timeout comes as plain text.
func functionError(status int, body []byte) *FunctionError {
	var e struct {
		Type    *string `json:"errorType"`
		Message *string `json:"errorMessage"`
	}
	decoded := json.Unmarshal(body, &e) == nil
	switch {
	case decoded && e.Type != nil && e.Message != nil:
		return &FunctionError{Type: *e.Type, Message: *e.Message}
	case status != http.StatusOK && len(body) == 0:
		return &FunctionError{Type: "Runtime.ExitError", Message: "the function ended before it took the event"}
	case status != http.StatusOK, !json.Valid(body):
		return &FunctionError{Message: string(body)}
	}
	return nil
}

// Logs are all that the emulator and the function have printed. All that an
// invocation printed is there when Invoke returns.
func (f *Function) Logs() string { return string(f.process.printed(0)) }

// Lines are the JSON lines that the function has printed: its logs and metrics.
func (f *Function) Lines() []json.RawMessage {
	var lines []json.RawMessage
	for _, line := range functionLines(f.process.printed(0)) {
		if strings.HasPrefix(line, "{") && json.Valid([]byte(line)) {
			lines = append(lines, json.RawMessage(line))
		}
	}
	return lines
}

// emulatorLine is what the emulator itself prints, such as
//
//	START RequestId: dad6ec83-35f8-437f-a6d1-ce742c141e6a Version: $LATEST
//	22 Nov 2026 01:39:41,675 [INFO] (rapid) INIT START(type: on-demand, phase: init)
var emulatorLine = regexp.MustCompile(`^((START|END|REPORT) RequestId: |\d{2} \w{3} \d{4} [\d:,]+ \[\w+\] \(rapid\) )`)

// functionLines are the printed lines that are not the emulator's own.
func functionLines(printed []byte) []string {
	var lines []string
	for line := range strings.Lines(string(printed)) {
		if line = strings.TrimSpace(line); line != "" && !emulatorLine.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// ErrIdle is returned by Kill when the function has no process: it was not
// invoked yet, or has ended.
var ErrIdle = errors.New("the function has no process")

// Kill ends the function's own process with SIGKILL, at whatever it is doing.
// The invocation under way fails; the next one starts the function anew.
func (f *Function) Kill() error {
	children := descendants(f.process.pid)
	if len(children) == 0 {
		return ErrIdle
	}
	for _, pid := range children {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill the function: %w", err)
		}
	}
	return nil
}

// Close ends the function and its emulator.
func (f *Function) Close() { f.process.close() }

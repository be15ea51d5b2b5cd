package local

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Started with this variable, the test binary starts a function, prints the
// processes that came of it, and waits to be killed.
const parentVariable = "SNAPBACK_TEST_PARENT_OF"

func TestMain(m *testing.M) {
	if binary := os.Getenv(parentVariable); binary != "" {
		if err := beParent(binary); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func beParent(binary string) error {
	f, err := StartFunction(context.Background(), FunctionOptions{Binary: binary, Env: []string{"GREETING=hello"}})
	if err != nil {
		return err
	}
	if _, err := f.Invoke(context.Background(), []byte(`1`)); err != nil {
		return err
	}
	fmt.Println(f.process.pid, descendants(f.process.pid)[0])
	select {}
}

// TestProcessesEndWithTheirParent kills the parent, which so can clean up nothing.
func TestProcessesEndWithTheirParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentVariable+"="+buildEcho(t))
	parent.Stderr = t.Output()
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pids [2]int
	_, scanErr := fmt.Fscan(bufio.NewReader(out), &pids[0], &pids[1])
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	if scanErr != nil {
		t.Fatal(scanErr)
	}
	waitGone(t, pids[:]...)
}

func TestProcessEndsWithItsContextAndItsChildren(t *testing.T) {
	for name, end := range map[string]func(p *process, cancel func()){
		"close":  func(p *process, _ func()) { p.close() },
		"cancel": func(_ *process, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			// The grandchild leaves the group, as a function's process does.
			p, err := start(ctx, "sh", exec.Command("sh", "-c", "setsid sleep 1000 & echo started; wait"))
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			var pids []int
			err = p.await(ctx, func(context.Context) error {
				if pids = descendants(p.pid); len(pids) == 0 || !bytes.Contains(p.printed(0), []byte("started")) {
					return fmt.Errorf("no child yet")
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			end(p, cancel)
			waitGone(t, append(pids, p.pid)...)
		})
	}
}

func TestProcessThatEndsAtOnceShowsWhatItPrinted(t *testing.T) {
	p, err := start(t.Context(), "sh", exec.Command("sh", "-c", "echo no such port >&2; exit 4"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	err = p.await(t.Context(), func(context.Context) error { return fmt.Errorf("not yet") })
	if err == nil || !strings.Contains(err.Error(), "exit status 4") || !strings.Contains(err.Error(), "no such port") {
		t.Errorf("got error %v, want one with the exit status and what was printed", err)
	}
}

func TestTakenPortIsTriedAgain(t *testing.T) {
	tries := 0
	p, _, err := startOn(t.Context(), "sh", 1,
		func([]string) *exec.Cmd {
			if tries++; tries == 1 {
				return exec.Command("sh", "-c", "echo bind: Address already in use; exit 1")
			}
			return exec.Command("sh", "-c", "echo ready; exec sleep 1000")
		},
		func(context.Context, []string) error {
			if tries == 1 {
				return fmt.Errorf("not yet")
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	p.close()
	if tries != 2 {
		t.Errorf("got %d tries, want 2", tries)
	}
}

func TestMissingToolNamesItsTarget(t *testing.T) {
	_, err := tool("test-tools", "no-such-tool")
	if err == nil || !strings.Contains(err.Error(), "run `make test-tools`") {
		t.Errorf("got error %v, want one that says what to run", err)
	}
}

// waitGone waits until none of the processes runs any more.
func waitGone(t *testing.T, pids ...int) {
	t.Helper()
	eventually(t, fmt.Sprintf("processes %v to end", pids), func() bool { return !slices.ContainsFunc(pids, running) })
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// running reports whether a process runs; a dead one that its parent has not
// yet asked about does not.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat[bytes.LastIndexByte(stat, ')'):]), ") Z")
}

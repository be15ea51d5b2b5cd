package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The waiting for a part to be ready. The slowest, a Java machine on two busy
// cores, takes some 10 s.
const (
	startTimeout = 2 * time.Minute
	pollInterval = 20 * time.Millisecond
	startTries   = 3 // a free port may be taken before the part listens on it
)

// process is a started program with its output.
type process struct {
	name   string
	pid    int
	out    *os.File // what it and its children print; has no name any more
	exited chan struct{}
	err    error // how it ended, never nil; read after exited is closed
	unhook func() bool
}

// start starts cmd, which writes to the process's output unless its Stdout is
// set. The program is killed when ctx ends.
func start(ctx context.Context, name string, cmd *exec.Cmd) (*process, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	out, err := os.CreateTemp("", "snapback-local-*")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	// A file and not a pipe: what a child has written can be read at once, and
	// no one must keep reading. It goes away with the last one who holds it.
	if err := os.Remove(out.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), out.Close())
	}
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Stderr = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	p := &process{name: name, out: out, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the child ends,
		// so this thread must stay until the child has ended (golang/go#27505).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			if p.err = cmd.Wait(); p.err == nil {
				p.err = errors.New("exit status 0")
			}
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), out.Close())
	}
	p.unhook = context.AfterFunc(ctx, p.kill)
	return p, nil
}

// environment is the given variables and what every program needs. Nothing else
// of the caller's is passed on: not the account that his shell is logged in to,
// nor, through HOME, that of ~/.aws.
func environment(env ...string) []string {
	for _, name := range []string{"PATH", "TMPDIR", "LANG"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// close kills the program and its children, waits for its end and gives up its
// output. It may be called twice.
func (p *process) close() {
	p.unhook()
	p.kill()
	_ = p.out.Close() // nothing is lost: it was only read
}

// kill kills the program with its children and waits for its end.
func (p *process) kill() {
	select {
	case <-p.exited:
		return
	default:
	}
	// Stopped first, so that it can't start another child unseen.
	_ = syscall.Kill(p.pid, syscall.SIGSTOP)
	children := descendants(p.pid)
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // its group, itself among them
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.exited
}

// await calls ready until it returns nil. A program that ends or takes too
// long is an error that shows what it printed last.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := ready(ctx)
		select {
		case <-p.exited:
			return fmt.Errorf("start %s: it ended (%w); it printed:\n%s", p.name, p.err, p.tail())
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w before it was ready (%w); it printed:\n%s", p.name, ctx.Err(), err, p.tail())
		}
	}
}

// size is how many bytes were printed so far.
func (p *process) size() int64 {
	info, err := p.out.Stat()
	if err != nil {
		return 0 // closed
	}
	return info.Size()
}

// printed is what was printed from an offset on.
func (p *process) printed(from int64) []byte {
	out, err := io.ReadAll(io.NewSectionReader(p.out, from, max(0, p.size()-from)))
	if err != nil {
		return nil // closed
	}
	return out
}

// tail is the last lines that were printed, indented.
func (p *process) tail() string {
	const most = 2048
	out := bytes.TrimSpace(p.printed(max(0, p.size()-most)))
	if len(out) == 0 {
		return "  (nothing)"
	}
	return "  " + strings.ReplaceAll(string(out), "\n", "\n  ")
}

// startOn starts a program on free ports and waits until it is ready. Another
// program may take a port before this one listens on it; then it ends, and
// other ports are tried.
func startOn(ctx context.Context, name string, ports int, command func(addresses []string) *exec.Cmd, ready func(context.Context, []string) error) (*process, []string, error) {
	for try := 1; ; try++ {
		addresses, err := freeAddresses(ports)
		if err != nil {
			return nil, nil, fmt.Errorf("start %s: %w", name, err)
		}
		p, err := start(ctx, name, command(addresses))
		if err != nil {
			return nil, nil, err
		}
		err = p.await(ctx, func(ctx context.Context) error { return ready(ctx, addresses) })
		if err == nil {
			return p, addresses, nil
		}
		taken := bytes.Contains(bytes.ToLower(p.printed(0)), []byte("address already in use"))
		p.close()
		if !taken || try == startTries {
			return nil, nil, err
		}
	}
}

// The ports that parts are started on: below those that Linux hands out by itself,
// 32768 and up, to servers and to clients (ip(7), ip_local_port_range). Until a
// part listens on its port, which takes Java a second or more, another test's
// server could else take it, and answer in its place.
const (
	firstPort = 20000
	lastPort  = 32000
)

// freeAddresses returns loopback addresses on which no one listens now.
func freeAddresses(n int) ([]string, error) {
	var addresses []string
	for tries := 0; len(addresses) < n; tries++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort))))
		if err != nil && tries < 100 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		// Held until all are found, so that they differ.
		defer func() { _ = l.Close() }()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

func dial(ctx context.Context, address string) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// descendants are the living children of a process, their children, and so on.
func descendants(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// "pid (name) state parent …"; the name may hold spaces and parentheses.
		// Source: proc_pid_stat(5).
		head, rest, ok := bytes.Cut(stat, []byte(" ("))
		end := bytes.LastIndexByte(rest, ')')
		fields := bytes.Fields(rest[end+1:])
		if !ok || end < 0 || len(fields) < 2 || string(fields[0]) == "Z" {
			continue
		}
		child, _ := strconv.Atoi(string(head))
		parent, _ := strconv.Atoi(string(fields[1]))
		children[parent] = append(children[parent], child)
	}
	var all []int
	for next := children[pid]; len(next) > 0; next = next[1:] {
		all = append(all, next[0])
		next = append(next, children[next[0]]...)
	}
	return all
}

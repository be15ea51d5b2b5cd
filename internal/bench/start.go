package main

import (
	"archive/zip"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/snapback-aws/snapback/internal/local"
)

// starts is how often each function is started; the median counts.
const starts = 31

// built is one function as it was built and as it started.
type built struct {
	name, source, file string
	size, zipped       int64
	times              []time.Duration
	resident           []int // KiB
}

// start compares the storage function with a bare one: size, the time from
// exec to its first request for work, and the memory that it then holds. The
// runtime API that they ask is a stand-in that answers nothing: only the
// asking is timed.
func start(ctx context.Context, dir string) error {
	functions := []*built{
		{name: "bare", source: "./internal/bench/bare"},
		{name: "storage", source: "./functions/storage"},
	}
	for _, f := range functions {
		if err := f.build(ctx, filepath.Join(dir, f.name)); err != nil {
			return err
		}
	}
	for range starts { // alternating, so that both meet the same noise
		for _, f := range functions {
			if err := f.start(ctx); err != nil {
				return fmt.Errorf("start %s: %w", f.name, err)
			}
		}
	}
	fmt.Printf("start: exec to first request for work, median of %d\n", starts)
	fmt.Printf("  %-8s %9s %9s %9s %9s\n", "function", "binary", "zip", "start", "memory")
	for _, f := range functions {
		fmt.Printf("  %-8s %6.1f MB %6.1f MB %6.1f ms %6.1f MB\n", f.name,
			float64(f.size)/1e6, float64(f.zipped)/1e6, float64(median(f.times).Microseconds())/1e3, float64(median(f.resident))/1024*1.048576)
	}
	fmt.Printf("  start of storage / bare: %.2f (goal: at most 2)\n\n",
		float64(median(functions[1].times))/float64(median(functions[0].times)))
	return nil
}

func (f *built) build(ctx context.Context, dir string) error {
	var err error
	if f.file, err = local.Build(ctx, f.source, dir); err != nil {
		return err
	}
	data, err := os.ReadFile(f.file)
	if err != nil {
		return err
	}
	f.size = int64(len(data))
	var counted counter
	z := zip.NewWriter(&counted)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	w, err := z.Create("bootstrap")
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	f.zipped = int64(counted)
	return z.Close()
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// start runs the function once, up to its first request for work.
func (f *built) start(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	asked := make(chan time.Time, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- time.Now():
		default:
		}
		<-r.Context().Done() // there is no work
	})}
	go func() { _ = server.Serve(listener) }() // it ends with Close
	defer func() { _ = server.Close() }()

	cmd := exec.CommandContext(ctx, f.file)
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + listener.Addr().String(), "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "SNAPBACK_TABLE=snapback", "SNAPBACK_ROLE=snapback-storage",
		"SNAPBACK_TOPIC=arn:aws:sns:us-east-1:111111111111:snapback-alerts",
		"SNAPBACK_BASELINE=" + filepath.Join(local.Root(), "baseline.yaml"),
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _, _ = cmd.Process.Kill(), cmd.Wait() }()
	select {
	case at := <-asked:
		f.times = append(f.times, at.Sub(began))
	case <-time.After(10 * time.Second):
		return errors.New("it does not ask for work")
	}
	kib, err := memory(cmd.Process.Pid, "VmRSS:")
	f.resident = append(f.resident, kib)
	return err
}

// memory is a process's resident memory now (VmRSS) or at its peak (VmHWM), in KiB.
func memory(pid int, what string) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, what); ok {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
		}
	}
	return 0, fmt.Errorf("no %s in /proc/%d/status", what, pid)
}

func median[T int | time.Duration](values []T) T {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

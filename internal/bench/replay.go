package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/event"
)

// replay measures `snapback replay` on gzipped CloudTrail logs beside
// `gunzip | wc`, and shows that its memory does not grow with the file.
func replay(ctx context.Context, dir string) error {
	snapback := filepath.Join(dir, "snapback")
	build := exec.CommandContext(ctx, "go", "build", "-o", snapback, "./cmd/snapback")
	build.Dir = local.Root()
	if printed, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build snapback: %w\n%s", err, printed)
	}
	fmt.Println("replay: gzipped CloudTrail logs")
	fmt.Printf("  %9s %10s %-22s %8s %13s %10s\n", "records", "unzipped", "command", "time", "records/s", "peak")
	for _, n := range []int{10_000, 100_000} {
		file := filepath.Join(dir, fmt.Sprintf("%d.json.gz", n))
		size, err := writeLog(file, n)
		if err != nil {
			return err
		}
		for _, c := range []struct {
			name string
			args []string
		}{
			{"gunzip | wc", []string{"sh", "-c", `gunzip -c "$0" | wc`, file}},
			{"replay", []string{snapback, "replay", file}},
			{"replay --output json", []string{snapback, "replay", "--output", "json", file}},
		} {
			took, peak, err := timed(ctx, c.args)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Printf("  %9d %7.0f MB %-22s %6.2f s %13.0f %7.0f MB\n",
				n, float64(size)/1e6, c.name, took.Seconds(), float64(n)/took.Seconds(), float64(peak)/1024*1.048576)
		}
	}
	fmt.Println()
	return nil
}

// timed runs a command and returns the time that it took and the most memory
// that it held, in KiB. The kernel's own count of a child (ru_maxrss) begins
// with the memory of the program that forked it, so the peak is read while the
// command runs; it is that of the shell where there is one.
func timed(ctx context.Context, args []string) (time.Duration, int, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	peak := 0
	for {
		select {
		case err := <-done:
			return time.Since(began), peak, err
		case <-look.C:
			if kib, err := memory(cmd.Process.Pid, "VmHWM:"); err == nil { // it may have just ended
				peak = max(peak, kib)
			}
		}
	}
}

// writeLog writes a log file of n records of the sample events' shapes, one in
// fifty of which reaches a control, and returns its size unzipped.
func writeLog(file string, n int) (size int64, err error) {
	records, err := samples("s3-get-bucket-acl", "s3-delete-bucket-public-access-block")
	if err != nil {
		return 0, err
	}
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	z := gzip.NewWriter(f)
	write := func(format string, args ...any) {
		if err == nil {
			var written int
			written, err = fmt.Fprintf(z, format, args...)
			size += int64(written)
		}
	}
	write(`{"Records":[`)
	for i := range n {
		record := records[0]
		if i%50 == 0 {
			record = records[1]
		}
		record["eventID"] = fmt.Sprintf("%08x-0000-4000-8000-%012x", i*7919, i)
		record["requestParameters"].(map[string]any)["bucketName"] = fmt.Sprintf("example-%d", i%1000)
		text, marshalErr := json.Marshal(record)
		if marshalErr != nil {
			return 0, marshalErr
		}
		if i > 0 {
			write(",")
		}
		write("%s", text)
	}
	write("]}")
	if closeErr := z.Close(); err == nil {
		err = closeErr
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return size, err
}

// samples are the CloudTrail records of sample events.
func samples(names ...string) ([]map[string]any, error) {
	var records []map[string]any
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(local.Root(), "events", "cloudtrail", name+".json"))
		if err != nil {
			return nil, err
		}
		e, err := event.Decode(data)
		if err != nil {
			return nil, err
		}
		var record map[string]any
		if err := json.Unmarshal([]byte(e.Detail.(*event.Call).Get("@this").Raw), &record); err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, nil
}

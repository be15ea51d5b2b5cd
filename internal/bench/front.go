package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/snapback-aws/snapback/internal/local"
)

// front stands before the proxy that counts the functions' calls. It measures
// how long answers take, and may do with transactions what DynamoDB does and
// DynamoDB Local does not: of those that meet on an item, the one that comes
// later is cancelled.
type front struct {
	endpoint string
	proxy    *local.Proxy
	server   *http.Server
	meeting  bool

	meetings local.Meetings

	mu      sync.Mutex
	waited  map[string]time.Duration // for answers, by who gives them
	answers map[string]int
}

func newFront(ctx context.Context, server *local.AWS, db *local.DynamoDB, meeting bool) (*front, error) {
	proxy, err := local.StartProxy(ctx, server, db)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		proxy.Close()
		return nil, err
	}
	f := &front{
		endpoint: "http://" + l.Addr().String(), proxy: proxy, meeting: meeting,
		waited: map[string]time.Duration{}, answers: map[string]int{},
	}
	f.server = &http.Server{Handler: f}
	go func() { _ = f.server.Serve(l) }() // until it is closed
	return f, nil
}

func (f *front) close() {
	_ = f.server.Close() // nothing is written down
	f.proxy.Close()
}

// ServeHTTP takes a call.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who := "moto"
	if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_") {
		who = "DynamoDB Local"
	}
	if f.meeting && strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".TransactWriteItems") {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the caller has gone before it had asked
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		leave, refusal, err := f.meetings.Begin(body)
		if err != nil {
			panic(http.ErrAbortHandler) // it is no transaction
		}
		if refusal != nil {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write(refusal) // a caller that is gone needs none
			return
		}
		defer leave()
	}
	began := time.Now()
	f.proxy.ServeHTTP(w, r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waited[who] += time.Since(began)
	f.answers[who]++
}

// shares says how the functions' waits for answers divide.
func (f *front) shares() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all time.Duration
	for _, waited := range f.waited {
		all += waited
	}
	var parts []string
	for _, who := range greatest(f.waited) {
		parts = append(parts, fmt.Sprintf("%.0f %% of it for %s, %.1f ms an answer", 100*f.waited[who].Seconds()/all.Seconds(),
			who, 1000*f.waited[who].Seconds()/float64(f.answers[who])))
	}
	return fmt.Sprintf("the functions' calls waited %.0f s side by side: %s", all.Seconds(), strings.Join(parts, "; "))
}

// programs are what runs here, by the names that the kernel has of them.
var programs = map[string]string{
	"moto_server": "moto", "java": "DynamoDB Local", "bootstrap": "functions", "aws-lambda-rie": "Lambda's emulator",
}

// tick is the unit of the kernel's processor times: USER_HZ, 100 on all that Go
// runs on. Source: proc_pid_stat(5), time(7).
const tick = time.Second / 100

// cpuTimes are the processor times of this program and all that it started, by
// program.
func cpuTimes() (map[string]time.Duration, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if p, err := readProcess(string(text)); err == nil {
			all[p.pid] = p
		}
	}
	spent := map[string]time.Duration{}
	for _, p := range all {
		name, known := programs[p.name]
		if p.pid == os.Getpid() {
			name, known = "bench (queue, proxy)", true
		}
		if known && under(all, p.pid, os.Getpid()) {
			spent[name] += p.spent
		}
	}
	return spent, nil
}

type process struct {
	pid, parent int
	name        string
	spent       time.Duration
}

// readProcess reads "pid (name) state parent …"; user and system time are the
// fields 14 and 15. Source: proc_pid_stat(5).
func readProcess(stat string) (process, error) {
	head, rest, _ := strings.Cut(stat, " (")
	end := strings.LastIndexByte(rest, ')')
	fields := strings.Fields(rest[end+1:])
	if end < 0 || len(fields) < 13 {
		return process{}, fmt.Errorf("read the process %.40s", stat)
	}
	p := process{name: rest[:end]}
	var user, system int
	for _, number := range []struct {
		to   *int
		text string
	}{{&p.pid, head}, {&p.parent, fields[1]}, {&user, fields[11]}, {&system, fields[12]}} {
		n, err := strconv.Atoi(number.text)
		if err != nil {
			return process{}, err
		}
		*number.to = n
	}
	p.spent = time.Duration(user+system) * tick
	return p, nil
}

// under reports whether a process is an ancestor of another one, or the same.
func under(all map[int]process, pid, ancestor int) bool {
	for pid > 1 {
		if pid == ancestor {
			return true
		}
		pid = all[pid].parent
	}
	return false
}

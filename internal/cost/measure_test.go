package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/function"
)

const enforced = `version: 1
reviewed: 2026-11-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1, eu-west-1]}
mode: enforce
`

// meter passes the function's calls on to the local AWS and keeps what it asks
// of the ledger.
type meter struct {
	forward *httputil.ReverseProxy

	mu    sync.Mutex
	reads int     // keys asked for
	puts  [][]int // of each transaction, the bytes of the items that it puts; 0: it updates, deletes or checks one
}

// ServeHTTP takes a call.
func (m *meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.read(r.Header.Get("X-Amz-Target"), body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	m.forward.ServeHTTP(w, r)
}

func (m *meter) read(target string, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, operation, _ := strings.Cut(target, ".")
	switch operation {
	case "BatchGetItem":
		var in struct {
			RequestItems map[string]struct{ Keys []json.RawMessage }
		}
		if json.Unmarshal(body, &in) == nil {
			for _, table := range in.RequestItems {
				m.reads += len(table.Keys)
			}
		}
	case "TransactWriteItems":
		var in struct {
			TransactItems []struct {
				Put struct{ Item json.RawMessage }
			}
		}
		if json.Unmarshal(body, &in) == nil {
			var sizes []int
			for _, item := range in.TransactItems {
				sizes = append(sizes, len(item.Put.Item))
			}
			m.puts = append(m.puts, sizes)
		}
	}
}

// walked is what one event cost.
type walked struct {
	Outcome string
	Calls   int
	Reads   int     // items of the ledger
	Writes  [][]int // as meter has them, in KB
	Line    int     // bytes of its outcome line
}

// walk hands the event to the function and reads what it cost.
func (m *meter) walk(t *testing.T, f *function.Function, log *bytes.Buffer, event []byte) walked {
	t.Helper()
	m.reads, m.puts = 0, nil
	log.Reset()
	payload, err := json.Marshal(map[string]any{"Records": []any{map[string]any{"messageId": "m-1", "body": string(event)}}})
	must(t, err)
	_, err = f.Handle(context.Background(), payload)
	must(t, err)
	var line struct {
		Outcome string
		Calls   []string
	}
	must(t, json.Unmarshal(log.Bytes(), &line))
	w := walked{Outcome: line.Outcome, Calls: len(line.Calls), Reads: m.reads, Line: log.Len()}
	for _, sizes := range m.puts {
		var kb []int
		for _, size := range sizes {
			kb = append(kb, (size+1023)/1024)
		}
		w.Writes = append(w.Writes, kb)
	}
	return w
}

// What the pages say of one event is what the function does about a bucket whose
// block is taken away, and about the same event when it is well again.
func TestQuantitiesOfOneEventAreWhatTheFunctionDoes(t *testing.T) {
	server, err := local.StartAWS(t.Context())
	must(t, err)
	defer server.Close()
	hub, err := local.NewHub(t.Context(), server, nil)
	must(t, err)
	target, err := url.Parse(server.Endpoint())
	must(t, err)
	m := &meter{forward: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}}
	front := httptest.NewServer(m)
	defer front.Close()

	file := filepath.Join(t.TempDir(), "baseline.yaml")
	must(t, os.WriteFile(file, []byte(enforced), 0o600))
	env, err := hub.EnvVia(t.Context(), "snapback-storage", file, front.URL)
	must(t, err)
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	config, err := function.ReadConfig(os.Getenv)
	must(t, err)
	var log bytes.Buffer
	f, err := function.New(t.Context(), config, storage.Domain(), slog.New(slog.NewJSONHandler(&log, nil)))
	must(t, err)

	_, err = s3.NewFromConfig(server.Config(local.MemberAccount)).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("example-reports")})
	must(t, err)
	event, err := os.ReadFile(filepath.Join(local.Root(), "events", "cloudtrail", "s3-delete-bucket-public-access-block.json"))
	must(t, err)
	got := []walked{m.walk(t, f, &log, event), m.walk(t, f, &log, event)}
	want := []walked{
		{
			Outcome: "remediated", Calls: callsChange + 1, // it enters the account besides
			Reads: gateItems, Writes: [][]int{{caseKB, 1, 0, 0, 0}, {caseKB, 0, 0}}, Line: changeBytes,
		},
		{Outcome: "compliant", Calls: callsCompliant, Reads: gateItems, Line: lineBytes},
	}
	for i := range want { // a line is as long as its numbers and names; it is taken for longer
		if short := want[i].Line - got[i].Line; short >= 0 && short < 100 {
			got[i].Line = want[i].Line
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an event costs something else than the pages say (-count.go +measured):\n%s", diff)
	}
	if opens, closes := len(want[0].Writes[0]), len(want[0].Writes[1]); opens != 1+smallWrites || closes != 1+closeWrites {
		t.Errorf("%d items beside a case when it is opened and %d when it is closed: count.go has others", opens-1, closes-1)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

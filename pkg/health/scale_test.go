package health_test

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/health"
)

// multitude stands in for all of AWS that a drill needs, with a large
// organization: it answers in the services' forms, checks nothing, and has every
// canary come to every domain but those that lost names.
type multitude struct {
	accounts int
	lost     map[string]bool // "account/region domain"

	mu    sync.Mutex
	calls map[string]int
	put   []string // "account/region", in the order in which they were put
}

// seventeen are the Regions that every account has from its beginning.
const seventeen = "ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-southeast-1 ap-southeast-2 ca-central-1 eu-central-1 " +
	"eu-north-1 eu-west-1 eu-west-2 eu-west-3 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2"

func (m *multitude) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // a caller that is gone asks nothing
	q := asked(r, body)
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.service == "sts" {
		q.operation = "AssumeRole"
	}
	m.calls[q.operation]++
	answer := map[string]func(*http.Request, question) string{
		"ListAccounts": m.listAccounts, "AssumeRole": m.assume, "PutEvents": m.putEvents, "Query": m.query,
		"PutItem":            func(*http.Request, question) string { return `{}` },
		"GetQueueUrl":        func(*http.Request, question) string { return `{"QueueUrl":"http://` + r.Host + `/q"}` },
		"GetQueueAttributes": func(*http.Request, question) string { return `{"Attributes":{"ApproximateNumberOfMessages":"0"}}` },
	}[q.operation]
	text := answer(r, q)
	w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE([]byte(text)))) // DynamoDB's client checks it
	_, _ = io.WriteString(w, text)
}

func (m *multitude) listAccounts(_ *http.Request, q question) string {
	var in struct{ NextToken string }
	_ = json.Unmarshal([]byte(q.body), &in) // without one it is the first page
	from, _ := strconv.Atoi(in.NextToken)
	const page = 20 // Source: Organizations API reference, ListAccounts.
	var out struct {
		Accounts  []map[string]string
		NextToken string `json:",omitempty"`
	}
	for i := from; i < from+page; i++ {
		out.Accounts = append(out.Accounts, map[string]string{"Id": fmt.Sprintf("%012d", i), "State": "ACTIVE"})
	}
	if from+page < m.accounts {
		out.NextToken = strconv.Itoa(from + page)
	}
	text, _ := json.Marshal(out) // texts always marshal
	return string(text)
}

// assume gives a key that names its account.
func (m *multitude) assume(_ *http.Request, q question) string {
	_, rest, _ := strings.Cut(q.body, "iam%3A%3A")
	return `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA` + rest[:12] + `</AccessKeyId><SecretAccessKey>s</SecretAccessKey>` +
		`<SessionToken>t</SessionToken><Expiration>` + time.Now().Add(15*time.Minute).UTC().Format(time.RFC3339) + `</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`
}

func (m *multitude) putEvents(r *http.Request, q question) string {
	_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=ASIA")
	m.put = append(m.put, key[:12]+"/"+q.region)
	return `{"FailedEntryCount":0,"Entries":[{"EventId":"e"}]}`
}

func (m *multitude) query(_ *http.Request, q question) string {
	var in struct {
		ExclusiveStartKey         map[string]map[string]string
		ExpressionAttributeValues map[string]map[string]string
	}
	_ = json.Unmarshal([]byte(q.body), &in) // the SDK's own
	pk := in.ExpressionAttributeValues[":pk"]["S"]
	if !strings.HasPrefix(pk, "drill#") {
		return `{"Items":[]}`
	}
	domain := pk[strings.LastIndexByte(pk, '#')+1:]
	from, _ := strconv.Atoi(in.ExclusiveStartKey["at"]["N"])
	const page = 1000
	to := min(from+page, len(m.put))
	var items []string
	for _, place := range m.put[from:to] {
		if !m.lost[place+" "+domain] {
			items = append(items, `{"pk":{"S":"`+pk+`"},"sk":{"S":"`+place+`"}}`)
		}
	}
	last := ""
	if to < len(m.put) {
		last = fmt.Sprintf(`,"LastEvaluatedKey":{"at":{"N":"%d"}}`, to)
	}
	return `{"Items":[` + strings.Join(items, ",") + `]` + last + `}`
}

// drillMany drills an organization and holds what is reported and what is called
// to what was lost and what must be.
func drillMany(t testing.TB, accounts int) {
	t.Helper()
	regions := strings.Fields(seventeen)
	last := fmt.Sprintf("%012d", accounts-1)
	m := &multitude{accounts: accounts, calls: map[string]int{}, lost: map[string]bool{
		"000000000007/us-west-2 data": true, last + "/eu-west-1 storage": true, last + "/eu-west-1 data": true,
	}}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIA111111111111", "AWS_SECRET_ACCESS_KEY": "test",
	} {
		t.Setenv(name, value)
	}
	file := filepath.Join(t.TempDir(), "baseline.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(text, "[us-east-1, eu-west-1]", "["+strings.Join(regions, ", ")+"]", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := health.New(t.Context(), health.Config{
		Table: "snapback", Role: "snapback-health", Baseline: file, Domains: []string{"storage", "identity", "network", "data"}, Wait: time.Second,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a, err := h.Handle(t.Context(), []byte(`{"command":"drill"}`))
	want := map[string]health.Site{
		"000000000007 us-west-2": {Account: "000000000007", Region: "us-west-2", Missing: []string{"data"}},
		last + " eu-west-1":      {Account: last, Region: "eu-west-1", Missing: []string{"storage", "data"}},
	}
	sites := accounts * len(regions)
	if diff := cmp.Diff(want, wrong(a)); err != nil || diff != "" || len(a.Sites) != sites {
		t.Errorf("%v, %d sites; wrong ones (-want +got):\n%s", err, len(a.Sites), diff)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("%d sites in %d ms, with the stand-in for AWS in the same process; memory taken from the system: %d MB; calls: %v",
		sites, a.Milliseconds, memory.Sys>>20, m.calls)
	for call, n := range map[string]int{
		"ListAccounts": accounts / 20, "AssumeRole": accounts, "PutEvents": sites, "GetQueueUrl": sites, "GetQueueAttributes": sites, "PutItem": 1,
	} {
		if m.calls[call] != n {
			t.Errorf("%d calls of %s, want %d", m.calls[call], call, n)
		}
	}
}

func TestDrillOfManyAccountsReportsWhatWasLost(t *testing.T) { drillMany(t, 60) }

// BenchmarkDrill drills a thousand accounts in seventeen Regions.
func BenchmarkDrill(b *testing.B) {
	for b.Loop() {
		drillMany(b, 1000)
	}
}

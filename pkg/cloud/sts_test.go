package cloud_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

// security stands in for STS alone: it answers what the test tells it to, in
// the form in which STS answers. It knows no roles and checks no signatures;
// that roles are assumed for real is shown by the lifecycle tests on moto.
type security struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
}

type request struct {
	url.Values        // the parameters, Action among them
	Key        string // the access key that signed it
}

// answer writes what STS answers to the nth request, from 0.
type answer func(n int, r request) (status int, body string)

func startSTS(t *testing.T, reply answer) *security {
	t.Helper()
	s := &security{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		q := request{Values: r.PostForm}
		_, _ = fmt.Sscanf(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=%20s", &q.Key)
		s.mu.Lock()
		n := len(s.requests)
		s.requests = append(s.requests, q)
		s.mu.Unlock()
		status, body := reply(n, q)
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // the client sees what is missing
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *security) all() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// count is the number of requests for an action.
func (s *security) count(action string) (n int) {
	for _, r := range s.all() {
		if r.Get("Action") == action {
			n++
		}
	}
	return n
}

// config is the configuration of a caller of this server, bounded as ever but
// with waits of a millisecond.
func (s *security) config() aws.Config {
	cfg := cloud.Bounded(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(s.URL),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "secret", ""),
	})
	bounded := cfg.Retryer
	cfg.Retryer = func() aws.Retryer { return retry.AddWithMaxBackoffDelay(bounded(), time.Millisecond) }
	return cfg
}

const namespace = `xmlns="https://sts.amazonaws.com/doc/2011-06-15/"`

func identity(account string) (int, string) {
	return http.StatusOK, fmt.Sprintf(`<GetCallerIdentityResponse %s><GetCallerIdentityResult><Arn>arn:aws:iam::%s:user/alice</Arn>`+
		`<UserId>AIDAEXAMPLEALICE00001</UserId><Account>%[2]s</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, namespace, account)
}

func assumed(expires time.Time) (int, string) {
	return http.StatusOK, fmt.Sprintf(`<AssumeRoleResponse %s><AssumeRoleResult><Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>`+
		`<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken><Expiration>%s</Expiration></Credentials>`+
		`</AssumeRoleResult></AssumeRoleResponse>`, namespace, expires.UTC().Format(time.RFC3339))
}

func refused(status int, code string) (int, string) {
	return status, fmt.Sprintf(`<ErrorResponse %s><Error><Type>Sender</Type><Code>%s</Code><Message>as the test wants it</Message></Error>`+
		`<RequestId>example</RequestId></ErrorResponse>`, namespace, code)
}

package cloud_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

// The hashes of two commands.
const (
	undo    = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	approve = "fcde2b2edba56bf408601fb721fe9b5c338d25abc8b6f4a8b4b6a6e4f4f1a0b0"
)

const getCallerIdentity = "Action=GetCallerIdentity&Version=2011-06-15"

// signature is the Authorization of the one request that a proof may be.
func signature(t *testing.T, c aws.Credentials, url, region, command string, date time.Time) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(getCallerIdentity))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Snapback-Command", command)
	hash := sha256.Sum256([]byte(getCallerIdentity))
	if err := v4.NewSigner().SignHTTP(t.Context(), c, r, hex.EncodeToString(hash[:]), "sts", region, date); err != nil {
		t.Fatal(err)
	}
	return r.Header.Get("Authorization")
}

var (
	user = aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret"}
	role = aws.Credentials{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: "other", SessionToken: "token+/="}
)

func as(c aws.Credentials) aws.CredentialsProvider {
	return credentials.StaticCredentialsProvider{Value: c}
}

func TestProofIsTheSignatureOfARequestToTheRegionsSTS(t *testing.T) {
	for region, url := range map[string]string{
		"us-east-1": "https://sts.us-east-1.amazonaws.com/", "eu-west-1": "https://sts.eu-west-1.amazonaws.com/",
		"cn-north-1": "https://sts.cn-north-1.amazonaws.com.cn/", "us-gov-west-1": "https://sts.us-gov-west-1.amazonaws.com/",
	} {
		for _, c := range []aws.Credentials{user, role} {
			proof, err := cloud.Prove(t.Context(), cloud.Bounded(aws.Config{Region: region, Credentials: as(c)}), undo)
			if err != nil {
				t.Fatal(err)
			}
			date, err := time.Parse("20060102T150405Z", proof.Date)
			if err != nil || time.Since(date).Abs() > time.Minute {
				t.Errorf("the date is %s (%v), want now", proof.Date, err)
			}
			want := cloud.Proof{Authorization: signature(t, c, url, region, undo, date), Date: proof.Date, SecurityToken: c.SessionToken}
			if diff := cmp.Diff(want, proof); diff != "" {
				t.Errorf("%s: proofs differ (-want +got):\n%s", region, diff)
			}
			if other := signature(t, c, url, region, approve, date); other == proof.Authorization {
				t.Error("another command has the same signature")
			}
		}
	}
}

// strictSTS checks signatures, which moto's STS does not: it stands in for that
// part alone. That callers are told apart for real is shown on moto, by the
// tests of internal/local. It signs what it was sent anew, and compares. It refuses a
// header of AWS's that is not signed, as AWS does.
type strictSTS struct {
	*httptest.Server
	asked atomic.Int32
}

func startStrictSTS(t *testing.T) *strictSTS {
	t.Helper()
	s := &strictSTS{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		status, body := s.answer(t, r)
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client sees what is missing
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *strictSTS) answer(t *testing.T, r *http.Request) (int, string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	got := r.Header.Get("Authorization")
	_, signed, _ := strings.Cut(got, "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	again, err := http.NewRequestWithContext(r.Context(), r.Method, s.URL+r.RequestURI, strings.NewReader(string(body)))
	if err != nil {
		t.Error(err)
		return refused(http.StatusBadRequest, "IncompleteSignature")
	}
	again.Host, again.ContentLength = r.Host, r.ContentLength
	for name, values := range r.Header {
		switch isSigned := strings.Contains(";"+signed+";", ";"+strings.ToLower(name)+";"); {
		case isSigned:
			again.Header[name] = values
		case strings.HasPrefix(name, "X-Amz-"), name == "Content-Type":
			return refused(http.StatusForbidden, "AccessDenied")
		}
	}
	signer := user
	if strings.Contains(got, role.AccessKeyID) {
		signer = role
		signer.SessionToken = r.Header.Get("X-Amz-Security-Token")
	}
	date, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return refused(http.StatusBadRequest, "IncompleteSignature")
	}
	hash := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(r.Context(), signer, again, hex.EncodeToString(hash[:]), "sts", "us-east-1", date); err != nil {
		t.Error(err)
	}
	switch {
	case string(body) != getCallerIdentity:
		return refused(http.StatusBadRequest, "InvalidAction")
	case again.Header.Get("Authorization") != got:
		return refused(http.StatusForbidden, "SignatureDoesNotMatch")
	case signer.SessionToken != "" && signer.SessionToken != role.SessionToken:
		return refused(http.StatusForbidden, "InvalidClientTokenId")
	}
	return identity("222222222222")
}

// config is that of a caller of this server.
func (s *strictSTS) config(c aws.Credentials) aws.Config {
	return cloud.Bounded(aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(s.URL), Credentials: as(c)})
}

func TestProofIsGoodForItsOwnCommandAlone(t *testing.T) {
	s := startStrictSTS(t)
	for _, c := range []aws.Credentials{user, role} {
		proof, err := cloud.Prove(t.Context(), s.config(c), undo)
		if err != nil {
			t.Fatal(err)
		}
		got, err := cloud.Identify(t.Context(), s.config(aws.Credentials{}), proof, undo)
		if want := (cloud.Caller{ARN: "arn:aws:iam::222222222222:user/alice", Account: "222222222222", UserID: "AIDAEXAMPLEALICE00001"}); err != nil || got != want {
			t.Errorf("got caller %+v, error %v, want %+v", got, err, want)
		}
		ctx, recorder := cloud.Record(t.Context())
		_, err = cloud.Identify(ctx, s.config(user), proof, approve)
		if !errors.Is(err, cloud.ErrProof) || !cloud.Permanent(err) || !strings.Contains(cloud.Reason(err), "STS GetCallerIdentity: SignatureDoesNotMatch") {
			t.Errorf("got %v for another command, want a permanent ErrProof", err)
		}
		if calls := recorder.Calls(); len(calls) != 1 || calls[0].Attempts != 1 {
			t.Errorf("a refused proof was tried again: %+v", calls)
		}
	}
}

func TestProofThatWasChangedIsRefusedBySTS(t *testing.T) {
	s := startStrictSTS(t)
	for name, change := range map[string]func(*cloud.Proof){
		"another signature": func(p *cloud.Proof) {
			p.Authorization = p.Authorization[:len(p.Authorization)-64] + strings.Repeat("0", 64)
		},
		"another signer": func(p *cloud.Proof) {
			p.Authorization = strings.Replace(p.Authorization, role.AccessKeyID, user.AccessKeyID, 1)
		},
		"another token": func(p *cloud.Proof) { p.SecurityToken = "other" },
		"another time": func(p *cloud.Proof) {
			date, err := time.Parse("20060102T150405Z", p.Date)
			if err != nil {
				t.Fatal(err)
			}
			day := p.Date[:8]
			p.Date = date.Add(-time.Minute).Format("20060102T150405Z")
			p.Authorization = strings.Replace(p.Authorization, day, p.Date[:8], 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			proof, err := cloud.Prove(t.Context(), s.config(role), undo)
			if err != nil {
				t.Fatal(err)
			}
			change(&proof)
			before := s.asked.Load()
			if _, err := cloud.Identify(t.Context(), s.config(user), proof, undo); !errors.Is(err, cloud.ErrProof) || !cloud.Permanent(err) {
				t.Errorf("got %v, want a permanent ErrProof", err)
			}
			if s.asked.Load() != before+1 {
				t.Error("STS was not asked")
			}
		})
	}
}

func TestProofThatCanNotBeGoodNeverReachesSTS(t *testing.T) {
	s := startStrictSTS(t)
	replace := func(old, with string) func(*cloud.Proof) {
		return func(p *cloud.Proof) {
			if !strings.Contains(p.Authorization, old) {
				t.Fatalf("%s lacks %s", p.Authorization, old)
			}
			p.Authorization = strings.Replace(p.Authorization, old, with, 1)
		}
	}
	aged := func(age time.Duration) func(*cloud.Proof) {
		return func(p *cloud.Proof) {
			date := time.Now().Add(-age)
			p.Date = date.UTC().Format("20060102T150405Z")
			p.Authorization = signature(t, role, s.URL+"/", "us-east-1", undo, date)
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*cloud.Proof)
		want   string
	}{
		{"nothing", func(p *cloud.Proof) { *p = cloud.Proof{} }, "must be one of AWS4-HMAC-SHA256"},
		{"no authorization", func(p *cloud.Proof) { p.Authorization = "" }, "must be one of AWS4-HMAC-SHA256"},
		{"another algorithm", replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "must be one of AWS4-HMAC-SHA256"},
		{"no signature", replace(", Signature=", ", Other="), "must be one of AWS4-HMAC-SHA256"},
		{"a line more", func(p *cloud.Proof) { p.Authorization += "\r\nX-Amz-Target: other" }, "must be one of AWS4-HMAC-SHA256"},
		{"a line end more", func(p *cloud.Proof) { p.Authorization += "\n" }, "must be one of AWS4-HMAC-SHA256"},
		{"a line within", replace(", SignedHeaders", ",\r\n SignedHeaders"), "must be one of AWS4-HMAC-SHA256"},
		{"an endless key", replace("ASIA", strings.Repeat("A", 1<<20)), "must be one of AWS4-HMAC-SHA256"},
		{"another service", replace("/sts/", "/iam/"), "it is signed for us-east-1/iam: sign it for us-east-1/sts"},
		{"another Region", replace("us-east-1", "eu-west-1"), "it is signed for eu-west-1/sts: sign it for us-east-1/sts"},
		{"an unsigned host", replace("host;", ""), "are signed: sign content-length;content-type;host;x-amz-date;x-amz-security-token;x-snapback-command"},
		{"an unsigned date", replace("x-amz-date;", ""), "are signed: sign "},
		{"an unsigned token", replace("x-amz-security-token;", ""), "are signed: sign "},
		{"an unsigned command", replace(";x-snapback-command", ""), "are signed: sign "},
		{"another signed header", replace("host;", "host;x-amz-copy-source;"), "are signed: sign "},
		{"a token that is not sent", func(p *cloud.Proof) { p.SecurityToken = "" }, "are signed: sign "},
		{"a line in the token", func(p *cloud.Proof) { p.SecurityToken += "\r\nX-Amz-Target: other" }, "security token must be of at most 8192 visible ASCII characters"},
		{"an endless token", func(p *cloud.Proof) { p.SecurityToken = strings.Repeat("x", 8193) }, "security token must be of at most 8192"},
		{"no date", func(p *cloud.Proof) { p.Date = "" }, `its date "" must be of the form 20060102T150405Z`},
		{"a date for people", func(p *cloud.Proof) { p.Date = "2026-11-22T01:30:00Z" }, "must be of the form 20060102T150405Z"},
		{"a line in the date", func(p *cloud.Proof) { p.Date += "\r\n" }, "must be of the form 20060102T150405Z"},
		{"an exact date", func(p *cloud.Proof) { p.Date = strings.Replace(p.Date, "Z", ".000Z", 1) }, "must be of the form 20060102T150405Z"},
		{"a day that is not signed", func(p *cloud.Proof) { p.Date = "20200101T000000Z" }, "of its signature"},
		{"too old", aged(5*time.Minute + 5*time.Second), "set the clock of the machine that signed it, or give the command again; 5m0s is the most"},
		{"too new", aged(-5*time.Minute - 5*time.Second), "set the clock of the machine that signed it, or give the command again; 5m0s is the most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proof, err := cloud.Prove(t.Context(), s.config(role), undo)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&proof)
			_, err = cloud.Identify(t.Context(), s.config(user), proof, undo)
			if !errors.Is(err, cloud.ErrProof) || !cloud.Permanent(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %.500v\nwant a permanent ErrProof that says: %s", err, tt.want)
			}
			if err != nil && len(err.Error()) > 800 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
	if n := s.asked.Load(); n != 0 {
		t.Errorf("STS was asked %d times", n)
	}
}

func TestProofOfAlmostFiveMinutesIsGood(t *testing.T) {
	s := startStrictSTS(t)
	for _, age := range []time.Duration{4*time.Minute + 30*time.Second, -4*time.Minute - 30*time.Second} {
		date := time.Now().Add(-age)
		proof := cloud.Proof{
			Authorization: signature(t, user, s.URL+"/", "us-east-1", undo, date), Date: date.UTC().Format("20060102T150405Z"),
		}
		if _, err := cloud.Identify(t.Context(), s.config(user), proof, undo); err != nil {
			t.Errorf("a proof of age %s: %v", age, err)
		}
	}
}

func TestCommandThatNoHeaderHoldsIsRefusedByBothSides(t *testing.T) {
	s := startStrictSTS(t)
	proof, err := cloud.Prove(t.Context(), s.config(user), undo)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"", "a b", "a\r\nb", "a\n", "é", strings.Repeat("a", 129)} {
		if _, err := cloud.Prove(t.Context(), s.config(user), command); !errors.Is(err, cloud.ErrProof) {
			t.Errorf("command %q: Prove returned %v, want ErrProof", command, err)
		}
		if _, err := cloud.Identify(t.Context(), s.config(user), proof, command); !errors.Is(err, cloud.ErrProof) {
			t.Errorf("command %q: Identify returned %v, want ErrProof", command, err)
		}
	}
	if n := s.asked.Load(); n != 0 {
		t.Errorf("STS was asked %d times", n)
	}
}

func TestOnlySTSsRefusalIsThatOfTheProof(t *testing.T) {
	for _, tt := range []struct {
		status  int
		code    string
		refused bool
		tries   int
	}{
		{http.StatusForbidden, "SignatureDoesNotMatch", true, 1},
		{http.StatusForbidden, "InvalidClientTokenId", true, 1},
		{http.StatusForbidden, "AccessDenied", true, 1},
		{http.StatusForbidden, "ExpiredToken", true, 1},
		{http.StatusBadRequest, "ExpiredToken", true, 1},
		{http.StatusBadRequest, "IncompleteSignature", true, 1},
		{http.StatusBadRequest, "Throttling", false, 4},
		{http.StatusInternalServerError, "InternalFailure", false, 4},
		{http.StatusServiceUnavailable, "ServiceUnavailable", false, 4},
	} {
		t.Run(fmt.Sprint(tt.status, tt.code), func(t *testing.T) {
			server := startSTS(t, func(int, request) (int, string) { return refused(tt.status, tt.code) })
			proof, err := cloud.Prove(t.Context(), server.config(), undo)
			if err != nil {
				t.Fatal(err)
			}
			ctx, recorder := cloud.Record(t.Context())
			_, err = cloud.Identify(ctx, server.config(), proof, undo)
			if errors.Is(err, cloud.ErrProof) != tt.refused || cloud.Permanent(err) != tt.refused {
				t.Errorf("refused is not %t: %v", tt.refused, err)
			}
			if reason := cloud.Reason(err); !strings.Contains(reason, "STS GetCallerIdentity: "+tt.code+": as the test wants it") {
				t.Errorf("the reason lacks STS's own: %s", reason)
			}
			if calls := recorder.Calls(); len(calls) != 1 || calls[0].Attempts != tt.tries || calls[0].Outcome != tt.code {
				t.Errorf("recorded %+v, want one call of %d attempts", calls, tt.tries)
			}
		})
	}
}

// A clock that differs from the server's makes the SDK sign anew and try
// again; a proof can't be signed anew.
func TestRefusalIsNotTriedAgainWithAnotherClock(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		status, body := refused(http.StatusForbidden, "SignatureDoesNotMatch")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	cfg := cloud.Bounded(aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(server.URL), Credentials: as(user)})
	proof, err := cloud.Prove(t.Context(), cfg, undo)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.Identify(t.Context(), cfg, proof, undo); !errors.Is(err, cloud.ErrProof) || !cloud.Permanent(err) {
		t.Errorf("got %v, want a permanent ErrProof", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("STS was asked %d times, want once", n)
	}
}

func TestSTSThatIsNotReachedOrNamesNoOneIsWorthRetrying(t *testing.T) {
	closed := startSTS(t, nil)
	proof, err := cloud.Prove(t.Context(), closed.config(), undo)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	empty := startSTS(t, func(int, request) (int, string) {
		return http.StatusOK, `<GetCallerIdentityResponse ` + namespace + `><GetCallerIdentityResult/></GetCallerIdentityResponse>`
	})
	for name, cfg := range map[string]aws.Config{"closed": closed.config(), "no one": empty.config()} {
		if c, err := cloud.Identify(t.Context(), cfg, proof, undo); err == nil || errors.Is(err, cloud.ErrProof) || cloud.Permanent(err) {
			t.Errorf("%s: got caller %+v and error %v, want one worth retrying", name, c, err)
		}
	}
}

func TestProofNeedsCredentials(t *testing.T) {
	none := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("the login has ended")
	})
	for _, tt := range []struct {
		credentials aws.CredentialsProvider
		want        string
	}{{nil, "no AWS credentials: log in, or set AWS_PROFILE"}, {none, "the login has ended"}} {
		_, err := cloud.Prove(t.Context(), cloud.Bounded(aws.Config{Region: "us-east-1", Credentials: tt.credentials}), undo)
		if err == nil || !strings.Contains(err.Error(), "prove who gives this command: "+tt.want) {
			t.Errorf("got error %v, want %s", err, tt.want)
		}
	}
}

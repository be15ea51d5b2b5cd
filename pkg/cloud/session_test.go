package cloud_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

const hour = time.Hour

// willing assumes every role, for an hour.
func willing(int, request) (int, string) { return assumed(time.Now().Add(hour)) }

func stsClient(s *cloud.Session) *sts.Client {
	return cloud.Client(s, func(cfg aws.Config) *sts.Client { return sts.NewFromConfig(cfg) })
}

func TestRoleIsAssumedOnceForAllEventsOfAnAccount(t *testing.T) {
	server := startSTS(t, willing)
	sessions := cloud.NewSessions(server.config(), "snapback-storage", "storage")
	const events = 20
	got := make([]*cloud.Session, events)
	var side sync.WaitGroup
	for i := range events {
		side.Go(func() {
			var err error
			if got[i], err = sessions.For(t.Context(), "222222222222", "eu-west-1", "event"); err != nil {
				t.Error(err)
			}
		})
	}
	side.Wait()
	for _, s := range got {
		if s != got[0] || s.Account != "222222222222" || s.Region != "eu-west-1" {
			t.Fatalf("got sessions %+v and %+v", got[0], s)
		}
	}
	elsewhere, err := sessions.For(t.Context(), "222222222222", "us-west-2", "event")
	if err != nil {
		t.Fatal(err)
	}
	if elsewhere == got[0] || elsewhere.Region != "us-west-2" {
		t.Errorf("another Region has session %+v", elsewhere)
	}
	if n := server.count("AssumeRole"); n != 1 {
		t.Errorf("the role was assumed %d times for one account, want once", n)
	}
	if _, err := sessions.For(t.Context(), "333333333333", "eu-west-1", "event"); err != nil {
		t.Fatal(err)
	}
	if n := server.count("AssumeRole"); n != 2 {
		t.Errorf("roles were assumed %d times for two accounts, want twice", n)
	}
}

func TestAssumedRoleTellsDomainAndEvent(t *testing.T) {
	for region, arn := range map[string]string{
		"us-east-1":     "arn:aws:iam::222222222222:role/snapback-storage",
		"us-gov-west-1": "arn:aws-us-gov:iam::222222222222:role/snapback-storage",
	} {
		server := startSTS(t, willing)
		hub := server.config()
		hub.Region = region
		sessions := cloud.NewSessions(hub, "snapback-storage", "storage")
		if _, err := sessions.For(t.Context(), "222222222222", region, "00001001-5e1f-4c0a-9b1d-000000001001"); err != nil {
			t.Fatal(err)
		}
		r := server.all()[0]
		for name, want := range map[string]string{
			"RoleArn": arn, "DurationSeconds": "900", "RoleSessionName": "snapback-storage-00001001-5e1f-4c0a-9b1d-000000001001",
		} {
			if got := r.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if r.Key != "AKIAIOSFODNN7EXAMPLE" {
			t.Errorf("the role was assumed with key %s, want the hub's", r.Key)
		}
	}
}

func TestSessionActsAsTheAssumedRole(t *testing.T) {
	server := startSTS(t, func(_ int, r request) (int, string) {
		if r.Get("Action") == "AssumeRole" {
			return assumed(time.Now().Add(hour))
		}
		return identity("222222222222")
	})
	session, err := cloud.NewSessions(server.config(), "snapback-storage", "storage").For(t.Context(), "222222222222", "eu-west-1", "event")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stsClient(session).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Fatal(err)
	}
	if r := server.all()[1]; r.Key != "ASIAIOSFODNN7EXAMPLE" {
		t.Errorf("the session signs with key %s, want the role's", r.Key)
	}
}

func TestClientIsBuiltOnceForASession(t *testing.T) {
	server := startSTS(t, willing)
	sessions := cloud.NewSessions(server.config(), "snapback-storage", "storage")
	one, err := sessions.For(t.Context(), "222222222222", "eu-west-1", "event")
	if err != nil {
		t.Fatal(err)
	}
	other, err := sessions.For(t.Context(), "222222222222", "us-west-2", "event")
	if err != nil {
		t.Fatal(err)
	}
	if again := stsClient(one); again != stsClient(one) {
		t.Error("a session has two clients of one type")
	}
	if stsClient(one) == stsClient(other) {
		t.Error("sessions of two Regions share a client")
	}
	if got := stsClient(other).Options().Region; got != "us-west-2" {
		t.Errorf("the client of us-west-2 is for %s", got)
	}
}

func TestCredentialsAreRenewedBeforeTheyEnd(t *testing.T) {
	server := startSTS(t, func(n int, _ request) (int, string) {
		if n == 0 {
			return assumed(time.Now().Add(50 * time.Second)) // a minute before its end a session is renewed
		}
		return assumed(time.Now().Add(hour))
	})
	sessions := cloud.NewSessions(server.config(), "snapback-storage", "storage")
	for _, event := range []string{"first", "second", "third"} {
		if _, err := sessions.For(t.Context(), "222222222222", "eu-west-1", event); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.count("AssumeRole"); n != 2 {
		t.Errorf("the role was assumed %d times, want twice: the first credentials were about to end", n)
	}
}

func TestAccountThatCanNotBeEnteredIsNamed(t *testing.T) {
	server := startSTS(t, func(n int, _ request) (int, string) {
		if n == 0 {
			return refused(http.StatusForbidden, "AccessDenied")
		}
		return assumed(time.Now().Add(hour))
	})
	sessions := cloud.NewSessions(server.config(), "snapback-storage", "storage")
	session, err := sessions.For(t.Context(), "222222222222", "eu-west-1", "event")
	var assume *cloud.AssumeError
	if !errors.As(err, &assume) || session != nil {
		t.Fatalf("got session %v and error %v, want an *AssumeError", session, err)
	}
	if assume.Account != "222222222222" || assume.Role != "arn:aws:iam::222222222222:role/snapback-storage" {
		t.Errorf("the error is about role %s of account %s", assume.Role, assume.Account)
	}
	for _, want := range []string{assume.Role, "AccessDenied", "as the test wants it", "is 222222222222 an account of this organization"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if !cloud.Is(err, "AccessDenied") || !cloud.Permanent(err) {
		t.Errorf("the refusal of STS is not told: %v", err)
	}
	if _, err := sessions.For(t.Context(), "222222222222", "eu-west-1", "event"); err != nil {
		t.Errorf("a refusal is kept after the role was mended: %v", err)
	}
}

func TestOwnCredentialsEnterTheirOwnAccountAlone(t *testing.T) {
	server := startSTS(t, func(int, request) (int, string) { return identity("222222222222") })
	sessions := cloud.NewSessions(server.config(), "", "storage")
	session, err := sessions.For(t.Context(), "222222222222", "eu-west-1", "event")
	if err != nil {
		t.Fatal(err)
	}
	other, err := sessions.For(t.Context(), "333333333333", "eu-west-1", "event")
	var assume *cloud.AssumeError
	if !errors.As(err, &assume) || other != nil || assume.Account != "333333333333" || assume.Role != "" || !cloud.Permanent(err) {
		t.Fatalf("got session %v and error %v, want a permanent *AssumeError", other, err)
	}
	if !strings.Contains(err.Error(), "own credentials are of account 222222222222") {
		t.Errorf("the error does not say whose credentials these are: %v", err)
	}
	if _, err := stsClient(session).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Fatal(err)
	}
	requests := server.all()
	if n := server.count("GetCallerIdentity"); n != 2 || n != len(requests) {
		t.Errorf("%d requests arrived, %d of them GetCallerIdentity: want the sessions' one and the test's one", len(requests), n)
	}
	if key := requests[1].Key; key != "AKIAIOSFODNN7EXAMPLE" {
		t.Errorf("the session signs with key %s, want the caller's own", key)
	}
}

func TestWhoseCredentialsTheseAreIsAskedAgainAfterAFault(t *testing.T) {
	server := startSTS(t, func(n int, _ request) (int, string) {
		if n < 4 { // all attempts of one call
			return refused(http.StatusServiceUnavailable, "ServiceUnavailable")
		}
		return identity("222222222222")
	})
	sessions := cloud.NewSessions(server.config(), "", "storage")
	if _, err := sessions.For(t.Context(), "222222222222", "eu-west-1", "event"); err == nil || cloud.Permanent(err) {
		t.Errorf("want an error worth retrying, got %v", err)
	}
	if _, err := sessions.For(t.Context(), "222222222222", "eu-west-1", "event"); err != nil {
		t.Errorf("the fault is kept: %v", err)
	}
}

func TestSessionNameIsOneThatSTSTakes(t *testing.T) {
	for name, want := range map[string]string{
		"snapback-storage-00001001-5e1f-4c0a-9b1d-000000001001": "snapback-storage-00001001-5e1f-4c0a-9b1d-000000001001",
		"snapback-storage-a b/c:d\n\u202e€":                     "snapback-storage-a-b-c-d---",
		"snapback-storage-_+=,.@-":                              "snapback-storage-_+=,.@-",
		"snapback-storage-":                                     "snapback-storage-",
		strings.Repeat("x", 65):                                 strings.Repeat("x", 64),
		strings.Repeat("é", 65):                                 strings.Repeat("-", 64),
	} {
		if got := cloud.SessionName(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

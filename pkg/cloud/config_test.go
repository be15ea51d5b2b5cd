package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

func TestPartitionOfEveryKindOfRegion(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1": "aws", "eu-west-1": "aws", "me-central-1": "aws", "mx-central-1": "aws", "": "aws",
		"cn-north-1": "aws-cn", "cn-northwest-1": "aws-cn",
		"us-gov-west-1": "aws-us-gov", "us-gov-east-1": "aws-us-gov",
		"us-iso-east-1": "aws-iso", "us-iso-west-1": "aws-iso",
		"us-isob-east-1": "aws-iso-b", "us-isob-west-1": "aws-iso-b",
		"eu-isoe-west-1":  "aws-iso-e",
		"us-isof-south-1": "aws-iso-f", "us-isof-east-1": "aws-iso-f",
		"eusc-de-east-1": "aws-eusc",
	} {
		if got := cloud.Partition(region); got != want {
			t.Errorf("Region %q is in partition %s, want %s", region, got, want)
		}
	}
}

// clean makes the environment one without any AWS settings.
func clean(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestConfigurationWithoutARegionIsRefused(t *testing.T) {
	clean(t)
	if _, err := cloud.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("want an error that names AWS_REGION, got %v", err)
	}
	t.Setenv("AWS_REGION", "eu-west-1")
	if cfg, err := cloud.Load(t.Context()); err != nil || cfg.Region != "eu-west-1" {
		t.Errorf("got Region %q, error %v", cfg.Region, err)
	}
}

func TestConfigurationThatCanNotBeReadIsAnError(t *testing.T) {
	clean(t)
	t.Setenv("AWS_PROFILE", "absent")
	if _, err := cloud.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "load AWS configuration: ") {
		t.Errorf("want an error that says what was attempted, got %v", err)
	}
}

func TestPrefixedLoopbackReachesTheServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.Host)
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	host := "222222222222.127.0.0.1:" + u.Port()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := cloud.Bounded(aws.Config{}).HTTPClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body := make([]byte, len(host)+1)
	if n, _ := response.Body.Read(body); string(body[:n]) != host { // the end may come with the text
		t.Errorf("the server was asked for host %q, want %q", body[:n], host)
	}
}

func TestOnlyPrefixedLoopbackAddressesAreRewritten(t *testing.T) {
	for address, want := range map[string]string{
		"222222222222.127.0.0.1:5000":                         "127.0.0.1:5000",
		"example.127.1.2.3:80":                                "127.1.2.3:80",
		"127.0.0.1:5000":                                      "127.0.0.1:5000",
		"[::1]:5000":                                          "[::1]:5000",
		"localhost:5000":                                      "localhost:5000",
		"222222222222.localhost:5000":                         "222222222222.localhost:5000",
		"222222222222.10.0.0.1:5000":                          "222222222222.10.0.0.1:5000",
		"sts.us-east-1.amazonaws.com:443":                     "sts.us-east-1.amazonaws.com:443",
		"222222222222.s3-control.eu-west-1.amazonaws.com:443": "222222222222.s3-control.eu-west-1.amazonaws.com:443",
		"127.0.0.1.example.com:443":                           "127.0.0.1.example.com:443",
		"x.127.0.0.1":                                         "x.127.0.0.1",
	} {
		stop := errors.New("no connection is made")
		var network, got string
		_, err := cloud.DialLoopback(func(_ context.Context, n, a string) (net.Conn, error) {
			network, got = n, a
			return nil, stop
		})(t.Context(), "tcp", address)
		if got != want || network != "tcp" || !errors.Is(err, stop) {
			t.Errorf("%s: dialled %s %s with error %v, want tcp %s", address, network, got, err, want)
		}
	}
}

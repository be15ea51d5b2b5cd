package local

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

// AWS is moto's server: an emulated AWS with any number of accounts, each of
// which exists as soon as it is entered. moto/server.py adds the permissions
// boundary of IAM users, which moto lacks.
type AWS struct {
	process  *process
	endpoint string
	root     aws.Config

	mu      sync.Mutex
	entered map[string]*aws.CredentialsCache // by account
}

// moto prints its address once it listens; it picks the port itself.
var motoAddress = regexp.MustCompile(`Running on (http://127\.0\.0\.1:\d+)`)

// StartAWS starts an empty AWS. It ends on Close or with ctx.
func StartAWS(ctx context.Context) (*AWS, error) {
	python, err := tool("tools", "venv", "bin", "python")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(python, filepath.Join(Root(), "internal", "local", "moto", "server.py"), "-H", "127.0.0.1", "-p", "0")
	// Without the last one, each account begins with a thousand public images and
	// their snapshots, which takes moto seconds.
	cmd.Env = environment("AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "PYTHONUNBUFFERED=1", "MOTO_EC2_LOAD_DEFAULT_AMIS=false")
	p, err := start(ctx, "moto", cmd)
	if err != nil {
		return nil, err
	}
	a := &AWS{process: p, entered: map[string]*aws.CredentialsCache{}}
	err = p.await(ctx, func(context.Context) error {
		found := motoAddress.FindSubmatch(p.printed(0))
		if found == nil {
			return errors.New("its address is not printed yet")
		}
		a.endpoint = string(found[1])
		return nil
	})
	if err != nil {
		p.close()
		return nil, err
	}
	a.root = cloud.Bounded(aws.Config{
		Region:       Region,
		BaseEndpoint: aws.String(a.endpoint),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	// On a busy machine an answer may take longer than a function waits for one: what
	// was made or received by then would be made, or asked for, again.
	a.root.HTTPClient = cloud.Patient(time.Minute)
	return a, nil
}

// Endpoint is the URL that answers for every service: http://127.0.0.1:PORT.
func (a *AWS) Endpoint() string { return a.endpoint }

// Close ends the server; all state is gone.
func (a *AWS) Close() { a.process.close() }

// Logs are what the server has printed: one line a request, and stack traces
// of its own faults.
func (a *AWS) Logs() string { return string(a.process.printed(0)) }

// Reset empties all accounts. Configurations from Config stay good; the
// credentials in an environment from Env no longer name their account.
func (a *AWS) Reset(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.endpoint+"/moto-api/reset", nil)
	if err != nil {
		return fmt.Errorf("reset moto: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("reset moto: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reset moto: it answered %s", resp.Status)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.entered {
		c.Invalidate()
	}
	return nil
}

// Config is a configuration of the SDK that acts in an account, with the
// bounds and the recording that package cloud gives to Snapback's own.
func (a *AWS) Config(account string) aws.Config {
	cfg := a.root.Copy()
	cfg.Credentials = a.credentials(account)
	return cfg
}

// credentials act in an account: moto takes the account of a session from the
// ARN of the role that it assumed, and does not ask whether the role exists.
func (a *AWS) credentials(account string) *aws.CredentialsCache {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.entered[account] == nil {
		role := "arn:aws:iam::" + account + ":role/local"
		a.entered[account] = aws.NewCredentialsCache(
			stscreds.NewAssumeRoleProvider(sts.NewFromConfig(a.root), role, func(o *stscreds.AssumeRoleOptions) {
				o.RoleSessionName = "local"
			}))
	}
	return a.entered[account]
}

// Env are the variables with which a program of its own (a function, the
// command line) acts in an account.
func (a *AWS) Env(ctx context.Context, account string) ([]string, error) {
	c, err := a.credentials(account).Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("enter account %s: %w", account, err)
	}
	return []string{
		"AWS_ENDPOINT_URL=" + a.endpoint,
		"AWS_REGION=" + Region,
		"AWS_ACCESS_KEY_ID=" + c.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + c.SecretAccessKey,
		"AWS_SESSION_TOKEN=" + c.SessionToken,
	}, nil
}

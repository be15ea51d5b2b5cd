package cloud

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// Session is one account, one Region and one role in it. It is safe for
// concurrent use.
type Session struct {
	Account, Region string
	config          aws.Config
	clients         sync.Map // reflect.Type of the client: client
}

// Client returns the session's client of type C, built once for the session.
func Client[C any](s *Session, build func(aws.Config) C) C {
	key := reflect.TypeFor[C]()
	if c, ok := s.clients.Load(key); ok {
		return c.(C)
	}
	c, _ := s.clients.LoadOrStore(key, build(s.config))
	return c.(C)
}

// The life of a member session. 15 minutes is the shortest that STS gives
// (AssumeRole, DurationSeconds); it is renewed a minute before it ends.
const (
	sessionDuration = 15 * time.Minute
	expiryWindow    = time.Minute
)

// Sessions opens sessions and keeps them until shortly before they end. It is
// safe for concurrent use, and shared by the batch of events that one function
// works on.
type Sessions struct {
	hub    aws.Config
	sts    *sts.Client
	role   string
	prefix string

	mu          sync.Mutex
	credentials map[string]*aws.CredentialsCache // by account
	sessions    map[string]*Session              // by account and Region
	own         string                           // the caller's account, once asked for
}

// NewSessions returns sessions that assume the role of the given name in each
// target's account, with the hub's credentials. The session's name in the
// member's CloudTrail is "snapback-<domain>-<event>". With an empty role the
// caller's own credentials are used as they are, for targets in the caller's
// own account alone.
func NewSessions(hub aws.Config, role, domain string) *Sessions {
	return &Sessions{
		hub:         hub,
		sts:         sts.NewFromConfig(hub),
		role:        role,
		prefix:      "snapback-" + domain + "-",
		credentials: map[string]*aws.CredentialsCache{},
		sessions:    map[string]*Session{},
	}
}

// For returns the session in an account and Region. The event ID becomes part
// of the session's name if the role must be assumed for this event; a session
// that is shared keeps the name of the event that opened it. An *AssumeError
// says that the account can't be entered.
func (s *Sessions) For(ctx context.Context, account, region, event string) (*Session, error) {
	session, credentials, err := s.session(ctx, account, region, event)
	if err != nil {
		return nil, err
	}
	if credentials == nil {
		return session, nil
	}
	if _, err := credentials.Retrieve(ctx); err != nil {
		return nil, &AssumeError{Account: account, Role: s.roleARN(account), Err: err}
	}
	return session, nil
}

func (s *Sessions) session(ctx context.Context, account, region, event string) (*Session, *aws.CredentialsCache, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.role == "" {
		if err := s.checkOwn(ctx, account); err != nil {
			return nil, nil, err
		}
	} else if s.credentials[account] == nil {
		s.credentials[account] = aws.NewCredentialsCache(
			stscreds.NewAssumeRoleProvider(s.sts, s.roleARN(account), func(o *stscreds.AssumeRoleOptions) {
				o.RoleSessionName = sessionName(s.prefix + event)
				o.Duration = sessionDuration
			}),
			func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = expiryWindow })
	}
	key := account + "/" + region
	if s.sessions[key] == nil {
		cfg := s.hub.Copy()
		cfg.Region = region
		if c := s.credentials[account]; c != nil {
			cfg.Credentials = c
		}
		s.sessions[key] = &Session{Account: account, Region: region, config: cfg}
	}
	return s.sessions[key], s.credentials[account], nil
}

func (s *Sessions) checkOwn(ctx context.Context, account string) error {
	if s.own == "" {
		out, err := s.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return fmt.Errorf("ask whose credentials these are: %w", err)
		}
		s.own = aws.ToString(out.Account)
	}
	if s.own != account {
		return &AssumeError{Account: account, Err: fmt.Errorf("the caller's own credentials are of account %s", s.own)}
	}
	return nil
}

func (s *Sessions) roleARN(account string) string {
	return "arn:" + Partition(s.hub.Region) + ":iam::" + account + ":role/" + s.role
}

// sessionName keeps what STS allows in a RoleSessionName: 2 to 64 characters
// of [\w+=,.@-]. Source: STS API reference, AssumeRole.
func sessionName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("_+=,.@-", r):
			return r
		}
		return '-'
	}, name)
	return name[:min(len(name), 64)]
}

// AssumeError says that an account could not be entered: its role is missing,
// does not trust the caller, or the account is not one of the organization's.
type AssumeError struct {
	Account string
	Role    string // ARN; empty where the caller's own credentials were to be used
	Err     error
}

// Error names the account, the role and the way to mend it.
func (e *AssumeError) Error() string {
	if e.Role == "" {
		return fmt.Sprintf("enter account %s: %v: use credentials of that account, or name a role to assume in it", e.Account, e.Err)
	}
	why := e.Err.Error()
	var operation *smithy.OperationError
	if errors.As(e.Err, &operation) {
		why = answer(operation)
	}
	return fmt.Sprintf("assume %s: %s: is %s an account of this organization, with Snapback's member stack deployed?",
		e.Role, why, e.Account)
}

// Unwrap returns the error of STS.
func (e *AssumeError) Unwrap() error { return e.Err }

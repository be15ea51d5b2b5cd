package cloud

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Proof is a signed request to STS that proves who signed it, for one command
// alone: the values of the headers of a GetCallerIdentity that was signed and
// not sent. Whoever is shown it sends the request and hears from STS who signed
// it; no secret is in it, and it is good for nothing else. HashiCorp Vault and
// aws-iam-authenticator tell callers in the same way.
//
// It may be shown again for the same command until its date is too old, so a
// command must be one that may be given twice.
type Proof struct {
	Authorization string `json:"authorization"`
	Date          string `json:"date"`                    // X-Amz-Date: 20261122T013000Z
	SecurityToken string `json:"securityToken,omitempty"` // X-Amz-Security-Token
}

// Caller is who signed a proof, as STS says.
type Caller struct {
	ARN     string `json:"arn"`
	Account string `json:"account"`
	UserID  string `json:"userId"`
}

// ErrProof is wrapped by every refusal of a proof, with a sentence that says
// why. It is Permanent: the same proof will be refused again.
var ErrProof error = refusedProof{}

// refusedProof has an API error's methods so that Permanent goes by them, and
// not by those of STS's answer, whose expired credentials are the signer's.
type refusedProof struct{}

func (refusedProof) Error() string                 { return "the proof of who gives this command is refused" }
func (refusedProof) ErrorCode() string             { return "InvalidProof" }
func (e refusedProof) ErrorMessage() string        { return e.Error() }
func (refusedProof) ErrorFault() smithy.ErrorFault { return smithy.FaultClient }

const (
	commandHeader = "X-Snapback-Command"
	tokenHeader   = "X-Amz-Security-Token"
	dateHeader    = "X-Amz-Date"
	dateFormat    = "20060102T150405Z"

	// maxProofAge is how far a proof's date may be from now, either way. AWS
	// itself takes a signed request for five minutes (IAM user guide, "Signing
	// AWS API requests").
	maxProofAge = 5 * time.Minute
	// maxToken is far longer than any session token of today, of some 2 KB; AWS
	// states no limit.
	maxToken = 8 << 10
)

var (
	commandForm = regexp.MustCompile(`^[!-~]{1,128}$`)
	tokenForm   = regexp.MustCompile(`^[!-~]*$`)
	// The access key, the date, the Region and service, the signed headers. The
	// length of a key is at most 128 (IAM API reference, AccessKey).
	authorizationForm = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=\w{1,128}/(\d{8})/([a-z0-9-]{1,64}/[a-z0-9-]{1,64})/aws4_request, ` +
		`SignedHeaders=([a-z0-9;-]{1,256}), Signature=[0-9a-f]{64}$`)
)

// Prove signs a proof with the credentials of cfg that its owner gives the
// command: its hash, or another text of at most 128 visible ASCII characters.
// The Region of cfg must be that of the one who is to Identify the caller, and
// so must the endpoint of STS, if any is set. STS is not called.
func Prove(ctx context.Context, cfg aws.Config, command string) (Proof, error) {
	if err := checkCommand(command); err != nil {
		return Proof{}, err
	}
	if cfg.Credentials == nil {
		return Proof{}, fmt.Errorf("prove who gives this command: no AWS credentials: log in, or set AWS_PROFILE")
	}
	credentials, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return Proof{}, fmt.Errorf("prove who gives this command: %w", err)
	}
	var signed http.Header
	sign := func(ctx context.Context, in middleware.FinalizeInput, _ middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		r := in.Request.(*smithyhttp.Request).Build(ctx)
		r.Header = http.Header{"Content-Type": r.Header["Content-Type"], commandHeader: {command}}
		signed = r.Header
		// The result is that of a call that was never made.
		return middleware.FinalizeOutput{Result: &sts.GetCallerIdentityOutput{}}, middleware.Metadata{},
			v4.NewSigner().SignHTTP(ctx, credentials, r, v4.GetPayloadHash(ctx), "sts", cfg.Region, time.Now())
	}
	cfg.APIOptions = nil // nothing is called: a Recorder must not say so
	if _, err := getCallerIdentity(ctx, cfg, sign); err != nil {
		return Proof{}, fmt.Errorf("prove who gives this command: %w", err)
	}
	return Proof{
		Authorization: signed.Get("Authorization"), Date: signed.Get(dateHeader), SecurityToken: signed.Get(tokenHeader),
	}, nil
}

// Identify asks STS, at the endpoint of cfg, who signed the proof for this
// command. An error that wraps ErrProof says that the proof proves nothing; any
// other, that STS could not be asked.
func Identify(ctx context.Context, cfg aws.Config, p Proof, command string) (Caller, error) {
	if err := checkCommand(command); err != nil {
		return Caller{}, err
	}
	if err := p.check(cfg.Region, time.Now()); err != nil {
		return Caller{}, err
	}
	send := func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		r := in.Request.(*smithyhttp.Request)
		// What was signed, and the user agent, which never is.
		r.Header = http.Header{
			"Content-Type": r.Header["Content-Type"], "User-Agent": r.Header["User-Agent"],
			"Authorization": {p.Authorization}, dateHeader: {p.Date}, commandHeader: {command},
		}
		if p.SecurityToken != "" {
			r.Header.Set(tokenHeader, p.SecurityToken)
		}
		return next.HandleFinalize(ctx, in)
	}
	out, err := getCallerIdentity(ctx, cfg, send)
	if Permanent(err) || Is(err, "ExpiredToken", "ExpiredTokenException", "RequestExpired") {
		return Caller{}, fmt.Errorf("%w by STS: %w: sign it for this very command, with credentials that are still good, and send it at once", ErrProof, err)
	}
	if err != nil {
		return Caller{}, fmt.Errorf("ask STS who gives this command: %w", err)
	}
	c := Caller{ARN: aws.ToString(out.Arn), Account: aws.ToString(out.Account), UserID: aws.ToString(out.UserId)}
	if c.ARN == "" || c.Account == "" {
		return Caller{}, fmt.Errorf("ask STS who gives this command: the answer names no one")
	}
	return c, nil
}

// getCallerIdentity makes the call with a step of ours in place of the SDK's
// signing. All else is the SDK's: the request, its endpoint, retries, errors.
func getCallerIdentity(ctx context.Context, cfg aws.Config, step func(context.Context, middleware.FinalizeInput, middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error)) (*sts.GetCallerIdentityOutput, error) {
	client := sts.NewFromConfig(cfg, func(o *sts.Options) {
		o.Credentials = aws.AnonymousCredentials{} // nothing is signed with them
		// Else a refusal would be retried with a corrected clock, which a
		// signature that is already made can't be.
		o.DisableClockSkewCorrection = true
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("SnapbackProof", step), "Signing", middleware.After)
		})
	})
	return client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
}

func checkCommand(command string) error {
	if !commandForm.MatchString(command) {
		return fmt.Errorf("%w: it must be for a command of 1 to 128 visible ASCII characters, its hash, not for one of %d bytes", ErrProof, len(command))
	}
	return nil
}

// check refuses what STS would refuse, and what would not reach it as it is. No
// header that STS must know of stays unsigned.
func (p Proof) check(region string, now time.Time) error {
	parts := authorizationForm.FindStringSubmatch(p.Authorization)
	if parts == nil {
		return fmt.Errorf("%w: its authorization must be one of AWS4-HMAC-SHA256, with credential, signed headers and signature, not %.40q", ErrProof, p.Authorization)
	}
	day, scope, headers := parts[1], parts[2], parts[3]
	if want := region + "/sts"; scope != want {
		return fmt.Errorf("%w: it is signed for %s: sign it for %s", ErrProof, scope, want)
	}
	want := "content-length;content-type;host;x-amz-date;x-snapback-command"
	if p.SecurityToken != "" {
		want = "content-length;content-type;host;x-amz-date;x-amz-security-token;x-snapback-command"
	}
	if headers != want {
		return fmt.Errorf("%w: the headers %.300s are signed: sign %s", ErrProof, headers, want)
	}
	if len(p.SecurityToken) > maxToken || !tokenForm.MatchString(p.SecurityToken) {
		return fmt.Errorf("%w: its security token must be of at most %d visible ASCII characters", ErrProof, maxToken)
	}
	date, err := time.Parse(dateFormat, p.Date)
	if err != nil || date.Format(dateFormat) != p.Date || p.Date[:len(day)] != day {
		return fmt.Errorf("%w: its date %.40q must be of the form %s and of the day %s of its signature", ErrProof, p.Date, dateFormat, day)
	}
	if off := now.Sub(date); off.Abs() > maxProofAge {
		return fmt.Errorf("%w: its date %s is %s from now, %s: set the clock of the machine that signed it, or give the command again; %s is the most",
			ErrProof, p.Date, off.Abs().Round(time.Second), now.UTC().Format(dateFormat), maxProofAge)
	}
	return nil
}

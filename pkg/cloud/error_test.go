package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

// answered is an API's answer as the SDK returns it from a call.
func answered(status int, code string) error {
	return response(status, &smithy.GenericAPIError{Code: code, Message: "a message"})
}

func response(status int, err error) error {
	return &smithy.OperationError{ServiceID: "S3", OperationName: "PutObject", Err: &awshttp.ResponseError{
		ResponseError: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err,
		},
		RequestID: "example",
	}}
}

// unanswered is the failure of a request as the SDK returns it from a call.
func unanswered(err error) error {
	return &smithy.OperationError{ServiceID: "S3", OperationName: "PutObject", Err: &smithyhttp.RequestSendError{
		Err: &url.Error{Op: "Put", URL: "https://example.s3.amazonaws.com/", Err: err},
	}}
}

// errBusy is like ledger.ErrBusy: an error that this package knows nothing of.
var errBusy = errors.New("another worker holds the target")

func TestOnlyWhatRetryingCanNotMendIsPermanent(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"access denied", answered(403, "AccessDenied"), true},
		{"access denied, wrapped", fmt.Errorf("put: %w", answered(403, "AccessDenied")), true},
		{"not found", answered(404, "NoSuchBucket"), true},
		{"invalid", answered(400, "ValidationException"), true},
		{"moved to another Region", answered(301, "PermanentRedirect"), true},
		{"precondition failed", answered(412, "PreconditionFailed"), true},
		{"a modeled fault of the client", &ststypes.MalformedPolicyDocumentException{}, true},
		{"a modeled fault of the client, with its response", response(400, &ststypes.PackedPolicyTooLargeException{}), true},
		{"a client's fault without a response", &smithy.GenericAPIError{Code: "Invalid", Fault: smithy.FaultClient}, true},
		{"a role that may not be assumed", &cloud.AssumeError{Account: "222222222222", Role: "arn", Err: answered(403, "AccessDenied")}, true},
		{"own credentials of another account", &cloud.AssumeError{Account: "222222222222", Err: errors.New("of account 333333333333")}, true},
		{"several at once", errors.Join(errors.New("first"), answered(403, "AccessDenied")), true},

		{"throttling", answered(400, "Throttling"), false},
		{"throttling, newer", answered(400, "ThrottlingException"), false},
		{"throttling by EC2", answered(503, "RequestLimitExceeded"), false},
		{"throttling by S3", answered(503, "SlowDown"), false},
		{"throttling by DynamoDB", answered(400, "ProvisionedThroughputExceededException"), false},
		{"throttling by status", answered(429, "Whatever"), false},
		{"internal error", answered(500, "InternalError"), false},
		{"bad gateway", answered(502, "BadGateway"), false},
		{"unavailable", answered(503, "ServiceUnavailable"), false},
		{"gateway timeout", answered(504, "GatewayTimeout"), false},
		{"another status of the server", answered(599, "Whatever"), false},
		{"request timeout", answered(400, "RequestTimeout"), false},
		{"request timeout by status", answered(408, "Whatever"), false},
		{"conflict by status", answered(409, "ResourceConflictException"), false},
		{"conflict in S3", answered(409, "OperationAborted"), false},
		{"conflict in DynamoDB", answered(400, "TransactionConflictException"), false},
		{"cancelled transaction", answered(400, "TransactionCanceledException"), false},
		{"conflict in IAM", answered(409, "ConcurrentModification"), false},
		{"conflict in Organizations", answered(400, "ConcurrentModificationException"), false},
		{"credentials ended", answered(400, "ExpiredToken"), false},
		{"credentials ended, JSON services", answered(400, "ExpiredTokenException"), false},
		{"credentials ended, EC2", answered(400, "RequestExpired"), false},
		{"a role that may not be assumed now", &cloud.AssumeError{Account: "222222222222", Role: "arn", Err: answered(400, "Throttling")}, false},
		{"STS not reached", &cloud.AssumeError{Account: "222222222222", Role: "arn", Err: unanswered(io.ErrUnexpectedEOF)}, false},
		{"a fault of nobody", &smithy.GenericAPIError{Code: "Whatever"}, false},
		{"connection refused", unanswered(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), false},
		{"connection reset", unanswered(&net.OpError{Op: "read", Err: syscall.ECONNRESET}), false},
		{"no such host", unanswered(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}), false},
		{"timeout", unanswered(os.ErrDeadlineExceeded), false},
		{"the function's time is up", &aws.RequestCanceledError{Err: context.DeadlineExceeded}, false},
		{"given up by the caller", &aws.RequestCanceledError{Err: context.Canceled}, false},
		{"cut off", unanswered(io.ErrUnexpectedEOF), false},
		{"busy", errBusy, false},
		{"nothing", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := cloud.Permanent(tt.err); got != tt.want {
				t.Errorf("permanent is %t, want %t: %v", got, tt.want, tt.err)
			}
		})
	}
}

func TestReasonIsForPeople(t *testing.T) {
	assume := &cloud.AssumeError{Account: "222222222222", Role: "arn:aws:iam::222222222222:role/snapback-storage", Err: answered(403, "AccessDenied")}
	const whole = "assume arn:aws:iam::222222222222:role/snapback-storage: S3 PutObject: AccessDenied: a message: " +
		"is 222222222222 an account of this organization, with Snapback's member stack deployed?"
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"an answer", answered(403, "AccessDenied"), "S3 PutObject: AccessDenied: a message"},
		{"an answer, wrapped", fmt.Errorf("put object x: %w", answered(403, "AccessDenied")), "put object x: S3 PutObject: AccessDenied: a message"},
		{"an answer without a message", response(404, &smithy.GenericAPIError{Code: "NotFound"}), "S3 PutObject: NotFound"},
		{"an answer without its call", &smithy.GenericAPIError{Code: "NotFound", Message: "none"}, "api error NotFound: none"},
		{"no answer", fmt.Errorf("put object x: %w", unanswered(syscall.ECONNREFUSED)),
			"put object x: S3 PutObject: no answer from https://example.s3.amazonaws.com/: connection refused"},
		{"an account that can't be entered", fmt.Errorf("open a session: %w", assume), whole},
		{
			"own credentials of another account", &cloud.AssumeError{Account: "222222222222", Err: errors.New("these are of account 333333333333")},
			"enter account 222222222222: these are of account 333333333333: use credentials of that account, or name a role to assume in it",
		},
		{"another error", fmt.Errorf("read: %w", errBusy), "read: another worker holds the target"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := cloud.Reason(tt.err); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestErrorCodesAreTold(t *testing.T) {
	err := fmt.Errorf("get: %w", answered(404, "NoSuchBucket"))
	if !cloud.Is(err, "AccessDenied", "NoSuchBucket") {
		t.Error("one of two codes is not told")
	}
	if cloud.Is(err, "NoSuch") || cloud.Is(err) || cloud.Is(errBusy, "NoSuchBucket") || cloud.Is(nil, "NoSuchBucket") {
		t.Error("a code is told that is not there")
	}
}

package cloud

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// Permanent reports whether retrying can't mend err: the service answered and
// said no (access denied, not found, invalid). Throttling, conflicts, expired
// credentials, server errors, timeouts and connections that broke are worth
// retrying, and so is anything unknown: a retry costs a little, an event that
// is given up too early costs a violation.
func Permanent(err error) bool {
	var assume *AssumeError
	if errors.As(err, &assume) && assume.Role == "" {
		return true
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	if transientCodes[api.ErrorCode()] || retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary {
		return false
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		status := response.HTTPStatusCode()
		return status >= 300 && status < 500 && !transientStatus[status]
	}
	return api.ErrorFault() == smithy.FaultClient
}

// transientCodes are answers with a client's status that a later attempt may
// not get: credentials that ended in mid-call and are renewed for the next
// one, and what services say for "someone else is changing this": S3, DynamoDB,
// IAM and AWS Organizations.
var transientCodes = map[string]bool{
	"ExpiredToken":                    true,
	"ExpiredTokenException":           true,
	"RequestExpired":                  true,
	"OperationAborted":                true,
	"TransactionConflictException":    true,
	"ConcurrentModification":          true,
	"ConcurrentModificationException": true,
	// DynamoDB cancels a transaction for throttling and conflicts too.
	"TransactionCanceledException":   true,
	"TransactionInProgressException": true,
	// EC2 takes snapshots only so fast, of all volumes and of one (EC2 API
	// reference, "Error codes").
	"ConcurrentSnapshotLimitExceeded":       true,
	"SnapshotCreationPerVolumeRateExceeded": true,
}

var transientStatus = map[int]bool{
	http.StatusRequestTimeout:  true,
	http.StatusConflict:        true,
	http.StatusTooManyRequests: true,
}

// Reason is err for people: what was attempted and, in place of the SDK's
// wrapping with its request IDs, the call and what was answered, or why nothing
// was.
func Reason(err error) string {
	var assume *AssumeError
	if errors.As(err, &assume) {
		return assume.Error()
	}
	text := err.Error()
	var operation *smithy.OperationError
	if errors.As(err, &operation) {
		text = strings.Replace(text, operation.Error(), answer(operation), 1)
	}
	return strings.ReplaceAll(text, "\n", "; ") // of joined errors
}

// answer is the outcome of a call that failed.
func answer(o *smithy.OperationError) string {
	call := o.Service() + " " + o.Operation() + ": "
	var api smithy.APIError
	var unanswered *url.Error
	switch {
	case errors.As(o, &api) && api.ErrorMessage() == "":
		return call + api.ErrorCode()
	case api != nil:
		return call + api.ErrorCode() + ": " + api.ErrorMessage()
	case errors.As(o, &unanswered):
		return call + "no answer from " + unanswered.URL + ": " + Innermost(unanswered).Error()
	}
	return call + Innermost(o).Error()
}

// Innermost is the error that all others wrap.
func Innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// Is reports whether err is an API's answer with one of the given error codes.
func Is(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, code := range codes {
		if api.ErrorCode() == code {
			return true
		}
	}
	return false
}

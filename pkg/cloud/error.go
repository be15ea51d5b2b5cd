package cloud

import (
	"errors"
	"net/http"

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
}

var transientStatus = map[int]bool{
	http.StatusRequestTimeout:  true,
	http.StatusConflict:        true,
	http.StatusTooManyRequests: true,
}

// Reason is err for people: the call and the API's code and message where one
// answered, without the request IDs and wrapping of the SDK.
func Reason(err error) string {
	var assume *AssumeError
	if errors.As(err, &assume) {
		return assume.Error()
	}
	return reason(err)
}

func reason(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err.Error()
	}
	text := api.ErrorCode()
	if api.ErrorMessage() != "" {
		text += ": " + api.ErrorMessage()
	}
	var operation *smithy.OperationError
	if errors.As(err, &operation) {
		text = operation.Service() + " " + operation.Operation() + ": " + text
	}
	return text
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

package local

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Fault disturbs attempts of a call.
type Fault struct {
	// Times is how many attempts in a row it disturbs; all if it is negative.
	Times int
	// Disturb stands in for forwarding the call and giving the answer.
	Disturb func(*Exchange)
}

// Throttled answers, so many times, as the service does when it is asked too
// often. Nothing is carried out.
func Throttled(times int) Fault { return fails(times, func(f failures) failure { return f.throttled }) }

// ServerError answers, so many times, that the service has an internal error.
// Nothing is carried out.
func ServerError(times int) Fault { return fails(times, func(f failures) failure { return f.broken }) }

// Denied answers, for good, that the caller may not.
func Denied() Fault { return fails(-1, func(f failures) failure { return f.denied }) }

// Conflict answers, so many times, as DynamoDB does to a write whose item is in
// another transaction: of a transaction's items it is the first. Nothing is
// carried out. DynamoDB Local never says so: it has transactions wait for each
// other.
func Conflict(times int) Fault {
	return Fault{Times: times, Disturb: func(x *Exchange) { x.Answer(x.conflict()) }}
}

// AnswerLost has one call carried out and breaks the connection off before the
// answer.
func AnswerLost() Fault {
	return Fault{Times: 1, Disturb: func(x *Exchange) { x.Forward(); x.Reset() }}
}

// TimesOut lets one call wait until its caller gives up. Nothing is carried
// out.
func TimesOut() Fault { return Fault{Times: 1, Disturb: (*Exchange).Hold} }

// TimesOutAfter has one call carried out and holds its answer until the caller
// gives up.
func TimesOutAfter() Fault {
	return Fault{Times: 1, Disturb: func(x *Exchange) { x.Forward(); x.Hold() }}
}

// KilledBefore kills the caller in mid-call, before anything is carried out.
func KilledBefore(kill func()) Fault {
	return Fault{Times: 1, Disturb: func(x *Exchange) { kill(); x.Reset() }}
}

// KilledAfter has one call carried out and kills its caller before the answer.
func KilledAfter(kill func()) Fault {
	return Fault{Times: 1, Disturb: func(x *Exchange) { x.Forward(); kill(); x.Reset() }}
}

// Stale answers a read so many times, or for ever if the number is negative,
// as AWS last answered the same one, whatever was changed since. A read that is
// the first of its kind is forwarded, and counts.
func Stale(times int) Fault {
	return Fault{Times: times, Disturb: func(x *Exchange) {
		x.proxy.mu.Lock()
		a, ok := x.proxy.answers[x.question()]
		x.proxy.mu.Unlock()
		if !ok {
			a = x.Forward()
		}
		x.Answer(a)
	}}
}

func fails(times int, pick func(failures) failure) Fault {
	return Fault{Times: times, Disturb: func(x *Exchange) { x.Answer(x.failed(pick)) }}
}

// failure is a service's error.
type failure struct {
	status        int
	code, message string
}

// failures are what a service says when it is asked too often, when it breaks,
// and to a caller that may not.
type failures struct{ throttled, broken, denied failure }

var s3Failures = failures{
	failure{http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate."},
	failure{http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again."},
	failure{http.StatusForbidden, "AccessDenied", "Access Denied"},
}

// ownFailures are those of services that have their own. Source: the section
// on errors in each service's API reference.
var ownFailures = map[string]failures{
	"DynamoDB": {
		failure{http.StatusBadRequest, "com.amazon.coral.availability#ThrottlingException", "Rate of requests exceeds the allowed throughput."},
		failure{http.StatusInternalServerError, "com.amazonaws.dynamodb.v20120810#InternalServerError", "The request could not be processed because of an internal server error."},
		failure{http.StatusBadRequest, "com.amazon.coral.service#AccessDeniedException", "User is not authorized to perform this action"},
	},
	"Organizations": {
		failure{http.StatusBadRequest, "TooManyRequestsException", "AWS Organizations can't complete your request because too many requests were made."},
		failure{http.StatusInternalServerError, "ServiceException", "AWS Organizations can't complete your request because of an internal service error."},
		failure{http.StatusBadRequest, "AccessDeniedException", "You don't have permissions to access this resource."},
	},
	"S3":        s3Failures,
	"S3Control": s3Failures,
	"SNS": {
		failure{http.StatusBadRequest, "Throttling", "Rate exceeded"},
		failure{http.StatusInternalServerError, "InternalError", "Internal error"},
		failure{http.StatusForbidden, "AuthorizationError", "User is not authorized to perform this action"},
	},
}

// Those of every other service, by its protocol. Source: "Common Errors" in any
// service's API reference.
var (
	jsonFailures = failures{
		failure{http.StatusBadRequest, "ThrottlingException", "Rate exceeded"},
		failure{http.StatusInternalServerError, "InternalFailure", "The request processing has failed because of an unknown error."},
		failure{http.StatusBadRequest, "AccessDeniedException", "User is not authorized to perform this action"},
	}
	queryFailures = failures{
		failure{http.StatusBadRequest, "Throttling", "Rate exceeded"},
		failure{http.StatusInternalServerError, "InternalFailure", "The request processing has failed because of an unknown error."},
		failure{http.StatusForbidden, "AccessDenied", "User is not authorized to perform this action"},
	}
)

// failed is a service's error in the form of its protocol: JSON, S3's XML, or
// the query protocol's XML, which S3 Control shares. That of EC2 is another one
// and not known here.
func (x *Exchange) failed(pick func(failures) failure) Answer {
	service, _, _ := strings.Cut(x.Call, ".")
	all, own := ownFailures[service]
	contentType, form := "text/xml", `<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>local</RequestId></ErrorResponse>`
	if !own {
		all = queryFailures
	}
	switch {
	case x.r.Header.Get("X-Amz-Target") != "":
		if !own {
			all = jsonFailures
		}
		contentType, form = x.r.Header.Get("Content-Type"), `{"__type":"%s","message":"%s"}`
	case service == "S3":
		contentType, form = "application/xml", `<Error><Code>%s</Code><Message>%s</Message><RequestId>local</RequestId><HostId>local</HostId></Error>`
	}
	f := pick(all)
	return answer(f.status, contentType, fmt.Appendf(nil, form, f.code, f.message))
}

// conflict is DynamoDB's error, which has a reason for each item of a
// transaction. Source: DynamoDB API reference, TransactWriteItems, Errors.
func (x *Exchange) conflict() Answer {
	const form, version, why = "application/x-amz-json-1.0", "com.amazonaws.dynamodb.v20120810#", "Transaction is ongoing for the item"
	var transaction struct{ TransactItems []json.RawMessage }
	if err := json.Unmarshal(x.body, &transaction); err != nil || len(transaction.TransactItems) == 0 {
		return answer(http.StatusBadRequest, form, fmt.Appendf(nil, `{"__type":"%sTransactionConflictException","message":"%s"}`, version, why))
	}
	others := len(transaction.TransactItems) - 1
	return answer(http.StatusBadRequest, form, fmt.Appendf(nil,
		`{"__type":"%sTransactionCanceledException","CancellationReasons":[{"Code":"TransactionConflict","Message":"%s"}%s],`+
			`"Message":"Transaction cancelled, please refer cancellation reasons for specific reasons [TransactionConflict%s]"}`,
		version, why, strings.Repeat(`,{"Code":"None"}`, others), strings.Repeat(", None", others)))
}

func answer(status int, contentType string, body []byte) Answer {
	return Answer{
		Status: status, Body: body,
		Header: http.Header{"Content-Type": {contentType}, "X-Amzn-Requestid": {"local"}},
	}
}

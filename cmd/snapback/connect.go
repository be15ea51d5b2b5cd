package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// connect reads the caller's AWS configuration and his credentials, so that
// none of either is one sentence at once and not the failure of every call.
func connect(cmd *cobra.Command) (aws.Config, error) {
	cfg, err := cloud.Load(cmd.Context())
	if err != nil {
		return cfg, fmt.Errorf("%s: %w", name(cmd), err)
	}
	if _, err := cfg.Credentials.Retrieve(cmd.Context()); err != nil {
		return cfg, fmt.Errorf("%s: no AWS credentials: log in with `aws sso login`, or set AWS_PROFILE, "+
			"or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (%w)", name(cmd), innermost(err))
	}
	return cfg, nil
}

// openLedger opens the ledger for a person who waits: a call that gets no
// answer is tried once again and not three times.
func openLedger(cfg aws.Config, table string) *ledger.Ledger {
	cfg.RetryMaxAttempts = 2
	return ledger.New(cfg, table)
}

// reason is an AWS error for people: what was attempted, and the answer or why
// there was none, without the wrapping of the SDK.
func reason(err error) string {
	text := err.Error()
	var operation *smithy.OperationError
	if errors.As(err, &operation) {
		text = strings.Replace(text, operation.Error(), answer(operation), 1)
	}
	switch {
	case cloud.Is(err, "ResourceNotFoundException"):
		text += ": is it the name of the ledger's table, in this account and Region?"
	case noAnswer(err) != nil:
		text += ": are the Region, AWS_ENDPOINT_URL and the network right?"
	}
	return strings.ReplaceAll(text, "\n", "; ") // of joined errors
}

func answer(o *smithy.OperationError) string {
	var api smithy.APIError
	if errors.As(o, &api) {
		return cloud.Reason(o)
	}
	call := o.Service() + " " + o.Operation() + ": "
	if u := noAnswer(o); u != nil {
		return call + "no answer from " + u.URL + ": " + innermost(u).Error()
	}
	return call + innermost(o).Error()
}

// noAnswer is the request that was not answered, if err tells of one.
func noAnswer(err error) *url.Error {
	var u *url.Error
	if errors.As(err, &u) {
		return u
	}
	return nil
}

// innermost is the error that all others wrap.
func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

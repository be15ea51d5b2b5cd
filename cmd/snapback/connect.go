package main

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
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
			"or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (%w)", name(cmd), cloud.Innermost(err))
	}
	return cfg, nil
}

// openLedger opens the ledger for a person who waits: a call that gets no
// answer is tried once again and not three times.
func openLedger(cfg aws.Config, table string) *ledger.Ledger {
	cfg.RetryMaxAttempts = 2
	return ledger.New(cfg, table)
}

// reason is an AWS error for people, with a hint where one is at hand.
func reason(err error) string {
	text := cloud.Reason(err)
	var unanswered *url.Error
	switch {
	case cloud.Is(err, "ResourceNotFoundException"):
		text += ": is it the name of the ledger's table, in this account and Region?"
	case errors.As(err, &unanswered):
		text += ": are the Region, AWS_ENDPOINT_URL and the network right?"
	}
	return text
}

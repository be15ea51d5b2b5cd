package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/health"
)

// healthTimeout is longer than the health function may run, which is Lambda's
// longest: 15 minutes.
const healthTimeout = 16 * time.Minute

// askHealth hands a command to the function that knows all members, and waits
// for its answer.
func askHealth(cmd *cobra.Command, cfg aws.Config, r health.Request) (health.Answer, error) {
	var a health.Answer
	payload, err := json.Marshal(r)
	if err != nil {
		return a, fmt.Errorf("%s: %w", name(cmd), err)
	}
	answered, err := invokeFunction(cmd, cfg, deployment.Health, payload, healthTimeout)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(answered, &a); err != nil || a.Verdict == "" {
		return a, unreadable(cmd, deployment.Health, answered)
	}
	return a, nil
}

// nothingSeen is the error of an answer that tells of no site: nothing could be
// tried.
func nothingSeen(cmd *cobra.Command, a health.Answer) error {
	if len(a.Sites) > 0 {
		return nil
	}
	return verdict(cmd, engine.Answer{Verdict: a.Verdict, Reason: a.Reason})
}

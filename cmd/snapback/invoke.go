package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
)

// invokeTimeout is longer than a function may take for one command: an undo
// that is read back again and again for 30 s.
const invokeTimeout = 90 * time.Second

// domains are those that the commands know: all, but where a test puts its own
// in their place.
var domains = controls.Domains

// domainOf is the domain of a control or a runbook; empty if there is neither
// of that ID.
func domainOf(id string) string {
	for _, d := range domains() {
		if slices.ContainsFunc(d.Controls, func(c control.Control) bool { return c.ID == id }) ||
			slices.ContainsFunc(d.Runbooks, func(r control.Runbook) bool { return r.ID == id }) {
			return d.Name
		}
	}
	return ""
}

// invoke hands a command to a domain's function and waits for its answer. The
// command is sent once: the function repeats what may be repeated.
func invoke(cmd *cobra.Command, cfg aws.Config, domain string, r function.Request) (engine.Answer, error) {
	ctx := cmd.Context()
	var a engine.Answer
	r.Host, _ = os.Hostname() // a machine without a name is none the worse
	r.At = time.Now().UTC()
	proof, err := cloud.Prove(ctx, cfg, r.Hash())
	if err != nil {
		return a, fmt.Errorf("%s: %s", name(cmd), reason(err))
	}
	r.Proof = &proof
	payload, err := json.Marshal(r)
	if err != nil {
		return a, fmt.Errorf("%s: %w", name(cmd), err)
	}
	answered, err := invokeFunction(cmd, cfg, domain, payload, invokeTimeout)
	var ended endedError
	switch {
	case errors.As(err, &ended):
		return a, fmt.Errorf("%w; whatever it had begun is finished by giving the command again", err)
	case err != nil:
		return a, err
	}
	if err := json.Unmarshal(answered, &a); err != nil || a.Verdict == "" {
		return a, unreadable(cmd, domain, answered)
	}
	return a, nil
}

// endedError says that a function ended without an answer.
type endedError struct{ error }

// invokeFunction hands a payload to the function of a domain, or to that of
// health, and waits for what it answers.
func invokeFunction(cmd *cobra.Command, cfg aws.Config, domain string, payload []byte, timeout time.Duration) ([]byte, error) {
	function := deployment.Function(domain)
	client := lambda.NewFromConfig(cfg, func(o *lambda.Options) {
		o.HTTPClient = cloud.Patient(timeout)
		o.RetryMaxAttempts = 1
	})
	out, err := client.Invoke(cmd.Context(), &lambda.InvokeInput{FunctionName: aws.String(function), Payload: payload})
	switch {
	case cloud.Is(err, "ResourceNotFoundException"):
		return nil, fmt.Errorf("%s: there is no function %s in this account and Region: are these the hub's?", name(cmd), function)
	case err != nil:
		return nil, fmt.Errorf("%s: %s", name(cmd), reason(err))
	case out.FunctionError != nil:
		return nil, endedError{fmt.Errorf("%s: the function %s ended without an answer: %s: its log group /aws/lambda/%s says why",
			name(cmd), function, plain(string(out.Payload), 400), function)}
	}
	return out.Payload, nil
}

// unreadable says that an answer is not in the form that the command line knows.
func unreadable(cmd *cobra.Command, domain string, answered []byte) error {
	return fmt.Errorf("%s: %s gave an answer that this version of the command line can't read: are both of the same version? %s",
		name(cmd), deployment.Function(domain), plain(strings.TrimSpace(string(answered)), 200))
}

// verdict is an answer as the command's error: nil where it is done.
func verdict(cmd *cobra.Command, a engine.Answer) error {
	var lines []string
	for line := range strings.SplitSeq(a.Reason, "\n") {
		lines = append(lines, plain(line, 2000))
	}
	text := strings.Join(lines, "\n  ")
	switch a.Verdict {
	case engine.Done:
		return nil
	case engine.Misuse:
		return misuse("%s: %s", name(cmd), text)
	}
	return fmt.Errorf("%s: %w", name(cmd), errors.New(text))
}

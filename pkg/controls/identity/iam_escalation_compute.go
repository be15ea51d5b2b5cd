package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/remedies/instance"
)

func escalationCompute(j *judge) control.Runbook {
	return control.Runbook{
		ID:    "iam-escalation-compute",
		Title: "Stops what was started with a role that its starter should not have had",
		Rationale: "Whoever may pass a role to what he starts can use that role's rights: an instance hands out its credentials to " +
			"whoever is on it, a function runs the code that it was given. It runs on when he himself is denied everything. An instance " +
			"is stopped, a function's reserved concurrency is set to 0, so that it is not run again. Other things that run with a role " +
			"(stacks, jobs, tasks, notebooks) are only reported, with what to do.",
		Hazard: "What the instance or the function serves stops. An instance loses its memory, its instance store volumes and its " +
			"public address; to keep it as evidence, quarantine it instead. Events that wait for the function are lost after six hours. " +
			"A function that runs already goes on to its end, and credentials that were carried off hold until they expire. Undo can't " +
			"start an instance again whose volumes are encrypted with a key that Snapback's role may not use.",
		Resource: grantResource(),
		Triggers: slices.DeleteFunc(triggers(), func(t control.Trigger) bool { return t.Source == iamSource }),
		Severity: control.Critical,
		When:     "the role that was passed gives its starter rights that make the call an escalation, as " + escalationID + " has it, and what he started still runs with it",
		Steps:    []control.Step{{Remedy: stopCompute(j.escalation, judgePermissions)}},
	}
}

// finder tells whether the grant of a target is an escalation; nil if it is none.
type finder func(context.Context, *cloud.Session, control.Target) (*escalation, error)

// stopCompute stops the instance or function that was started in an escalation.
func stopCompute(find finder, permissions []control.Permission) control.Remedy {
	const machine, function = "arn:${Partition}:ec2:${Region}:${Account}:instance/*", "arn:${Partition}:lambda:${Region}:${Account}:function:*"
	of := func(operation string) control.Permission {
		return control.Permission{Call: "Lambda." + operation, Action: "lambda:" + operation, Resource: function}
	}
	stop := control.Permission{Call: "EC2.StopInstances", Action: "ec2:StopInstances", Resource: machine}
	start := control.Permission{Call: "EC2.StartInstances", Action: "ec2:StartInstances", Resource: machine}
	read := []control.Permission{instance.Read, of("GetFunctionConfiguration"), of("GetFunctionConcurrency")}
	put := of("PutFunctionConcurrency")
	return control.Remedy{
		Name: "stop-compute",
		Plan: func(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
			e, err := find(ctx, session, t)
			if e == nil || err != nil {
				return nil, err
			}
			return planStop(ctx, session, t, e)
		},
		Verify: verifyStop,
		Apply: func(ctx context.Context, session *cloud.Session, c control.Change) error {
			return setCompute(ctx, session, c.Target, c.After)
		},
		Undo: undoStop,
		Permissions: control.Permissions{
			Plan:   slices.Concat(permissions, read),
			Verify: read,
			Apply:  []control.Permission{stop, put},
			Undo:   append(read, start, put, of("DeleteFunctionConcurrency")),
		},
	}
}

// compute is a kind of what can be started with a role, and stopped here.
type compute struct {
	name    string // "Instance"
	arn     string // what is between Region and account, and its ID, in an ARN
	service string
	// read reads how one stands, in the form of Change.Before and After, and the ARN
	// of the role or instance profile that it runs with.
	read func(ctx context.Context, session *cloud.Session, id string) (now, with string, err error)
	// set makes it stand as a change recorded.
	set     func(ctx context.Context, session *cloud.Session, id string, to json.RawMessage) error
	stopped string
}

// computes are the kinds, by the name of the call that starts one.
var computes = map[string]compute{
	"RunInstances": {
		name: "Instance", service: "ec2", arn: "instance/", read: readInstance, set: setInstance, stopped: `{"InstanceState":"stopped"}`,
	},
	"CreateFunction20150331": {
		name: "Function", service: "lambda", arn: "function:", read: readFunction, set: setFunction, stopped: `{"ReservedConcurrentExecutions":0}`,
	},
}

// stoppable is what the act of a target has started; not ok if that can't be
// stopped here, or is not known.
func stoppable(t control.Target) (c compute, id string, ok bool) {
	a, ok := parseAct(t)
	if !ok || a.what == "" {
		return c, "", false
	}
	c, ok = computes[a.call]
	return c, a.what, ok
}

func planStop(ctx context.Context, session *cloud.Session, t control.Target, e *escalation) (*control.Change, error) {
	kind, id, ok := stoppable(t)
	if !ok {
		return reportCompute(t, e), nil
	}
	now, with, err := kind.read(ctx, session, id)
	// Names of roles and of instance profiles are unique in their account, whatever
	// their paths (IAM user guide, "IAM identifiers").
	if err != nil || now == kind.stopped || lastPart(with) != lastPart(e.on) {
		return nil, err
	}
	return &control.Change{
		Target: t,
		Reason: fmt.Sprintf("%s %s %s runs with %s.", e.reason, kind.name, id, e.on),
		Before: json.RawMessage(now),
		After:  json.RawMessage(kind.stopped),
		Touches: []string{
			"arn:" + cloud.Partition(t.Region) + ":" + kind.service + ":" + t.Region + ":" + t.Account + ":" + kind.arn + id,
		},
	}, nil
}

// reportCompute tells of what Snapback does not stop.
func reportCompute(t control.Target, e *escalation) *control.Change {
	what := e.what
	if what == "" {
		what = "the record of the call tells what it is"
	}
	return &control.Change{
		Target: t, Reason: e.reason, Before: json.RawMessage("null"),
		Left: []string{fmt.Sprintf(
			"What %s started with %s still runs (%s), and Snapback stops instances and functions alone: stop or delete it by hand.", e.call, e.on, what)},
	}
}

// verifyStop tells whether what was to be stopped is, whoever may have which
// rights by now.
func verifyStop(ctx context.Context, session *cloud.Session, c control.Change) (*control.Change, error) {
	now, err := readCompute(ctx, session, c.Target)
	if err != nil || now == string(c.After) {
		return nil, err
	}
	c.Before = json.RawMessage(now)
	return &c, nil
}

func undoStop(ctx context.Context, session *cloud.Session, c control.Change) error {
	now, err := readCompute(ctx, session, c.Target)
	if err != nil {
		return err
	}
	if now != string(c.After) {
		return &control.MovedError{Change: c, Now: json.RawMessage(now)}
	}
	return setCompute(ctx, session, c.Target, c.Before)
}

func readCompute(ctx context.Context, session *cloud.Session, t control.Target) (string, error) {
	kind, id, ok := stoppable(t)
	if !ok {
		return "", fmt.Errorf("read what %s started: it can't be stopped here", t)
	}
	now, _, err := kind.read(ctx, session, id)
	return now, err
}

func setCompute(ctx context.Context, session *cloud.Session, t control.Target, to json.RawMessage) error {
	kind, id, ok := stoppable(t)
	if !ok {
		return fmt.Errorf("stop what %s started: it can't be stopped here", t)
	}
	return kind.set(ctx, session, id, to)
}

// instanceState is an instance's state as a change records it: one that is on its
// way counts as if it were there.
type instanceState struct{ InstanceState ec2types.InstanceStateName }

func readInstance(ctx context.Context, session *cloud.Session, id string) (now, with string, err error) {
	in, err := instance.Describe(ctx, session, control.Target{ID: id})
	if err != nil {
		return "", "", err
	}
	s := instanceState{ec2types.InstanceStateNameRunning}
	if in.State != nil && (in.State.Name == ec2types.InstanceStateNameStopping || in.State.Name == ec2types.InstanceStateNameStopped) {
		s.InstanceState = ec2types.InstanceStateNameStopped
	}
	if in.IamInstanceProfile != nil {
		with = aws.ToString(in.IamInstanceProfile.Arn)
	}
	text, err := json.Marshal(s)
	return string(text), with, err
}

func setInstance(ctx context.Context, session *cloud.Session, id string, to json.RawMessage) error {
	var s instanceState
	err := json.Unmarshal(to, &s)
	attempt := "start"
	switch {
	case err != nil:
		return fmt.Errorf("read the recorded state of instance %s: %w", id, err)
	case s.InstanceState == ec2types.InstanceStateNameStopped:
		attempt = "stop"
		_, err = instance.Client(session).StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}})
	default:
		_, err = instance.Client(session).StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}})
	}
	switch {
	case cloud.Is(err, "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"):
		return fmt.Errorf("%s instance %s: %w", attempt, id, control.ErrGone)
	case cloud.Is(err, "IncorrectInstanceState"):
		// An instance can't be stopped before it has run once (cloud-custodian, pull
		// request 6014), nor be started before it has stopped. EC2 says so with status
		// 400, which elsewhere is final. This is not, so the answer is not passed on.
		return fmt.Errorf("%s instance %s: it is on its way to another state: try again in a minute", attempt, id)
	case err != nil:
		return fmt.Errorf("%s instance %s: %w", attempt, id, err)
	}
	return nil
}

// functionState is a function's reserved concurrency, under Lambda's name; nil if
// it has none. With 0 it is not invoked any more (Lambda developer guide,
// "Configuring reserved concurrency for a function").
type functionState struct{ ReservedConcurrentExecutions *int32 }

func lambdaClient(session *cloud.Session) *lambda.Client {
	return cloud.Client(session, func(cfg aws.Config) *lambda.Client { return lambda.NewFromConfig(cfg) })
}

func readFunction(ctx context.Context, session *cloud.Session, id string) (now, with string, err error) {
	var function *lambda.GetFunctionConfigurationOutput
	var missing error
	var side sync.WaitGroup
	side.Go(func() {
		function, missing = lambdaClient(session).GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String(id)})
	})
	reserved, err := lambdaClient(session).GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: aws.String(id)})
	side.Wait()
	if missing != nil {
		return "", "", functionError("read", id, missing)
	}
	if err != nil {
		return "", "", functionError("read the concurrency of", id, err)
	}
	text, err := json.Marshal(functionState{reserved.ReservedConcurrentExecutions})
	return string(text), aws.ToString(function.Role), err
}

func setFunction(ctx context.Context, session *cloud.Session, id string, to json.RawMessage) error {
	var s functionState
	if err := json.Unmarshal(to, &s); err != nil {
		return fmt.Errorf("read the recorded concurrency of function %s: %w", id, err)
	}
	if s.ReservedConcurrentExecutions == nil {
		_, err := lambdaClient(session).DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: aws.String(id)})
		return functionError("release", id, err)
	}
	_, err := lambdaClient(session).PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{
		FunctionName: aws.String(id), ReservedConcurrentExecutions: s.ReservedConcurrentExecutions,
	})
	return functionError("set the concurrency of", id, err)
}

// functionError says what was attempted; a function that does not exist is gone.
func functionError(attempt, id string, err error) error {
	switch {
	case err == nil:
		return nil
	case cloud.Is(err, "ResourceNotFoundException"):
		return fmt.Errorf("%s function %s: %w", attempt, id, control.ErrGone)
	}
	return fmt.Errorf("%s function %s: %w", attempt, id, err)
}

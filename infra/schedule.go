package main

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsscheduler"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/health"
)

// schedules, in the place of a domain's name, names what the schedules share.
const schedules = "scheduler"

// makeSchedules makes the schedules: every hour each domain's function ends the
// cases that nobody answered, and health sends canaries; every day health looks at
// what each account and Region needs, since a canary goes by one rule of many.
func (h *hub) makeSchedules() {
	dead := h.makeDeadQueue(schedules, nil)
	h.makeQueuePolicy(logicalID(schedules, "DeadQueuePolicy"), dead)
	group := awsscheduler.NewCfnScheduleGroup(h.stack, jsii.String("ScheduleGroup"), &awsscheduler.CfnScheduleGroupProps{
		Name: jsii.String(deployment.Prefix),
	})
	role := h.makeSchedulerRole(dead)
	every := func(rate, name, command string, target awslambda.CfnFunction) {
		awsscheduler.NewCfnSchedule(h.stack, jsii.String(logicalID(name, "Schedule")), &awsscheduler.CfnScheduleProps{
			Name:               jsii.String(name),
			GroupName:          group.Ref(),
			ScheduleExpression: jsii.String("rate(" + rate + ")"),
			FlexibleTimeWindow: &awsscheduler.CfnSchedule_FlexibleTimeWindowProperty{Mode: jsii.String("OFF")},
			Target: &awsscheduler.CfnSchedule_TargetProperty{
				Arn: target.AttrArn(), RoleArn: role.AttrArn(), Input: jsii.String(fmt.Sprintf(`{"command":%q}`, command)),
				// Within the hour: then the next one comes.
				RetryPolicy: &awsscheduler.CfnSchedule_RetryPolicyProperty{
					MaximumEventAgeInSeconds: jsii.Number(1800), MaximumRetryAttempts: jsii.Number(5),
				},
				DeadLetterConfig: &awsscheduler.CfnSchedule_DeadLetterConfigProperty{Arn: dead.AttrArn()},
			},
		})
	}
	for _, d := range h.domains {
		every("1 hour", function.Expire+"-"+d.Name, function.Expire, h.functions[d.Name])
	}
	every("1 hour", health.Drill, health.Drill, h.functions[deployment.Health])
	every("1 day", health.Look, health.Look, h.functions[deployment.Health])
}

// makeSchedulerRole makes the role that the schedules invoke functions with. Only
// the schedules of the group may assume it; a single schedule can't be named. Source:
// EventBridge Scheduler user guide, "Confused deputy prevention".
func (h *hub) makeSchedulerRole(dead awssqs.CfnQueue) awsiam.CfnRole {
	var functions []string
	for _, name := range h.in.functions() {
		functions = append(functions, *h.functions[name].AttrArn())
	}
	return awsiam.NewCfnRole(h.stack, jsii.String("SchedulerRole"), &awsiam.CfnRoleProps{
		RoleName:    jsii.String(deployment.Scheduler),
		Description: jsii.String("Snapback: invokes the functions every hour"),
		AssumeRolePolicyDocument: policy(mayAssume("scheduler.amazonaws.com", map[string]map[string][]string{
			"StringEquals": {"aws:SourceAccount": {h.place.Account}},
			"ArnEquals":    {"aws:SourceArn": {h.arn("scheduler", "schedule-group/"+deployment.Prefix)}},
		})),
		Policies: []any{&awsiam.CfnRole_PolicyProperty{
			PolicyName: jsii.String(deployment.Scheduler),
			PolicyDocument: policy(
				deployment.Statement{Sid: "Functions", Effect: "Allow", Action: []string{"lambda:InvokeFunction"}, Resource: functions},
				deployment.Statement{Sid: "DeadLetters", Effect: "Allow", Action: []string{"sqs:SendMessage"}, Resource: []string{*dead.AttrArn()}},
			),
		}},
	})
}

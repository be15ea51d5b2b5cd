package main

import (
	"fmt"
	"math"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/event"
)

// wide is the organization that limits are looked at for, with as many events in
// each account and Region as in the greatest load of the page on cost.
var wide = load{1_000, 17, 10_000_000 / (100 * 4) * 1_000 * 17}

// peak is how many times the average of a month an hour may bring.
const peak = 10

// limit is one limit of AWS, and how near Snapback comes to it.
type limit struct {
	What, Limit, Ours, When, Do, Source string
}

// The pages of AWS's documentation, in the stored copies of 2026.
const (
	eventQuotas    = "EventBridge user guide, \"Amazon EventBridge quotas\""
	stackQuotas    = "CloudFormation user guide, \"Understand CloudFormation quotas\""
	iamQuotas      = "IAM user guide, \"IAM and AWS STS quotas\""
	organizQuotas  = "Organizations user guide, \"Quotas and service limits\""
	lambdaQuotas   = "Lambda developer guide, \"Lambda quotas\""
	pollerScaling  = "Lambda developer guide, \"Configuring scaling behavior for SQS event source mappings\""
	tableQuotas    = "DynamoDB developer guide, \"Quotas in Amazon DynamoDB\""
	partitionLimit = "DynamoDB developer guide, \"Best practices for designing and using partition keys\""
	snsQuotas      = "AWS General Reference, \"Amazon SNS endpoints and quotas\""
)

// healthAtOnce is how many calls the health function makes side by side
// (pkg/health).
const healthAtOnce = 64

// partitionWrites is how many write units a second one partition of a table or an
// index takes.
const partitionWrites = 1000

// eventsASecond is what the function of a domain gets through with so many
// invocations at once, ten events each.
func eventsASecond(concurrency, trips int) float64 {
	return float64(concurrency) * 10 / (float64(trips)*tripSeconds + ownSeconds)
}

// limits are those of the page, those that bind first at the top.
func limits(d deployed) []limit {
	sites := wide.Sites()
	average := wide.Events / (hours * 3600)
	changes := eventsASecond(d.Concurrency, tripsChange)
	byDay := float64(partitionWrites) / (2 * caseKB)
	mails := 10.0
	return []limit{
		{
			"Lambda: events of a domain a second", fmt.Sprintf("%d invocations at once by default (`deployment.concurrency`, up to 1,000); 1,000 in the hub account and Region for all functions", d.Concurrency),
			fmt.Sprintf("%s compliant events or %s changes a second and domain; the average is %s for all domains, a peak of %d times that %s",
				number(eventsASecond(d.Concurrency, tripsCompliant)), number(changes), number(average), peak, number(peak*average)),
			"when a domain's share of the peak is more than that: events wait, and the alarm on the age of the oldest message rings",
			fmt.Sprintf("`deployment: {concurrency: %d}` is enough for a peak of compliant events in one domain; above 200 for a domain ask for more than 1,000 in the account", int(math.Ceil(peak*average*(tripsCompliant*tripSeconds+ownSeconds)/10))),
			lambdaQuotas + "; " + pollerScaling,
		},
		{
			"SNS: e-mails", "10 a second for a subscription, not adjustable",
			fmt.Sprintf("%s alerts a second if one domain makes nothing but changes; by default limits %s an hour for each control or runbook at most", number(changes), number(baseline.DefaultChangesPerControlPerHour)),
			fmt.Sprintf("at more than %s alerts a second; nobody reads them anyway", number(mails)),
			"send `observed` to a topic of its own or nowhere (`alerts:`); read alerts by SQS or HTTPS",
			snsQuotas,
		},
		{
			"DynamoDB: one partition", fmt.Sprintf("%s write units a second", number(partitionWrites)),
			fmt.Sprintf("the index `by-day` holds all cases of a day in one partition: %s units a case, so %s new cases a second; counters of a limit: one item each, read only once it is reached", number(2*caseKB), number(byDay)),
			fmt.Sprintf("at more than %s new cases a second for longer than a moment. By default limits all controls and runbooks together change at most %.1f a second; what they only observe is not limited", number(byDay), float64(d.Rules*baseline.DefaultChangesPerControlPerHour)/3600),
			"nothing is lost: writes are throttled, messages handed out again. For a flood of observed violations turn the control off until its cause is mended",
			partitionLimit,
		},
		{
			"The hourly drill: its answers", fmt.Sprintf("%s write units a second in the partition of a domain's canaries", number(partitionWrites)),
			fmt.Sprintf("%s canaries for each of %d domains, a unit each: %s s at least. The health function makes %d calls at once, so it sends them within %s s",
				number(sites), d.Domains, number(math.Ceil(sites/partitionWrites)), healthAtOnce, number(math.Ceil(sites*tripSeconds/healthAtOnce))),
			"about here: some writes are throttled and tried again. A canary that comes later than a minute after the sending is told as missing",
			"look at `DrillsMissing` after each thousand accounts; give up Regions that nobody uses",
			partitionLimit,
		},
		{
			"The health function's time", "900 s", fmt.Sprintf("drill: %s roles to enter, %s events to put, and two calls for each queue of what was not delivered, %d at once: %s s, and up to a minute of waiting. Doctor: at least five calls a site: %s s",
				number(wide.Accounts), number(sites), healthAtOnce, number(math.Ceil((float64(wide.Accounts)+3*sites)*tripSeconds/healthAtOnce)), number(math.Ceil(5*sites*tripSeconds/healthAtOnce))),
			"not at this size, unless round trips take half a second; `snapback drill` prints how long it took",
			"`--account` asks for some accounts alone",
			lambdaQuotas,
		},
		{
			"StackSets: instances", "100,000 a stack set; operations on 10,000 of them at once in a Region, for an administrator account",
			number(sites),
			fmt.Sprintf("at %s accounts in %d Regions; before that an update of all takes long: one Region after the other", number(math.Floor(100_000/float64(wide.Regions))), wide.Regions),
			"wait for the operation to end before the next deployment; ask AWS for more instances",
			stackQuotas,
		},
		{
			"EventBridge: invocations of the hub's bus", "18,750 a second in us-east-1, us-west-2 and eu-west-1; 4,500 or 2,250 in other large Regions; 750 in small ones. What is over it is delayed, not lost",
			fmt.Sprintf("%s a second on average, %s at a peak; a drill is %s at once", number(average), number(peak*average), number(sites*float64(d.Domains))),
			"in a small Region as the hub", "put the hub where the quota is high, or ask for more", eventQuotas,
		},
		{
			"EventBridge: rules", "300 a bus (100 in af-south-1 and eu-south-1)",
			fmt.Sprintf("%d on the hub's bus, %d on the default bus of each member and Region", d.HubRules, len(d.Forwarding)),
			"on members: if your own rules leave fewer", "ask AWS for more; what is off is not forwarded", eventQuotas,
		},
		{
			"EventBridge: length of a pattern", fmt.Sprintf("%s characters", number(event.MaxPattern)), fmt.Sprintf("%s at most", number(d.Longest)),
			"never: rules are split before", "—", eventQuotas,
		},
		{
			"STS: AssumeRole", "600 a second for the account that asks, in a Region",
			fmt.Sprintf("each warm environment of a function enters each account every 14 minutes: %s × %d domains × %d at once, %s a second on average",
				number(wide.Accounts), d.Domains, d.Concurrency, number(float64(wide.Accounts*d.Domains*d.Concurrency)*sessionsAnHour/3600)),
			"after a deployment, when all sessions are cold at once: calls are retried, and messages handed out again", "—", iamQuotas,
		},
		{
			"IAM in each member", "1,000 roles and 1,500 customer managed policies an account; 20 managed policies a role; 6,144 characters a policy",
			fmt.Sprintf("%d roles, %d policies", d.Roles, d.Policies), "never: policies are split before", "—", iamQuotas,
		},
		{
			"Organizations: ListAccounts", "8 a second (bursts of 12), 20 accounts each", fmt.Sprintf("%s calls for each drill and doctor", number(wide.Accounts/20)),
			fmt.Sprintf("never: %s s", number(math.Ceil(float64(wide.Accounts)/20/8))), "—", organizQuotas,
		},
		{
			"Organizations: ListParents", "5 a second (bursts of 8)", "for overrides by unit alone: a call for each account and unit above it, kept in memory by each environment of a function",
			"after a deployment, at hundreds of accounts", "messages are handed out again; name accounts in overrides where you can", organizQuotas,
		},
		{
			"CloudFormation: template", "1 MB from S3; 500 resources",
			fmt.Sprintf("member %s bytes; hub %s bytes, %d resources", number(d.MemberBytes), number(d.HubBytes), d.HubResources), "never with these domains", "—", stackQuotas,
		},
		{
			"DynamoDB: the table", "40,000 write units a second, adjustable", fmt.Sprintf("%s units a change: %s changes a second", number(writes), number(40_000/writes)), "never before its partitions", "—", tableQuotas,
		},
	}
}

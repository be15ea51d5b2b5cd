package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/function"
)

// metric is a metric of CloudWatch, and how its values of one period are made one.
type metric struct {
	namespace, name, statistic string
	of                         map[string]string // its dimensions
}

// alarm is an alarm and what it says to whoever is paged.
type alarm struct {
	name   string
	metric metric
	// above is what a value must be above to be wrong; below what it must be below, if
	// that is not zero.
	above, below float64
	// period is how many seconds are one value, periods how many wrong values in a row
	// it takes; zero: five minutes, one.
	period, periods int
	// silent is set if it is wrong, too, that there is no value, lasting if it stays
	// as it was until there is one.
	silent, lasting bool
	// means and do are its description: what is wrong, and what to do about it.
	means, do string
}

const (
	fiveMinutes = 300
	hour        = 3600
	day         = 24 * hour
)

// makeAlarms makes all alarms. Each reaches the operators by the main topic.
func (h *hub) makeAlarms() {
	var all []alarm
	for _, d := range h.domains {
		all = append(all, domainAlarms(d.Name)...)
	}
	for _, a := range append(all, wholeAlarms()...) {
		h.makeAlarm(a)
	}
}

// domainAlarms are those about one domain.
func domainAlarms(domain string) []alarm {
	function, queue, dead := deployment.Function(domain), deployment.Queue(domain), deployment.DeadQueue(domain)
	return []alarm{
		{
			name: dead, metric: queued(dead, "ApproximateNumberOfMessagesVisible"),
			means: fmt.Sprintf("Events of the domain %s could not be handled, and wait in the queue %s.", domain, dead),
			do: "Find out why in the last lines with retry in " + logGroup(domain) + ", mend it, then send them back: " +
				"`snapback doctor` names the command. docs/reliability.md, The dead-letter queue.",
		},
		{
			name: queue + "-late", metric: queued(queue, "ApproximateAgeOfOldestMessage"), above: 15 * 60,
			means: fmt.Sprintf("An event of the domain %s has waited for more than 15 minutes.", domain),
			do: "Either it is tried in vain (lines with retry in " + logGroup(domain) + "), or there are more than the function takes: " +
				"raise deployment.concurrency in the baseline. The dashboard " + dashboard + " shows which.",
		},
		{
			name: queue + "-errors", metric: invoked(function, "Errors"),
			means: "The function " + function + " ended with an error. Its events come again by themselves.",
			do:    "Read " + logGroup(domain) + ". `does not start` says what is wrong with its configuration; what it says after a new deployment, the former one had not.",
		},
		{
			// A single throttle is a retry; a quarter of an hour of them is delay.
			name: queue + "-throttled", metric: invoked(function, "Throttles"), periods: 3,
			means: "Lambda has throttled the function " + function + " for 15 minutes: events wait.",
			do:    "Another function of the hub's account uses up its concurrency: ask AWS for a higher quota (Concurrent executions), or lower deployment.concurrency in the baseline.",
		},
	}
}

// wholeAlarms are those about Snapback as a whole.
func wholeAlarms() []alarm {
	health, dead := deployment.Function(deployment.Health), deployment.DeadQueue(schedules)
	return []alarm{
		{
			name: deployment.Prefix + "-failed", metric: outcomes(control.Failed),
			means: "A change was begun and did not hold, or could not be finished.",
			do:    "`snapback cases list --outcome failed` lists the cases; the alert of each says what to do. docs/operations.md, What to do about each alert.",
		},
		{
			name: deployment.Prefix + "-held", metric: outcomes(control.Held),
			means: "A limit of changes or a tug of war keeps Snapback from making a change.",
			do:    "`snapback cases list --state held` lists the cases; look why, then `snapback cases release`. docs/operations.md, A limit is reached.",
		},
		{
			name: deployment.Prefix + "-no-events", metric: own("Events", "Sum"), below: 1, period: day, silent: true,
			means: "No event of any account has come for a day. Right after the first deployment that is so until the first one comes.",
			do:    "`snapback doctor` says whether rules, roles and trails are there.",
		},
		{
			name: deployment.Prefix + "-drills-missing", metric: own("DrillsMissing", "Maximum"), period: hour,
			means: "The hourly canary of an account and Region did not come back: its events may not come either.",
			do:    "`snapback drill` sends them again and names account, Region and domain; `snapback doctor` says what is missing there.",
		},
		{
			name: deployment.Prefix + "-no-drills", metric: own("DrillsSent", "Sum"), below: 1, period: hour, periods: 2, silent: true,
			means: "No canary was sent for two hours, so nobody knows whether events still come. Right after the first deployment that is so for an hour.",
			do:    "Read " + logGroup(deployment.Health) + ", and send some by `snapback drill`.",
		},
		{
			name: deployment.Prefix + "-undelivered", metric: own("Undelivered", "Maximum"), period: hour,
			means: "An account could not put events on the hub's bus; they wait there in the queue " + deployment.Undelivered + ".",
			do:    "`snapback doctor` names account and Region. docs/operations.md.",
		},
		{
			name: deployment.Prefix + "-sites-wrong", metric: own("SitesWrong", "Maximum"), period: hour, lasting: true,
			means: "In some account and Region a forwarding rule, a role or the trail is not as it should be, so that some of its events do not come.",
			do:    "`snapback doctor` names account and Region, and what is wrong there. It also ends this alarm once all is well.",
		},
		{
			name: health + "-errors", metric: invoked(health, "Errors"),
			means: "The function " + health + ", which sends canaries, ended with an error.",
			do:    "Read " + logGroup(deployment.Health) + ".",
		},
		{
			name: dead, metric: queued(dead, "ApproximateNumberOfMessagesVisible"),
			means: "A schedule could not start its function: canaries are not sent, or cases that nobody answers do not end.",
			do:    "The messages in the queue " + dead + " say why, in their attributes. Delete them then: the schedule comes again every hour.",
		},
	}
}

// queued is a metric of a queue.
func queued(queue, name string) metric {
	return metric{"AWS/SQS", name, "Maximum", map[string]string{"QueueName": queue}}
}

// invoked is a metric of a function.
func invoked(function, name string) metric {
	return metric{"AWS/Lambda", name, "Sum", map[string]string{"FunctionName": function}}
}

// outcomes counts the outcomes of one kind.
func outcomes(o control.Outcome) metric {
	return metric{function.Namespace, "Outcomes", "Sum", map[string]string{"outcome": string(o)}}
}

// own is a metric of Snapback as a whole.
func own(name, statistic string) metric { return metric{function.Namespace, name, statistic, nil} }

func (h *hub) makeAlarm(a alarm) {
	threshold, comparison, missing := a.above, "GreaterThanThreshold", "notBreaching"
	if a.below != 0 {
		threshold, comparison = a.below, "LessThanThreshold"
	}
	switch {
	case a.silent:
		missing = "breaching"
	case a.lasting:
		missing = "ignore"
	}
	var dimensions []any
	for _, name := range slices.Sorted(maps.Keys(a.metric.of)) {
		dimensions = append(dimensions, &awscloudwatch.CfnAlarm_DimensionProperty{Name: jsii.String(name), Value: jsii.String(a.metric.of[name])})
	}
	awscloudwatch.NewCfnAlarm(h.stack, jsii.String(logicalID(a.name, "Alarm")), &awscloudwatch.CfnAlarmProps{
		AlarmName: jsii.String(a.name), AlarmDescription: jsii.String(a.means + " " + a.do), AlarmActions: &[]any{h.topic.Ref()},
		Namespace: jsii.String(a.metric.namespace), MetricName: jsii.String(a.metric.name), Statistic: jsii.String(a.metric.statistic),
		Dimensions: dimensions, Period: jsii.Number(max(a.period, fiveMinutes)), EvaluationPeriods: jsii.Number(max(a.periods, 1)),
		Threshold: jsii.Number(threshold), ComparisonOperator: jsii.String(comparison), TreatMissingData: jsii.String(missing),
	})
	h.alarms = append(h.alarms, a.name)
}

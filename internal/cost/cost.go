package main

import (
	"cmp"
	"slices"
)

// load is what an organization brings in a month.
type load struct {
	Accounts, Regions int
	Events            float64 // that match a rule
}

func (l load) Sites() float64   { return float64(l.Accounts * l.Regions) }
func (l load) changes() float64 { return l.Events * changeShare }

// canaries are those of the hourly drill that members send.
func (l load) canaries() float64 { return l.Sites() * hours }

// payer is whose bill a line is on.
type payer string

const (
	members payer = "members"
	hub     payer = "hub"
	others  payer = "members' other services"
)

// line is one line of the bill.
type line struct {
	Payer payer
	Item  string
	Why   string // how the units are counted
	Price price
	Units func(deployed, load) float64
}

func (n line) usd(d deployed, l load) float64 { return n.Units(d, l) * n.Price.USD / n.Price.Per }

// writes are the write units of one change: items of a transaction are written
// twice, and a case to the four indexes besides, once each, from one of which it is
// deleted at the end. Source: DynamoDB developer guide, "Managing complex workflows
// with DynamoDB transactions".
const writes = 2*(caseKB+smallWrites) + 2*(caseKB+closeWrites) + (4+4)*caseKB

// seconds is how long a function works.
func seconds(d deployed, l load) float64 {
	compliant := tripsCompliant*tripSeconds + ownSeconds
	change := tripsChange*tripSeconds + ownSeconds
	return (l.Events-l.changes())*compliant + l.changes()*change + (l.canaries()+hours)*float64(d.Domains)*(tripSeconds+ownSeconds)
}

// metrics are the hours of all metrics, which without events are those of the drill.
func metrics(d deployed, l load) float64 {
	return min(eventMetrics*l.Events+4*hours, float64(d.Rules*outcomesOfRule+otherMetrics)*hours)
}

func logBytes(d deployed, l load) float64 {
	return l.Events*(lineBytes+platformBytes) + l.changes()*(changeBytes-lineBytes) + l.canaries()*float64(d.Domains)*(canaryBytes+platformBytes)
}

func fixed(n func(deployed) int) func(deployed, load) float64 {
	return func(d deployed, _ load) float64 { return float64(n(d)) }
}

// lines are all lines of the bill.
var lines = []line{
	{members, "EventBridge: events sent to the hub", "each event once", customEvent,
		func(_ deployed, l load) float64 { return l.Events }},
	{members, "Data between Regions", "events of all Regions but the hub's, by their size", betweenRegion,
		func(d deployed, l load) float64 {
			return l.Events * float64(l.Regions-1) / float64(l.Regions) * float64(d.EventBytes)
		}},
	{members, "EventBridge: the hourly drill", "a canary an hour from each account and Region, put on the bus and sent to the hub", customEvent,
		func(_ deployed, l load) float64 { return 2 * l.canaries() }},
	{hub, "EventBridge: archive, filled", "each event, by its size", archived,
		func(d deployed, l load) float64 { return l.Events * float64(d.EventBytes) }},
	{hub, "EventBridge: archive, kept", "a month of events", archiveStored,
		func(d deployed, l load) float64 { return l.Events * float64(d.EventBytes*d.ArchiveDays) / 30 }},
	{hub, "SQS: events", "put, received, deleted, none together with others", queueRequest,
		func(_ deployed, l load) float64 { return queueRequests * l.Events }},
	{hub, "SQS: the hourly drill", "each canary to each domain", queueRequest,
		func(d deployed, l load) float64 { return queueRequests * l.canaries() * float64(d.Domains) }},
	{hub, "SQS: asking queues that are empty", "five pollers a domain, every 20 s", queueRequest,
		func(d deployed, _ load) float64 { return float64(d.Domains) * pollers * pollsAnHour * hours }},
	{hub, "Lambda: requests", "one an event and canary, none together with others; hourly ones", invocation,
		func(d deployed, l load) float64 { return l.Events + (l.canaries()+hours)*float64(d.Domains) + hours }},
	{hub, "Lambda: time", "256 MB; round trips and own work", armSecond,
		func(d deployed, l load) float64 { return memoryGB * (seconds(d, l) + drillSeconds*hours) }},
	{hub, "DynamoDB: reads", "the gates of each event; the drill's answers", readUnit,
		func(d deployed, l load) float64 {
			return gateItems*l.Events + canaryReads*l.canaries()*float64(d.Domains)
		}},
	{hub, "DynamoDB: writes", "each change, with its four indexes; each canary", writeUnit,
		func(d deployed, l load) float64 { return writes*l.changes() + l.canaries()*float64(d.Domains) }},
	{hub, "DynamoDB: cases kept", "a year of them, in the table and three indexes", tableStored,
		func(_ deployed, l load) float64 { return monthsKept * l.changes() * caseKB * 1024 * 4 }},
	{hub, "DynamoDB: point-in-time recovery", "the same year, in the table", recoverable,
		func(_ deployed, l load) float64 { return monthsKept * l.changes() * caseKB * 1024 }},
	{hub, "SNS: alerts", "one a change", published, func(_ deployed, l load) float64 { return l.changes() }},
	{hub, "SNS: e-mails", "two subscribers", mailed, func(_ deployed, l load) float64 { return subscribers * l.changes() }},
	{hub, "KMS: the topic's key", "", key, fixed(func(d deployed) int { return d.Keys })},
	{hub, "KMS: requests", "two an alert", keyRequest, func(_ deployed, l load) float64 { return 2 * l.changes() }},
	{hub, "CloudWatch: logs, written", "an outcome line an event, and what Lambda itself logs", logged, logBytes},
	{hub, "CloudWatch: logs, kept", "", logStored,
		func(d deployed, l load) float64 { return logBytes(d, l) * float64(d.LogDays) / 30 }},
	{hub, "CloudWatch: metrics", "by control and outcome, in the hours that have any", metricHour, metrics},
	{hub, "CloudWatch: alarms", "", alarm, fixed(func(d deployed) int { return d.Alarms })},
	{hub, "CloudWatch: dashboard", "", dashboard, fixed(func(d deployed) int { return d.Dashboards })},
	{others, "GuardDuty, where it is on", "it analyses what CloudTrail records of Snapback's own calls: a read an event, two more a change, two an hour and site for the drill; each session twice, in hub and member", analysed,
		func(d deployed, l load) float64 {
			sessions := min(l.Events, float64(l.Accounts*d.Domains*environments)*sessionsAnHour*hours) + float64(l.Accounts)*hours
			return l.Events + 2*l.changes() + 2*l.canaries() + 2*sessions
		}},
	{others, "AWS Config, where it records the type", "an item a change", recorded, func(_ deployed, l load) float64 { return l.changes() }},
}

// loads are those of the page: of 100 accounts in 4 Regions.
var loads = []load{{100, 4, 1_000}, {100, 4, 100_000}, {100, 4, 10_000_000}}

// total is what those pay, or all if none is named, but for what other services ask.
func total(d deployed, l load, of ...payer) (usd float64) {
	for _, n := range lines {
		if slices.Contains(of, n.Payer) || len(of) == 0 && n.Payer != others {
			usd += n.usd(d, l)
		}
	}
	return usd
}

// greatest are the lines that cost most, but for other services.
func greatest(d deployed, l load, n int) []line {
	own := slices.DeleteFunc(slices.Clone(lines), func(n line) bool { return n.Payer == others })
	slices.SortStableFunc(own, func(a, b line) int { return cmp.Compare(b.usd(d, l), a.usd(d, l)) })
	return own[:n]
}

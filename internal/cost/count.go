package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// What a test of this package measures: one event about a bucket, by the
// function itself.
const (
	callsCompliant = 2    // the plan's read, and the gates
	callsChange    = 7    // with a session that is warm
	gateItems      = 7    // items of the ledger that are read before any decision
	caseKB         = 3    // a case, as it is sent
	smallWrites    = 4    // beside the case, in the transaction that opens it: live, lock, two counters
	closeWrites    = 2    // beside the case, in the one that closes it: lock, live
	lineBytes      = 700  // an outcome line of an event that changes nothing
	changeBytes    = 1000 // one of a change
)

// What `make bench` prints: serial round trips of the same, to the end.
const (
	tripsCompliant = 1
	tripsChange    = 6
)

// What is assumed.
const (
	hours          = 720  // of a month of 30 days
	memoryGB       = 0.25 // of a function
	tripSeconds    = 0.05 // of a round trip: a few ms within a Region, up to 0.2 s to the far side of the world
	ownSeconds     = 0.03 // of a function's own work on an event
	changeShare    = 0.01 // of the events lead to a change
	platformBytes  = 350  // that Lambda itself logs of an invocation: START, END, REPORT
	pollers        = 5    // of a queue whose concurrency is limited; Lambda developer guide, "Configuring scaling behavior for SQS event source mappings"
	pollsAnHour    = 180  // of one poller, each waiting for 20 s
	queueRequests  = 3    // of one message that nothing else shares a request with: put, received, deleted
	subscribers    = 2    // of the topic, by e-mail
	monthsKept     = 12   // of cases, when the ledger's size is looked at
	drillSeconds   = 70   // of the health function, for a drill: it waits for up to a minute
	canaryBytes    = 250  // the line about a canary that came
	canaryReads    = 0.2  // read units for it: some 150 bytes, read five times until all have come
	outcomesOfRule = 7    // metrics of one control or runbook that really come: compliant, gone, remediated with its time, awaiting-approval, held, failed
	otherMetrics   = 15   // outcomes by themselves, with their time; events; the drill's four
	eventMetrics   = 3    // that an event counts in: its outcome in two ways, and events
	environments   = 5    // of a function that are warm, one a poller
	sessionsAnHour = 4.3  // of a warm environment in an account: pkg/cloud renews one after 14 minutes
)

// deployed is what there is of Snapback, with everything on.
type deployed struct {
	Domains    int
	Rules      int // controls and runbooks
	HubRules   int // EventBridge rules of the hub's bus
	Forwarding []control.Rule
	Longest    int // characters of the longest pattern, with the account that is added to it

	Alarms, Dashboards, Keys, Functions, Queues int
	Concurrency                                 int
	LogDays, ArchiveDays                        int

	Roles, Policies int // of a member
	EventBytes      int // of a sample event, on average
	MemberBytes     int // of the member's template
	HubBytes        int // of the hub's
	HubResources    int
}

// count reads what there is of Snapback in a checkout.
func count(root string) (deployed, error) {
	d := deployed{Concurrency: baseline.DefaultConcurrency}
	for _, domain := range controls.Domains() {
		d.Domains++
		d.Rules += len(domain.Controls) + len(domain.Runbooks)
		d.HubRules += len(domain.Rules())
	}
	d.Forwarding = deployment.Forwarding(controls.Domains())
	for _, r := range d.Forwarding {
		d.Longest = max(d.Longest, len(r.Pattern.String())+len(`,"account":["222222222222"]`))
	}
	if err := d.countTemplates(filepath.Join(root, "infra", "testdata", "everything")); err != nil {
		return d, err
	}
	return d, d.countEvents(filepath.Join(root, "events"))
}

// stack is what of a CloudFormation template is counted.
type stack struct {
	Resources map[string]struct {
		Type       string
		Properties struct {
			RetentionInDays, RetentionDays int
		}
	}
}

func readTemplate(file string) (t stack, size int, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return t, 0, err
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, 0, fmt.Errorf("read %s: %w", file, err)
	}
	var small bytes.Buffer
	if err := json.Compact(&small, text); err != nil {
		return t, 0, fmt.Errorf("read %s: %w", file, err)
	}
	return t, small.Len(), nil
}

// of is how many resources of a type the template has.
func (t stack) of(kind string) (n int) {
	for _, r := range t.Resources {
		if r.Type == kind {
			n++
		}
	}
	return n
}

func (d *deployed) countTemplates(folder string) error {
	hub, size, err := readTemplate(filepath.Join(folder, "hub.json"))
	if err != nil {
		return err
	}
	d.HubBytes, d.HubResources = size, len(hub.Resources)
	d.Alarms, d.Dashboards = hub.of("AWS::CloudWatch::Alarm"), hub.of("AWS::CloudWatch::Dashboard")
	d.Keys, d.Functions, d.Queues = hub.of("AWS::KMS::Key"), hub.of("AWS::Lambda::Function"), hub.of("AWS::SQS::Queue")
	for _, r := range hub.Resources {
		d.LogDays = max(d.LogDays, r.Properties.RetentionInDays)
		d.ArchiveDays = max(d.ArchiveDays, r.Properties.RetentionDays)
	}
	member, size, err := readTemplate(filepath.Join(folder, "member.json"))
	d.MemberBytes, d.Roles, d.Policies = size, member.of("AWS::IAM::Role"), member.of("AWS::IAM::ManagedPolicy")
	return err
}

// countEvents takes the average size of the sample events.
func (d *deployed) countEvents(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("there are no sample events in %s", folder)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var small bytes.Buffer
		if err := json.Compact(&small, text); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		d.EventBytes += small.Len()
	}
	d.EventBytes /= len(files)
	return nil
}

// Package deployment says what is deployed, as data: names, roles and what they
// may do, event rules, service control policies. The templates (infra), the
// command line and the docs are made from it, so that none of it is written
// twice. It makes no AWS call and knows nothing of CDK.
package deployment

import "strings"

// The names of what is deployed once. They are fixed, because the command line,
// operators and the roles of members name them; everything begins with Prefix,
// by which members' roles and the guardrails protect it.
const (
	Prefix      = "snapback"
	Bus         = "snapback"             // the event bus of the hub
	Table       = "snapback"             // the ledger
	Topic       = "snapback-alerts"      // the main topic of alerts
	StackSet    = "snapback-member"      // what puts the member stack on every account
	LedgerStack = "snapback-ledger"      // the stack of the ledger alone, which stays
	HubStack    = "snapback-hub"         // the stack of all else in the hub
	Undelivered = "snapback-undelivered" // a member's queue of events that could not be put there
	Scheduler   = "snapback-scheduler"   // the role of the hub's schedules
	Guardrails  = "snapback-guardrails"  // the stack of the service control policies
)

// Health is the name, in the place of a domain's, of the function that sends
// canaries and looks at members. It answers no event.
const Health = "health"

// Function is the name of the function of a domain.
func Function(domain string) string { return Prefix + "-" + domain }

// LogGroup is where Lambda writes the log of a domain's function.
func LogGroup(domain string) string { return "/aws/lambda/" + Function(domain) }

// FunctionRole is the role that a domain's function runs with, in the hub.
func FunctionRole(domain string) string { return Prefix + "-function-" + domain }

// MemberRole is the role that a domain's function assumes in a member.
func MemberRole(domain string) string { return Prefix + "-" + domain }

// ForwardRole is the role of a member's rules in a Region, by which they put events
// on the hub's bus.
func ForwardRole(region string) string { return Prefix + "-forward-" + region }

// Queue is the queue of a domain's events.
func Queue(domain string) string { return Prefix + "-" + domain }

// DeadQueue is where a domain's events end that could not be handled.
func DeadQueue(domain string) string { return Queue(domain) + "-dead" }

// Rule is the name of a deployed rule.
func Rule(name string) string { return Prefix + "-" + name }

// RuleDescription is the description of a member's forwarding rules, by which it
// is known of which member template they are: the first 12 hexadecimal digits of
// its SHA-256.
func RuleDescription(digest string) string {
	return strings.TrimSpace("Snapback member template " + digest) // the digest is taken without one
}

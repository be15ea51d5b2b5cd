// Package health tells whether Snapback hears of what happens: it sends a
// canary event from every account and governed Region and reports where it did
// not come back, looks at what every account and Region needs, and has
// GuardDuty send sample findings. It is the function snapback-health, which
// answers no event and changes nothing in members.
package health

import "github.com/snapback-aws/snapback/pkg/engine"

// The commands.
const (
	Drill  = "drill"  // send canaries and wait until they have come back; the schedule gives it
	Look   = "look"   // look at what each account and Region needs
	Sample = "sample" // have GuardDuty make sample findings in one account and Region
)

// Request is a command to the function, the payload of a Lambda Invoke. The
// function's answer is an Answer.
type Request struct {
	// Command is one of the constants above.
	Command string `json:"command"`
	// Accounts are those to do it in. None: every active account of the
	// organization. A sample needs exactly one.
	Accounts []string `json:"accounts,omitempty"`
	// Regions are those to do it in, of the governed ones. None: all of them. A
	// sample needs exactly one.
	Regions []string `json:"regions,omitempty"`
	// Types are the finding types of a sample. None: one that a runbook answers.
	Types []string `json:"types,omitempty"`
}

// Answer is what came of a command.
type Answer struct {
	Verdict engine.Verdict `json:"verdict"`
	// Reason says what came of it in a sentence.
	Reason string `json:"reason"`
	// Version is that of the function, Baseline the SHA-256 of the baseline that it
	// carries, in hexadecimal.
	Version  string `json:"version"`
	Baseline string `json:"baseline"`
	// Drill is the ID of the drill, if it was one.
	Drill string `json:"drill,omitempty"`
	// Milliseconds is how long it took.
	Milliseconds int64 `json:"milliseconds"`
	// Stops is how many kill switches are on. A sample does not count them.
	Stops int `json:"stops"`
	// Sites are all that were looked at, by account and Region, those in order too.
	Sites []Site `json:"sites"`
}

// Site is one account in one Region.
type Site struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	// Missing are the domains whose canary was sent and did not come back.
	Missing []string `json:"missing,omitempty"`
	// Faults say what is wrong, in a sentence each, for people.
	Faults []string `json:"faults,omitempty"`
	// Undelivered is how many events wait in the queue of those that could not be
	// put on the hub's bus.
	Undelivered int `json:"undelivered,omitempty"`
}

// Wrong reports whether anything is wrong with the site.
func (s Site) Wrong() bool { return len(s.Missing)+len(s.Faults)+s.Undelivered > 0 }

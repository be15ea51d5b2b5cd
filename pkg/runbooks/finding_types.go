package runbooks

import (
	_ "embed"
	"slices"
	"strings"
	"sync"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// FindingType is a type of GuardDuty findings.
type FindingType struct {
	Name   string // "CryptoCurrency:EC2/BitcoinTool.B!DNS"
	Status Status
}

// Status is what AWS says of a finding type.
type Status string

// The statuses of finding types.
const (
	// Active types are made by default or with a protection plan.
	Active Status = "active"
	// OptIn types are made by Custom Detection Rules that somebody switched on.
	OptIn Status = "opt-in"
	// Retired types are made no longer; findings of them may still be told of.
	Retired Status = "retired"
)

// typesTable is every finding type that AWS has published. Source: GuardDuty
// user guide, "GuardDuty active finding types", "Retired finding types" and
// "Custom Detection Rules finding types", as of September 2026.
//
//go:embed finding_types.csv
var typesTable string

// statuses are the finding types with their statuses.
var statuses = sync.OnceValue(func() map[string]Status {
	all := map[string]Status{}
	for _, t := range FindingTypes() {
		all[t.Name] = t.Status
	}
	return all
})

// FindingTypes returns all finding types that Snapback knows, sorted by name.
func FindingTypes() []FindingType {
	var all []FindingType
	for i, row := range strings.Split(strings.TrimSpace(typesTable), "\n") {
		if name, status, ok := strings.Cut(row, ","); ok && i > 0 { // the first row has the names of the columns
			all = append(all, FindingType{name, Status(status)})
		}
	}
	return all
}

// Answer is what is done about findings of a type.
type Answer struct {
	// Type is empty but for its name if Snapback does not know it.
	Type FindingType
	// Runbooks are those that do something about findings of the type, each on a
	// condition.
	Runbooks []Conditional
	// Otherwise says which findings of the type are told alone, or why all are.
	Otherwise string
}

// Conditional is a runbook and on which findings of a type it answers.
type Conditional struct {
	control.Runbook
	// If is the condition in words: "its resource is an instance itself".
	If string
}

// AnswerTo returns what is done about findings of a type, known or not.
func AnswerTo(findingType string) Answer {
	a := Answer{Type: FindingType{findingType, statuses()[findingType]}}
	for _, r := range All() {
		if len(r.Steps) > 0 && r.Matches(findingType) {
			a.Runbooks = append(a.Runbooks, Conditional{r, condition(r.ID, findingType)})
		}
	}
	if a.Answered() {
		a.Otherwise = otherwise(findingType)
	} else {
		a.Otherwise = reason(&event.Finding{Type: findingType})
	}
	return a
}

// Answered reports whether a runbook does something about findings of the type.
func (a Answer) Answered() bool { return len(a.Runbooks) > 0 }

// condition is what a runbook's When comes to for one of its types.
func condition(runbook, findingType string) string {
	const itself = "its resource is an instance itself"
	switch {
	case ofCredentials(findingType):
		return credentialsOf[runbook]
	case findingType == instanceGroup:
		return "it calls instances compromised: each of them"
	case !slices.Contains(eitherSide, findingType):
		return itself
	case runbook == quarantineID:
		return itself + " and the role is " + event.RoleActor
	}
	return itself + " and the role is " + event.RoleTarget
}

// credentialsOf says whose credentials a runbook answers for.
var credentialsOf = map[string]string{
	keyID:            "the credentials are an access key of an IAM user",
	userRunbookID:    "the credentials are those of an IAM user",
	sessionRunbookID: "the credentials are those of a role's session",
}

package control_test

import (
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/pkg/control"
)

func TestFaultlessControlIsValid(t *testing.T) {
	observer := queuePolicy() // a control that only reports
	observer.ID, observer.Hazard, observer.Remedy.Name = "sqs-queue-tls", "", "report-queue-tls"
	observer.Remedy.Apply, observer.Remedy.Undo = nil, nil
	observer.Remedy.Permissions.Apply, observer.Remedy.Permissions.Undo = nil, nil
	observer.Params = &struct{ Days int }{90}
	other := queuePolicy()
	other.ID = "sqs-queue-policy-2"
	err := control.Validate([]control.Domain{
		{Name: "queues", Controls: []control.Control{queuePolicy(), observer}},
		{Name: "queues-2", Controls: []control.Control{other}}, // a remedy's name is unique within its domain alone
	})
	if err != nil {
		t.Error(err)
	}
}

func TestEveryFaultIsFound(t *testing.T) {
	const id = "control sqs-queue-policy: "
	for _, tt := range []struct {
		name  string
		fault func(*control.Control)
		want  string
	}{
		{"no ID", func(c *control.Control) { c.ID = "" }, "control : ID: want lower-case letters and digits, parted by hyphens"},
		{"ID in capitals", func(c *control.Control) { c.ID = "SQS" }, "control SQS: ID: want lower-case"},
		{"ID with underscores", func(c *control.Control) { c.ID = "sqs_queue" }, "control sqs_queue: ID: want lower-case"},
		{"ID ends with a hyphen", func(c *control.Control) { c.ID = "sqs-" }, "control sqs-: ID: want lower-case"},
		{"no Title", func(c *control.Control) { c.Title = "" }, id + "Title: want a sentence without a full stop"},
		{"Title with a full stop", func(c *control.Control) { c.Title = "Queues are safe." }, id + "Title: want a sentence without a full stop"},
		{"no Rationale", func(c *control.Control) { c.Rationale = "" }, id + "Rationale is missing"},
		{"no Hazard", func(c *control.Control) { c.Hazard = "" }, id + "Hazard is missing"},
		{"no Severity", func(c *control.Control) { c.Severity = "" }, id + "Severity is missing"},
		{"unknown Severity", func(c *control.Control) { c.Severity = "high" }, id + "Severity is missing"},
		{"no Type", func(c *control.Control) { c.Type = "" }, id + "Type: want a Config resource type"},
		{"short Type", func(c *control.Control) { c.Type = "SQS::Queue" }, id + "Type: want a Config resource type"},
		{"no Triggers", func(c *control.Control) { c.Triggers = nil }, id + "Triggers are missing"},
		{"no IDs", func(c *control.Control) { c.IDs = nil }, id + "IDs is missing"},
		{"no ARN", func(c *control.Control) { c.ARN = nil }, id + "ARN is missing"},
		{"no List", func(c *control.Control) { c.List = nil }, id + "List is missing"},
		{"short Source", func(c *control.Control) { c.Triggers[0].Source = "sqs" }, id + "a trigger's Source: want an eventSource"},
		{"trigger without Names", func(c *control.Control) { c.Triggers[0].Names = nil }, id + "a trigger without Names or Targets"},
		{"trigger without Targets", func(c *control.Control) { c.Triggers[0].Targets = nil }, id + "a trigger without Names or Targets"},
		{"Params that are no pointer", func(c *control.Control) { c.Params = struct{ Days int }{90} }, id + "Params: want a pointer to a struct"},
		{"Params that are no struct", func(c *control.Control) { c.Params = new(int) }, id + "Params: want a pointer to a struct"},
		{"no name of the remedy", func(c *control.Control) { c.Remedy.Name = "" }, id + "Remedy.Name: want lower-case"},
		{"name of the remedy with blanks", func(c *control.Control) { c.Remedy.Name = "restrict policy" }, id + "Remedy.Name: want lower-case"},
		{
			"no Plan", func(c *control.Control) { c.Remedy.Plan, c.Remedy.Permissions.Plan = nil, nil }, id + "Remedy.Plan is missing",
		},
		{
			"Undo without Apply", func(c *control.Control) { c.Remedy.Apply, c.Remedy.Permissions.Apply = nil, nil }, id + "Remedy.Undo without Apply",
		},
		{
			"permission to write for a control that observes",
			func(c *control.Control) { c.Remedy.Apply, c.Remedy.Undo, c.Remedy.Permissions.Undo = nil, nil, nil },
			id + "Permissions.Apply of a step that is not there",
		},
		{
			"permission to undo what can't be undone",
			func(c *control.Control) { c.Remedy.Undo = nil }, id + "Permissions.Undo of a step that is not there",
		},
		{"permission without Call", func(c *control.Control) { c.Remedy.Permissions.Plan[0].Call = "" }, id + "Permissions.Plan: want Call Service.Operation"},
		{"permission without service", func(c *control.Control) { c.Remedy.Permissions.List[0].Action = "ListQueues" }, id + "Permissions.List: want Call"},
		{"permission without Resource", func(c *control.Control) { c.Remedy.Permissions.Undo[0].Resource = "" }, id + "Permissions.Undo: want Call"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := queuePolicy()
			tt.fault(&c)
			wantFault(t, control.Validate([]control.Domain{{Name: "queues", Controls: []control.Control{c}}}), tt.want)
		})
	}
}

func TestFaultsOfDomainsAreFound(t *testing.T) {
	renamed := queuePolicy()
	renamed.ID = "sqs-queue-policy-2"
	another := queuePolicy()
	another.Remedy.Name = "another-remedy"
	for _, tt := range []struct {
		name    string
		domains []control.Domain
		want    string
	}{
		{"no name", []control.Domain{{}}, `domain "": want lower-case letters and digits, parted by hyphens`},
		{"name in capitals", []control.Domain{{Name: "Queues"}}, `domain "Queues": want lower-case`},
		{"the same name", []control.Domain{{Name: "queues"}, {Name: "queues"}}, "domain queues is there twice"},
		{
			"the same control in two domains",
			[]control.Domain{{Name: "a", Controls: []control.Control{queuePolicy()}}, {Name: "b", Controls: []control.Control{queuePolicy()}}},
			"control sqs-queue-policy is there twice",
		},
		{
			"the same control in one domain",
			[]control.Domain{{Name: "a", Controls: []control.Control{queuePolicy(), another}}},
			"control sqs-queue-policy is there twice",
		},
		{
			"the same remedy in one domain",
			[]control.Domain{{Name: "a", Controls: []control.Control{queuePolicy(), renamed}}},
			"remedy of a restrict-queue-policy is there twice",
		},
	} {
		t.Run(tt.name, func(t *testing.T) { wantFault(t, control.Validate(tt.domains), tt.want) })
	}
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	c := queuePolicy()
	c.Title, c.Type = "", ""
	err := control.Validate([]control.Domain{{Name: "Queues", Controls: []control.Control{c}}})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three faults, one a line, got:\n%v", err)
	}
}

// wantFault checks that there is one fault and that it is the wanted one.
func wantFault(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got fault %v\nwant     %s", err, want)
	}
}

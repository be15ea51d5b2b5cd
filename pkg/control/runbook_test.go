package control_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// queueRunbook is a runbook without a fault. Its functions do nothing, and its
// targets are what the finding's title says.
func queueRunbook() control.Runbook {
	queue := queuePolicy()
	step := func(name string, after ...string) control.Step {
		remedy := queue.Remedy
		remedy.Name = name
		return control.Step{Remedy: remedy, After: after}
	}
	return control.Runbook{
		ID:        "sqs-drain",
		Title:     "Drains a queue",
		Rationale: "What is in it may be poisoned.",
		Hazard:    "Messages are late.",
		Resource:  queue.Resource,
		Findings:  []string{"Impact:SQS/Flood*", "Trojan:SQS/Worm.A!DNS"},
		Targets: func(f *event.Finding) []control.Target {
			var targets []control.Target
			for id := range strings.FieldsSeq(f.Title) {
				account, name, ok := strings.Cut(id, "/")
				if !ok {
					account, name = "", id
				}
				targets = append(targets, control.Target{Account: account, ID: name, Type: "AWS::SNS::Topic"})
			}
			return targets
		},
		Steps: []control.Step{step("close"), step("copy"), step("empty", "close", "copy")},
	}
}

// teller is a runbook that only tells of a finding.
func teller() control.Runbook {
	r := queueRunbook()
	r.ID, r.Findings, r.Hazard, r.Steps = "report", []string{"*"}, "", nil
	r.Reason = func(*event.Finding) string { return "Nothing can be done." }
	return r
}

func finding(t *testing.T, findingType, title string) *event.Finding {
	t.Helper()
	return decode(t, "aws.guardduty", event.GuardDutyFinding, `{"accountId":"222222222222","id":"f","region":"eu-west-1","type":"`+
		findingType+`","title":"`+title+`"}`).Detail.(*event.Finding)
}

func TestRunbookAnswersForWhatTheFindingNames(t *testing.T) {
	queue := func(account, id string) control.Target {
		return control.Target{Account: account, Region: "eu-west-1", Type: "AWS::SQS::Queue", ID: id}
	}
	for _, tt := range []struct {
		name, findingType, title string
		want                     []control.Target
	}{
		{"one", "Impact:SQS/Flood.B", "orders", []control.Target{queue("222222222222", "orders")}},
		{"by its exact type", "Trojan:SQS/Worm.A!DNS", "orders", []control.Target{queue("222222222222", "orders")}},
		{"of another account", "Impact:SQS/Flood", "333333333333/orders", []control.Target{queue("333333333333", "orders")}},
		{"the same twice", "Impact:SQS/Flood", "orders bills 222222222222/orders", []control.Target{
			queue("222222222222", "orders"), queue("222222222222", "bills"),
		}},
		{"what can be no queue", "Impact:SQS/Flood", "or:ders x* bills", []control.Target{queue("222222222222", "bills")}},
		{"none", "Impact:SQS/Flood", "", nil},
		{"another type", "Trojan:SQS/Worm.A", "orders", nil},
		{"a type that only begins alike", "Impact:SQS/Drought", "orders", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := queueRunbook()
			if diff := cmp.Diff(tt.want, r.Answers(finding(t, tt.findingType, tt.title))); diff != "" {
				t.Errorf("targets differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSeverityInWordsFollowsGuardDutysScale(t *testing.T) {
	for severity, want := range map[float64]control.Severity{
		0: control.Low, 1: control.Low, 3.9: control.Low, 4: control.Medium, 6.9: control.Medium,
		7: control.High, 8.9: control.High, 9: control.Critical, 10: control.Critical,
	} {
		if got := control.SeverityOf(severity); got != want {
			t.Errorf("%g is %s, want %s", severity, got, want)
		}
	}
}

func TestFaultlessRunbookIsValid(t *testing.T) {
	one := queueRunbook()
	one.Params = &struct{ Days int }{90}
	one.Steps[0].After = []string{"copy"} // a later step may come first
	uses := queuePolicy()                 // it is its own domain's to check
	uses.Title = ""
	err := control.Validate([]control.Domain{{Name: "response", Runbooks: []control.Runbook{one, teller()}, Uses: []control.Control{uses}}})
	if err != nil {
		t.Error(err)
	}
}

func TestEveryFaultOfARunbookIsFound(t *testing.T) {
	const id = "runbook sqs-drain: "
	after := func(step int, names ...string) func(*control.Runbook) {
		return func(r *control.Runbook) { r.Steps[step].After = names }
	}
	for _, tt := range []struct {
		name  string
		fault func(*control.Runbook)
		want  string
	}{
		{"ID in capitals", func(r *control.Runbook) { r.ID = "SQS" }, "runbook SQS: ID: want lower-case"},
		{"no Title", func(r *control.Runbook) { r.Title = "" }, id + "Title: want a sentence without a full stop"},
		{"no Rationale", func(r *control.Runbook) { r.Rationale = "" }, id + "Rationale is missing"},
		{"no Hazard", func(r *control.Runbook) { r.Hazard = "" }, id + "Hazard is missing"},
		{"no Type", func(r *control.Runbook) { r.Type = "" }, id + "Type: want a Config resource type"},
		{"no ARN", func(r *control.Runbook) { r.ARN = nil }, id + "ARN is missing"},
		{"no IDs", func(r *control.Runbook) { r.IDs = nil }, id + "IDs is missing"},
		{"no Findings", func(r *control.Runbook) { r.Findings = nil }, id + "want either Findings or Triggers"},
		{"Findings and Triggers", func(r *control.Runbook) { r.Triggers, r.Severity = queuePolicy().Triggers, control.High }, id + "want either Findings or Triggers"},
		{"Triggers without a Severity", func(r *control.Runbook) { r.Findings, r.Triggers = nil, queuePolicy().Triggers }, id + "Severity is missing"},
		{"no glob", func(r *control.Runbook) { r.Findings[0] = "Impact" }, id + `Findings: "Impact" is no glob`},
		{"a glob with a blank", func(r *control.Runbook) { r.Findings[1] = "Impact:SQS/ *" }, id + `Findings: "Impact:SQS/ *" is no glob`},
		{"no Targets", func(r *control.Runbook) { r.Targets = nil }, id + "Targets is missing"},
		{"neither Steps nor Reason", func(r *control.Runbook) { r.Steps = nil }, id + "Reason is missing"},
		{"Steps and Reason", func(r *control.Runbook) { r.Reason = teller().Reason }, id + "Reason of a runbook that has Steps"},
		{"Params that are no pointer", func(r *control.Runbook) { r.Params = struct{ Days int }{90} }, id + "Params: want a pointer to a struct"},
		{"a faulty remedy", func(r *control.Runbook) { r.Steps[1].Remedy.Plan = nil; r.Steps[1].Remedy.Permissions.Plan = nil }, id + "step copy: Remedy.Plan is missing"},
		{"a permission without Call", func(r *control.Runbook) {
			r.Steps[1].Remedy.Permissions = control.Permissions{Undo: []control.Permission{{Action: "a:B", Resource: "*"}}}
		}, id + "step copy: Permissions.Undo: want Call"},
		{"after what is not there", after(1, "closed"), id + `step copy is after "closed", which is no step of the runbook`},
		{"after itself", after(1, "copy"), id + "steps that wait for each other: copy, empty"},
		{"in a circle", after(0, "empty"), id + "steps that wait for each other: close, empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := queueRunbook()
			tt.fault(&r)
			wantFault(t, control.Validate([]control.Domain{{Name: "response", Runbooks: []control.Runbook{r}}}), tt.want)
		})
	}
}

func TestNamesAreUniqueOverControlsAndRunbooks(t *testing.T) {
	named := func(id string, steps ...string) control.Runbook {
		r := queueRunbook()
		r.ID, r.Steps = id, r.Steps[:0]
		for _, name := range steps {
			s := queueRunbook().Steps[0]
			s.Remedy.Name = name
			r.Steps = append(r.Steps, s)
		}
		return r
	}
	for _, tt := range []struct {
		name     string
		runbooks []control.Runbook
		want     string
	}{
		{"the ID of a control", []control.Runbook{named("sqs-queue-policy", "a")}, "runbook sqs-queue-policy is there twice"},
		{"the ID of a runbook", []control.Runbook{named("x", "a"), named("x", "b")}, "runbook x is there twice"},
		{"the remedy of a control", []control.Runbook{named("x", "restrict-queue-policy")}, "remedy of queues restrict-queue-policy is there twice"},
		{"the remedy of another runbook", []control.Runbook{named("x", "a"), named("y", "a")}, "remedy of queues a is there twice"},
		{"the same remedy twice", []control.Runbook{named("x", "a", "a")}, "remedy of queues a is there twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := control.Domain{Name: "queues", Controls: []control.Control{queuePolicy()}, Runbooks: tt.runbooks}
			wantFault(t, control.Validate([]control.Domain{d}), tt.want)
		})
	}
}

func TestRunbooksAreBroughtEveryFinding(t *testing.T) {
	d := control.Domain{Name: "response", Runbooks: []control.Runbook{queueRunbook(), teller()}}
	rules := d.Rules()
	if len(rules) != 2 || rules[0].Name != "response-guardduty" {
		t.Fatalf("rules are %v, want response-guardduty and the one of drills", rules)
	}
	m := rules[0].Pattern.Matcher()
	for _, findingType := range []string{"Impact:SQS/Flood", "Something:Entirely/New"} {
		e := decode(t, "aws.guardduty", event.GuardDutyFinding, `{"accountId":"222222222222","id":"f","region":"eu-west-1","type":"`+findingType+`"}`)
		if !m.Match(e) {
			t.Errorf("no rule brings a finding of type %s", findingType)
		}
	}
	for _, e := range []*event.Event{
		decode(t, "aws.guardduty", "GuardDuty Malware Protection Object Scan Result", `{}`),
		decode(t, "com.example", event.GuardDutyFinding, `{}`),
	} {
		if m.Match(e) {
			t.Errorf("the rule brings %s of %s", e.DetailType, e.Source)
		}
	}
	d.Runbooks = nil
	if rules := d.Rules(); len(rules) != 1 || rules[0].Name != "response-drill" {
		t.Errorf("a domain without runbooks has rules %v, want that of drills alone", rules)
	}
}

package main

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/health"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

const hubAccount = "111111111111"

// everything is the hub's template of the baseline in which everything is on, and
// that baseline.
func everything(t *testing.T) (template, *baseline.Baseline) {
	t.Helper()
	text := baselineOf(t, "everything")
	return templatesOf(t, text)[deployment.HubStack], inputOf(t, text, controls.Domains()).baseline
}

// of are the resources of a type, by logical ID.
func (made template) of(kind string) map[string]resource {
	all := map[string]resource{}
	for id, r := range made.Resources {
		if r.Type == kind {
			all[id] = r
		}
	}
	return all
}

// named is the resource of a type that has a name.
func (made template) named(t *testing.T, kind, property, name string) (string, resource) {
	t.Helper()
	for id, r := range made.of(kind) {
		if r.Properties[property] == name {
			return id, r
		}
	}
	t.Fatalf("there is no %s with the %s %s", kind, property, name)
	return "", resource{}
}

// as reads a value of a template into a form.
func as[T any](t *testing.T, value any) T {
	t.Helper()
	var form T
	if err := json.Unmarshal([]byte(encoded(t, value)), &form); err != nil {
		t.Fatalf("%v: %v", value, err)
	}
	return form
}

// filledAs is what a policy is in the hub. The topic's key is named by the
// template alone.
func filledAs(t *testing.T, d deployment.Document) any {
	t.Helper()
	text := strings.NewReplacer("${Partition}", "aws", "${Account}", hubAccount, "${TopicKey}", "[TopicKey Arn]").Replace(encoded(t, d))
	return single(as[any](t, json.RawMessage(text)))
}

// single writes a list of one as what it holds: a policy means the same by both.
func single(tree any) any {
	switch v := tree.(type) {
	case []any:
		for i := range v {
			v[i] = single(v[i])
		}
		if len(v) == 1 {
			return v[0]
		}
	case map[string]any:
		for key := range v {
			v[key] = single(v[key])
		}
	}
	return tree
}

// What a function may do is exactly what package deployment says, for it and for no
// other; nothing of CDK's own is added.
func TestFunctionsMayDoWhatIsGeneratedAndNoMore(t *testing.T) {
	made, b := everything(t)
	want := map[string][]deployment.Policy{deployment.Health: deployment.HealthFunctionPolicies(b)}
	for _, d := range deployment.On(controls.Domains(), b) {
		want[d.Name] = deployment.FunctionPolicies(d, b)
	}
	for name, policies := range want {
		id, role := made.named(t, "AWS::IAM::Role", "RoleName", deployment.FunctionRole(name))
		got := map[string]any{}
		for _, p := range role.Properties["Policies"].([]any) {
			p := inAccount(p, "aws", hubAccount).(map[string]any)
			got[p["PolicyName"].(string)] = single(p["PolicyDocument"])
		}
		expected := map[string]any{}
		for _, p := range policies {
			expected[p.Name] = filledAs(t, p.Document)
		}
		if len(expected) == 0 {
			t.Errorf("nothing is generated for %s", name)
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		if role.Properties["ManagedPolicyArns"] != nil {
			t.Errorf("the role of %s has more policies", name)
		}
		_, f := made.named(t, "AWS::Lambda::Function", "FunctionName", deployment.Function(name))
		if got := as[map[string][]string](t, f.Properties["Role"]); got["Fn::GetAtt"][0] != id {
			t.Errorf("%s runs with the role %v", name, got)
		}
	}
	for _, kind := range []string{"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::Lambda::Permission"} {
		if more := made.of(kind); len(more) > 0 {
			t.Errorf("there are %s besides: %v", kind, more)
		}
	}
}

func TestFunctionsHaveTheirOwnCodeAndSettings(t *testing.T) {
	made, b := everything(t)
	folder := synthesized(t, baselineOf(t, "everything"))
	for _, name := range append(names(b), deployment.Health) {
		_, f := made.named(t, "AWS::Lambda::Function", "FunctionName", deployment.Function(name))
		p := as[struct {
			Runtime, Handler string
			Architectures    []string
			Code             struct{ S3Key string }
			Environment      struct{ Variables map[string]any }
			LoggingConfig    struct{ LogGroup map[string]string }
		}](t, f.Properties)
		if got := binary(t, filepath.Join(folder, "asset."+p.Code.S3Key)); got != "the function "+name {
			t.Errorf("the code of %s is that of %q", name, got)
		}
		if p.Runtime != "provided.al2023" || p.Handler != "bootstrap" || !slices.Equal(p.Architectures, []string{"arm64"}) {
			t.Errorf("%s runs %s on %s %v", name, p.Handler, p.Runtime, p.Architectures)
		}
		group := made.Resources[p.LoggingConfig.LogGroup["Ref"]]
		if group.Properties["LogGroupName"] != "/aws/lambda/"+deployment.Function(name) || group.Properties["RetentionInDays"] != 365.0 {
			t.Errorf("%s writes its logs to %v", name, group.Properties)
		}
		// What it starts with is what it asks for: it would name what is missing.
		if name != deployment.Health {
			_, err := function.ReadConfig(func(variable string) string {
				text, _ := inAccount(p.Environment.Variables[variable], "aws", hubAccount).(string)
				return strings.Replace(text, "${Topic}", "arn:aws:sns:us-east-1:111111111111:snapback-alerts", 1)
			})
			if err != nil {
				t.Errorf("%s would not start: %v", name, err)
			}
		}
		if p.Environment.Variables["SNAPBACK_BASELINE_DIGEST"] != b.Digest || p.Environment.Variables["SNAPBACK_ROLE"] != deployment.MemberRole(name) {
			t.Errorf("%s has the environment %v", name, p.Environment.Variables)
		}
	}
}

// Health knows what is deployed by its environment alone.
func TestHealthKnowsWhatIsDeployed(t *testing.T) {
	made, b := everything(t)
	_, f := made.named(t, "AWS::Lambda::Function", "FunctionName", deployment.Function(deployment.Health))
	variables := as[struct{ Variables map[string]string }](t, f.Properties["Environment"]).Variables
	got, err := health.ReadConfig(func(name string) string { return variables[name] })
	if err != nil {
		t.Fatalf("it would not start: %v", err)
	}
	rules := deployment.Forwarding(deployment.On(controls.Domains(), b))
	if !slices.Equal(got.Domains, names(b)) || got.Rules != len(rules) || got.Patterns != deployment.Fingerprint(rules) || len(got.Member) != 12 {
		t.Errorf("it is told %+v", got)
	}
}

func names(b *baseline.Baseline) []string {
	var all []string
	for _, d := range deployment.On(controls.Domains(), b) {
		all = append(all, d.Name)
	}
	return all
}

// binary is what stands for the program in a function's zip.
func binary(t *testing.T, file string) string {
	t.Helper()
	archive, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = archive.Close() }()
	f, err := archive.Open("bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// queue is what the template says of a queue.
type queue struct {
	QueueName              string
	SqsManagedSseEnabled   bool
	VisibilityTimeout      int
	MessageRetentionPeriod int
	RedrivePolicy          redrive
	RedriveAllowPolicy     map[string]any
}

type redrive struct {
	DeadLetterTargetArn map[string][]string `json:"deadLetterTargetArn"`
	MaxReceiveCount     int                 `json:"maxReceiveCount"`
}

// An event is lost nowhere on its way from the bus to the function: what the rule
// can't put on the queue and what the function can't handle end in one queue.
func TestEventsGoFromTheBusToTheFunctionOrTheDeadLetterQueue(t *testing.T) {
	made, b := everything(t)
	rules := made.of("AWS::Events::Rule")
	for _, d := range deployment.On(controls.Domains(), b) {
		id, q := made.named(t, "AWS::SQS::Queue", "QueueName", deployment.Queue(d.Name))
		deadID, dead := made.named(t, "AWS::SQS::Queue", "QueueName", deployment.DeadQueue(d.Name))
		live := as[queue](t, q.Properties)
		functionID, f := made.named(t, "AWS::Lambda::Function", "FunctionName", deployment.Function(d.Name))
		if timeout := int(f.Properties["Timeout"].(float64)); live.VisibilityTimeout < 6*timeout {
			t.Errorf("%s hands a message out again after %d s; its function may take %d s", live.QueueName, live.VisibilityTimeout, timeout)
		}
		if !slices.Equal(live.RedrivePolicy.DeadLetterTargetArn["Fn::GetAtt"], []string{deadID, "Arn"}) || live.RedrivePolicy.MaxReceiveCount < 5 {
			t.Errorf("%s gives up by %+v", live.QueueName, live.RedrivePolicy)
		}
		allow := inAccount(dead.Properties["RedriveAllowPolicy"], "aws", hubAccount)
		want := map[string]any{
			"redrivePermission": "byQueue", "sourceQueueArns": []any{"arn:aws:sqs:us-east-1:111111111111:" + deployment.Queue(d.Name)},
		}
		if diff := cmp.Diff(want, allow); diff != "" {
			t.Errorf("who gives up into the dead-letter queue of %s (-want +got)\n%s", d.Name, diff)
		}
		for _, r := range d.Rules() {
			_, rule := made.named(t, "AWS::Events::Rule", "Name", deployment.Rule(r.Name))
			wantRule(t, rule, id, deadID)
			delete(rules, logicalID(r.Name, "Rule"))
		}
		mapping := made.Resources[logicalID(d.Name, "Mapping")]
		wantMapping := map[string]any{
			"BatchSize": 10.0, "EventSourceArn": map[string]any{"Fn::GetAtt": []any{id, "Arn"}}, "FunctionName": map[string]any{"Ref": functionID},
			"FunctionResponseTypes": []any{"ReportBatchItemFailures"},
			"ScalingConfig":         map[string]any{"MaximumConcurrency": float64(b.Deployment.Concurrency)},
		}
		if diff := cmp.Diff(wantMapping, mapping.Properties); diff != "" {
			t.Errorf("from queue to function %s (-want +got)\n%s", d.Name, diff)
		}
	}
	for id := range rules {
		t.Errorf("rule %s is of no domain", id)
	}
}

func wantRule(t *testing.T, rule resource, queue, dead string) {
	t.Helper()
	got := as[struct {
		Name, State  string
		EventBusName map[string]string
		Targets      []struct {
			Arn              map[string][]string
			DeadLetterConfig struct{ Arn map[string][]string }
		}
	}](t, rule.Properties)
	if got.State != "ENABLED" || got.EventBusName["Ref"] != "Bus" || len(got.Targets) != 1 ||
		!slices.Equal(got.Targets[0].Arn["Fn::GetAtt"], []string{queue, "Arn"}) ||
		!slices.Equal(got.Targets[0].DeadLetterConfig.Arn["Fn::GetAtt"], []string{dead, "Arn"}) {
		t.Errorf("%s sends so: %+v", got.Name, got)
	}
}

func TestEveryQueueIsEncryptedAndTakesTLSAlone(t *testing.T) {
	made, _ := everything(t)
	policies := made.of("AWS::SQS::QueuePolicy")
	for id, r := range made.of("AWS::SQS::Queue") {
		if q := as[queue](t, r.Properties); !q.SqsManagedSseEnabled || q.MessageRetentionPeriod != 14*24*3600 {
			t.Errorf("%s is encrypted: %v; it keeps a message for %d s", q.QueueName, q.SqsManagedSseEnabled, q.MessageRetentionPeriod)
		}
		found := false
		for _, p := range policies {
			found = found || strings.Contains(encoded(t, p.Properties["Queues"]), `"`+id+`"`) && deniesPlain(t, p.Properties["PolicyDocument"], id)
		}
		if !found {
			t.Errorf("%s takes what comes without TLS", id)
		}
	}
}

// deniesPlain reports whether a policy of a queue denies everybody what comes
// without TLS.
func deniesPlain(t *testing.T, policy any, queue string) bool {
	t.Helper()
	want := map[string]any{
		"Sid": "TLS", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "[" + queue + " Arn]",
		"Condition": map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}},
	}
	for _, s := range as[struct{ Statement []any }](t, policy).Statement {
		if cmp.Equal(want, single(inAccount(s, "aws", hubAccount))) {
			return true
		}
	}
	return false
}

// Whoever is paged at night reads what is wrong and what to do, and an alarm that
// reaches nobody is none.
func TestEveryAlarmReachesTheOperatorsAndSaysWhatToDo(t *testing.T) {
	made, b := everything(t)
	have := map[string]bool{}
	for id, r := range made.of("AWS::CloudWatch::Alarm") {
		a := as[struct {
			AlarmName, AlarmDescription string
			AlarmActions                []map[string]string
			ActionsEnabled              *bool
			Period, EvaluationPeriods   int
		}](t, r.Properties)
		have[a.AlarmName] = true
		if len(a.AlarmActions) != 1 || a.AlarmActions[0]["Ref"] != "Topic" || a.ActionsEnabled != nil {
			t.Errorf("%s does this: %v", a.AlarmName, a.AlarmActions)
		}
		// The topic's policy lets alarms of this name in; CloudWatch takes
		// as much of a description. Source: CloudWatch API reference, PutMetricAlarm.
		if !strings.HasPrefix(a.AlarmName, "snapback-") || len(a.AlarmDescription) > 1024 || strings.Count(a.AlarmDescription, ".") < 2 {
			t.Errorf("%s is called %s, and says %q", id, a.AlarmName, a.AlarmDescription)
		}
		if seconds := a.Period * a.EvaluationPeriods; a.Period%60 != 0 || seconds > 24*3600 {
			t.Errorf("%s looks at %d s", a.AlarmName, seconds)
		}
	}
	want := map[string]bool{}
	for _, d := range names(b) {
		for _, what := range []string{"dead", "late", "errors", "throttled"} {
			want["snapback-"+d+"-"+what] = true
		}
	}
	for _, what := range []string{"failed", "held", "no-events", "drills-missing", "no-drills", "undelivered", "sites-wrong", "health-errors", "scheduler-dead"} {
		want["snapback-"+what] = true
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("alarms (-want +got)\n%s", diff)
	}
}

// Silence is what an alarm must notice where events or canaries should come.
func TestSilenceIsAnAlarm(t *testing.T) {
	made, _ := everything(t)
	for _, name := range []string{"snapback-no-events", "snapback-no-drills"} {
		_, a := made.named(t, "AWS::CloudWatch::Alarm", "AlarmName", name)
		if a.Properties["TreatMissingData"] != "breaching" || a.Properties["ComparisonOperator"] != "LessThanThreshold" || a.Properties["Threshold"] != 1.0 {
			t.Errorf("%s: %v", name, a.Properties)
		}
	}
}

// A command that a function does not know is answered with a misuse, to nobody.
func TestSchedulesGiveCommandsThatFunctionsKnow(t *testing.T) {
	made, b := everything(t)
	want := map[string]string{
		deployment.Function(deployment.Health) + " rate(1 hour)": health.Drill,
		deployment.Function(deployment.Health) + " rate(1 day)":  health.Look,
	}
	for _, d := range names(b) {
		want[deployment.Function(d)+" rate(1 hour)"] = function.Expire
	}
	got := map[string]string{}
	for id, r := range made.of("AWS::Scheduler::Schedule") {
		s := as[struct {
			ScheduleExpression string
			GroupName          map[string]string
			Target             struct {
				Arn, RoleArn     map[string][]string
				Input            string
				DeadLetterConfig struct{ Arn map[string][]string }
			}
		}](t, r.Properties)
		f := made.Resources[s.Target.Arn["Fn::GetAtt"][0]]
		name, _ := f.Properties["FunctionName"].(string)
		var request function.Request
		if err := json.Unmarshal([]byte(s.Target.Input), &request); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		got[name+" "+s.ScheduleExpression] = request.Command
		if s.Target.RoleArn["Fn::GetAtt"][0] != "SchedulerRole" ||
			s.Target.DeadLetterConfig.Arn["Fn::GetAtt"][0] != "SchedulerDeadQueue" || s.GroupName["Ref"] != "ScheduleGroup" {
			t.Errorf("%s: %+v", id, s)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("commands by function and time (-want +got)\n%s", diff)
	}
}

// The dashboard is text within the template; that it is right JSON nobody else
// looks at.
func TestDashboardShowsEveryAlarmQueueAndFunction(t *testing.T) {
	made, b := everything(t)
	text, _ := inAccount(made.Resources["Dashboard"].Properties["DashboardBody"], "aws", hubAccount).(string)
	var body struct {
		Widgets []struct {
			Type                string
			X, Y, Width, Height int
			Properties          struct {
				Alarms []string
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	var shown []string
	for _, w := range body.Widgets {
		shown = append(shown, w.Properties.Alarms...)
		if w.X+w.Width > 24 || w.Height == 0 {
			t.Errorf("a widget of %s is beside the dashboard: %+v", w.Type, w)
		}
	}
	for _, a := range made.of("AWS::CloudWatch::Alarm") {
		if arn := fmt.Sprintf("arn:aws:cloudwatch:us-east-1:111111111111:alarm:%v", a.Properties["AlarmName"]); !slices.Contains(shown, arn) {
			t.Errorf("the dashboard does not show %s", arn)
		}
	}
	for _, d := range names(b) {
		for _, name := range []string{deployment.Queue(d), deployment.DeadQueue(d), deployment.Function(d)} {
			if !strings.Contains(text, `"`+name+`"`) {
				t.Errorf("the dashboard does not show %s", name)
			}
		}
	}
	if !strings.Contains(text, "${PROP('Dim.control')}") || strings.Contains(text, "${!") {
		t.Error("CloudFormation would fill in the labels of the dashboard")
	}
}

// What goes to every account is the member's template to the byte, in the home
// Region first, which makes the roles.
func TestStackSetBringsTheMemberTemplateEverywhere(t *testing.T) {
	made, b := everything(t)
	folder := synthesized(t, baselineOf(t, "everything"))
	set := as[struct {
		StackSetName, PermissionModel, CallAs string
		Capabilities                          []string
		AutoDeployment                        struct{ Enabled, RetainStacksOnAccountRemoval bool }
		ManagedExecution                      struct{ Active bool }
		OperationPreferences                  struct{ RegionOrder []string }
		StackInstancesGroup                   []struct {
			DeploymentTargets struct{ OrganizationalUnitIds []string } //nolint:revive // as CloudFormation spells it
			Regions           []string
		}
		TemplateURL map[string]string
	}](t, made.Resources["Members"].Properties)
	regions := []string{"us-east-1", "eu-west-1", "ap-southeast-2"}
	if set.StackSetName != deployment.StackSet || set.PermissionModel != "SERVICE_MANAGED" || set.CallAs != "DELEGATED_ADMIN" ||
		!slices.Equal(set.Capabilities, []string{"CAPABILITY_NAMED_IAM"}) || !set.AutoDeployment.Enabled ||
		set.AutoDeployment.RetainStacksOnAccountRemoval || !set.ManagedExecution.Active || !slices.Equal(set.OperationPreferences.RegionOrder, regions) {
		t.Errorf("the StackSet is %+v", set)
	}
	if g := set.StackInstancesGroup; len(g) != 1 || !slices.Equal(g[0].Regions, regions) ||
		!slices.Equal(g[0].DeploymentTargets.OrganizationalUnitIds, []string{b.Organization.Root}) {
		t.Errorf("it goes to %+v", g)
	}
	brought, err := os.ReadFile(filepath.Join(folder, "asset."+filepath.Base(set.TemplateURL["Fn::Sub"])))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(templatesOf(t, baselineOf(t, "everything"))["member"].text), string(brought)); diff != "" {
		t.Errorf("it brings something else (-want +got)\n%s", diff)
	}
}

func TestTheManagementAccountNeedsNoDelegation(t *testing.T) {
	o := baseline.Organization{Management: hubAccount, Hub: baseline.Hub{Account: hubAccount}}
	if got := callAs(o); got != "SELF" {
		t.Errorf("it calls as %s", got)
	}
}

// The table is the one that package ledger needs, and survives what removes all
// else.
func TestTheTableIsTheLedgersAndStays(t *testing.T) {
	path := filepath.Join(synthesized(t, baselineOf(t, "everything")), deployment.LedgerStack+".template.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Resources map[string]struct {
			Type, DeletionPolicy, UpdateReplacePolicy string
			Properties                                json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &made); err != nil {
		t.Fatal(err)
	}
	table := made.Resources["Table"]
	if len(made.Resources) != 1 || table.Type != "AWS::DynamoDB::Table" || table.DeletionPolicy != "Retain" || table.UpdateReplacePolicy != "Retain" {
		t.Errorf("the stack holds %+v", made.Resources)
	}
	// The template names what the API names, but for what the API sets by calls of their own.
	var got dynamodb.CreateTableInput
	if err := json.Unmarshal(table.Properties, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(encodedTable(t, ledger.Schema(deployment.Table)), encodedTable(t, &got)); diff != "" {
		t.Errorf("the table (-want +got)\n%s", diff)
	}
	settings := as[map[string]any](t, table.Properties)
	for name, want := range map[string]any{
		"TimeToLiveSpecification":          map[string]any{"AttributeName": "ttl", "Enabled": true},
		"PointInTimeRecoverySpecification": map[string]any{"PointInTimeRecoveryEnabled": true},
		"DeletionProtectionEnabled":        true,
	} {
		if diff := cmp.Diff(want, settings[name]); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

// encodedTable is what ledger.Schema says of a table, as JSON.
func encodedTable(t *testing.T, in *dynamodb.CreateTableInput) string {
	t.Helper()
	return encoded(t, []any{in.TableName, in.BillingMode, in.KeySchema, in.AttributeDefinitions, in.GlobalSecondaryIndexes})
}

package deployment_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

func TestDomainsThatOnlyObserveMayChangeNothing(t *testing.T) {
	b := all(t, baseline.Observe)
	for _, d := range deployment.On(controls.Domains(), b) {
		planned := map[string]bool{}
		for _, r := range remediesOf(d) {
			for _, p := range r.Permissions.Plan {
				planned[p.Action] = true
			}
		}
		for _, policy := range deployment.MemberPolicies(d, b) {
			for _, s := range policy.Document.Statement {
				for _, action := range s.Action {
					if !reads(action) || !planned[action] {
						t.Errorf("%s allows %s, which no plan needs, or which changes something", policy.Name, action)
					}
				}
			}
		}
	}
}

func TestControlThatIsOffContributesNothing(t *testing.T) {
	if on := deployment.On(controls.Domains(), all(t, baseline.Off)); len(on) > 0 {
		t.Errorf("with everything off, %d domains are on", len(on))
	}
	b := all(t, baseline.Enforce)
	b.Controls = []baseline.Setting{{Name: "s3-bucket-public-access", Mode: baseline.Off}}
	whole, on := domain(t, "storage", all(t, baseline.Enforce)), domain(t, "storage", b)
	if len(on.Controls) != len(whole.Controls)-1 {
		t.Errorf("%d of %d controls are on", len(on.Controls), len(whole.Controls))
	}
	for _, g := range deployment.Grants(on, b) {
		if strings.Contains(g.Action, "Bucket") {
			t.Errorf("%s is granted for a control that is off", g.Action)
		}
	}
	for _, r := range on.Rules() {
		if strings.Contains(r.Pattern.String(), "CreateBucket") {
			t.Errorf("rule %s looks for what only a control that is off looks at", r.Name)
		}
	}
	if n := len(controls.Domains()[0].Controls); n != len(whole.Controls) {
		t.Errorf("the domain itself was changed: it has %d controls", n)
	}
}

// An override may make a control stronger somewhere than it is everywhere else.
func TestStrongestModeAnywhereDecides(t *testing.T) {
	b := all(t, baseline.Off)
	b.Overrides = []baseline.Override{{Match: baseline.Match{Accounts: []string{member}}, Controls: []string{"s3-bucket-*"}, Mode: baseline.Approve}}
	p := memberRole(t, domain(t, "storage", b), b)
	for action, want := range map[string]iampolicy.Answer{
		"s3:GetBucketPublicAccessBlock": iampolicy.Yes, "s3:PutBucketPublicAccessBlock": iampolicy.Yes,
		"s3:GetAccountPublicAccessBlock": iampolicy.No, "s3:PutAccountPublicAccessBlock": iampolicy.No,
	} {
		if got := p.May(action, "arn:aws:s3:::example", nil); got != want {
			t.Errorf("%s: %s, want %s", action, got, want)
		}
	}
}

func TestTagsAreReadWhereAnOverrideGoesByThem(t *testing.T) {
	const action = "tag:GetResources"
	b := all(t, baseline.Observe)
	b.Overrides = []baseline.Override{{
		Match: baseline.Match{Tags: map[string]string{"env": "dev"}}, Mode: baseline.Observe,
		// The second is of a type without tags, and is never asked for any.
		Controls: []string{"ec2-*", "s3-account-public-access"},
	}}
	for name, want := range map[string]iampolicy.Answer{"network": iampolicy.Yes, "storage": iampolicy.No, "response": iampolicy.No} {
		if got := memberRole(t, domain(t, name, b), b).May(action, "*", nil); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// ordinary is a resource that a permission is for.
func ordinary(p control.Permission) string {
	if p.Resource == "*" {
		return "*"
	}
	return strings.ReplaceAll(strings.ReplaceAll(filled(member, p.Resource), ":*:", ":333333333333:"), "*", "app")
}

// own are resources of Snapback's own, in a member and in the hub, and what could
// be done to each by somebody who may do everything.
var own = map[string][]string{
	"arn:aws:iam::222222222222:role/snapback-storage":                                  {"iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:PutRolePermissionsBoundary", "iam:TagRole", "iam:DeleteRole", "iam:PassRole", "sts:AssumeRole"},
	"arn:aws:iam::222222222222:role/snapback-forward-us-east-1":                        {"iam:PutRolePolicy", "iam:UpdateRole"},
	"arn:aws:iam::222222222222:role/snapback-health":                                   {"iam:PutRolePolicy", "sts:AssumeRole"},
	"arn:aws:iam::333333333333:role/snapback-identity":                                 {"sts:AssumeRole"},
	"arn:aws:iam::111111111111:role/snapback-function-storage":                         {"iam:PutRolePolicy", "iam:PassRole"},
	"arn:aws:iam::111111111111:role/snapback-scheduler":                                {"iam:PutRolePolicy", "iam:PassRole"},
	"arn:aws:iam::222222222222:role/stacksets-exec-0123456789abcdef":                   {"iam:PutRolePolicy", "iam:DetachRolePolicy", "sts:AssumeRole"},
	"arn:aws:iam::222222222222:policy/snapback-storage-protect":                        {"iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeletePolicy"},
	"arn:aws:events:eu-west-1:222222222222:rule/snapback-s3":                           {"events:DisableRule", "events:DeleteRule", "events:RemoveTargets", "events:PutRule"},
	"arn:aws:events:us-east-1:111111111111:rule/snapback/snapback-storage-s3":          {"events:DisableRule", "events:PutTargets"},
	"arn:aws:events:us-east-1:111111111111:event-bus/snapback":                         {"events:PutEvents", "events:DeleteEventBus", "events:PutPermission"},
	"arn:aws:events:us-east-1:111111111111:archive/snapback":                           {"events:DeleteArchive"},
	"arn:aws:sqs:eu-west-1:222222222222:snapback-undelivered":                          {"sqs:DeleteQueue", "sqs:PurgeQueue", "sqs:ReceiveMessage"},
	"arn:aws:sqs:us-east-1:111111111111:snapback-storage-dead":                         {"sqs:PurgeQueue", "sqs:SendMessage", "sqs:SetQueueAttributes"},
	"arn:aws:sns:us-east-1:111111111111:snapback-alerts":                               {"sns:Publish", "sns:Subscribe", "sns:DeleteTopic"},
	"arn:aws:lambda:us-east-1:111111111111:function:snapback-storage":                  {"lambda:InvokeFunction", "lambda:UpdateFunctionCode", "lambda:PutFunctionConcurrency"},
	"arn:aws:lambda:us-east-1:111111111111:function:snapback-storage:live":             {"lambda:InvokeFunction"},
	"arn:aws:dynamodb:us-east-1:111111111111:table/snapback":                           {"dynamodb:DeleteTable", "dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:UpdateContinuousBackups"},
	"arn:aws:dynamodb:us-east-1:111111111111:table/snapback/index/by-day":              {"dynamodb:Query"},
	"arn:aws:logs:us-east-1:111111111111:log-group:/aws/lambda/snapback-storage":       {"logs:DeleteLogGroup", "logs:PutRetentionPolicy"},
	"arn:aws:scheduler:us-east-1:111111111111:schedule-group/snapback":                 {"scheduler:DeleteScheduleGroup"},
	"arn:aws:scheduler:us-east-1:111111111111:schedule/snapback/drill":                 {"scheduler:DeleteSchedule", "scheduler:UpdateSchedule"},
	"arn:aws:cloudwatch:us-east-1:111111111111:alarm:snapback-storage-dead":            {"cloudwatch:DisableAlarmActions", "cloudwatch:DeleteAlarms"},
	"arn:aws:cloudformation:us-east-1:111111111111:stack/snapback-hub/0":               {"cloudformation:DeleteStack", "cloudformation:UpdateStack"},
	"arn:aws:cloudformation:eu-west-1:222222222222:stack/snapback-member/0":            {"cloudformation:DeleteStack"},
	"arn:aws:cloudformation:us-east-1:111111111111:stackset/snapback-member:0":         {"cloudformation:DeleteStackSet", "cloudformation:DeleteStackInstances"},
	"arn:aws:cloudformation:us-east-1:222222222222:stack/StackSet-snapback-member-0/0": {"cloudformation:DeleteStack"},
}

func TestRolesDoWhatRemediesNeedAndNothingToSnapbackItself(t *testing.T) {
	b := all(t, baseline.Enforce)
	for _, d := range deployment.On(controls.Domains(), b) {
		p := memberRole(t, d, b)
		for _, r := range remediesOf(d) {
			of := r.Permissions
			changes := slices.Concat(of.Apply, of.Undo)
			for _, permission := range slices.Concat(of.Plan, of.Verify, of.Look, changes) {
				if got := p.May(permission.Action, ordinary(permission), nil); got != iampolicy.Yes {
					t.Errorf("%s: %s needs %s on %s: %s", d.Name, r.Name, permission.Action, ordinary(permission), got)
				}
			}
			for _, permission := range changes {
				for arn := range own {
					if got := p.May(permission.Action, arn, nil); got != iampolicy.No && !reads(permission.Action) {
						t.Errorf("%s: %s on %s: %s", d.Name, permission.Action, arn, got)
					}
				}
			}
		}
	}
}

// What protects Snapback holds whatever else a role is allowed: an administrator
// with it may do anything but to Snapback.
func TestNothingOfSnapbackIsWithinReach(t *testing.T) {
	admin := deployment.Policy{Name: "admin", Document: deployment.Document{
		Version: "2012-10-17", Statement: []deployment.Statement{{Effect: "Allow", Action: []string{"*"}, Resource: []string{"*"}}},
	}}
	b := all(t, baseline.Observe)
	for _, d := range deployment.On(controls.Domains(), b) {
		p := role(t, member, deployment.MemberRole(d.Name), append(deployment.MemberPolicies(d, b), admin)...)
		for arn, actions := range own {
			for _, action := range actions {
				if got := p.May(action, arn, nil); got != iampolicy.No {
					t.Errorf("%s: %s on %s: %s", d.Name, action, arn, got)
				}
				other := strings.NewReplacer("/snapback", "/example", ":snapback", ":example", "StackSet-snapback", "StackSet-example", "stacksets-exec", "app").Replace(arn)
				if got := p.May(action, other, nil); got != iampolicy.Yes {
					t.Errorf("%s: %s on %s, which is not Snapback's: %s", d.Name, action, other, got)
				}
			}
		}
		for action, arn := range map[string]string{
			"iam:GetRole": "arn:aws:iam::222222222222:role/snapback-storage", "events:DescribeRule": "arn:aws:events:eu-west-1:222222222222:rule/snapback-s3",
			"lambda:GetFunctionConfiguration": "arn:aws:lambda:us-east-1:111111111111:function:snapback-storage",
		} {
			if got := p.May(action, arn, nil); got != iampolicy.Yes {
				t.Errorf("%s: %s on %s: %s, but reads are let be", d.Name, action, arn, got)
			}
		}
	}
}

func TestWhatRolesMayDo(t *testing.T) {
	const no, yes = iampolicy.No, iampolicy.Yes
	const app, group = "arn:aws:iam::222222222222:role/app", "arn:aws:ec2:eu-west-1:222222222222:security-group/sg-0"
	asShipped, enforced := shipped(t), all(t, baseline.Enforce)
	for _, tt := range []struct {
		domain, action, resource string
		shipped, enforced        iampolicy.Answer
	}{
		{"storage", "s3:GetBucketPublicAccessBlock", "arn:aws:s3:::example", yes, yes},
		{"storage", "s3:PutBucketPublicAccessBlock", "arn:aws:s3:::example", no, yes},
		{"storage", "s3:GetObject", "arn:aws:s3:::example/key", no, no},
		{"storage", "s3:PutBucketPolicy", "arn:aws:s3:::example", no, no},
		{"storage", "s3:ListAllMyBuckets", "*", no, no}, // only a scan lists
		{"storage", "iam:GetRole", app, no, no},
		{"network", "ec2:RevokeSecurityGroupIngress", group, no, yes},
		{"network", "ec2:RevokeSecurityGroupIngress", "arn:aws:ec2:eu-west-1:333333333333:security-group/sg-0", no, no},
		{"network", "ec2:DeleteSecurityGroup", group, no, no},
		{"network", "ec2:CreateTags", "arn:aws:ec2:eu-west-1:222222222222:instance/i-0", no, no},
		{"identity", "iam:GetRole", app, yes, yes},
		{"identity", "iam:DetachRolePolicy", app, yes, yes}, // its runbooks wait for a yes, as shipped
		{"identity", "iam:DetachRolePolicy", "arn:aws:iam::222222222222:role/snapback-identity", no, no},
		{"identity", "iam:SetDefaultPolicyVersion", "arn:aws:iam::222222222222:policy/app", yes, yes},
		{"identity", "iam:SetDefaultPolicyVersion", "arn:aws:iam::222222222222:policy/snapback-identity-protect", no, no},
		{"identity", "iam:CreateAccessKey", "arn:aws:iam::222222222222:user/alice", no, no},
		{"identity", "iam:CreatePolicyVersion", "arn:aws:iam::222222222222:policy/app", no, no},
		{"identity", "lambda:PutFunctionConcurrency", "arn:aws:lambda:eu-west-1:222222222222:function:app", yes, yes},
		{"identity", "lambda:PutFunctionConcurrency", "arn:aws:lambda:us-east-1:222222222222:function:snapback-storage", no, no},
		{"identity", "sts:AssumeRole", app, no, no},
		{"response", "ec2:ModifyNetworkInterfaceAttribute", "arn:aws:ec2:eu-west-1:222222222222:network-interface/eni-0", yes, yes},
		{"response", "ec2:TerminateInstances", "arn:aws:ec2:eu-west-1:222222222222:instance/i-0", no, no},
		{"response", "ec2:DeleteSnapshot", "arn:aws:ec2:eu-west-1::snapshot/snap-0", no, no},
		{"response", "ec2:ModifySnapshotAttribute", "arn:aws:ec2:eu-west-1::snapshot/snap-0", no, no},
		{"response", "iam:PutRolePolicy", app, yes, yes},
		{"response", "iam:PutRolePolicy", "arn:aws:iam::222222222222:role/snapback-response", no, no},
		{"response", "iam:AttachRolePolicy", app, no, no},
	} {
		for b, want := range map[*baseline.Baseline]iampolicy.Answer{asShipped: tt.shipped, enforced: tt.enforced} {
			if got := memberRole(t, domain(t, tt.domain, b), b).May(tt.action, tt.resource, nil); got != want {
				t.Errorf("%s: %s on %s: %s, want %s (all enforced: %t)", tt.domain, tt.action, tt.resource, got, want, b == enforced)
			}
		}
	}
}

// everything are all policies of all roles, with what a baseline can add.
func everything(t *testing.T) []deployment.Policy {
	b := all(t, baseline.Enforce)
	b.Overrides = []baseline.Override{{
		Match: baseline.Match{Tags: map[string]string{"env": "dev"}, OrganizationalUnits: []string{"ou-ab12-11111111"}},
		Mode:  baseline.Observe, Controls: []string{"*"}, Runbooks: []string{"*"},
	}}
	policies := slices.Concat(deployment.HealthPolicies(), deployment.HealthFunctionPolicies(b),
		[]deployment.Policy{{Name: deployment.ForwardRole("us-east-1"), Document: deployment.ForwardPolicy(b)}})
	for _, d := range deployment.On(controls.Domains(), b) {
		policies = slices.Concat(policies, deployment.MemberPolicies(d, b), deployment.FunctionPolicies(d, b))
	}
	return policies
}

func TestOnlyWhatCanNotBeNamedIsGrantedOnAllResources(t *testing.T) {
	granted := map[string]bool{}
	for _, p := range everything(t) {
		for _, s := range p.Document.Statement {
			if slices.Contains(s.Resource, "*") && s.Effect == "Allow" {
				for _, action := range s.Action {
					granted[action] = true
				}
			}
		}
	}
	var excepted, writes []string
	for _, e := range deployment.Unnameable() {
		excepted = append(excepted, e.Action)
		if !reads(e.Action) {
			writes = append(writes, e.Action)
		}
	}
	if diff := cmp.Diff(excepted, slices.Sorted(maps.Keys(granted))); diff != "" {
		t.Errorf("what is granted on all resources (-excepted +granted):\n%s", diff)
	}
	// Whoever adds one has looked it up in the Service Authorization Reference.
	if diff := cmp.Diff([]string{"guardduty:CreateSampleFindings", "s3:PutAccountPublicAccessBlock"}, writes); diff != "" {
		t.Errorf("what changes something and is granted on all resources (-known +is):\n%s", diff)
	}
}

// IAM user guide, "IAM and AWS STS quotas": 6,144 characters a managed policy,
// 10,240 for all inline policies of a role; white space does not count. A role has
// 20 managed policies by default, and had 10 until 2025.
func TestPoliciesFitTheirQuotas(t *testing.T) {
	for name, b := range map[string]*baseline.Baseline{"shipped": shipped(t), "enforced": all(t, baseline.Enforce)} {
		domains := append(deployment.On(controls.Domains(), b), busy())
		for _, d := range domains {
			checkManaged(t, name, deployment.MemberPolicies(d, b))
			if n := characters(t, deployment.FunctionPolicies(d, b)...); n > 10240 {
				t.Errorf("%s: the inline policies of %s have %d characters", name, deployment.FunctionRole(d.Name), n)
			}
		}
		checkManaged(t, name, deployment.HealthPolicies())
		trust := deployment.Policy{Document: deployment.Trust(deployment.FunctionRole("infrastructure"), b)}
		if n := characters(t, trust); n > 2048 {
			t.Errorf("%s: a trust policy has %d characters", name, n)
		}
	}
}

func checkManaged(t *testing.T, what string, policies []deployment.Policy) {
	t.Helper()
	if len(policies) > 10 {
		t.Errorf("%s: %s and %d others are too many for a role", what, policies[0].Name, len(policies)-1)
	}
	names := map[string]bool{}
	for _, p := range policies {
		if n := characters(t, p); n > 6144 {
			t.Errorf("%s: %s has %d characters", what, p.Name, n)
		}
		if names[p.Name] || len(p.Name) > 128 {
			t.Errorf("%s: the policy name %s is there twice or too long", what, p.Name)
		}
		names[p.Name] = true
		sids := map[string]bool{}
		for _, s := range p.Document.Statement {
			if sids[s.Sid] || strings.Trim(s.Sid, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") != "" || s.Sid == "" {
				t.Errorf("%s: %s: Sid %q is there twice, or not one that IAM takes", what, p.Name, s.Sid)
			}
			sids[s.Sid] = true
		}
	}
	t.Logf("%s: %s: %d policies, %d characters in all", what, policies[0].Name, len(policies), characters(t, policies...))
}

// characters is how many characters IAM counts, in the partition with the longest name.
func characters(t *testing.T, policies ...deployment.Policy) int {
	t.Helper()
	n := 0
	for _, p := range policies {
		text, err := json.Marshal(p.Document)
		must(t, err)
		n += len(strings.NewReplacer("${Partition}", "aws-us-gov", "${Account}", member).Replace(string(text)))
	}
	return n
}

// busy is a domain that needs more than one policy holds.
func busy() control.Domain {
	c := madeUp()
	for i := range 400 {
		p := control.Permission{Action: fmt.Sprintf("sqs:GetSettingOfTheQueue%d", i), Resource: fmt.Sprintf("arn:${Partition}:sqs:${Region}:${Account}:queues-%d-*", i%3)}
		c.Remedy.Permissions.Plan = append(c.Remedy.Permissions.Plan, p)
	}
	return control.Domain{Name: "busy", Controls: []control.Control{c}}
}

func TestWhatDoesNotFitOnePolicyIsInSeveral(t *testing.T) {
	b, d := all(t, baseline.Observe), busy()
	policies := deployment.MemberPolicies(d, b)
	var names []string
	for _, p := range policies {
		names = append(names, p.Name)
	}
	want := []string{"snapback-busy-evaluate", "snapback-busy-evaluate-2", "snapback-busy-evaluate-3", "snapback-busy-protect"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	p := memberRole(t, d, b)
	for _, permission := range d.Controls[0].Remedy.Permissions.Plan {
		if got := p.May(permission.Action, ordinary(permission), nil); got != iampolicy.Yes {
			t.Errorf("%s on %s: %s", permission.Action, ordinary(permission), got)
		}
	}
	slices.Reverse(d.Controls[0].Remedy.Permissions.Plan)
	if diff := cmp.Diff(policies, deployment.MemberPolicies(d, b)); diff != "" {
		t.Errorf("policies depend on the order of permissions:\n%s", diff)
	}
}

func TestControlThatIsAddedBringsItsPermissionsAndRules(t *testing.T) {
	const queue = "arn:aws:sqs:eu-west-1:222222222222:orders"
	for mode, allowed := range map[baseline.Mode][]string{
		baseline.Observe: {"sqs:GetQueueAttributes"},
		baseline.Enforce: {"sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags", "sqs:SetQueueAttributes"},
	} {
		b := all(t, mode)
		domains := deployment.On(controls.Domains(), b)
		before := len(deployment.Forwarding(domains))
		domains[0].Controls = append(domains[0].Controls, madeUp())
		p := memberRole(t, domains[0], b)
		for _, action := range []string{"sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueues", "sqs:ListQueueTags", "sqs:SetQueueAttributes"} {
			if got := p.May(action, queue, nil); got == iampolicy.Yes != slices.Contains(allowed, action) {
				t.Errorf("%s: %s: %s", mode, action, got)
			}
		}
		forwarding := deployment.Forwarding(domains)
		named := func(r control.Rule) bool { return r.Name == "sqs" }
		if len(forwarding) != before+1 || !slices.ContainsFunc(forwarding, named) {
			t.Errorf("%s: %d rules forward, and %d before", mode, len(forwarding), before)
		}
	}
}

// conditions are what a request to assume a role brings.
func assuming(principal, organization string) iampolicy.Context {
	return iampolicy.Context{"aws:principalarn": {principal}, "aws:principalorgid": {organization}}
}

func TestOnlyTheFunctionOfTheHubMayAssumeAMemberRole(t *testing.T) {
	b := shipped(t)
	trust := deployment.Trust(deployment.FunctionRole("storage"), b)
	if doc := parse(t, member, trust); doc.Kind() != iampolicy.TrustPolicy || len(doc.Openings(iampolicy.Organization{ID: b.Organization.ID, Account: member, Accounts: []string{hub, member}})) > 0 {
		t.Errorf("it is open to somebody outside the organization, or no trust policy: %s", doc)
	}
	if diff := cmp.Diff(map[string]string{"AWS": "arn:${Partition}:iam::111111111111:root"}, trust.Statement[0].Principal); diff != "" {
		t.Errorf("principal:\n%s", diff)
	}
	// Which of the hub's principals is a matter of the conditions alone.
	conditions := deployment.Statement{Effect: "Allow", Action: trust.Statement[0].Action, Condition: trust.Statement[0].Condition,
		Resource: []string{"arn:${Partition}:iam::${Account}:role/snapback-storage"}}
	p := role(t, member, "anybody", deployment.Policy{Document: deployment.Document{Version: trust.Version, Statement: []deployment.Statement{conditions}}})
	const function = "arn:aws:iam::111111111111:role/snapback-function-storage"
	for _, tt := range []struct {
		name  string
		known iampolicy.Context
		want  iampolicy.Answer
	}{
		{"the function's role", assuming(function, "o-example1234"), iampolicy.Yes},
		{"the role of another function", assuming("arn:aws:iam::111111111111:role/snapback-function-network", "o-example1234"), iampolicy.No},
		{"an administrator of the hub", assuming("arn:aws:iam::111111111111:role/admin", "o-example1234"), iampolicy.No},
		{"root of the hub", assuming("arn:aws:iam::111111111111:root", "o-example1234"), iampolicy.No},
		{"the same name under a path", assuming("arn:aws:iam::111111111111:role/x/snapback-function-storage", "o-example1234"), iampolicy.No},
		{"the hub has left the organization", assuming(function, "o-other"), iampolicy.No},
		{"the hub is in no organization", iampolicy.Context{"aws:principalarn": {function}, "aws:principalorgid": {}}, iampolicy.No},
	} {
		if got := p.May("sts:AssumeRole", "arn:aws:iam::222222222222:role/snapback-storage", tt.known); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestHealthPutsCanariesAndReads(t *testing.T) {
	p := role(t, member, deployment.MemberRole(deployment.Health), deployment.HealthPolicies()...)
	const bus = "arn:aws:events:eu-west-1:222222222222:event-bus/default"
	event := func(source, detailType string) iampolicy.Context {
		return iampolicy.Context{"events:source": {source}, "events:detail-type": {detailType}}
	}
	for _, tt := range []struct {
		action, resource string
		known            iampolicy.Context
		want             iampolicy.Answer
	}{
		{"events:PutEvents", bus, event("snapback", "Snapback Drill"), iampolicy.Yes},
		{"events:PutEvents", bus, event("aws.s3", "AWS API Call via CloudTrail"), iampolicy.No},
		{"events:PutEvents", bus, event("snapback", "AWS API Call via CloudTrail"), iampolicy.No},
		{"events:PutEvents", "arn:aws:events:us-east-1:111111111111:event-bus/snapback", event("snapback", "Snapback Drill"), iampolicy.No},
		{"events:ListRules", "*", nil, iampolicy.Yes},
		{"events:DisableRule", "arn:aws:events:eu-west-1:222222222222:rule/snapback-s3", nil, iampolicy.No},
		{"cloudtrail:GetTrailStatus", "arn:aws:cloudtrail:us-east-1:000000000000:trail/organization", nil, iampolicy.Yes},
		{"cloudtrail:StopLogging", "arn:aws:cloudtrail:us-east-1:222222222222:trail/t", nil, iampolicy.No},
		{"sqs:GetQueueAttributes", "arn:aws:sqs:eu-west-1:222222222222:snapback-undelivered", nil, iampolicy.Yes},
		{"sqs:GetQueueAttributes", "arn:aws:sqs:eu-west-1:222222222222:orders", nil, iampolicy.No},
		{"guardduty:CreateSampleFindings", "*", nil, iampolicy.Yes},
		{"guardduty:UpdateDetector", "*", nil, iampolicy.No},
	} {
		if got := p.May(tt.action, tt.resource, tt.known); got != tt.want {
			t.Errorf("%s on %s: %s, want %s", tt.action, tt.resource, got, tt.want)
		}
	}
}

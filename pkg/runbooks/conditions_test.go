package runbooks_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

// set returns JSON with the value at a path of dots replaced.
func set(t testing.TB, data []byte, path, value string) []byte {
	t.Helper()
	at := gjson.GetBytes(data, path)
	if !at.Exists() {
		t.Fatalf("the sample has no %s", path)
	}
	return []byte(string(data[:at.Index]) + value + string(data[at.Index+len(at.Raw):]))
}

func TestFindingsThatAreNotAsTheirRunbookWantsAreTold(t *testing.T) {
	const (
		mining   = "ec2-cryptomining.json"
		ssh      = "ec2-ssh-brute-force-target.json"
		rdp      = "ec2-rdp-brute-force-actor.json"
		probe    = "ec2-port-probe.json"
		key      = "iam-access-key.json"
		session  = "iam-role-session.json"
		actors   = "attack-sequence-s3.json"
		who      = "detail.resource.accessKeyDetails."
		malware  = "ec2-malware.json"
		sequence = "attack-sequence-ec2.json"
		role     = "detail.service.resourceRole"
		resource = "detail.resource.resourceType"
		id       = "detail.resource.instanceDetails.instanceId"
		typ      = "detail.type"
	)
	user, ofRole := []string{"iam-contain-user"}, []string{"iam-contain-session"}
	quarantined, attacked := []string{"ec2-quarantine"}, []string{"ec2-attacked", "ec2-attacked-ingress"}
	told := []string{"finding-report"}
	for _, tt := range []struct {
		name, file, path, value string
		want                    []string
		reason                  string
	}{
		{"mining, as actor", mining, role, `"ACTOR"`, quarantined, ""},
		{"mining, as GuardDuty's DNS findings have it", mining, role, `"TARGET"`, quarantined, ""},
		{"mining, without a role", mining, role, `null`, quarantined, ""},
		{"mining in a container", mining, resource, `"Container"`, told, "The finding is about Instance i-0123456789abcdef0, and not about an instance by itself"},
		{"mining in a cluster", mining, resource, `"EKSCluster"`, told, "Snapback does not reach into clusters"},
		{"mining by what has no ID", mining, id, `"web-1"`, told, "The finding names no instance by its ID."},
		{"mining by an ID that is no text", mining, id, `{"i-0123456789abcdef0":1}`, told, "The finding names no instance by its ID."},
		{"brute force by the instance", rdp, role, `"ACTOR"`, quarantined, ""},
		{"brute force against the instance", rdp, role, `"TARGET"`, attacked, ""},
		{"brute force, who against whom unsaid", rdp, role, `null`, told, "The finding does not say whether the instance attacks or is attacked"},
		{"brute force by the victim of another finding", ssh, role, `"ACTOR"`, quarantined, ""},
		{"custom threat list, as actor", rdp, typ, `"UnauthorizedAccess:EC2/MaliciousIPCaller.Custom"`, quarantined, ""},
		{"custom threat list, as target", ssh, typ, `"UnauthorizedAccess:EC2/MaliciousIPCaller.Custom"`, attacked, ""},
		{"brute force against a cluster", ssh, resource, `"EKSCluster"`, told, "and not about an instance by itself"},
		{"probe", probe, role, `"TARGET"`, attacked, ""},
		{"probe without a role", probe, role, `""`, attacked, ""},
		{"probe of what has no ID", probe, id, `""`, told, "The finding names no instance by its ID."},
		{"probe of an instance in no known group", probe, "detail.resource.instanceDetails.networkInterfaces", `[]`, attacked[:1], ""},
		{"malware on an instance, whatever the role", malware, role, `"TARGET"`, quarantined, ""},
		{"malware on a container's volume", malware, resource, `"Container"`, told, "and not about an instance by itself"},
		{"malware in a snapshot", malware, typ, `"Execution:EC2/MaliciousFile!Snapshot"`, told, "The malware lies in an object or a backup"},
		{"suspicious file", malware, typ, `"Execution:EC2/SuspiciousFile"`, told, "A file on a volume is suspicious"},
		{"sequence", sequence, "detail.severity", `9`, quarantined, ""},
		{"sequence that names nothing", sequence, "detail.service.detection.sequence", `{}`, told, "The attack sequence names no instance"},
		{"sequence that is no sequence", sequence, "detail.service.detection", `"none"`, told, "The attack sequence names no instance"},
		{"user, by his key", key, who + "userName", `"bob"`, append(user, "iam-deactivate-key"), ""},
		{"user, by a session that he opened", key, who + "accessKeyId", `"ASIAI44QH8DHBEXAMPLE"`, user, ""},
		{"user, by his password", key, who + "accessKeyId", `""`, user, ""},
		{"user, whatever the resource", key, resource, `"S3Bucket"`, append(user, "iam-deactivate-key"), ""},
		{"user without a unique ID", key, who + "principalId", `""`, told, "The finding names no credentials that can be cut off"},
		{"user with the ID of a session", key, who + "principalId", `"AROAEXAMPLEDEPLOY0001:build-7"`, told, "The finding names no credentials that can be cut off"},
		{"user without a name", key, who + "userName", `null`, told, "The finding names no credentials that can be cut off"},
		{"user of an unknown kind", key, who + "userType", `"Widget"`, told, "The finding names no credentials that can be cut off"},
		{"root", key, who + "userType", `"Root"`, told, "The credentials are root's"},
		{"federated user", key, who + "userType", `"FederatedUser"`, told, "the finding does not say which IAM user opened the session"},
		{"another account", key, who + "userType", `"AWSAccount"`, told, "The credentials are another account's"},
		{"service", key, who + "userType", `"AWSService"`, told, "An AWS service made the calls"},
		{"nobody", key, "detail.resource.accessKeyDetails", `{}`, told, "The finding names no credentials that can be cut off"},
		{"role's session", session, who + "accessKeyId", `"x"`, ofRole, ""},
		{"role without a session", session, who + "principalId", `"AROAEXAMPLEDEPLOY0001"`, told, "The finding names no credentials that can be cut off"},
		{"credentials of an instance, by a user", session, typ, `"UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.InsideAWS"`, ofRole, ""},
		{"console, by a role", session, typ, `"UnauthorizedAccess:IAMUser/ConsoleLoginSuccess.B"`, told, "The finding names no credentials that can be cut off"},
		{"sequence of two actors", actors, "detail.severity", `9`, append(user, "iam-deactivate-key", "iam-contain-session"), ""},
		{"sequence whose one actor is root", actors, "detail.service.detection.sequence.actors.0.user.type", `"Root"`, ofRole, ""},
		{"sequence without actors", actors, "detail.service.detection.sequence.actors", `[]`, told, "The finding names no credentials that can be cut off"},
		{"key that is used to weaken the logging", key, typ, `"DefenseEvasion:IAMUser/AnomalousBehavior"`, told, "A logging or a policy was weakened"},
		{"key that is used to look around", key, typ, `"Discovery:IAMUser/AnomalousBehavior"`, told, "Somebody looked around"},
		{"opt-in rule on a sign-in", key, typ, `"InitialAccess:IAM/ValidAccounts"`, told, "A custom detection rule matched"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := answerTo(decode(t, set(t, sampleFindings(t)[tt.file], tt.path, tt.value)))
			var ids []string
			for _, r := range []string{
				"ec2-quarantine", "ec2-attacked", "ec2-attacked-ingress", "iam-contain-user", "iam-deactivate-key", "iam-contain-session", "finding-report",
			} {
				if len(got.Runbooks[r]) > 0 {
					ids = append(ids, r)
				}
			}
			if diff := cmp.Diff(tt.want, ids); diff != "" {
				t.Errorf("answers differ (-want +got):\n%s", diff)
			}
			if !strings.Contains(got.Reason, tt.reason) || (got.Reason == "") != (tt.reason == "") {
				t.Errorf("the reason is %q, want %q", got.Reason, tt.reason)
			}
		})
	}
}

// The victim is never cut off, of whatever type the finding is.
func TestVictimsAreNotQuarantined(t *testing.T) {
	for _, findingType := range runbook(t, "ec2-attacked").Findings {
		got := answerTo(generated(t, findingType, "Instance", event.RoleTarget))
		if got.Runbooks["ec2-quarantine"] != nil || got.Runbooks["ec2-attacked"] == nil {
			t.Errorf("%s as TARGET is answered by %v", findingType, got.Runbooks)
		}
	}
}

func TestInstanceOfAnotherAccountKeepsItsAccount(t *testing.T) {
	const own, foreign = `"arn:aws:ec2:us-east-1:222222222222:instance/i-0123456789abcdef0"`, `"arn:aws:ec2:eu-west-1:333333333333:instance/i-0123456789abcdef0"`
	data := sampleFindings(t)["attack-sequence-ec2.json"]
	f := decode(t, []byte(strings.ReplaceAll(string(data), own, foreign)))
	targets := runbook(t, "ec2-quarantine").Answers(f)
	if len(targets) != 3 || targets[0].Account != "333333333333" || targets[0].Region != "eu-west-1" {
		t.Fatalf("targets are %v", targets)
	}
	e, err := event.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if targets[0].Foreign(e) == "" || targets[1].Foreign(e) != "" {
		t.Error("the engine is not told which target is foreign")
	}
}

// What explain and the docs say of a type is what its runbooks do.
func TestConditionsInWordsAreThoseThatHold(t *testing.T) {
	for _, ft := range runbooks.FindingTypes() {
		if strings.HasPrefix(ft.Name, "AttackSequence:") {
			continue
		}
		for _, c := range runbooks.AnswerTo(ft.Name).Runbooks {
			if strings.HasPrefix(c.ID, "iam-") {
				checkCredentials(t, ft.Name, &c)
				continue
			}
			for _, role := range []string{event.RoleActor, event.RoleTarget, ""} {
				_, wanted, one := strings.Cut(c.If, " and the role is ")
				want := !one || role == wanted
				if got := len(c.Answers(generated(t, ft.Name, "Instance", role))) > 0; got != want {
					t.Errorf("%s answers %s as %q: %t, and it says: if %s", c.ID, ft.Name, role, got, c.If)
				}
				if len(c.Answers(generated(t, ft.Name, "EKSCluster", role))) > 0 {
					t.Errorf("%s answers %s about a cluster", c.ID, ft.Name)
				}
			}
		}
	}
}

// checkCredentials checks the condition of a runbook on the credentials of each
// kind.
func checkCredentials(t *testing.T, findingType string, c *runbooks.Conditional) {
	t.Helper()
	for _, tt := range []struct{ details, kinds string }{
		{`{"userType":"IAMUser","userName":"alice","principalId":"AIDAEXAMPLEALICE00001","accessKeyId":"AKIAIOSFODNN7EXAMPLE"}`, "an access key of an IAM user, those of an IAM user"},
		{`{"userType":"IAMUser","userName":"alice","principalId":"AIDAEXAMPLEALICE00001"}`, "those of an IAM user"},
		{`{"userType":"AssumedRole","userName":"deploy","principalId":"AROAEXAMPLEDEPLOY0001:build-7"}`, "those of a role's session"},
		{`{"userType":"Root","userName":"Root","principalId":"222222222222"}`, ""},
	} {
		data := set(t, sampleFindings(t)["iam-access-key.json"], "detail.resource.accessKeyDetails", tt.details)
		f := decode(t, set(t, data, "detail.type", `"`+findingType+`"`))
		kind, ok := strings.CutPrefix(c.If, "the credentials are ")
		if got, want := len(c.Answers(f)) == 1, ok && strings.Contains(tt.kinds, kind); got != want {
			t.Errorf("%s answers %s about %s: %t, and it says: if %s", c.ID, findingType, tt.details, got, c.If)
		}
	}
}

package main_test

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/internal/site"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/engine"
)

// reported is how the steps end if what the call gave can't be taken back at once.
var reported = strings.Replace(userContained, "take-back-grant remediated", "take-back-grant observed", 1)

// signIn gives a user a password.
func (m *member) signIn(user string) {
	m.T.Helper()
	m.do(m.iam.CreateLoginProfile(m.T.Context(), &iam.CreateLoginProfileInput{UserName: &user, Password: aws.String("An-Example-1")}))
}

// A password can't be given back: its user is denied everything until somebody
// has looked, and it is deleted after a yes.
func TestPasswordForAnAdministratorIsDeletedAfterAYes(t *testing.T) {
	m := newMember(t, adminPolicyOff, enforced)
	m.inline("alice", "passwords", allow("iam:CreateLoginProfile", "*"))
	m.user("/", "bob", everything)
	m.user("/", "carl", reads)
	m.signIn("carl")
	m.innocent(m.call("iam-create-login-profile", `"bob"`, `"carl"`))

	m.signIn("bob")
	raised, call := m.world(), m.call("iam-create-login-profile")
	m.Handle(call)
	stopped := with(contained(raised, "alice"), scene.World{"user bob boundary": denyAll})
	m.wantWorld(raised, stopped)
	m.WantTold(map[string]string{escalation: "PARTLY CONTAINED", password: "THREAT, WAITING"})
	c := m.OneCase(escalation)
	site.WantCase(t, c, control.Partial, userContained)
	if left := strings.Join(c.Step("take-back-grant").Left, " "); !strings.Contains(left, "User bob still has the password") {
		t.Errorf("the case does not say what is left: %q", left)
	}
	m.again(call)

	m.Done(engine.Approve, m.OneCase(password))
	m.wantWorld(raised, with(stopped, scene.World{"user bob password": ""}))
	m.Told("CONTAINED")
	if a := m.Command(engine.Undo, m.OneCase(password)); a.Verdict != engine.Misuse {
		t.Errorf("the undo of what can't be undone: %s: %s", a.Verdict, a.Reason)
	}
	m.Done(engine.Undo, c)
	m.wantWorld(raised, scene.World{"user bob password": ""})
}

// passedRole makes the role admin, which services may have and alice may pass.
func (m *member) passedRole() {
	m.T.Helper()
	m.role("/", "admin", policy(lets(byLambda), lets(byEC2)))
	m.attachRole("admin", scene.Administrator)
	m.inline("alice", "passes", policy(`{"Effect":"Allow","Action":["iam:PassRole","lambda:*","ec2:*"],"Resource":"*"}`))
}

// weakRole makes a role that may no more than alice.
func (m *member) weakRole() {
	m.T.Helper()
	m.role("/", "weak", policy(lets(byLambda), lets(byEC2)))
	m.do(m.iam.PutRolePolicy(m.T.Context(), &iam.PutRolePolicyInput{
		RoleName: aws.String("weak"), PolicyName: aws.String("own"), PolicyDocument: &reads,
	}))
}

// compute is something that alice starts with a role, and how it stands.
type compute struct {
	name string
	// start starts it with a role and returns the call.
	start func(m *member, role string) []byte
	// runs tells how it stands: "running", "stopped".
	runs func(m *member) string
}

func TestWhatIsStartedWithAPassedRoleIsStoppedAfterAYes(t *testing.T) {
	for _, c := range []compute{aFunction, anInstance} {
		t.Run(c.name, func(t *testing.T) {
			m := newMember(t, adminPolicyOff, enforced)
			m.passedRole()
			m.weakRole()
			m.innocent(c.start(m, "weak"))
			m.again(m.byService(c.start(m, "admin"))) // what AWS does is not looked into

			call := c.start(m, "admin")
			raised := m.world()
			m.Handle(call)
			m.wantWorld(raised, contained(raised, "alice"))
			m.WantTold(map[string]string{escalation: "PARTLY CONTAINED", computing: "THREAT, WAITING"})
			site.WantCase(t, m.OneCase(escalation), control.Partial, reported)
			if got := c.runs(m); got != "running" {
				t.Errorf("before the yes it is %s", got)
			}
			m.again(call)

			m.Done(engine.Approve, m.OneCase(computing))
			if got := c.runs(m); got != "stopped" {
				t.Errorf("after the yes it is %s", got)
			}
			m.Told("CONTAINED")
			m.Done(engine.Undo, m.OneCase(computing))
			if got := c.runs(m); got != "running" {
				t.Errorf("after the undo it is %s", got)
			}
			m.Done(engine.Undo, m.OneCase(escalation))
			m.wantWorld(raised, nil)
		})
	}
}

// byService is a call that a service-linked role made.
func (m *member) byService(call []byte) []byte {
	m.T.Helper()
	return site.Edited(m.T, call, `"type": "IAMUser"`, `"type": "AssumedRole"`, "AIDAEXAMPLEALICE00001", "AROAEXAMPLESERVICE001:AutoScaling",
		"arn:aws:iam::"+m.Account+":user/alice", "arn:aws:sts::"+m.Account+":assumed-role/AWSServiceRoleForAutoScaling/AutoScaling",
		"AKIAIOSFODNN7EXAMPLE\",\n      \"userName\": \"alice\"", `ASIAIOSFODNN7EXAMPLE", "sessionContext": {"sessionIssuer": {"type": "Role", `+
			`"principalId": "AROAEXAMPLESERVICE001", "accountId": "`+m.Account+`", "userName": "AWSServiceRoleForAutoScaling", `+
			`"arn": "arn:aws:iam::`+m.Account+`:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"}}`)
}

var aFunction = compute{
	name: "function",
	start: func(m *member, role string) []byte {
		m.T.Helper()
		c, name := lambda.NewFromConfig(m.Config()), aws.String("report")
		_, _ = c.DeleteFunction(m.T.Context(), &lambda.DeleteFunctionInput{FunctionName: name}) // of a twin; else there is none
		m.do(c.CreateFunction(m.T.Context(), &lambda.CreateFunctionInput{
			FunctionName: name, Role: aws.String("arn:aws:iam::" + m.Account + ":role/" + role), Handler: aws.String("index.handler"),
			Runtime: lambdatypes.RuntimePython313, Code: &lambdatypes.FunctionCode{ZipFile: archive(m.T)},
		}))
		return m.call("lambda-create-function", ":role/admin", ":role/"+role)
	},
	runs: func(m *member) string {
		m.T.Helper()
		out, err := lambda.NewFromConfig(m.Config()).GetFunctionConcurrency(m.T.Context(), &lambda.GetFunctionConcurrencyInput{FunctionName: aws.String("report")})
		site.Must(m.T, err)
		if n := out.ReservedConcurrentExecutions; n != nil && *n == 0 {
			return "stopped"
		}
		return "running"
	},
}

func archive(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("index.py")
	site.Must(t, err)
	_, err = f.Write([]byte("def handler(event, context): pass"))
	site.Must(t, err)
	site.Must(t, z.Close())
	return b.Bytes()
}

var anInstance = compute{
	name: "instance",
	start: func(m *member, role string) []byte {
		m.T.Helper()
		profile := aws.String(role)
		_, err := m.iam.GetInstanceProfile(m.T.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: profile})
		if err != nil {
			m.do(m.iam.CreateInstanceProfile(m.T.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: profile}))
			m.do(m.iam.AddRoleToInstanceProfile(m.T.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: profile, RoleName: profile}))
		}
		out, err := ec2.NewFromConfig(m.Config()).RunInstances(m.T.Context(), &ec2.RunInstancesInput{
			ImageId: aws.String("ami-12345678"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: profile},
		})
		site.Must(m.T, err)
		return m.call("ec2-run-instances", `"name": "admin"`, `"name": "`+role+`"`, "instance-profile/admin", "instance-profile/"+role,
			"i-0a1b2c3d4e5f60061", aws.ToString(out.Instances[0].InstanceId))
	},
	runs: func(m *member) string {
		m.T.Helper()
		out, err := ec2.NewFromConfig(m.Config()).DescribeInstances(m.T.Context(), &ec2.DescribeInstancesInput{
			InstanceIds: []string{lastWord(m.OneCase(computing).Target.ID)},
		})
		site.Must(m.T, err)
		return string(out.Reservations[0].Instances[0].State.Name)
	},
}

func lastWord(s string) string { return s[strings.LastIndexByte(s, ' ')+1:] }

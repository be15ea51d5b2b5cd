package event_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/guardduty/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/event"
)

func sampleFinding(t testing.TB, name string) *event.Finding {
	t.Helper()
	return decode(t, read(t, samples, "guardduty", name)).Detail.(*event.Finding)
}

func TestSampleFindingsNameTheirInstancesAndGroups(t *testing.T) {
	here := func(id string) event.Instance { return event.Instance{ID: id} }
	byARN := func(id string) event.Instance {
		return event.Instance{Account: "222222222222", Region: "us-east-1", ID: id}
	}
	node := byARN("i-0123456789abcdef9")
	node.Node = true
	for _, tt := range []struct {
		file, resource string
		instances      []event.Instance
		groups         []string
	}{
		{
			"ec2-cryptomining.json", "Instance i-0123456789abcdef0", []event.Instance{here("i-0123456789abcdef0")},
			[]string{"sg-0123456789abcdef0", "sg-0123456789abcdef1", "sg-0123456789abcdef2"},
		},
		// GuardDuty's own samples name things that are no IDs.
		{"ec2-cryptomining-sample.json", "Instance i-99999999", []event.Instance{here("i-99999999")}, nil},
		{
			"attack-sequence-ec2.json", "EC2_INSTANCE i-0123456789abcdef0, EC2_INSTANCE i-0123456789abcdef1, EC2_NETWORK_INTERFACE eni-0123456789abcdef0 and 2 more",
			[]event.Instance{byARN("i-0123456789abcdef0"), byARN("i-0123456789abcdef1"), byARN("i-0123456789abcdef2"), node}, nil,
		},
		{"attack-sequence-eks.json", "EKS_CLUSTER shop, KUBERNETES_WORKLOAD checkout, CONTAINER checkout", []event.Instance{node}, nil},
		{"attack-sequence-iam.json", "ACCESS_KEY AKIAIOSFODNN7EXAMPLE", nil, nil},
		{"custom-detection-rule.json", "EC2_INSTANCE i-0123456789abcdef0", []event.Instance{byARN("i-0123456789abcdef0")}, nil},
		{
			"runtime-eks.json", "EKSCluster shop, Instance i-0123456789abcdef9", []event.Instance{here("i-0123456789abcdef9")},
			[]string{"sg-0123456789abcdef0"},
		},
		{
			"iam-instance-credentials.json", "AccessKey ASIAI44QH8DHBEXAMPLE of AssumedRole web, Instance i-0123456789abcdef0",
			[]event.Instance{here("i-0123456789abcdef0")}, []string{"sg-0123456789abcdef0"},
		},
		{"s3-exfiltration.json", "S3Bucket example-reports, AccessKey AKIAIOSFODNN7EXAMPLE of IAMUser alice", nil, nil},
		{"s3-bucket-anonymous-access-granted.json", "AccessKey AKIAIOSFODNN7EXAMPLE of IAMUser alice, S3Bucket example-reports", nil, nil},
		{"lambda-tor.json", "Lambda thumbnails", nil, nil},
		{"rds-brute-force.json", "RDSDBInstance orders", nil, nil},
		{"kubernetes-anonymous-access.json", "EKSCluster shop", nil, nil},
		{"unknown-type.json", "Widget", nil, nil},
	} {
		t.Run(tt.file, func(t *testing.T) {
			f := sampleFinding(t, tt.file)
			if got := f.Resource(); got != tt.resource {
				t.Errorf("it is about %q, want %q", got, tt.resource)
			}
			if diff := cmp.Diff(tt.instances, f.Instances()); diff != "" {
				t.Errorf("instances differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.groups, f.Groups()); diff != "" {
				t.Errorf("groups differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRareResourcesAreNamed(t *testing.T) {
	for _, tt := range []struct {
		resource types.Resource
		want     string
	}{
		{
			types.Resource{
				ResourceType: aws.String("S3Object"), S3BucketDetails: []types.S3BucketDetail{{
					Name: aws.String("uploads"), S3ObjectDetails: []types.S3ObjectDetail{{ObjectArn: aws.String("arn:aws:s3:::uploads/a.zip")}},
				}},
			},
			"S3Object arn:aws:s3:::uploads/a.zip, S3Bucket uploads",
		},
		{types.Resource{ResourceType: aws.String("ECSCluster"), EcsClusterDetails: &types.EcsClusterDetails{Name: aws.String("jobs")}}, "ECSCluster jobs"},
		{types.Resource{ResourceType: aws.String("Container"), ContainerDetails: &types.Container{Name: aws.String("web")}}, "Container web"},
		{
			types.Resource{
				ResourceType:          aws.String("RDSLimitlessDB"),
				RdsLimitlessDbDetails: &types.RdsLimitlessDbDetails{DbShardGroupIdentifier: aws.String("orders")},
			},
			"RDSLimitlessDB orders",
		},
		{types.Resource{EbsSnapshotDetails: &types.EbsSnapshotDetails{SnapshotArn: aws.String("arn:snapshot")}}, "EBSSnapshot arn:snapshot"},
		{types.Resource{Ec2ImageDetails: &types.Ec2ImageDetails{ImageArn: aws.String("arn:image")}}, "EC2Image arn:image"},
		{types.Resource{RecoveryPointDetails: &types.RecoveryPointDetails{RecoveryPointArn: aws.String("arn:point")}}, "RecoveryPoint arn:point"},
		{
			types.Resource{ResourceType: aws.String("AccessKey"), AccessKeyDetails: &types.AccessKeyDetails{UserName: aws.String("Root"), UserType: aws.String("Root")}},
			"AccessKey of Root Root",
		},
		{types.Resource{AccessKeyDetails: &types.AccessKeyDetails{UserName: aws.String("alice")}}, "AccessKey of user alice"},
		{types.Resource{}, "a resource without a name"},
	} {
		if got := finding(t, types.Finding{Resource: &tt.resource}).Resource(); got != tt.want {
			t.Errorf("it is about %q, want %q", got, tt.want)
		}
	}
}

// Names are chosen by whoever made the resource.
func TestResourceIsOneLine(t *testing.T) {
	f := finding(t, types.Finding{Resource: &types.Resource{
		ResourceType: aws.String("Lambda"),
		LambdaDetails: &types.LambdaDetails{
			FunctionName: aws.String("a\nREMEDIATED\x1b[31m\u202e " + strings.Repeat("é", 300)),
		},
	}})
	if got, want := f.Resource(), "Lambda aREMEDIATED[31m "+strings.Repeat("é", 127-16)+"…"; got != want {
		t.Errorf("it is about %q, want %q", got, want)
	}
}

func TestInstancesAreFoundWhereverTheyAreNamed(t *testing.T) {
	const id, other = "i-0123456789abcdef0", "i-0123456789abcdef1"
	of := func(resources ...types.ResourceV2) *types.Service {
		return &types.Service{Detection: &types.Detection{Sequence: &types.Sequence{Resources: resources}}}
	}
	one := func(uid, name string) types.ResourceV2 {
		return types.ResourceV2{ResourceType: types.FindingResourceTypeEc2Instance, Uid: aws.String(uid), Name: aws.String(name)}
	}
	there := one("x", id)
	there.AccountId, there.Region = aws.String("333333333333"), aws.String("eu-west-1")
	nowhere := one(id, "")
	nowhere.AccountId, nowhere.Region = aws.String("not an account"), aws.String("example.com/")
	uids := []string{id, "arn:aws:ec2:eu-west-1:333333333333:instance/" + other, "web-1", "i-XYZ"}
	listed := []event.Instance{{ID: id}, {Account: "333333333333", Region: "eu-west-1", ID: other}}
	nodes := []event.Instance{{ID: id, Node: true}, {Account: "333333333333", Region: "eu-west-1", ID: other, Node: true}}
	held := func(data types.ResourceData) *types.Service {
		return of(types.ResourceV2{ResourceType: "ANY", Data: &data})
	}
	for _, tt := range []struct {
		name string
		f    types.Finding
		want []event.Instance
	}{
		{"resource", types.Finding{Resource: &types.Resource{InstanceDetails: &types.InstanceDetails{InstanceId: aws.String(id)}}}, listed[:1]},
		{"call", types.Finding{Service: &types.Service{Action: &types.Action{AwsApiCallAction: &types.AwsApiCallAction{
			AffectedResources: map[string]string{"AWS::EC2::Instance": id},
		}}}}, listed[:1]},
		{"sequence, by ID", types.Finding{Service: of(one(id, ""))}, listed[:1]},
		{"sequence, by ARN", types.Finding{Service: of(one(uids[1], ""))}, listed[1:]},
		{"sequence, by name, of another account", types.Finding{Service: of(there)}, []event.Instance{{Account: "333333333333", Region: "eu-west-1", ID: id}}},
		{"sequence, account and Region of no shape", types.Finding{Service: of(nowhere)}, listed[:1]},
		{"sequence, the same twice", types.Finding{Service: of(one(id, ""), one("arn:aws:ec2:us-east-1:222222222222:instance/"+id, ""))}, listed[:1]},
		{"sequence, another resource of that name", types.Finding{Service: of(types.ResourceV2{
			ResourceType: types.FindingResourceTypeEc2Vpc, Name: aws.String(id),
		})}, nil},
		{"Auto Scaling group", types.Finding{Service: held(types.ResourceData{AutoscalingAutoScalingGroup: &types.AutoscalingAutoScalingGroup{Ec2InstanceUids: uids}})}, listed},
		{"stack", types.Finding{Service: held(types.ResourceData{CloudformationStack: &types.CloudformationStack{Ec2InstanceUids: uids}})}, listed},
		{"image", types.Finding{Service: held(types.ResourceData{Ec2Image: &types.Ec2Image{Ec2InstanceUids: uids}})}, listed},
		{"launch template", types.Finding{Service: held(types.ResourceData{Ec2LaunchTemplate: &types.Ec2LaunchTemplate{Ec2InstanceUids: uids}})}, listed},
		{"VPC", types.Finding{Service: held(types.ResourceData{Ec2Vpc: &types.Ec2Vpc{Ec2InstanceUids: uids}})}, listed},
		{"instance profile", types.Finding{Service: held(types.ResourceData{IamInstanceProfile: &types.IamInstanceProfileV2{Ec2InstanceUids: uids}})}, listed},
		{"ECS cluster", types.Finding{Service: held(types.ResourceData{EcsCluster: &types.EcsCluster{Ec2InstanceUids: uids}})}, nodes},
		{"EKS cluster", types.Finding{Service: held(types.ResourceData{EksCluster: &types.EksCluster{Ec2InstanceUids: uids}})}, nodes},
		{"a node that is named by itself as well", types.Finding{Service: of(
			types.ResourceV2{Data: &types.ResourceData{EksCluster: &types.EksCluster{Ec2InstanceUids: uids[:1]}}}, one(id, ""),
		)}, listed[:1]},
		{"signal", types.Finding{Service: &types.Service{Detection: &types.Detection{Sequence: &types.Sequence{
			Signals: []types.Signal{{ResourceUids: uids[:1]}, {ResourceUids: uids}},
		}}}}, listed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, finding(t, tt.f).Instances()); diff != "" {
				t.Errorf("instances differ (-want +got):\n%s", diff)
			}
		})
	}
}

// IDs go into calls and ARNs: what does not look like one is left out, whatever
// it may be.
func TestOnlyIDsAreTakenForIDs(t *testing.T) {
	for _, id := range []string{
		"", "i-", "i-xyz", "i-0123456", "i-0123456789abcdef01", "I-0123456789ABCDEF0", " i-0123456789abcdef0", "i-0123456789abcdef0\n",
		"i-0123456789abcdef0/../sg-1", "arn:aws:ec2:us-east-1:222222222222:volume/i-0123456789abcdef0",
		"arn:aws:ec2:us-east-1:2222:instance/i-0123456789abcdef0", "arn:aws:ec2:example.com/:222222222222:instance/i-0123456789abcdef0",
	} {
		f := finding(t, types.Finding{Resource: &types.Resource{InstanceDetails: &types.InstanceDetails{
			InstanceId: aws.String(id),
			NetworkInterfaces: []types.NetworkInterface{{SecurityGroups: []types.SecurityGroup{
				{GroupId: aws.String(strings.Replace(id, "i-", "sg-", 1))}, {GroupId: aws.String("sg-12345678")},
			}}},
		}}})
		if got := f.Instances(); got != nil {
			t.Errorf("%q is taken for instance %v", id, got)
		}
		if diff := cmp.Diff([]string{"sg-12345678"}, f.Groups()); diff != "" {
			t.Errorf("%q is taken for a group (-want +got):\n%s", id, diff)
		}
	}
	for _, region := range []string{"us-east-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "us-isob-east-1", "ap-southeast-7"} {
		f := finding(t, types.Finding{Resource: &types.Resource{InstanceDetails: &types.InstanceDetails{
			InstanceId: aws.String("arn:aws-any:ec2:" + region + ":222222222222:instance/i-12345678"),
		}}})
		if diff := cmp.Diff([]event.Instance{{Account: "222222222222", Region: region, ID: "i-12345678"}}, f.Instances()); diff != "" {
			t.Errorf("instance of %s (-want +got):\n%s", region, diff)
		}
	}
}

func TestSampleFindingsNameTheCredentialsThatWereUsed(t *testing.T) {
	const (
		alice = "AIDAEXAMPLEALICE00001"
		long  = "AKIAIOSFODNN7EXAMPLE"
		short = "ASIAI44QH8DHBEXAMPLE"
	)
	deploy := event.Credentials{Type: "AssumedRole", Name: "deploy", Principal: "AROAEXAMPLEDEPLOY0001:build-7", Key: short}
	for _, tt := range []struct {
		file string
		want []event.Credentials
	}{
		{"iam-access-key.json", []event.Credentials{{"IAMUser", "alice", alice, long}}},
		{"iam-user-session.json", []event.Credentials{{"IAMUser", "alice", alice, short}}},
		{"iam-console-login.json", []event.Credentials{{"IAMUser", "alice", alice, ""}}},
		{"iam-role-session.json", []event.Credentials{deploy}},
		{"iam-instance-credentials.json", []event.Credentials{{"AssumedRole", "web", "AROAEXAMPLEWEB0000001:i-0123456789abcdef0", short}}},
		{"iam-identity-center.json", []event.Credentials{
			{"AssumedRole", "AWSReservedSSO_Administrator_0123456789abcdef", "AROAEXAMPLESSO0000001:alice@example.com", short},
		}},
		{"iam-root.json", []event.Credentials{{"Root", "Root", "222222222222", short}}},
		{"iam-federated-user.json", []event.Credentials{{"FederatedUser", "broker", "222222222222:contractor", short}}},
		{"s3-exfiltration.json", []event.Credentials{{"IAMUser", "alice", alice, long}}},
		{"s3-anonymous-listing.json", []event.Credentials{{"AWSAccount", "ANONYMOUS_PRINCIPAL", "", ""}}},
		{"attack-sequence-iam.json", []event.Credentials{{"IAMUser", "alice", alice, long}}},
		{"attack-sequence-s3.json", []event.Credentials{{"IAMUser", "alice", alice, long}, deploy}},
		{"ec2-cryptomining.json", nil},
	} {
		if diff := cmp.Diff(tt.want, sampleFinding(t, tt.file).Credentials()); diff != "" {
			t.Errorf("%s: credentials differ (-want +got):\n%s", tt.file, diff)
		}
	}
}

// Names and keys go into calls and ARNs, and whoever made a session has chosen its
// name.
func TestCredentialsOfAnotherFormAreLeftOut(t *testing.T) {
	whole := event.Credentials{Type: "IAMUser", Name: "alice", Principal: "AIDAEXAMPLEALICE00001", Key: "AKIAIOSFODNN7EXAMPLE"}
	without := func(edit func(*event.Credentials)) []event.Credentials {
		c := whole
		edit(&c)
		return []event.Credentials{c}
	}
	noKey := without(func(c *event.Credentials) { c.Key = "" })
	noName := without(func(c *event.Credentials) { c.Name = "" })
	noPrincipal := without(func(c *event.Credentials) { c.Principal = "" })
	for _, tt := range []struct {
		typ, name, principal, key string
		want                      []event.Credentials
	}{
		{"IAMUser", "alice", "AIDAEXAMPLEALICE00001", "GeneratedFindingAccessKeyId", noKey}, // as GuardDuty's own samples have it
		{"IAMUser", "alice", "AIDAEXAMPLEALICE00001", "AKIA IOSFODNN7EXAMPLE", noKey},
		{"IAMUser", "alice", "AIDAEXAMPLEALICE00001", "AKIA", noKey},
		{"IAMUser", "team/alice", "AIDAEXAMPLEALICE00001", "AKIAIOSFODNN7EXAMPLE", noName},
		{"IAMUser", "*", "AIDAEXAMPLEALICE00001", "AKIAIOSFODNN7EXAMPLE", noName},
		{"IAMUser", "alice\n", "AIDAEXAMPLEALICE00001", "AKIAIOSFODNN7EXAMPLE", noName},
		{"IAMUser", strings.Repeat("a", 129), "AIDAEXAMPLEALICE00001", "AKIAIOSFODNN7EXAMPLE", noName},
		{"IAMUser", "alice", "AIDAEXAMPLEALICE00001:*", "AKIAIOSFODNN7EXAMPLE", noPrincipal},
		{"IAMUser", "alice", "AIDAEXAMPLEALICE00001:a:b", "AKIAIOSFODNN7EXAMPLE", noPrincipal},
		{"IAMUser", "alice", "AIDAEXAMPLEALICE00001:", "AKIAIOSFODNN7EXAMPLE", noPrincipal},
		{"IAM User", "alice", "AIDAEXAMPLEALICE00001", "AKIAIOSFODNN7EXAMPLE", without(func(c *event.Credentials) { c.Type = "" })},
		{"", "", "", "", nil},
	} {
		ofKey := types.Finding{Resource: &types.Resource{AccessKeyDetails: &types.AccessKeyDetails{
			UserType: &tt.typ, UserName: &tt.name, PrincipalId: &tt.principal, AccessKeyId: &tt.key,
		}}}
		actor := types.Actor{User: &types.User{Type: &tt.typ, Name: &tt.name, Uid: &tt.principal, CredentialUid: &tt.key}}
		ofSequence := types.Finding{Service: &types.Service{Detection: &types.Detection{Sequence: &types.Sequence{
			Actors: []types.Actor{actor, {Process: &types.ActorProcess{Name: aws.String("sh")}}, actor},
		}}}}
		for _, f := range []types.Finding{ofKey, ofSequence} {
			if diff := cmp.Diff(tt.want, finding(t, f).Credentials()); diff != "" {
				t.Errorf("%q %q %q %q: credentials differ (-want +got):\n%s", tt.typ, tt.name, tt.principal, tt.key, diff)
			}
		}
	}
}

func TestAddressesAndPortsOfEveryActionAreRead(t *testing.T) {
	remote := &types.RemoteIpDetails{IpAddressV4: aws.String("203.0.113.1"), IpAddressV6: aws.String("2001:DB8::1")}
	both := []string{"203.0.113.1", "2001:db8::1"}
	probe := func(address string, port int32) types.PortProbeDetail {
		return types.PortProbeDetail{
			LocalPortDetails: &types.LocalPortDetails{Port: aws.Int32(port)}, RemoteIpDetails: &types.RemoteIpDetails{IpAddressV4: aws.String(address)},
		}
	}
	for _, tt := range []struct {
		name   string
		action types.Action
		want   []string
		ports  []int
	}{
		{"connection", types.Action{NetworkConnectionAction: &types.NetworkConnectionAction{
			RemoteIpDetails: remote, LocalPortDetails: &types.LocalPortDetails{Port: aws.Int32(22)},
		}}, both, []int{22}},
		{"call", types.Action{AwsApiCallAction: &types.AwsApiCallAction{RemoteIpDetails: remote}}, both, nil},
		{"Kubernetes call", types.Action{KubernetesApiCallAction: &types.KubernetesApiCallAction{
			RemoteIpDetails: remote, SourceIps: []string{"203.0.113.1", "198.51.100.1", "unknown"},
		}}, append(both, "198.51.100.1"), nil},
		{"login", types.Action{RdsLoginAttemptAction: &types.RdsLoginAttemptAction{RemoteIpDetails: remote}}, both, nil},
		{"probe", types.Action{PortProbeAction: &types.PortProbeAction{
			PortProbeDetails: []types.PortProbeDetail{probe("203.0.113.9", 9200), probe("203.0.113.8", 22), probe("203.0.113.9", 22), probe("fe80::1%eth0", 0)},
		}}, []string{"203.0.113.9", "203.0.113.8"}, []int{9200, 22}},
		{"none", types.Action{}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := finding(t, types.Finding{Service: &types.Service{Action: &tt.action}})
			if diff := cmp.Diff(tt.want, f.Remotes); diff != "" {
				t.Errorf("addresses differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.ports, f.LocalPorts); diff != "" {
				t.Errorf("ports differ (-want +got):\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff([]string{"203.0.113.7"}, sampleFinding(t, "attack-sequence-ec2.json").Remotes); diff != "" {
		t.Errorf("addresses of a sequence differ (-want +got):\n%s", diff)
	}
}

func TestWhatAFindingDoesNotSayIsEmpty(t *testing.T) {
	data := read(t, samples, "guardduty/ec2-cryptomining.json")
	for _, tt := range []struct {
		path, value string
		empty       func(*event.Finding) bool
	}{
		{"detail.severity", `"high"`, func(f *event.Finding) bool { return f.Severity == 0 }},
		{"detail.severity", `1e999`, func(f *event.Finding) bool { return f.Severity == 10 }},
		{"detail.severity", `-3`, func(f *event.Finding) bool { return f.Severity == 0 }},
		{"detail.service.resourceRole", `"VICTIM"`, func(f *event.Finding) bool { return f.Role == "" }},
		{"detail.service.resourceRole", `"Actor"`, func(f *event.Finding) bool { return f.Role == event.RoleActor }},
		{"detail.service", `null`, func(f *event.Finding) bool {
			return f.Role == "" && f.DetectorID == "" && f.Count == 0 && f.Remotes == nil
		}},
		{"detail.service", `"text"`, func(f *event.Finding) bool { return f.LastSeen.IsZero() && f.Instances() != nil }},
		{"detail.service.eventFirstSeen", `1795309200`, func(f *event.Finding) bool { return f.FirstSeen.IsZero() && !f.LastSeen.IsZero() }},
		{"detail.updatedAt", `"yesterday"`, func(f *event.Finding) bool { return f.Updated.IsZero() }},
		{"detail.resource", `[1]`, func(f *event.Finding) bool {
			return f.ResourceType == "" && f.Instances() == nil && f.Groups() == nil && f.Credentials() == nil
		}},
		{"detail.title", `{}`, func(f *event.Finding) bool { return f.Title == "" }},
		{"detail.arn", ``, func(f *event.Finding) bool { return f.ARN == "" }},
	} {
		if f := decode(t, edit(t, data, tt.path, tt.value)).Detail.(*event.Finding); !tt.empty(f) {
			t.Errorf("%s = %s is read as %+v", tt.path, tt.value, f)
		}
	}
}

func TestFindingWithAnIDThatIsNoneIsRefused(t *testing.T) {
	data := read(t, samples, "guardduty/ec2-cryptomining.json")
	for _, id := range []string{`"a b"`, `"a/b"`, `"*"`, `"a\n"`, `"` + strings.Repeat("a", 301) + `"`} {
		e, err := event.Decode(edit(t, data, "detail.id", id))
		wantField(t, e, err, "detail.id")
	}
}

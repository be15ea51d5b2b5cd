package event

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tidwall/gjson"
)

// Finding is a GuardDuty finding. It has the fields of GuardDuty's API in lower
// camel case. Only the identities are strict: all else that is missing, or of
// another type than GuardDuty's, is left empty, so that no finding is lost.
type Finding struct {
	ID           string
	Type         string // "CryptoCurrency:EC2/BitcoinTool.B!DNS"
	Account      string // the member the finding is about
	Region       string
	Severity     float64 // 1.0 to 10.0; 0: it says none
	ResourceType string  // "Instance", "AccessKey", "AttackSequence"
	Title        string
	// Role is RoleActor or RoleTarget; empty if the finding says neither, as those
	// of Runtime Monitoring do.
	Role string
	// Sample findings are drills; archived ones were dealt with.
	Sample, Archived bool
	// Count is how often the same activity was seen.
	Count int64
	// ARN, Partition and DetectorID are GuardDuty's own names for the finding.
	ARN, Partition, DetectorID string
	// FirstSeen and LastSeen are when the activity was seen, Updated when GuardDuty
	// last wrote the finding; zero if it does not say.
	FirstSeen, LastSeen, Updated time.Time
	// LocalPorts are the ports of the resource that were used or probed.
	LocalPorts []int
	// Remotes are the addresses on the other side, in the order of the finding.
	Remotes []string

	detail gjson.Result
}

// The roles of a finding's resource. They tell who attacks only of types that
// know both sides, such as brute force: DNS findings say TARGET of an instance
// that is itself at work.
const (
	RoleActor  = "ACTOR"
	RoleTarget = "TARGET"
)

// Instance is an EC2 instance that a finding names.
type Instance struct {
	// Account and Region are empty where the finding names none beside its own.
	Account, Region string
	ID              string // "i-0123456789abcdef0"
	// Node says that it is named as a node of an ECS or EKS cluster alone, which is
	// not to say that anything is wrong with it.
	Node bool
}

// Credentials are whose credentials a finding says were used. What is not of the
// form that it has at AWS is left empty.
type Credentials struct {
	// Type is how whoever used them signed, as CloudTrail has it: "IAMUser",
	// "AssumedRole", "Root", "FederatedUser", "AWSAccount".
	Type string
	// Name is the name of the user or, of a session, of its role, without the path.
	Name string
	// Principal is the unique ID of the user, or of the role with the name of its
	// session: "AIDA…", "AROA…:session".
	Principal string
	// Key is the ID of the access key: "AKIA…" of a user's own, "ASIA…" of a
	// session. It is empty after a sign-in to the console.
	Key string
}

func (f *Finding) account() string { return f.Account }

func (f *Finding) dismiss() string {
	if f.Archived {
		return "the finding is archived"
	}
	return ""
}

// Get reads the finding by a path in the syntax of gjson:
// "resource.instanceDetails.instanceId".
func (f *Finding) Get(path string) gjson.Result { return f.detail.Get(path) }

// Finding IDs are 32 hexadecimal digits today. Whatever they become, they are
// part of keys and ARNs.
var findingID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,300}$`)

func decodeFinding(detail gjson.Result) (*Finding, error) {
	service := detail.Get("service")
	f := &Finding{
		Severity:     severity(detail.Get("severity")),
		ResourceType: plain(detail.Get("resource.resourceType")),
		Title:        plain(detail.Get("title")),
		Role:         role(service.Get("resourceRole")),
		Sample:       sample(service.Get("additionalInfo")),
		Archived:     service.Get("archived").Bool(),
		Count:        service.Get("count").Int(),
		ARN:          plain(detail.Get("arn")),
		Partition:    plain(detail.Get("partition")),
		DetectorID:   plain(service.Get("detectorId")),
		FirstSeen:    moment(service.Get("eventFirstSeen")),
		LastSeen:     moment(service.Get("eventLastSeen")),
		Updated:      moment(detail.Get("updatedAt")),
		LocalPorts:   localPorts(service.Get("action")),
		Remotes:      remotes(service),
		detail:       detail,
	}
	var err error
	if f.Account, err = accountAt(detail, "accountId"); err != nil {
		return nil, err
	}
	for _, field := range []struct {
		path string
		to   *string
	}{{"id", &f.ID}, {"type", &f.Type}, {"region", &f.Region}} {
		if *field.to, err = text(detail, field.path); err != nil {
			return nil, err
		}
	}
	if !findingID.MatchString(f.ID) {
		return nil, &FieldError{"detail.id", fmt.Sprintf("is %.40q, not the ID of a finding", f.ID)}
	}
	return f, nil
}

// sample reads service.additionalInfo.sample. Newer findings carry the same
// information a second time as JSON text in additionalInfo.value.
func sample(info gjson.Result) bool {
	return info.Get("sample").Bool() || gjson.Get(info.Get("value").String(), "sample").Bool()
}

// plain is a text, and empty if the value is none.
func plain(v gjson.Result) string {
	if v.Type != gjson.String {
		return ""
	}
	return v.Str
}

// severity keeps within the scale: a number in a text may be no number at all.
func severity(v gjson.Result) float64 {
	if v.Type != gjson.Number {
		return 0
	}
	return min(max(v.Num, 0), 10)
}

func role(v gjson.Result) string {
	switch r := strings.ToUpper(plain(v)); r {
	case RoleActor, RoleTarget:
		return r
	}
	return ""
}

// moment reads a time, and is zero if the value is none.
func moment(v gjson.Result) time.Time {
	t, err := parseTime("", plain(v))
	if err != nil {
		return time.Time{}
	}
	return t
}

func localPorts(action gjson.Result) []int {
	var ports []int
	for _, v := range slices.Concat(
		action.Get("networkConnectionAction.localPortDetails.port").Array(),
		action.Get("portProbeAction.portProbeDetails.#.localPortDetails.port").Array(),
	) {
		port := int(v.Int())
		if v.Type == gjson.Number && port > 0 && port < 1<<16 && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}

// remotePaths are where findings name addresses on the other side, below
// service. Each may be one value, a list, or a list of lists.
var remotePaths = []string{
	"action.networkConnectionAction.remoteIpDetails.[ipAddressV4,ipAddressV6]",
	"action.awsApiCallAction.remoteIpDetails.[ipAddressV4,ipAddressV6]",
	"action.kubernetesApiCallAction.remoteIpDetails.[ipAddressV4,ipAddressV6]",
	"action.kubernetesApiCallAction.sourceIps",
	"action.rdsLoginAttemptAction.remoteIpDetails.[ipAddressV4,ipAddressV6]",
	"action.portProbeAction.portProbeDetails.#.remoteIpDetails.ipAddressV4",
	"action.portProbeAction.portProbeDetails.#.remoteIpDetails.ipAddressV6",
	"detection.sequence.endpoints.#.ip",
}

func remotes(service gjson.Result) []string {
	var addresses []string
	for _, path := range remotePaths {
		for _, v := range service.Get(path).Array() {
			address, err := netip.ParseAddr(plain(v))
			if err == nil && address.Zone() == "" && !slices.Contains(addresses, address.String()) {
				addresses = append(addresses, address.String())
			}
		}
	}
	return addresses
}

// region is what AWS's Regions are called: "us-gov-west-1", "eusc-de-east-1".
const region = `[a-z]{2,4}(?:-[a-z]{1,12}){1,3}-\d{1,2}`

var (
	regionName = regexp.MustCompile(`^` + region + `$`)
	// instanceName is how findings name an instance: by its ID, or by its ARN. Of
	// attack sequences, GuardDuty's API reference (ResourceV2, uid) does not say which.
	instanceName = regexp.MustCompile(`^(?:arn:aws[a-z-]{0,20}:ec2:(` + region + `):(\d{12}):instance/)?(i-[0-9a-f]{8,17})$`)
	groupID      = regexp.MustCompile(`^sg-[0-9a-f]{8,17}$`)
)

// asInstance reads an instance from its name; nil if it is no instance's.
func asInstance(name string) *Instance {
	m := instanceName.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	return &Instance{Region: m[1], Account: m[2], ID: m[3]}
}

// Instances are the EC2 instances that the finding names, in its order and once
// each: of its resource, of the call it is about, of the resources and signals
// of an attack sequence or a custom detection rule. What is no ID is left out.
func (f *Finding) Instances() []Instance {
	var all []Instance
	add := func(in *Instance) {
		if in == nil {
			return
		}
		same := slices.IndexFunc(all, func(i Instance) bool {
			return i.ID == in.ID && cmp.Or(i.Account, f.Account) == cmp.Or(in.Account, f.Account) &&
				cmp.Or(i.Region, f.Region) == cmp.Or(in.Region, f.Region)
		})
		if same < 0 {
			all = append(all, *in)
			return
		}
		all[same].Node = all[same].Node && in.Node
	}
	add(asInstance(plain(f.detail.Get("resource.instanceDetails.instanceId"))))
	add(asInstance(plain(f.detail.Get("service.action.awsApiCallAction.affectedResources.AWS::EC2::Instance"))))
	sequence := f.detail.Get("service.detection.sequence")
	for _, r := range sequence.Get("resources").Array() {
		add(sequenceInstance(r))
		for _, in := range listedInstances(r) {
			add(&in)
		}
	}
	for _, uids := range sequence.Get("signals.#.resourceUids").Array() {
		for _, uid := range uids.Array() {
			add(asInstance(plain(uid)))
		}
	}
	return all
}

// sequenceInstance reads a resource of a sequence that is an instance; nil if
// it is something else.
func sequenceInstance(r gjson.Result) *Instance {
	if plain(r.Get("resourceType")) != "EC2_INSTANCE" {
		return nil
	}
	in := asInstance(plain(r.Get("uid")))
	if in == nil {
		in = asInstance(plain(r.Get("name")))
	}
	if in == nil || in.Account != "" {
		return in
	}
	if account := plain(r.Get("accountId")); IsAccount(account) {
		in.Account = account
	}
	if region := plain(r.Get("region")); regionName.MatchString(region) {
		in.Region = region
	}
	return in
}

// listedInstances are the instances that a resource of a sequence holds
// together: those of an Auto Scaling group, an image, a VPC. GuardDuty's API
// reference calls them compromised, but for the nodes of clusters.
func listedInstances(r gjson.Result) []Instance {
	var all []Instance
	r.Get("data").ForEach(func(kind, data gjson.Result) bool {
		for _, uid := range data.Get("ec2InstanceUids").Array() {
			if in := asInstance(plain(uid)); in != nil {
				in.Node = kind.Str == "ecsCluster" || kind.Str == "eksCluster"
				all = append(all, *in)
			}
		}
		return true
	})
	return all
}

// Groups are the IDs of the security groups that the finding says the named
// instance's interfaces are in, once each.
func (f *Finding) Groups() []string {
	var all []string
	for _, ids := range f.detail.Get("resource.instanceDetails.networkInterfaces.#.securityGroups.#.groupId").Array() {
		for _, v := range ids.Array() {
			if id := plain(v); groupID.MatchString(id) && !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all
}

// What credentials are made of. Sources: IAM API reference, User and
// AccessKeyMetadata; STS API reference, AssumeRole (names of sessions).
var (
	credentialsType = regexp.MustCompile(`^[A-Za-z]{1,40}$`)
	principalName   = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
	principalID     = regexp.MustCompile(`^\w{4,128}(?::[\w+=,.@-]{1,128})?$`)
	accessKeyID     = regexp.MustCompile(`^[A-Z0-9]{16,128}$`)
)

// Credentials are those that the finding says were used, in its order and once
// each: of its resource, and of the actors of an attack sequence or a custom
// detection rule. Whether they are the account's own it does not say: of an
// actor, GuardDuty names the account in which he acted (GuardDuty API reference,
// User).
func (f *Finding) Credentials() []Credentials {
	var all []Credentials
	add := func(typ, name, principal, key gjson.Result) {
		c := Credentials{
			shaped(typ, credentialsType), shaped(name, principalName), shaped(principal, principalID), shaped(key, accessKeyID),
		}
		if c != (Credentials{}) && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	details := f.detail.Get("resource.accessKeyDetails")
	add(details.Get("userType"), details.Get("userName"), details.Get("principalId"), details.Get("accessKeyId"))
	for _, actor := range f.detail.Get("service.detection.sequence.actors").Array() {
		user := actor.Get("user")
		add(user.Get("type"), user.Get("name"), user.Get("uid"), user.Get("credentialUid"))
	}
	return all
}

// shaped is a text of a shape, and empty if the value is none.
func shaped(v gjson.Result, shape *regexp.Regexp) string {
	if s := plain(v); shape.MatchString(s) {
		return s
	}
	return ""
}

// resourceNames are where findings have the names of resources, by type.
var resourceNames = []struct{ resourceType, path string }{
	{"Instance", "instanceDetails.instanceId"},
	{"S3Object", "s3BucketDetails.#.s3ObjectDetails.#.objectArn"},
	{"S3Bucket", "s3BucketDetails.#.name"},
	{"EKSCluster", "eksClusterDetails.name"},
	{"ECSCluster", "ecsClusterDetails.name"},
	{"Container", "containerDetails.name"},
	{"RDSDBInstance", "rdsDbInstanceDetails.dbInstanceIdentifier"},
	{"RDSLimitlessDB", "rdsLimitlessDbDetails.dbShardGroupIdentifier"},
	{"Lambda", "lambdaDetails.functionName"},
	{"EBSSnapshot", "ebsSnapshotDetails.snapshotArn"},
	{"EC2Image", "ec2ImageDetails.imageArn"},
	{"RecoveryPoint", "recoveryPointDetails.recoveryPointArn"},
}

// Resource says in one line what the finding is about: "S3Bucket
// example-reports, AccessKey AKIAIOSFODNN7EXAMPLE of IAMUser alice". The names
// are the finding's own words, without what does not print.
func (f *Finding) Resource() string {
	resource := f.detail.Get("resource")
	var first, others []string
	add := func(resourceType, name string) {
		switch {
		case name == "":
		case resourceType == f.ResourceType:
			first = append(first, resourceType+" "+line(name))
		default:
			others = append(others, line(resourceType)+" "+line(name))
		}
	}
	for _, r := range resourceNames {
		for _, v := range flat(resource.Get(r.path)) {
			add(r.resourceType, plain(v))
		}
	}
	add("AccessKey", accessKey(resource.Get("accessKeyDetails")))
	for _, r := range f.detail.Get("service.detection.sequence.resources").Array() {
		add(plain(r.Get("resourceType")), cmp.Or(plain(r.Get("name")), plain(r.Get("uid"))))
	}
	all := append(first, others...)
	const shown = 3
	switch {
	case len(all) == 0:
		return cmp.Or(line(f.ResourceType), "a resource without a name")
	case len(all) > shown:
		return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], ", "), len(all)-shown)
	}
	return strings.Join(all, ", ")
}

// flat are the values of a list, or of a list of lists.
func flat(v gjson.Result) []gjson.Result {
	var all []gjson.Result
	for _, v := range v.Array() {
		all = append(all, v.Array()...)
	}
	return all
}

// accessKey names a key and whose it is.
func accessKey(details gjson.Result) string {
	name := plain(details.Get("accessKeyId"))
	if user := plain(details.Get("userName")); user != "" {
		name += " of " + cmp.Or(plain(details.Get("userType")), "user") + " " + user
	}
	return strings.TrimSpace(name)
}

// longest is how many characters of a name fit into a line with others.
const longest = 128

// line is a name that someone else may have chosen as a part of a line.
func line(name string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, name))
	if len(runes) > longest {
		runes = append(runes[:longest-1], '…')
	}
	return string(runes)
}

package iampolicy

import (
	"slices"
	"strings"
)

// Organization is what tells an insider from an outsider. Accounts is taken for
// whole if it has any; without them, but with an ID, it is not known of other
// accounts than Account whether they are outside.
type Organization struct {
	ID       string   // "o-example1234"; empty if it is not known
	Account  string   // the account of the resource; empty if it is not known
	Accounts []string // the organization's accounts, as far as they are known
}

// Opening is what a statement of a resource or trust policy lets in from outside.
type Opening struct {
	Statement int // its index
	// Public: anybody. Else Outside are the principals, accounts and organizations
	// outside the organization that it names, sorted.
	Public  bool
	Outside []string
	// Answer is Conditional if something that is not known here narrows it, or if it
	// is not known whether those of Outside are outside.
	Answer Answer
	// Why says in a sentence how far the conditions narrow it, or that they do not.
	Why string
}

// Openings tells to whom outside the organization a resource or trust policy is
// open, one for each statement that opens it.
//
// A statement for everybody is public unless a condition holds only for principals,
// organizations, accounts or services, or only for requests from a network, that it
// names in full, as S3 sees it ("Blocking public access to your Amazon S3 storage",
// The meaning of "public"): so no wildcard where it counts, no variable, no address
// range wider than /8 or /32 of IPv6, and an operator that does not hold for a
// request without the key, as those with IfExists or ForAllValues and the negated
// ones do. What a requester chooses himself (TLS, a referer, his own tags) narrows
// nothing; what is not known here (a tag of the object, a secret) makes the answer
// Conditional. Denials for everybody that leave only such requests count as
// conditions. A network is taken for the organization's own, as is an identity
// provider that serves nobody else; services are not outside.
func (d *Document) Openings(of Organization) []Opening {
	var all []Opening
	r := search{budget: maxReach}
	r.of(d)
	guards := r.guards(d)
	for i := range d.Statements {
		if o, open := r.opening(&d.Statements[i], guards, of); open {
			o.Statement = i
			all = append(all, o)
		}
	}
	return all
}

func (r *search) opening(s *Statement, guards []*Statement, of Organization) (Opening, bool) {
	if s.Effect != Allow || r.conditions(s) == No {
		return Opening{}, false
	}
	who := of.named(s)
	for i := range s.Conditions {
		who = who.narrowed(of.judge(&s.Conditions[i], s.Conditions, false))
	}
	for _, g := range guards {
		if (who.anybody || len(who.outside) > 0) && r.guarded(s, g) {
			who = who.narrowed(of.leaves(g))
		}
	}
	if !who.anybody && len(who.outside) == 0 {
		return Opening{}, false
	}
	return who.opening(), true
}

// The most denials of a document, and patterns of one, that are looked at, so that
// the time is bounded.
const (
	maxGuards   = 64
	maxPatterns = 64
)

// guards are the denials that concern everybody.
func (r *search) guards(d *Document) []*Statement {
	var all []*Statement
	for i := range d.Statements {
		s := &d.Statements[i]
		everybody := len(s.NotPrincipals) > 0 || slices.ContainsFunc(s.Principals, func(p StatementPrincipal) bool {
			return p.Kind == "*" || p.Kind == "AWS" && p.Value == "*"
		})
		patterns := max(len(s.Actions), len(s.NotActions), len(s.Resources), len(s.NotResources))
		if s.Effect == Deny && everybody && patterns <= maxPatterns && len(all) < maxGuards && r.conditions(s) != No {
			all = append(all, s)
		}
	}
	return all
}

// guarded tells whether a denial is about all that a statement allows. In a trust
// policy nobody names the resource.
func (r *search) guarded(s, guard *Statement) bool {
	resources := len(s.Resources)+len(s.NotResources) > 0 && len(guard.Resources)+len(guard.NotResources) > 0
	return r.allOf(s.Actions, s.NotActions, guard.Actions, guard.NotActions, true) &&
		(!resources || r.allOf(s.Resources, s.NotResources, guard.Resources, guard.NotResources, false))
}

func (r *search) allOf(of, ofNot, patterns, not []string, actions bool) bool {
	if len(ofNot) > 0 {
		return r.contains(span{in: []string{"*"}, out: ofNot, fold: actions}, patterns, not, !actions) == Yes
	}
	return !slices.ContainsFunc(of, func(p string) bool {
		return r.budget < 0 || r.contains(span{in: []string{p}, fold: actions}, patterns, not, !actions) != Yes
	})
}

// audience is who can make a request that a statement is about. Insiders and
// services are not counted.
type audience struct {
	anybody bool
	outside []string
	// unsure says that it is not known whether those are outside.
	unsure bool
	// missing is what is not known here and has to be met, and weak is what looks as
	// if it narrowed but does not.
	missing, weak []string
}

func (a audience) opening() Opening {
	o := Opening{Public: a.anybody, Answer: Yes}
	who := "anybody"
	if !a.anybody {
		slices.Sort(a.outside)
		o.Outside = slices.Compact(a.outside)
		who = strings.Join(o.Outside, ", ")
	}
	parts := []string{"it is open to " + who}
	if a.unsure && !a.anybody {
		parts = append(parts, "whether that is outside is not known")
	}
	if len(a.missing)+len(a.weak) == 0 {
		parts = append(parts, "no condition narrows it")
	}
	parts = append(parts, a.weak...)
	if len(a.missing) > 0 {
		parts = append(parts, "it is narrowed by "+strings.Join(a.missing, ", ")+", which can't be judged here")
	}
	if len(a.missing) > 0 || a.unsure && !a.anybody {
		o.Answer = Conditional
	}
	o.Why = strings.Join(parts, "; ")
	return o
}

// verdict is what a condition makes of an audience.
type verdict struct {
	kind     verdictKind
	audience        // who is left, if it names them
	say      string // the key, or what is weak about it
}

type verdictKind byte

const (
	narrowsNothing verdictKind = iota
	// namesThem leaves those of its audience alone.
	namesThem
	// namesPlace leaves those in a network alone, of which it is not known whose it
	// is.
	namesPlace
	// isUnknown narrows to something that is not known here.
	isUnknown
)

func (a audience) narrowed(v verdict) audience {
	switch v.kind {
	case narrowsNothing:
		if v.say != "" {
			a.weak = append(a.weak, v.say)
		}
	case isUnknown:
		a.missing = append(a.missing, v.say)
	case namesPlace:
		if a.anybody {
			return audience{}
		}
		a.missing = append(a.missing, v.say)
	case namesThem:
		if len(v.outside) == 0 {
			return audience{}
		}
		if a.anybody {
			a.anybody, a.outside, a.unsure = false, v.outside, v.unsure
		}
	}
	return a
}

// has tells whether an account is of the organization.
func (o Organization) has(account string) Answer {
	switch {
	case o.Account != "" && account == o.Account || slices.Contains(o.Accounts, account):
		return Yes
	case o.Account == "" || o.ID != "" && len(o.Accounts) == 0:
		return Conditional
	}
	return No
}

func (a *audience) add(name string, inside Answer) {
	if inside != Yes {
		a.outside = append(a.outside, name)
		a.unsure = a.unsure || inside == Conditional
	}
}

// named is whom the Principal element of a statement names. NotPrincipal with Allow
// is everybody else, those without credentials among them ("AWS JSON policy
// elements: NotPrincipal").
func (o Organization) named(s *Statement) audience {
	if len(s.NotPrincipals) > 0 {
		return audience{anybody: true, weak: []string{"NotPrincipal lets in everybody whom it does not name"}}
	}
	return o.those(s.Principals, s.Conditions)
}

func (o Organization) those(principals []StatementPrincipal, conditions []Condition) audience {
	var a audience
	for _, p := range principals {
		switch p.Kind {
		case "*":
			a.anybody = true
		case "AWS":
			o.principal(&a, p.Value)
		case "Federated":
			o.federated(&a, p.Value, conditions)
		case "Service":
		default: // a canonical user: an account, but not known which
			a.add(p.Value, Conditional)
		}
	}
	return a
}

// principal adds a principal of AWS. A unique ID is that of one who was deleted:
// nobody's ("AWS JSON policy elements: Principal").
func (o Organization) principal(a *audience, value string) {
	account := value
	if strings.Contains(value, ":") {
		account = accountOf(value)
	}
	switch {
	case wild(account):
		a.anybody = true
	case account == "cloudfront": // an origin access identity is CloudFront's, a service
	case isAccount(account):
		a.add(value, o.has(account))
	case strings.Contains(value, ":"):
		a.add(value, Conditional)
	}
}

func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

// tenants are the identity providers that serve everybody, with the claims that
// tell their customers apart ("Identity-provider controls for shared OIDC
// providers"; of Google, Facebook and Amazon, "IAM and AWS STS condition context
// keys"). Of a provider that is not here all identities are taken for those of its
// owner.
var tenants = map[string][]string{
	"token.actions.githubusercontent.com":                {"sub"},
	"vstoken.actions.githubusercontent.com":              {"sub"},
	"oidc-configuration.audit-log.githubusercontent.com": {"sub"},
	"gitlab.com":                     {"sub"},
	"app.terraform.io":               {"sub"},
	"agent.buildkite.com":            {"sub"},
	"oidc.codefresh.io":              {"sub"},
	"studio.datachain.ai/api":        {"sub"},
	"scalr.io":                       {"sub"},
	"tokens.cloud.shisho.dev":        {"sub"},
	"proidc.upbound.io":              {"sub"},
	"oidc.vercel.com":                {"aud", "sub"},
	"api.pulumi.com/oidc":            {"aud", "sub"},
	"sandboxes.cloud":                {"aud", "sub"},
	"cognito-identity.amazonaws.com": {"aud", "sub"},
	"accounts.google.com":            {"aud", "oaud", "sub"},
	"graph.facebook.com":             {"app_id", "id"},
	"www.amazon.com":                 {"app_id", "user_id"},
}

// federated adds the identities of a provider: "cognito-identity.amazonaws.com", or
// "arn:aws:iam::222222222222:oidc-provider/gitlab.com".
func (o Organization) federated(a *audience, provider string, conditions []Condition) {
	host := provider
	if _, after, ok := strings.Cut(provider, ":oidc-provider/"); ok {
		host = after
	}
	claims, shared := tenants[strings.ToLower(host)]
	switch {
	case shared && !tellsTenant(host, claims, conditions):
		a.anybody = true
		a.weak = append(a.weak, "anybody can have an identity of "+host+", and no condition on "+host+":"+strings.Join(claims, " or ")+" tells whose")
	case shared:
	case isAccount(accountOf(provider)):
		a.add(provider, o.has(accountOf(provider)))
	default:
		a.anybody = true
		a.weak = append(a.weak, provider+" is no provider of one account")
	}
}

// tellsTenant tells whether the conditions leave one customer's identities alone.
// Guests of a Cognito identity pool are anybody.
func tellsTenant(host string, claims []string, conditions []Condition) bool {
	told := false
	for i := range conditions {
		c := &conditions[i]
		name, claim := providerOf(c.Key)
		if name != strings.ToLower(host) {
			continue
		}
		if claim == "amr" && slices.Contains(c.Values, "unauthenticated") {
			return false
		}
		op, ok := parseOperator(c.Operator)
		told = told || ok && op.weakness(c.Key, conditions) == "" && slices.Contains(claims, claim) &&
			!slices.ContainsFunc(c.Values, func(v string) bool { return !namesTenant(v) })
	}
	return told
}

// providerOf splits the condition key of a claim, such as "gitlab.com:sub".
func providerOf(key string) (host, claim string) {
	key = strings.ToLower(key)
	i := strings.LastIndex(key, ":")
	return key[:max(i, 0)], key[i+1:]
}

// namesTenant tells whether the value of a claim names whose it is before its first
// wildcard: "repo:example/*" does, "repo:example*" is also somebody else's.
func namesTenant(value string) bool {
	end := strings.IndexAny(value, "*?")
	if strings.Contains(value, "${") {
		return false
	}
	if end < 0 {
		return true
	}
	_, name, _ := strings.Cut(value[:end], ":")
	return strings.IndexAny(name, "/:@") > 0
}

// judge tells what a condition makes of an audience; as one of a denial, whom that
// leaves.
func (o Organization) judge(c *Condition, all []Condition, denies bool) verdict {
	op, ok := parseOperator(c.Operator)
	if !ok {
		return verdict{kind: isUnknown, say: c.Key}
	}
	key := strings.ToLower(c.Key)
	if denies && key == "aws:principalisawsservice" {
		// A denial of all that are no services.
		return verdict{kind: namesThem}.unless(op.compare == nil || op.negated || !slices.Equal(c.Values, []string{"false"}))
	}
	if denies && (!op.negated || op.absent() != Yes) {
		return verdict{}
	}
	if weakness := op.weakness(c.Key, all); !denies && weakness != "" {
		return verdict{say: weakness}
	}
	if judge, ok := judges[key]; ok {
		return o.all(c, judge)
	}
	if host, _ := providerOf(key); tenants[host] != nil {
		return verdict{} // judged with its provider
	}
	for _, prefix := range anybodysKeys {
		if strings.HasPrefix(key, prefix) {
			return verdict{say: "anybody can meet " + c.Key}
		}
	}
	return verdict{kind: isUnknown, say: c.Key}
}

func (v verdict) unless(not bool) verdict {
	if not {
		return verdict{}
	}
	return v
}

// weakness is why an operator narrows nothing, whatever its values are; empty if it
// may.
func (op operator) weakness(key string, all []Condition) string {
	switch {
	case op.compare == nil:
		return "Null only asks whether " + key + " is there"
	case op.negated:
		return key + " is only told what it must not be"
	case op.absent() == No || required(key, all):
		return ""
	case op.ifExists:
		return key + " need not be there, by IfExists"
	}
	return key + " need not be there, by ForAllValues"
}

// required tells whether a Null condition asks for a key to be there.
func required(key string, all []Condition) bool {
	return slices.ContainsFunc(all, func(c Condition) bool {
		return c.Operator == "Null" && strings.EqualFold(c.Key, key) && null(c.Values, No) == No
	})
}

// all joins what a condition's values are: any of them is enough.
func (o Organization) all(c *Condition, judge func(Organization, string) verdict) verdict {
	joined := verdict{kind: namesThem, say: c.Key}
	for _, value := range c.Values {
		v := judge(o, value)
		if v.kind == narrowsNothing {
			return verdict{say: c.Key + " may be " + value + ", which is nobody's own"}
		}
		joined.join(v)
	}
	return joined
}

func (v *verdict) join(other verdict) {
	v.outside = append(v.outside, other.outside...)
	v.unsure = v.unsure || other.unsure
	if other.kind == namesPlace && len(v.outside) == 0 {
		v.kind, v.say = namesPlace, other.say
	}
}

// leaves is whom a denial for everybody leaves: whom NotPrincipal names, or those
// for whom one of its conditions does not hold.
func (o Organization) leaves(guard *Statement) verdict {
	if len(guard.NotPrincipals) > 0 {
		left := o.those(guard.NotPrincipals, nil)
		return verdict{kind: namesThem, audience: left}.unless(left.anybody || len(guard.Conditions) > 0)
	}
	joined := verdict{kind: namesThem}
	for i := range guard.Conditions {
		v := o.judge(&guard.Conditions[i], nil, true)
		if v.kind != namesThem && v.kind != namesPlace {
			return verdict{}
		}
		joined.join(v)
	}
	return joined
}

// judges tell of a value of a key whom it leaves ("AWS global condition context
// keys").
var judges = map[string]func(Organization, string) verdict{
	"aws:principalorgid":            Organization.byOrganization,
	"aws:sourceorgid":               Organization.byOrganization,
	"aws:vpceorgid":                 Organization.byOrganization,
	"aws:principalorgpaths":         Organization.byPath,
	"aws:sourceorgpaths":            Organization.byPath,
	"aws:vpceorgpaths":              Organization.byPath,
	"aws:principalaccount":          Organization.byAccount,
	"aws:sourceaccount":             Organization.byAccount,
	"aws:sourceowner":               Organization.byAccount,
	"aws:vpceaccount":               Organization.byAccount,
	"kms:calleraccount":             Organization.byAccount,
	"s3:dataaccesspointaccount":     Organization.byAccount,
	"aws:principalarn":              Organization.byARN,
	"aws:sourcearn":                 Organization.byARN,
	"aws:sourcevpcarn":              Organization.byARN,
	"s3:dataaccesspointarn":         Organization.byARN,
	"aws:userid":                    Organization.byUserID,
	"aws:sourceip":                  Organization.byAddress,
	"aws:sourcevpc":                 Organization.byPlace,
	"aws:sourcevpce":                Organization.byPlace,
	"aws:principalisawsservice":     Organization.byService,
	"aws:principalservicename":      Organization.byService,
	"aws:principalservicenameslist": Organization.byService,
	"s3:x-amz-server-side-encryption-aws-kms-key-id": Organization.byPlace,
}

// anybodysKeys are the beginnings of the keys that whoever makes a request can
// choose, or that say nothing of him. A private address says nothing without the
// VPC that it is in.
var anybodysKeys = []string{
	"aws:securetransport", "aws:referer", "aws:useragent", "aws:requestedregion", "aws:tagkeys", "aws:requesttag/",
	"aws:principaltag/", "aws:principaltype", "aws:multifactorauth", "aws:tokenissuetime", "aws:vpcsourceip",
	"aws:resourceaccount", "aws:resourceorg", "aws:viaawsservice",
	"s3:authtype", "s3:signatureage", "s3:signatureversion", "s3:tlsversion", "s3:prefix", "s3:delimiter", "s3:max-keys", "s3:x-amz-",
	"lambda:functionurlauthtype", "lambda:invokedviafunctionurl", "sns:protocol", "sns:endpoint",
}

// fixed tells whether a value stands for itself alone.
func fixed(value string) bool { return !wild(value) && !strings.Contains(value, "${") }

func (o Organization) byOrganization(value string) verdict {
	v := verdict{kind: namesThem}
	switch {
	case strings.EqualFold(value, "${aws:ResourceOrgID}") || value == o.ID && o.ID != "":
	case !fixed(value) || value == "":
		return verdict{}
	case o.ID == "":
		v.add(value, Conditional)
	default:
		v.add(value, No)
	}
	return v
}

// byPath takes the first part of "o-example1234/r-ab12/ou-ab12-11111111/*".
func (o Organization) byPath(value string) verdict {
	id, _, _ := strings.Cut(value, "/")
	return o.byOrganization(id)
}

func (o Organization) byAccount(value string) verdict {
	v := verdict{kind: namesThem}
	switch {
	case strings.EqualFold(value, "${aws:ResourceAccount}"):
	case !fixed(value):
		return verdict{}
	default:
		v.add(value, o.has(value))
	}
	return v
}

// byARN needs no more than the account of an ARN; those of S3 buckets have none.
func (o Organization) byARN(value string) verdict {
	account := accountOf(value)
	switch {
	case isAccount(account):
		v := verdict{kind: namesThem}
		v.add(value, o.has(account))
		return v
	case account == "" && fixed(value):
		return verdict{kind: namesPlace}
	}
	return verdict{}
}

// byUserID needs a unique ID, of 16 characters at least, before any wildcard: that
// of a role is followed by the name of the session ("IAM identifiers").
func (o Organization) byUserID(value string) verdict {
	end := strings.IndexAny(value+"*", "*?$")
	return verdict{kind: namesPlace}.unless(end < 16)
}

// byAddress takes a range for nobody's own as S3 does: wider than /8, or /32 of
// IPv6.
func (o Organization) byAddress(value string) verdict {
	p, ok := addresses(value)
	wide := ok && (p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 32)
	return verdict{kind: namesPlace}.unless(wide)
}

func (o Organization) byPlace(value string) verdict {
	return verdict{kind: namesPlace}.unless(!fixed(value))
}

// byService leaves services alone, which are not outside.
func (o Organization) byService(value string) verdict {
	return verdict{kind: namesThem}.unless(!fixed(value) || strings.EqualFold(value, "false"))
}

package baseline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/snapback-aws/snapback/pkg/control"
)

// version is the one version of the file's format.
const version = 1

// earliestZone is how far the earliest time zone is ahead of UTC: there a
// review of today may carry the date of UTC's tomorrow.
const earliestZone = 14 * time.Hour

// Parse reads a baseline file and reports every fault of it at once, in the
// order of the file. The baseline is nil if there is a fault that is not a
// warning. The file's name is shown in messages and decisions.
//
// The domains must be all that there are. The params of a control or a runbook
// are decoded into the struct that its Params points to, and into those of the
// same control in the domains that use it, or left alone if the file has errors.
// So Parse must not run while a control or a runbook does, and a second file is
// read on top of the params that the first one set.
//
// Reviews and exemptions are measured against now.
func Parse(file string, data []byte, domains []control.Domain, now time.Time) (*Baseline, Problems) {
	p := newParser(file, domains)
	p.now = now
	return parse(p, data)
}

// ParseDeployed reads the file inside the function of a domain. Parse has
// checked it whole before it was deployed; here names of other domains are taken
// as they are, and what time alone turns into a fault (a review that grows old,
// an exemption that ends) is none: Decide grants an exemption that has ended no
// more. How long one may last is measured by Parse alone.
func ParseDeployed(file string, data []byte, domain control.Domain) (*Baseline, Problems) {
	p := newParser(file, []control.Domain{domain})
	p.deployed = true
	return parse(p, data)
}

func parse(p *parser, data []byte) (*Baseline, Problems) {
	sum := sha256.Sum256(data)
	b := &Baseline{File: p.file, Digest: hex.EncodeToString(sum[:])}
	if root := p.document(data); root != nil {
		p.plain(root, "the file")
		p.baseline(root, b)
	}
	lines := bytes.Split(data, []byte("\n"))
	for i := range p.problems {
		at := &p.problems[i]
		at.Line, at.Column = within(lines, yaml.Mark{Line: at.Line, Column: at.Column})
	}
	p.problems.sort()
	if p.problems.Err() != nil {
		return nil, p.problems
	}
	for _, d := range p.decoded {
		d.params.Set(d.value)
	}
	for _, to := range p.identities {
		*to = control.Identities{Administrators: b.Administrators, Sensitive: b.Sensitive, Protected: b.Protected.Principals}
	}
	return b, p.problems
}

// parser collects what Parse meets on its way through the file.
type parser struct {
	file     string
	now      time.Time
	controls *kind
	runbooks *kind
	deployed bool // see ParseDeployed; now is not set
	problems Problems
	errors   int // how many of them are no warnings
	decoded  []decoded
	// identities are those of the domains that have to know them.
	identities []*control.Identities
	last       []func(*Baseline) // checks that wait for the sections behind theirs
}

func (p *parser) errorf(at *yaml.Node, format string, args ...any) {
	p.problem(at.Line, at.Column, fmt.Sprintf(format, args...), false)
}

func (p *parser) warnf(at *yaml.Node, format string, args ...any) {
	p.problem(at.Line, at.Column, fmt.Sprintf(format, args...), true)
}

func (p *parser) problem(line, column int, message string, warning bool) {
	// Only what params say of themselves can have more than one line.
	message = strings.ReplaceAll(message, "\n", "; ")
	p.problems = append(p.problems, Problem{p.file, line, column, message, warning})
	if !warning {
		p.errors++
	}
}

func (p *parser) baseline(n *yaml.Node, b *Baseline) {
	b.Mode = Observe
	b.Approvals = Approvals{FourEyes: true, ExpireAfter: DefaultExpireAfter}
	b.Limits = Limits{
		ChangesPerAccountPerHour:       DefaultChangesPerAccountPerHour,
		ChangesPerControlPerHour:       DefaultChangesPerControlPerHour,
		ThreatChangesPerAccountPerHour: DefaultThreatChangesPerAccountPerHour,
		RoundsPerResource:              DefaultRoundsPerResource,
		ExemptionDays:                  DefaultExemptionDays,
	}
	b.Deployment.Concurrency = DefaultConcurrency
	p.mapping(n, "the file", []field{
		{"version", "write version: 1", func(_, v *yaml.Node) { b.Version = p.version(v) }},
		{"reviewed", "write the day of the last review, as in reviewed: 2026-11-22", func(_, v *yaml.Node) { b.Reviewed = p.reviewed(v) }},
		{"organization", "write which organization is governed, with its id, hub and regions", func(k, v *yaml.Node) { p.organization(k, v, &b.Organization) }},
		{"mode", "", func(_, v *yaml.Node) { b.Mode = p.mode(v) }},
		{"controls", "", func(_, v *yaml.Node) { b.Controls = p.settings(p.controls, v) }},
		{"runbooks", "", func(_, v *yaml.Node) { b.Runbooks = p.settings(p.runbooks, v) }},
		{"overrides", "", func(_, v *yaml.Node) { b.Overrides = p.overrides(v) }},
		{"exemptions", "", func(_, v *yaml.Node) { b.Exemptions = p.exemptions(v) }},
		{"protected", "", func(_, v *yaml.Node) { p.protected(v, &b.Protected) }},
		{"administrators", "", func(_, v *yaml.Node) { b.Administrators = p.administrators(v) }},
		{"sensitive", "", func(_, v *yaml.Node) { b.Sensitive = p.sensitive(v) }},
		{"approvals", "", func(_, v *yaml.Node) { p.approvals(v, &b.Approvals) }},
		{"limits", "", func(_, v *yaml.Node) { p.limits(v, &b.Limits) }},
		{"alerts", "", func(_, v *yaml.Node) { b.Alerts = p.alerts(v) }},
		{"deployment", "", func(k, v *yaml.Node) { p.deployment(k, v, &b.Deployment) }},
	})
	for _, check := range p.last {
		check(b)
	}
}

func (p *parser) version(n *yaml.Node) int {
	if n.Kind != yaml.ScalarNode || n.Tag != intTag || n.Value != strconv.Itoa(version) {
		p.errorf(n, "version is %s: want %d, the one version that this Snapback reads", describe(n), version)
	}
	return version
}

func (p *parser) reviewed(n *yaml.Node) time.Time {
	t, ok := p.date(n, "reviewed")
	switch {
	case !ok || p.deployed:
	case t.After(p.now.Add(earliestZone)):
		p.errorf(n, "reviewed is in the future: write the day of the last review, at most %s", p.now.UTC().Format(time.DateOnly))
	case t.Before(p.now.AddDate(0, -6, 0)):
		p.warnf(n, "the last review is older than six months: read the file again and write today's date")
	}
	return t
}

func (p *parser) organization(key, n *yaml.Node, o *Organization) {
	o.Line = key.Line
	var regions *yaml.Node
	p.mapping(n, "organization", []field{
		{"id", "write the ID that AWS Organizations gave it, as in id: o-example1234", func(_, v *yaml.Node) {
			o.ID = p.shaped(v, "organization.id", isOrganization, "the ID of an organization", `"o-" and 10 to 32 lower-case letters or digits`)
		}},
		{"root", "", func(_, v *yaml.Node) { o.Root = p.root(v, "organization.root") }},
		{"management", "", func(_, v *yaml.Node) { o.Management, _ = p.account(v, "organization.management") }},
		{"hub", "write where Snapback runs, by account and region", func(_, v *yaml.Node) { p.hub(v, &o.Hub) }},
		{"regions", "list the Regions that are governed, as in regions: [us-east-1, eu-west-1]", func(_, v *yaml.Node) {
			regions, o.Regions = v, p.texts(v, "organization.regions", p.region)
		}},
	})
	if regions != nil {
		p.partitions(regions, o)
	}
}

// partitions checks the Regions against each other.
func (p *parser) partitions(n *yaml.Node, o *Organization) {
	home := partition(o.Hub.Region)
	commercial := false
	for _, region := range o.Regions {
		commercial = commercial || partition(region) == "aws"
		if o.Hub.Region != "" && partition(region) != home {
			p.errorf(n, "%s is in the partition %s and the hub in %s: an organization lives in one partition, so list only its Regions",
				region, partition(region), home)
		}
	}
	if commercial && !slices.Contains(o.Regions, globalRegion) {
		p.errorf(n, "organization.regions lacks %s: add it, because IAM, Organizations and most other global events appear there and nowhere else", globalRegion)
	}
}

func (p *parser) hub(n *yaml.Node, h *Hub) {
	p.mapping(n, "organization.hub", []field{
		{"account", `write the security account's number in quotes, as in account: "111111111111"`, func(_, v *yaml.Node) {
			h.Account, _ = p.account(v, "organization.hub.account")
		}},
		{"region", "write the Region that Snapback runs in, as in region: us-east-1", func(_, v *yaml.Node) {
			h.Region, _ = p.region(v, "organization.hub.region")
		}},
	})
}

// settings reads `controls` or `runbooks`.
func (p *parser) settings(k *kind, n *yaml.Node) []Setting {
	section := k.word + "s"
	if !p.is(n, yaml.MappingNode, section, "a mapping from IDs of "+section+" to their mode and params") {
		return nil
	}
	var all []Setting
	for key, value := range p.pairs(n, section) {
		p.isKnown(k, key, key.Value)
		if !reported(value) {
			all = append(all, p.setting(k, key, value))
		}
	}
	return all
}

func (p *parser) setting(k *kind, key, n *yaml.Node) Setting {
	s := Setting{Name: key.Value, Line: key.Line}
	name := "the entry of " + quote(key.Value)
	fields := []field{
		{"mode", "", func(_, v *yaml.Node) {
			s.Mode = p.mode(v)
			p.promise(k, v, key.Value, s.Mode)
		}},
		{"params", "", func(at, v *yaml.Node) { s.Params = p.params(k, key.Value, at, v) }},
	}
	if k == p.runbooks {
		fields = slices.Insert(fields, 1, field{"from-severity", "", func(at, v *yaml.Node) { s.FromSeverity = p.decimal(v, at.Value) }})
	}
	p.mapping(n, name, fields)
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		p.errorf(n, "%s is empty: give it a mode or params, or remove it", name)
	}
	return s
}

func (p *parser) overrides(n *yaml.Node) []Override {
	var all []Override
	seen := map[string]int{}
	p.list(n, "overrides", func(item *yaml.Node) {
		o, ok := p.override(item)
		if !ok {
			return
		}
		if line, twice := seen[o.key()]; twice {
			p.errorf(item, "this override has the match, the controls and the runbooks of the one in line %d: the later one would always win, so keep only one", line)
		}
		seen[o.key()] = o.Line
		all = append(all, o)
	})
	return all
}

func (p *parser) override(n *yaml.Node) (Override, bool) {
	o := Override{Line: n.Line}
	before := p.errors
	var promises []func()
	concerns := func(k *kind, to *[]string) func(key, value *yaml.Node) {
		return func(key, v *yaml.Node) {
			*to = p.texts(v, key.Value, func(item *yaml.Node, name string) (string, bool) {
				promises = append(promises, func() { p.promise(k, item, item.Value, o.Mode) })
				return p.ruleName(k)(item, name)
			})
		}
	}
	p.mapping(n, "the override", []field{
		{"match", "say where it applies, by accounts, organizational-units or tags", func(_, v *yaml.Node) { p.where(v, &o.Match) }},
		{"controls", "", concerns(p.controls, &o.Controls)},
		{"runbooks", "", concerns(p.runbooks, &o.Runbooks)},
		{"mode", "write the mode that applies there, " + modeList, func(_, v *yaml.Node) { o.Mode = p.mode(v) }},
	})
	if n.Kind == yaml.MappingNode && !has(n, "controls") && !has(n, "runbooks") {
		p.errorf(n, `the override lacks controls or runbooks: list those that it concerns, as in controls: ["s3-*"]`)
	}
	for _, promise := range promises {
		promise() // only now is the mode known
	}
	return o, p.errors == before
}

// key is equal for two overrides that match the same and concern the same.
func (o *Override) key() string {
	sorted := func(list []string) []string { return slices.Sorted(slices.Values(list)) }
	return fmt.Sprintf("%q %q %q %q %q", sorted(o.Match.Accounts), sorted(o.Match.OrganizationalUnits), o.Match.Tags,
		sorted(o.Controls), sorted(o.Runbooks))
}

func (p *parser) where(n *yaml.Node, m *Match) {
	p.mapping(n, "match", []field{
		{"accounts", "", func(_, v *yaml.Node) { m.Accounts = p.texts(v, "accounts", p.account) }},
		{"organizational-units", "", func(_, v *yaml.Node) {
			m.OrganizationalUnits = p.texts(v, "organizational-units", p.organizationalUnit)
		}},
		{"tags", "", func(k, v *yaml.Node) {
			m.Tags = p.tags(v)
			p.warnf(k, "whoever may tag a resource can put it under this override: protect the tag's key by a service control policy")
		}},
	})
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		p.errorf(n, "match is empty: name accounts, organizational-units or tags; to change the mode everywhere, use mode, controls or runbooks")
	}
}

func (p *parser) tags(n *yaml.Node) map[string]string {
	if !p.is(n, yaml.MappingNode, "tags", "a mapping from tag keys to values, as in {env: dev}") {
		return nil
	}
	tags := map[string]string{}
	for key, value := range p.pairs(n, "tags") {
		k, ok := p.filled(key, "a tag's key")
		v, valid := p.text(value, "the tag "+quote(key.Value))
		if ok && valid {
			tags[k] = v
		}
	}
	if len(n.Content) == 0 {
		p.errorf(n, "tags is empty: name a tag, as in {env: dev}, or remove it")
	}
	return tags
}

func (p *parser) exemptions(n *yaml.Node) []Exemption {
	var all []Exemption
	seen := map[string]int{}
	p.list(n, "exemptions", func(item *yaml.Node) {
		e, ok := p.exemption(item)
		if !ok {
			return
		}
		key := e.Control + " " + e.Runbook + " " + e.Resource
		if line, twice := seen[key]; twice {
			p.errorf(item, "line %d exempts the same resource from the same control or runbook: keep only one of the two", line)
		}
		seen[key] = e.Line
		all = append(all, e)
	})
	return all
}

func (p *parser) exemption(n *yaml.Node) (Exemption, bool) {
	e := Exemption{Line: n.Line}
	before := p.errors
	p.mapping(n, "the exemption", []field{
		{"control", "", func(k, v *yaml.Node) { e.Control, _ = p.ruleName(p.controls)(v, k.Value) }},
		{"runbook", "", func(k, v *yaml.Node) { e.Runbook, _ = p.ruleName(p.runbooks)(v, k.Value) }},
		{"resource", "write the ARN that is exempt, as in resource: arn:aws:s3:::www.example.com", func(_, v *yaml.Node) {
			if e.Resource = p.arn(v, "resource", resourceFault); e.Resource != "" {
				p.last = append(p.last, func(b *Baseline) { p.misnamed(v, e, b.Organization.Hub) }) // e is whole by then
			}
		}},
		{"reason", "write why the resource may differ from the baseline", func(_, v *yaml.Node) { e.Reason, _ = p.filled(v, "reason") }},
		{"owner", "write who answers for it, an e-mail address or a team", func(_, v *yaml.Node) { e.Owner, _ = p.filled(v, "owner") }},
		{"expires", "write the last day that it holds, as in expires: 2027-03-31", func(_, v *yaml.Node) { e.Expires = p.expires(v) }},
	})
	switch {
	case n.Kind != yaml.MappingNode:
	case has(n, "control") && has(n, "runbook"):
		p.errorf(n, "the exemption names a control and a runbook: write one exemption for each")
	case !has(n, "control") && !has(n, "runbook"):
		p.errorf(n, "the exemption lacks control or runbook: write the ID of the one that leaves the resource alone, as in control: s3-bucket-public-access")
	}
	return e, p.errors == before
}

func (p *parser) expires(n *yaml.Node) time.Time {
	t, ok := p.date(n, "expires")
	switch {
	case !ok || p.deployed:
	case Exemption{Expires: t}.Ended(p.now):
		p.errorf(n, "the exemption ended on %s: remove it, or review it and give it a new last day", t.Format(time.DateOnly))
	default:
		p.last = append(p.last, func(b *Baseline) { p.lasting(n, t, b.Limits.ExemptionDays) })
	}
	return t
}

// lasting reports an exemption that lasts longer than the limits allow, unless
// they can't be read.
func (p *parser) lasting(n *yaml.Node, expires time.Time, days int) {
	latest := p.now.UTC().AddDate(0, 0, days)
	if days > 0 && expires.After(latest) {
		p.errorf(n, "the exemption would last until %s, and exemption-days in limits is %d: write %s at the latest, and review it then",
			expires.Format(time.DateOnly), days, latest.Format(time.DateOnly))
	}
}

func (p *parser) protected(n *yaml.Node, protected *Protected) {
	p.mapping(n, "protected", []field{
		{"principals", "", func(_, v *yaml.Node) {
			protected.Principals = p.texts(v, "principals", func(item *yaml.Node, name string) (string, bool) {
				s := p.arn(item, name, principalFault)
				return s, s != ""
			})
		}},
		{"resources", "", func(_, v *yaml.Node) {
			protected.Resources = p.texts(v, "resources", func(item *yaml.Node, name string) (string, bool) {
				s := p.arn(item, name, protectedFault)
				if s != "" {
					p.last = append(p.last, func(b *Baseline) { p.unprotected(item, s, b.Organization.Hub) })
				}
				return s, s != ""
			})
		}},
	})
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		p.errorf(n, `protected is empty: list ARNs, as in principals: ["arn:aws:iam::*:role/break-glass"], or remove it`)
	}
}

func (p *parser) administrators(n *yaml.Node) []string {
	return p.texts(n, "administrators", func(item *yaml.Node, name string) (string, bool) {
		s := p.arn(item, name, administratorFault)
		return s, s != ""
	})
}

// sensitive reads the accesses that are sensitive.
func (p *parser) sensitive(n *yaml.Node) []control.Access {
	var all []control.Access
	p.list(n, "sensitive", func(item *yaml.Node) {
		var a control.Access
		p.mapping(item, "an item of sensitive", []field{
			{"actions", `name the IAM actions, as in actions: ["s3:GetObject"]`, func(_, v *yaml.Node) { a.Actions = p.texts(v, "actions", p.action) }},
			{"resources", `name the resources, as in resources: ["arn:aws:s3:::payroll/*"]`, func(_, v *yaml.Node) { a.Resources = p.texts(v, "resources", p.sensitiveResource) }},
		})
		all = append(all, a)
	})
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		p.errorf(n, `sensitive is an empty list: name what is, as in - {actions: ["s3:GetObject"], resources: ["arn:aws:s3:::payroll/*"]}, or remove it`)
	}
	return all
}

// iamAction is what an IAM action looks like, with wildcards.
var iamAction = regexp.MustCompile(`^[a-z0-9-]+:[A-Za-z0-9*?]+$`)

func (p *parser) action(n *yaml.Node, name string) (string, bool) {
	s, ok := p.text(n, name)
	if ok && !iamAction.MatchString(s) {
		p.errorf(n, "%s is %s: want an IAM action such as s3:GetObject or kms:*, whose service is written out", name, quote(s))
		return "", false
	}
	return s, ok
}

// sensitiveResource reads an ARN whose account, Region and resource may hold
// wildcards; * alone is every resource.
func (p *parser) sensitiveResource(n *yaml.Node, name string) (string, bool) {
	s, ok := p.text(n, name)
	f := strings.SplitN(s, ":", arnFields)
	if ok && s != "*" && (len(f) != arnFields || f[0] != "arn" || f[arnResource] == "" || isGlob(f[arnPartition]+f[arnService])) {
		p.errorf(n, "%s is %s: want an ARN such as arn:aws:s3:::payroll/*, or * for all", name, quote(s))
		return "", false
	}
	return s, ok
}

func (p *parser) approvals(n *yaml.Node, a *Approvals) {
	p.mapping(n, "approvals", []field{
		{"four-eyes", "", func(k, v *yaml.Node) { p.truth(v, k.Value, reflect.ValueOf(&a.FourEyes).Elem()) }},
		{"expire-after-days", "", func(k, v *yaml.Node) {
			var days int
			p.whole(&days, 1, 90, "from 1 to 90")(k, v)
			a.ExpireAfter = time.Duration(days) * 24 * time.Hour
		}},
	})
}

// maxExemptionDays is ten years: whoever needs longer needs another baseline,
// and dates stay far from where they overflow.
const maxExemptionDays = 3650

// maxRounds is how many rounds over a resource the ledger remembers.
const maxRounds = 50

func (p *parser) limits(n *yaml.Node, l *Limits) {
	const most, above = math.MaxInt, "above zero"
	p.mapping(n, "limits", []field{
		{"changes-per-account-per-hour", "", p.whole(&l.ChangesPerAccountPerHour, 1, most, above)},
		{"changes-per-control-per-hour", "", p.whole(&l.ChangesPerControlPerHour, 1, most, above)},
		{"threat-changes-per-account-per-hour", "", p.whole(&l.ThreatChangesPerAccountPerHour, 1, most, above)},
		{"rounds-per-resource", "", p.whole(&l.RoundsPerResource, 2, maxRounds,
			fmt.Sprintf("from 2 to %d, since the last round is not fought and with 1 nothing would ever be changed", maxRounds))},
		{"exemption-days", "", p.whole(&l.ExemptionDays, 1, maxExemptionDays, fmt.Sprintf("from 1 to %d", maxExemptionDays))},
	})
}

const modeList = "off, observe, approve or enforce"

func (p *parser) mode(n *yaml.Node) Mode {
	if n.Kind == yaml.ScalarNode && slices.Contains(modes, Mode(n.Value)) {
		return Mode(n.Value)
	}
	p.errorf(n, "mode is %s: %s", describe(n), meant(nearest(strings.ToLower(n.Value), as[string](modes)), "want "+modeList))
	return ""
}

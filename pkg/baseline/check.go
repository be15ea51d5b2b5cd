package baseline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// shaped reads a text that must pass a check of its shape.
func (p *parser) shaped(n *yaml.Node, name string, check func(string) bool, what, shape string) string {
	s, ok := p.text(n, name)
	if !ok {
		return ""
	}
	if !check(s) {
		p.errorf(n, "%s is %s, which is not %s: want %s", name, quote(s), what, shape)
		return ""
	}
	return s
}

func (p *parser) region(n *yaml.Node, name string) (string, bool) {
	s := p.shaped(n, name, isRegion, "a Region", "one such as eu-west-1 or us-gov-west-1")
	return s, s != ""
}

func (p *parser) organizationalUnit(n *yaml.Node, name string) (string, bool) {
	s := p.shaped(n, name, isOrganizationalUnit, "the ID of an organizational unit",
		"its ID, such as ou-ab12-11111111, and not its name")
	return s, s != ""
}

// account reads an account number. One without quotes is a number to YAML: it
// loses leading zeros or is read as octal, here or in the next tool.
func (p *parser) account(n *yaml.Node, name string) (string, bool) {
	if n.Kind == yaml.ScalarNode && (n.Tag == intTag || n.Tag == floatTag) {
		want := "all 12 digits in quotes"
		if event.IsAccount(n.Value) {
			want = `"` + n.Value + `", in quotes`
		}
		p.errorf(n, "%s is %s, and YAML tools drop a number's leading zeros: write %s", name, describe(n), want)
		return "", false
	}
	s := p.shaped(n, name, event.IsAccount, "an account number", `12 digits in quotes, such as "111111111111"`)
	return s, s != ""
}

// date reads a day at midnight UTC.
func (p *parser) date(n *yaml.Node, name string) (time.Time, bool) {
	if n.Kind == yaml.ScalarNode {
		if t, err := time.Parse(time.DateOnly, n.Value); err == nil {
			return t, true
		}
	}
	p.errorf(n, "%s is %s: want a day of the calendar as YYYY-MM-DD", name, describe(n))
	return time.Time{}, false
}

// whole returns what reads a whole number from least to most. What it can't
// read sets to to 0, so that nothing else is measured against the default.
func (p *parser) whole(to *int, least, most int64, want string) func(key, value *yaml.Node) {
	return func(key, n *yaml.Node) {
		i, ok := wholeNumber(n, strconv.IntSize)
		if !ok || i < least || i > most {
			p.errorf(n, "%s is %s: want a whole number %s", key.Value, describe(n), want)
			i = 0
		}
		*to = int(i)
	}
}

// wholeNumber reads a number as everyone writes it: 010 is eight to some YAML
// tools and ten to others, so it is none.
func wholeNumber(n *yaml.Node, bits int) (int64, bool) {
	i, err := strconv.ParseInt(n.Value, 10, bits)
	return i, err == nil && n.Tag == intTag && strconv.FormatInt(i, 10) == n.Value
}

// decimal reads a number from 1 to 10 as everyone writes it, with or without a
// fraction.
func (p *parser) decimal(n *yaml.Node, name string) float64 {
	f, err := strconv.ParseFloat(n.Value, 64)
	plain := (n.Tag == intTag || n.Tag == floatTag) && all(n.Value, isDigit, '.') && !strings.HasPrefix(n.Value, "0")
	if err != nil || !plain || f < 1 || f > 10 {
		p.errorf(n, "%s is %s: want a number from 1 to 10, such as 7 or 8.5", name, describe(n))
		return 0
	}
	return f
}

// The fields of an ARN: arn:partition:service:region:account:resource. Only
// the last one may hold colons.
const (
	arnPartition = 1
	arnService   = 2
	arnRegion    = 3
	arnAccount   = 4
	arnResource  = 5
	arnFields    = 6
)

// arn reads an ARN or a pattern for ARNs; fault says what is wrong with it.
func (p *parser) arn(n *yaml.Node, name string, fault func(fields []string) string) string {
	s, ok := p.text(n, name)
	if !ok {
		return ""
	}
	why := arnFault(s)
	if why == "" {
		why = fault(strings.SplitN(s, ":", arnFields))
	}
	if why != "" {
		p.errorf(n, "%s is %s: %s", name, quote(s), why)
		return ""
	}
	return s
}

// arnFault says what is wrong with a pattern for ARNs, or nothing.
func arnFault(s string) string {
	f := strings.SplitN(s, ":", arnFields)
	switch {
	case len(f) != arnFields || f[0] != "arn":
		return "want an ARN, which is arn:partition:service:region:account:resource"
	case isGlob(f[arnPartition] + f[arnService] + f[arnRegion]):
		return "partition, service and Region may hold no wildcard: write them out"
	case f[arnPartition] != "aws" && !strings.HasPrefix(f[arnPartition], "aws-"):
		return "the partition must be aws, aws-cn, aws-us-gov or another one of AWS"
	case !all(f[arnService], isLowerDigit, '-'):
		return "the service must be in lower case, such as s3"
	case f[arnRegion] != "" && !isRegion(f[arnRegion]):
		return "the Region must be empty or one such as eu-west-1"
	case f[arnResource] == "":
		return "the resource is missing after the last colon"
	case strings.Trim(f[arnResource], "*?") == "":
		return "the resource is nothing but wildcards, which would cover the whole service: name at least a part of it"
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' }):
		return "an ARN holds no blanks: remove them"
	}
	return ""
}

// resourceFault says what is wrong with an exemption's resource besides.
func resourceFault(f []string) string {
	if f[arnAccount] != "" && !event.IsAccount(f[arnAccount]) {
		return "the account must be empty or 12 digits: an exemption holds in one account, so write one for each"
	}
	return ""
}

// misnamed warns of an exemption whose resource is written as no ARN of its
// control or runbook ever is, and so exempts nothing. A glob is left alone: what
// it names may name its resources in different ways.
func (p *parser) misnamed(n *yaml.Node, e Exemption, hub Hub) {
	r := p.controls.rule(e.Control)
	if e.Runbook != "" {
		r = p.runbooks.rule(e.Runbook)
	}
	if r == nil || hub.Region == "" {
		return
	}
	if form := r.form(e.Resource, hub); form != "" && !alike(e.Resource, form) {
		p.warnf(n, "resource is %s, which is no ARN of a resource that %s looks at, so it exempts nothing: want one such as %s",
			quote(e.Resource), r.id, form)
	}
}

// unprotected warns of a protected resource that is written as no ARN of its
// service ever is, and so protects nothing. A service that nothing here looks
// at is left alone: a runbook may touch more than its target.
func (p *parser) unprotected(n *yaml.Node, arn string, hub Hub) {
	if p.deployed || hub.Region == "" {
		return
	}
	service := func(arn string) string { return strings.SplitN(arn, ":", arnFields)[arnService] }
	want := ""
	for _, r := range slices.Concat(p.controls.rules, p.runbooks.rules) {
		form := r.form(arn, hub)
		if form == "" || service(form) != service(arn) {
			continue
		}
		if alike(arn, form) {
			return
		}
		want = form
	}
	if want != "" {
		p.warnf(n, "%s is no ARN of a resource that Snapback looks at, so it protects nothing: want one such as %s", quote(arn), want)
	}
}

// form is an ARN as those of the rule's resources are, in the Region of another
// ARN if it has one; empty if the rule does not say.
func (r *rule) form(arn string, hub Hub) string {
	if r.resource.ARN == nil {
		return ""
	}
	form := r.resource.ARN(control.Target{
		Account: "123456789012", Region: cmp.Or(strings.SplitN(arn, ":", arnFields)[arnRegion], hub.Region), Type: r.resource.Type, ID: "ID",
	})
	if strings.Count(form, ":") < arnResource {
		return ""
	}
	return form
}

// alike reports whether two ARNs are of the same partition and service, and
// both with or without a Region and an account. The account * is both.
func alike(one, other string) bool {
	a, b := strings.SplitN(one, ":", arnFields), strings.SplitN(other, ":", arnFields)
	return a[arnPartition] == b[arnPartition] && a[arnService] == b[arnService] &&
		(a[arnRegion] == "") == (b[arnRegion] == "") && ((a[arnAccount] == "") == (b[arnAccount] == "") || a[arnAccount] == "*")
}

// administratorFault says what is wrong with an administrator besides.
func administratorFault(f []string) string {
	if why := principalFault(f); why != "" {
		return why
	}
	kind, name, _ := strings.Cut(f[arnResource], "/")
	switch {
	case kind != "role" && kind != "user":
		return "want a user or a role: of a group, name its users, and root is one anyway"
	case strings.Trim(name, "*?/") == "":
		return "every " + kind + " would be an administrator, and nothing of theirs an escalation: name at least a part of it"
	}
	return ""
}

// principalFault says what is wrong with a protected principal besides.
func principalFault(f []string) string {
	switch {
	case f[arnService] != "iam" || f[arnRegion] != "":
		return "want the ARN of an IAM principal, such as arn:aws:iam::*:role/break-glass"
	case f[arnAccount] != "*" && !event.IsAccount(f[arnAccount]):
		return "the account must be 12 digits, or * for all accounts"
	}
	kind, _, _ := strings.Cut(f[arnResource], "/")
	if f[arnResource] != "root" && !slices.Contains([]string{"role", "user", "group"}, kind) {
		return "want a principal, which is role/NAME, user/NAME, group/NAME or root"
	}
	return ""
}

// protectedFault says what is wrong with a protected resource besides.
func protectedFault(f []string) string {
	if account := f[arnAccount]; account != "" && account != "*" && !event.IsAccount(account) {
		return "the account must be empty, 12 digits, or * for all accounts"
	}
	return ""
}

// isOrganization checks the shape that the API reference of AWS Organizations
// gives for an organization's ID.
func isOrganization(s string) bool {
	id, ok := strings.CutPrefix(s, "o-")
	return ok && sized(id, 10, 32) && all(id, isLowerDigit)
}

// isOrganizationalUnit checks the shape that the API reference of AWS
// Organizations gives for the ID of a unit: the root's ID and the unit's own.
func isOrganizationalUnit(s string) bool {
	rest, ok := strings.CutPrefix(s, "ou-")
	root, id, dash := strings.Cut(rest, "-")
	return ok && dash && sized(root, 4, 32) && all(root, isLowerDigit) && sized(id, 8, 32) && all(id, isLowerDigit)
}

// isRegion checks the shape that all Regions have: three or four words, the
// last one a number. AWS adds Regions faster than we release.
func isRegion(s string) bool {
	words := strings.Split(s, "-")
	last := len(words) - 1
	if last < 2 || last > 3 || !sized(words[0], 2, 4) || !sized(words[last], 1, 2) || !all(words[last], isDigit) {
		return false
	}
	for _, word := range words[:last] {
		if !sized(word, 2, 16) || !all(word, isLower) {
			return false
		}
	}
	return true
}

// globalRegion is where the global events of the commercial partition appear.
const globalRegion = "us-east-1"

// partition returns the partition that a Region is in. The prefixes are those
// of partitions.json in the AWS SDKs.
func partition(region string) string {
	for _, p := range [...]struct{ prefix, partition string }{
		{"cn-", "aws-cn"},
		{"us-gov-", "aws-us-gov"},
		{"us-iso-", "aws-iso"},
		{"us-isob-", "aws-iso-b"},
		{"eu-isoe-", "aws-iso-e"},
		{"us-isof-", "aws-iso-f"},
		{"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}

func sized(s string, least, most int) bool { return len(s) >= least && len(s) <= most }

// all reports whether s has a character and all are of a class or among more.
func all(s string, class func(rune) bool, more ...rune) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !class(r) && !slices.Contains(more, r) })
}

func isDigit(r rune) bool      { return r >= '0' && r <= '9' }
func isLower(r rune) bool      { return r >= 'a' && r <= 'z' }
func isLowerDigit(r rune) bool { return isLower(r) || isDigit(r) }

// nearest returns the one of known that s was most likely meant to be, or
// nothing if none is close: at most a third of s is mistyped, or s is where
// one begins.
func nearest(s string, known []string) string {
	best, least := "", max(1, len(s)/3)+1
	for _, k := range known {
		if max(len(k)-len(s), len(s)-len(k)) >= least {
			continue
		}
		if d := distance(s, k); d < least {
			best, least = k, d
		}
	}
	for _, k := range known {
		if best == "" && len(s) > 2 && strings.HasPrefix(k, s) {
			best = k
		}
	}
	return best
}

// meant asks whether a name was meant, or says something else if there is none.
func meant(name, otherwise string) string {
	if name == "" {
		return otherwise
	}
	return "did you mean " + quote(name) + "?"
}

// distance is how many bytes must be put in, taken out or replaced to make b
// of a (Levenshtein's distance).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j]+1, row[j+1]+1, replace)
		}
	}
	return row[len(b)]
}

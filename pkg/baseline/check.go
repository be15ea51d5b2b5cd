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

// controlName reads the ID of a control that exists, or a glob that matches one.
func (p *parser) controlName(n *yaml.Node, name string) (string, bool) {
	s, ok := p.text(n, name)
	return s, ok && p.isKnown(n, s)
}

// isKnown reports whether s is the ID of a control or a glob that matches one,
// and the fault if it is neither.
func (p *parser) isKnown(n *yaml.Node, s string) bool {
	if p.deployed {
		return true // it may be another domain's
	}
	ids := make([]string, len(p.controls))
	for i := range p.controls {
		ids[i] = p.controls[i].ID
	}
	const lists = `"snapback controls" lists them all`
	switch {
	case slices.ContainsFunc(ids, func(id string) bool { return control.MatchGlob(s, id) }):
		return true
	case isGlob(s):
		p.errorf(n, "the glob %s matches no control: %s", quote(s), meant(nearest(s, likeGlob(s, ids)), lists))
	default:
		p.errorf(n, "there is no control %s: %s", quote(s), meant(nearest(s, ids), lists))
	}
	return false
}

// control returns the control of an ID, or nil.
func (p *parser) control(id string) *control.Control {
	i := slices.IndexFunc(p.controls, func(c control.Control) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return &p.controls[i]
}

// promise warns of a mode that changes resources where no control that an ID
// or a glob names can change any.
func (p *parser) promise(n *yaml.Node, name string, mode Mode) {
	if p.deployed || mode.AtMost(Observe) == mode {
		return // a glob may match another domain's controls; Parse knew them all
	}
	found := false
	for i := range p.controls {
		if !control.MatchGlob(name, p.controls[i].ID) {
			continue
		}
		if p.controls[i].Remedy.Apply != nil {
			return
		}
		found = true
	}
	if found {
		p.warnf(n, "what %s names only reports and can change nothing: the mode %s promises more, so write observe", quote(name), mode)
	}
}

func isGlob(s string) bool { return strings.ContainsAny(s, "*?") }

// likeGlob returns what the glob would be if the text before its first
// wildcard were that of an ID, where it then matches that ID.
func likeGlob(glob string, ids []string) []string {
	start := strings.IndexAny(glob, "*?")
	var like []string
	for _, id := range ids {
		if len(id) < start {
			continue
		}
		if g := id[:start] + glob[start:]; control.MatchGlob(g, id) {
			like = append(like, g)
		}
	}
	return like
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
// control ever is, and so exempts nothing. A glob is left alone: its controls
// may name their resources in different ways.
func (p *parser) misnamed(n *yaml.Node, e Exemption, hub Hub) {
	c := p.control(e.Control)
	if c == nil || c.ARN == nil || hub.Region == "" {
		return
	}
	f := strings.SplitN(e.Resource, ":", arnFields)
	form := c.ARN(control.Target{
		Account: "123456789012", Region: cmp.Or(f[arnRegion], hub.Region), Type: c.Type, ID: "ID",
	})
	want := strings.SplitN(form, ":", arnFields)
	if len(want) == arnFields && !alike(f, want) {
		p.warnf(n, "resource is %s, which is no ARN of a resource that %s looks at, so it exempts nothing: want one such as %s",
			quote(e.Resource), c.ID, form)
	}
}

// alike reports whether two ARNs are of the same partition and service, and
// both with or without a Region and an account.
func alike(a, b []string) bool {
	return a[arnPartition] == b[arnPartition] && a[arnService] == b[arnService] &&
		(a[arnRegion] == "") == (b[arnRegion] == "") && (a[arnAccount] == "") == (b[arnAccount] == "")
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

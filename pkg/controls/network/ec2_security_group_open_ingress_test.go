package network_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	diff "github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/network"
)

func TestOpenIngressLifecycle(t *testing.T) {
	lifecycle.Run(t, lifecycle.Case{
		Domain: network.Domain(),
		ID:     "ec2-security-group-open-ingress",
		Test: lifecycle.Test{
			Gone: "sg-0123456789abcdef0",
			Violations: []lifecycle.Violation{
				{
					Name: "one rule",
					Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
						client := ec2.NewFromConfig(cfg)
						id := makeGroup(ctx, t, client, makeVPC(ctx, t, client), "one")
						letIn(ctx, t, client, id, ip4("tcp", 22, 22, "0.0.0.0/0", ""))
						return id
					},
					State: groupState,
				},
				{Name: "every way, beside rules that stay", Make: makeOpen, State: groupState},
				{
					Name: "ranges that are too much together",
					Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
						client := ec2.NewFromConfig(cfg)
						id := makeGroup(ctx, t, client, makeVPC(ctx, t, client), "many")
						for _, cidr := range []string{"3.0.0.0/9", "5.0.0.0/9", "8.0.0.0/9", "203.0.113.0/24"} {
							letIn(ctx, t, client, id, ip4("tcp", 3389, 3389, cidr, "part of it"), "part", cidr)
						}
						return id
					},
					State: groupState,
				},
			},
		},
	})
}

// makeOpen makes a group that is open in every way, with rules beside that stay.
func makeOpen(ctx context.Context, t *testing.T, cfg aws.Config) string {
	t.Helper()
	client := ec2.NewFromConfig(cfg)
	vpc := makeVPC(ctx, t, client)
	id := makeGroup(ctx, t, client, vpc, "open")
	other := makeGroup(ctx, t, client, vpc, "other")
	list := makePrefixList(ctx, t, client)
	letIn(ctx, t, client, id, ip4("tcp", 22, 22, "0.0.0.0/0", "for now (ask ops)"), "owner", "ops@example.com", "until", "2026-12-01")
	letIn(ctx, t, client, id, ip6("tcp", 22, 22, "::/0", "for now"))
	letIn(ctx, t, client, id, ip4("-1", -1, -1, "0.0.0.0/1", "one half"))
	letIn(ctx, t, client, id, ip4("-1", -1, -1, "128.0.0.0/1", "the other half"))
	letIn(ctx, t, client, id, ip6("tcp", 3389, 3389, "::/1", ""))
	letIn(ctx, t, client, id, ip6("tcp", 3389, 3389, "8000::/1", ""))
	letIn(ctx, t, client, id, ip4("tcp", 5000, 6000, "0.0.0.0/0", "a range that holds one"))
	letIn(ctx, t, client, id, ip4("udp", 11211, 11211, "0.0.0.0/0", ""))

	letIn(ctx, t, client, id, ip4("tcp", 443, 443, "0.0.0.0/0", "a website"), "owner", "web@example.com")
	letIn(ctx, t, client, id, ip6("tcp", 443, 443, "::/0", "a website"))
	letIn(ctx, t, client, id, ip4("icmp", -1, -1, "0.0.0.0/0", "ping"))
	letIn(ctx, t, client, id, ip4("tcp", 22, 22, "203.0.113.0/24", "the office"))
	letIn(ctx, t, client, id, ip4("tcp", 22, 22, "10.0.0.0/8", "inside"))
	letIn(ctx, t, client, id, ip4("50", 0, 0, "0.0.0.0/0", "a tunnel"))
	letIn(ctx, t, client, id, ofGroup(other))
	letIn(ctx, t, client, id, ofList(list))
	return id
}

// Rules beside those that go keep their IDs: they are not made anew.
func TestRulesBesideKeepTheirIDs(t *testing.T) {
	w := newWorld(t, nil)
	group := makeGroup(t.Context(), t, w.ec2, w.vpc, "beside")
	stay := []string{
		letIn(t.Context(), t, w.ec2, group, ip4("tcp", 443, 443, "0.0.0.0/0", "a website"), "owner", "web@example.com"),
		letIn(t.Context(), t, w.ec2, group, ip4("tcp", 22, 22, "203.0.113.0/24", "the office")),
	}
	beside := rules(t.Context(), t, w.ec2, group) // and the rules out that every group begins with
	letIn(t.Context(), t, w.ec2, group, ip4("tcp", 22, 22, "0.0.0.0/0", ""))
	open := network.OpenIngress()
	change := w.plan(open, group)
	w.apply(open, change)
	now := rules(t.Context(), t, w.ec2, group)
	same(t, "Apply", beside, now)
	for _, id := range stay {
		if !slices.Contains(ids(now), id) {
			t.Errorf("the rule %s is another one now", id)
		}
	}
	must(t, open.Remedy.Undo(t.Context(), w.session, change))
	w.refused(open, change, string(change.Before))
	for _, id := range stay {
		if !slices.Contains(ids(rules(t.Context(), t, w.ec2, group)), id) {
			t.Errorf("the rule %s is another one after Undo", id)
		}
	}
}

// An operator approves a digest: the same rules, put back, are the same change,
// whatever their IDs are and in whatever order they were made.
func TestDigestIsOfTheRulesAndNotOfTheirIDs(t *testing.T) {
	w := newWorld(t, nil)
	open := network.OpenIngress()
	group := makeGroup(t.Context(), t, w.ec2, w.vpc, "stable")
	ssh, all := ip4("tcp", 22, 22, "0.0.0.0/0", "for now"), ip6("-1", -1, -1, "::/0", "")
	letIn(t.Context(), t, w.ec2, group, ssh, "b", "2", "a", "1")
	letIn(t.Context(), t, w.ec2, group, all)
	first := w.plan(open, group)
	w.apply(open, first)
	letIn(t.Context(), t, w.ec2, group, all)
	letIn(t.Context(), t, w.ec2, group, ssh, "a", "1", "b", "2")
	second := w.plan(open, group)
	if first.Digest() != second.Digest() {
		t.Errorf("the digest of the same change differs:\n%s\n%s", first.Before, second.Before)
	}
	if string(first.Facts) == string(second.Facts) {
		t.Error("the facts don't tell the rules' IDs")
	}
}

func TestRuleThatIsGoneAlreadyKeepsNoOtherOpen(t *testing.T) {
	var w *world
	var group, first string
	w = newWorld(t, once("RevokeSecurityGroupIngress", func() {
		// Somebody revokes one of the rules after Snapback has looked its ID up.
		_, err := w.ec2.RevokeSecurityGroupIngress(w.Context(), &ec2.RevokeSecurityGroupIngressInput{
			GroupId: aws.String(group), SecurityGroupRuleIds: []string{first},
		})
		must(w.T, err)
	}))
	group = makeGroup(t.Context(), t, w.ec2, w.vpc, "race")
	first = letIn(t.Context(), t, w.ec2, group, ip4("tcp", 22, 22, "0.0.0.0/0", ""))
	letIn(t.Context(), t, w.ec2, group, ip6("tcp", 22, 22, "::/0", ""))
	letIn(t.Context(), t, w.ec2, group, ip4("tcp", 3389, 3389, "0.0.0.0/0", ""))
	open := network.OpenIngress()
	w.apply(open, w.plan(open, group))
	w.compliant(open, group)
	for _, r := range rules(t.Context(), t, w.ec2, group) {
		if !*r.IsEgress {
			t.Errorf("the rule %s is still there", *r.SecurityGroupRuleId)
		}
	}
}

// ModifySecurityGroupRules keeps a rule's ID: what was narrowed since the plan is
// another rule under the ID of the one that was to go.
func TestRuleThatWasNarrowedSinceThePlanStays(t *testing.T) {
	w := newWorld(t, nil)
	open := network.OpenIngress()
	group := makeGroup(t.Context(), t, w.ec2, w.vpc, "narrowed")
	id := letIn(t.Context(), t, w.ec2, group, ip4("tcp", 22, 22, "0.0.0.0/0", ""))
	letIn(t.Context(), t, w.ec2, group, ip4("tcp", 3389, 3389, "0.0.0.0/0", ""))
	change := w.plan(open, group)
	_, err := w.ec2.ModifySecurityGroupRules(t.Context(), &ec2.ModifySecurityGroupRulesInput{
		GroupId: aws.String(group), SecurityGroupRules: []types.SecurityGroupRuleUpdate{{
			SecurityGroupRuleId: aws.String(id), SecurityGroupRule: &types.SecurityGroupRuleRequest{
				IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIpv4: aws.String("203.0.113.0/24"),
			},
		}},
	})
	must(t, err)
	w.apply(open, change)
	w.compliant(open, group)
	if now := ids(rules(t.Context(), t, w.ec2, group)); !slices.Contains(now, id) {
		t.Error("the rule that was narrowed is gone")
	}
}

func TestUndoIsRefusedWhereTheGroupHasMoved(t *testing.T) {
	w := newWorld(t, nil)
	open := network.OpenIngress()
	for _, tt := range []struct {
		name string
		then types.IpPermission
		now  string
	}{
		{
			"the same with another description", ip4("tcp", 22, 22, "0.0.0.0/0", "mine now"),
			`[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"CidrIpv4":"0.0.0.0/0","Description":"mine now"}]`,
		},
		{
			"open in another way", ip4("tcp", 3389, 3389, "0.0.0.0/0", ""),
			`[{"IpProtocol":"tcp","FromPort":3389,"ToPort":3389,"CidrIpv4":"0.0.0.0/0"}]`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := *w
			w.T = t
			group := makeGroup(t.Context(), t, w.ec2, w.vpc, strings.ReplaceAll(tt.name, " ", "-"))
			letIn(t.Context(), t, w.ec2, group, ip4("tcp", 22, 22, "0.0.0.0/0", ""))
			change := w.plan(open, group)
			w.apply(open, change)
			letIn(t.Context(), t, w.ec2, group, tt.then)
			w.refused(open, change, tt.now)
		})
	}
}

// An undo that was cut short, or somebody who put one rule back by hand, leaves
// the rest to be put back.
func TestUndoPutsBackWhatIsMissing(t *testing.T) {
	w := newWorld(t, nil)
	open := network.OpenIngress()
	group := makeGroup(t.Context(), t, w.ec2, w.vpc, "half")
	ssh := ip4("tcp", 22, 22, "0.0.0.0/0", "for now")
	letIn(t.Context(), t, w.ec2, group, ssh, "owner", "ops@example.com")
	letIn(t.Context(), t, w.ec2, group, ip6("tcp", 22, 22, "::/0", ""))
	change := w.plan(open, group)
	w.apply(open, change)
	letIn(t.Context(), t, w.ec2, group, ssh, "owner", "ops@example.com")
	must(t, open.Remedy.Undo(t.Context(), w.session, change))
	if again := w.plan(open, group); again.Digest() != change.Digest() {
		t.Errorf("the rules are not as they were:\n%s\n%s", change.Before, again.Before)
	}
	w.refused(open, change, string(change.Before))
}

// A worker killed between its calls leaves a part to be done: the case keeps the
// first Before.
func TestApplyFinishesWhatIsHalfMade(t *testing.T) {
	w := newWorld(t, nil)
	open := network.OpenIngress()
	group := makeGroup(t.Context(), t, w.ec2, w.vpc, "half")
	first := letIn(t.Context(), t, w.ec2, group, ip4("tcp", 22, 22, "0.0.0.0/0", ""))
	letIn(t.Context(), t, w.ec2, group, ip6("tcp", 22, 22, "::/0", ""))
	change := w.plan(open, group)
	_, err := w.ec2.RevokeSecurityGroupIngress(t.Context(), &ec2.RevokeSecurityGroupIngressInput{
		GroupId: aws.String(group), SecurityGroupRuleIds: []string{first},
	})
	must(t, err)
	change.After = w.plan(open, group).After
	w.apply(open, change)
	w.compliant(open, group)
	must(t, open.Remedy.Undo(t.Context(), w.session, change))
	if again := w.plan(open, group); string(again.Before) != string(change.Before) {
		t.Errorf("Undo led to %s, want %s", again.Before, change.Before)
	}
}

func TestGroupDeletedSinceIsGone(t *testing.T) {
	w := newWorld(t, nil)
	open := network.OpenIngress()
	group := makeGroup(t.Context(), t, w.ec2, w.vpc, "deleted")
	letIn(t.Context(), t, w.ec2, group, ip4("tcp", 22, 22, "0.0.0.0/0", ""))
	change := w.plan(open, group)
	_, err := w.ec2.DeleteSecurityGroup(t.Context(), &ec2.DeleteSecurityGroupInput{GroupId: aws.String(group)})
	must(t, err)
	if err := open.Remedy.Apply(t.Context(), w.session, change); !errors.Is(err, control.ErrGone) {
		t.Errorf("Apply: want control.ErrGone, got %v", err)
	}
	if err := open.Remedy.Undo(t.Context(), w.session, change); !errors.Is(err, control.ErrGone) {
		t.Errorf("Undo: want control.ErrGone, got %v", err)
	}
	if _, err := open.Remedy.Plan(t.Context(), w.session, w.target("not-a-group")); !errors.Is(err, control.ErrGone) {
		t.Errorf("Plan of what is no ID: want control.ErrGone, got %v", err)
	}
}

func TestReasonNamesTheRules(t *testing.T) {
	w := newWorld(t, nil)
	group := makeGroup(t.Context(), t, w.ec2, w.vpc, "web")
	letIn(t.Context(), t, w.ec2, group, ip4("tcp", 22, 22, "0.0.0.0/0", ""))
	letIn(t.Context(), t, w.ec2, group, ip4("tcp", 5000, 6000, "0.0.0.0/0", ""))
	letIn(t.Context(), t, w.ec2, group, ip6("-1", -1, -1, "::/0", ""))
	want := "Security group " + group + ` ("web") lets in too much of the internet on ports that the baseline closes to it: ` +
		"all traffic from ::/0, tcp 22 from 0.0.0.0/0, tcp 5000-6000 from 0.0.0.0/0."
	if got := w.plan(network.OpenIngress(), group).Reason; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, port := range []int32{23, 25, 3306, 5432} {
		letIn(t.Context(), t, w.ec2, group, ip4("tcp", port, port, "0.0.0.0/0", ""))
	}
	if got := w.plan(network.OpenIngress(), group).Reason; !strings.HasSuffix(got, ", and 2 more.") {
		t.Errorf("got  %s\nwant one that ends with how many more there are", got)
	}
}

// rule is a rule of a table: "tcp 22 0.0.0.0/0", "-1 ::/0", "out tcp 22 0.0.0.0/0",
// "tcp 22 pl-1", "tcp 22 sg-1".
func rule(t *testing.T, text string) types.SecurityGroupRule {
	t.Helper()
	r := types.SecurityGroupRule{SecurityGroupRuleId: aws.String(text), IsEgress: aws.Bool(false), FromPort: aws.Int32(-1), ToPort: aws.Int32(-1)}
	words := strings.Fields(text)
	if words[0] == "out" {
		r.IsEgress, words = aws.Bool(true), words[1:]
	}
	r.IpProtocol = aws.String(words[0])
	if len(words) == 3 {
		from, to, _ := strings.Cut(words[1], "-")
		if to == "" {
			to = from
		}
		r.FromPort, r.ToPort = aws.Int32(number(t, from)), aws.Int32(number(t, to))
	}
	switch source := words[len(words)-1]; {
	case strings.HasPrefix(source, "pl-"):
		r.PrefixListId = aws.String(source)
	case strings.HasPrefix(source, "sg-"):
		r.ReferencedGroupInfo = &types.ReferencedSecurityGroup{GroupId: aws.String(source)}
	case strings.Contains(source, ":"):
		r.CidrIpv6 = aws.String(source)
	default:
		r.CidrIpv4 = aws.String(source)
	}
	return r
}

func number(t *testing.T, text string) int32 {
	t.Helper()
	n := int32(0)
	for _, d := range text {
		if d < '0' || d > '9' {
			t.Fatalf("%q is no number", text)
		}
		n = n*10 + d - '0'
	}
	return n
}

func TestOpenRulesAreFound(t *testing.T) {
	for _, tt := range []struct {
		name        string
		open, stays []string
	}{
		{"the whole of IPv4 and IPv6", []string{"tcp 22 0.0.0.0/0", "tcp 22 ::/0"}, nil},
		{"other spellings, should AWS ever return one", []string{"tcp 22 1.2.3.4/0", "tcp 22 2001:db8::/0", "tcp 23 0:0:0:0:0:0:0:0/0"}, nil},
		{"pairs", []string{"tcp 22 0.0.0.0/1", "tcp 22 128.0.0.0/1", "tcp 22 ::/1", "tcp 22 8000::/1"}, nil},
		{"half a pair", []string{"tcp 22 128.0.0.0/1"}, []string{"tcp 443 0.0.0.0/1"}},
		{"the widest that is let be", []string{"tcp 22 2.0.0.0/7", "tcp 22 2600::/23"}, []string{"tcp 23 2.0.0.0/8", "tcp 23 2600::/24"}},
		{"quarters", []string{"tcp 22 0.0.0.0/2", "tcp 22 64.0.0.0/2", "tcp 22 128.0.0.0/2", "tcp 22 192.0.0.0/2"}, nil},
		{
			"too much together: the widest go, until the rest is little enough",
			[]string{"tcp 22 8.0.0.0/9"}, []string{"tcp 22 3.0.0.0/10", "tcp 22 5.0.0.0/9", "tcp 22 203.0.113.0/24"},
		},
		{"as much together as one may be alone", nil, []string{"tcp 22 3.0.0.0/9", "tcp 22 3.128.0.0/9"}},
		{"ranges within others count once", nil, []string{"tcp 22 3.0.0.0/8", "tcp 22 3.0.0.0/9", "tcp 20-25 3.0.0.0/8", "tcp 22 3.1.2.3/32"}},
		{"another port is another sum", nil, []string{"tcp 22 3.0.0.0/8", "tcp 23 5.0.0.0/8"}},
		{"another protocol is another sum", nil, []string{"tcp 22 3.0.0.0/8", "udp 22 5.0.0.0/8"}},
		{"another family is another sum", nil, []string{"tcp 22 3.0.0.0/8", "tcp 22 2600::/24"}},
		{"what is for all counts for each", []string{"tcp 22 5.0.0.0/8"}, []string{"-1 3.0.0.0/8"}},
		{"all protocols", []string{"-1 0.0.0.0/0", "-1 ::/0"}, nil},
		{"ranges of ports that hold a listed one", []string{"tcp 0-65535 0.0.0.0/0", "tcp 21-22 0.0.0.0/0", "tcp 22-24 ::/0", "tcp 1024-65535 ::/0"}, nil},
		{"ranges of ports that hold none", nil, []string{"tcp 26-68 0.0.0.0/0", "tcp 80 0.0.0.0/0", "tcp 443 ::/0", "tcp 30000-32767 0.0.0.0/0"}},
		{"UDP", []string{"udp 11211 0.0.0.0/0", "udp 161 ::/0"}, []string{"udp 53 0.0.0.0/0", "udp 443 0.0.0.0/0", "udp 500 0.0.0.0/0"}},
		{"protocols by number", []string{"6 22 0.0.0.0/0", "17 11211 0.0.0.0/0"}, []string{"1 22 0.0.0.0/0", "58 22 ::/0"}},
		{"TCP without ports", []string{"tcp 0.0.0.0/0"}, nil},
		{"protocols without ports of their own", nil, []string{"icmp 0.0.0.0/0", "icmpv6 ::/0", "50 0.0.0.0/0", "132 0.0.0.0/0", "icmp 8-22 0.0.0.0/0"}},
		{"out", nil, []string{"out tcp 22 0.0.0.0/0", "out -1 0.0.0.0/0", "out -1 ::/0"}},
		{"private space", nil, []string{"tcp 22 10.0.0.0/8", "tcp 22 172.16.0.0/12", "tcp 22 192.168.0.0/16", "tcp 22 100.64.0.0/10", "tcp 22 fc00::/7", "tcp 22 fd00::/8"}},
		{"more than private space", []string{"tcp 22 10.0.0.0/7", "tcp 22 fc00::/6"}, nil},
		{"lists and groups", nil, []string{"tcp 22 pl-1", "-1 sg-1"}},
		{"IPv4 in IPv6", nil, []string{"tcp 22 ::ffff:0:0/96", "tcp 22 64:ff9b::/96"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var of []types.SecurityGroupRule
			for _, text := range slices.Concat(tt.stays, tt.open) {
				of = append(of, rule(t, text))
			}
			got, err := network.Open(network.OpenIngress().Params, of)
			must(t, err)
			if d := diff.Diff(tt.open, got); d != "" {
				t.Errorf("open rules differ (-want +got):\n%s", d)
			}
		})
	}
}

func TestRangeThatCannotBeReadIsAnError(t *testing.T) {
	for _, text := range []string{"tcp 22 0.0.0.0", "tcp 22 0.0.0.0/33", "tcp 22 00.0.0.0/0", "tcp 22 ::/129", "tcp 22 fe80::%eth0/10"} {
		if open, err := network.Open(network.OpenIngress().Params, []types.SecurityGroupRule{rule(t, text)}); err == nil {
			t.Errorf("%s: want an error, got %v", text, open)
		}
	}
}

// Whoever says that EC2.19 is answered must close all its ports, and those of
// the others.
func TestPortsOfTheStandardsAreClosed(t *testing.T) {
	for _, port := range strings.Split("20,21,22,23,25,110,135,143,445,1433,1434,3000,3306,3389,4333,5000,5432,5500,5601,8080,8088,8888,9200,9300", ",") {
		text := "tcp " + port + " 0.0.0.0/0"
		open, err := network.Open(network.OpenIngress().Params, []types.SecurityGroupRule{rule(t, text)})
		must(t, err)
		if len(open) == 0 {
			t.Errorf("port %s is not closed", port)
		}
	}
}

func TestParamsDecide(t *testing.T) {
	params := network.OpenIngress().Params
	must(t, yaml.Unmarshal([]byte("{ports: [8443], widest-ipv4-prefix: 24, widest-ipv6-prefix: 48}"), params))
	must(t, valid(params))
	of := []types.SecurityGroupRule{
		rule(t, "tcp 22 0.0.0.0/0"), rule(t, "tcp 8443 203.0.113.0/24"), rule(t, "tcp 8443 2001:db8::/48"),
		rule(t, "udp 8443 203.0.112.0/23"), rule(t, "udp 8443 2001:db8::/47"),
	}
	got, err := network.Open(params, of)
	must(t, err)
	if d := diff.Diff([]string{"udp 8443 203.0.112.0/23", "udp 8443 2001:db8::/47"}, got); d != "" {
		t.Errorf("open rules differ (-want +got):\n%s", d)
	}
}

func TestParamsThatCannotBeMeantAreRefused(t *testing.T) {
	must(t, valid(network.OpenIngress().Params))
	for _, tt := range []struct{ params, want string }{
		{"{ports: []}", "ports is empty: want at least one port, or the control's mode off"},
		{"{ports: [22, 0]}", "ports has 0: want ports from 1 to 65535"},
		{"{ports: [65536]}", "ports has 65536: want ports from 1 to 65535"},
		{"{widest-ipv4-prefix: 0}", "widest-ipv4-prefix is 0: want a prefix length from 1 to 32"},
		{"{widest-ipv4-prefix: 33}", "widest-ipv4-prefix is 33: want a prefix length from 1 to 32"},
		{"{widest-ipv6-prefix: -1}", "widest-ipv6-prefix is -1: want a prefix length from 1 to 128"},
		{"{widest-ipv6-prefix: 129}", "widest-ipv6-prefix is 129: want a prefix length from 1 to 128"},
	} {
		params := network.OpenIngress().Params
		must(t, yaml.Unmarshal([]byte(tt.params), params))
		if err := valid(params); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.params, err, tt.want)
		}
	}
}

func valid(params any) error { return params.(interface{ Validate() error }).Validate() }

package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// OpenIngress returns the control of ingress from the whole internet. It is
// exported for the response domain, whose runbooks use its remedy. Every call
// builds its own values.
func OpenIngress() control.Control {
	params := &openIngress{Ports: closedPorts(), WidestIPv4: WidestIPv4, WidestIPv6: WidestIPv6}
	return control.Control{
		ID:    "ec2-security-group-open-ingress",
		Title: "Security groups don't let the whole internet in on administration, database and control plane ports",
		Rationale: "A service that trusts its network is scanned within minutes and guessed at, or exploited, from then on, " +
			"once anyone may reach it. Judged is each listed port, for TCP and UDP, by all ranges that one group lets in to it: " +
			"0.0.0.0/0 and ::/0, pairs such as 0.0.0.0/1 with 128.0.0.0/1, and any others that together hold more addresses " +
			"than the widest single range that is let be. Ranges within private address space don't count, nor do ICMP, " +
			"other protocols without ports, prefix lists and references to other groups.",
		Hazard: "Whoever came in through the rules can't connect any more, such as administrators and partners without a VPN, " +
			"senders of mail (25), or users of a website on 3000, 5000, 8080, 8088 or 8888: take ports that are meant to be public " +
			"out of the list. Connections that are established go on until they end. A rule that a template declares comes " +
			"back with its next deployment.",
		Severity: control.Critical,
		Standards: control.Standards{
			SecurityHub: []string{"EC2.13", "EC2.14", "EC2.18", "EC2.19", "EC2.53", "EC2.54"},
			CIS:         []string{"v5.0.0/5.3", "v5.0.0/5.4", "v3.0.0/5.2", "v3.0.0/5.3", "v1.4.0/5.2"},
			ConfigRules: []string{
				"restricted-ssh", "restricted-common-ports", "vpc-sg-port-restriction-check", "vpc-sg-open-only-to-authorized-ports",
			},
		},
		Resource: securityGroup(),
		// Calls that only take away can't open a group, and a new description is no new
		// range. ModifyManagedPrefixList can open all groups that refer to a list, but
		// names none of them, and prefix lists are not judged.
		Triggers: []control.Trigger{{
			Source:  "ec2.amazonaws.com",
			Names:   []string{"AuthorizeSecurityGroupIngress", "ModifySecurityGroupRules", "CreateSecurityGroup"},
			Targets: changedGroup,
		}},
		List: listGroups(),
		Remedy: control.Remedy{
			Name:  "revoke-open-ingress",
			Plan:  params.plan,
			Apply: revoke,
			Undo:  params.undo,
			Permissions: control.Permissions{
				List:  []control.Permission{describeGroups},
				Plan:  []control.Permission{describeGroups, describeRules},
				Apply: []control.Permission{describeGroups, describeRules, revokes("Ingress")},
				Undo:  append([]control.Permission{describeGroups, describeRules}, authorizes("Ingress")...),
			},
		},
		Params: params,
	}
}

// The prefix lengths of the widest ranges that are not taken for the internet,
// where the baseline says nothing else: a /8 and a /24 are about what the largest
// single networks hold, and far from the internet.
const (
	WidestIPv4 = 8
	WidestIPv6 = 24
)

// openIngress is what the baseline can say about open ingress.
type openIngress struct {
	// Ports may not be open to the internet.
	Ports []int `yaml:"ports,flow"`
	// WidestIPv4 and WidestIPv6 are prefix lengths: all ranges of one group for one
	// port may together hold as many addresses as one such range.
	WidestIPv4 int `yaml:"widest-ipv4-prefix"`
	WidestIPv6 int `yaml:"widest-ipv6-prefix"`
}

// Validate reports the first value that can't be meant.
func (p *openIngress) Validate() error {
	if len(p.Ports) == 0 {
		return errors.New("ports is empty: want at least one port, or the control's mode off")
	}
	for _, port := range p.Ports {
		if port < 1 || port > 65535 {
			return fmt.Errorf("ports has %d: want ports from 1 to 65535", port)
		}
	}
	switch {
	case p.WidestIPv4 < 1 || p.WidestIPv4 > 32:
		return fmt.Errorf("widest-ipv4-prefix is %d: want a prefix length from 1 to 32", p.WidestIPv4)
	case p.WidestIPv6 < 1 || p.WidestIPv6 > 128:
		return fmt.Errorf("widest-ipv6-prefix is %d: want a prefix length from 1 to 128", p.WidestIPv6)
	}
	return nil
}

// closedPorts are the ports that are closed by default: all of Security Hub's
// EC2.19, which holds the defaults of the Config rule restricted-common-ports,
// and those by which its users, and the scanners that look for their mistakes,
// know services that trust their network (Prowler's checks
// ec2_securitygroup_allow_ingress_from_internet_to_*; IANA's port registry).
func closedPorts() []int {
	ports := []int{
		20, 21, 22, 23, 25, 110, 135, 143, 445, // FTP, SSH, Telnet, SMTP, POP3, RPC, IMAP, SMB: EC2.19
		69, 111, 137, 138, 139, 161, 389, 512, 513, 514, 636, 873, // TFTP, portmapper, NetBIOS, SNMP, LDAP, r-commands, LDAPS, rsync
		1433, 1434, 1521, 2483, 2484, 3306, 4333, 5432, 5439, 26257, 50000, // SQL Server, Oracle, MySQL, mSQL, PostgreSQL, Redshift, CockroachDB, Db2
		2049, 3389, 5500, 5800, 5900, 5901, // NFS, RDP, VNC
		2181, 2375, 2376, 2379, 2380, 4243, 6443, 10250, 10255, 10257, 10259, // ZooKeeper, Docker, etcd, Kubernetes
		3000, 5000, 5601, 8080, 8088, 8888, // web consoles and development servers: EC2.19
		4369, 5672, 9092, 11211, 15672, 61616, // Erlang, RabbitMQ, Kafka, memcached, ActiveMQ
		5984, 6379, 7000, 7001, 7199, 7474, 7687, 8086, 8123, 8983, 9042, 9160, // CouchDB, Redis, Cassandra, Neo4j, InfluxDB, ClickHouse, Solr
		5985, 5986, 8200, 8500, // WinRM, Vault, Consul
		9200, 9300, 27017, 27018, 27019, 28017, // OpenSearch, MongoDB
	}
	slices.Sort(ports)
	return ports
}

func (p *openIngress) plan(ctx context.Context, session *cloud.Session, t control.Target) (*control.Change, error) {
	g, err := readGroup(ctx, session, t)
	if err != nil {
		return nil, err
	}
	open, err := p.open(g.rules)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	return newChange(t, openReason(t, g, open), open, map[string][]string{})
}

func (p *openIngress) undo(ctx context.Context, session *cloud.Session, c control.Change) error {
	g, err := readGroup(ctx, session, c.Target)
	if err != nil {
		return err
	}
	before, err := recorded(c)
	if err != nil {
		return err
	}
	open, err := p.open(g.rules)
	if err != nil {
		return err
	}
	// What is open now and was not, too, shows that the group has moved.
	return putBack(ctx, session, c, slices.DeleteFunc(g.rules, func(r rule) bool {
		return !holds(before, r.passage) && !holds(open, r.passage)
	}))
}

// shown is how many rules a reason names.
const shown = 5

func openReason(t control.Target, g *group, open []rule) string {
	var ways []string
	for _, r := range open[:min(len(open), shown)] {
		ways = append(ways, r.traffic()+" from "+r.source())
	}
	text := fmt.Sprintf("Security group %s (%q) lets in too much of the internet on ports that the baseline closes to it: %s",
		t.ID, g.name, strings.Join(ways, ", "))
	if more := len(open) - shown; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text + "."
}

// open finds the rules that have to go, in the order in which they are given.
func (p *openIngress) open(rules []rule) ([]rule, error) {
	v4, v6, err := internet(rules)
	if err != nil {
		return nil, err
	}
	offending := make([]bool, len(rules))
	for _, family := range []struct {
		ranges []ranged
		widest int
	}{{v4, p.WidestIPv4}, {v6, p.WidestIPv6}} {
		for _, protocol := range []string{"tcp", "udp"} {
			p.judge(rules, family.ranges, protocol, family.widest, offending)
		}
	}
	var open []rule
	for i, r := range rules {
		if offending[i] {
			open = append(open, r)
		}
	}
	return open, nil
}

// judge marks the rules that let too much in to a listed port.
func (p *openIngress) judge(rules []rule, ranges []ranged, protocol string, widest int, offending []bool) {
	var judged []ranged
	for _, port := range p.Ports {
		admitted := slices.Collect(func(yield func(ranged) bool) {
			for _, r := range ranges {
				if rules[r.at].admits(protocol, port) && !yield(r) {
					return
				}
			}
		})
		if slices.Equal(admitted, judged) {
			continue // as the port before: rules for all ports are judged once
		}
		judged = admitted
		var prefixes []netip.Prefix
		for _, r := range admitted {
			prefixes = append(prefixes, r.prefix)
		}
		for _, i := range beyond(prefixes, widest) {
			offending[admitted[i].at] = true
		}
	}
}

// ranged is a rule, by its index, and the range that it lets in.
type ranged struct {
	at     int
	prefix netip.Prefix
}

// internet are the rules that let in ranges of the internet, by family.
func internet(rules []rule) (v4, v6 []ranged, err error) {
	for i, r := range rules {
		text := r.CIDRIPv4 + r.CIDRIPv6 // it has one of the two, if any
		if r.IsEgress || text == "" {
			continue
		}
		prefix, err := parseRange(text)
		switch {
		case err != nil:
			return nil, nil, err
		case isPrivate(prefix):
		case prefix.Addr().Is4():
			v4 = append(v4, ranged{i, prefix})
		default:
			v6 = append(v6, ranged{i, prefix})
		}
	}
	return v4, v6, nil
}

// numbers are the protocols with ports by their numbers, in which a rule may
// name them too.
var numbers = map[string]string{"6": "tcp", "17": "udp"}

// admits reports whether a rule is for a port. AWS knows ports of TCP and UDP
// alone: a rule for another protocol, such as SCTP, is for all of it, and the
// listed services speak none of them (EC2 API reference, IpPermission).
func (p *passage) admits(protocol string, port int) bool {
	switch {
	case p.IPProtocol == "-1":
		return true
	case p.IPProtocol != protocol && numbers[p.IPProtocol] != protocol:
		return false
	}
	return p.FromPort == -1 || int(p.FromPort) <= port && port <= int(p.ToPort)
}

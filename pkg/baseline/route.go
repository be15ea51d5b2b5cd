package baseline

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// The topics that a route names by a word.
const (
	mainTopic = "main"
	noTopic   = "none"
)

var (
	// alerting are the outcomes that are alerted at all.
	alerting = []control.Outcome{
		control.Observed, control.AwaitingApproval, control.Expired, control.Remediated, control.Partial, control.Undone,
		control.Failed, control.Held, control.Unreadable, control.Refused,
	}
	// silent are those that a route may send nowhere. All others wait for
	// somebody to act, who would never learn of them.
	silent = []control.Outcome{control.Observed, control.Remediated, control.Undone}
)

// Topic returns where an alert goes: the ARN of an SNS topic, or "" for the
// main one. If send is false it goes nowhere.
func (b *Baseline) Topic(o control.Outcome, s control.Severity) (topic string, send bool) {
	i := slices.IndexFunc(b.Alerts, func(r Route) bool { return r.takes(o, s) })
	if i < 0 {
		return "", true
	}
	switch topic := b.Alerts[i].Topic; topic {
	case mainTopic:
		return "", true
	case noTopic:
		return "", false
	default:
		return topic, true
	}
}

func (r Route) takes(o control.Outcome, s control.Severity) bool {
	return (len(r.Outcomes) == 0 || slices.Contains(r.Outcomes, o)) &&
		(len(r.Severities) == 0 || slices.Contains(r.Severities, s))
}

// covers reports whether r takes all that other takes.
func (r Route) covers(other Route) bool {
	return coversAll(r.Outcomes, other.Outcomes, alerting) && coversAll(r.Severities, other.Severities, control.Severities)
}

// coversAll compares two lists of which an empty one stands for all there is.
func coversAll[T comparable](list, other, all []T) bool {
	if len(other) == 0 {
		other = all
	}
	return len(list) == 0 || !slices.ContainsFunc(other, func(x T) bool { return !slices.Contains(list, x) })
}

// alerts reads `alerts`.
func (p *parser) alerts(n *yaml.Node) []Route {
	var all []Route
	p.list(n, "alerts", func(item *yaml.Node) {
		r, ok := p.route(item)
		if !ok {
			return
		}
		if i := slices.IndexFunc(all, func(earlier Route) bool { return earlier.covers(r) }); i >= 0 {
			p.warnf(item, "this entry never decides, since the one in line %d takes all that it matches: remove it, or move it up", all[i].Line)
		}
		all = append(all, r)
	})
	return all
}

func (p *parser) route(n *yaml.Node) (Route, bool) {
	r := Route{Line: n.Line}
	before := p.errors
	var outcomes, levels, topic *yaml.Node
	p.mapping(n, "the entry of alerts", []field{
		{"outcomes", "", func(_, v *yaml.Node) {
			outcomes = v
			r.Outcomes = as[control.Outcome](p.texts(v, "outcomes", p.outcome))
		}},
		{"severities", "", func(_, v *yaml.Node) {
			levels = v
			r.Severities = as[control.Severity](p.texts(v, "severities", p.severity))
		}},
		{"topic", "say where these alerts go, which is main, none or the ARN of an SNS topic", func(_, v *yaml.Node) {
			topic = v
			r.Topic = p.topic(v)
		}},
	})
	switch {
	case r.Topic == noTopic:
		p.unheard(topic, outcomes)
	case n.Kind == yaml.MappingNode && outcomes == nil && levels == nil:
		p.errorf(n, "the entry of alerts would take every alert and leave none to those after it: name the outcomes or severities that it is for")
	}
	return r, p.errors == before
}

// unheard reports the outcomes that must not be sent nowhere.
func (p *parser) unheard(topic, outcomes *yaml.Node) {
	allowed := words(as[string](silent), "and")
	if outcomes == nil {
		p.errorf(topic, "topic is none, and the entry names no outcomes: list them, since only %s may go nowhere", allowed)
		return
	}
	for _, item := range outcomes.Content {
		if o := control.Outcome(item.Value); slices.Contains(alerting, o) && !slices.Contains(silent, o) {
			p.errorf(item, "nobody would learn of the outcome %s if its topic is none: only %s may go nowhere, so give it another topic", o, allowed)
		}
	}
}

func (p *parser) outcome(n *yaml.Node, name string) (string, bool) {
	return p.oneOf(n, name, "an outcome that alerts", as[string](alerting))
}

func (p *parser) severity(n *yaml.Node, name string) (string, bool) {
	return p.oneOf(n, name, "a severity", as[string](control.Severities))
}

// oneOf reads a text that must be a known one, in upper and lower case too.
func (p *parser) oneOf(n *yaml.Node, name, what string, known []string) (string, bool) {
	s, ok := p.text(n, name)
	if !ok || slices.Contains(known, s) {
		return s, ok
	}
	near := nearest(s, known)
	if i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, s) }); i >= 0 {
		near = known[i]
	}
	p.errorf(n, "%s is %s: %s", name, quote(s), meant(near, "want "+what+", which is "+words(known, "or")))
	return "", false
}

// topic reads where alerts go.
func (p *parser) topic(n *yaml.Node) string {
	s, ok := p.text(n, "topic")
	switch {
	case !ok:
		return ""
	case s == mainTopic || s == noTopic:
		return s
	case !strings.HasPrefix(s, "arn:"):
		near := nearest(strings.ToLower(s), []string{mainTopic, noTopic})
		p.errorf(n, "topic is %s: %s", quote(s), meant(near, "want main, none or the ARN of an SNS topic"))
		return ""
	}
	arn := p.arn(n, "topic", topicFault)
	if arn != "" {
		p.last = append(p.last, func(b *Baseline) { p.atHub(n, arn, b.Organization.Hub) })
	}
	return arn
}

// atHub reports a topic elsewhere than at the hub, whose functions may publish
// nowhere else. What of the hub can't be read has been reported.
func (p *parser) atHub(n *yaml.Node, arn string, hub Hub) {
	f := strings.SplitN(arn, ":", arnFields)
	for _, place := range []struct{ kind, topic, hub string }{
		{"account", f[arnAccount], hub.Account},
		{"Region", f[arnRegion], hub.Region},
	} {
		if place.hub != "" && place.topic != place.hub {
			p.errorf(n, "topic is in the %s %s and organization.hub in %s: name a topic of the hub's account and Region",
				place.kind, place.topic, place.hub)
		}
	}
}

// topicFault says what is wrong with the ARN of a topic besides.
func topicFault(f []string) string {
	const example = "such as arn:aws:sns:us-east-1:111111111111:snapback-observed"
	switch {
	case f[arnService] != "sns":
		return "want the ARN of an SNS topic, " + example
	case f[arnRegion] == "" || !event.IsAccount(f[arnAccount]):
		return "want the ARN of an SNS topic with its Region and the 12 digits of its account, " + example
	case partition(f[arnRegion]) != f[arnPartition]:
		return "the Region " + f[arnRegion] + " is in the partition " + partition(f[arnRegion]) + ": write that"
	case strings.HasSuffix(f[arnResource], ".fifo"):
		return "a FIFO topic reaches no e-mail address: want a standard topic"
	case !isTopic(f[arnResource]):
		return "want the name of a topic behind the account, and nothing else: letters, digits, - and _"
	}
	return ""
}

// isTopic checks the shape that the API reference of SNS, CreateTopic, gives
// for a topic's name.
func isTopic(s string) bool {
	letter := func(r rune) bool { return isLowerDigit(r) || r >= 'A' && r <= 'Z' }
	return sized(s, 1, 256) && all(s, letter, '-', '_')
}

// as turns a list of texts of one type into the same of another.
func as[To, From ~string](list []From) []To {
	out := make([]To, len(list))
	for i, s := range list {
		out[i] = To(s)
	}
	return out
}

package health

import (
	"context"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/engine"
)

// look looks at every site: its forwarding rules, the trail without which its
// default bus is silent, and the queue of what could not be forwarded.
func (h *Health) look(ctx context.Context, r Request) (Answer, error) {
	a := Answer{Verdict: engine.Done}
	v, err := h.visit(ctx, r, Look)
	if err != nil {
		return a, err
	}
	if a.Stops, err = h.stops(ctx); err != nil {
		return a, err
	}
	sideBySide(v.entered(), func(s *Site) {
		session := v.sessions[s.Account]
		h.lookAtRules(ctx, s, session)
		s.lookAtTrails(ctx, session)
		s.readUndelivered(ctx, session)
	})
	a.Sites = v.answer()
	a.Reason = fmt.Sprintf("all %d sites are in order", len(a.Sites))
	wrong := count(a.Sites)
	if wrong > 0 {
		a.Verdict, a.Reason = engine.NotSo, fmt.Sprintf("%d of %d sites are not in order", wrong, len(a.Sites))
	}
	h.measureLook(wrong)
	a.Reason += stopped(a.Stops)
	return a, nil
}

// stops counts the kill switches that are on.
func (h *Health) stops(ctx context.Context) (n int, err error) {
	for _, err := range h.ledger.Stops(ctx) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func stopped(stops int) string {
	if stops == 0 {
		return ""
	}
	return fmt.Sprintf("; kill switches that are on: %d", stops)
}

func count(sites []Site) (wrong int) {
	for _, s := range sites {
		if s.Wrong() {
			wrong++
		}
	}
	return wrong
}

// lookAtRules holds the site's forwarding rules to those that are deployed.
func (h *Health) lookAtRules(ctx context.Context, s *Site, session *cloud.Session) {
	in := &eventbridge.ListRulesInput{NamePrefix: aws.String(deployment.Prefix + "-")}
	patterns, off, old := map[string]string{}, 0, 0
	for {
		out, err := eventBridge(session).ListRules(ctx, in, func(o *eventbridge.Options) { o.Region = s.Region })
		if err != nil {
			s.fault(fmt.Errorf("list the rules of the default bus: %w", err))
			return
		}
		for _, rule := range out.Rules {
			patterns[aws.ToString(rule.Name)] = aws.ToString(rule.EventPattern)
			if rule.State != types.RuleStateEnabled {
				off++
			}
			if aws.ToString(rule.Description) != deployment.RuleDescription(h.Member) {
				old++
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	fault := func(format string, args ...any) { s.Faults = append(s.Faults, fmt.Sprintf(format, args...)) }
	fingerprint, err := deployment.FingerprintOf(s.Account, patterns)
	switch {
	case len(patterns) == 0:
		fault("there is no forwarding rule: deploy the member stack here")
	case len(patterns) != h.Rules:
		fault("there are %d forwarding rules, not %d: deploy the member stack again", len(patterns), h.Rules)
	case old > 0:
		fault("%d forwarding rules are not of the member template %s: deploy the member stack again", old, h.Member)
	case err != nil:
		fault("%v: somebody changed it: find out who, and deploy the member stack again", err)
	case fingerprint != h.Patterns:
		fault("the forwarding rules' patterns are not those of the member template: somebody changed one: find out who, and deploy the member stack again")
	}
	if off > 0 {
		fault("%d forwarding rules are disabled: enable them, and find out who disabled them", off)
	}
}

// readUndelivered reads how many events wait that could not be put on the hub's
// bus.
func (s *Site) readUndelivered(ctx context.Context, session *cloud.Session) {
	client := cloud.Client(session, func(cfg aws.Config) *sqs.Client { return sqs.NewFromConfig(cfg) })
	here := func(o *sqs.Options) { o.Region = s.Region }
	queue, err := client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(deployment.Undelivered)}, here)
	if err != nil {
		s.fault(fmt.Errorf("find the queue %s: %w", deployment.Undelivered, err))
		return
	}
	const waiting = sqstypes.QueueAttributeNameApproximateNumberOfMessages
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{waiting},
	}, here)
	if err == nil {
		s.Undelivered, err = strconv.Atoi(out.Attributes[string(waiting)])
	}
	if err != nil {
		s.fault(fmt.Errorf("read the queue %s: %w", deployment.Undelivered, err))
	}
}

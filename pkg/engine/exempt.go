package engine

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/snapback-aws/snapback/pkg/ledger"
)

// Exempt lets a control leave a resource alone until a time. The exemption's
// Created is set here.
func (e *Engine) Exempt(ctx context.Context, x ledger.Exemption) Answer {
	return answer(ctx, func(ctx context.Context) (Answer, error) {
		now := time.Now().UTC()
		longest := e.longestExemption()
		if a, err := e.exemptable(x.Control, x.Resource); a.Verdict != "" {
			return a, err
		}
		switch {
		case strings.TrimSpace(x.Reason) == "":
			return misuse("an exemption needs a reason: why may %s differ from the baseline? (--reason)", x.Resource)
		case strings.TrimSpace(x.Owner) == "":
			return misuse("an exemption needs an owner who answers for it: an e-mail address or a team (--owner)")
		case x.Until.IsZero():
			return misuse("an exemption needs an end: at most %s from now (--until)", longest)
		case !x.Until.After(now):
			return misuse("the exemption would have ended at %s already: want a later end (--until)", x.Until.UTC().Format(time.RFC3339))
		case x.Until.After(now.Add(longest)):
			return misuse("the exemption would last until %s, and the baseline allows at most %d days (limits.exemption-days): want an end before %s (--until)",
				x.Until.UTC().Format(time.RFC3339), e.Baseline.Limits.ExemptionDays, now.Add(longest).Format(time.RFC3339))
		}
		x.Created = now
		replaced, err := e.Ledger.Exempt(ctx, &x)
		if err != nil {
			return Answer{}, err
		}
		a, _ := done("%s is exempt from %s until %s", x.Resource, x.Control, x.Until.UTC().Format(time.RFC3339))
		if replaced.InForce(now, longest) {
			a.Reason += "; the exemption until " + replaced.Until.UTC().Format(time.RFC3339) + " is replaced"
		}
		a.Exemption = &x
		return a, nil
	})
}

// Unexempt ends an exemption that a command made.
func (e *Engine) Unexempt(ctx context.Context, controlID, resource string, by ledger.Caller) Answer {
	return answer(ctx, func(ctx context.Context) (Answer, error) {
		if a, err := e.exemptable(controlID, resource); a.Verdict != "" {
			return a, err
		}
		x, err := e.Ledger.Unexempt(ctx, controlID, resource, by)
		switch {
		case errors.Is(err, ledger.ErrNoExemption):
			return misuse("no command has exempted %s from %s: `snapback exempt list` lists the exemptions; those of the baseline file end there", resource, controlID)
		case err != nil:
			return Answer{}, err
		}
		a, _ := done("%s is no longer exempt from %s: the next event about it is handled as the baseline says", resource, controlID)
		a.Exemption = x
		return a, nil
	})
}

// exemptable says why there can be no exemption of a control and resource; the
// answer is empty if there can.
func (e *Engine) exemptable(controlID, resource string) (Answer, error) {
	about := e.rule(controlID)
	switch {
	case about == nil:
		return misuse("there is no control or runbook %q in this function: `snapback controls` lists them", controlID)
	case len(resource) > ledger.MaxResource:
		return misuse("the resource's ARN is longer than %d bytes", ledger.MaxResource)
	case !about.Names(resource):
		return misuse("%q is no ARN that %s knows: want one of its %s, such as %s", resource, about.id, about.Type, about.Example())
	}
	return Answer{}, nil
}

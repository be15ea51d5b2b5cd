package health

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// drill sends a canary from every site and waits until all have come to the
// function of every domain, or the time is over.
func (h *Health) drill(ctx context.Context, r Request) (Answer, error) {
	a := Answer{Verdict: engine.Done}
	var err error
	if a.Drill, err = h.ledger.BeginDrill(ctx, time.Now()); err != nil {
		return a, err
	}
	settled := time.Now().Add(ledger.DrillSettles)
	v, err := h.visit(ctx, r, a.Drill)
	if err != nil {
		return a, err
	}
	if a.Stops, err = h.stops(ctx); err != nil {
		return a, err
	}
	rest(ctx, time.Until(settled))
	sent := h.send(ctx, v, a.Drill)
	var side sync.WaitGroup
	side.Go(func() {
		sideBySide(v.entered(), func(s *Site) { s.readUndelivered(ctx, v.sessions[s.Account]) })
	})
	came, err := h.await(ctx, a.Drill, sent)
	side.Wait()
	late := miss(sent, h.Domains, came) + len(v.sites) - len(sent)
	a.Sites = v.answer()
	h.measure(a, len(sent), late)
	if err != nil {
		return a, err
	}
	wrong := count(a.Sites)
	a.Reason = fmt.Sprintf("the canaries of all %d sites came back to %d domains", len(sent), len(h.Domains))
	if wrong > 0 {
		a.Verdict = engine.NotSo
		a.Reason = fmt.Sprintf("%d of %d sites are not in order: from %d not every canary came back", wrong, len(a.Sites), late)
	}
	a.Reason += stopped(a.Stops)
	return a, nil
}

// send puts the canary on the default bus of every site, and returns those where
// it is on its way.
func (h *Health) send(ctx context.Context, v *visit, drill string) []*Site {
	detail, err := json.Marshal(map[string]string{"drill": drill})
	if err != nil {
		panic(err) // texts always marshal
	}
	sideBySide(v.entered(), func(s *Site) {
		if err := s.put(ctx, v.sessions[s.Account], string(detail)); err != nil {
			s.fault(fmt.Errorf("put the canary on the default bus: %w", err))
		}
	})
	return slices.DeleteFunc(slices.Clone(v.sites), func(s *Site) bool { return len(s.Faults) > 0 })
}

func (s *Site) put(ctx context.Context, session *cloud.Session, detail string) error {
	out, err := eventBridge(session).PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		Source: aws.String(event.DrillSource), DetailType: aws.String(event.DrillType), Detail: aws.String(detail),
	}}}, func(o *eventbridge.Options) { o.Region = s.Region })
	if err != nil {
		return err
	}
	for _, e := range out.Entries {
		if code := aws.ToString(e.ErrorCode); code != "" {
			return fmt.Errorf("%s: %s", code, aws.ToString(e.ErrorMessage))
		}
	}
	return nil
}

// eventBridge is the account's client, which each call gives its Region: a client
// for every site would take more memory than the function has.
func eventBridge(session *cloud.Session) *eventbridge.Client {
	return cloud.Client(session, func(cfg aws.Config) *eventbridge.Client { return eventbridge.NewFromConfig(cfg) })
}

// place is the account and Region of a site.
type place struct{ account, region string }

// arrivals are the places from which canaries have come, by domain.
type arrivals map[string]map[place]bool

// complete reports whether a domain has the canary of each site.
func (a arrivals) complete(domain string, sent []*Site) bool {
	return !slices.ContainsFunc(sent, func(s *Site) bool { return !a[domain][place{s.Account, s.Region}] })
}

// await reads what has come until all has, or the time is over. An error says
// that it could not be read at last.
func (h *Health) await(ctx context.Context, drill string, sent []*Site) (arrivals, error) {
	came := arrivals{}
	over := time.Now().Add(h.Wait)
	for {
		all, err := h.read(ctx, drill, sent, came)
		left := time.Until(over)
		if all || left <= 0 || ctx.Err() != nil {
			return came, err
		}
		rest(ctx, min(left, h.Wait/20))
	}
}

// read reads the canaries of each domain that has not all, and reports whether
// every domain has them now.
func (h *Health) read(ctx context.Context, drill string, sent []*Site, came arrivals) (all bool, err error) {
	all = true
	for _, domain := range h.Domains {
		if came.complete(domain, sent) {
			continue
		}
		canaries, err := h.ledger.Canaries(ctx, drill, domain)
		if err != nil {
			return false, err
		}
		came[domain] = make(map[place]bool, len(canaries))
		for _, c := range canaries {
			came[domain][place{c.Account, c.Region}] = true
		}
		all = all && came.complete(domain, sent)
	}
	return all, nil
}

// miss notes for each site the domains to which its canary has not come, and
// returns at how many sites one is missing.
func miss(sent []*Site, domains []string, came arrivals) (late int) {
	for _, s := range sent {
		for _, d := range domains {
			if !came[d][place{s.Account, s.Region}] {
				s.Missing = append(s.Missing, d)
			}
		}
		if len(s.Missing) > 0 {
			late++
		}
	}
	return late
}

// rest waits, as long as there is time.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

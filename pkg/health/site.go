package health

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/event"
)

// atOnce bounds how many accounts or sites are worked on side by side: far below
// what STS takes in a second, and enough to reach 17,000 sites within a minute.
const atOnce = 64

// sideBySide does something for each, at most so many at once.
func sideBySide[T any](all []T, do func(T)) {
	turn := make(chan struct{}, atOnce)
	var side sync.WaitGroup
	for _, one := range all {
		turn <- struct{}{}
		side.Go(func() {
			defer func() { <-turn }()
			do(one)
		})
	}
	side.Wait()
}

// misuse says what a request can't mean; empty if nothing.
func (h *Health) misuse(r Request) string {
	for _, account := range r.Accounts {
		if !event.IsAccount(account) {
			return fmt.Sprintf("%.40q is no 12-digit account number", account)
		}
	}
	for _, region := range r.Regions {
		if !slices.Contains(h.baseline.Organization.Regions, region) {
			return fmt.Sprintf("%.40q is no governed Region: want one of %s", region, strings.Join(h.baseline.Organization.Regions, ", "))
		}
	}
	return ""
}

// visit is what a command works on: sites, and a session in each account that
// can be entered.
type visit struct {
	sites    []*Site // by account and Region
	sessions map[string]*cloud.Session
}

// visit enters the accounts of a request, each once, with the purpose in the
// name of the session. That one can't be entered is a fault of its sites.
func (h *Health) visit(ctx context.Context, r Request, purpose string) (*visit, error) {
	accounts, err := h.accounts(ctx, r.Accounts)
	if err != nil {
		return nil, err
	}
	regions := slices.Compact(slices.Sorted(slices.Values(r.Regions)))
	if len(regions) == 0 {
		regions = slices.Sorted(slices.Values(h.baseline.Organization.Regions))
	}
	v := &visit{sessions: map[string]*cloud.Session{}}
	// They are kept for this command alone: clients of a thousand accounts are large.
	sessions := cloud.NewSessions(h.hub, h.Role, deployment.Health)
	refused := map[string]string{}
	var mu sync.Mutex
	sideBySide(accounts, func(account string) {
		session, err := sessions.For(ctx, account, h.baseline.Organization.Hub.Region, purpose)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			refused[account] = cloud.Reason(err)
			return
		}
		v.sessions[account] = session
	})
	for _, account := range accounts {
		for _, region := range regions {
			s := &Site{Account: account, Region: region}
			if why := refused[account]; why != "" {
				s.Faults = []string{why}
			}
			v.sites = append(v.sites, s)
		}
	}
	return v, nil
}

// accounts are the given ones, or every active one of the organization, sorted.
func (h *Health) accounts(ctx context.Context, given []string) ([]string, error) {
	if len(given) > 0 {
		return slices.Compact(slices.Sorted(slices.Values(given))), nil
	}
	var all []string
	pages := organizations.NewListAccountsPaginator(organizations.NewFromConfig(h.hub), &organizations.ListAccountsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the accounts of the organization: %w", err)
		}
		for _, a := range page.Accounts {
			if a.State == types.AccountStateActive {
				all = append(all, aws.ToString(a.Id))
			}
		}
	}
	slices.Sort(all)
	return all, nil
}

// entered are the sites whose account could be entered.
func (v *visit) entered() []*Site {
	return slices.DeleteFunc(slices.Clone(v.sites), func(s *Site) bool { return v.sessions[s.Account] == nil })
}

// answer are the sites as they are told.
func (v *visit) answer() []Site {
	all := make([]Site, len(v.sites))
	for i, s := range v.sites {
		all[i] = *s
	}
	return all
}

// fault notes an error as a fault of the site. What JSON services answer to a
// caller whose Region is not enabled is UnrecognizedClientException, what query
// services answer InvalidClientTokenId; AWS documents neither for that case, so
// the sentence leaves the other reading open.
func (s *Site) fault(err error) {
	text := cloud.Reason(err)
	if cloud.Is(err, "UnrecognizedClientException", "InvalidClientTokenId", "OptInRequired") {
		text = fmt.Sprintf("%s does not know sessions of account %s: is the Region enabled there? Enable it, or take it out of the baseline (%s)",
			s.Region, s.Account, text)
	}
	s.Faults = append(s.Faults, text)
}

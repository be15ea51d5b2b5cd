package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/health"
)

// build is what a function is made of: the version of its code and the SHA-256
// of its baseline.
type build struct{ version, baseline string }

func (b build) String() string {
	return fmt.Sprintf("version %s, baseline %.12s", b.version, b.baseline)
}

// members has the health function look at every account and Region, of so many
// accounts at a time as it can look at in one invocation. Where the
// organization's accounts can't be listed here, the function lists them itself.
func (d *doctor) members(context.Context) finding {
	chunks := slices.Collect(slices.Chunk(d.accounts, accountsAtOnce))
	if len(chunks) == 0 {
		chunks = [][]string{nil}
	}
	var sites []health.Site
	for _, accounts := range chunks {
		a, err := askHealth(d.cmd, d.cfg, health.Request{Command: health.Look, Accounts: accounts})
		if err == nil {
			d.told[deployment.Health] = build{a.Version, a.Baseline}
			err = nothingSeen(d.cmd, a)
		}
		if err != nil {
			return wrong("%s", strings.TrimPrefix(err.Error(), name(d.cmd)+": "))
		}
		sites = append(sites, a.Sites...)
	}
	return sitesFinding(sites)
}

func sitesFinding(sites []health.Site) finding {
	faulty := 0
	for _, s := range sites {
		if s.Wrong() {
			faulty++
		}
	}
	f := ok("%s, each an account in a Region: all as they must be", plural(len(sites), "site"))
	if faulty > 0 {
		f = wrong("%d of %s, each an account in a Region, not as it must be", faulty, plural(len(sites), "site")).
			mend("what the member stack makes (role, rules, queue) comes back by deploying it there again, in most accounts by the StackSet " +
				deployment.StackSet + "; a trail that logs is the organization's to make")
	}
	f.sites = sites
	return f
}

// siteFindings are the sites of a finding as findings of their own.
func siteFindings(f finding) []finding {
	var all []finding
	for _, s := range f.sites {
		one := ok("all is as it must be")
		if faults := siteFaults(s); len(faults) > 0 {
			one = wrong("%s", strings.Join(faults, "\n")).mend(f.Mend)
		}
		one.Check, one.Account, one.Region = "site", s.Account, s.Region
		all = append(all, one)
	}
	return all
}

// versions compares what the functions are made of with each other and with the
// command line.
func (d *doctor) versions(context.Context) finding {
	by := map[build][]string{}
	for _, domain := range slices.Sorted(maps.Keys(d.told)) {
		by[d.told[domain]] = append(by[d.told[domain]], deployment.Function(domain))
	}
	var differ []string
	for made, functions := range by {
		differ = append(differ, made.String()+": "+strings.Join(functions, ", "))
	}
	slices.Sort(differ)
	switch {
	case len(by) == 0:
		return wrong("no function has told its version").mend(deployAgain)
	case len(by) > 1:
		return wrong("the functions are not of one deployment:\n%s", strings.Join(differ, "\n")).
			mend("deploy Snapback's hub stack again: one deployment makes them all alike")
	}
	one := slices.Collect(maps.Keys(by))[0]
	if one.version != version {
		return note("%s: %s; the command line has version %s", plural(len(d.told), "function"), one, version)
	}
	return ok("%s: %s", plural(len(d.told), "function"), one)
}

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/health"
)

// siteRows is how many accounts the table of sites has at most, and likewise
// how many lines there are on what is wrong. Of very many the first ones tell
// why; the JSON has all.
const siteRows = 20

// siteTable is accounts by Regions.
type siteTable struct {
	accounts, regions []string
	at                map[[2]string]health.Site // by account and Region
}

func newSiteTable(sites []health.Site) siteTable {
	t := siteTable{at: map[[2]string]health.Site{}}
	for _, s := range sites {
		t.accounts = append(t.accounts, s.Account)
		t.regions = append(t.regions, s.Region)
		t.at[[2]string{s.Account, s.Region}] = s
	}
	for _, names := range []*[]string{&t.accounts, &t.regions} {
		slices.Sort(*names)
		*names = slices.Compact(*names)
	}
	return t
}

// word is a site in one word, empty where it was not looked at.
func (t siteTable) word(account, region string) string {
	s, ok := t.at[[2]string{account, region}]
	switch {
	case !ok:
		return "-"
	case len(s.Missing) > 0:
		return "MISSING"
	case s.Wrong():
		return "WRONG"
	}
	return "ok"
}

// wrongAccount and wrongRegion report whether one of its sites has a fault.
func (t siteTable) wrongAccount(account string) bool {
	return slices.ContainsFunc(t.regions, func(r string) bool { return t.at[[2]string{account, r}].Wrong() })
}

func (t siteTable) wrongRegion(region string) bool {
	return slices.ContainsFunc(t.accounts, func(a string) bool { return t.at[[2]string{a, region}].Wrong() })
}

// printSites prints a table of accounts and Regions, in which those without a
// fault are left out where it would be too large, and then what is wrong.
func printSites(w io.Writer, indent string, sites []health.Site) error {
	t := newSiteTable(sites)
	accounts, noAccounts := most(t.accounts, siteRows, t.wrongAccount)
	regions, noRegions := most(t.regions, t.fitting(len(indent)), t.wrongRegion)
	rows := [][]string{append([]string{indent + "ACCOUNT"}, regions...)}
	for _, a := range accounts {
		row := []string{indent + a}
		for _, r := range regions {
			row = append(row, t.word(a, r))
		}
		rows = append(rows, row)
	}
	if len(accounts) > 0 {
		if err := table(w, rows); err != nil {
			return err
		}
	}
	text := append(leftOut(noAccounts, noRegions), t.faults()...)
	for _, line := range text {
		line = strings.ReplaceAll(wrap(plain(line, 600), columns-len(indent)-2), "\n", "\n"+indent+"  ")
		if err := printf(w, "%s%s\n", indent, line); err != nil {
			return err
		}
	}
	return nil
}

// fitting is how many Regions a line of the table has room for.
func (t siteTable) fitting(indent int) int {
	const gap = 2
	width := len("MISSING")
	for _, r := range t.regions {
		width = max(width, len(r))
	}
	return max(1, (columns-indent-len("ACCOUNT NUMB"))/(width+gap))
}

// omitted counts the accounts or Regions that the table leaves out.
type omitted struct{ fine, wrong int }

// most chooses at most so many names: all, or, where there are more, the first
// of those with a fault.
func most(names []string, most int, wrong func(string) bool) ([]string, omitted) {
	if len(names) <= most {
		return names, omitted{}
	}
	shown := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !wrong(n) })
	out := omitted{fine: len(names) - len(shown), wrong: max(0, len(shown)-most)}
	return shown[:min(most, len(shown))], out
}

func leftOut(accounts, regions omitted) []string {
	var text []string
	for _, o := range []struct {
		what            string
		accounts, areas int
	}{
		{"without a fault", accounts.fine, regions.fine},
		{"with faults: --output json has them all", accounts.wrong, regions.wrong},
	} {
		var parts []string
		if o.accounts > 0 {
			parts = append(parts, plural(o.accounts, "account"))
		}
		if o.areas > 0 {
			parts = append(parts, plural(o.areas, "Region"))
		}
		if len(parts) > 0 {
			text = append(text, "not in the table: "+strings.Join(parts, " and ")+" "+o.what)
		}
	}
	return text
}

// faults tell what is wrong, of each account a fault that several Regions share
// only once.
func (t siteTable) faults() []string {
	var all []string
	for _, a := range t.accounts {
		var order []string
		where := map[string][]string{}
		for _, r := range t.regions {
			for _, f := range siteFaults(t.at[[2]string{a, r}]) {
				if where[f] == nil {
					order = append(order, f)
				}
				where[f] = append(where[f], r)
			}
		}
		for _, f := range order {
			place := strings.Join(where[f], ", ")
			if n := len(where[f]); n > 1 && n == len(t.regions) {
				place = "every Region"
			}
			all = append(all, a+" in "+place+": "+f)
		}
	}
	if more := len(all) - siteRows; more > 0 {
		all = append(all[:siteRows], fmt.Sprintf("and %d more: --output json has them all", more))
	}
	return all
}

// siteFaults says what is wrong with a site, in a sentence each.
func siteFaults(s health.Site) []string {
	var faults []string
	if len(s.Missing) > 0 {
		faults = append(faults, "the canary did not come back from "+strings.Join(s.Missing, ", "))
	}
	faults = append(faults, s.Faults...)
	if s.Undelivered > 0 {
		faults = append(faults, plural(s.Undelivered, "event")+" in "+deployment.Undelivered+": they could not be put on the hub's bus")
	}
	return faults
}

package network

import (
	"cmp"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
)

// private is the address space from which no packet of the internet comes: RFC
// 1918, RFC 6598 and RFC 4193.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
}

// parseRange reads a range of addresses. AWS returns each in one spelling, the
// canonical one (EC2 API reference, AuthorizeSecurityGroupIngress, CidrIp); what
// is no range is an error, since what can't be read can't be judged.
func parseRange(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("read the range %q of a security group rule: %w", text, err)
	}
	return p.Masked(), nil
}

// isPrivate reports whether all of a range is private.
func isPrivate(r netip.Prefix) bool {
	return slices.ContainsFunc(private, func(p netip.Prefix) bool { return r.Bits() >= p.Bits() && p.Contains(r.Addr()) })
}

// beyond finds the ranges, by their indexes, that have to go so that the others
// together hold no more addresses than one range of the given prefix length:
// the widest, as few as that takes. All are of one family. Of ranges of the same
// length, those with higher addresses go first.
func beyond(ranges []netip.Prefix, widest int) []int {
	narrowest := make([]int, len(ranges))
	for i := range narrowest {
		narrowest[i] = i
	}
	slices.SortStableFunc(narrowest, func(a, b int) int {
		return cmp.Or(cmp.Compare(ranges[b].Bits(), ranges[a].Bits()), ranges[a].Addr().Compare(ranges[b].Addr()))
	})
	held, sum := []netip.Prefix{}, new(big.Int)
	for i, at := range narrowest {
		r := ranges[at]
		// What overlaps is as narrow as r or narrower: it lies within r.
		held = slices.DeleteFunc(held, func(h netip.Prefix) bool {
			within := r.Overlaps(h)
			if within {
				sum.Sub(sum, addresses(h.Addr().BitLen(), h.Bits()))
			}
			return within
		})
		held = append(held, r)
		sum.Add(sum, addresses(r.Addr().BitLen(), r.Bits()))
		if sum.Cmp(addresses(r.Addr().BitLen(), widest)) > 0 {
			return narrowest[i:]
		}
	}
	return nil
}

// addresses is how many addresses a range of a prefix length holds, of addresses
// of so many bits.
func addresses(of, length int) *big.Int {
	return new(big.Int).Lsh(big.NewInt(1), uint(of-length))
}

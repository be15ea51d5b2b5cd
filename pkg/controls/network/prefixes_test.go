package network_test

import (
	"math/big"
	"net/netip"
	"slices"
	"testing"

	diff "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/snapback-aws/snapback/pkg/controls/network"
)

func TestRangesAreReadCanonically(t *testing.T) {
	for _, tt := range []struct {
		text, want string
		private    bool
	}{
		{"0.0.0.0/0", "0.0.0.0/0", false},
		{"100.68.0.18/18", "100.68.0.0/18", true},
		{"203.0.113.7/32", "203.0.113.7/32", false},
		{"10.255.255.255/9", "10.128.0.0/9", true},
		{"10.0.0.0/7", "10.0.0.0/7", false},
		{"11.0.0.0/8", "11.0.0.0/8", false},
		{"172.31.0.0/16", "172.31.0.0/16", true},
		{"2001:DB8:0::/32", "2001:db8::/32", false},
		{"::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104", false},
		{"fd00::1/8", "fd00::/8", true},
	} {
		got, err := network.ParseRange(tt.text)
		must(t, err)
		if got.String() != tt.want || network.IsPrivate(got) != tt.private {
			t.Errorf("%s is read as %s, private %t; want %s, %t", tt.text, got, network.IsPrivate(got), tt.want, tt.private)
		}
	}
}

// total is how many addresses ranges hold together, counted another way: as
// intervals, merged.
func total(ranges []netip.Prefix) *big.Int {
	type interval struct{ from, to *big.Int } // to is the first address after it
	var all []interval
	for _, r := range ranges {
		from := new(big.Int).SetBytes(r.Masked().Addr().AsSlice())
		size := new(big.Int).Lsh(big.NewInt(1), uint(r.Addr().BitLen()-r.Bits()))
		all = append(all, interval{from, new(big.Int).Add(from, size)})
	}
	slices.SortFunc(all, func(a, b interval) int { return a.from.Cmp(b.from) })
	sum, end := new(big.Int), new(big.Int)
	for _, i := range all {
		from := i.from
		if from.Cmp(end) < 0 {
			from = end
		}
		if i.to.Cmp(from) > 0 {
			sum.Add(sum, new(big.Int).Sub(i.to, from))
			end = i.to
		}
	}
	return sum
}

// ranges draws ranges of one family, close to each other, so that many overlap.
func ranges(t *rapid.T) (all []netip.Prefix, widest int) {
	bits := rapid.SampledFrom([]int{32, 128}).Draw(t, "bits")
	widest = rapid.IntRange(1, bits).Draw(t, "widest")
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix {
		address := make([]byte, bits/8)
		for i := range address {
			address[i] = rapid.SampledFrom([]byte{0, 0, 1, 64, 128, 192, 255}).Draw(t, "byte")
		}
		length := rapid.OneOf(rapid.IntRange(0, bits), rapid.IntRange(max(0, widest-3), min(bits, widest+3))).Draw(t, "length")
		a, _ := netip.AddrFromSlice(address)
		return netip.PrefixFrom(a, length).Masked()
	}), 0, 30).Draw(t, "ranges"), widest
}

func split(all []netip.Prefix, at []int) (stay, gone []netip.Prefix) {
	for i, r := range all {
		if slices.Contains(at, i) {
			gone = append(gone, r)
		} else {
			stay = append(stay, r)
		}
	}
	return stay, gone
}

func TestWidestRangesGoAndNoMoreThanThat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, widest := ranges(t)
		stay, gone := split(all, network.Beyond(all, widest))
		limit := new(big.Int)
		if len(all) > 0 {
			limit.Lsh(big.NewInt(1), uint(all[0].Addr().BitLen()-widest))
		}
		if total(stay).Cmp(limit) > 0 {
			t.Fatalf("%v stay, which is more than one range of /%d", stay, widest)
		}
		for _, g := range gone {
			for _, s := range stay {
				if s.Bits() < g.Bits() {
					t.Fatalf("%s goes and the wider %s stays", g, s)
				}
			}
			if wider := slices.ContainsFunc(gone, func(o netip.Prefix) bool {
				return o.Bits() > g.Bits() || o.Bits() == g.Bits() && o.Addr().Less(g.Addr())
			}); wider {
				continue
			}
			// It is the narrowest one that goes: with it, it would be too much.
			if total(append(slices.Clone(stay), g)).Cmp(limit) <= 0 {
				t.Fatalf("%s goes, and could stay beside %v under /%d", g, stay, widest)
			}
		}
	})
}

func TestOrderOfRangesDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, widest := ranges(t)
		shuffled := rapid.Permutation(all).Draw(t, "shuffled")
		_, gone := split(all, network.Beyond(all, widest))
		_, again := split(shuffled, network.Beyond(shuffled, widest))
		for _, of := range [][]netip.Prefix{gone, again} {
			slices.SortFunc(of, func(a, b netip.Prefix) int { return a.Compare(b) })
		}
		if d := diff.Diff(texts(gone), texts(again)); d != "" {
			t.Fatalf("another order, other ranges (-first +second):\n%s", d)
		}
	})
}

// Nobody gets around the limit by writing a range as its two halves.
func TestHalvesAreAsMuchAsTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, widest := ranges(t)
		if len(all) == 0 || all[0].IsSingleIP() {
			return
		}
		whole := all[0]
		address := whole.Addr().AsSlice()
		address[whole.Bits()/8] |= 0x80 >> (whole.Bits() % 8)
		upper, _ := netip.AddrFromSlice(address)
		halves := append([]netip.Prefix{netip.PrefixFrom(whole.Addr(), whole.Bits()+1), netip.PrefixFrom(upper, whole.Bits()+1)}, all[1:]...)
		if got, want := len(network.Beyond(halves, widest)) > 0, len(network.Beyond(all, widest)) > 0; got != want {
			t.Fatalf("%v is too much: %t; %v: %t", halves, got, all, want)
		}
	})
}

func texts(of []netip.Prefix) []string {
	var all []string
	for _, p := range of {
		all = append(all, p.String())
	}
	return all
}

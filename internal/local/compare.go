package local

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/snapback-aws/snapback/pkg/event"
)

// Comparison is our matcher and EventBridge's, pattern by pattern and event by
// event.
type Comparison struct {
	Patterns []event.Pattern
	Events   [][]byte // EventBridge envelopes
	// Variations is how many random variations of the events are compared too;
	// Seed tells which.
	Variations int
	Seed       uint64
}

// Tally counts the pairs of pattern and event that were compared.
type Tally struct {
	Match, NoMatch int // of the variations
	Refused        int // variations that are no events to us: none was compared
}

// Disagreement is a pair on which the two matchers differ.
type Disagreement struct {
	Pattern, Event string
	Ours, AWS      bool
}

// String shows the pair and both verdicts.
func (d Disagreement) String() string {
	return fmt.Sprintf("pattern %s\nevent   %s\nours %t, EventBridge %t", d.Pattern, d.Event, d.Ours, d.AWS)
}

// Compare asks both matchers about every pattern with every event, and about
// the variations, each with the pattern that its event matches. An error says
// that either of them refused a pattern or one of the events.
func (r *Ruler) Compare(c Comparison) (Tally, []Disagreement, error) {
	var tally Tally
	var differ []Disagreement
	var pairs []pair
	for _, data := range c.Events {
		e, err := event.Decode(data)
		if err != nil {
			return tally, nil, fmt.Errorf("decode %s: %w", data, err)
		}
		for _, p := range c.Patterns {
			aws, err := r.Match(p.String(), string(data))
			if err != nil {
				return tally, nil, fmt.Errorf("compare pattern %s with event %s: %w", p, data, err)
			}
			if ours := p.Matcher().Match(e); ours != aws {
				differ = append(differ, Disagreement{p.String(), string(data), ours, aws})
			}
			if aws {
				as, elsewhere := pair{p, data}, pair{p, data}.fromElsewhere()
				pairs = append(pairs, as, elsewhere, elsewhere, elsewhere)
			}
		}
	}
	if c.Variations > 0 && len(pairs) == 0 {
		return tally, differ, fmt.Errorf("no event matches any pattern: there is nothing to vary")
	}
	random := rand.New(rand.NewPCG(c.Seed, 0))
	for range c.Variations {
		d, err := r.vary(random, pairs[random.IntN(len(pairs))], &tally)
		if err != nil {
			return tally, differ, err
		}
		if d != nil {
			differ = append(differ, *d)
		}
	}
	return tally, differ, nil
}

func (r *Ruler) vary(random *rand.Rand, p pair, tally *Tally) (*Disagreement, error) {
	data := vary(random, p.event, p.names())
	e, err := event.Decode(data)
	if err != nil {
		tally.Refused++
		return nil, nil //nolint:nilnil // Neither a disagreement nor a fault.
	}
	aws, err := r.Match(p.pattern.String(), string(data))
	if err != nil {
		return nil, fmt.Errorf("compare pattern %s with event %s: %w", p.pattern, data, err)
	}
	if aws {
		tally.Match++
	} else {
		tally.NoMatch++
	}
	if ours := p.pattern.Matcher().Match(e); ours != aws {
		return &Disagreement{p.pattern.String(), string(data), ours, aws}, nil
	}
	return nil, nil //nolint:nilnil // They agree.
}

// pair is a pattern and an event that it matches.
type pair struct {
	pattern event.Pattern
	event   []byte
}

// fromElsewhere is the same pair for a source that is not AWS. Decoding asks
// nothing of such an event's detail, so that it may be varied at will.
func (p pair) fromElsewhere() pair {
	const aws, elsewhere = "aws.", "elsewhere."
	rename := func(fields []event.Field) []event.Field {
		var renamed []event.Field
		for _, f := range fields {
			if f.Path == "source" {
				values := make([]string, len(f.Values))
				for i, v := range f.Values {
					values[i] = strings.Replace(v, aws, elsewhere, 1)
				}
				f.Values = values
			}
			renamed = append(renamed, f)
		}
		return renamed
	}
	other := event.Pattern{Fields: rename(p.pattern.Fields)}
	for _, alternative := range p.pattern.Or {
		other.Or = append(other.Or, rename(alternative))
	}
	return pair{other, setSource(p.event, func(source string) string { return strings.Replace(source, aws, elsewhere, 1) })}
}

// names are the keys that the pattern asks about.
func (p pair) names() map[string]bool {
	names := map[string]bool{}
	for _, fields := range append([][]event.Field{p.pattern.Fields}, p.pattern.Or...) {
		for _, f := range fields {
			for name := range strings.SplitSeq(f.Path, ".") {
				names[name] = true
			}
		}
	}
	return names
}

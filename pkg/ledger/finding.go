package ledger

import (
	"slices"
	"time"
)

// Finding is what a case keeps of a GuardDuty finding. Its texts come from the
// event: they are shown, and nothing is decided by them.
type Finding struct {
	ID       string  `json:"id"`
	ARN      string  `json:"arn,omitempty"`
	Type     string  `json:"type"`
	Title    string  `json:"title,omitempty"`
	Severity float64 `json:"severity"` // 1.0 to 10.0
	Count    int64   `json:"count"`    // how often the activity was seen
	// Role is that of the resource: "ACTOR", "TARGET" or empty.
	Role string `json:"role,omitempty"`
	// Resource says in a line what the finding is about.
	Resource string `json:"resource,omitempty"`
	// Remotes are the addresses on the other side, Ports the resource's own ports.
	Remotes []string  `json:"remotes,omitempty"`
	Ports   []int     `json:"ports,omitempty"`
	First   time.Time `json:"first,omitempty,omitzero"` // when the activity was seen
	Last    time.Time `json:"last,omitempty,omitzero"`
}

// maxFindings bounds the findings that one case keeps.
const maxFindings = 50

// Threat reports whether the case is about a threat, and not a resource that has
// left the baseline.
func (c *Case) Threat() bool { return c.Runbook || len(c.Findings) > 0 }

// Saw adds a finding to the case, or what is new about one that it has: seen
// again, or rated higher. It reports whether anything is, and whether findings
// of its type are new to the case.
func (c *Case) Saw(f Finding) (more, newType bool) {
	newType = !slices.ContainsFunc(c.Findings, func(had Finding) bool { return had.Type == f.Type })
	i := slices.IndexFunc(c.Findings, func(had Finding) bool { return had.ID == f.ID })
	switch {
	case i < 0 && len(c.Findings) >= maxFindings:
		return false, false
	case i < 0:
		c.Findings = append(c.Findings, f)
		return true, newType
	case f.Count > c.Findings[i].Count || f.Severity > c.Findings[i].Severity:
		c.Findings[i] = f
		return true, false
	}
	return false, false
}

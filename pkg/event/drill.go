package event

import (
	"fmt"
	"regexp"

	"github.com/tidwall/gjson"
)

// The source and detail type of a drill: the canary event that is put on the
// default bus of every member, to see that it comes back.
const (
	DrillSource = "snapback"
	DrillType   = "Snapback Drill"
)

// Drills is the pattern of drills.
func Drills() Pattern {
	return Pattern{Fields: []Field{
		{"source", []string{DrillSource}},
		{"detail-type", []string{DrillType}},
	}}
}

// Canary is the event of a drill. Whoever may put events on a bus of the
// organization can send one: all that is known is that it came from the account
// and Region of its envelope, which EventBridge itself fills in.
type Canary struct {
	Drill string // its ID: "20261122-0123abcd"
}

func (*Canary) account() string { return "" }
func (*Canary) dismiss() string { return "it is a drill's canary, which concerns no resource" }

// drillID is what the ledger's IDs look like.
var drillID = regexp.MustCompile(`^\d{8}-[0-9a-z]{8}$`)

func decodeCanary(e *Event, detail gjson.Result) (Detail, error) {
	if !regionName.MatchString(e.Region) {
		return nil, &FieldError{"region", fmt.Sprintf("is %.40q, no Region", e.Region)}
	}
	id, err := text(detail, "drill")
	if err != nil {
		return nil, err
	}
	if !drillID.MatchString(id) {
		return nil, &FieldError{"detail.drill", fmt.Sprintf("is %.40q, not the ID of a drill", id)}
	}
	return &Canary{Drill: id}, nil
}

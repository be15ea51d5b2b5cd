package event

import "github.com/tidwall/gjson"

// Finding is a GuardDuty finding.
type Finding struct {
	ID           string
	Type         string // "CryptoCurrency:EC2/BitcoinTool.B!DNS"
	Account      string // the member the finding is about
	Region       string
	Severity     float64 // 1.0 to 10.0
	ResourceType string  // empty for attack sequences
	Title        string
	// Sample findings are drills; archived ones were dealt with.
	Sample, Archived bool
	// Count is how often the same activity was seen.
	Count int64

	detail gjson.Result
}

func (f *Finding) account() string { return f.Account }

func (f *Finding) dismiss() string {
	if f.Archived {
		return "the finding is archived"
	}
	return ""
}

// Get reads the finding by a path in the syntax of gjson:
// "resource.instanceDetails.instanceId".
func (f *Finding) Get(path string) gjson.Result { return f.detail.Get(path) }

func decodeFinding(detail gjson.Result) (*Finding, error) {
	f := &Finding{
		Severity:     detail.Get("severity").Float(),
		ResourceType: detail.Get("resource.resourceType").String(),
		Title:        detail.Get("title").String(),
		Sample:       sample(detail.Get("service.additionalInfo")),
		Archived:     detail.Get("service.archived").Bool(),
		Count:        detail.Get("service.count").Int(),
		detail:       detail,
	}
	var err error
	if f.Account, err = accountAt(detail, "accountId"); err != nil {
		return nil, err
	}
	for _, field := range []struct {
		path string
		to   *string
	}{{"id", &f.ID}, {"type", &f.Type}, {"region", &f.Region}} {
		if *field.to, err = text(detail, field.path); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// sample reads service.additionalInfo.sample. Newer findings carry the same
// information a second time as JSON text in additionalInfo.value.
func sample(info gjson.Result) bool {
	return info.Get("sample").Bool() || gjson.Get(info.Get("value").String(), "sample").Bool()
}

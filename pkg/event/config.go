package event

import (
	"fmt"

	"github.com/tidwall/gjson"
)

// Resource is the resource that an AWS Config event is about.
type Resource struct {
	Account string
	Region  string
	Type    string // "AWS::S3::Bucket"
	ID      string // a name for some types, a unique ID for others
	Name    string // resourceName, where Config gives one
}

func (r Resource) account() string { return r.Account }

// Item is AWS Config's news that a resource has changed: the whole item, or
// the summary of one too large for an event. Its configuration is not read:
// live state decides.
type Item struct {
	Resource
	// Status is OK, ResourceDiscovered, ResourceDeleted, …
	Status string
	// Oversized is set if the event carried a summary alone.
	Oversized bool
}

func (i *Item) dismiss() string { return "" }

// Compliance is AWS Config's news that a rule changed its verdict on a resource.
type Compliance struct {
	Resource
	Rule string
	// Verdict is COMPLIANT, NON_COMPLIANT, NOT_APPLICABLE or INSUFFICIENT_DATA;
	// empty if the rule no longer evaluates the resource.
	Verdict string
}

func (c *Compliance) dismiss() string {
	if c.Verdict == NonCompliant {
		return ""
	}
	return fmt.Sprintf("AWS Config's verdict is %.40q", c.Verdict)
}

// NonCompliant is the verdict of AWS Config that is a reason to look.
const NonCompliant = "NON_COMPLIANT"

func decodeItem(detail gjson.Result) (*Item, error) {
	at := "configurationItem."
	oversized := !detail.Get("configurationItem").IsObject()
	if oversized {
		at = "configurationItemSummary."
	}
	r, err := decodeResource(detail, at+"awsAccountId", at+"awsRegion", at+"resourceType", at+"resourceId")
	if err != nil {
		return nil, err
	}
	r.Name = detail.Get(at + "resourceName").String()
	return &Item{Resource: r, Status: detail.Get(at + "configurationItemStatus").String(), Oversized: oversized}, nil
}

func decodeCompliance(detail gjson.Result) (*Compliance, error) {
	r, err := decodeResource(detail, "awsAccountId", "awsRegion", "resourceType", "resourceId")
	if err != nil {
		return nil, err
	}
	return &Compliance{
		Resource: r,
		Rule:     detail.Get("configRuleName").String(),
		Verdict:  detail.Get("newEvaluationResult.complianceType").String(),
	}, nil
}

func decodeResource(detail gjson.Result, account, region, typ, id string) (r Resource, err error) {
	if r.Account, err = accountAt(detail, account); err != nil {
		return r, err
	}
	for _, f := range []struct {
		path string
		to   *string
	}{{region, &r.Region}, {typ, &r.Type}, {id, &r.ID}} {
		if *f.to, err = text(detail, f.path); err != nil {
			return r, err
		}
	}
	return r, nil
}

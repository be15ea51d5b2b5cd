package control

import (
	"cmp"
	"strings"

	"github.com/snapback-aws/snapback/pkg/cloud"
)

// Names reports whether an ARN names a resource of the type.
func (r *Resource) Names(arn string) bool {
	fields := strings.SplitN(arn, ":", 6) // arn:partition:service:region:account:resource
	if len(fields) != 6 || fields[0] != "arn" {
		return false
	}
	// How a target's ARN is made is the type's own: it is asked for that of an ID that
	// can be told apart, of the same account and Region, to see what stands around
	// an ID. Where the ARN names no Region, one of the partition will do.
	const id = "\x00"
	t := Target{Account: fields[4], Region: fields[3], Type: r.Type, ID: id}
	if t.Region == "" {
		t.Region = cloud.AnyRegion(fields[1])
	}
	head, tail, ok := strings.Cut(r.ARN(t), id)
	if !ok {
		return head == arn
	}
	rest, starts := strings.CutPrefix(arn, head)
	found, ends := strings.CutSuffix(rest, tail)
	return starts && ends && r.IDs.MatchString(found)
}

// Example is the ARN of a resource of the type, to show its form.
func (r *Resource) Example() string {
	// The account of AWS's own examples.
	return r.ARN(Target{Account: "111122223333", Region: "us-east-1", Type: r.Type, ID: cmp.Or(r.Sample, "NAME")})
}

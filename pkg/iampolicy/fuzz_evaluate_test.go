package iampolicy_test

import (
	"testing"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// Whatever a document says, no question about it fails, and what reaches is never
// less than what may.
func FuzzEvaluate(f *testing.F) {
	for _, text := range []string{
		everything,
		large(),
		`{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "NotAction": "iam:?*", "NotResource": "arn:*:${aws:username, 'x'}${*}${", "Condition": {"ForAllValues:StringNotLikeIfExists": {"aws:userid": ["*?é", "${"]}}}]}`,
		`{"Statement": {"Effect": "Allow", "NotPrincipal": {"AWS": ["*", "x:y"], "Federated": ":"}, "Action": "*", "Condition": {"IpAddress": {"aws:SourceIp": ["1/2", "::/0"]}, "ArnLike": {"aws:SourceArn": ["::::::", ":"]}, "Null": {":": []}}}}`,
		`{"Statement": [{"Effect": "Allow", "Principal": {"Federated": "gitlab.com"}, "Action": "sts:*", "Condition": {"StringLike": {"gitlab.com:sub": "*:"}}}, {"Effect": "Deny", "Principal": "*", "NotAction": "*", "Condition": {"NumericNotEquals": {"n": "NaN"}, "DateLessThan": {"d": "0"}}}]}`,
	} {
		f.Add(text, "iam:Pass*", "arn:aws:iam::222222222222:role/*")
	}
	f.Add(everything, "*\xfa?", "arn:aws:iam::\xf8")
	f.Fuzz(func(t *testing.T, text, action, resource string) {
		d, err := iampolicy.Parse(text)
		if err != nil {
			return
		}
		for _, p := range []*iampolicy.Principal{
			{ARN: alice, Type: iampolicy.User, Tags: map[string]string{"a": "b"}},
			{ARN: app, Type: iampolicy.Role, Trust: d, Boundary: &iampolicy.Policy{Document: d}},
			{ARN: action, Type: iampolicy.Group},
		} {
			p.Policies = []iampolicy.Policy{{Document: d}}
			known := iampolicy.Context{"n": {"1"}, "d": {}, "aws:sourceip": {resource}}
			may := p.May(action, resource, known)
			if reaches := p.Reaches(action, resource, known); reaches < may {
				t.Errorf("may %v, reaches %v", may, reaches)
			}
			p.Admin()
		}
		_, by := d.Admin()
		for _, i := range by {
			if d.Statements[i].Effect != iampolicy.Allow {
				t.Errorf("statement %d makes it administrative", i)
			}
		}
		d.Openings(ours)
		d.Openings(iampolicy.Organization{})
	})
}

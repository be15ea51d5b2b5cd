package iampolicy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// large is a policy of 10 KiB, as large as the inline policies of a role may be
// ("IAM and AWS STS quotas"), of which nothing allows what is asked but the last
// statement.
func large() string {
	var b strings.Builder
	b.WriteString(`{"Version": "2012-10-17", "Statement": [`)
	for i := 0; b.Len() < 10<<10-300; i++ {
		fmt.Fprintf(&b, `{"Sid": "S%d", "Effect": "Allow", "Action": ["s3:Get*", "s3:*Object", "iam:Pass*"], "Resource": ["arn:aws:s3:::bucket-%d/${aws:username}/*", "arn:aws:iam::*:role/app-%d/*"], "Condition": {"StringEquals": {"aws:PrincipalTag/team": "t%d"}}},`, i, i, i, i)
	}
	b.WriteString(`{"Effect": "Deny", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/admin*"}, {"Effect": "Allow", "Action": ["iam:PassRole", "lambda:*"], "Resource": "arn:aws:iam::222222222222:role/*"}]}`)
	return b.String()
}

func BenchmarkEvaluate(b *testing.B) {
	text := large()
	p := principal(b, "user/alice", text)
	p.Tags = map[string]string{"team": "blue"}
	document := p.Policies[0].Document
	for name, evaluate := range map[string]func() iampolicy.Answer{
		"may":      func() iampolicy.Answer { return p.May("iam:PassRole", app, nil) },
		"reaches":  func() iampolicy.Answer { return p.Reaches("iam:PassRole", anyRole, nil) },
		"admin":    func() iampolicy.Answer { return p.Admin() + 1 },
		"openings": func() iampolicy.Answer { return iampolicy.Answer(len(document.Openings(ours)) + 1) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if evaluate() == iampolicy.No {
					b.Fatal("no")
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "documents/s")
			b.ReportMetric(float64(len(document.Statements)), "statements")
		})
	}
}

// Statements that are not about the action and resource cost no memory.
func TestAskingCostsAHandfulOfAllocations(t *testing.T) {
	p := principal(t, "user/alice", large())
	p.Tags = map[string]string{"team": "blue"}
	got := testing.AllocsPerRun(10, func() { p.May("lambda:CreateFunction", app, nil) })
	if got > 5 {
		t.Errorf("%v allocations for %d statements", got, len(p.Policies[0].Document.Statements))
	}
}

package iampolicy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// tenKiB is an identity policy of about the length that an inline policy of a
// role may have: 10,240 characters.
func tenKiB() string {
	var b strings.Builder
	b.WriteString("{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [")
	for i := 0; b.Len() < 10<<10-500; i++ {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `
    {
      "Sid": "Statement%d",
      "Effect": "Allow",
      "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "kms:Decrypt"],
      "Resource": ["arn:aws:s3:::example-%[1]d", "arn:aws:s3:::example-%[1]d/${aws:username}/*"],
      "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-example1234"}, "Bool": {"aws:SecureTransport": "true"}}
    }`, i)
	}
	b.WriteString("\n  ]\n}\n")
	return b.String()
}

// BenchmarkParse reads a policy of 10 KiB.
func BenchmarkParse(b *testing.B) {
	text := tenKiB()
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := iampolicy.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "documents/s")
}

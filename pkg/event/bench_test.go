package event_test

import (
	"testing"

	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/event"
)

// BenchmarkIrrelevant is what an event costs that ends without a call: decode
// it and ask every control for its targets. The goal is 50 µs.
func BenchmarkIrrelevant(b *testing.B) {
	all := controls.All()
	for _, bm := range []struct {
		name   string
		data   []byte
		decode func([]byte) (*event.Event, error)
	}{
		{"failed", read(b, samples, "cloudtrail/s3-put-bucket-public-access-block-failed.json"), event.Decode},
		{"read-only", read(b, samples, "cloudtrail/s3-get-bucket-acl.json"), event.Decode},
		{"no-target", read(b, samples, "cloudtrail/signin-console-login.json"), event.Decode},
		{"no-target-record", read(b, "testdata", "records", "root-sign-in-mfa.json"), event.DecodeAny},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bm.data)))
			for b.Loop() {
				e, err := bm.decode(bm.data)
				if err != nil {
					b.Fatal(err)
				}
				for i := range all {
					if targets := all[i].Targets(e); len(targets) > 0 {
						b.Fatalf("control %s finds %v", all[i].ID, targets)
					}
				}
			}
		})
	}
}

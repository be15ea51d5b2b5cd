package local_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
)

func TestCallerIsTheOneWhoSigned(t *testing.T) {
	a := local.StartTestAWS(t)
	const undo = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae" // the hash of a command
	for _, account := range []string{"111111111111", "333333333333"} {
		ctx, recorder := cloud.Record(t.Context())
		proof, err := cloud.Prove(ctx, a.Config(account), undo)
		must(t, err)
		if proof.SecurityToken == "" {
			t.Error("the proof of a role's session lacks its token")
		}
		for _, c := range recorder.Calls() {
			if c.Name() == "STS.GetCallerIdentity" {
				t.Errorf("recorded a call that was not made: %+v", c)
			}
		}
		ctx, recorder = cloud.Record(t.Context())
		got, err := cloud.Identify(ctx, a.Config("222222222222"), proof, undo)
		must(t, err)
		want := cloud.Caller{ARN: "arn:aws:sts::" + account + ":assumed-role/local/local", Account: account, UserID: got.UserID}
		if got != want || !strings.HasSuffix(got.UserID, ":local") {
			t.Errorf("got caller %+v, want %+v", got, want)
		}
		calls := []cloud.Call{{Service: "STS", Operation: "GetCallerIdentity", Outcome: "ok", Attempts: 1}}
		if diff := cmp.Diff(calls, recorder.Calls(), cmpopts.IgnoreFields(cloud.Call{}, "Start", "End")); diff != "" {
			t.Errorf("calls differ (-want +got):\n%s", diff)
		}
	}
}

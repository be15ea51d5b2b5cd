package deployment_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// As EventBridge has the rules of an account.
func deployedRules(t *testing.T, account string) map[string]string {
	t.Helper()
	rules := map[string]string{}
	for _, r := range deployment.Forwarding(controls.Domains()) {
		var pattern map[string]any
		if err := json.Unmarshal([]byte(r.Pattern.String()), &pattern); err != nil {
			t.Fatal(err)
		}
		pattern["account"] = []string{account}
		text, err := json.MarshalIndent(pattern, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		rules[deployment.Rule(r.Name)] = string(text)
	}
	return rules
}

func TestAFingerprintNoticesWhatIsNotAsItWasDeployed(t *testing.T) {
	const account = "222222222222"
	want := deployment.Fingerprint(deployment.Forwarding(controls.Domains()))
	if got, err := deployment.FingerprintOf(account, deployedRules(t, account)); err != nil || got != want || len(want) != 12 {
		t.Errorf("rules as they were deployed: %s, %v, want %s", got, err, want)
	}
	for name, edit := range map[string]func(map[string]string){
		"one call less": func(r map[string]string) {
			r["snapback-s3"] = strings.Replace(r["snapback-s3"], "PutBucketPolicy", "GetBucketPolicy", 1)
		},
		"no rule":            func(r map[string]string) { delete(r, "snapback-iam") },
		"another rule":       func(r map[string]string) { r["snapback-more"] = r["snapback-iam"] },
		"another's patterns": func(r map[string]string) { r["snapback-s3"] = r["snapback-iam"] },
		"another account": func(r map[string]string) {
			r["snapback-s3"] = strings.Replace(r["snapback-s3"], account, "333333333333", 1)
		},
		"two accounts": func(r map[string]string) {
			r["snapback-s3"] = strings.Replace(r["snapback-s3"], `"`+account+`"`, `"`+account+`", "333333333333"`, 1)
		},
		"no pattern": func(r map[string]string) { r["snapback-s3"] = "" },
	} {
		rules := deployedRules(t, account)
		edit(rules)
		if got, err := deployment.FingerprintOf(account, rules); err == nil && got == want {
			t.Errorf("%s is not noticed", name)
		}
	}
}

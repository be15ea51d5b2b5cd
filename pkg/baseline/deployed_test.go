package baseline_test

import (
	"testing"
	"time"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
)

const deployedFile = `version: 1
reviewed: 2020-01-01
organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}
mode: enforce
controls:
  iam-of-another-domain: {mode: "off", params: {max-age-days: 90}}
runbooks:
  ec2-of-another-domain: {mode: enforce, params: {untrack: true}}
overrides:
  - {match: {accounts: ["333333333333"]}, runbooks: ["iam-*"], mode: off}
protected: {resources: ["arn:aws:s3:eu-west-1:222222222222:accesspoint/web"]}
limits: {exemption-days: 30}
exemptions:
  - {control: s3-bucket-public-access, resource: "arn:aws:s3:::web", reason: site, owner: web, expires: 9999-12-31}
  - {control: s3-bucket-public-access, resource: "arn:aws:s3:::www", reason: site, owner: web, expires: 2020-02-01}
`

// A function must not stop working because time goes by, or because its own
// domain knows only its own controls.
func TestParseDeployedTakesWhatParseCheckedAtDeployment(t *testing.T) {
	own := control.Domain{Name: "test", Controls: testControls()[:1]}
	if b, _ := baseline.Parse("baseline.yaml", []byte(deployedFile), []control.Domain{own}, time.Now()); b != nil {
		t.Fatal("Parse finds no fault: the file does not test what it should")
	}
	b, problems := baseline.ParseDeployed("baseline.yaml", []byte(deployedFile), own)
	if b == nil || len(problems) > 0 {
		t.Fatal(problems)
	}
	d := b.Decide(baseline.Facts{Control: "s3-bucket-public-access", Account: "222222222222", ARN: "arn:aws:s3:::www", Now: time.Now()})
	if d.Mode != baseline.Enforce || d.Exemption != nil {
		t.Errorf("an exemption that has ended decides: %+v", d)
	}
	if b, _ := baseline.ParseDeployed("baseline.yaml", []byte("mode: sometimes"), own); b != nil {
		t.Error("a faulty file is taken")
	}
}

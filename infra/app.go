package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// input is what the templates are made from.
type input struct {
	baseline *baseline.Baseline
	domains  []control.Domain // all that there are; those that are on are deployed
	version  string           // of Snapback
	zips     string           // the folder of <function>.zip
	out      string           // the folder of the cloud assembly
}

// run reads what there is to deploy and makes its templates. JavaScript, in which
// CDK is written, starts only once everything is found right.
func run(getenv func(string) string, stdout, stderr io.Writer) error {
	in, err := read(getenv, stderr)
	if err != nil {
		return err
	}
	quiet()
	if err := synth(in); err != nil {
		return err
	}
	return in.tell(stdout)
}

// tell lists the templates that were made, and where each is to go.
func (in input) tell(stdout io.Writer) error {
	o := in.baseline.Organization
	hub := o.Hub.Account + " " + o.Hub.Region
	made := [][2]string{
		{deployment.LedgerStack, hub},
		{deployment.HubStack, hub},
		{filepath.Join("member", deployment.StackSet), "every account of " + o.Root + ", " + strings.Join(in.homeFirst(), " ")},
	}
	for _, region := range in.homeFirst() {
		made = append(made, [2]string{deployment.StackSet + "-" + region, o.Management + " " + region})
	}
	if in.baseline.Deployment.Guardrails != nil {
		made = append(made, [2]string{deployment.Guardrails, o.Management + " " + organizationsRegion(o.Hub.Region)})
	}
	fmt.Fprintf(stdout, "%s holds the templates of Snapback %s with baseline %.12s:\n", in.out, in.version, in.baseline.Digest)
	for _, m := range made {
		file := m[0] + ".template.json"
		template, err := os.Stat(filepath.Join(in.out, file))
		if err != nil {
			return fmt.Errorf("look at the templates: %w", err)
		}
		fmt.Fprintf(stdout, "  %-42s %8d bytes  for %s\n", file, template.Size(), m[1])
	}
	return nil
}

// synth makes the templates: those of the hub, that of its members, and those of
// the management account, which no StackSet with service-managed permissions
// reaches (CloudFormation user guide, "StackSets concepts").
func synth(in input) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("make the templates: %s", told(p))
		}
	}()
	member, err := makeMember(in)
	if err != nil {
		return err
	}
	app := newApp(in.out)
	ledger := newLedger(app, in)
	newHub(app, in, member).AddStackDependency(ledger, jsii.String("the ledger is there before what writes to it"))
	newManagement(app, in, member)
	if in.baseline.Deployment.Guardrails != nil {
		newGuardrails(app, in)
	}
	app.Synth(nil)
	return nil
}

// newManagement makes the member stacks of the management account, one for each
// Region.
func newManagement(app constructs.Construct, in input, member memberTemplate) {
	for _, region := range in.homeFirst() {
		newMember(app, deployment.StackSet+"-"+region, in, member.digest, &awscdk.Environment{
			Account: jsii.String(in.baseline.Organization.Management), Region: jsii.String(region),
		})
	}
}

// homeFirst are the governed Regions, that of the hub first.
func (in input) homeFirst() []string {
	home := in.baseline.Organization.Hub.Region
	regions := []string{home}
	for _, r := range in.baseline.Organization.Regions {
		if r != home {
			regions = append(regions, r)
		}
	}
	return regions
}

// newHubStack makes an empty stack in the hub's account and Region. Both are
// written out, so that nothing is looked up in an account.
func newHubStack(scope constructs.Construct, name, description string, in input, protected bool) awscdk.Stack {
	hub := in.baseline.Organization.Hub
	return awscdk.NewStack(scope, jsii.String(name), &awscdk.StackProps{
		Env:                   &awscdk.Environment{Account: jsii.String(hub.Account), Region: jsii.String(hub.Region)},
		Description:           jsii.String(description),
		TerminationProtection: jsii.Bool(protected),
		AnalyticsReporting:    jsii.Bool(false),
		Synthesizer: awscdk.NewDefaultStackSynthesizer(&awscdk.DefaultStackSynthesizerProps{
			// The CDK command line checks the version of the bootstrap stack by itself.
			GenerateBootstrapVersionRule: jsii.Bool(false),
		}),
	})
}

// quiet keeps jsii, which runs CDK in Node.js, from printing a banner about that
// Node.js: whoever runs `make synth` can't mend it, and what breaks says so.
//
// It comes before anything is made. By then jsii has set the process up, though not
// started it, with the environment that there was: that one is given up.
func quiet() {
	for name, value := range map[string]string{
		"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20,22,24", // by major version
		"JSII_SILENCE_WARNING_DEPRECATED_NODE_VERSION":  "1",
		"JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION":    "1",
	} {
		if os.Getenv(name) == "" {
			_ = os.Setenv(name, value) // at worst there is a banner
		}
	}
	jsii.Close()
}

// stop ends the process of jsii, the last thing to do. jsii waits for it in two
// places, and says on stderr that the process is gone in the second: nobody is to
// read that.
func stop() {
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stderr = null
	}
	jsii.Close()
}

// told is what jsii panicked with, in one line. A fault of this program itself
// stays a panic.
func told(panicked any) string {
	if fault, ok := panicked.(runtime.Error); ok {
		panic(fault)
	}
	return strings.Join(strings.FieldsFunc(fmt.Sprint(panicked), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

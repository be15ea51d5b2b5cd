package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// Where things are, from the folder of the module: make and the CDK command line
// both start the program there.
const (
	defaultBaseline = "baseline.yaml"
	defaultOut      = "build/cdk"
	zips            = "build/arm64"
)

// read reads what the templates are made from, and prints what is to be thought
// over. What is wrong or missing is all reported at once, a line each.
func read(getenv func(string) string, stderr io.Writer) (input, error) {
	in := input{
		domains: controls.Domains(),
		version: cmp.Or(getenv("SNAPBACK_VERSION"), "dev"),
		zips:    zips,
		out:     cmp.Or(getenv("CDK_OUTDIR"), defaultOut), // the CDK command line sets it
	}
	file := cmp.Or(getenv("SNAPBACK_BASELINE"), defaultBaseline)
	data, err := os.ReadFile(file)
	if err != nil {
		return in, fmt.Errorf("read the baseline: %w", err)
	}
	b, problems := baseline.Parse(file, data, in.domains, time.Now())
	if b == nil {
		return in, problems
	}
	for _, p := range problems { // warnings alone
		fmt.Fprintln(stderr, p)
	}
	in.baseline = b
	if faults := slices.Concat(in.lacks(), in.stale(data)); len(faults) > 0 {
		return in, errors.New(strings.Join(faults, "\n"))
	}
	return in, nil
}

// lacks says what a deployment needs of the baseline that the functions can do
// without.
func (in input) lacks() []string {
	b, o := in.baseline, in.baseline.Organization
	var faults []string
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Sprintf("%s:%d: %s", b.File, o.Line, fmt.Sprintf(format, args...)))
	}
	if o.Root == "" {
		fault("organization lacks root: write root: r-ab12, which `aws organizations list-roots` shows as Id")
	}
	if o.Management == "" {
		fault("organization lacks management: write the management account's number in quotes, as in management: \"000000000000\", " +
			"which `aws organizations describe-organization` shows as MasterAccountId")
	}
	if !slices.Contains(o.Regions, o.Hub.Region) {
		fault("organization.regions lacks %s: add it, because the hub is there, and the roles of each account come with the rules of the hub's Region",
			o.Hub.Region)
	}
	if len(deployment.On(in.domains, b)) == 0 {
		fault("every control and runbook is off, so there is nothing to deploy: give one another mode")
	}
	if b.Deployment.Guardrails != nil {
		if _, err := guardrails(b); err != nil {
			faults = append(faults, err.Error())
		}
	}
	return faults
}

// stale says which functions are not built, or with another baseline than the one
// that is read here.
func (in input) stale(baseline []byte) []string {
	var faults []string
	for _, function := range in.functions() {
		file := in.zip(function)
		switch carried, err := carriedBaseline(file); {
		case errors.Is(err, fs.ErrNotExist):
			faults = append(faults, file+" is missing: run `make build`")
		case err != nil:
			faults = append(faults, fmt.Sprintf("%s can't be read: %v: run `make build` again", file, err))
		case !bytes.Equal(carried, baseline):
			faults = append(faults, fmt.Sprintf("%s carries another baseline than %s: run `make build` again", file, in.baseline.File))
		}
	}
	return faults
}

// functions are the names of all functions to deploy, that of health last.
func (in input) functions() []string {
	var names []string
	for _, d := range deployment.On(in.domains, in.baseline) {
		names = append(names, d.Name)
	}
	return append(names, deployment.Health)
}

// zip is the file that holds the code of a function.
func (in input) zip(function string) string { return filepath.Join(in.zips, function+".zip") }

// carriedBaseline reads the baseline file in a function's zip.
func carriedBaseline(file string) ([]byte, error) {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = archive.Close() }()
	carried, err := archive.Open(defaultBaseline)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it holds no " + defaultBaseline)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = carried.Close() }()
	return io.ReadAll(carried)
}

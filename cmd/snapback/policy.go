package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/iampolicy"
)

// errCantTell ends a command with exit code 3: nothing was found, and not
// everything could be understood.
var errCantTell = errors.New("not everything could be understood")

// policyCheck is what `policy check` is asked.
type policyCheck struct {
	kind           iampolicy.Kind // empty: as a document looks
	organization   string
	accounts       []string
	administrators control.Identities
}

func newPolicy() *cobra.Command {
	var c policyCheck
	var kind, baseline string
	check := &cobra.Command{
		Use:   "check FILE…",
		Short: "Tell what policies really allow: administrators, ways to become one, what is open to outsiders",
		Long: "Tell what policies really allow, without a call to AWS. A FILE (- is standard input) is a policy document,\n" +
			"the output of `aws iam get-account-authorization-details`, or another output with one document in it.\n\n" +
			"Exit code 1: something was found; 3: nothing was, but not everything could be understood.",
		Args: want(1, 1000, "at least one file (- is standard input)"),
		RunE: func(cmd *cobra.Command, files []string) error {
			c.kind = iampolicy.Kind(kind)
			if err := c.complete(cmd, baseline); err != nil {
				return err
			}
			return c.run(cmd, files)
		},
	}
	flags := check.Flags()
	flags.StringVar(&kind, "type", "", "what documents are: identity, resource or trust (default: as they look)")
	flags.StringVar(&c.organization, "organization", "", "the ID of the organization whose principals are insiders (default: that of the baseline file, if one is named)")
	flags.StringArrayVar(&c.accounts, "account", nil, "an account of the organization, first that of the resource or role; may be repeated")
	flags.StringVar(&baseline, "baseline", "", "a baseline file: its administrators are expected to be some")
	return parent("policy", "Look at IAM policies", check)
}

var (
	accountNumber  = regexp.MustCompile(`^\d{12}$`)
	organizationID = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`) // Organizations API, Organization.Id
)

// complete looks whether the flags mean something, and reads the baseline.
func (c *policyCheck) complete(cmd *cobra.Command, baseline string) error {
	switch c.kind {
	case "", iampolicy.IdentityPolicy, iampolicy.ResourcePolicy, iampolicy.TrustPolicy:
	default:
		return misuse("policy check: --type %q: want identity, resource or trust", string(c.kind))
	}
	for _, a := range c.accounts {
		if !accountNumber.MatchString(a) {
			return misuse("policy check: --account %q: want 12 digits", a)
		}
	}
	if c.organization != "" && !organizationID.MatchString(c.organization) {
		return misuse("policy check: --organization %q: want an ID such as o-example1234", c.organization)
	}
	if baseline == "" {
		return nil
	}
	b, _, err := loadBaseline(cmd, baseline)
	if err != nil {
		return misuseError{err} // exit code 1 would say that something was found
	}
	c.administrators.Administrators = b.Administrators
	if c.organization == "" {
		c.organization = b.Organization.ID
	}
	return nil
}

func (c *policyCheck) run(cmd *cobra.Command, files []string) error {
	inputs, err := openAll(cmd, files)
	if err != nil {
		return misuse("policy check: %w", err)
	}
	found, unclear := false, false
	for i, file := range files {
		done := patience(cmd.ErrOrStderr(), "judging "+plain(file, 60))
		data, err := io.ReadAll(inputs[i])
		if err != nil {
			done()
			return misuse("policy check: %w", err)
		}
		_ = inputs[i].Close() // it was only read
		verdicts := c.judge(file, data)
		done()
		for _, v := range verdicts {
			found = found || v.Found
			unclear = unclear || v.CantTell != ""
		}
		if err := printVerdicts(cmd, file, verdicts); err != nil {
			return err
		}
	}
	switch {
	case found:
		return errNotSo
	case unclear:
		return errCantTell
	}
	return nil
}

// openAll opens all files before one of them is judged: if one is missing, nothing
// is printed that could be taken for the whole. They stay open, since a pipe can't
// be opened twice.
func openAll(cmd *cobra.Command, files []string) ([]io.ReadCloser, error) {
	var all []io.ReadCloser
	for _, file := range files {
		if file == "-" {
			all = append(all, io.NopCloser(cmd.InOrStdin()))
			continue
		}
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, fmt.Errorf("%s is a folder: name the files in it", file)
		}
		all = append(all, f)
	}
	return all, nil
}

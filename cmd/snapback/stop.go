package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// stopOptions are the flags of stop and start.
type stopOptions struct{ account, why, table, topic string }

// newStop is the kill switch. It is written straight into the ledger, so that
// it works even where no function does.
func newStop() *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use: "stop", Short: "Let every function only observe, from its next event on", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.TrimSpace(o.why) == "" {
				return misuse("stop: say why, for whoever is to start again: `snapback stop --why TEXT`")
			}
			return o.turn(cmd, true)
		},
	}
	o.flags(cmd)
	return cmd
}

func newStart() *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use: "start", Short: "Turn off the kill switch that stop turned on", Args: want(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.turn(cmd, false)
		},
	}
	o.flags(cmd)
	return cmd
}

func (o *stopOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.why, "why", "", "why, for the operators' alert and the record")
	f.StringVar(&o.account, "account", "", "only in this account (default: the whole organization)")
	tableFlag(f, &o.table)
	topicFlag(f, &o.topic)
}

func (o *stopOptions) check(cmd *cobra.Command) error {
	if o.account != "" && !event.IsAccount(o.account) {
		return misuse("%s: --account %q: want a 12-digit account number", name(cmd), o.account)
	}
	return checkTopic(cmd, o.topic)
}

func (o *stopOptions) scope() string {
	if o.account != "" {
		return o.account
	}
	return ledger.Organization
}

// turned is the JSON of stop and start.
type turned struct {
	Scope string `json:"scope"`
	On    bool   `json:"on"`
	// Changed is false where the switch was so already: nothing was written, and
	// nobody told. The other fields then say who turned it on, if anybody did.
	Changed bool           `json:"changed"`
	Alerted bool           `json:"alerted"`
	Why     string         `json:"why"`
	By      *ledger.Caller `json:"by"`
	At      time.Time      `json:"at,omitzero"`
}

// turn turns the kill switch on or off, if it is not so already, and tells the
// operators.
func (o *stopOptions) turn(cmd *cobra.Command, on bool) error {
	if err := o.check(cmd); err != nil {
		return err
	}
	cfg, l, err := connectLedger(cmd, o.table)
	if err != nil {
		return err
	}
	by, err := whoami(cmd, cfg)
	if err != nil {
		return err
	}
	now, others, unread := o.read(cmd, l)
	if unread == nil && now.On == on {
		return o.print(cmd, now, false, false, others)
	}
	s := ledger.Stop{Scope: o.scope(), On: on, Why: o.why, By: by, At: time.Now().UTC().Truncate(time.Millisecond)}
	if err := l.Switch(cmd.Context(), s); err != nil {
		return fmt.Errorf("%s: nothing was turned: %s", name(cmd), reason(err))
	}
	if unread != nil { // it may be this very switch that was damaged
		_ = printf(cmd.ErrOrStderr(), "it was turned without a look at how it stood: %s\n", reason(unread)) // a hint alone
	}
	untold := o.tell(cmd, cfg, s)
	if err := o.print(cmd, s, true, untold == nil, others); err != nil {
		return err
	}
	return untold
}

// read is how the switch stands, and which other ones are on.
func (o *stopOptions) read(cmd *cobra.Command, l *ledger.Ledger) (now ledger.Stop, others []ledger.Stop, err error) {
	now.Scope = o.scope()
	for s, err := range l.Stops(cmd.Context()) {
		switch {
		case err != nil:
			return now, others, err
		case s.Scope == o.scope():
			now = *s
		default:
			others = append(others, *s)
		}
	}
	return now, others, nil
}

// tell alerts the operators. Where that fails, the switch stays as it is.
func (o *stopOptions) tell(cmd *cobra.Command, cfg aws.Config, s ledger.Stop) error {
	topic := cmp.Or(o.topic, mainTopic(cfg, s.By.Account))
	news := alert.FromStop(s)
	news.Version = version
	if err := alert.NewTopic(cfg, topic).Publish(cmd.Context(), "", news); err != nil {
		return fmt.Errorf("%s: it is done, but nobody was told, so tell the operators yourself: %s", name(cmd), reason(err))
	}
	return nil
}

// print says what was done, or that nothing was to be done, and after a start
// what is still stopped all the same.
func (o *stopOptions) print(cmd *cobra.Command, s ledger.Stop, changed, alerted bool, others []ledger.Stop) error {
	if output(cmd) == "json" {
		t := turned{s.Scope, s.On, changed, alerted, s.Why, &s.By, s.At}
		if s.At.IsZero() {
			t.By = nil
		}
		return printJSON(cmd.OutOrStdout(), t)
	}
	text := place(s.Scope)
	switch {
	case s.On && !changed:
		text += " is stopped already, " + stopText(s)
	case s.On:
		text += " is stopped: from its next event on, every function only observes there"
	case !changed:
		text += " is not stopped: there is nothing to start"
	default:
		text += " is started: from its next event on, every function does there what the baseline says"
	}
	if err := printf(cmd.OutOrStdout(), "%s\n", plain(text, 2000)); err != nil || s.On {
		return err
	}
	for _, other := range others {
		start := "snapback start"
		switch {
		case other.Scope == ledger.Organization:
		case s.Scope == ledger.Organization:
			start += " --account " + other.Scope
		default:
			continue // what is stopped in one account is nothing to another
		}
		_ = printf(cmd.ErrOrStderr(), "%s is still stopped, %s: `%s` starts it\n", place(other.Scope), plain(stopText(other), 1000), start) // a hint alone
	}
	return nil
}

// place is the scope of a kill switch, for people.
func place(scope string) string {
	if scope == ledger.Organization {
		return "the whole organization"
	}
	return "account " + scope
}

// stopText says who turned a switch on, when and why.
func stopText(s ledger.Stop) string {
	return fmt.Sprintf("by %s at %s: %s", s.By.ARN, s.At.UTC().Format("2006-01-02 15:04:05 UTC"), s.Why)
}

// whoami asks STS whose credentials these are.
func whoami(cmd *cobra.Command, cfg aws.Config) (ledger.Caller, error) {
	cfg.RetryMaxAttempts = 2 // a person waits
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(cmd.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		return ledger.Caller{}, fmt.Errorf("%s: ask whose credentials these are: %s", name(cmd), reason(err))
	}
	host, _ := os.Hostname() // a machine without a name is none the worse
	return ledger.Caller{
		ARN: aws.ToString(out.Arn), Account: aws.ToString(out.Account), UserID: aws.ToString(out.UserId), Host: host,
	}, nil
}

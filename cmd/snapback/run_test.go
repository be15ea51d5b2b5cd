package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/event"
)

// Each domain has an engine of its own; an event has one result all the same
// where it concerns none of them, and only those of the domains that it does.
func TestEventHasOneResultForAllDomainsThatItDoesNotConcern(t *testing.T) {
	domain := storage.Domain()
	text := "version: 1\nreviewed: " + time.Now().UTC().Format(time.DateOnly) + "\nmode: off\n" +
		`organization: {id: o-example1234, hub: {account: "111111111111", region: us-east-1}, regions: [us-east-1]}`
	off, problems := baseline.Parse("baseline.yaml", []byte(text), []control.Domain{domain}, time.Now())
	if off == nil {
		t.Fatal(problems)
	}
	engines := []*engine.Engine{
		{Baseline: off, Controls: domain.Controls}, {Baseline: off, Controls: domain.Controls[1:]}, {Baseline: off},
	}
	for _, c := range []struct{ event, control, reason string }{
		{"guardduty/s3-bucket-anonymous-access-granted", "", "it concerns no control"},
		{"other/unknown-source", "", "no control reads events of this kind"},
		{"cloudtrail/s3-get-bucket-acl", "", "the call only reads"},
		{"cloudtrail/s3-delete-bucket-public-access-block", "s3-bucket-public-access", "the control is off: the default mode"},
	} {
		data, err := os.ReadFile(filepath.Join(local.Root(), "events", c.event+".json"))
		if err != nil {
			t.Fatal(err)
		}
		ev, err := event.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		results := handle(t.Context(), engines, ev)
		if len(results) != 1 {
			t.Errorf("%s: %d results, want one: %+v", c.event, len(results), results)
			continue
		}
		if r := results[0]; r.Outcome != control.Ignored || r.Control != c.control || r.Reason != c.reason {
			t.Errorf("%s: got %s %q: %q, want ignored %q: %q", c.event, r.Outcome, r.Control, r.Reason, c.control, c.reason)
		}
	}
}

// The first interrupt ends the command before its next event.
func TestInterruptEndsBetweenEvents(t *testing.T) {
	hint := make(chan string, 1)
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	cmd.SetErr(printed(hint))
	cmd.SetIn(strings.NewReader("{}"))
	defer untilInterrupted(cmd)()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := <-hint; !strings.Contains(got, "interrupt again to end at once") {
		t.Errorf("it says %q", got)
	}
	if _, err := runFile(cmd, nil, "-"); err == nil || err.Error() != "run: interrupted: - is not read to its end" {
		t.Errorf("it ends with %v", err)
	}
}

// printed is a writer that hands on what is printed.
type printed chan string

func (p printed) Write(text []byte) (int, error) {
	p <- string(text)
	return len(text), nil
}

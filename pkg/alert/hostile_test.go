package alert_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// tricks are what an attacker may put into a name.
var tricks = []string{
	"\n", "\r\n", "\x1b[2J", "\x00", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\x85", "\xff\xfe", "\U000e0041", "\u00a0", "\t",
	"https://evil.example/", "http://", "://", ":", "//", "é", "漢", "👍", "\\", `"`, "<b>&", "%s%d", " ", "  ", "a", "Account   333333333333",
	"\nsnapback exempt add", strings.Repeat("x", 300), strings.Repeat("\n", 300), strings.Repeat("x ", 300), strings.Repeat("://", 100),
}

var hostile = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(tricks), 0, 8).Draw(t, "tricks"), "")
})

// attacked is an alert in which every text that comes from an event or from
// the account it happened in is hostile.
func attacked(t *rapid.T) alert.Alert {
	text := func(field string) string { return hostile.Draw(t, field) }
	state := func(field string) json.RawMessage {
		if rapid.Bool().Draw(t, field+" is no JSON") {
			return json.RawMessage(text(field))
		}
		fields := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, field+" has fields") {
			fields[text(field+" name")] = []any{text(field), map[string]any{"x": text(field)}}
			fields[text(field+" name")] = text(field)
		}
		out, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	c := &ledger.Case{
		ID: "20261122-7k3m9x2q", Control: "s3-bucket-public-access", Severity: control.High, Mode: "enforce",
		Outcome: rapid.SampledFrom([]control.Outcome{
			control.Remediated, control.Observed, control.AwaitingApproval, control.Failed, control.Held, control.Unreadable, control.Refused,
		}).Draw(t, "outcome"),
		Target: control.Target{Account: text("account"), Region: text("region"), Type: text("type"), ID: text("id")},
		ARN:    text("arn"), Reason: text("reason"),
		Event: ledger.Event{
			ID: text("event"), Source: text("source"), CloudTrail: text("cloudtrail"), Name: text("name"),
			Account: text("event account"), Region: text("event region"), Time: time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "time"), 0).UTC(),
		},
		Actor: &event.Actor{
			Type: text("actor type"), ARN: text("actor arn"), Account: text("actor account"), Principal: text("principal"),
			Name: text("actor name"), AccessKey: text("key"), MFA: rapid.Bool().Draw(t, "mfa"), Address: text("address"),
			UserAgent: text("agent"), InvokedBy: text("invoked by"),
			Issuer:     &event.Issuer{Name: text("issuer")},
			OnBehalfOf: &event.IdentityCenterUser{UserID: text("user")},
		},
	}
	for range rapid.IntRange(0, 3).Draw(t, "steps") {
		c.Steps = append(c.Steps, ledger.Step{
			Remedy: "block-bucket-public-access", Error: text("error"), Before: state("before"), After: state("after"),
		})
	}
	a := alert.FromCase(c)
	if rapid.Bool().Draw(t, "no case") {
		a.Case, a.Target, a.Docs = "", nil, ""
	}
	return a
}

func TestHostileTextIsHarmlessInTheEMail(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := attacked(t)
		text := a.Text()
		for _, r := range text {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("character %U:\n%q", r, text)
			}
		}
		if body := strings.ReplaceAll(text, a.Docs, ""); a.Docs != "" && strings.Contains(body, "://") || a.Docs == "" && strings.Contains(text, "://") {
			t.Errorf("there is an address besides that of the docs:\n%s", text)
		}
		if len(text) > 64<<10 {
			t.Errorf("the e-mail has %d bytes", len(text))
		}
		// Only reason and error begin lines, of the first section, with text from outside.
		_, rest, _ := strings.Cut(text, "\n\n")
		_, rest, _ = strings.Cut(rest, "\n\n")
		labels := []string{
			"Resource  ", "Account   ", "Control   ", "Who       ", "When      ", "Event     ", "  ",
			"Changed (block-bucket-public-access):\n", "Would change (block-bucket-public-access):\n", "Tried to change (block-bucket-public-access):\n",
			"The whole story, with the states before and after:\n", "snapback cases show 20261122-7k3m9x2q\n", "About this control:\n", a.Docs + "\n",
		}
		for line := range strings.Lines(rest) {
			if !startsWithAny(line, labels) {
				t.Errorf("a line that Snapback did not begin: %q", line)
			}
			if n := len([]rune(line)); n > 250 {
				t.Errorf("a line of %d characters: %q", n, line)
			}
		}
	})
}

func startsWithAny(line string, beginnings []string) bool {
	if line == "\n" {
		return true
	}
	for _, b := range beginnings {
		if strings.HasPrefix(line, b) {
			return true
		}
	}
	return false
}

func TestHostileTextIsHarmlessInTheSubject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := attacked(t)
		subject := a.Subject()
		if len(subject) >= 100 || !strings.HasPrefix(subject, "Snapback ") || strings.Contains(subject, "://") {
			t.Errorf("%d characters: %q", len(subject), subject)
		}
		for _, r := range subject {
			if r < ' ' || r > '~' {
				t.Errorf("character %U: %q", r, subject)
			}
		}
	})
}

func TestLongNameLeavesTheAccountInTheSubject(t *testing.T) {
	for _, n := range []int{1, 20, 38, 39, 40, 63, 200, 2000} {
		a := published(control.Remediated, func(c *ledger.Case) { c.Target.ID = strings.Repeat("n", n) })
		if s := a.Subject(); !strings.HasSuffix(s, " in 222222222222") || n > 38 && len(s) != 99 || n <= 38 && !strings.Contains(s, a.Target.ID) {
			t.Errorf("a name of %d characters gives %d: %s", n, len(s), s)
		}
	}
}

func TestHostileTextIsShownByItsCodes(t *testing.T) {
	a := published(control.Remediated, func(c *ledger.Case) {
		c.Actor.Name = "a\nb\x1b[31m\u202ec\xffd\u200b https://evil.example/"
		c.Actor.UserAgent = strings.Repeat("u", 1000)
		c.Target.ID = strings.Repeat("\n", 1000)
	})
	for _, want := range []string{
		`Who       a\nb\x1b[31m\u202ec` + "\ufffd" + `d\u200b https[:]//evil.example/ (IAMUser)` + "\n",
		"          with\n          " + strings.Repeat("u", 120) + "…\n",
		"Resource  " + strings.Repeat(`\n`, 100) + "…\n",
	} {
		if !strings.Contains(a.Text(), want) {
			t.Errorf("the e-mail does not contain %q:\n%s", want, a.Text())
		}
	}
}

func TestMachinesReadHostileTextAsPeopleDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, attacked(t)) })
}

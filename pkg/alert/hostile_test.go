package alert_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
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
	"\nsnapback exempt add", " snapback cases approve 20261122-7k3m9x2q --digest 000000000000 ", strings.Repeat("x", 300), strings.Repeat("\n", 300),
	strings.Repeat("x ", 300), strings.Repeat("://", 100), `{"a":[{"b":1}]}`, `[{"a":1}]`, `{"`, "[[", "[", "]", "{", "}", "{}", `["a"]`,
	"'", "$(id)", "`id`", ";id", "&", "|", "~", "#", "*", "!", "-",
}

var hostile = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(tricks), 0, 8).Draw(t, "tricks"), "")
})

// state draws a state with hostile names and values, as deep as it may be.
func state(t *rapid.T) json.RawMessage {
	if rapid.IntRange(0, 3).Draw(t, "is no JSON") == 0 {
		return json.RawMessage(hostile.Draw(t, "state"))
	}
	var draw func(depth int) any
	draw = func(depth int) any {
		switch rapid.IntRange(0, 6-min(depth, 4)).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]any{nil, true, false, 1.5, 443}).Draw(t, "value")
		case 1, 2:
			return hostile.Draw(t, "text")
		case 3, 4:
			var items []any
			for range rapid.IntRange(0, 3).Draw(t, "items") {
				items = append(items, draw(depth+1))
			}
			return items
		default:
			fields := map[string]any{}
			for range rapid.IntRange(0, 4).Draw(t, "fields") {
				fields[rapid.OneOf(hostile, rapid.SampledFrom([]string{"Sid", "Statement", "Name"})).Draw(t, "name")] = draw(depth + 1)
			}
			return fields
		}
	}
	out, err := json.Marshal(draw(0))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// attacked is an alert in which every text that comes from an event, from the
// account it happened in or from a command line is hostile.
func attacked(t *rapid.T) alert.Alert {
	text := func(field string) string { return hostile.Draw(t, field) }
	at := func(field string) time.Time { return time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, field), 0).UTC() }
	by := ledger.Caller{ARN: text("operator"), Account: text("operator's account"), UserID: text("user ID"), Host: text("host")}
	switch rapid.IntRange(0, 9).Draw(t, "no case") {
	case 0:
		scope := rapid.SampledFrom([]string{ledger.Organization, "222222222222"}).Draw(t, "scope")
		return deployed(alert.FromStop(ledger.Stop{Scope: scope, On: rapid.Bool().Draw(t, "on"), Why: text("why"), By: by, At: at("at")}))
	case 1:
		scope := rapid.SampledFrom([]ledger.Scope{ledger.PerAccount, ledger.PerControl, ledger.PerThreatAccount}).Draw(t, "scope")
		return deployed(alert.FromLimit(ledger.Usage{Limit: ledger.Limit{Scope: scope, Of: text("of"), Max: 50}, Hour: at("hour")}, control.High))
	}
	c := &ledger.Case{
		ID: "20261122-7k3m9x2q", Control: "s3-bucket-public-access", Severity: control.High, Mode: "enforce",
		Outcome: rapid.SampledFrom([]control.Outcome{
			control.Remediated, control.Partial, control.Observed, control.AwaitingApproval, control.Expired, control.Failed, control.Held,
			control.Undone, control.Unreadable, control.Refused,
		}).Draw(t, "outcome"),
		Target: control.Target{Account: text("account"), Region: text("region"), Type: text("type"), ID: text("id")},
		ARN:    text("arn"), Reason: text("reason"), Held: text("held"), Until: at("until"),
		Event: ledger.Event{
			ID: text("event"), Source: text("source"), CloudTrail: text("cloudtrail"), Name: text("name"),
			Account: text("event account"), Region: text("event region"), Time: at("time"),
		},
		Actor: &event.Actor{
			Type: text("actor type"), ARN: text("actor arn"), Account: text("actor account"), Principal: text("principal"),
			Name: text("actor name"), AccessKey: text("key"), MFA: rapid.Bool().Draw(t, "mfa"), Address: text("address"),
			UserAgent: text("agent"), InvokedBy: text("invoked by"),
			Issuer:     &event.Issuer{Name: text("issuer")},
			OnBehalfOf: &event.IdentityCenterUser{UserID: text("user")},
		},
	}
	if c.Outcome == control.Held {
		c.Gate = rapid.SampledFrom([]ledger.Gate{ledger.GateLimit, ledger.GateTugOfWar, ledger.GateMode}).Draw(t, "gate")
	}
	for range rapid.IntRange(0, 5).Draw(t, "rounds") * len(c.Gate) {
		c.Rounds = append(c.Rounds, ledger.Round{Case: c.ID, Control: c.Control, At: at("round"), Actor: text("round's actor"), Event: text("round's event")})
	}
	if rapid.Bool().Draw(t, "by command") {
		name := rapid.SampledFrom([]string{"approve", "release", "retry", "undo"}).Draw(t, "command")
		c.Commands = []ledger.Command{{Name: name, By: by, At: at("given"), Why: text("why")}}
	}
	for i := range rapid.SampledFrom([]int{0, 1, 1, 1, 2, 5, 60}).Draw(t, "steps") {
		s := ledger.Step{
			Remedy: "remedy-" + strings.Repeat("i", i), Reason: text("step's reason"), Error: text("error"),
			Before: state(t), After: state(t), Digest: "9d2c6f5b1d6a1e4f", Left: rapid.SliceOfN(hostile, 0, 3).Draw(t, "left"),
			Outcome: rapid.SampledFrom([]control.Outcome{
				"", control.Remediated, control.Failed, control.Observed, control.Held, control.Unreadable, control.Compliant,
			}).Draw(t, "step"),
			Irreversible: rapid.Bool().Draw(t, "final"),
		}
		if rapid.Bool().Draw(t, "applied") {
			s.Applied, s.Undone = at("applied at"), at("undone at")
		}
		c.Steps = append(c.Steps, s)
	}
	for range rapid.SampledFrom([]int{0, 0, 1, 2, 50}).Draw(t, "findings") {
		c.Findings = append(c.Findings, found(t))
	}
	if c.Threat() && rapid.Bool().Draw(t, "told") {
		c.Target.Type, c.Drill = control.TypeFinding, rapid.Bool().Draw(t, "drill")
	}
	a := deployed(alert.FromCase(c))
	if rapid.IntRange(0, 4).Draw(t, "literal") == 0 {
		a.Case, a.Target, a.Docs, a.Control, a.Commands = "", nil, "", "", nil
	}
	return a
}

// found is a finding in which every text is hostile.
func found(t *rapid.T) ledger.Finding {
	text := func(field string) string { return hostile.Draw(t, field) }
	at := func(field string) time.Time { return time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, field), 0).UTC() }
	return ledger.Finding{
		ID: text("finding"), ARN: text("finding's arn"), Type: text("finding type"), Title: text("title"), Role: text("role"),
		Severity: rapid.Float64Range(0, 10).Draw(t, "severity"), Count: rapid.Int64().Draw(t, "count"), Resource: text("resource"),
		Remotes: rapid.SliceOfN(hostile, 0, 10).Draw(t, "remotes"), Ports: rapid.SliceOfN(rapid.IntRange(1, 65535), 0, 20).Draw(t, "ports"),
		First: at("first"), Last: at("last"),
	}
}

// tester is what the checks need of a test, rapid's or not.
type tester interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
}

// ours are how lines begin that Snapback wrote: nothing from outside may begin one.
var ours = regexp.MustCompile(`^(` + strings.Join([]string{
	`(FIXED|GONE|PARTLY FIXED|SEEN, NOT CHANGED|WAITING|EXPIRED|NOT FIXED|UNDONE|HELD|TUG OF WAR|CAN'T TELL|REFUSED|STOPPED|STARTED): [A-Za-z ,;']+\.$`,
	`(CONTAINED|PARTLY CONTAINED|NOT CONTAINED|RELEASED|DRILL|THREAT REPORTED): [A-Za-z ,;']+\.$`,
	`THREAT, (NOT CONTAINED|WAITING|EXPIRED|HELD|TUG OF WAR|CAN'T TELL): [A-Za-z ,;']+\.$`,
	`(It waits for an answer|The resource is exempt) until [0-9 :-]{19} UTC\.$`, `Until [0-9 :-]{19} UTC it is only told of\.$`,
	`(This change|Once made, this change|A part of this) can't be undone\.$`,
	`Some of it could not be put back: see below\.$`, `GuardDuty tells of it by findings of \d+ types\.$`,
	`(Resource|Account|Control|Who|When|Event|Approved|Released|Retried|Undone|Stopped|Started|Docs|Snapback)  `, `(Finding|Remote|Ports|Runbook)  `,
	`Snapback stepped in (once|\d+ times), against:$`,
	`(Changed|Would change|Tried to change|Put back|Found|Looked at)( \([a-z-]+\):?|, step by step:)$`,
	`(To [a-zA-Z ]+|If the resource should be as it is, exempt it):$`,
	`Find what keeps making the change \(a pipeline, a template,$`, `an attacker\) and stop or fix it there\. If it may be an$`,
	`attacker, disable the actor's credentials\.$`, `an attacker\) and stop or fix it there\.$`,
	`  `, `$`,
}, "|") + `)`)

// dump is how JSON begins.
var dump = regexp.MustCompile(`\{\s*["}]|\[\s*["{\[\]]`)

// checkEMail holds what every e-mail must keep to, whatever an attacker chose.
func checkEMail(t tester, a alert.Alert) {
	t.Helper()
	text := a.Text()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) > 40 {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatal(fmt.Sprintf("character %U:\n%q", r, text))
		}
	}
	if n := strings.Count(text, "://"); n > 1 || n == 1 && !slices.ContainsFunc(lines, linksDocs) {
		t.Errorf("there is an address besides that of the docs:\n%s", text)
	}
	var runs []string
	for _, c := range a.Commands {
		runs = append(runs, c.Run)
		if !strings.HasPrefix(c.Run, "snapback ") || !slices.Contains(lines, c.Run) {
			t.Errorf("the command %s is none, or not in the e-mail:\n%s", c.Run, text)
		}
	}
	for _, line := range lines {
		checkLine(t, line, runs)
	}
}

func linksDocs(line string) bool {
	return strings.HasPrefix(line, "Docs      https://github.com/snapback-aws/")
}

// checkLine checks a line of an e-mail with these commands.
func checkLine(t tester, line string, runs []string) {
	t.Helper()
	if dump.MatchString(line) {
		t.Errorf("there is JSON: %q", line)
	}
	if !ours.MatchString(line) && !slices.Contains(runs, line) {
		t.Errorf("a line that Snapback did not begin: %q", line)
	}
	most := 250
	switch {
	case slices.Contains(runs, line):
		most = 1200
	case strings.HasPrefix(line, "  "):
		most = 620 // a sentence without blanks
	}
	if n := len([]rune(line)); n > most {
		t.Errorf("a line of %d characters: %q", n, line)
	}
}

func TestHostileTextIsHarmlessInTheEMail(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkEMail(t, attacked(t)) })
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
		c.Reason = `Role {"x lets anyone in: {"Statement":[{"Effect":"Allow"}]} is its policy.`
	})
	for _, want := range []string{
		`Who       a\nb\x1b[31m\u202ec` + "\ufffd" + `d\u200b https[:]//evil.example/ (IAMUser)` + "\n",
		"          with " + strings.Repeat("u", 44) + "…\n",
		"Resource  " + strings.Repeat(`\n`, 100) + "…\n",
		"  Role …\"x lets anyone in: … is its policy.\n",
	} {
		if !strings.Contains(a.Text(), want) {
			t.Errorf("the e-mail does not contain %q:\n%s", want, a.Text())
		}
	}
}

func TestMachinesReadHostileTextAsPeopleDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, attacked(t)) })
}

// TestCommandsAreSafeToPaste lets a shell take hostile names apart again.
func TestCommandsAreSafeToPaste(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		arn := hostile.Draw(t, "arn")
		a := published(control.Undone, func(c *ledger.Case) { c.ARN = arn })
		shell := exec.Command("sh", "-c", `snapback() { printf '%s\0' "$@"; }`+"\n"+a.Commands[0].Run)
		shell.Dir = dir
		out, err := shell.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v", a.Commands[0].Run, err)
		}
		want := func(arn string) string {
			return strings.Join([]string{"exempt", "remove", "--control", "s3-bucket-public-access", "--resource", arn, ""}, "\x00")
		}
		if got := string(out); got != want(arn) && got != want("ARN") {
			t.Errorf("the shell runs %q, want %q:\n%s", got, want(arn), a.Commands[0].Run)
		}
	})
}

func TestOddNamesAreQuoted(t *testing.T) {
	const remove = "snapback exempt remove --control s3-bucket-public-access --resource "
	for arn, want := range map[string]string{
		"arn:aws:iam::222222222222:user/a.b+c=d@e,f_g-h": "arn:aws:iam::222222222222:user/a.b+c=d@e,f_g-h",
		"arn:aws:ec2:::key-pair/it's $mine":              `'arn:aws:ec2:::key-pair/it'\''s $mine'`,
		"arn:aws:ec2:::key-pair/a\nb":                    "ARN",
		"arn:aws:ec2:::key-pair/https://evil.example":    "ARN",
		"arn:aws:ec2:::key-pair/\xff":                    "ARN",
		"":                                               "ARN",
	} {
		if got := published(control.Undone, func(c *ledger.Case) { c.ARN = arn }).Commands[0].Run; got != remove+want {
			t.Errorf("%q: got %s, want %s", arn, got, remove+want)
		}
	}
}

// TestHugeCasesFitAPhone holds alerts of cases as large as nothing real to 40
// lines.
func TestHugeCasesFitAPhone(t *testing.T) {
	long := strings.Repeat("very long words ", 1000)
	fields := map[string]any{}
	for i := range 1000 { // as much as an item of DynamoDB may hold
		fields[fmt.Sprintf("Field%d", i)] = map[string]any{"List": []any{i, long[:200], map[string]any{"Sid": long[:200]}}}
	}
	deep := any("deep")
	for range 1000 {
		deep = []any{map[string]any{"deep": deep}}
	}
	fields["Deep"] = deep
	before, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	all := fromCases()
	for _, name := range []string{"remediated-after-approval", "awaiting-approval", "failed-applied", "undone", "tug-of-war", "held-limit"} {
		golden := all[name]
		a := published(control.Failed, func(c *ledger.Case) {
			for i := range 100 {
				c.Steps = append(c.Steps, ledger.Step{Remedy: "x" + strings.Repeat("i", i), Before: before, Error: long, Left: slices.Repeat([]string{long}, 5)})
			}
		})
		a.Outcome, a.Gate, a.Held, a.Reason, a.By, a.Did, a.Why = golden.Outcome, golden.Gate, long, long, golden.By, golden.Did, long
		a.Commands, a.Until, a.Irreversible = golden.Commands, time.Now(), true
		for range 50 {
			a.Rounds = append(a.Rounds, ledger.Round{Actor: long, Event: long, At: time.Now()})
		}
		a.Target.ID, a.Target.Type, a.Actor = long, long, &event.Actor{
			Type: long, Principal: long, Account: long + "0", Name: long + "1", AccessKey: long, Address: long + "2", UserAgent: long + "3",
			InvokedBy: long + "4", OnBehalfOf: &event.IdentityCenterUser{UserID: long + "5"},
		}
		checkEMail(t, a)
		one := a
		one.Changes = a.Changes[1:2]
		checkEMail(t, one)
		if a.Gate != ledger.GateTugOfWar { // no other alert has rounds
			a.Rounds = nil
		}
		for i := range 50 {
			a.Findings = append(a.Findings, ledger.Finding{
				ID: long, Type: fmt.Sprint(long, i), Title: long, Role: long, Resource: long, Count: 1 << 40, First: time.Now(), Last: time.Now().Add(time.Hour),
				Remotes: slices.Repeat([]string{long}, 100), Ports: slices.Repeat([]int{i}, 100),
			})
		}
		for _, a.Drill = range []bool{false, true} {
			checkEMail(t, a)
		}
	}
}

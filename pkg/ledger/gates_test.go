package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// item is an item of the table as it lies there.
type item = map[string]types.AttributeValue

// put writes an item past the ledger.
func put(t *testing.T, i item) {
	t.Helper()
	_, err := client(t).PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(table(t)), Item: i})
	must(t, err)
}

func targetKey(sort string) item {
	return item{"pk": text("target#222222222222/us-east-1/AWS::S3::Bucket/example"), "sk": text(sort)}
}

// fight opens and closes a case of the target: one round.
func fight(t *testing.T, l *ledger.Ledger, c *ledger.Case) {
	t.Helper()
	w := ledger.NewWorker(time.Now().Add(time.Minute))
	gates, err := readOf(t.Context(), l, c)
	must(t, err)
	must(t, l.Open(t.Context(), c, gates, w))
	c.Outcome = control.Remediated
	must(t, l.Close(t.Context(), c, w))
}

func TestRoundsAreListedInTheirOrderWithWhoCausedThem(t *testing.T) {
	l := newLedger(t)
	var want []ledger.Round
	for i, actor := range []*event.Actor{
		{ARN: "arn:aws:iam::222222222222:user/alice", Name: "alice"}, {Name: "lambda.amazonaws.com"}, nil, {ARN: "arn:aws:iam::222222222222:user/bob"},
	} {
		c := newCase("null", "{}")
		c.Actor, c.Event.Name = actor, fmt.Sprint("Call", i)
		if i == 1 {
			c.Control = "another-control"
		}
		fight(t, l, c)
		round := ledger.Round{Case: c.ID, Control: c.Control, Event: c.Event.Name}
		if actor != nil {
			if round.Actor = actor.ARN; actor.ARN == "" {
				round.Actor = actor.Name
			}
		}
		want = append(want, round)
	}
	g := read(t, l)
	if diff := cmp.Diff(want, g.Rounds, cmpopts.IgnoreFields(ledger.Round{}, "At")); diff != "" {
		t.Errorf("rounds (-want +got):\n%s", diff)
	}
	for i, r := range g.Rounds {
		if time.Since(r.At) > time.Minute || i > 0 && r.At.Before(g.Rounds[i-1].At) {
			t.Errorf("round %d was fought at %s", i, r.At)
		}
	}
	if diff := cmp.Diff([]ledger.Round{want[0], want[2], want[3]}, g.RoundsOf("example-control"), cmpopts.IgnoreFields(ledger.Round{}, "At")); diff != "" {
		t.Errorf("rounds of the control (-want +got):\n%s", diff)
	}
	if g.Latest != want[3].Case || time.Since(g.Released) > time.Minute || !g.LeaseEnds.IsZero() {
		t.Errorf("the lock: %+v", g)
	}
}

func TestCasesThatChangeNothingAreNoRounds(t *testing.T) {
	l, c := newLedger(t), newCase("null", "{}")
	c.Outcome = control.Observed
	must(t, l.Record(t.Context(), c, ledger.Gates{}, time.Time{}))
	if g := read(t, l); len(g.Rounds) != 0 || g.Latest != "" {
		t.Errorf("the gates: %+v", g)
	}
}

func TestRoundsAreForgottenAfterADay(t *testing.T) {
	l := newLedger(t)
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).UnixMilli() }
	lock := targetKey("lock")
	rounds := &types.AttributeValueMemberL{}
	for name, at := range map[string]int64{"older": ago(ledger.RoundWindow + time.Hour), "a day old": ago(ledger.RoundWindow), "younger": ago(ledger.RoundWindow - time.Minute)} {
		rounds.Value = append(rounds.Value, &types.AttributeValueMemberM{Value: item{
			"case": text(name), "control": text("example-control"), "at": number(at), "actor": text("alice"), "event": text("Call"),
		}})
	}
	lock["rounds"] = rounds
	put(t, lock)
	if g := read(t, l); len(g.Rounds) != 1 || g.Rounds[0].Case != "younger" {
		t.Errorf("rounds: %+v", g.Rounds)
	}
	fight(t, l, newCase("null", "{}"))
	out, err := client(t).GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String(table(t)), Key: targetKey("lock")})
	must(t, err)
	if kept, ok := out.Item["rounds"].(*types.AttributeValueMemberL); !ok || len(kept.Value) != 2 {
		t.Errorf("rounds that are over are kept: %v", out.Item["rounds"])
	}
}

func TestNoMoreThanFiftyRoundsAreKept(t *testing.T) {
	l := newLedger(t)
	var fought []string
	for range 53 {
		c := newCase("null", "{}")
		fight(t, l, c)
		fought = append(fought, c.ID)
	}
	var kept []string
	for _, r := range read(t, l).Rounds {
		kept = append(kept, r.Case)
	}
	if diff := cmp.Diff(fought[3:], kept); diff != "" {
		t.Errorf("not the last fifty are kept (-want +got):\n%s", diff)
	}
}

func TestWorkerWhoReadTheGatesBeforeAnotherCameAndWentIsBusy(t *testing.T) {
	for name, comeAndGo := range map[string]func(t *testing.T, l *ledger.Ledger, c *ledger.Case){
		"with_a_case": func(t *testing.T, l *ledger.Ledger, _ *ledger.Case) { t.Helper(); fight(t, l, newCase("null", "{}")) },
		"for_another_control": func(t *testing.T, l *ledger.Ledger, _ *ledger.Case) {
			t.Helper()
			other := newCase("null", "{}")
			other.Control = "another-control"
			fight(t, l, other)
		},
		"with_an_undo": func(t *testing.T, l *ledger.Ledger, c *ledger.Case) {
			t.Helper()
			w := ledger.NewWorker(time.Now().Add(time.Minute))
			must(t, l.Undo(t.Context(), c, read(t, l), w, nil))
			must(t, l.Undone(t.Context(), c, w, nil, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, first := newLedger(t), newCase("null", "{}")
			fight(t, l, first)
			undo, err := l.Case(t.Context(), first.ID)
			must(t, err)
			old := read(t, l)
			comeAndGo(t, l, undo)
			w := ledger.NewWorker(time.Now().Add(time.Minute))
			if err := l.Open(t.Context(), newCase("null", "{}"), old, w); !errors.Is(err, ledger.ErrBusy) {
				t.Errorf("a case was opened on gates that have moved: %v", err)
			}
			if err := l.Undo(t.Context(), undo, old, w, nil); !errors.Is(err, ledger.ErrBusy) {
				t.Errorf("an undo was begun on gates that have moved: %v", err)
			}
			must(t, l.Open(t.Context(), newCase("null", "{}"), read(t, l), w))
		})
	}
}

// backwards turns the items of answers round: DynamoDB's come in no order.
type backwards struct{ aws.HTTPClient }

func (b backwards) Do(r *http.Request) (*http.Response, error) {
	answer, err := b.HTTPClient.Do(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Responses       map[string][]json.RawMessage
		UnprocessedKeys json.RawMessage
	}
	if err := errors.Join(json.NewDecoder(answer.Body).Decode(&body), answer.Body.Close()); err != nil {
		return nil, err
	}
	for _, items := range body.Responses {
		slices.Reverse(items)
	}
	text, err := json.Marshal(body)
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	answer.Header.Del("X-Amz-Crc32") // it is that of the text before
	return answer, err
}

func TestGatesAreTheSameInWhateverOrderTheyCome(t *testing.T) {
	l := newLedger(t)
	fight(t, l, newCase("null", "{}"))
	observed := newCase("null", "{}")
	observed.Outcome = control.Observed
	must(t, l.Record(t.Context(), observed, ledger.Gates{}, time.Time{}))
	_, err := l.Exempt(t.Context(), exemption(0, time.Hour))
	must(t, err)
	for _, scope := range []string{ledger.Organization, target.Account} {
		must(t, l.Switch(t.Context(), ledger.Stop{Scope: scope, On: true, Why: "drill", At: time.Now()}))
	}
	u := reached(t)
	cfg := config(t)
	cfg.HTTPClient = backwards{cfg.HTTPClient}
	limits := []ledger.Limit{perControl(5), perAccount(1)}
	want, err := readOf(t.Context(), l, observed, limits...)
	must(t, err)
	got, err := readOf(t.Context(), ledger.New(cfg, table(t)), observed, limits...)
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" && len(hours(u.Hour)) == 1 {
		t.Errorf("the gates (-in order +backwards):\n%s", diff)
	}
	if got.Stop == nil || got.Stop.Scope != ledger.Organization || got.Exemption == nil || got.Live == nil || len(got.Rounds) != 1 {
		t.Errorf("the gates: %+v", got)
	}
}

func TestTakeOverByWhoReadTheGatesTooEarlyIsBusy(t *testing.T) {
	l, c, first := newLedger(t), newCase("null", "{}"), ledger.NewWorker(time.Now().Add(-time.Second))
	must(t, l.Open(t.Context(), c, ledger.Gates{}, first))
	old := read(t, l)
	must(t, l.Release(t.Context(), c, first)) // it was not dead
	again := ledger.NewWorker(time.Now().Add(time.Minute))
	if _, err := l.TakeOver(t.Context(), c.ID, old, again, func(*ledger.Case) {}); !errors.Is(err, ledger.ErrBusy) {
		t.Errorf("the case was taken over on gates that have moved: %v", err)
	}
	_, err := l.TakeOver(t.Context(), c.ID, read(t, l), again, func(*ledger.Case) {})
	must(t, err)
}

func TestEachThingThatAWorkerSawOfTheLockMustHold(t *testing.T) {
	l := newLedger(t)
	fight(t, l, newCase("null", "{}"))
	for name, change := range map[string]func(*ledger.Gates){
		"another latest case": func(g *ledger.Gates) { g.Latest = "20260101-00000000" },
		"no latest case":      func(g *ledger.Gates) { g.Latest = "" },
		"left later":          func(g *ledger.Gates) { g.Released = g.Released.Add(time.Millisecond) },
		"left earlier":        func(g *ledger.Gates) { g.Released = g.Released.Add(-time.Millisecond) },
		"never left":          func(g *ledger.Gates) { g.Released = time.Time{} },
	} {
		g := read(t, l)
		change(&g)
		if err := l.Open(t.Context(), newCase("null", "{}"), g, ledger.NewWorker(time.Now().Add(time.Minute))); !errors.Is(err, ledger.ErrBusy) {
			t.Errorf("%s: a case was opened: %v", name, err)
		}
	}
}

func TestGatesThatCantBeUnderstoodAreDamaged(t *testing.T) {
	with := func(key item, more item) item {
		for name, value := range more {
			key[name] = value
		}
		return key
	}
	hour := time.Now().UTC().Format("2006-01-02T15")
	limit := item{"pk": text("limit#account#222222222222"), "sk": text(hour)}
	exemption := item{"pk": text("exemptions"), "sk": text("arn:aws:s3:::example example-control"), "control": text("example-control"), "resource": text("arn:aws:s3:::example")}
	clone := func(i item) item { return with(item{}, i) }
	round := func(more item) item {
		return item{"rounds": &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberM{Value: more}}}}
	}
	for name, damaged := range map[string]item{
		"lease":                   with(targetKey("lock"), item{"lease": text("soon")}),
		"lease_no_whole_number":   with(targetKey("lock"), item{"lease": &types.AttributeValueMemberN{Value: "1.5"}}),
		"release":                 with(targetKey("lock"), item{"released": text("just now")}),
		"latest_case":             with(targetKey("lock"), item{"latest": number(7)}),
		"rounds":                  with(targetKey("lock"), item{"rounds": text("two")}),
		"round_without_time":      with(targetKey("lock"), round(item{"case": text("c"), "control": text("example-control")})),
		"round_without_case":      with(targetKey("lock"), round(item{"at": number(time.Now().UnixMilli())})),
		"live_case_without_case":  with(targetKey("control#example-control"), item{"state": text("open")}),
		"live_case_without_state": with(targetKey("control#example-control"), item{"case": text("c")}),
		"live_case_in_odd_state":  with(targetKey("control#example-control"), item{"case": text("c"), "state": text("waiting")}),
		"live_case_with_odd_end":  with(targetKey("control#example-control"), item{"case": text("c"), "state": text("held"), "until": text("never")}),
		"exemption_without_end":   with(clone(exemption), item{"created": text("2026-11-22T01:00:00.000Z")}),
		"exemption_without_begin": with(clone(exemption), item{"until": text("2026-11-22T01:00:00.000Z")}),
		"exemption_with_odd_end":  with(clone(exemption), item{"created": text("2026-11-22T01:00:00.000Z"), "until": text("soon")}),
		"stop_neither_on_nor_off": {"pk": text("stop"), "sk": text("organization"), "on": text("true")},
		"stop_without_on":         {"pk": text("stop"), "sk": text(target.Account), "scope": text(target.Account)},
		"stop_at_an_odd_time":     {"pk": text("stop"), "sk": text(target.Account), "on": &types.AttributeValueMemberBOOL{Value: true}, "at": text("noon")},
		"limit_not_a_number":      with(clone(limit), item{"changes": text("many")}),
		"limit_without_changes":   with(clone(limit), item{"ttl": number(1)}),
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t)
			put(t, damaged)
			if damaged["sk"] == limit["sk"] { // the hour may turn before it is read
				put(t, with(clone(damaged), item{"sk": text(time.Now().UTC().Add(time.Hour).Format("2006-01-02T15"))}))
			}
			c := newCase("null", "{}")
			if _, err := readOf(t.Context(), l, c, perAccount(5)); !errors.Is(err, ledger.ErrDamaged) {
				t.Errorf("the gates are read: %v", err)
			}
			if err := readAgain(t, l, damaged); err != nil && !errors.Is(err, ledger.ErrDamaged) {
				t.Errorf("read by itself: %v", err)
			}
		})
	}
}

// readAgain reads an item with whatever else of the ledger reads it: an error,
// or nil if nothing else does.
func readAgain(t *testing.T, l *ledger.Ledger, of item) error {
	t.Helper()
	var err error
	switch pk := of["pk"].(*types.AttributeValueMemberS).Value; pk {
	case "limit#account#222222222222":
		if _, err = l.Usage(t.Context(), perAccount(5), time.Now()); err == nil {
			t.Error("the limit is read")
		}
	case "exemptions":
		_, err = l.Exemption(t.Context(), "example-control", "arn:aws:s3:::example")
		for _, listed := range l.Exemptions(t.Context(), true) {
			err = errors.Join(err, listed)
		}
		if err == nil {
			t.Error("the exemption is read")
		}
	case "stop":
		for _, err = range l.Stops(t.Context()) {
			break
		}
		if err == nil {
			t.Error("the kill switch is read")
		}
	}
	return err
}

func TestCaseThatCantBeUnderstoodIsDamagedAndHidesNoOther(t *testing.T) {
	for name, more := range map[string]item{
		"a newer version":  {"version": number(ledger.CaseVersion + 1)},
		"steps no list":    {"steps": text("one")},
		"a step no map":    {"steps": &types.AttributeValueMemberL{Value: []types.AttributeValue{text("one")}}},
		"closed some time": {"closed": text("yesterday")},
	} {
		t.Run(name, func(t *testing.T) {
			l, good := newLedger(t), newCase("null", "{}")
			must(t, l.Open(t.Context(), good, ledger.Gates{}, ledger.NewWorker(time.Now().Add(time.Minute))))
			damaged := item{
				"pk": text("case#20260101-00000000"), "sk": text("case"), "case": text("20260101-00000000"),
				"account": text(target.Account), "opened": text("2027-01-01T00:00:00.000Z"),
			}
			for k, v := range more {
				damaged[k] = v
			}
			put(t, damaged)
			if _, err := l.Case(t.Context(), "20260101-00000000"); !errors.Is(err, ledger.ErrDamaged) {
				t.Errorf("the case is read: %v", err)
			}
			var listed []string
			for c, err := range l.Cases(t.Context(), ledger.Query{Account: target.Account}) {
				if errors.Is(err, ledger.ErrDamaged) {
					listed = append(listed, "damaged")
					continue
				}
				must(t, err)
				listed = append(listed, c.ID)
			}
			if diff := cmp.Diff([]string{"damaged", good.ID}, listed); diff != "" {
				t.Errorf("the list (-want +got):\n%s", diff)
			}
		})
	}
}

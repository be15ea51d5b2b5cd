package ledger_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func TestKillSwitchesAreSeenByTheGatesFromTheNextReadOn(t *testing.T) {
	l := newLedger(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	by := ledger.Caller{ARN: "arn:aws:sts::111111111111:assumed-role/operators/bob", Host: "laptop"}
	organization := ledger.Stop{Scope: ledger.Organization, On: true, Why: "wild", By: by, At: now}
	account := ledger.Stop{Scope: target.Account, On: true, Why: "migration", By: by, At: now.Add(time.Second)}
	other := ledger.Stop{Scope: "333333333333", On: true, Why: "migration", By: by, At: now.Add(2 * time.Second)}
	off := func(s ledger.Stop, at time.Duration) ledger.Stop {
		s.On, s.Why, s.At = false, "over", now.Add(at)
		return s
	}
	for i, tt := range []struct {
		turn  ledger.Stop
		gates *ledger.Stop  // what the gates of a target in the account say
		on    []ledger.Stop // all that are on, by scope
	}{
		{other, nil, []ledger.Stop{other}},
		{account, &account, []ledger.Stop{account, other}},
		{organization, &organization, []ledger.Stop{account, other, organization}},
		{off(account, 3*time.Second), &organization, []ledger.Stop{other, organization}},
		{account, &organization, []ledger.Stop{account, other, organization}},
		{off(organization, 4*time.Second), &account, []ledger.Stop{account, other}},
		{off(account, 5*time.Second), nil, []ledger.Stop{other}},
		{off(other, 6*time.Second), nil, nil},
	} {
		must(t, l.Switch(t.Context(), tt.turn))
		if diff := cmp.Diff(tt.gates, read(t, l).Stop); diff != "" {
			t.Errorf("turn %d: the gates (-want +got):\n%s", i, diff)
		}
		if diff := cmp.Diff(tt.on, stops(t, l)); diff != "" {
			t.Errorf("turn %d: the switches (-want +got):\n%s", i, diff)
		}
	}
}

func stops(t *testing.T, l *ledger.Ledger) []ledger.Stop {
	t.Helper()
	var on []ledger.Stop
	for s, err := range l.Stops(t.Context()) {
		must(t, err)
		on = append(on, *s)
	}
	return on
}

func TestEveryTurnOfAKillSwitchIsKept(t *testing.T) {
	l := newLedger(t)
	now := time.Date(2026, 11, 22, 1, 0, 0, 0, time.FixedZone("", 3600)) // 00:00 UTC
	for i, on := range []bool{true, false, true} {
		must(t, l.Switch(t.Context(), ledger.Stop{
			Scope: ledger.Organization, On: on, Why: "drill", By: ledger.Caller{ARN: "bob"}, At: now.Add(time.Duration(i) * time.Hour),
		}))
	}
	out, err := client(t).Query(t.Context(), &dynamodb.QueryInput{
		TableName: aws.String(table(t)), KeyConditionExpression: aws.String("pk = :log"),
		ExpressionAttributeValues: item{":log": text("stop-log")},
	})
	must(t, err)
	var got []string
	for _, i := range out.Items {
		turned := "off"
		if i["on"].(*types.AttributeValueMemberBOOL).Value {
			turned = "on"
		}
		by := i["by"].(*types.AttributeValueMemberM).Value["arn"].(*types.AttributeValueMemberS).Value
		got = append(got, i["sk"].(*types.AttributeValueMemberS).Value+" "+turned+" by "+by)
	}
	want := []string{
		"2026-11-22T00:00:00.000Z organization on by bob",
		"2026-11-22T01:00:00.000Z organization off by bob",
		"2026-11-22T02:00:00.000Z organization on by bob",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}

func TestStoppedAccountStopsNoOther(t *testing.T) {
	l := newLedger(t)
	must(t, l.Switch(t.Context(), ledger.Stop{Scope: target.Account, On: true, At: time.Now()}))
	elsewhere := control.Target{Account: "333333333333", Region: target.Region, Type: target.Type, ID: target.ID}
	g, err := l.Read(t.Context(), ledger.Question{Control: "example-control", Target: elsewhere, ARN: "arn:aws:s3:::example"})
	must(t, err)
	if g.Stop != nil {
		t.Errorf("account 333333333333 is stopped by %+v", g.Stop)
	}
}

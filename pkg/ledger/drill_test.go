package ledger_test

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/ledger"
)

func canaryOf(drill string) ledger.Canary {
	return ledger.Canary{Drill: drill, Domain: "storage", Account: "222222222222", Region: "eu-west-1"}
}

// arrive has a canary come, and says whether it was taken down.
func arrive(t *testing.T, d *ledger.Drills, c ledger.Canary, at time.Time) bool {
	t.Helper()
	ok, err := d.Arrived(t.Context(), c, at)
	must(t, err)
	return ok
}

func canaries(t *testing.T, l *ledger.Ledger, drill, domain string) []ledger.Canary {
	t.Helper()
	all, err := l.Canaries(t.Context(), drill, domain)
	must(t, err)
	return all
}

func TestCanariesOfManyFunctionsAreTakenDownOnceEach(t *testing.T) {
	l, now := newLedger(t), time.Now()
	drill, err := l.BeginDrill(t.Context(), now)
	must(t, err)
	var want []ledger.Canary
	for i := range 20 {
		want = append(want, ledger.Canary{Drill: drill, Domain: "storage", Account: fmt.Sprintf("%012d", i), Region: "eu-west-1"})
	}
	var side sync.WaitGroup
	for range 4 { // functions, each with its own view of the drills
		d := ledger.NewDrills(l)
		for _, c := range append(want, want...) { // each message is handed out twice
			side.Go(func() {
				if ok, err := d.Arrived(t.Context(), c, time.Now()); err != nil || !ok {
					t.Errorf("%+v: taken down %t, %v", c, ok, err)
				}
			})
		}
	}
	side.Wait()
	got := canaries(t, l, drill, "storage")
	slices.SortFunc(got, func(a, b ledger.Canary) int { return cmp.Compare(a.Account, b.Account) })
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("canaries (-want +got):\n%s", diff)
	}
	if other := canaries(t, l, drill, "network"); len(other) != 0 {
		t.Errorf("canaries of another domain: %+v", other)
	}
}

func TestCanaryOfNoRunningDrillIsNotTakenDown(t *testing.T) {
	l, now := newLedger(t), time.Now()
	old, err := l.BeginDrill(t.Context(), now.Add(-time.Hour))
	must(t, err)
	late, err := l.BeginDrill(t.Context(), now.Add(-59*time.Minute))
	must(t, err)
	d := ledger.NewDrills(l)
	for _, tt := range []struct {
		drill string
		at    time.Time
		want  bool
	}{
		{"20261122-00000000", now, false},
		{old, now, false},
		{late, now, true},
		{late, now.Add(time.Minute), false}, // known to the function, and over
	} {
		if got := arrive(t, d, canaryOf(tt.drill), tt.at); got != tt.want {
			t.Errorf("drill %s at %s: taken down %t", tt.drill, tt.at, got)
		}
	}
	for drill, n := range map[string]int{"20261122-00000000": 0, old: 0, late: 1} {
		if got := canaries(t, l, drill, "storage"); len(got) != n {
			t.Errorf("drill %s: %+v, want %d", drill, got, n)
		}
	}
}

func TestDrillIsKnownToEveryFunctionOnceItHasSettled(t *testing.T) {
	l, now := newLedger(t), time.Now()
	d := ledger.NewDrills(l)
	arrive(t, d, canaryOf("20261122-00000000"), now) // it has just looked
	drill, err := l.BeginDrill(t.Context(), now)
	must(t, err)
	if !arrive(t, d, canaryOf(drill), now.Add(ledger.DrillSettles)) {
		t.Error("a drill that has settled is not known")
	}
}

// The next drill is found although the function knows of one.
func TestNextDrillIsFoundBesideTheOneThatRuns(t *testing.T) {
	l, now := newLedger(t), time.Now()
	d := ledger.NewDrills(l)
	for i := range 3 {
		at := now.Add(time.Duration(i) * 10 * time.Second)
		drill, err := l.BeginDrill(t.Context(), at)
		must(t, err)
		if !arrive(t, d, canaryOf(drill), at.Add(ledger.DrillSettles)) {
			t.Errorf("drill %d is not known", i)
		}
	}
}

func TestFloodOfUnknownCanariesIsReadForOnce(t *testing.T) {
	l, now := newLedger(t), time.Now()
	drill, err := l.BeginDrill(t.Context(), now)
	must(t, err)
	calls := map[string]int{}
	through, _ := via(t, func(operation string, _ []byte) *http.Response { calls[operation]++; return nil })
	d := ledger.NewDrills(through)
	for i := range 1000 {
		if arrive(t, d, canaryOf(fmt.Sprintf("20261122-%08d", i)), now) {
			t.Fatal("an unknown canary is taken down")
		}
	}
	if !arrive(t, d, canaryOf(drill), now) {
		t.Error("the canary of the drill that runs is not taken down")
	}
	if diff := gocmp.Diff(map[string]int{"Query": 1, "PutItem": 1}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got := canaries(t, l, drill, "storage"); len(got) != 1 {
		t.Errorf("canaries: %+v", got)
	}
}

// DynamoDB deletes an item whose attribute ttl is a number of seconds since 1970
// that is over. Source: DynamoDB developer guide, "Using time to live (TTL)".
// DynamoDB Local deletes nothing that fast: that the attribute is there must do.
func TestDrillsAndCanariesGoAfterTwoDays(t *testing.T) {
	l, now := newLedger(t), time.Now()
	drill, err := l.BeginDrill(t.Context(), now)
	must(t, err)
	arrive(t, ledger.NewDrills(l), canaryOf(drill), now)
	out, err := client(t).Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String(table(t))})
	must(t, err)
	if len(out.Items) != 2 {
		t.Errorf("%d items, want the drill and its canary", len(out.Items))
	}
	for _, i := range out.Items {
		if ttl, ok := i["ttl"].(*types.AttributeValueMemberN); !ok || ttl.Value != fmt.Sprint(now.Add(48*time.Hour).Unix()) {
			t.Errorf("item %v ends at %v, want in two days", i["pk"], i["ttl"])
		}
	}
}

func TestDamagedDrillIsNoDrill(t *testing.T) {
	l, now := newLedger(t), time.Now()
	_, err := client(t).PutItem(t.Context(), &dynamodb.PutItemInput{
		TableName: aws.String(table(t)), Item: item{"pk": text("drills"), "sk": text("9999")},
	})
	must(t, err)
	if ok, err := ledger.NewDrills(l).Arrived(t.Context(), canaryOf("9999"), now); err == nil || ok {
		t.Errorf("taken down %t, %v", ok, err)
	}
}

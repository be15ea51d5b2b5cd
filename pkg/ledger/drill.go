package ledger

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const (
	drills      = "drills" // the partition of drills, by their time
	drillPrefix = "drill#" // the partitions of their canaries, one a drill and domain

	// drillLasts is how long canaries of a drill are taken down: one that is late by
	// less is known to have come, and no longer than to the next hourly drill.
	drillLasts = time.Hour
	// drillLife is how long drills and canaries are kept, for questions; then
	// DynamoDB deletes them by their attribute ttl.
	drillLife = 48 * time.Hour

	// DrillSettles is how long after its beginning a drill is known to every
	// function: canaries must not be sent before.
	DrillSettles = 2 * time.Second
)

// BeginDrill begins a drill and returns its ID.
func (l *Ledger) BeginDrill(ctx context.Context, now time.Time) (string, error) {
	id := NewID(now)
	_, err := l.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String(l.table),
		Item: map[string]types.AttributeValue{
			"pk": str(drills), "sk": str(now.UTC().Format(timeFormat) + " " + id), "ttl": num(now.Add(drillLife).Unix()),
		},
		ConditionExpression: aws.String("attribute_not_exists(pk)"),
	})
	if err != nil {
		return "", l.wrap("begin drill "+id, err)
	}
	return id, nil
}

// Canary is an event of a drill that came from an account and Region to the
// function of a domain.
type Canary struct {
	Drill, Domain   string
	Account, Region string
}

// site is how the canary's item names where it came from.
func (c Canary) site() string { return c.Account + "/" + c.Region }

// Canaries are those of a drill that came to the function of a domain.
func (l *Ledger) Canaries(ctx context.Context, drill, domain string) ([]Canary, error) {
	var all []Canary
	for item, err := range l.partition(ctx, drillPrefix+drill+"#"+domain) {
		c := Canary{Drill: drill, Domain: domain}
		ok := false
		if err == nil {
			if c.Account, c.Region, ok = strings.Cut(text(item["sk"]), "/"); !ok {
				err = damaged(item, errors.New("it names no account and Region"))
			}
		}
		if err != nil {
			return nil, l.wrap("read the canaries of drill "+drill, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// Drills takes down the canaries of the drills that are running. It is safe for
// concurrent use, and kept for as long as a function runs.
type Drills struct {
	ledger *Ledger

	mu      sync.Mutex
	running map[string]time.Time // by the ID of the drill: when it began
	read    time.Time            // when they were read
}

// NewDrills returns the drills of a ledger.
func NewDrills(l *Ledger) *Drills { return &Drills{ledger: l} }

// Arrived takes down that a canary came, once, and reports whether it did: a
// canary of no drill that is running is not taken down, since anybody in the
// organization may send such events.
func (d *Drills) Arrived(ctx context.Context, c Canary, now time.Time) (bool, error) {
	ok, err := d.runs(ctx, c.Drill, now)
	if err != nil || !ok {
		return false, err
	}
	l := d.ledger
	_, err = l.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String(l.table),
		Item: map[string]types.AttributeValue{
			"pk": str(drillPrefix + c.Drill + "#" + c.Domain), "sk": str(c.site()),
			"at": str(now.UTC().Format(timeFormat)), "ttl": num(now.Add(drillLife).Unix()),
		},
		ConditionExpression: aws.String("attribute_not_exists(pk)"),
	})
	var there *types.ConditionalCheckFailedException
	if err != nil && !errors.As(err, &there) {
		return false, l.wrap("take down a canary of drill "+c.Drill, err)
	}
	return true, nil
}

// runs reports whether a drill is running. An unknown one is looked up unless
// that was done a moment ago, so that a flood of unknown ones costs one read in
// that time.
func (d *Drills) runs(ctx context.Context, id string, now time.Time) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running[id].IsZero() && now.Sub(d.read) >= DrillSettles/2 {
		running, err := d.ledger.runningDrills(ctx, now)
		if err != nil {
			return false, err
		}
		d.running, d.read = running, now
	}
	began, ok := d.running[id]
	return ok && now.Sub(began) < drillLasts, nil
}

// runningDrills are the drills that may still be running, and when they began.
func (l *Ledger) runningDrills(ctx context.Context, now time.Time) (map[string]time.Time, error) {
	const what = "read the drills"
	running := map[string]time.Time{}
	out, err := l.db.Query(ctx, &dynamodb.QueryInput{
		TableName: aws.String(l.table), ConsistentRead: aws.Bool(true),
		KeyConditionExpression: aws.String("pk = :drills AND sk >= :since"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":drills": str(drills), ":since": str(now.Add(-drillLasts).UTC().Format(timeFormat)),
		},
	})
	if err != nil {
		return nil, l.wrap(what, err)
	}
	for _, item := range out.Items {
		at, id, _ := strings.Cut(text(item["sk"]), " ")
		began, err := time.Parse(timeFormat, at)
		if err != nil || id == "" {
			return nil, l.wrap(what, damaged(item, errors.New("it names no time and ID")))
		}
		running[id] = began
	}
	return running, nil
}

// Package ledger keeps the cases in one DynamoDB table: what was found, what
// was changed, and what was there before. Nothing is changed in an account
// before it is written here.
//
// # Items
//
// Every item has a partition key pk and a sort key sk.
//
//	pk                              sk              what it is
//	case#<case>                     case            one case (Case), kept for good
//	target#<acct>/<rgn>/<type>/<id> lock            the worker on a target and when its lease ends; the latest case,
//	                                                and when the last worker left
//	target#<acct>/<rgn>/<type>/<id> control#<id>    the live case of one control on a target, if any
//
// A target has at most one worker at a time, whichever control it works for.
// Its lease ends by itself, so the case of a killed worker can be taken over;
// the live-case item says which case that is. The live-case item also marks
// violations that are known but not changed (observed, awaiting approval, held,
// unreadable), so that the next event about the same violation is not a new
// case; it goes when the resource is found compliant.
//
// # Access patterns
//
//	a case by its ID                 GetItem       case#<case>
//	the gates before a change        BatchGetItem  lock and control#<id> of the target, strongly consistent
//	cases of a target, by time       Query         index by-target   (target, opened)
//	cases of an account, by time     Query         index by-account  (account, opened)
//	cases of a day                   Query         index by-day      (day, opened)
//	open, awaiting approval, …       Query         index by-state    (state, opened), which holds live cases alone
//
// All writes are conditional, most are one TransactWriteItems, so any number
// of workers may run at once. Times are UTC in RFC 3339; leases, which are
// compared in conditions, are milliseconds since 1970.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/snapback-aws/snapback/pkg/control"
)

// ErrBusy says that another worker holds the target, or that what the write
// was based on has moved since it was read. Read again, then decide again.
var ErrBusy = errors.New("another worker is on this target")

// ErrNoCase says that there is no case of the given ID.
var ErrNoCase = errors.New("no such case")

// Ledger is the table. It is safe for concurrent use.
type Ledger struct {
	db    *dynamodb.Client
	table string
}

// New returns the ledger in the named table, or table ARN, of cfg's account
// and Region.
func New(cfg aws.Config, table string) *Ledger {
	return &Ledger{db: dynamodb.NewFromConfig(cfg), table: table}
}

// Gates is what must be known before a change: who works on the target and
// which case of this control is live.
type Gates struct {
	// LeaseEnds is when the present worker's lease on the target ends; past or
	// zero if there is none.
	LeaseEnds time.Time
	// Released is when the last worker left the target; zero if none has.
	Released time.Time
	// Latest is the latest case of the target, by any control; empty if none.
	Latest string
	// Live is the control's live case on the target; nil if there is none.
	Live *Live
}

// Taken reports whether a worker is on the target now.
func (g Gates) Taken() bool { return time.Now().Before(g.LeaseEnds) }

// Begun reports whether a worker, alive or not, has begun to change the target
// for this control and not closed the case.
func (g Gates) Begun() bool { return g.Live != nil && g.Live.State == Open }

// Live is a case that is not closed.
type Live struct {
	Case string `dynamodbav:"case"`
	// State is Open while a worker is to change the resource, or the outcome
	// that the violation has: observed, awaiting-approval, held, unreadable.
	State State `dynamodbav:"state"`
	// Digest is the digest of the violation, so that the same one is known again.
	Digest string `dynamodbav:"digest"`
	// Alerted says that the operators were told; until then AlertLease is when
	// whoever is about to tell them must have done so, in ms since 1970.
	Alerted    bool  `dynamodbav:"alerted"`
	AlertLease int64 `dynamodbav:"alertLease"`
}

// State is where a live case stands.
type State string

// Open is the state of a case whose change is being made. The other states are
// spelled like the outcomes that they stand for.
const Open State = "open"

// Valid reports whether s is a state that a live case may have.
func (s State) Valid() bool {
	switch s {
	case Open, State(control.Observed), State(control.AwaitingApproval), State(control.Held), State(control.Unreadable):
		return true
	}
	return false
}

// Worker is one attempt at a target, with the time up to which nobody else may
// work on it.
type Worker struct {
	ID    string
	Lease time.Time
}

// NewWorker returns a worker with a name of its own.
func NewWorker(lease time.Time) Worker { return Worker{ID: newName(16), Lease: lease} }

// Read reads the gates of a control and target, strongly consistent, in one
// round trip.
func (l *Ledger) Read(ctx context.Context, controlID string, t control.Target) (Gates, error) {
	request := map[string]types.KeysAndAttributes{l.table: {
		ConsistentRead: aws.Bool(true),
		Keys:           []map[string]types.AttributeValue{lockKey(t), liveKey(controlID, t)},
	}}
	var g Gates
	for len(request) > 0 {
		out, err := l.db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: request})
		if err != nil {
			return Gates{}, l.wrap("read the gates", err)
		}
		// There is one table, whether the answer calls it by its name or its ARN.
		for _, items := range out.Responses {
			for _, item := range items {
				if err := g.add(item); err != nil {
					return Gates{}, l.wrap("read the gates", err)
				}
			}
		}
		request = out.UnprocessedKeys
	}
	return g, nil
}

func (g *Gates) add(item map[string]types.AttributeValue) error {
	if text(item["sk"]) != lockSort {
		g.Live = &Live{}
		return attributevalue.UnmarshalMap(item, g.Live)
	}
	g.Latest = text(item["latest"])
	var err error
	if g.LeaseEnds, err = milliseconds(item["lease"]); err != nil {
		return err
	}
	g.Released, err = milliseconds(item["released"])
	return err
}

// milliseconds is a time that is kept as ms since 1970; zero if there is none.
func milliseconds(v types.AttributeValue) (time.Time, error) {
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		return time.Time{}, nil
	}
	ms, err := strconv.ParseInt(n.Value, 10, 64)
	return time.UnixMilli(ms), err
}

// Open writes a new case with its change before anything is changed, and takes
// the target for the worker. A live case of the same control that was not
// being worked on (observed, awaiting approval, …) ends as superseded. ErrBusy:
// someone else was faster, or has come and gone since the gates were read.
func (l *Ledger) Open(ctx context.Context, c *Case, g Gates, w Worker) error {
	c.State = Open
	lock := l.lock(c, w)
	if g.Latest == "" {
		*lock.Update.ConditionExpression += " AND attribute_not_exists(latest)"
	} else {
		*lock.Update.ConditionExpression += " AND latest = :seen"
		lock.Update.ExpressionAttributeValues[":seen"] = str(g.Latest)
	}
	return l.transact(ctx, "open case "+c.ID, append(l.put(c, g, Live{Case: c.ID, State: Open, Digest: c.Digest()}), lock))
}

// TakeOver takes an open case whose worker's lease has ended, reads it, and
// lets again merge what a new plan found. The case is written before TakeOver
// returns. ErrBusy: someone else was faster.
func (l *Ledger) TakeOver(ctx context.Context, id string, w Worker, merge func(*Case)) (*Case, error) {
	c, err := l.Case(ctx, id)
	if err != nil {
		return nil, err
	}
	merge(c)
	return c, l.transact(ctx, "take over case "+id, []types.TransactWriteItem{
		l.lock(c, w),
		l.update(c),
		{ConditionCheck: &types.ConditionCheck{
			TableName: aws.String(l.table), Key: liveKey(c.Control, c.Target),
			ConditionExpression:       aws.String("#case = :case"),
			ExpressionAttributeNames:  map[string]string{"#case": "case"},
			ExpressionAttributeValues: map[string]types.AttributeValue{":case": str(id)},
		}},
	})
}

// Release gives the target free without closing the case, so that the
// redelivered event takes it over at once. What the case says by now is kept.
func (l *Ledger) Release(ctx context.Context, c *Case, w Worker) error {
	return l.transact(ctx, "release case "+c.ID, []types.TransactWriteItem{l.update(c), l.unlock(c, w)})
}

// Close ends a case that the worker holds: with its outcome, no longer live,
// the target free.
func (l *Ledger) Close(ctx context.Context, c *Case, w Worker) error {
	c.State, c.Closed = "", time.Now().UTC()
	return l.transact(ctx, "close case "+c.ID, []types.TransactWriteItem{
		l.update(c), l.unlock(c, w), l.dropLive(c.Control, c.Target, c.ID),
	})
}

// Record writes a case in which nothing is changed now (observed,
// awaiting-approval, held, unreadable). It stays live until the resource is
// found compliant or another case supersedes it. Whoever recorded it has until
// alertBy to tell the operators. ErrBusy: someone else was faster.
func (l *Ledger) Record(ctx context.Context, c *Case, g Gates, alertBy time.Time) error {
	c.State = State(c.Outcome)
	return l.transact(ctx, "record case "+c.ID, l.put(c, g, Live{
		Case: c.ID, State: c.State, Digest: c.Digest(), AlertLease: alertBy.UnixMilli(),
	}))
}

// Alerted notes that the operators were told of a recorded case, or, with a
// zero time, that telling them failed and the next event may try again.
func (l *Ledger) Alerted(ctx context.Context, c *Case, at time.Time) error {
	c.Alerted = at.UTC()
	writes := []types.TransactWriteItem{{Update: &types.Update{
		TableName: aws.String(l.table), Key: liveKey(c.Control, c.Target),
		UpdateExpression:         aws.String("SET alerted = :alerted, alertLease = :zero"),
		ConditionExpression:      aws.String("#case = :case"),
		ExpressionAttributeNames: map[string]string{"#case": "case"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":alerted": &types.AttributeValueMemberBOOL{Value: !at.IsZero()}, ":zero": num(0), ":case": str(c.ID),
		},
	}}}
	if !at.IsZero() {
		writes = append(writes, types.TransactWriteItem{Update: &types.Update{
			TableName: aws.String(l.table), Key: caseKey(c.ID),
			UpdateExpression:          aws.String("SET alerted = :at"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":at": str(c.Alerted.Format(timeFormat))},
		}})
	}
	err := l.transact(ctx, "note the alert of case "+c.ID, writes)
	if errors.Is(err, ErrBusy) {
		return nil // the case is no longer live: nothing will ask whether it was alerted
	}
	return err
}

// Resolve ends a live case because its resource was found compliant, or gone.
func (l *Ledger) Resolve(ctx context.Context, controlID string, t control.Target, live Live, why string) error {
	err := l.transact(ctx, "resolve case "+live.Case, []types.TransactWriteItem{
		l.dropLive(controlID, t, live.Case), l.end(live.Case, why),
	})
	if errors.Is(err, ErrBusy) {
		return nil // someone else resolved or superseded it
	}
	return err
}

// put are the writes of a new case and its live item. A live case that was
// read before is superseded.
func (l *Ledger) put(c *Case, g Gates, live Live) []types.TransactWriteItem {
	item, err := attributevalue.MarshalMap(live)
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	putLive := &types.Put{
		TableName: aws.String(l.table), Item: item,
		ConditionExpression: aws.String("attribute_not_exists(pk)"),
	}
	for k, v := range liveKey(c.Control, c.Target) {
		item[k] = v
	}
	writes := []types.TransactWriteItem{
		{Put: &types.Put{
			TableName: aws.String(l.table), Item: c.item(),
			ConditionExpression: aws.String("attribute_not_exists(pk)"),
		}},
		{Put: putLive},
	}
	if g.Live != nil {
		putLive.ConditionExpression = aws.String("#case = :case")
		putLive.ExpressionAttributeNames = map[string]string{"#case": "case"}
		putLive.ExpressionAttributeValues = map[string]types.AttributeValue{":case": str(g.Live.Case)}
		writes = append(writes, l.end(g.Live.Case, "superseded by case "+c.ID))
	}
	return writes
}

// lock takes the target for the worker if no lease on it runs.
func (l *Ledger) lock(c *Case, w Worker) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: aws.String(l.table), Key: lockKey(c.Target),
		UpdateExpression:    aws.String("SET worker = :worker, lease = :lease, latest = :case"),
		ConditionExpression: aws.String("(attribute_not_exists(lease) OR lease <= :now)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":worker": str(w.ID), ":lease": num(w.Lease.UnixMilli()), ":case": str(c.ID), ":now": num(time.Now().UnixMilli()),
		},
	}}
}

// unlock ends the worker's lease, if it is still the worker's.
func (l *Ledger) unlock(c *Case, w Worker) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: aws.String(l.table), Key: lockKey(c.Target),
		UpdateExpression:    aws.String("SET released = :now REMOVE worker, lease"),
		ConditionExpression: aws.String("worker = :worker"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":worker": str(w.ID), ":now": num(time.Now().UnixMilli()),
		},
	}}
}

// update writes a case anew. Its holder alone does so: the condition on the
// lock, in the same transaction, sees to that.
func (l *Ledger) update(c *Case) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{
		TableName: aws.String(l.table), Item: c.item(), ConditionExpression: aws.String("attribute_exists(pk)"),
	}}
}

// end closes a case in which nothing was changed.
func (l *Ledger) end(id, why string) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: aws.String(l.table), Key: caseKey(id),
		UpdateExpression:         aws.String("SET closed = :now, ended = :why REMOVE #state"),
		ExpressionAttributeNames: map[string]string{"#state": "state"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":now": str(time.Now().UTC().Format(timeFormat)), ":why": str(why),
		},
	}}
}

func (l *Ledger) dropLive(controlID string, t control.Target, id string) types.TransactWriteItem {
	return types.TransactWriteItem{Delete: &types.Delete{
		TableName: aws.String(l.table), Key: liveKey(controlID, t),
		ConditionExpression:       aws.String("#case = :case"),
		ExpressionAttributeNames:  map[string]string{"#case": "case"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":case": str(id)},
	}}
}

// transact writes all or nothing. A condition that does not hold, or another
// transaction on the same items, is ErrBusy.
func (l *Ledger) transact(ctx context.Context, what string, writes []types.TransactWriteItem) error {
	_, err := l.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: writes})
	var canceled *types.TransactionCanceledException
	if errors.As(err, &canceled) {
		for _, reason := range canceled.CancellationReasons {
			if code := aws.ToString(reason.Code); code == "ConditionalCheckFailed" || code == "TransactionConflict" {
				return fmt.Errorf("%s: %w", what, ErrBusy)
			}
		}
	}
	if err != nil {
		return l.wrap(what, err)
	}
	return nil
}

func (l *Ledger) wrap(what string, err error) error {
	return fmt.Errorf("ledger table %s: %s: %w", l.table, what, err)
}

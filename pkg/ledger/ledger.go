// Package ledger keeps the cases in one DynamoDB table: what was found, what
// was changed, and what was there before. Nothing is changed in an account
// before it is written here.
//
// # Items
//
// Every item has a partition key pk and a sort key sk.
//
//	pk                              sk                 what it is
//	case#<case>                     case               one case (Case), kept for good
//	target#<acct>/<rgn>/<type>/<id> lock               the worker on a target and when its lease ends; the latest case, when the
//	                                                   last worker left, and the rounds: the changes of the last 24 hours
//	target#<acct>/<rgn>/<type>/<id> control#<id>       the live case of one control on a target, if any (Live)
//	limit#<scope>#<of>              <hour>             changes in one hour by the clock, of an account or a control (Usage)
//	exemptions                      <ARN> <control>    an exemption made by command, in force or ended (Exemption)
//	exemptions-former               <time> <ARN> <c.>  one that was replaced or removed
//	stop                            organization       the kill switch of the organization, on or off (Stop)
//	stop                            <acct>             that of one account
//	stop-log                        <time> <scope>     every change of a kill switch
//	drills                          <time> <drill>     a drill that was begun
//	drill#<drill>#<domain>          <acct>/<rgn>       when the drill's canary from there came to the domain's function (Canary)
//
// A target has at most one worker at a time, whichever control it works for.
// Its lease ends by itself, so the case of a killed worker can be taken over;
// the live-case item says which case that is. The live-case item also marks
// violations that are known but not changed (observed, awaiting approval,
// denied, held, unreadable), so that the next event about the same violation is
// not a new case; it goes when the resource is found compliant.
//
// A counter of a limit is raised in the transaction that opens a case, so it
// can't be passed and counts nothing twice. Its item is hot where one control
// finds very many violations at once: transactions that meet there cancel each
// other and are sent again; once the limit is reached it is only read.
//
// A drill's canaries have a partition for each domain: a thousand accounts in
// seventeen Regions send more within its minute than one partition takes, of
// 1,000 writes a second. Source: DynamoDB developer guide, "Designing partition
// keys". Drills and canaries go after two days.
//
// # Access patterns
//
//	a case by its ID                 GetItem       case#<case>
//	the gates before a change        BatchGetItem  lock, control#<id>, exemption, both kill switches and the limits' counters
//	exemptions, kill switches        Query         their partitions
//	drills, their canaries           Query         their partitions
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
	"math/rand/v2"
	"slices"
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

// ErrDamaged says that an item of the ledger can't be understood: someone else
// wrote it, or a newer version. Reading it again does not help.
var ErrDamaged = errors.New("the item can't be understood")

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
	// Actor says that the case names who caused it.
	Actor bool `dynamodbav:"actor"`
	// Until is until when it waits for an answer or a denial holds, in ms since
	// 1970; 0: for good.
	Until int64 `dynamodbav:"until"`
	// TTL is when DynamoDB may delete the item, in seconds since 1970; 0: never.
	TTL int64 `dynamodbav:"ttl,omitempty"`
}

// findingLife is how long GuardDuty keeps a finding, and may send it again.
// Source: GuardDuty user guide, "Understanding GuardDuty findings" (90 days).
const findingLife = 90 * 24 * time.Hour

// Over reports whether the time is over that the case waits for an answer, or
// that its denial holds.
func (l *Live) Over(now time.Time) bool { return l.Until != 0 && now.UnixMilli() >= l.Until }

// State is where a live case stands.
type State string

// Open is the state of a case whose change is being made, Undoing of one whose
// change is being undone. The other states are spelled like the outcomes that
// they stand for.
const (
	Open    State = "open"
	Undoing State = "undoing"
)

// Valid reports whether s is a state that a live case may have.
func (s State) Valid() bool {
	switch s {
	case Open, Undoing, State(control.Observed), State(control.AwaitingApproval), State(control.Denied), State(control.Held), State(control.Unreadable):
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

// Open writes a case with its change before anything is changed, takes the
// target for the worker, and counts the change against the limits of the gates
// and as a round over the target. The case is a new one, or one that waited at
// a gate and may now go on. A live case of the same control that was not being
// worked on (observed, awaiting approval, …) ends as superseded. ErrBusy:
// someone else was faster, or has come and gone since the gates were read, or
// used up a limit.
func (l *Ledger) Open(ctx context.Context, c *Case, g Gates, w Worker) error {
	c.State, c.Gate, c.Held, c.Until = Open, "", "", time.Time{}
	lock := l.lock(c, g, w)
	rounds, err := attributevalue.Marshal(g.rounds(c))
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	*lock.Update.UpdateExpression += ", latest = :case, rounds = :rounds"
	lock.Update.ExpressionAttributeValues[":case"] = str(c.ID)
	lock.Update.ExpressionAttributeValues[":rounds"] = rounds
	writes := append(l.put(c, g, Live{Case: c.ID, State: Open, Digest: c.news()}), lock)
	for _, limit := range g.Limits {
		writes = append(writes, l.count(limit))
	}
	return l.transact(ctx, "open case "+c.ID, writes)
}

// TakeOver takes an open case whose worker's lease has ended, reads it, and
// lets again merge what a new plan found. The case is written before TakeOver
// returns. ErrBusy: someone else was faster.
func (l *Ledger) TakeOver(ctx context.Context, id string, g Gates, w Worker, merge func(*Case)) (*Case, error) {
	c, err := l.Case(ctx, id)
	if err != nil {
		return nil, err
	}
	merge(c)
	return c, l.transact(ctx, "take over case "+id, []types.TransactWriteItem{
		l.lock(c, g, w),
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

// Extend writes down more of an open case that the worker holds, before what it
// adds is changed. ErrBusy: the worker holds it no longer.
func (l *Ledger) Extend(ctx context.Context, c *Case, w Worker) error {
	return l.transact(ctx, "extend case "+c.ID, []types.TransactWriteItem{
		l.update(c),
		{ConditionCheck: &types.ConditionCheck{
			TableName: aws.String(l.table), Key: lockKey(c.Target),
			ConditionExpression:       aws.String("worker = :worker"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":worker": str(w.ID)},
		}},
	})
}

// Close ends a case that the worker holds: with its outcome, no longer live,
// the target free. One that was begun and is now held stays live.
func (l *Ledger) Close(ctx context.Context, c *Case, w Worker) error {
	if c.Outcome == control.Held {
		c.State = State(control.Held)
		live := l.putLive(c, Gates{Live: &Live{Case: c.ID}}, Live{Case: c.ID, State: c.State, Digest: c.news(), Alerted: true})
		return l.transact(ctx, "hold case "+c.ID, append(live, l.update(c), l.unlock(c, w)))
	}
	c.State, c.Closed = "", time.Now().UTC()
	return l.transact(ctx, "close case "+c.ID, []types.TransactWriteItem{
		l.update(c), l.unlock(c, w), l.dropLive(c.Control, c.Target, c.ID),
	})
}

// Undo takes the target for a worker that is to undo a closed case, writes the
// case down with the command, and with it the exemption that keeps the next
// event from making the change again; nil if there is one already. ErrBusy: the
// case or the target has moved since it was read.
func (l *Ledger) Undo(ctx context.Context, c *Case, g Gates, w Worker, e *Exemption) error {
	c.State = Undoing
	writes := []types.TransactWriteItem{l.lock(c, g, w), l.replace(c)}
	if e != nil {
		writes = append(writes, l.exempt(e, g.Exemption))
		if g.Exemption != nil {
			writes = append(writes, l.former(*g.Exemption, e.By))
		}
	}
	return l.transact(ctx, "begin to undo case "+c.ID, writes)
}

// Undone ends an attempt to undo a case and gives the target free. Where
// nothing was undone, the exemption that Undo wrote is withdrawn and the one
// before it, if any, put back; nil: it wrote none, or it stays. One that
// somebody has replaced or removed since is no longer Undo's to withdraw.
func (l *Ledger) Undone(ctx context.Context, c *Case, w Worker, withdraw, before *Exemption) error {
	c.State = ""
	what, writes := "end the undo of case "+c.ID, []types.TransactWriteItem{l.update(c), l.unlock(c, w)}
	if withdraw == nil {
		return l.transact(ctx, what, writes)
	}
	back := l.unexempt(withdraw)
	if before != nil {
		back = l.exempt(before, withdraw)
	}
	err := l.transact(ctx, what, append(writes, back))
	if !errors.Is(err, ErrBusy) {
		return err
	}
	now, unread := l.Exemption(ctx, withdraw.Control, withdraw.Resource)
	if unread != nil || now != nil && now.Created.Equal(withdraw.Created.Truncate(time.Millisecond)) {
		return err // it is still there: something else is busy
	}
	return l.transact(ctx, what, writes)
}

// Record writes a case in which nothing is changed now (observed,
// awaiting-approval, denied, held, unreadable): a new one, or one that was read
// and now says something else. It stays live until the resource is found
// compliant or another case supersedes it. Whoever recorded it has until
// alertBy to tell the operators; zero: they need not be told. A case that is
// closed already, since there is nothing that could be found compliant, is only
// known again for as long as GuardDuty keeps a finding. ErrBusy: someone else was
// faster.
func (l *Ledger) Record(ctx context.Context, c *Case, g Gates, alertBy time.Time) error {
	live := Live{Case: c.ID, State: State(c.Outcome), Digest: c.news(), Alerted: alertBy.IsZero()}
	if c.Closed.IsZero() {
		c.State = live.State
	} else {
		live.TTL = c.Closed.Add(findingLife).Unix()
	}
	if !alertBy.IsZero() {
		live.AlertLease = alertBy.UnixMilli()
	}
	if !c.Until.IsZero() {
		live.Until = c.Until.UnixMilli()
	}
	return l.transact(ctx, "record case "+c.ID, l.put(c, g, live))
}

// End ends a live case in which nothing was changed, with its outcome. ErrBusy:
// it has moved since it was read.
func (l *Ledger) End(ctx context.Context, c *Case) error {
	c.State, c.Closed = "", time.Now().UTC()
	return l.transact(ctx, "end case "+c.ID, []types.TransactWriteItem{l.replace(c), l.dropLive(c.Control, c.Target, c.ID)})
}

// Note writes down a command that changed nothing else about a case. ErrBusy:
// it has moved since it was read.
func (l *Ledger) Note(ctx context.Context, c *Case) error {
	return l.transact(ctx, "note a command of case "+c.ID, []types.TransactWriteItem{l.replace(c)})
}

// Alerted notes that the operators were told of a recorded case by the alert of
// that ID, or, with a zero time, that telling them failed and the next event
// may try again.
func (l *Ledger) Alerted(ctx context.Context, c *Case, a Alerted) error {
	told := !a.At.IsZero()
	writes := []types.TransactWriteItem{{Update: &types.Update{
		TableName: aws.String(l.table), Key: liveKey(c.Control, c.Target),
		UpdateExpression:         aws.String("SET alerted = :alerted, alertLease = :zero"),
		ConditionExpression:      aws.String("#case = :case"),
		ExpressionAttributeNames: map[string]string{"#case": "case"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":alerted": &types.AttributeValueMemberBOOL{Value: told}, ":zero": num(0), ":case": str(c.ID),
		},
	}}}
	if told {
		c.Alerts = append(c.Alerts, a)
		writes = append(writes, types.TransactWriteItem{Update: &types.Update{
			TableName: aws.String(l.table), Key: caseKey(c.ID),
			UpdateExpression: aws.String("SET alerts = list_append(if_not_exists(alerts, :none), :alert), revision = :revision"),
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":none":     &types.AttributeValueMemberL{},
				":revision": str(newName(8)),
				":alert": &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberM{
					Value: map[string]types.AttributeValue{"id": str(a.ID), "at": str(a.At.UTC().Format(timeFormat))},
				}}},
			},
		}})
	}
	err := l.transact(ctx, "note the alert of case "+c.ID, writes)
	if errors.Is(err, ErrBusy) {
		return nil // the case is no longer live: nothing will ask whether it was alerted
	}
	return err
}

// Attribute adds to a live case who caused it, and by which event: the event
// that opened it did not say. ErrBusy: the case has moved since it was read.
func (l *Ledger) Attribute(ctx context.Context, c *Case) error {
	return l.transact(ctx, "name the actor of case "+c.ID, []types.TransactWriteItem{
		{Update: &types.Update{
			TableName: aws.String(l.table), Key: liveKey(c.Control, c.Target),
			UpdateExpression:         aws.String("SET #actor = :true"),
			ConditionExpression:      aws.String("#case = :case"),
			ExpressionAttributeNames: map[string]string{"#case": "case", "#actor": "actor"},
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":case": str(c.ID), ":true": &types.AttributeValueMemberBOOL{Value: true},
			},
		}},
		{Update: &types.Update{
			TableName: aws.String(l.table), Key: caseKey(c.ID),
			UpdateExpression:         aws.String("SET #actor = :actor, #event = :event, revision = :revision"),
			ExpressionAttributeNames: map[string]string{"#actor": "actor", "#event": "event"},
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":revision": str(newName(8)),
				":actor":    &types.AttributeValueMemberM{Value: marshal(c.Actor)},
				":event":    &types.AttributeValueMemberM{Value: marshal(c.Event)},
			},
		}},
	})
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

// put are the writes of a case and its live item.
func (l *Ledger) put(c *Case, g Gates, live Live) []types.TransactWriteItem {
	return append([]types.TransactWriteItem{l.replace(c)}, l.putLive(c, g, live)...)
}

// putLive are the writes of a case's live item. Another live case that was read
// before is superseded.
func (l *Ledger) putLive(c *Case, g Gates, live Live) []types.TransactWriteItem {
	live.Actor = c.Actor != nil
	item, err := attributevalue.MarshalMap(live)
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	put := &types.Put{
		TableName: aws.String(l.table), Item: item,
		ConditionExpression: aws.String("attribute_not_exists(pk)"),
	}
	for k, v := range liveKey(c.Control, c.Target) {
		item[k] = v
	}
	writes := []types.TransactWriteItem{{Put: put}}
	if g.Live != nil {
		put.ConditionExpression = aws.String("#case = :case")
		put.ExpressionAttributeNames = map[string]string{"#case": "case"}
		put.ExpressionAttributeValues = map[string]types.AttributeValue{":case": str(g.Live.Case)}
		if g.Live.Case != c.ID {
			why := "superseded by case " + c.ID
			if g.Live.Over(time.Now()) {
				why = "nobody answered in time, " + why
			}
			writes = append(writes, l.end(g.Live.Case, why))
		}
	}
	return writes
}

// lock takes the target for the worker if no lease on it runs and nobody came
// and went since the gates were read.
func (l *Ledger) lock(c *Case, g Gates, w Worker) types.TransactWriteItem {
	update := &types.Update{
		TableName: aws.String(l.table), Key: lockKey(c.Target),
		UpdateExpression:    aws.String("SET worker = :worker, lease = :lease"),
		ConditionExpression: aws.String("(attribute_not_exists(lease) OR lease <= :now)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":worker": str(w.ID), ":lease": num(w.Lease.UnixMilli()), ":now": num(time.Now().UnixMilli()),
		},
	}
	seen := func(attribute string, there bool, value types.AttributeValue) {
		if !there {
			*update.ConditionExpression += " AND attribute_not_exists(" + attribute + ")"
			return
		}
		*update.ConditionExpression += " AND " + attribute + " = :seen_" + attribute
		update.ExpressionAttributeValues[":seen_"+attribute] = value
	}
	seen("latest", g.Latest != "", str(g.Latest))
	seen("released", !g.Released.IsZero(), num(g.Released.UnixMilli()))
	return types.TransactWriteItem{Update: update}
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
	c.Revision = newName(8)
	return types.TransactWriteItem{Put: &types.Put{
		TableName: aws.String(l.table), Item: c.item(), ConditionExpression: aws.String("attribute_exists(pk)"),
	}}
}

// replace writes a new case, or one that was read, if it is still as it was.
func (l *Ledger) replace(c *Case) types.TransactWriteItem {
	put := &types.Put{TableName: aws.String(l.table), ConditionExpression: aws.String("attribute_not_exists(pk)")}
	if c.Revision != "" {
		put.ConditionExpression = aws.String("revision = :read")
		put.ExpressionAttributeValues = map[string]types.AttributeValue{":read": str(c.Revision)}
	}
	c.Revision = newName(8)
	put.Item = c.item()
	return types.TransactWriteItem{Put: put}
}

// end closes a case in which nothing was changed.
func (l *Ledger) end(id, why string) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: aws.String(l.table), Key: caseKey(id),
		UpdateExpression:         aws.String("SET closed = :now, ended = :why, revision = :revision REMOVE #state"),
		ExpressionAttributeNames: map[string]string{"#state": "state"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":now": str(time.Now().UTC().Format(timeFormat)), ":why": str(why), ":revision": str(newName(8)),
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

// conflictWaits are how long to wait before a write is sent again that met
// another one on the same items: nothing was written, and what it is based on
// may still hold. Each is stretched at random, so that those who met once do not
// meet again.
var conflictWaits = []time.Duration{
	10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, 80 * time.Millisecond, 160 * time.Millisecond,
}

// transact writes all or nothing. A condition that does not hold, or other
// transactions on the same items that do not end, are ErrBusy.
func (l *Ledger) transact(ctx context.Context, what string, writes []types.TransactWriteItem) error {
	err := insist(ctx, func() error {
		_, err := l.db.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: writes})
		return err
	})
	switch {
	case err == nil:
		return nil
	case canceled(err, conditionFailed), met(err):
		return fmt.Errorf("%s: %w", what, ErrBusy)
	}
	return l.wrap(what, err)
}

// insist writes, and writes again where that met another write.
func insist(ctx context.Context, write func() error) error {
	err := write()
	for _, wait := range conflictWaits {
		if !met(err) {
			break
		}
		timer := time.NewTimer(wait + rand.N(wait))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		err = write()
	}
	return err
}

// met reports whether a write met another one on the same items, and nothing
// else speaks against it.
func met(err error) bool {
	var single *types.TransactionConflictException // of a write that is no transaction itself
	return errors.As(err, &single) || canceled(err, "TransactionConflict") && !canceled(err, conditionFailed)
}

// conditionFailed is why a transaction is canceled whose conditions do not all hold.
const conditionFailed = "ConditionalCheckFailed"

// canceled reports whether a transaction was canceled for a reason of that code.
func canceled(err error, code string) bool {
	var canceled *types.TransactionCanceledException
	if !errors.As(err, &canceled) {
		return false
	}
	return slices.ContainsFunc(canceled.CancellationReasons, func(r types.CancellationReason) bool {
		return aws.ToString(r.Code) == code
	})
}

func (l *Ledger) wrap(what string, err error) error {
	return fmt.Errorf("ledger table %s: %s: %w", l.table, what, err)
}

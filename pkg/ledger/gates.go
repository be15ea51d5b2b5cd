package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/snapback-aws/snapback/pkg/control"
)

// Question says what is about to be changed, and which limits that counts
// against.
type Question struct {
	Control string
	Target  control.Target
	ARN     string // as exemptions name the target
	Limits  []Limit
}

// Gates is what must be known before a change.
type Gates struct {
	// LeaseEnds is when the present worker's lease on the target ends; past or
	// zero if there is none.
	LeaseEnds time.Time
	// Released is when the last worker left the target; zero if none has.
	Released time.Time
	// Latest is the latest case of the target, by any control; empty if none.
	Latest string
	// Rounds are the changes of the target in the last 24 hours, oldest first.
	Rounds []Round
	// Live is the control's live case on the target; nil if there is none.
	Live *Live
	// Exemption is the one made by command for exactly this control and target,
	// in force or ended; nil if there is none.
	Exemption *Exemption
	// Stop is the kill switch that is on for the target's account; nil if none is.
	Stop *Stop
	// Limits are those of the question, with what is used up of them.
	Limits []Usage
}

// Taken reports whether a worker is on the target now.
func (g Gates) Taken() bool { return time.Now().Before(g.LeaseEnds) }

// Begun reports whether a worker, alive or not, has begun to change the target
// for this control and not closed the case.
func (g Gates) Begun() bool { return g.Live != nil && g.Live.State == Open }

// Full is the first limit that is used up; nil if none is.
func (g Gates) Full() *Usage {
	for i := range g.Limits {
		if g.Limits[i].Changes >= g.Limits[i].Max {
			return &g.Limits[i]
		}
	}
	return nil
}

// RoundsOf are the rounds that a control has fought over the target, oldest first.
func (g Gates) RoundsOf(controlID string) []Round {
	return slices.DeleteFunc(slices.Clone(g.Rounds), func(r Round) bool { return r.Control != controlID })
}

// RoundWindow is how long a change counts as a round over its resource.
const RoundWindow = 24 * time.Hour

// maxRounds bounds the list that is kept: far more than any limit of rounds.
const maxRounds = 50

// Round is one change of a target, and who made it necessary.
type Round struct {
	Case    string    `json:"case"`
	Control string    `json:"control"`
	At      time.Time `json:"at"`
	// Actor is his ARN, or his name; empty where the event names none.
	Actor string `json:"actor,omitempty"`
	Event string `json:"event,omitempty"` // the call, the Config rule, or the finding type
}

// rounds are those of the gates and the one that a case begins.
func (g Gates) rounds(c *Case) []roundItem {
	r := Round{Case: c.ID, Control: c.Control, At: time.Now(), Event: c.Event.Name}
	if c.Actor != nil {
		r.Actor = c.Actor.ARN
		if r.Actor == "" {
			r.Actor = c.Actor.Name
		}
	}
	all := append(slices.Clone(g.Rounds), r)
	var items []roundItem
	for _, r := range all[max(0, len(all)-maxRounds):] {
		items = append(items, roundItem{r.Case, r.Control, r.At.UnixMilli(), r.Actor, r.Event})
	}
	return items
}

// roundItem is a round as the item of the lock keeps it.
type roundItem struct {
	Case    string `dynamodbav:"case"`
	Control string `dynamodbav:"control"`
	At      int64  `dynamodbav:"at"` // ms since 1970
	Actor   string `dynamodbav:"actor"`
	Event   string `dynamodbav:"event"`
}

// Read reads the gates of a question, strongly consistent, in one round trip.
// An item that can't be understood is an error: what may not be known to be
// open is closed.
func (l *Ledger) Read(ctx context.Context, q Question) (Gates, error) {
	g := Gates{}
	hour := time.Now().UTC().Truncate(time.Hour)
	for _, limit := range q.Limits {
		g.Limits = append(g.Limits, Usage{Limit: limit, Hour: hour})
	}
	keys := []map[string]types.AttributeValue{
		lockKey(q.Target), liveKey(q.Control, q.Target), exemptionKey(q.Control, q.ARN),
		stopKey(Organization), stopKey(q.Target.Account),
	}
	for _, u := range g.Limits {
		keys = append(keys, u.key())
	}
	request := map[string]types.KeysAndAttributes{l.table: {ConsistentRead: aws.Bool(true), Keys: keys}}
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
	pk, sk := text(item["pk"]), text(item["sk"])
	var err error
	switch {
	case pk == exemptions:
		g.Exemption, err = readExemption(item)
	case pk == stops:
		var s *Stop
		if s, err = readStop(item); g.Stop == nil || s != nil && s.Scope == Organization {
			g.Stop = s
		}
	case strings.HasPrefix(pk, limitPrefix):
		for i := range g.Limits {
			if u := &g.Limits[i]; text(u.key()["pk"]) == pk && text(u.key()["sk"]) == sk {
				err = u.read(item)
			}
		}
	case sk == lockSort:
		if err = g.addLock(item); err != nil {
			err = damaged(item, err)
		}
	default:
		g.Live, err = readLive(item)
	}
	return err
}

func readLive(item map[string]types.AttributeValue) (*Live, error) {
	live := &Live{}
	err := attributevalue.UnmarshalMap(item, live)
	if err == nil && (live.Case == "" || !live.State.Valid()) {
		err = errors.New("it names no case or no state")
	}
	if err != nil {
		return nil, damaged(item, err)
	}
	return live, nil
}

// damaged says which item can't be understood, and why.
func damaged(item map[string]types.AttributeValue, err error) error {
	return fmt.Errorf("item %s, %s: %w: %w", text(item["pk"]), text(item["sk"]), ErrDamaged, err)
}

func (g *Gates) addLock(item map[string]types.AttributeValue) error {
	if g.Latest = text(item["latest"]); g.Latest == "" && item["latest"] != nil {
		return errors.New("its latest case is no text")
	}
	var err error
	if g.LeaseEnds, err = milliseconds(item["lease"]); err != nil {
		return err
	}
	if g.Released, err = milliseconds(item["released"]); err != nil {
		return err
	}
	var rounds []roundItem
	if err := attributevalue.Unmarshal(item["rounds"], &rounds); err != nil {
		return err
	}
	for _, r := range rounds {
		if r.Case == "" || r.At == 0 {
			return errors.New("it has a round without a case or a time")
		}
		if at := time.UnixMilli(r.At); time.Since(at) < RoundWindow {
			g.Rounds = append(g.Rounds, Round{r.Case, r.Control, at.UTC(), r.Actor, r.Event})
		}
	}
	return nil
}

// milliseconds is a time that is kept as ms since 1970; zero if there is none.
func milliseconds(v types.AttributeValue) (time.Time, error) {
	if v == nil {
		return time.Time{}, nil
	}
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		return time.Time{}, errors.New("it has a time that is no number")
	}
	ms, err := strconv.ParseInt(n.Value, 10, 64)
	return time.UnixMilli(ms), err
}

package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The partitions of exemptions: those that count, by resource and control, and
// those that were replaced or removed, by the time of that. An exemption that
// ended stays where it was, without effect, until another one replaces it.
const (
	exemptions      = "exemptions"
	formerExemption = "exemptions-former"
)

// MaxResource is how long a resource's ARN may be, in bytes: with the control's
// ID it is a sort key, which may have 1,024.
const MaxResource = 900

// Exemption is one made by command: a resource that a control leaves alone
// until a time.
type Exemption struct {
	Control  string `json:"control"`
	Resource string `json:"resource"` // an ARN, without wildcards
	Reason   string `json:"reason"`
	Owner    string `json:"owner"`
	// Created and Until are its first and last moment.
	Created time.Time `json:"created"`
	Until   time.Time `json:"until"`
	By      Caller    `json:"by"`
	// Case is the case whose undo made it; empty if `exempt add` did.
	Case string `json:"case,omitempty"`
	// Removed is when it was removed or replaced, and by whom; zero if it was not.
	Removed   time.Time `json:"removed,omitempty,omitzero"`
	RemovedBy *Caller   `json:"removedBy,omitempty"`
}

// InForce reports whether the exemption has an effect at a time. None has one
// for longer than the longest that the baseline allows, whatever it says.
func (e *Exemption) InForce(now time.Time, longest time.Duration) bool {
	return e != nil && e.Removed.IsZero() && now.Before(e.Until) && now.Before(e.Created.Add(longest))
}

// EndsWithin reports whether the exemption, which is in force now, will not be
// any more when so much time has gone by.
func (e *Exemption) EndsWithin(span time.Duration, now time.Time, longest time.Duration) bool {
	return e.InForce(now, longest) && !e.InForce(now.Add(span), longest)
}

func exemptionKey(controlID, resource string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": str(exemptions), "sk": str(resource + " " + controlID)}
}

func (e *Exemption) item(key map[string]types.AttributeValue) map[string]types.AttributeValue {
	item := marshal(e)
	for k, v := range key {
		item[k] = v
	}
	return item
}

func readExemption(item map[string]types.AttributeValue) (*Exemption, error) {
	e := &Exemption{}
	err := unmarshal(item, e)
	if err == nil && (e.Control == "" || e.Resource == "" || e.Created.IsZero() || e.Until.IsZero()) {
		err = errors.New("it is an exemption without control, resource, beginning or end")
	}
	if err != nil {
		return nil, damaged(item, err)
	}
	return e, nil
}

// exempt writes an exemption in the place of the one that was read, if any.
func (l *Ledger) exempt(e, seen *Exemption) types.TransactWriteItem {
	put := &types.Put{
		TableName: aws.String(l.table), Item: e.item(exemptionKey(e.Control, e.Resource)),
		ConditionExpression: aws.String("attribute_not_exists(pk)"),
	}
	if seen != nil {
		put.ConditionExpression = aws.String("created = :created")
		put.ExpressionAttributeValues = created(seen)
	}
	return types.TransactWriteItem{Put: put}
}

// created tells an exemption from others of the same control and resource.
func created(e *Exemption) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{":created": str(e.Created.UTC().Format(timeFormat))}
}

// former keeps an exemption for the record that another one replaces, or that
// is removed.
func (l *Ledger) former(e Exemption, by Caller) types.TransactWriteItem {
	e.Removed, e.RemovedBy = time.Now().UTC(), &by
	return types.TransactWriteItem{Put: &types.Put{TableName: aws.String(l.table), Item: e.item(map[string]types.AttributeValue{
		"pk": str(formerExemption), "sk": str(e.Removed.Format(timeFormat) + " " + e.Resource + " " + e.Control),
	})}}
}

// Exempt writes an exemption. One of the same control and resource, which is
// returned, is replaced and kept for the record. ErrBusy: someone else was
// faster.
func (l *Ledger) Exempt(ctx context.Context, e *Exemption) (replaced *Exemption, err error) {
	what := "exempt " + e.Resource + " from " + e.Control
	if replaced, err = l.Exemption(ctx, e.Control, e.Resource); err != nil {
		return nil, err
	}
	writes := []types.TransactWriteItem{l.exempt(e, replaced)}
	if replaced != nil {
		writes = append(writes, l.former(*replaced, e.By))
	}
	return replaced, l.transact(ctx, what, writes)
}

// Unexempt removes an exemption; it is kept for the record. ErrNoExemption if
// there is none.
func (l *Ledger) Unexempt(ctx context.Context, controlID, resource string, by Caller) (*Exemption, error) {
	e, err := l.Exemption(ctx, controlID, resource)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, fmt.Errorf("ledger table %s: %s and %s: %w", l.table, controlID, resource, ErrNoExemption)
	}
	return e, l.transact(ctx, "end the exemption of "+resource+" from "+controlID, []types.TransactWriteItem{
		l.unexempt(e), l.former(*e, by),
	})
}

// unexempt removes an exemption that was read.
func (l *Ledger) unexempt(e *Exemption) types.TransactWriteItem {
	return types.TransactWriteItem{Delete: &types.Delete{
		TableName: aws.String(l.table), Key: exemptionKey(e.Control, e.Resource),
		ConditionExpression: aws.String("created = :created"), ExpressionAttributeValues: created(e),
	}}
}

// ErrNoExemption says that no command has made an exemption of a control and
// resource.
var ErrNoExemption = errors.New("no such exemption")

// Exemption reads the exemption of a control and resource, in force or ended;
// nil if there is none.
func (l *Ledger) Exemption(ctx context.Context, controlID, resource string) (*Exemption, error) {
	item, err := l.get(ctx, exemptionKey(controlID, resource))
	var e *Exemption
	if item != nil {
		e, err = readExemption(item)
	}
	if err != nil {
		return nil, l.wrap("read the exemption of "+resource+" from "+controlID, err)
	}
	return e, nil
}

// Exemptions yields the exemptions that commands made: those in force and those
// that ended by themselves, by resource, and, if former, also those that were
// replaced or removed, by the time of that.
func (l *Ledger) Exemptions(ctx context.Context, former bool) iter.Seq2[*Exemption, error] {
	partitions := []string{exemptions}
	if former {
		partitions = append(partitions, formerExemption)
	}
	return func(yield func(*Exemption, error) bool) {
		for _, partition := range partitions {
			for item, err := range l.partition(ctx, partition) {
				var e *Exemption
				if err == nil {
					e, err = readExemption(item)
				}
				if err != nil {
					yield(nil, l.wrap("list exemptions", err))
					return
				}
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// partition yields the items of a partition by their sort keys, strongly consistent.
func (l *Ledger) partition(ctx context.Context, name string) iter.Seq2[map[string]types.AttributeValue, error] {
	return func(yield func(map[string]types.AttributeValue, error) bool) {
		pages := dynamodb.NewQueryPaginator(l.db, &dynamodb.QueryInput{
			TableName: aws.String(l.table), ConsistentRead: aws.Bool(true),
			KeyConditionExpression:    aws.String("pk = :pk"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":pk": str(name)},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// marshal is a struct as an item: its fields under their JSON names, times as
// fixed-width text.
func marshal(v any) map[string]types.AttributeValue {
	item, err := attributevalue.MarshalMapWithOptions(v, func(o *attributevalue.EncoderOptions) {
		o.TagKey = "json"
		o.OmitEmptyTime = true
		o.EncodeTime = func(t time.Time) (types.AttributeValue, error) { return str(t.UTC().Format(timeFormat)), nil }
	})
	if err != nil {
		panic(err) // what the ledger keeps has no field that does not marshal
	}
	return item
}

func unmarshal(item map[string]types.AttributeValue, v any) error {
	return attributevalue.UnmarshalMapWithOptions(item, v, func(o *attributevalue.DecoderOptions) { o.TagKey = "json" })
}

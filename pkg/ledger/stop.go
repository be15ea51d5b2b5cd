package ledger

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The partitions of the kill switch: what is stopped, by its scope, and every
// change of that, by its time.
const (
	stops   = "stop"
	stopLog = "stop-log"
)

// Organization is the scope of a kill switch that stops everything.
const Organization = "organization"

// Stop is the kill switch of the organization or of one account: where it is
// on, every function only observes.
type Stop struct {
	Scope string    `json:"scope"` // Organization, or an account's 12 digits
	On    bool      `json:"on"`
	Why   string    `json:"why"`
	By    Caller    `json:"by"`
	At    time.Time `json:"at"`
}

func stopKey(scope string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": str(stops), "sk": str(scope)}
}

// readStop reads a switch; nil if it is off.
func readStop(item map[string]types.AttributeValue) (*Stop, error) {
	if _, ok := item["on"].(*types.AttributeValueMemberBOOL); !ok {
		return nil, damaged(item, errors.New("it is a kill switch that is neither on nor off"))
	}
	s := &Stop{}
	if err := unmarshal(item, s); err != nil {
		return nil, damaged(item, err)
	}
	if !s.On {
		return nil, nil
	}
	return s, nil
}

// Switch turns a kill switch on or off, and keeps a record of it.
func (l *Ledger) Switch(ctx context.Context, s Stop) error {
	put := func(key map[string]types.AttributeValue) types.TransactWriteItem {
		item := marshal(s)
		for k, v := range key {
			item[k] = v
		}
		return types.TransactWriteItem{Put: &types.Put{TableName: aws.String(l.table), Item: item}}
	}
	return l.transact(ctx, "turn the kill switch", []types.TransactWriteItem{
		put(stopKey(s.Scope)),
		put(map[string]types.AttributeValue{"pk": str(stopLog), "sk": str(s.At.UTC().Format(timeFormat) + " " + s.Scope)}),
	})
}

// Stops yields the kill switches that are on.
func (l *Ledger) Stops(ctx context.Context) iter.Seq2[*Stop, error] {
	return func(yield func(*Stop, error) bool) {
		for item, err := range l.partition(ctx, stops) {
			var s *Stop
			if err == nil {
				s, err = readStop(item)
			}
			if err != nil {
				yield(nil, l.wrap("read the kill switches", err))
				return
			}
			if s != nil && !yield(s, nil) {
				return
			}
		}
	}
}

package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Scope is what a limit counts the changes of.
type Scope string

// The scopes. Containment after a GuardDuty finding counts apart, so that a
// noisy control never uses up what it needs.
const (
	PerAccount       Scope = "account"
	PerControl       Scope = "control"
	PerThreatAccount Scope = "threat-account"
)

// Limit is how many changes one account, or one control over the whole
// organization, may see in one hour by the clock, in UTC.
type Limit struct {
	Scope Scope
	Of    string // the account, or the control's ID
	Max   int
}

// Usage is what of a limit is used up.
type Usage struct {
	Limit
	Hour    time.Time
	Changes int
	// Alerted says that the operators were told that the limit is reached; until
	// then AlertLease is when whoever is about to tell them must have done so.
	Alerted    bool
	AlertLease time.Time
}

const limitPrefix = "limit#"

// limitLife is how long a counter is kept after its hour, for status and
// questions; then DynamoDB deletes it by its attribute ttl.
const limitLife = 7 * 24 * time.Hour

func (u *Usage) key() map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"pk": str(limitPrefix + string(u.Scope) + "#" + u.Of), "sk": str(u.Hour.Format("2006-01-02T15")),
	}
}

// ID names the limit and the hour.
func (u *Usage) ID() string {
	return string(u.Scope) + "-" + u.Of + "-" + u.Hour.Format("20060102T15")
}

// String says which limit it is: "200 changes an hour by control x in the whole organization".
func (l Limit) String() string {
	changes := fmt.Sprintf("%d changes an hour", l.Max)
	if l.Max == 1 {
		changes = "1 change an hour"
	}
	switch l.Scope {
	case PerControl:
		return changes + " by control " + l.Of + " in the whole organization"
	case PerThreatAccount:
		return changes + " against threats in account " + l.Of
	}
	return changes + " in account " + l.Of
}

func (u *Usage) read(item map[string]types.AttributeValue) error {
	var kept struct {
		Changes    *int  `dynamodbav:"changes"`
		Alerted    bool  `dynamodbav:"alerted"`
		AlertLease int64 `dynamodbav:"alertLease"`
	}
	err := attributevalue.UnmarshalMap(item, &kept)
	if err == nil && kept.Changes == nil {
		err = errors.New("it counts no changes")
	}
	if err != nil {
		return damaged(item, err)
	}
	u.Changes, u.Alerted, u.AlertLease = *kept.Changes, kept.Alerted, time.UnixMilli(kept.AlertLease)
	return nil
}

// count raises a limit's counter if it is below the limit.
func (l *Ledger) count(u Usage) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: aws.String(l.table), Key: u.key(),
		UpdateExpression:         aws.String("ADD changes :one SET #ttl = :ttl"),
		ConditionExpression:      aws.String("attribute_not_exists(changes) OR changes < :max"),
		ExpressionAttributeNames: map[string]string{"#ttl": "ttl"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":one": num(1), ":max": num(int64(u.Max)), ":ttl": num(u.Hour.Add(limitLife).Unix()),
		},
	}}
}

// ClaimLimitAlert asks to be the one who tells the operators that a limit is
// reached, until leaseEnds. False: someone else has told them, or is about to.
func (l *Ledger) ClaimLimitAlert(ctx context.Context, u *Usage, leaseEnds time.Time) (bool, error) {
	err := l.updateLimit(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(l.table), Key: u.key(),
		UpdateExpression:    aws.String("SET alertLease = :lease"),
		ConditionExpression: aws.String("attribute_not_exists(alerted) AND (attribute_not_exists(alertLease) OR alertLease <= :now)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":lease": num(leaseEnds.UnixMilli()), ":now": num(time.Now().UnixMilli()),
		},
	})
	var taken *types.ConditionalCheckFailedException
	switch {
	case errors.As(err, &taken):
		return false, nil
	case err != nil:
		return false, l.wrap("claim the alert of limit "+u.ID(), err)
	}
	return true, nil
}

// LimitAlerted notes that the operators were told that a limit is reached, or
// that telling them failed and the next one may try again.
func (l *Ledger) LimitAlerted(ctx context.Context, u *Usage, told bool) error {
	expression := "REMOVE alertLease"
	in := &dynamodb.UpdateItemInput{TableName: aws.String(l.table), Key: u.key(), UpdateExpression: &expression}
	if told {
		expression = "SET alerted = :true REMOVE alertLease"
		in.ExpressionAttributeValues = map[string]types.AttributeValue{":true": &types.AttributeValueMemberBOOL{Value: true}}
	}
	if err := l.updateLimit(ctx, in); err != nil {
		return l.wrap("note the alert of limit "+u.ID(), err)
	}
	return nil
}

// updateLimit writes to the item of a counter, where it may meet a transaction
// that opens a case.
func (l *Ledger) updateLimit(ctx context.Context, in *dynamodb.UpdateItemInput) error {
	return insist(ctx, func() error {
		_, err := l.db.UpdateItem(ctx, in)
		return err
	})
}

// Usage reads what of a limit is used up in the hour of a time.
func (l *Ledger) Usage(ctx context.Context, limit Limit, at time.Time) (Usage, error) {
	u := Usage{Limit: limit, Hour: at.UTC().Truncate(time.Hour)}
	item, err := l.get(ctx, u.key())
	if item != nil {
		err = u.read(item)
	}
	if err != nil {
		return u, l.wrap("read limit "+u.ID(), err)
	}
	return u, nil
}

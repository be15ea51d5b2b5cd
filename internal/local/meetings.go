package local

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
)

// Meetings does what DynamoDB does and DynamoDB Local does not: of transactions
// that meet on an item, the one that comes later is cancelled. It stands before
// DynamoDB Local and looks at each TransactWriteItems. It is safe for concurrent
// use; its zero value is ready.
type Meetings struct {
	mu        sync.Mutex
	under     map[string]bool // the items of transactions under way
	conflicts int
}

// Begin takes the body of a transaction. The refusal is the body of the answer
// (status 400) where it meets another one, else nil; leave then ends it.
func (m *Meetings) Begin(transaction []byte) (leave func(), refusal []byte, err error) {
	keys, err := itemsOf(transaction)
	if err != nil {
		return nil, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(keys, func(key string) bool { return m.under[key] }) {
		m.conflicts++
		return nil, m.refusal(keys), nil
	}
	if m.under == nil {
		m.under = map[string]bool{}
	}
	for _, key := range keys {
		m.under[key] = true
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, key := range keys {
			delete(m.under, key)
		}
	}, nil, nil
}

// Conflicts is how many transactions were refused.
func (m *Meetings) Conflicts() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conflicts
}

// refusal answers as DynamoDB does. Source: DynamoDB API reference,
// TransactWriteItems, Errors.
func (m *Meetings) refusal(keys []string) []byte {
	type reason struct{ Code string }
	var reasons []reason
	var codes []string
	for _, key := range keys {
		code := "None"
		if m.under[key] {
			code = "TransactionConflict"
		}
		reasons, codes = append(reasons, reason{code}), append(codes, code)
	}
	body, err := json.Marshal(map[string]any{
		"__type":              "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
		"Message":             "Transaction cancelled, please refer cancellation reasons for specific reasons [" + strings.Join(codes, ", ") + "]",
		"CancellationReasons": reasons,
	})
	if err != nil {
		panic(err) // texts always marshal
	}
	return body
}

// itemsOf are the keys of a transaction's items.
func itemsOf(transaction []byte) ([]string, error) {
	type item struct {
		PK, SK struct{ S string }
	}
	var sent struct {
		TransactItems []map[string]struct{ Key, Item item }
	}
	if err := json.Unmarshal(transaction, &sent); err != nil {
		return nil, err
	}
	var keys []string
	for _, write := range sent.TransactItems {
		for _, w := range write { // Put, Update, Delete or ConditionCheck: one of them
			keys = append(keys, w.Key.PK.S+w.Item.PK.S+" "+w.Key.SK.S+w.Item.SK.S)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it is a transaction without items")
	}
	return keys, nil
}

package ledger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// between stands between a ledger and the database and counts the writes. What
// answer gives is answered in the database's place; nil: the database answers.
type between struct {
	aws.HTTPClient
	answer func(operation string, body []byte) *http.Response

	mu     sync.Mutex
	writes int
}

func (b *between) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if operation == "TransactWriteItems" || operation == "UpdateItem" {
		b.mu.Lock()
		b.writes++
		b.mu.Unlock()
	}
	if answer := b.answer(operation, body); answer != nil {
		answer.Request = r
		return answer, nil
	}
	return b.HTTPClient.Do(r)
}

// via opens the test's ledger, which newLedger made, through something between.
func via(t *testing.T, answer func(operation string, body []byte) *http.Response) (*ledger.Ledger, *between) {
	t.Helper()
	cfg := config(t)
	b := &between{HTTPClient: cfg.HTTPClient, answer: answer}
	cfg.HTTPClient = b
	return ledger.New(cfg, table(t)), b
}

// canceled is what DynamoDB answers to a transaction that it cancels, with the
// reasons item by item.
func canceled(reasons ...string) *http.Response {
	type reason struct{ Code string }
	body := struct {
		Type                string `json:"__type"`
		Message             string
		CancellationReasons []reason
	}{"com.amazonaws.dynamodb.v20120810#TransactionCanceledException", "Transaction cancelled", nil}
	for _, r := range reasons {
		body.CancellationReasons = append(body.CancellationReasons, reason{r})
	}
	return refusal(body)
}

func refusal(body any) *http.Response {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // texts always marshal
	}
	return &http.Response{
		StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		ContentLength: int64(len(text)), Body: io.NopCloser(bytes.NewReader(text)),
	}
}

// first answers the first n of an operation's calls.
func first(n int, of string, answer func() *http.Response) func(string, []byte) *http.Response {
	var mu sync.Mutex
	return func(operation string, _ []byte) *http.Response {
		mu.Lock()
		defer mu.Unlock()
		if operation != of || n == 0 {
			return nil
		}
		n--
		return answer()
	}
}

func TestTransactionThatMeetsAnotherOneIsSentAgain(t *testing.T) {
	conflict := func() *http.Response { return canceled("None", "None", "TransactionConflict") }
	for name, tt := range map[string]struct {
		answer      func() *http.Response
		times, want int
		ends        error // ErrBusy, another error, or nil
	}{
		"meets one":                      {conflict, 1, 2, nil},
		"meets five":                     {conflict, 5, 6, nil},
		"meets others for ever":          {conflict, 100, 6, ledger.ErrBusy},
		"a condition does not hold":      {func() *http.Response { return canceled("None", "ConditionalCheckFailed", "None") }, 100, 1, ledger.ErrBusy},
		"meets one and fails besides":    {func() *http.Response { return canceled("TransactionConflict", "ConditionalCheckFailed") }, 100, 1, ledger.ErrBusy},
		"is cancelled for being too big": {func() *http.Response { return canceled("ValidationError") }, 100, 1, errors.ErrUnsupported},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			l := newLedger(t)
			through, b := via(t, first(tt.times, "TransactWriteItems", tt.answer))
			c := newCase("null", "{}")
			err := through.Open(t.Context(), c, ledger.Gates{}, ledger.NewWorker(time.Now().Add(time.Minute)))
			if (err == nil) != (tt.ends == nil) || errors.Is(err, ledger.ErrBusy) != errors.Is(tt.ends, ledger.ErrBusy) {
				t.Errorf("got %v", err)
			}
			if b.writes != tt.want {
				t.Errorf("it was sent %d times, want %d", b.writes, tt.want)
			}
			if _, found := l.Case(t.Context(), c.ID); (err == nil) != (found == nil) {
				t.Errorf("the answer is %v, and reading the case says %v", err, found)
			}
		})
	}
}

func TestConditionThatDoesNotHoldIsNotTriedAgain(t *testing.T) {
	newLedger(t)
	l, b := via(t, func(string, []byte) *http.Response { return nil })
	must(t, l.Open(t.Context(), newCase("null", "{}"), ledger.Gates{}, ledger.NewWorker(time.Now().Add(time.Minute))))
	err := l.Open(t.Context(), newCase("null", "{}"), ledger.Gates{}, ledger.NewWorker(time.Now().Add(time.Minute)))
	if !errors.Is(err, ledger.ErrBusy) || b.writes != 2 {
		t.Errorf("after %d writes: %v", b.writes, err)
	}
}

func TestWaitForAnotherTransactionEndsWithTheContext(t *testing.T) {
	newLedger(t)
	ctx, cancel := context.WithCancel(t.Context())
	l, b := via(t, func(string, []byte) *http.Response {
		time.AfterFunc(5*time.Millisecond, cancel)
		return canceled("TransactionConflict")
	})
	err := l.Open(ctx, newCase("null", "{}"), ledger.Gates{}, ledger.NewWorker(time.Now().Add(time.Minute)))
	if !errors.Is(err, context.Canceled) || errors.Is(err, ledger.ErrBusy) || b.writes > 2 {
		t.Errorf("after %d writes: %v", b.writes, err)
	}
}

func TestSingleWriteThatMeetsATransactionIsSentAgain(t *testing.T) {
	newLedger(t)
	conflict := func() *http.Response {
		return refusal(map[string]string{"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException", "message": "Transaction is ongoing for the item"})
	}
	u := usageOf(t, perAccount(1))
	l, b := via(t, first(2, "UpdateItem", conflict))
	mine, err := l.ClaimLimitAlert(t.Context(), &u, time.Now().Add(time.Minute))
	if !mine || err != nil || b.writes != 3 {
		t.Errorf("after %d writes: %t, %v", b.writes, mine, err)
	}
	l, b = via(t, first(2, "UpdateItem", conflict))
	if err := l.LimitAlerted(t.Context(), &u, true); err != nil || b.writes != 3 {
		t.Errorf("after %d writes: %v", b.writes, err)
	}
	l, b = via(t, first(100, "UpdateItem", conflict))
	if _, err := l.ClaimLimitAlert(t.Context(), &u, time.Now()); err == nil || cloud.Permanent(err) || b.writes != 6 {
		t.Errorf("after %d writes: want an error that retrying may mend, got %v", b.writes, err)
	}
}

// meetings sends requests through local.Meetings.
type meetings struct {
	aws.HTTPClient
	local.Meetings
}

func (m *meetings) Do(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".TransactWriteItems") {
		return m.HTTPClient.Do(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	leave, refused, err := m.Begin(body)
	switch {
	case err != nil:
		return nil, err
	case refused != nil:
		answer := refusal(json.RawMessage(refused))
		answer.Request = r
		return answer, nil
	}
	defer leave()
	return m.HTTPClient.Do(r)
}

func TestWorkersThatMeetOnOneCounterAllOpenTheirCases(t *testing.T) {
	newLedger(t)
	cfg := config(t)
	m := &meetings{HTTPClient: cfg.HTTPClient}
	cfg.HTTPClient = m
	l := ledger.New(cfg, table(t))
	began := time.Now()
	opened, held := race(t, l, 60, perAccount(1000), perControl(1000))
	if len(opened) != 60 || held != 0 {
		t.Errorf("%d of 60 cases are open, %d are held", len(opened), held)
	}
	for _, limit := range []ledger.Limit{perAccount(1000), perControl(1000)} {
		if n := used(t, l, limit, began); n != 60 {
			t.Errorf("60 changes were opened, and %d are counted of %s", n, limit)
		}
	}
	if m.Conflicts() == 0 {
		t.Error("no two transactions have met")
	}
	for _, c := range opened {
		got, err := l.Case(t.Context(), c.ID)
		must(t, err)
		if got.State != ledger.Open || got.Outcome == control.Held {
			t.Errorf("the case: %+v", got)
		}
	}
}

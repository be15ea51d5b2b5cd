package ledger

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
)

// CaseVersion is the version of the item that this package writes. Readers
// refuse a newer one. It rises when a field changes its meaning, not when one
// is added.
const CaseVersion = 1

// Case is one violation or threat and all that was done about it. Cases are
// kept for years and hold no secrets.
type Case struct {
	Version int    `json:"version"`
	ID      string `json:"case"`    // "20261122-7k3m9x2q": the day and eight random characters
	Control string `json:"control"` // the ID of the control or, after a finding, of the runbook
	// Severity is the control's, or the finding's, in Security Hub's words.
	Severity control.Severity `json:"severity"`
	Target   control.Target   `json:"target"`
	ARN      string           `json:"arn"`
	Mode     string           `json:"mode"`
	// Baseline is the SHA-256 of the baseline file that decided.
	Baseline string `json:"baseline,omitempty"`
	// Decided says what the gates answered: what gave the mode, the changes of this
	// hour, the rounds.
	Decided string `json:"decided,omitempty"`

	// State is set while the case is live: see Live.State.
	State   State           `json:"state,omitempty"`
	Outcome control.Outcome `json:"outcome,omitempty"`
	// Reason says what is or was wrong, or why the outcome is what it is.
	Reason string `json:"reason"`
	// Gate says, in a held case, which gate keeps the change from being made.
	Gate Gate `json:"gate,omitempty"`
	// Held says the same in a sentence.
	Held string `json:"held,omitempty"`
	// Until is until when a case waits for an answer, or a denial holds.
	Until time.Time `json:"until,omitempty,omitzero"`
	// Ended says how a case ended in which nothing was changed.
	Ended string `json:"ended,omitempty"`

	Event Event        `json:"event"`
	Actor *event.Actor `json:"actor,omitempty"`
	// Runbook says that a runbook is at work, against a threat.
	Runbook bool `json:"runbook,omitempty"`
	// Findings are the GuardDuty findings that the case is about, the one that led
	// to it first; none where no finding did.
	Findings []Finding `json:"findings,omitempty"`
	// Drill says that the finding is a sample: nothing is ever changed.
	Drill bool `json:"drill,omitempty"`
	// Steps are the changes, in the order of the rule's remedies. Where one was
	// planned again after it had been made, it is there twice: the last one counts.
	Steps []Step `json:"steps,omitempty"`
	// Rounds are, in a case that a tug of war holds, the changes before it.
	Rounds []Round `json:"rounds,omitempty"`
	// Commands are what operators did about the case, in the order in which they did.
	Commands []Command `json:"commands,omitempty"`

	Opened time.Time `json:"opened"`
	Closed time.Time `json:"closed,omitempty,omitzero"`
	// Alerts are what the operators were told, in that order.
	Alerts []Alerted `json:"alerts,omitempty"`
	// Previous is the case of the same target before this one.
	Previous string `json:"previous,omitempty"`
	// Revision is another one after each write: who writes a case that he does not
	// hold says which one he read.
	Revision string `json:"revision,omitempty"`
}

// Alerted is one alert about a case, by its ID.
type Alerted struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// Gate is what keeps a change from being made.
type Gate string

// The gates that a held case may wait at.
const (
	// GateLimit: as many changes were made this hour as the baseline allows.
	GateLimit Gate = "limit"
	// GateTugOfWar: the resource leaves the baseline again and again.
	GateTugOfWar Gate = "tug-of-war"
	// GateMode: the change was begun, and may not go on any more.
	GateMode Gate = "mode"
)

// Caller is who gave a command.
type Caller struct {
	// ARN, Account and UserID are what STS says of the caller's credentials.
	ARN     string `json:"arn"`
	Account string `json:"account,omitempty"`
	UserID  string `json:"userId,omitempty"`
	// Host is the name of the machine, as it says itself.
	Host string `json:"host,omitempty"`
}

// Command is what an operator did about a case.
type Command struct {
	Name string    `json:"name"` // "approve", "deny", "release", "retry", "undo"
	By   Caller    `json:"by"`
	At   time.Time `json:"at"`
	Why  string    `json:"why,omitempty"`
	// Digest is that of the change the operator was shown.
	Digest string `json:"digest,omitempty"`
	// Keep are the remedies whose changes an undo left as they were.
	Keep []string `json:"keep,omitempty"`
	// Result is how it ended, in a sentence; empty while it is carried out.
	Result string `json:"result,omitempty"`
}

// Event is the event that led to a case.
type Event struct {
	ID     string `json:"id"`
	Source string `json:"source"`
	// CloudTrail is the record's eventID, by which CloudTrail finds it.
	CloudTrail string    `json:"cloudTrail,omitempty"`
	Name       string    `json:"name"` // the call, the Config rule, or the finding type
	Account    string    `json:"account"`
	Region     string    `json:"region"`
	Time       time.Time `json:"time"`
}

// Step is one change of a case.
type Step struct {
	Remedy string `json:"remedy"`
	Reason string `json:"reason"`
	// Before is the state when the case was opened. It stays the first one even
	// if a crash left the change half made and another worker finished it.
	Before json.RawMessage `json:"before,omitempty"`
	// After is empty where there is nothing to change, or nothing that could be.
	After json.RawMessage `json:"after,omitempty"`
	// Digest names exactly this change of this target; empty where there is none,
	// or none yet: see Ledger.Extend.
	Digest string `json:"digest"`
	// Touches are the ARNs of other resources that the change changes.
	Touches []string `json:"touches,omitempty"`
	// Left says, in a sentence each, what the change leaves open, or what an undo
	// could not put back.
	Left []string `json:"left,omitempty"`
	// Facts is what the plan found besides, as JSON.
	Facts    json.RawMessage `json:"facts,omitempty"`
	Outcome  control.Outcome `json:"outcome,omitempty"`
	Error    string          `json:"error,omitempty"`
	Applied  time.Time       `json:"applied,omitempty,omitzero"`
	Verified time.Time       `json:"verified,omitempty,omitzero"`
	// Undone is when what was there before was put back, and read back.
	Undone time.Time `json:"undone,omitempty,omitzero"`
	// Irreversible says that the change can't be undone.
	Irreversible bool `json:"irreversible,omitempty"`
}

// Planned reports whether it is known what the step changes; until then it is
// only known that there is one.
func (s *Step) Planned() bool { return s.Digest != "" || s.Outcome != "" }

// Change is a step's change of the case's target.
func (c *Case) Change(s *Step) control.Change {
	change := control.Change{
		Target: c.Target, Reason: s.Reason, Before: s.Before, After: s.After, Touches: s.Touches, Left: s.Left, Facts: s.Facts, Case: c.ID,
	}
	if len(c.Findings) > 0 {
		change.Finding = c.Findings[0].ID
	}
	return change
}

// Digest names what the case proposes or made: the digest of its change or, of
// several, that of their digests in order; empty where none could be planned.
func (c *Case) Digest() string {
	current := c.Current()
	switch len(current) {
	case 0:
		return ""
	case 1:
		return current[0].Digest
	}
	h := sha256.New()
	for _, s := range current {
		_, _ = fmt.Fprintf(h, "%s:%s\n", s.Remedy, s.Digest)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Current are the steps that count: of each remedy the last one.
func (c *Case) Current() []*Step {
	var current []*Step
	for i := range c.Steps {
		s := &c.Steps[i]
		if at := slices.IndexFunc(current, func(had *Step) bool { return had.Remedy == s.Remedy }); at >= 0 {
			current[at] = s
			continue
		}
		current = append(current, s)
	}
	return current
}

// Step is the step that counts of a remedy; nil if there is none.
func (c *Case) Step(remedy string) *Step {
	for i := range slices.Backward(c.Steps) {
		if c.Steps[i].Remedy == remedy {
			return &c.Steps[i]
		}
	}
	return nil
}

// Begun is the command that is being carried out, or was when its worker was
// killed; nil if none is.
func (c *Case) Begun() *Command {
	if n := len(c.Commands); n > 0 && c.Commands[n-1].Result == "" {
		return &c.Commands[n-1]
	}
	return nil
}

// news is what of a case is news to the operators: the same again is not told
// again.
func (c *Case) news() string {
	switch {
	case c.Gate != "":
		return string(c.Gate)
	case len(c.Steps) > 0:
		return c.Digest()
	}
	return string(c.Outcome) + ": " + c.Reason
}

// Known reports whether the case says nothing that the live one does not, whose
// time is not over.
func (g Gates) Known(c *Case, outcome control.Outcome) bool {
	return g.Live != nil && g.Live.State == State(outcome) && g.Live.Digest == c.news() && !g.Live.Over(time.Now())
}

// Over reports whether the time is over that the case waits for an answer, or
// that its denial holds.
func (c *Case) Over(now time.Time) bool { return !c.Until.IsZero() && now.After(c.Until) }

// NewID returns a case ID: the day in UTC, so that IDs sort by day, and 40
// random bits, so that a person can read it out. The ledger refuses an ID that
// is taken.
func NewID(now time.Time) string {
	return now.UTC().Format("20060102") + "-" + newName(8)
}

// newName returns n random characters of Crockford's base 32, which leaves out
// letters that are mistaken for digits.
func newName(n int) string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	random := make([]byte, n)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	for i, b := range random {
		random[i] = alphabet[b%32]
	}
	return string(random)
}

// timeFormat is RFC 3339 in UTC with milliseconds, of fixed width so that the
// text sorts by time.
const timeFormat = "2006-01-02T15:04:05.000Z"

const lockSort = "lock"

func caseKey(id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": str("case#" + id), "sk": str("case")}
}

func lockKey(t control.Target) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": str("target#" + targetName(t)), "sk": str(lockSort)}
}

func liveKey(controlID string, t control.Target) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": str("target#" + targetName(t)), "sk": str("control#" + controlID)}
}

func targetName(t control.Target) string {
	return t.Account + "/" + t.Region + "/" + t.Type + "/" + t.ID
}

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func num(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func text(v types.AttributeValue) string {
	s, _ := v.(*types.AttributeValueMemberS)
	if s == nil {
		return ""
	}
	return s.Value
}

// item is the case as an item: its fields under their JSON names, the states
// before and after as JSON text, and the keys of the indexes.
func (c *Case) item() map[string]types.AttributeValue {
	item := marshal(c)
	steps, _ := item["steps"].(*types.AttributeValueMemberL)
	for i, s := range c.Steps {
		step := steps.Value[i].(*types.AttributeValueMemberM).Value
		step["before"], step["after"], step["facts"] = str(string(s.Before)), str(string(s.After)), str(string(s.Facts))
	}
	for k, v := range caseKey(c.ID) {
		item[k] = v
	}
	item["account"] = str(c.Target.Account)
	item["day"] = str(c.Opened.UTC().Format(time.DateOnly))
	// The target is kept twice: as a map to be read, and as the key of its index.
	item["targetName"] = str(targetName(c.Target))
	return item
}

func fromItem(item map[string]types.AttributeValue) (*Case, error) {
	c := &Case{}
	steps, _ := item["steps"].(*types.AttributeValueMemberL)
	if steps != nil {
		for _, s := range steps.Value {
			m, ok := s.(*types.AttributeValueMemberM)
			if !ok {
				return nil, damaged(item, errors.New("a step is no map"))
			}
			for _, key := range []string{"before", "after", "facts"} {
				state := text(m.Value[key])
				if delete(m.Value, key); state != "" {
					m.Value[key] = &types.AttributeValueMemberB{Value: []byte(state)}
				}
			}
		}
	}
	if err := unmarshal(item, c); err != nil {
		return nil, damaged(item, err)
	}
	if c.Version > CaseVersion {
		return nil, damaged(item, fmt.Errorf("case %s is of version %d, this program reads up to %d: use a newer one", c.ID, c.Version, CaseVersion))
	}
	return c, nil
}

// get reads an item, strongly consistent; nil if there is none.
func (l *Ledger) get(ctx context.Context, key map[string]types.AttributeValue) (map[string]types.AttributeValue, error) {
	out, err := l.db.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String(l.table), Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

// Case reads a case. ErrNoCase if there is none.
func (l *Ledger) Case(ctx context.Context, id string) (*Case, error) {
	item, err := l.get(ctx, caseKey(id))
	if err != nil {
		return nil, l.wrap("read case "+id, err)
	}
	if item == nil {
		return nil, fmt.Errorf("ledger table %s: case %s: %w", l.table, id, ErrNoCase)
	}
	c, err := fromItem(item)
	if err != nil {
		return nil, l.wrap("read case "+id, err)
	}
	return c, nil
}

// Query chooses cases by exactly one of its first four fields.
type Query struct {
	Account string
	Target  control.Target
	State   State
	Day     time.Time
	// Since and Until bound when the cases were opened, both included; zero: no bound.
	Since, Until time.Time
}

// between are the bounds of the sort key.
func (q Query) between() (since, until string) {
	since, until = "0", "9"
	if !q.Since.IsZero() {
		since = q.Since.UTC().Format(timeFormat)
	}
	if !q.Until.IsZero() {
		until = q.Until.UTC().Format(timeFormat)
	}
	return since, until
}

// Cases yields the cases that q chooses, newest first. Indexes lag behind
// writes, by less than a second as a rule.
func (l *Ledger) Cases(ctx context.Context, q Query) iter.Seq2[*Case, error] {
	index, key, value := "by-day", "day", q.Day.UTC().Format(time.DateOnly)
	switch {
	case q.Account != "":
		index, key, value = "by-account", "account", q.Account
	case q.Target != control.Target{}:
		index, key, value = "by-target", "targetName", targetName(q.Target)
	case q.State != "":
		index, key, value = "by-state", "state", string(q.State)
	}
	since, until := q.between()
	return func(yield func(*Case, error) bool) {
		pages := dynamodb.NewQueryPaginator(l.db, &dynamodb.QueryInput{
			TableName: aws.String(l.table), IndexName: aws.String(index), ScanIndexForward: aws.Bool(false),
			KeyConditionExpression:   aws.String("#key = :value AND opened BETWEEN :since AND :until"),
			ExpressionAttributeNames: map[string]string{"#key": key},
			ExpressionAttributeValues: map[string]types.AttributeValue{
				":value": str(value), ":since": str(since), ":until": str(until),
			},
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(nil, l.wrap("list cases", err))
				return
			}
			for _, item := range page.Items {
				c, err := fromItem(item)
				if err != nil {
					err = l.wrap("list cases", err)
				}
				if !yield(c, err) {
					return
				}
			}
		}
	}
}

// Schema is the table that a ledger needs: the only place where its keys and
// indexes are declared.
func Schema(table string) *dynamodb.CreateTableInput {
	in := &dynamodb.CreateTableInput{
		TableName:   aws.String(table),
		BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	}
	for _, index := range []struct{ name, key string }{
		{"by-account", "account"}, {"by-day", "day"}, {"by-state", "state"}, {"by-target", "targetName"},
	} {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: aws.String(index.name),
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String(index.key), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String("opened"), KeyType: types.KeyTypeRange},
			},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		})
	}
	for _, name := range []string{"pk", "sk", "account", "day", "opened", "state", "targetName"} {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{
			AttributeName: aws.String(name), AttributeType: types.ScalarAttributeTypeS,
		})
	}
	return in
}

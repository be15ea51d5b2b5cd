package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/baseline"
)

// The crowd: so many accounts have each so many buckets that leave the baseline
// at once, and so many functions share the work and one ledger.
const (
	crowdAccounts  = 20
	crowdBuckets   = 50
	crowdFunctions = 4
	crowdEvents    = crowdAccounts * crowdBuckets
)

// crowd measures what many violations at once cost, and what becomes of the
// ledger's counters, where they all meet. It needs DynamoDB Local: moto's
// transactions are not atomic.
func crowd(ctx context.Context, dir string) error {
	if why := withoutDynamoDB(); why != "" {
		fmt.Printf("crowd: SKIPPED: %s\n\n", why)
		return nil
	}
	storage := &built{name: "storage", source: "./functions/storage"}
	if err := storage.build(ctx, filepath.Join(dir, "storage")); err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Printf("crowd: %d violating events of %d accounts at once, through %d functions that share one ledger; %d processors, load %s before\n",
		crowdEvents, crowdAccounts, crowdFunctions, runtime.NumCPU(), strings.Fields(string(load))[0])
	for i, r := range []*rush{
		{name: "limits above all", limits: "limits: {changes-per-account-per-hour: 10000, changes-per-control-per-hour: 10000}"},
		{name: "limits above all, and transactions that meet on an item are cancelled, as DynamoDB does and DynamoDB Local does not",
			limits: "limits: {changes-per-account-per-hour: 10000, changes-per-control-per-hour: 10000}", meeting: true},
		{name: fmt.Sprintf("the default limits: %d changes an hour in an account, %d by a control",
			baseline.DefaultChangesPerAccountPerHour, baseline.DefaultChangesPerControlPerHour)},
	} {
		r.binary, r.baseline = storage.file, filepath.Join(dir, fmt.Sprintf("baseline-%d.yaml", i))
		if err := r.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		r.print()
	}
	fmt.Println()
	return nil
}

// withoutDynamoDB says why DynamoDB Local can't run; empty if it can.
func withoutDynamoDB() string {
	_, missing := os.Stat(filepath.Join(local.Root(), ".tools", "java"))
	_, noJava := exec.LookPath("java")
	switch {
	case missing != nil:
		return "DynamoDB Local is not installed: run `make test-tools`, which needs Java 17 and Maven"
	case noJava != nil:
		return "DynamoDB Local needs Java 17, which is not installed"
	}
	return ""
}

// rush is one run of the crowd.
type rush struct {
	name, limits     string
	meeting          bool // transactions that meet are cancelled
	binary, baseline string

	hub   *local.Hub
	front *front
	turns []*local.Function

	accounts []string
	queue    queue

	took  time.Duration
	cpu   map[string]time.Duration // by program
	lines []line
	hour  bool // the hour turned, and the limits with it
}

// line is what a function's outcome line says.
type line struct {
	Msg, Outcome string
	Calls        []string
}

func (r *rush) run(ctx context.Context) error {
	server, err := local.StartAWS(ctx)
	if err != nil {
		return err
	}
	defer server.Close()
	db, err := local.StartDynamoDB(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if r.hub, err = local.NewHub(ctx, server, db); err != nil {
		return err
	}
	if r.front, err = newFront(ctx, server, db, r.meeting); err != nil {
		return err
	}
	defer r.front.close()
	defer r.closeFunctions()
	if err := r.startFunctions(ctx); err != nil {
		return err
	}
	if err := r.makeBuckets(ctx, server); err != nil {
		return err
	}
	if err := r.send(); err != nil {
		return err
	}
	if err := unsubscribe(ctx, server, r.hub); err != nil {
		return err
	}
	if err := r.work(ctx); err != nil {
		return err
	}
	return r.read()
}

// unsubscribe takes the operator's queue off the topic. Each message that moto
// puts on a queue costs it more time than the one before.
func unsubscribe(ctx context.Context, server *local.AWS, hub *local.Hub) error {
	client := sns.NewFromConfig(server.Config(local.HubAccount))
	out, err := client.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: aws.String(hub.Topic)})
	if err != nil {
		return err
	}
	for _, s := range out.Subscriptions {
		if _, err := client.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: s.SubscriptionArn}); err != nil {
			return err
		}
	}
	return nil
}

func (r *rush) startFunctions(ctx context.Context) error {
	text := fmt.Sprintf(enforced, time.Now().UTC().Format(time.DateOnly)) + r.limits + "\n"
	if err := os.WriteFile(r.baseline, []byte(text), 0o600); err != nil {
		return err
	}
	env, err := r.hub.EnvVia(ctx, "snapback-storage", r.baseline, r.front.endpoint)
	if err != nil {
		return err
	}
	for range crowdFunctions {
		f, err := local.StartFunction(ctx, local.FunctionOptions{Binary: r.binary, Env: env})
		if err != nil {
			return err
		}
		r.turns = append(r.turns, f)
	}
	return nil
}

func (r *rush) closeFunctions() {
	for _, f := range r.turns {
		f.Close()
	}
}

func bucketOf(account string, i int) string { return fmt.Sprintf("example-%s-%d", account[10:], i) }

// makeBuckets makes all buckets, open to the public, some accounts side by side.
func (r *rush) makeBuckets(ctx context.Context, server *local.AWS) error {
	errs := make([]error, crowdAccounts)
	turn := make(chan struct{}, 4)
	var side sync.WaitGroup
	for i := range crowdAccounts {
		account := fmt.Sprintf("3333333333%02d", i)
		r.accounts = append(r.accounts, account)
		side.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			client := s3.NewFromConfig(server.Config(account))
			for j := range crowdBuckets {
				if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucketOf(account, j))}); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	side.Wait()
	return errors.Join(errs...)
}

// send puts an event about each bucket on the queue, the accounts in turn.
func (r *rush) send() error {
	data, err := os.ReadFile(filepath.Join(local.Root(), "events", "cloudtrail", "s3-delete-bucket-public-access-block.json"))
	if err != nil {
		return err
	}
	for j := range crowdBuckets {
		for _, account := range r.accounts {
			e := bytes.ReplaceAll(data, []byte(local.MemberAccount), []byte(account))
			e = bytes.ReplaceAll(e, []byte("example-reports"), []byte(bucketOf(account, j)))
			r.queue.waiting = append(r.queue.waiting, &message{SQSMessage: events.SQSMessage{
				MessageId: fmt.Sprintf("m-%d", len(r.queue.waiting)), Body: string(e),
			}})
		}
	}
	return nil
}

// queue hands messages out as SQS does. It is not moto's, which takes the
// longer for a message the more there are.
type queue struct {
	mu          sync.Mutex
	waiting     []*message
	again, dead int
}

type message struct {
	events.SQSMessage
	receives int
}

// maxReceives is how often a message is handed out before it is dead.
const maxReceives = 3

// batch takes up to ten messages.
func (q *queue) batch() []*message {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(10, len(q.waiting))
	taken := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return taken
}

// back puts a message back that failed.
func (q *queue) back(m *message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if m.receives++; m.receives == maxReceives {
		q.dead++
		return
	}
	q.again++
	q.waiting = append(q.waiting, m)
}

// drain hands batches to a function until the queue is empty.
func (q *queue) drain(ctx context.Context, f *local.Function) error {
	for taken := q.batch(); len(taken) > 0; taken = q.batch() {
		var e events.SQSEvent
		byID := map[string]*message{}
		for _, m := range taken {
			e.Records, byID[m.MessageId] = append(e.Records, m.SQSMessage), m
		}
		payload, err := json.Marshal(e)
		if err != nil {
			return err
		}
		answer, err := f.Invoke(ctx, payload)
		if err != nil {
			return err
		}
		var failed events.SQSEventResponse
		if err := json.Unmarshal(answer, &failed); err != nil {
			return err
		}
		for _, m := range failed.BatchItemFailures {
			q.back(byID[m.ItemIdentifier])
		}
	}
	return nil
}

// work has all functions take from the queue at once until it is empty.
func (r *rush) work(ctx context.Context) error {
	errs := make([]error, len(r.turns))
	var side sync.WaitGroup
	before, err := cpuTimes()
	if err != nil {
		return err
	}
	began := time.Now()
	for i, f := range r.turns {
		side.Go(func() { errs[i] = r.queue.drain(ctx, f) })
	}
	side.Wait()
	r.took = time.Since(began)
	r.hour = began.UTC().Hour() != time.Now().UTC().Hour()
	after, err := cpuTimes()
	if err != nil {
		return err
	}
	r.cpu = map[string]time.Duration{}
	for program, spent := range after {
		r.cpu[program] = spent - before[program]
	}
	return errors.Join(errs...)
}

// read reads the functions' outcome lines.
func (r *rush) read() error {
	for _, f := range r.turns {
		for _, text := range f.Lines() {
			var l line
			if err := json.Unmarshal(text, &l); err != nil {
				return err
			}
			if l.Msg == "outcome" {
				r.lines = append(r.lines, l)
			}
		}
	}
	return nil
}

func (r *rush) print() {
	outcomes, of, listed := map[string]int{}, map[string]int{}, 0
	for _, l := range r.lines {
		outcomes[l.Outcome]++
		of[l.Outcome] += len(l.Calls)
		listed += len(l.Calls)
	}
	calls := map[string]int{}
	for _, c := range r.front.proxy.Calls() {
		calls[c]++
	}
	_, conditions := r.front.proxy.Cancelled()
	met := r.front.meetings.Conflicts()
	calls["DynamoDB.TransactWriteItems"] += met
	sent := 0
	for _, n := range calls {
		sent += n
	}
	fmt.Printf("  %s\n", r.name)
	fmt.Printf("    %-10s %d events in %.1f s: %.0f events/s; %s; handed out again: %d; dead: %d\n", "outcome",
		crowdEvents, r.took.Seconds(), crowdEvents/r.took.Seconds(), perOutcome(outcomes, of), r.queue.again, r.queue.dead)
	if r.hour {
		fmt.Println("               the hour turned, and the limits began anew")
	}
	fmt.Printf("    %-10s %.2f an event: %s\n", "AWS calls", float64(sent)/crowdEvents, each(calls))
	fmt.Printf("    %-10s %d transactions sent, %d cancelled as a condition did not hold, %s; sent again by the SDK: %d calls\n", "ledger",
		calls["DynamoDB.TransactWriteItems"], conditions, r.conflicts(), sent-listed)
	fmt.Printf("    %-10s %s\n", "waits", r.front.shares())
	fmt.Printf("    %-10s %s\n", "CPU", r.cpuShares())
}

// conflicts says how often transactions met.
func (r *rush) conflicts() string {
	if conflicts, _ := r.front.proxy.Cancelled(); !r.meeting {
		return fmt.Sprintf("%d for a conflict (DynamoDB Local has transactions wait for each other: it never says so)", conflicts)
	}
	return fmt.Sprintf("%d for a conflict and sent again", r.front.meetings.Conflicts())
}

// perOutcome are the outcomes with the calls that one of them took.
func perOutcome(outcomes, calls map[string]int) string {
	var parts []string
	for _, name := range greatest(outcomes) {
		parts = append(parts, fmt.Sprintf("%d %s (%.2f calls each)", outcomes[name], name, float64(calls[name])/float64(outcomes[name])))
	}
	return strings.Join(parts, ", ")
}

// each are the calls an event, the most frequent first.
func each(calls map[string]int) string {
	var parts []string
	for _, name := range greatest(calls) {
		parts = append(parts, fmt.Sprintf("%s %.2f", name, float64(calls[name])/crowdEvents))
	}
	return strings.Join(parts, ", ")
}

func greatest[N int | time.Duration](of map[string]N) []string {
	return slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		if of[a] != of[b] {
			return int(of[b] - of[a])
		}
		return strings.Compare(a, b)
	})
}

// cpuShares says who had the processors.
func (r *rush) cpuShares() string {
	var all time.Duration
	for _, spent := range r.cpu {
		all += spent
	}
	var parts []string
	for _, program := range greatest(r.cpu) {
		parts = append(parts, fmt.Sprintf("%s %.1f s (%.0f %%)", program, r.cpu[program].Seconds(), 100*r.cpu[program].Seconds()/all.Seconds()))
	}
	return fmt.Sprintf("%.1f s in %.1f s: %s; moto runs on one processor, and was busy %.0f %% of the time",
		all.Seconds(), r.took.Seconds(), strings.Join(parts, ", "), 100*r.cpu["moto"].Seconds()/r.took.Seconds())
}

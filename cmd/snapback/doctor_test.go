package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// described is a table as DynamoDB describes it once it is made.
func described(in *dynamodb.CreateTableInput) *types.TableDescription {
	t := &types.TableDescription{TableStatus: types.TableStatusActive, KeySchema: in.KeySchema}
	for _, g := range in.GlobalSecondaryIndexes {
		t.GlobalSecondaryIndexes = append(t.GlobalSecondaryIndexes, types.GlobalSecondaryIndexDescription{
			IndexName: g.IndexName, KeySchema: g.KeySchema, Projection: g.Projection, IndexStatus: types.IndexStatusActive,
		})
	}
	return t
}

func TestWhatATableLacksIsNamed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*types.TableDescription)
		want  []string
	}{
		{"nothing", func(*types.TableDescription) {}, nil},
		{"an index more", func(d *types.TableDescription) {
			d.GlobalSecondaryIndexes = append(d.GlobalSecondaryIndexes, types.GlobalSecondaryIndexDescription{IndexName: aws.String("more")})
		}, nil},
		{"the keys of the key turned round", func(d *types.TableDescription) { slices.Reverse(d.KeySchema) }, nil},
		{"it is being made", func(d *types.TableDescription) { d.TableStatus = types.TableStatusCreating }, []string{"it is CREATING, not ACTIVE"}},
		{"another key", func(d *types.TableDescription) { d.KeySchema = d.KeySchema[:1] }, []string{"its key is (pk), not (pk, sk)"}},
		{"an index", func(d *types.TableDescription) { d.GlobalSecondaryIndexes = d.GlobalSecondaryIndexes[1:] },
			[]string{"the index by-account (account, opened) is missing"}},
		{"an index is being made", func(d *types.TableDescription) { d.GlobalSecondaryIndexes[1].IndexStatus = types.IndexStatusCreating },
			[]string{"its index by-day is CREATING, not ACTIVE"}},
		{"an index with another key and less in it", func(d *types.TableDescription) {
			index := &d.GlobalSecondaryIndexes[2]
			index.KeySchema, index.Projection = index.KeySchema[:1], &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly}
		}, []string{"the key of its index by-state is (state), not (state, opened)", "its index by-state does not hold ALL attributes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := described(ledger.Schema("snapback"))
			tt.spoil(table)
			if diff := cmp.Diff(tt.want, tableFaults(table, ledger.Schema("snapback"))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChecksAreSkippedWhereWhatTheyNeedIsWrong(t *testing.T) {
	is := func(s standing) func(context.Context) finding {
		return func(context.Context) finding { return finding{Standing: s, Found: "looked at"} }
	}
	done := map[string]standing{"earlier": isWrong}
	var got []string
	for f := range examine(t.Context(), "storage", []check{
		{"fine", nil, is(isOK)},
		{"noted", []string{"fine"}, is(isNote)},
		{"broken", []string{"fine", "noted"}, is(isWrong)},
		{"needs-it", []string{"fine", "broken"}, is(isOK)},
		{"needs-that", []string{"needs-it"}, is(isOK)},
		{"needs-earlier", []string{"earlier"}, is(isOK)},
		{"after-all", []string{"noted"}, is(isOK)},
	}, done) {
		got = append(got, fmt.Sprintf("%s %s %s: %s", f.Domain, f.Check, f.Standing, f.Found))
	}
	want := []string{
		"storage fine ok: looked at", "storage noted note: looked at", "storage broken wrong: looked at",
		"storage needs-it skipped: not looked at, since the check broken is WRONG",
		"storage needs-that skipped: not looked at, since the check needs-it is SKIPPED",
		"storage needs-earlier skipped: not looked at, since the check earlier is WRONG",
		"storage after-all ok: looked at",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A check that needs one which does not exist, or comes later, would never be
// skipped.
func TestChecksNeedOnlyThoseBeforeThem(t *testing.T) {
	hub := &doctor{}
	for _, d := range controls.Domains() {
		var before []check
		for _, c := range slices.Concat(hub.checks(), (&domainDoctor{doctor: hub, domain: d.Name}).checks(), hub.lastChecks()) {
			for _, need := range c.needs {
				if !slices.ContainsFunc(before, func(b check) bool { return b.name == need }) {
					t.Errorf("the check %s needs %s, which is not made before it", c.name, need)
				}
			}
			before = append(before, c)
		}
	}
}

func TestLongFindingsAreCut(t *testing.T) {
	var b strings.Builder
	f := wrong("too much:%s", strings.Repeat("\n"+strings.Repeat("word ", 20), 30)).mend("less " + strings.Repeat("of it ", 40)).by("aws " + strings.Repeat("x", 120))
	f.Check, f.Domain = "dead-letter-queue", "response"
	if err := printFinding(&b, f); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if last := lines[len(lines)-1]; strings.TrimSpace(last) != f.Command {
		t.Errorf("the command is not whole in the last line: %s", last)
	}
	for _, line := range lines[:len(lines)-1] {
		if len(line) > columns {
			t.Errorf("a line has %d columns: %s", len(line), line)
		}
	}
	if text := b.String(); !strings.Contains(text, "and 19 more: --output json has them all") || strings.Count(text, "word") != 20*(maxLines-1) {
		t.Errorf("printed as:\n%s", text)
	}
}

func TestDocsHaveEveryFieldAndCheckOfTheHub(t *testing.T) {
	docs := sections(t)
	want := map[string][]string{
		"snapback exempt list": append(fields(reflect.TypeFor[ledger.Exemption]()), "state"),
		"snapback stop":        fields(reflect.TypeFor[turned]()),
		"snapback status":      fields(reflect.TypeFor[status]()),
		"snapback doctor":      append(fields(reflect.TypeFor[finding]()), "credentials", "site"),
	}
	hub := &doctor{}
	for _, c := range slices.Concat(hub.checks(), (&domainDoctor{doctor: hub}).checks(), hub.lastChecks()) {
		want["snapback doctor"] = append(want["snapback doctor"], c.name)
	}
	for section, names := range want {
		for _, name := range names {
			if !strings.Contains(docs[section], "`"+name+"`") {
				t.Errorf("docs/cli.md: section %q lacks %s", section, name)
			}
		}
	}
}

func TestTheTopicIsAskedForInItsRegion(t *testing.T) {
	for topic, want := range map[string]string{
		"arn:aws:sns:eu-west-1:111111111111:snapback-alerts": "eu-west-1",
		"arn:aws:sns::111111111111:snapback-alerts":          "us-east-1",
	} {
		d := &doctor{cfg: aws.Config{Region: "us-east-1"}, topic: topic}
		if got := d.sns().Options().Region; got != want {
			t.Errorf("%s is asked for in %s, want %s", topic, got, want)
		}
	}
}

// Nobody's function takes hundreds of accounts in one invocation.
func TestAccountsAreTriedInChunks(t *testing.T) {
	var tried []string
	lambda := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked function.Request
		a := engine.Answer{Verdict: engine.Done}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Command != function.Check || len(asked.Accounts) > 50 {
			t.Errorf("asked for %s of %d accounts (%v)", asked.Command, len(asked.Accounts), err)
		}
		if slices.Contains(asked.Accounts, "000000000070") {
			a = engine.Answer{Verdict: engine.NotSo, Reason: "assume the first: no\nassume the second: no"}
		}
		tried = append(tried, asked.Accounts...)
		_ = json.NewEncoder(w).Encode(a) // a caller that is gone needs none
	}))
	defer lambda.Close()
	cmd := &cobra.Command{Use: "doctor"}
	cmd.SetContext(t.Context())
	d := &domainDoctor{domain: "storage", doctor: &doctor{cmd: cmd, cfg: aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(lambda.URL),
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "example", ""),
	}}}
	for i := range 120 {
		d.accounts = append(d.accounts, fmt.Sprintf("%012d", i))
	}
	f := d.roles(t.Context())
	if want := "snapback-storage can't enter 2 of 120 accounts:\nassume the first: no\nassume the second: no"; f.Standing != isWrong || f.Found != want {
		t.Errorf("found %s: %s, want %s", f.Standing, f.Found, want)
	}
	if !slices.Equal(tried, d.accounts) {
		t.Errorf("tried %d accounts: %v", len(tried), tried)
	}
}

package runbooks_test

import (
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/runbooks"
)

// FuzzMutatedFindings changes valid JSON into other valid JSON: a field is
// dropped, gets another type, is wrapped, repeated or moved. Whatever comes of
// it, nothing panics, and no ID of a wrong shape comes out.
func FuzzMutatedFindings(f *testing.F) {
	all := sampleFindings(f)
	files := slices.Sorted(maps.Keys(all))
	for i := range files {
		for seed := range uint64(6) {
			f.Add(i, seed, byte(1+2*seed))
		}
	}
	answering := runbooks.All()
	f.Fuzz(func(t *testing.T, file int, seed uint64, times byte) {
		if file < 0 {
			t.Skip("there are no samples below 0")
		}
		m := mutator{rand.New(rand.NewPCG(seed, uint64(times)))}
		data := all[files[file%len(files)]]
		for range times % 64 {
			data = m.apply(t, data)
		}
		checkFinding(t, data, answering)
	})
}

// More mutations than are kept as seeds, so that every run of the tests sees
// others.
func TestMutatedFindingsAreAnswered(t *testing.T) {
	all := sampleFindings(t)
	answering := runbooks.All()
	seed := rand.Uint64()
	m := mutator{rand.New(rand.NewPCG(seed, 0))}
	for range 100 {
		for _, file := range slices.Sorted(maps.Keys(all)) {
			data := all[file]
			for range 1 + m.IntN(12) {
				data = m.apply(t, data)
			}
			checkFinding(t, data, answering)
			if t.Failed() {
				t.Fatalf("seed %d, a mutation of %s:\n%s", seed, file, data)
			}
		}
	}
}

var (
	instanceID = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)
	groupID    = regexp.MustCompile(`^sg-[0-9a-f]{8,17}$`)
	region     = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+){1,3}-[0-9]+$`)
)

func checkFinding(t *testing.T, data []byte, answering []control.Runbook) {
	t.Helper()
	e, err := event.Decode(data)
	var fault *event.FieldError
	if err != nil {
		if !errors.As(err, &fault) {
			t.Fatalf("want a *FieldError, got %v", err)
		}
		return
	}
	f, ok := e.Detail.(*event.Finding)
	if !ok {
		return
	}
	checkFields(t, f)
	checkNamed(t, f)
	checkAnswers(t, f, answering)
}

func checkFields(t *testing.T, f *event.Finding) {
	t.Helper()
	if !(f.Severity >= 0 && f.Severity <= 10) || f.Role != "" && f.Role != event.RoleActor && f.Role != event.RoleTarget {
		t.Errorf("severity %g, role %q", f.Severity, f.Role)
	}
	for _, at := range []time.Time{f.FirstSeen, f.LastSeen, f.Updated} {
		if _, err := at.MarshalJSON(); err != nil {
			t.Error(err)
		}
	}
	for _, a := range f.Remotes {
		if _, err := netip.ParseAddr(a); err != nil {
			t.Error(err)
		}
	}
	for _, p := range f.LocalPorts {
		if p < 1 || p > 65535 {
			t.Errorf("port %d", p)
		}
	}
}

func checkNamed(t *testing.T, f *event.Finding) {
	t.Helper()
	for _, in := range f.Instances() {
		if !instanceID.MatchString(in.ID) || in.Account != "" && !event.IsAccount(in.Account) || in.Region != "" && !region.MatchString(in.Region) {
			t.Errorf("instance %+v", in)
		}
	}
	for _, c := range f.Credentials() {
		if s := c.Type + c.Name + c.Principal + c.Key; s == "" || strings.ContainsAny(s, "/* \n\x00") {
			t.Errorf("credentials %+v", c)
		}
	}
	for _, id := range f.Groups() {
		if !groupID.MatchString(id) {
			t.Errorf("group %q", id)
		}
	}
	if s := f.Resource(); s == "" || strings.ContainsAny(s, "\n\r\x1b") {
		t.Errorf("resource %q", s)
	}
}

// checkAnswers checks that somebody learns of the finding, and that what is to
// be changed is of the type that it should be.
func checkAnswers(t *testing.T, f *event.Finding, answering []control.Runbook) {
	t.Helper()
	answers := 0
	for _, r := range answering {
		for _, target := range r.Answers(f) {
			answers++
			if target.Type != r.Type || !r.IDs.MatchString(target.ID) || !event.IsAccount(target.Account) || target.Region == "" {
				t.Errorf("%s answers for %q", r.ID, target)
			}
			if !r.Names(r.ARN(target)) && region.MatchString(target.Region) {
				t.Errorf("%s does not know its own target %s", r.ID, r.ARN(target))
			}
		}
		if r.Reason != nil && r.Reason(f) == "" {
			t.Errorf("%s gives no reason", r.ID)
		}
	}
	if answers == 0 {
		t.Error("nobody answers the finding")
	}
}

// mutator changes one place of a JSON value at a time.
type mutator struct{ *rand.Rand }

// apply changes one place of a text in JSON.
func (m mutator) apply(t *testing.T, data []byte) []byte {
	t.Helper()
	var root any
	err := json.Unmarshal(data, &root)
	if err == nil {
		data, err = json.Marshal(m.mutate(root))
	}
	check(t, err)
	return data
}

func (m mutator) mutate(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) > 0 && m.IntN(5) > 0 {
			keys := slices.Sorted(maps.Keys(v))
			key := keys[m.IntN(len(keys))]
			switch m.IntN(12) {
			case 0:
				delete(v, key)
			case 1: // moved to where another was
				v[keys[m.IntN(len(keys))]] = v[key]
			default:
				v[key] = m.mutate(v[key])
			}
			return v
		}
	case []any:
		if len(v) > 0 && m.IntN(5) > 0 {
			i := m.IntN(len(v))
			v[i] = m.mutate(v[i])
			return v
		}
	}
	return m.other(v)
}

// hostile are texts that something may take for what they are not.
var hostile = []string{
	"", "i-", "i-0123456789abcdef", "i-../../x", "i-0123456789ABCDEF0", "sg-12345678\n", "arn:aws:ec2:us-east-1:222222222222:instance/i-12345678",
	"arn:aws:ec2:x.example.com/:222222222222:instance/i-12345678", "EC2_INSTANCE", "Instance", "ACTOR", "TARGET", "NaN", "1e400", "333333333333",
	"user/alice", "AIDAEXAMPLEALICE00001", "AKIAIOSFODNN7EXAMPLE", "ASIAI44QH8DHBEXAMPLE", "AROAEXAMPLEWEB0000001:i-0123456789abcdef0", "AROA:*:x",
	"IAMUser", "AssumedRole", "Root", "alice bob", "alice\nbob",
	"AttackSequence:EC2/CompromisedInstanceGroup", "AttackSequence:IAM/CompromisedCredentials", "UnauthorizedAccess:EC2/SSHBruteForce", `{"sample":true}`, `{"a":`, "\x00", "*", "fe80::1%x", "9999-99-99",
}

// other is another value in the place of one.
func (m mutator) other(v any) any {
	switch m.IntN(9) {
	case 0:
		return nil
	case 1:
		return m.Float64() * 1e6
	case 2:
		return m.IntN(2) == 0
	case 3:
		return []any{v}
	case 4:
		return []any{v, v, nil, []any{v}}
	case 5:
		return map[string]any{"x": v}
	case 6:
		return map[string]any{}
	}
	return hostile[m.IntN(len(hostile))]
}

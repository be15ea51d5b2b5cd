package principal_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/internal/lifecycle"
	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/remedies/principal"
)

const (
	active   = types.StatusTypeActive
	inactive = types.StatusTypeInactive
)

func TestDeactivateKeysLifecycle(t *testing.T) {
	lifecycle.Remedy(t, "identity", "AWS::IAM::User", principal.DeactivateKeys(finder), lifecycle.Test{
		Violations: []lifecycle.Violation{
			withKeys("two active keys", false, active, active),
			withKeys("an active and an inactive key", false, inactive, active),
		},
	})
}

func TestDeactivateKeyLifecycle(t *testing.T) {
	lifecycle.Remedy(t, "identity", "AWS::IAM::User", principal.DeactivateKey(finder), lifecycle.Test{
		Violations: []lifecycle.Violation{withKeys("one of two active keys", true, active, active)},
	})
}

// withKeys is a user with access keys, of whom the last one is misused or nothing
// is known of any.
func withKeys(name string, known bool, keys ...types.StatusType) lifecycle.Violation {
	return lifecycle.Violation{
		Name: name,
		Make: func(ctx context.Context, t *testing.T, cfg aws.Config) string {
			w := newWorld(ctx, t, cfg)
			id, last := w.user("/team/"), ""
			for _, status := range keys {
				last = w.key(status)
			}
			if known {
				id += " " + last
			}
			return id
		},
		State: stateOf,
	}
}

func TestKeysOfAUserAreInTheirOrder(t *testing.T) {
	s := newStage(t, principal.DeactivateKeys(finder))
	id := s.user("/team/")
	a, b := s.key(active), s.key(inactive)
	text := func(first, second string) string {
		keys := []string{fmt.Sprintf(`{"AccessKeyId":%q,"Status":%q}`, a, first), fmt.Sprintf(`{"AccessKeyId":%q,"Status":%q}`, b, second)}
		if a > b {
			keys[0], keys[1] = keys[1], keys[0]
		}
		return fmt.Sprintf(`{"UserName":%q,"AccessKeys":[%s]}`, *s.name(), strings.Join(keys, ","))
	}
	c := s.Plan(id)
	lifecycle.Same(t, "Before", string(c.Before), text("Active", "Inactive"))
	lifecycle.Same(t, "After", string(c.After), text("Inactive", "Inactive"))
	lifecycle.Same(t, "Touches", c.Touches, []string{"arn:aws:iam::" + local.MemberAccount + ":" + id})
}

func TestOnlyTheNamedKeyIsMadeInactive(t *testing.T) {
	s := newStage(t, principal.DeactivateKey(finder))
	id := s.user("/")
	leaked, other := s.key(active), s.key(active)
	s.Apply(s.Plan(id + " " + leaked))
	lifecycle.Same(t, "keys", s.keys(*s.name()), map[string]types.StatusType{leaked: inactive, other: active})
}

func TestNoKeyToMakeInactive(t *testing.T) {
	s := newStage(t, principal.DeactivateKeys(finder))
	user := s.user("/")
	role, _ := s.role("/", "ec2.amazonaws.com", "s")
	ids := []string{user, role, "root", "foreign/arn:aws:iam::999999999999:user/mallory"}
	for _, id := range ids {
		if c := s.Plan(id); c != nil {
			t.Errorf("Plan of %s finds %s", id, c.Before)
		}
	}
	s.Remedy = principal.DeactivateKey(finder)
	key := s.key(active)
	s.deleteKey(key)
	for _, id := range []string{
		user, user + " " + key, user + " ASIAIOSFODNN7EXAMPLE", "root ASIAIOSFODNN7EXAMPLE", role + " " + key, "foreign/arn:aws:iam::999999999999:user/mallory " + key,
	} {
		if c := s.Plan(id); c != nil {
			t.Errorf("Plan of %s finds %s", id, c.Before)
		}
	}
}

func TestKeyOfRootIsReported(t *testing.T) {
	s := newStage(t, principal.DeactivateKey(finder))
	s.wantReport("root AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE", "sign in as root and delete it")
}

func TestKeysOfWhoeverOpenedAFederatedSession(t *testing.T) {
	s := newStage(t, principal.DeactivateKeys(finder))
	s.user("/")
	key := s.key(active)
	s.Apply(s.Plan("federated/" + *s.name() + ":carol"))
	lifecycle.Same(t, "keys", s.keys(*s.name()), map[string]types.StatusType{key: inactive})
}

func TestKeysThatAKilledWorkerBeganAreFinished(t *testing.T) {
	for name, fault := range lifecycle.Kills {
		for nth := 1; nth <= 2; nth++ {
			t.Run(fmt.Sprintf("%s call %d", name, nth), func(t *testing.T) {
				s := newStage(t, principal.DeactivateKeys(finder))
				id := s.user("/")
				a, b := s.key(active), s.key(active)
				c := s.Plan(id)
				s.Killed(s.Remedy.Apply, c, "IAM.UpdateAccessKey", nth, fault)
				c = s.again(id, c)
				lifecycle.Same(t, "keys", s.keys(*s.name()), map[string]types.StatusType{a: inactive, b: inactive})
				s.Undo(c)
				lifecycle.Same(t, "keys", s.keys(*s.name()), map[string]types.StatusType{a: active, b: active})
			})
		}
	}
}

func TestKeyThatIsDeletedMeanwhileIsAsGood(t *testing.T) {
	s := newStage(t, principal.DeactivateKeys(finder))
	id := s.user("/")
	a, b := s.key(active), s.key(active)
	c := s.Plan(id)
	s.deleteKey(a)
	s.Apply(c)
	lifecycle.Same(t, "keys", s.keys(*s.name()), map[string]types.StatusType{b: inactive})
	if open, err := s.Remedy.Verify(s.Ctx, s.Session, *c); open != nil || err != nil {
		t.Errorf("Verify returns %+v and %v", open, err)
	}
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c), "Access key "+a+" of user "+*s.name()+" no longer exists.")
	lifecycle.Same(t, "keys", s.keys(*s.name()), map[string]types.StatusType{b: active})
}

// A key that the attacker made while a killed worker's case was taken over is no
// part of the first Before: it must not come back to life with the release.
func TestKeyThatWasMadeMeanwhileStaysInactive(t *testing.T) {
	s := newStage(t, principal.DeactivateKeys(finder))
	id := s.user("/")
	a, b := s.key(active), s.key(active)
	c := s.Plan(id)
	s.deleteKey(b)
	made := s.key(active)
	c = s.again(id, c)
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c),
		"Access key "+b+" of user "+*s.name()+" no longer exists.",
		"Access key "+made+" of user "+*s.name()+" stays inactive: it was made while the user was contained.")
	lifecycle.Same(t, "keys", s.keys(*s.name()), map[string]types.StatusType{a: active, made: inactive})
}

func TestKeysOfAUserWhoIsGone(t *testing.T) {
	s := newStage(t, principal.DeactivateKeys(finder))
	id := s.user("/")
	s.key(active)
	c := s.Plan(id)
	s.deleteUser()
	if open, err := s.Remedy.Verify(s.Ctx, s.Session, *c); open != nil || err != nil {
		t.Errorf("Verify returns %+v and %v", open, err)
	}
	lifecycle.Left(t, s.Remedy.Undo(s.Ctx, s.Session, *c), "User "+*s.name()+" no longer exists.")
}

func TestKeysAreNotReleasedWhereSomebodyChangedOne(t *testing.T) {
	s := newStage(t, principal.DeactivateKeys(finder))
	id := s.user("/")
	a, _ := s.key(active), s.key(active)
	c := s.Plan(id)
	s.Apply(c)
	s.turn(a, active)
	if now := string(s.wantMoved(c).Now); !strings.Contains(now, `"`+a+`","Status":"Active"`) {
		t.Errorf("the keys now are shown as %s", now)
	}
}

func TestDeniedKeyIsAnErrorThoughAnotherIsGone(t *testing.T) {
	s := newStage(t, principal.DeactivateKeys(finder))
	id := s.user("/")
	a, _ := s.key(active), s.key(active)
	c := s.Plan(id)
	s.deleteKey(a)
	s.Proxy.Inject("IAM.UpdateAccessKey", 1, local.Denied())
	s.Proxy.Inject("IAM.UpdateAccessKey", 2, local.Denied())
	if err := s.Remedy.Apply(s.Ctx, s.Session, *c); err == nil {
		t.Error("Apply succeeds, although it was denied")
	}
}

func TestRoundTripsOfKeys(t *testing.T) {
	s := newStage(t, principal.DeactivateKeys(finder))
	id := s.user("/")
	s.key(active)
	s.key(active)
	s.RoundTrips(id, lifecycle.RoundTrips{Plan: 1, Apply: 1, Again: 1, Undo: 2})
}

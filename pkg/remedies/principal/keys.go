package principal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// userKeys are access keys of a user, under IAM's names and sorted by ID.
type userKeys struct {
	UserName   string
	AccessKeys []accessKey
}

type accessKey struct {
	AccessKeyID string `json:"AccessKeyId"`
	Status      types.StatusType
}

// DeactivateKeys makes every active access key of a user inactive, but for
// Suspect.Key: that is DeactivateKey's. So what each of the two is to change can be
// approved, and undone, whatever becomes of the other.
//
// Its states are {"UserName","AccessKeys":[{"AccessKeyId","Status"}]}.
func DeactivateKeys(f Finder) control.Remedy {
	return keyRemedy("deactivate-access-keys", f, func(ctx context.Context, session *cloud.Session, c control.Change, s *Suspect) (*control.Change, error) {
		if s.User == "" {
			return nil, nil
		}
		return deactivate(ctx, session, c, s, func(k accessKey) bool { return k.AccessKeyID != s.Key })
	})
}

// DeactivateKey makes the one access key of Suspect.Key inactive. That of the root
// user is a report; a temporary one has no status, and is contained with its
// session.
//
// Its states are those of DeactivateKeys, with the one key.
func DeactivateKey(f Finder) control.Remedy {
	return keyRemedy("deactivate-access-key", f, func(ctx context.Context, session *cloud.Session, c control.Change, s *Suspect) (*control.Change, error) {
		switch {
		case !strings.HasPrefix(s.Key, longTerm):
			return nil, nil
		case s.Root:
			return report(c, []string{fmt.Sprintf("Access key %s is the root user's, whose keys nobody else can make inactive: sign in as root and delete it. "+
				"For a member account, the management account can delete it by IAM's root access management.", s.Key)}), nil
		case s.User == "":
			return nil, nil
		}
		return deactivate(ctx, session, c, s, func(k accessKey) bool { return k.AccessKeyID == s.Key })
	})
}

// longTerm is how the IDs of access keys begin that hold until they are deleted
// (IAM user guide, "IAM identifiers", unique ID prefixes).
const longTerm = "AKIA"

func keyRemedy(name string, f Finder, contain container) control.Remedy {
	return control.Remedy{
		Name:   name,
		Plan:   f.plan(contain),
		Resume: f.resume(contain),
		Verify: verifyKeys,
		Apply:  applyKeys,
		Undo:   undoKeys,
		Permissions: control.Permissions{
			Plan:   f.needs(getUser, listKeys),
			Verify: []control.Permission{listKeys},
			Apply:  []control.Permission{updateKey},
			Undo:   []control.Permission{listKeys, updateKey},
		},
	}
}

// deactivate plans to make the active ones of some keys of a user inactive. The
// user is read for his whole ARN, by which the baseline may protect him.
func deactivate(ctx context.Context, session *cloud.Session, c control.Change, s *Suspect, of func(accessKey) bool) (*control.Change, error) {
	var user holder
	var unread error
	var side sync.WaitGroup
	side.Go(func() { _, user, unread = readBoundary(ctx, session, c, boundary{UserName: s.Name()}) })
	before, err := readKeys(ctx, session, s.Name())
	side.Wait()
	if err := errors.Join(unread, err); err != nil {
		return nil, err
	}
	before = before.only(of)
	after := userKeys{UserName: before.UserName}
	for _, k := range before.AccessKeys {
		if k.Status == types.StatusTypeActive {
			k.Status = types.StatusTypeInactive
		}
		after.AccessKeys = append(after.AccessKeys, k)
	}
	if slices.Equal(before.AccessKeys, after.AccessKeys) {
		return nil, nil
	}
	c.Touches = []string{user.arn}
	if c.Before, err = json.Marshal(before); err != nil {
		return nil, err
	}
	c.After, err = json.Marshal(after)
	return &c, err
}

// verifyKeys finds what of the keys in a change is not inactive. One that was
// deleted is as good.
func verifyKeys(ctx context.Context, session *cloud.Session, c control.Change) (*control.Change, error) {
	before, after, err := states[userKeys](c)
	if err != nil {
		return nil, err
	}
	now, err := readKeys(ctx, session, after.UserName)
	switch {
	case errors.Is(err, control.ErrGone):
		return nil, nil
	case err != nil:
		return nil, err
	case now.restrict(after).equal(after.restrict(now)):
		return nil, nil
	}
	c.Before, err = json.Marshal(now.restrict(before, after))
	return &c, err
}

// applyKeys makes all keys of a change inactive. One that was deleted in the
// meantime is as good.
func applyKeys(ctx context.Context, session *cloud.Session, c control.Change) error {
	_, after, err := states[userKeys](c)
	if err != nil {
		return err
	}
	errs := writeKeys(ctx, session, after.only(func(k accessKey) bool { return k.Status == types.StatusTypeInactive }))
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return cloud.Is(err, noSuchEntity) })...)
}

// undoKeys makes those keys active again that the change made inactive.
func undoKeys(ctx context.Context, session *cloud.Session, c control.Change) error {
	before, after, err := states[userKeys](c)
	if err != nil {
		return err
	}
	now, err := readKeys(ctx, session, after.UserName)
	switch {
	case errors.Is(err, control.ErrGone):
		return &control.LeftError{Left: []string{"User " + after.UserName + " no longer exists."}}
	case err != nil:
		return err
	case !now.restrict(after).equal(after.restrict(now)):
		return moved(c, now.restrict(before, after))
	}
	restored := before.restrict(now).only(func(k accessKey) bool { return !slices.Contains(now.AccessKeys, k) })
	if err := errors.Join(writeKeys(ctx, session, restored)...); err != nil {
		return err
	}
	if left := notRestored(before, after, now); len(left) > 0 {
		return &control.LeftError{Left: left}
	}
	return nil
}

// notRestored says which keys are not as they were. A key that is in After alone
// was made while the change was: a worker was killed in it.
func notRestored(before, after, now userKeys) (left []string) {
	for _, k := range before.AccessKeys {
		if !now.has(k.AccessKeyID) {
			left = append(left, fmt.Sprintf("Access key %s of user %s no longer exists.", k.AccessKeyID, now.UserName))
		}
	}
	for _, k := range after.AccessKeys {
		if !before.has(k.AccessKeyID) && now.has(k.AccessKeyID) {
			left = append(left, fmt.Sprintf("Access key %s of user %s stays inactive: it was made while the user was contained.", k.AccessKeyID, now.UserName))
		}
	}
	return left
}

// restrict leaves the keys that one of the others has too.
func (u userKeys) restrict(others ...userKeys) userKeys {
	return u.only(func(k accessKey) bool {
		return slices.ContainsFunc(others, func(o userKeys) bool { return o.has(k.AccessKeyID) })
	})
}

// only leaves some of the keys.
func (u userKeys) only(of func(accessKey) bool) userKeys {
	u.AccessKeys = slices.DeleteFunc(slices.Clone(u.AccessKeys), func(k accessKey) bool { return !of(k) })
	return u
}

func (u userKeys) has(id string) bool {
	return slices.ContainsFunc(u.AccessKeys, func(k accessKey) bool { return k.AccessKeyID == id })
}

func (u userKeys) equal(other userKeys) bool { return slices.Equal(u.AccessKeys, other.AccessKeys) }

// readKeys reads all access keys of a user; control.ErrGone if he no longer exists.
func readKeys(ctx context.Context, session *cloud.Session, user string) (userKeys, error) {
	keys := userKeys{UserName: user}
	pages := iam.NewListAccessKeysPaginator(client(session), &iam.ListAccessKeysInput{UserName: aws.String(user)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		switch {
		case cloud.Is(err, noSuchEntity):
			return keys, fmt.Errorf("list access keys of user %s: %w", user, control.ErrGone)
		case err != nil:
			return keys, fmt.Errorf("list access keys of user %s: %w", user, err)
		}
		for _, k := range page.AccessKeyMetadata {
			keys.AccessKeys = append(keys.AccessKeys, accessKey{aws.ToString(k.AccessKeyId), k.Status})
		}
	}
	slices.SortFunc(keys.AccessKeys, func(a, b accessKey) int { return cmp.Compare(a.AccessKeyID, b.AccessKeyID) })
	return keys, nil
}

// writeKeys gives keys their status, side by side, and returns an error for each
// of them.
func writeKeys(ctx context.Context, session *cloud.Session, u userKeys) []error {
	errs := make([]error, len(u.AccessKeys))
	var side sync.WaitGroup
	for i, k := range u.AccessKeys {
		side.Go(func() {
			_, err := client(session).UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{
				UserName: aws.String(u.UserName), AccessKeyId: aws.String(k.AccessKeyID), Status: k.Status,
			})
			if err != nil {
				errs[i] = fmt.Errorf("make access key %s of user %s %s: %w", k.AccessKeyID, u.UserName, k.Status, err)
			}
		})
	}
	side.Wait()
	return errs
}

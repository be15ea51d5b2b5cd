package principal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// setting is one thing that is changed about a user or role. An S is its state,
// which names it.
type setting[S any] struct {
	// read returns the live state of what a state names, in the form in which the
	// change tells it; control.ErrGone if the user or role no longer exists.
	read func(context.Context, *cloud.Session, control.Change, S) (S, holder, error)
	// write makes the live state as the given one says.
	write func(context.Context, *cloud.Session, control.Change, S) error
	same  func(a, b S) bool
	// of names the user or role: "User alice".
	of func(S) string
}

// holder is what is said of a user or role beside the state.
type holder struct {
	arn string
	// left is what stays open once the state is as wanted.
	left []string
}

// compare completes a change with the live state and the wanted one.
func (k setting[S]) compare(ctx context.Context, session *cloud.Session, c control.Change, want S) (*control.Change, error) {
	now, of, err := k.read(ctx, session, c, want)
	if err != nil {
		return nil, err
	}
	return k.change(c, now, want, of)
}

// change completes a change: nil if the states are the same, a report if something
// is left open all the same.
func (k setting[S]) change(c control.Change, now, want S, of holder) (_ *control.Change, err error) {
	c.Touches, c.Left, c.After = []string{of.arn}, of.left, nil
	if c.Before, err = json.Marshal(now); err != nil {
		return nil, err
	}
	if !k.same(now, want) {
		c.After, err = json.Marshal(want)
	} else if len(c.Left) == 0 {
		return nil, nil
	}
	return &c, err
}

// verify is the Verify of a remedy. Who is gone needs no containing.
func (k setting[S]) verify(ctx context.Context, session *cloud.Session, c control.Change) (*control.Change, error) {
	_, after, err := states[S](c)
	if err != nil {
		return nil, err
	}
	fresh, err := k.compare(ctx, session, c, after)
	if errors.Is(err, control.ErrGone) {
		return nil, nil
	}
	return fresh, err
}

// apply is the Apply of a remedy.
func (k setting[S]) apply(ctx context.Context, session *cloud.Session, c control.Change) error {
	_, after, err := states[S](c)
	if err != nil {
		return err
	}
	return k.write(ctx, session, c, after)
}

// undo is the Undo of a remedy.
func (k setting[S]) undo(ctx context.Context, session *cloud.Session, c control.Change) error {
	before, after, err := states[S](c)
	if err != nil {
		return err
	}
	now, _, err := k.read(ctx, session, c, after)
	switch {
	case errors.Is(err, control.ErrGone):
		return &control.LeftError{Left: []string{k.of(after) + " no longer exists."}}
	case err != nil:
		return err
	case !k.same(now, after):
		return moved(c, now)
	}
	return k.write(ctx, session, c, before)
}

// moved says that the live state is not as the change left it.
func moved[S any](c control.Change, now S) error {
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return &control.MovedError{Change: c, Now: text}
}

func states[S any](c control.Change) (before, after S, err error) {
	if err := errors.Join(json.Unmarshal(c.Before, &before), json.Unmarshal(c.After, &after)); err != nil {
		return before, after, fmt.Errorf("read the recorded state of %s: %w", c.Target.ID, err)
	}
	return before, after, nil
}

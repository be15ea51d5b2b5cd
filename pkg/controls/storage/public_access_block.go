package storage

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/snapback-aws/snapback/pkg/control"
)

// publicAccessBlock is the Block Public Access configuration of a bucket or an
// account, under AWS's names. A missing configuration is a nil pointer, in JSON
// null: all four flags are off.
type publicAccessBlock struct {
	BlockPublicAcls       bool
	IgnorePublicAcls      bool
	BlockPublicPolicy     bool
	RestrictPublicBuckets bool
}

// off names the flags that are off.
func (b *publicAccessBlock) off() []string {
	if b == nil {
		b = &publicAccessBlock{}
	}
	var off []string
	for _, flag := range []struct {
		on   bool
		name string
	}{
		{b.BlockPublicAcls, "BlockPublicAcls"},
		{b.IgnorePublicAcls, "IgnorePublicAcls"},
		{b.BlockPublicPolicy, "BlockPublicPolicy"},
		{b.RestrictPublicBuckets, "RestrictPublicBuckets"},
	} {
		if !flag.on {
			off = append(off, flag.name)
		}
	}
	return off
}

// plan turns on the flags that are off; nil if none is.
func (b *publicAccessBlock) plan(t control.Target, what string) (*control.Change, error) {
	off := b.off()
	if len(off) == 0 {
		return nil, nil
	}
	reason := fmt.Sprintf("Block Public Access of %s is off: %s.", what, strings.Join(off, ", "))
	if b == nil {
		reason = fmt.Sprintf("Block Public Access of %s is not configured: all four settings are off.", what)
	}
	before, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(publicAccessBlock{true, true, true, true})
	if err != nil {
		return nil, err
	}
	return &control.Change{Target: t, Reason: reason, Before: before, After: after}, nil
}

// writer writes a block to a bucket or an account. S3 takes all four flags at
// once; there is no call that changes one alone.
type writer struct {
	put    func(publicAccessBlock) error
	remove func() error
}

// restore writes a state as a change recorded it.
func restore(state json.RawMessage, w writer) error {
	var b *publicAccessBlock
	if err := json.Unmarshal(state, &b); err != nil {
		return fmt.Errorf("read recorded public access block: %w", err)
	}
	if b == nil {
		return w.remove()
	}
	return w.put(*b)
}

// undo restores what was there before the change if the block is still as the
// change left it.
func undo(c control.Change, now *publicAccessBlock, w writer) error {
	state, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if string(state) != string(c.After) {
		return &control.MovedError{Change: c, Now: state}
	}
	return restore(c.Before, w)
}

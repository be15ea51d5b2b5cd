// Package site is what tests of the way of an event have in common: the hub, and
// member accounts in which a domain's built function works, from an event on its
// queue to the ledger and the alert on the queue of the operators.
package site

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/event"
	"github.com/snapback-aws/snapback/pkg/function"
)

// House is the hub that all tests of a package share: one AWS, one ledger, one
// topic, and one domain's function, built for these tests so that it is the code
// under test.
type House struct {
	Domain control.Domain
	AWS    *local.AWS
	Hub    *local.Hub

	db    *local.DynamoDB
	built string
	rules []event.Matcher

	mu     sync.Mutex
	sites  int
	alerts []local.Alert
}

// Main is the TestMain of a package that has a house: it returns the exit code.
func (h *House) Main(m *testing.M) int {
	// go test keeps a result for as long as the test's own binary stays the same:
	// so the function is linked into it, too.
	_, _ = fmt.Fprintf(io.Discard, "%p", function.Main)
	defer h.close()
	if err := h.open(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// open builds the function and starts the hub.
func (h *House) open(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "snapback-"+h.Domain.Name)
	if err != nil {
		return err
	}
	for _, r := range h.Domain.Rules() {
		h.rules = append(h.rules, r.Pattern.Matcher())
	}
	if h.built, err = local.Build(ctx, "./functions/"+h.Domain.Name, dir); err != nil {
		return err
	}
	if h.AWS, err = local.StartAWS(ctx); err != nil {
		return err
	}
	if h.db, err = local.StartDynamoDB(ctx); err != nil {
		return err
	}
	h.Hub, err = local.NewHub(ctx, h.AWS, h.db)
	return err
}

func (h *House) close() {
	if h.db != nil {
		h.db.Close()
	}
	if h.AWS != nil {
		h.AWS.Close()
	}
	if h.built != "" {
		_ = os.RemoveAll(filepath.Dir(h.built)) // a temporary folder left behind harms nobody
	}
}

package identity_test

import (
	"testing"

	"github.com/snapback-aws/snapback/internal/lifecycle"
)

func TestMain(m *testing.M) { lifecycle.Main(m) }

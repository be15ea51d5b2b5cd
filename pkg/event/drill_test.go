package event_test

import (
	"errors"
	"testing"

	"github.com/snapback-aws/snapback/pkg/event"
)

const canary = "snapback/drill.json"

func TestCanarySaysOnlyWhichDrillItIsOf(t *testing.T) {
	e := decode(t, read(t, samples, canary))
	c, ok := e.Detail.(*event.Canary)
	if !ok || c.Drill != "20261122-0d1e2f3g" || e.Account != "222222222222" || e.Region != "eu-west-1" {
		t.Errorf("decoded as %T %+v of %s %s", e.Detail, e.Detail, e.Account, e.Region)
	}
	if !event.Drills().Matcher().Match(e) {
		t.Error("the pattern of drills does not match it")
	}
}

func TestCanaryOfAnotherShapeIsRefused(t *testing.T) {
	for _, f := range []struct{ path, value, field string }{
		{"account", `"22222222222"`, "account"},
		{"region", `"eu-west-1/../x"`, "region"},
		{"region", `"EU-WEST-1"`, "region"},
		{"id", `""`, "id"},
		{"detail.drill", ``, "detail.drill"},
		{"detail.drill", `5`, "detail.drill"},
		{"detail.drill", `"20261122-0D1E2F3G"`, "detail.drill"},
		{"detail.drill", `"20261122-0d1e2f3g\n"`, "detail.drill"},
		{"detail.drill", `"20261122-0d1e2f3g#x"`, "detail.drill"},
	} {
		_, err := event.Decode(edit(t, read(t, samples, canary), f.path, f.value))
		var fault *event.FieldError
		if !errors.As(err, &fault) || fault.Field != f.field {
			t.Errorf("%s %s: got %v, want a fault of %s", f.path, f.value, err, f.field)
		}
	}
}

func TestImitationOfADrillIsNone(t *testing.T) {
	for path, value := range map[string]string{"source": `"com.example"`, "detail-type": `"Drill"`} {
		e := decode(t, edit(t, read(t, samples, canary), path, value))
		if _, ok := e.Detail.(*event.Other); !ok || event.Drills().Matcher().Match(e) {
			t.Errorf("an event with %s %s is taken for a drill's: %T", path, value, e.Detail)
		}
	}
}

package local

import (
	"strings"
	"testing"
)

func TestRulerAnswersAsEventBridge(t *testing.T) {
	r, err := StartRuler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	pattern := `{"detail":{"a":["x"],"b":["y"]}}`
	for event, want := range map[string]bool{
		`{"detail":{"a":"x","b":"y"}}`:               true,
		`{"detail":{"a":"\u0078","b":["z","y"]}}`:    true,
		`{"detail":{"a":"x"}}`:                       false,
		`{"detail":[{"a":"x"},{"b":"y"}]}`:           false, // not within one element
		`{"detail":[{"a":"x","b":"z"},{"b":"y"}]}`:   false,
		`{"detail":[{"c":"z"},{"a":"x","b":["y"]}]}`: true,
	} {
		got, err := r.Match(pattern, event)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("event %s: got %t, want %t", event, got, want)
		}
	}
	for _, c := range []struct{ pattern, event string }{{`{`, `{}`}, {pattern, `{`}} {
		if _, err := r.Match(c.pattern, c.event); err == nil || !strings.Contains(err.Error(), "event-ruler: ") {
			t.Errorf("pattern %s, event %s: got error %v, want the engine's own", c.pattern, c.event, err)
		}
	}
	r.Close()
	waitGone(t, r.process.pid)
	if _, err := r.Match(pattern, `{}`); err == nil {
		t.Error("a closed engine answers without an error")
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/control"
)

// The baseline file promises that explain shows the parameters of a control
// with their defaults.
func TestExplainShowsParametersAndWhatCantBeUndone(t *testing.T) {
	type params struct {
		MaxAge   time.Duration `yaml:"max-age"`
		WarnDays int           `yaml:"warn-days"`
	}
	c, err := info("identity", &control.Control{
		ID: "iam-key-age", Title: "Keys are young", Params: &params{36 * time.Hour, 14},
		Remedy: control.Remedy{
			Name: "delete-key", Apply: func(context.Context, *cloud.Session, control.Change) error { return nil },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var text, object bytes.Buffer
	if err := errors.Join(explain(&text, c), printJSON(&object, c)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nParameters, with their defaults:\nmax-age: 36h0m0s\nwarn-days: 14\n", "yes (delete-key), and the change can NOT be undone",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	for _, want := range []string{
		`"params":{"max-age":"36h0m0s","warn-days":14}`, `"changes":true,"reversible":false`, `"securityHub":[]`,
	} {
		if !strings.Contains(object.String(), want) {
			t.Errorf("the JSON lacks %s:\n%s", want, object.String())
		}
	}
}

func TestDocsHaveEveryFieldOfRunbooksAndFindingTypes(t *testing.T) {
	section := sections(t)["snapback explain"]
	for _, of := range []reflect.Type{reflect.TypeFor[runbookInfo](), reflect.TypeFor[findingInfo]()} {
		for _, field := range fields(of) {
			if !strings.Contains(section, "`"+field+"`") {
				t.Errorf("docs/cli.md: section snapback explain lacks the field %s of %s", field, of)
			}
		}
	}
}

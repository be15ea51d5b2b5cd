package function_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/pkg/controls/storage"
	"github.com/snapback-aws/snapback/pkg/function"
)

// embedded is what the embedded metric format says of a line.
type embedded struct {
	Timestamp         int64
	CloudWatchMetrics []struct {
		Namespace  string
		Dimensions [][]string
		Metrics    []struct{ Name, Unit string }
	}
}

// counted adds the metrics of a line to what CloudWatch counts, under their names
// and the values of their dimensions. It holds the line to the rules of the
// CloudWatch user guide, "Specification: Embedded metric format".
func counted(t *testing.T, line []byte, to map[string]float64) {
	t.Helper()
	var members map[string]any
	must(t, json.Unmarshal(line, &members))
	var metrics struct {
		AWS embedded `json:"_aws"`
	}
	must(t, json.Unmarshal(line, &metrics))
	if _, ok := members["_aws"]; ok != (metrics.AWS.Timestamp > 0) {
		t.Errorf("there is no time: %s", line)
	}
	for _, d := range metrics.AWS.CloudWatchMetrics {
		if d.Namespace != "Snapback" || len(d.Dimensions) == 0 || len(d.Metrics) == 0 || len(d.Metrics) > 100 {
			t.Errorf("not allowed: %+v", d)
		}
		for _, set := range d.Dimensions {
			of := dimensions(t, set, members)
			for _, m := range d.Metrics {
				value, number := members[m.Name].(float64)
				if !number || m.Unit != "Count" && m.Unit != "Milliseconds" {
					t.Errorf("the metric %s is %v %s", m.Name, members[m.Name], m.Unit)
				}
				to[m.Name+of] += value
			}
		}
	}
}

// dimensions are the values of a set of dimensions, which may be empty.
func dimensions(t *testing.T, set []string, members map[string]any) (values string) {
	t.Helper()
	if set == nil || len(set) > 30 {
		t.Errorf("not allowed: %v", set)
	}
	for _, key := range set {
		value, text := members[key].(string)
		if !text || value == "" {
			t.Errorf("the dimension %s is %v", key, members[key])
		}
		values += " " + value
	}
	return values
}

func TestMetricsCountEveryOutcomeAndEveryEvent(t *testing.T) {
	s := newStage(t, false)
	s.makeBucket(reports)
	f := s.start(0)
	s.deliver(f, sample(t, "cloudtrail/s3-put-bucket-policy"))
	s.deliver(f, sample(t, deleted), sample(t, "other/unknown-source"), []byte("no event"), sample(t, "snapback/drill"))
	got := map[string]float64{}
	for _, line := range f.Lines() {
		counted(t, line, got)
	}
	for _, dimensions := range []string{"remediated", "storage s3-bucket-public-access remediated"} {
		if name := "ContainedAfter " + dimensions; got[name] <= 0 {
			t.Errorf("%s is %v", name, got[name])
		}
		delete(got, "ContainedAfter "+dimensions)
	}
	want := map[string]float64{
		"Events":              4, // and no drill
		"Outcomes remediated": 1, "Outcomes storage s3-bucket-public-access remediated": 1,
		"Outcomes compliant": 1, "Outcomes storage s3-bucket-public-access compliant": 1,
		"Outcomes ignored": 1, "Outcomes storage none ignored": 1,
		"Outcomes refused": 1, "Outcomes storage none refused": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what CloudWatch counts (-want +got):\n%s", diff)
	}
}

func TestEventWithSeveralResultsIsCountedOnce(t *testing.T) {
	s := newStage(t, false)
	env := map[string]string{}
	for _, v := range s.env {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
		t.Setenv(name, value)
	}
	c, err := function.ReadConfig(func(name string) string { return env[name] })
	must(t, err)
	domain := storage.Domain()
	second := domain.Controls[0]
	second.ID += "-again"
	domain.Controls = append(domain.Controls, second)
	var log bytes.Buffer
	f, err := function.New(t.Context(), c, domain, slog.New(slog.NewJSONHandler(&log, nil)))
	must(t, err)
	_, err = f.Handle(t.Context(), sqsBatch(sample(t, deleted), 1)) // the bucket does not exist
	must(t, err)
	got := map[string]float64{}
	for line := range bytes.Lines(log.Bytes()) {
		counted(t, line, got)
	}
	want := map[string]float64{
		"Events": 1, "Outcomes gone": 2, "Outcomes storage " + domain.Controls[0].ID + " gone": 1, "Outcomes storage " + second.ID + " gone": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what CloudWatch counts (-want +got):\n%s\n%s", diff, log.Bytes())
	}
}

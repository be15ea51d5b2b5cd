package scene_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/internal/scene"
	"github.com/snapback-aws/snapback/pkg/event"
)

func TestSceneIsAsItSays(t *testing.T) {
	server, err := local.StartAWS(t.Context())
	must(t, err)
	t.Cleanup(server.Close)
	s, err := scene.Make(t.Context(), server.Config(local.MemberAccount), scene.Options{})
	must(t, err)
	if s.Account != local.MemberAccount || len(s.Interfaces) != 3 || len(s.Volumes) != 2 {
		t.Errorf("the scene: %+v", s)
	}
	w, err := s.World(t.Context())
	must(t, err)
	for name, want := range map[string]string{
		"instance " + s.Instance:                  "running",
		"auto scaling group":                      scene.Group + " InService, protected from scale-in: false",
		"target group " + scene.Target:            s.Instance + " port 8080",
		"classic load balancer " + scene.Classic:  s.Instance,
		"termination protection of " + s.Instance: "false",
		"groups of " + s.Interfaces[0]:            s.Groups[0],
		"groups of " + s.Interfaces[2]:            s.Groups[1],
	} {
		if got, ok := w[name]; !ok || got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if addresses := w["addresses of "+s.Interfaces[2]]; strings.Count(addresses, ":") < 2 {
		t.Errorf("the third interface has no IPv6 address: %s", addresses)
	}
	open, err := s.Open(t.Context())
	must(t, err)
	if want := s.Interfaces[0] + " web: tcp 22-22 in from 0.0.0.0/0 (admins)"; !slices.Contains(open, want) {
		t.Errorf("%q is not open: %q", want, open)
	}
	beside, err := s.Beside(t.Context())
	must(t, err)
	if beside.Instance == s.Instance || beside.VPC != s.VPC || beside.Account != s.Account || len(beside.Interfaces) != 1 {
		t.Errorf("the instance beside it: %+v", beside)
	}
}

func TestFindingIsAboutTheScene(t *testing.T) {
	s := &scene.Scene{
		Account: "333333333333", Instance: "i-0aaaaaaaaaaaaaaaa", VPC: "vpc-0aaaaaaaaaaaaaaaa",
		Interfaces: []string{"eni-0aaaaaaaaaaaaaaaa"}, Groups: []string{"sg-0aaaaaaaaaaaaaaaa"},
	}
	envelope, err := os.ReadFile(filepath.Join(local.Root(), "events", "guardduty", "ec2-cryptomining.json"))
	must(t, err)
	finding := s.Finding(envelope)
	e, err := event.Decode(finding)
	must(t, err)
	f, ok := e.Detail.(*event.Finding)
	if !ok || e.Account != s.Account || f.Account != s.Account || f.Instances()[0].ID != s.Instance || f.Groups()[0] != s.Groups[0] {
		t.Errorf("the finding: %s", finding)
	}
	for _, id := range []string{`"` + s.Interfaces[0] + `"`, `"` + s.VPC + `"`} {
		if !bytes.Contains(finding, []byte(id)) {
			t.Errorf("the finding does not name %s", id)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

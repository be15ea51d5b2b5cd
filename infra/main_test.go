package main

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/snapback-aws/snapback/pkg/baseline"
	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/controls"
	"github.com/snapback-aws/snapback/pkg/deployment"
)

// assemblies are the folders that synthesized made, by the text of the baseline.
// Templates take seconds to make, so each is made once for all tests.
var assemblies struct {
	sync.Mutex
	root   string
	folder map[string]string
}

func TestMain(m *testing.M) {
	quiet()
	code := m.Run()
	stop()
	if assemblies.root != "" {
		_ = os.RemoveAll(assemblies.root)
	}
	os.Exit(code)
}

// synthesized returns the cloud assembly of a baseline: the folder with its
// templates, as <stack>.template.json. The functions in it are not those of
// Snapback but tiny files in their place: of a function's zip, a template knows
// the digest alone. Nobody may change what is in the folder.
func synthesized(t *testing.T, text string) string {
	t.Helper()
	return synthesizedFrom(t, text, text, controls.Domains())
}

// synthesizedFrom is synthesized for other domains than those that there are. The
// key tells its assembly from all others.
func synthesizedFrom(t *testing.T, key, text string, domains []control.Domain) string {
	t.Helper()
	assemblies.Lock()
	defer assemblies.Unlock()
	if folder, ok := assemblies.folder[key]; ok {
		if folder == "" {
			t.Fatal("these templates could not be made in the test before")
		}
		return folder
	}
	if assemblies.folder == nil {
		root, err := os.MkdirTemp("", "snapback-infra-")
		if err != nil {
			t.Fatal(err)
		}
		assemblies.root, assemblies.folder = root, map[string]string{}
	}
	assemblies.folder[key] = ""
	in := inputOf(t, text, domains)
	in.out = filepath.Join(assemblies.root, strconv.Itoa(len(assemblies.folder)))
	if err := synth(in); err != nil {
		t.Fatal(err)
	}
	assemblies.folder[key] = in.out
	return in.out
}

// inputOf is what the templates of a baseline are made from, but for the folder
// that they go to.
func inputOf(t *testing.T, text string, domains []control.Domain) input {
	t.Helper()
	b, problems := baseline.Parse("baseline.yaml", []byte(text), domains, time.Now())
	if b == nil {
		t.Fatal(problems)
	}
	zips := t.TempDir()
	for _, d := range deployment.On(domains, b) {
		zipped(t, zips, d.Name, text)
	}
	zipped(t, zips, deployment.Health, text)
	return input{baseline: b, domains: domains, version: "v0.0.0", zips: zips}
}

// zipped writes a zip that stands for that of a function.
func zipped(t *testing.T, folder, function, baseline string) {
	t.Helper()
	file, err := os.Create(filepath.Join(folder, function+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	archive := zip.NewWriter(file)
	for _, f := range []struct{ name, text string }{{"bootstrap", "the function " + function}, {"baseline.yaml", baseline}} {
		w, err := archive.Create(f.name) // without a time, so that the digest is the same each time
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

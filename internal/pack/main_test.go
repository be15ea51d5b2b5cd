package main

import (
	"archive/zip"
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snapback-aws/snapback/internal/local"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// built is the zip of the storage function, built for AWS as the Makefile does,
// from the sources in root.
func built(t *testing.T, root string) []byte {
	t.Helper()
	folder := t.TempDir()
	must(t, os.Mkdir(filepath.Join(folder, "storage"), 0o755))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc",
		"-ldflags", "-s -w", "-o", filepath.Join(folder, "storage", "bootstrap"), "./functions/storage")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64", "GOFLAGS=-trimpath")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	baseline, err := os.ReadFile(filepath.Join(root, "baseline.yaml"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(folder, "storage", "baseline.yaml"), baseline, 0o600))
	must(t, packAll(folder))
	text, err := os.ReadFile(filepath.Join(folder, "storage.zip"))
	must(t, err)
	return text
}

// copySources copies what the functions are built from to another place.
func copySources(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "baseline.yaml"} {
		text, err := os.ReadFile(filepath.Join(local.Root(), name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(to, name), text, 0o600))
	}
	for _, folder := range []string{"pkg", "functions"} {
		must(t, os.CopyFS(filepath.Join(to, folder), os.DirFS(filepath.Join(local.Root(), folder))))
	}
	return to
}

func TestTheSameSourceGivesTheSameZipWhereverAndWheneverItIsBuilt(t *testing.T) {
	here := built(t, local.Root())
	there := built(t, copySources(t))
	if !bytes.Equal(here, there) {
		t.Errorf("two builds of the same source differ: %d and %d bytes", len(here), len(there))
	}
	if bytes.Contains(content(t, here, "bootstrap"), []byte(local.Root())) {
		t.Errorf("the binary names the folder that it was built in: %s", local.Root())
	}
}

func content(t *testing.T, archive []byte, name string) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	must(t, err)
	f, err := r.Open(name)
	must(t, err)
	text, err := io.ReadAll(f)
	must(t, err)
	return text
}

func TestAZipHoldsWhatLambdaRuns(t *testing.T) {
	folder := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(folder, "storage"), 0o755))
	for name, text := range map[string]string{"bootstrap": "the binary", "baseline.yaml": "version: 1\n", "other": "not asked for"} {
		path := filepath.Join(folder, "storage", name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		must(t, os.Chtimes(path, time.Now(), time.Now()))
	}
	must(t, packAll(folder))
	r, err := zip.OpenReader(filepath.Join(folder, "storage.zip"))
	must(t, err)
	defer func() { must(t, r.Close()) }()
	var found []string
	for _, f := range r.File {
		found = append(found, f.Mode().String()+" "+f.Name)
		if !f.Modified.Equal(epoch) {
			t.Errorf("%s carries the time %s", f.Name, f.Modified)
		}
	}
	if want := "-rw-r--r-- baseline.yaml, -rwxr-xr-x bootstrap"; strings.Join(found, ", ") != want {
		t.Errorf("the zip holds %v, want %s", found, want)
	}
	if names, err := fs.Glob(os.DirFS(folder), "pack-*"); err != nil || len(names) > 0 {
		t.Errorf("left behind: %v %v", names, err)
	}
}

func TestWithoutABuildPackSaysWhatToRun(t *testing.T) {
	if err := packAll(t.TempDir()); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("the error: %v", err)
	}
	folder := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(folder, "storage"), 0o755))
	must(t, os.WriteFile(filepath.Join(folder, "storage", "bootstrap"), nil, 0o600))
	if err := packAll(folder); err == nil || !strings.Contains(err.Error(), "baseline.yaml") {
		t.Errorf("a function without its baseline: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "storage.zip")); !os.IsNotExist(err) {
		t.Errorf("half a zip is there: %v", err)
	}
}

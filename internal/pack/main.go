// Command pack puts each built function and the baseline file into the zip that
// Lambda is given: `pack build/arm64` makes build/arm64/<function>.zip. The same
// files give the same bytes, whenever and wherever that is done, so that a
// deployment changes only the functions that have changed.
package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: pack FOLDER")
		os.Exit(2)
	}
	if err := packAll(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func packAll(folder string) error {
	binaries, err := filepath.Glob(filepath.Join(folder, "*", "bootstrap"))
	if err != nil {
		return err
	}
	if len(binaries) == 0 {
		return fmt.Errorf("%s holds no <function>/bootstrap: run `make build`", folder)
	}
	for _, binary := range binaries {
		function := filepath.Dir(binary)
		if err := pack(function, function+".zip"); err != nil {
			return fmt.Errorf("pack %s: %w", function, err)
		}
	}
	return nil
}

// The files of a zip, with their modes: Lambda runs bootstrap.
var files = []struct {
	name string
	mode fs.FileMode
}{
	{"baseline.yaml", 0o644},
	{"bootstrap", 0o755},
}

// epoch is the time of every file in a zip, the first that the format knows.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// pack writes the zip beside its place and moves it there, so that there is
// never half a zip.
func pack(folder, to string) (err error) {
	out, err := os.CreateTemp(filepath.Dir(to), "pack-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	w := zip.NewWriter(out)
	for _, f := range files {
		if err := add(w, filepath.Join(folder, f.name), f.name, f.mode); err != nil {
			return errors.Join(err, out.Close())
		}
	}
	if err := errors.Join(w.Close(), out.Chmod(0o644), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}

func add(w *zip.Writer, path, name string, mode fs.FileMode) error {
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: epoch}
	header.SetMode(mode)
	to, err := w.CreateHeader(header)
	if err != nil {
		return err
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // it was only read
	_, err = io.Copy(to, from)
	return err
}

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// module is the module's own folder.
const module = "../.."

// copyControls returns a folder with a copy of pkg/controls.
func copyControls(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "pkg", "controls"), os.DirFS(filepath.Join(module, "pkg", "controls"))); err != nil {
		t.Fatal(err)
	}
	return root
}

// tree is every file below a folder, by path.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// call runs the command.
func call(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestControlIsWrittenAndListed(t *testing.T) {
	root := copyControls(t)
	before := tree(t, root)
	code, stdout, stderr := call("-root", root, "-id", "s3-bucket-tls", "-domain", "storage")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	const control, test, list = "pkg/controls/storage/s3_bucket_tls.go", "pkg/controls/storage/s3_bucket_tls_test.go", "pkg/controls/storage/storage.go"
	for _, path := range []string{control, test, list} {
		if !strings.Contains(stdout, path) {
			t.Errorf("stdout does not name %s:\n%s", path, stdout)
		}
	}
	after := tree(t, root)
	for path, golden := range map[string]string{control: "control.golden", test: "control_test.golden"} {
		compareGolden(t, golden, after[path])
		formatted, err := format.Source([]byte(after[path]))
		if err != nil || string(formatted) != after[path] {
			t.Errorf("%s is not formatted: %v", path, err)
		}
	}
	// One line more in the list, and nothing else.
	if got := strings.Replace(after[list], "\t\t\ts3BucketTLS(),\n", "", 1); got != before[list] || got == after[list] {
		t.Errorf("the list became\n%s", after[list])
	}
	after[list] = before[list]
	delete(after, control)
	delete(after, test)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("other files changed (-before +after):\n%s", diff)
	}
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got); go test -update rewrites it:\n%s", path, diff)
	}
}

func TestWhatCanNotBeWrittenIsRefused(t *testing.T) {
	const shape = " is none: want lower-case words and digits, parted by hyphens, such as s3-bucket-tls\n"
	for _, tt := range []struct{ name, id, domain, want string }{
		{"no ID", "", "storage", `scaffold: the ID ""` + shape},
		{"one word", "tls", "storage", `scaffold: the ID "tls"` + shape},
		{"capitals", "s3-bucket-TLS", "storage", `scaffold: the ID "s3-bucket-TLS"` + shape},
		{"underscores", "s3_bucket_tls", "storage", `scaffold: the ID "s3_bucket_tls"` + shape},
		{"a digit first", "3s-bucket", "storage", `scaffold: the ID "3s-bucket"` + shape},
		{"two hyphens", "s3--bucket", "storage", `scaffold: the ID "s3--bucket"` + shape},
		{"a hyphen at the end", "s3-bucket-", "storage", `scaffold: the ID "s3-bucket-"` + shape},
		{"a path", "../s3-bucket", "storage", `scaffold: the ID "../s3-bucket"` + shape},
		{"a test", "s3-bucket-test", "storage", "scaffold: the ID s3-bucket-test won't do: Go treats a file of the name s3_bucket_test.go in its own way\n"},
		{"a system", "ec2-windows", "storage", "scaffold: the ID ec2-windows won't do: Go treats a file of the name ec2_windows.go in its own way\n"},
		{"this system", "ec2-linux", "storage", "scaffold: the ID ec2-linux won't do: Go treats a file of the name ec2_linux.go in its own way\n"},
		{"a processor", "ec2-arm64", "storage", "scaffold: the ID ec2-arm64 won't do: Go treats a file of the name ec2_arm64.go in its own way\n"},
		{"no domain", "s3-bucket-tls", "", `scaffold: there is no domain "": want one of mail, storage` + "\n"},
		{"an unknown domain", "s3-bucket-tls", "stroage", `scaffold: there is no domain "stroage": want one of mail, storage` + "\n"},
		{"a folder that is no domain", "s3-bucket-tls", "notes", `scaffold: there is no domain "notes": want one of mail, storage` + "\n"},
		{
			"a control that exists", "s3-bucket-acl", "storage",
			"scaffold: control s3-bucket-acl exists already: " + filepath.FromSlash("pkg/controls/storage/s3_bucket_acl.go") + "\n",
		},
		{
			"a control that exists in another domain", "s3-bucket-acl", "mail",
			"scaffold: control s3-bucket-acl exists already: " + filepath.FromSlash("pkg/controls/storage/s3_bucket_acl.go") + "\n",
		},
		{
			"a test that exists", "ses-dkim", "mail",
			"scaffold: control ses-dkim exists already: " + filepath.FromSlash("pkg/controls/mail/ses_dkim_test.go") + "\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range map[string]string{
				"storage/storage.go": "package storage", "mail/mail.go": "package mail", "notes/readme.go": "package notes",
				"storage/s3_bucket_acl.go": "package storage", "mail/ses_dkim_test.go": "package mail",
			} {
				writeControl(t, root, path, text)
			}
			before := tree(t, root)
			code, stdout, stderr := call("-root", root, "-id", tt.id, "-domain", tt.domain)
			if code != exitRefused || stdout != "" || stderr != tt.want {
				t.Errorf("exit code %d, stdout %q, stderr\n%swant exit code %d, stderr\n%s", code, stdout, stderr, exitRefused, tt.want)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("something was written (-before +after):\n%s", diff)
			}
		})
	}
	t.Run("an unknown flag", func(t *testing.T) {
		if code, _, stderr := call("-name", "x"); code != exitRefused || !strings.Contains(stderr, "-name") {
			t.Errorf("exit code %d, stderr %q", code, stderr)
		}
	})
}

// writeControl writes a file of pkg/controls.
func writeControl(t *testing.T, root, path, text string) {
	t.Helper()
	path = filepath.Join(root, "pkg", "controls", filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFaultWritesNothing(t *testing.T) {
	t.Run("a list that is not found", func(t *testing.T) {
		root := t.TempDir()
		writeControl(t, root, "mail/mail.go", "package mail\n")
		code, _, stderr := call("-root", root, "-id", "ses-dkim", "-domain", "mail")
		if want := "there is no list Controls in Domain()"; code != exitFault || !strings.Contains(stderr, want) {
			t.Errorf("exit code %d, stderr %q", code, stderr)
		}
		if n := len(tree(t, root)); n != 1 {
			t.Errorf("there are %d files, want one", n)
		}
	})
	t.Run("no module", func(t *testing.T) {
		code, _, stderr := call("-root", t.TempDir(), "-id", "ses-dkim", "-domain", "mail")
		if code != exitFault || !strings.Contains(stderr, "is -root the module's folder?") {
			t.Errorf("exit code %d, stderr %q", code, stderr)
		}
	})
	t.Run("a file that can't be written", func(t *testing.T) {
		root := t.TempDir()
		writeControl(t, root, "mail/mail.go", "package mail\n")
		before := tree(t, root)
		s := scaffolded{
			control: file{"pkg/controls/mail/a.go", []byte("package mail")},
			test:    file{"pkg/controls/mail/a_test.go", []byte("package mail")},
			list:    file{"pkg/controls/absent/absent.go", []byte("package absent")},
		}
		if err := s.write(root); err == nil {
			t.Error("a file was written into a folder that does not exist")
		}
		if diff := cmp.Diff(before, tree(t, root)); diff != "" {
			t.Errorf("something was left (-before +after):\n%s", diff)
		}
	})
}

func TestLineIsAddedToAListOfAnyForm(t *testing.T) {
	const head = "package mail\n\nfunc Domain() control.Domain {\n\treturn control.Domain{\n\t\tName: \"mail\",\n\t\tControls: []control.Control{"
	const tail = "},\n\t}\n}\n"
	for _, tt := range []struct{ name, list, want string }{
		{"none yet", "", "\n\t\t\tnew(),\n\t\t"},
		{"none yet, over lines", "\n\t\t", "\n\t\t\tnew(),\n\t\t"},
		{"lines", "\n\t\t\ta(),\n\t\t\tb(),\n\t\t", "\n\t\t\ta(),\n\t\t\tb(),\n\t\t\tnew(),\n\t\t"},
		{"a line", "a(), b()", "a(), b(),\n\t\t\tnew(),\n\t\t"},
		{"a line with a comma at its end", "a(), b(),", "a(), b(),\n\t\t\tnew(),\n\t\t"},
		{"comments", "\n\t\t\t// first\n\t\t\ta(), // the first, one\n\t\t", "\n\t\t\t// first\n\t\t\ta(), // the first, one\n\t\t\tnew(),\n\t\t"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := addToList([]byte(head+tt.list+tail), "new")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(head+tt.want+tail, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestIDsBecomeGoNames(t *testing.T) {
	for id, want := range map[string][2]string{
		"s3-bucket-tls":                   {"s3BucketTLS", "S3BucketTLS"},
		"iam-access-key-rotation":         {"iamAccessKeyRotation", "IAMAccessKeyRotation"},
		"ec2-security-group-ingress":      {"ec2SecurityGroupIngress", "EC2SecurityGroupIngress"},
		"cloudtrail-log-file-validation2": {"cloudtrailLogFileValidation2", "CloudtrailLogFileValidation2"},
		"lambda-function-url-auth":        {"lambdaFunctionURLAuth", "LambdaFunctionURLAuth"},
	} {
		if got := [2]string{goName(id, false), goName(id, true)}; got != want {
			t.Errorf("%s becomes %q, want %q", id, got, want)
		}
	}
}

// TestScaffoldedControlCompilesAndFailsUntilFilledIn lays what was written over
// the module, without writing there.
func TestScaffoldedControlCompilesAndFailsUntilFilledIn(t *testing.T) {
	root := copyControls(t)
	if code, _, stderr := call("-root", root, "-id", "s3-bucket-tls", "-domain", "storage"); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	overlay := overlay(t, root)
	gotool := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{args[0], "-overlay", overlay}, args[1:]...)...)
		cmd.Dir = module
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := gotool("vet", "./pkg/controls/..."); err != nil {
		t.Fatalf("it does not compile: %v\n%s", err, out)
	}
	for _, tt := range []struct {
		name, run, folder string
		want              []string
	}{
		{"the declarations", "TestEveryControlIsValid", "./pkg/controls", []string{
			"control s3-bucket-tls: Title: ", "control s3-bucket-tls: Rationale is missing", "control s3-bucket-tls: Hazard is missing",
			"control s3-bucket-tls: Severity is missing", "control s3-bucket-tls: Type: ", "control s3-bucket-tls: a trigger's Source: ",
			"control s3-bucket-tls: a trigger without Names or Targets", "control s3-bucket-tls: ARN is missing",
			"control s3-bucket-tls: IDs is missing",
			"control s3-bucket-tls: List is missing", "control s3-bucket-tls: Remedy.Name: ",
		}},
		{"the lifecycle", "TestS3BucketTLSLifecycle", "./pkg/controls/storage", []string{
			"making a resource that violates s3-bucket-tls is not written yet",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := gotool("test", "-run", "^"+tt.run+"$", tt.folder)
			if err == nil {
				t.Fatalf("the test passes:\n%s", out)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("the test does not say %q:\n%s", want, out)
				}
			}
		})
	}
}

// overlay writes the file that tells the go command to take pkg/controls from
// another folder.
func overlay(t *testing.T, root string) string {
	t.Helper()
	replace := map[string]string{}
	for path := range tree(t, root) {
		here, err := filepath.Abs(filepath.Join(module, path))
		if err != nil {
			t.Fatal(err)
		}
		replace[here] = filepath.Join(root, path)
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// refusal is what the caller asked for and can't get, in a sentence.
type refusal string

func (r refusal) Error() string { return string(r) }

// scaffolded is all that is written for a control.
type scaffolded struct{ control, test, list file }

// file is a file's path, from the module's folder, and what it will hold.
type file struct {
	path string
	text []byte
}

// scaffold prepares the files of a new control. It writes nothing.
func scaffold(root, domain, id string) (s scaffolded, err error) {
	if err := checkID(id); err != nil {
		return s, err
	}
	domains, err := knownDomains(root)
	if err != nil {
		return s, err
	}
	if !slices.Contains(domains, domain) {
		return s, refusal(fmt.Sprintf("there is no domain %q: want one of %s", domain, strings.Join(domains, ", ")))
	}
	name := strings.ReplaceAll(id, "-", "_")
	for _, d := range domains {
		for _, path := range []string{controlPath(d, name), controlPath(d, name+"_test")} {
			if _, err := os.Lstat(filepath.Join(root, path)); err == nil {
				return s, refusal(fmt.Sprintf("control %s exists already: %s", id, path))
			}
		}
	}
	names := names{ID: id, Domain: domain, Func: goName(id, false), Type: goName(id, true)}
	s.control.path, s.test.path, s.list.path = controlPath(domain, name), controlPath(domain, name+"_test"), controlPath(domain, domain)
	if s.control.text, err = names.fill("control.go.tmpl"); err != nil {
		return s, err
	}
	if s.test.text, err = names.fill("control_test.go.tmpl"); err != nil {
		return s, err
	}
	list, err := os.ReadFile(filepath.Join(root, s.list.path))
	if err != nil {
		return s, err
	}
	if s.list.text, err = addToList(list, names.Func); err != nil {
		return s, fmt.Errorf("%s: %w", s.list.path, err)
	}
	return s, nil
}

func controlPath(domain, name string) string {
	return filepath.Join("pkg", "controls", domain, name+".go")
}

var idShape = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)+$`)

// checkID refuses what can't be an ID, and an ID whose file Go would build on
// some machines alone, or as a test: "x-linux" would become x_linux.go.
func checkID(id string) error {
	if !idShape.MatchString(id) {
		return refusal(fmt.Sprintf("the ID %q is none: want lower-case words and digits, parted by hyphens, such as s3-bucket-tls", id))
	}
	name := strings.ReplaceAll(id, "-", "_") + ".go"
	// No file is built on both of these but one that is built everywhere.
	for _, machine := range []struct{ os, arch string }{{"linux", "amd64"}, {"windows", "arm64"}} {
		c := build.Default
		c.GOOS, c.GOARCH = machine.os, machine.arch
		c.OpenFile = func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("package x")), nil }
		built, err := c.MatchFile("", name)
		if err != nil || !built || strings.HasSuffix(name, "_test.go") {
			return refusal(fmt.Sprintf("the ID %s won't do: Go treats a file of the name %s in its own way", id, name))
		}
	}
	return nil
}

// knownDomains are the domains that have a folder and a list.
func knownDomains(root string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(root, "pkg", "controls", "*", "*.go"))
	if err != nil {
		return nil, err
	}
	var domains []string
	for _, path := range paths {
		if domain := filepath.Base(filepath.Dir(path)); filepath.Base(path) == domain+".go" {
			domains = append(domains, domain)
		}
	}
	if len(domains) == 0 {
		return nil, fmt.Errorf("there is no domain in %s: is -root the module's folder?", filepath.Join(root, "pkg", "controls"))
	}
	return domains, nil
}

// initialisms are the words of IDs that Go spells in capitals.
var initialisms = []string{
	"acl", "acm", "ami", "api", "arn", "aws", "cidr", "db", "dns", "ebs", "ec2", "ecr", "ecs", "efs", "eks", "elb", "http", "https",
	"iam", "id", "imds", "imdsv2", "ip", "ipv4", "ipv6", "kms", "mfa", "nacl", "rdp", "rds", "s3", "sns", "sqs", "ssh", "ssl", "ssm", "sso",
	"sts", "tcp", "tls", "ttl", "url", "vpc", "waf",
}

// goName is an ID as Go spells it: s3BucketTLS, or exported S3BucketTLS.
func goName(id string, exported bool) string {
	words := strings.Split(id, "-")
	for i, word := range words {
		switch {
		case i == 0 && !exported:
		case slices.Contains(initialisms, word):
			words[i] = strings.ToUpper(word)
		default:
			words[i] = strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.Join(words, "")
}

// names are what the templates are filled with.
type names struct{ ID, Domain, Func, Type string }

//go:embed templates
var templates embed.FS

func (n names) fill(name string) ([]byte, error) {
	t, err := template.ParseFS(templates, "templates/"+name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, n); err != nil {
		return nil, err
	}
	return format.Source(out.Bytes())
}

// addToList adds a call to the list of controls in a domain's source.
func addToList(source []byte, function string) ([]byte, error) {
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, "", source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	list := controlList(parsed)
	if list == nil {
		return nil, errors.New("there is no list Controls in Domain()")
	}
	end := files.Position(list.Rbrace)
	head, tail := bytes.TrimRight(source[:end.Offset], " \t\n"), source[end.Offset:]
	var out bytes.Buffer
	out.Write(head)
	if n := len(list.Elts); n > 0 {
		last := files.Position(list.Elts[n-1].End())
		if last.Line == end.Line && !bytes.Contains(source[last.Offset:end.Offset], []byte(",")) {
			out.WriteByte(',')
		}
	}
	_, _ = fmt.Fprintf(&out, "\n%s(),\n", function)
	out.Write(tail)
	return format.Source(out.Bytes())
}

// controlList is the value of the field Controls that Domain returns.
func controlList(parsed *ast.File) (list *ast.CompositeLit) {
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Name.Name != "Domain" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if field, ok := n.(*ast.KeyValueExpr); ok && isControls(field.Key) {
				list, _ = field.Value.(*ast.CompositeLit)
			}
			return list == nil
		})
	}
	return list
}

func isControls(key ast.Expr) bool {
	name, ok := key.(*ast.Ident)
	return ok && name.Name == "Controls"
}

// write writes all of it or, after an error, nothing. The list comes last:
// without it, what was written is not built into anything.
func (s scaffolded) write(root string) error {
	for i, f := range []file{s.control, s.test, s.list} {
		err := os.WriteFile(filepath.Join(root, f.path), f.text, 0o644)
		if err == nil {
			continue
		}
		for _, written := range []file{s.control, s.test}[:i] {
			err = errors.Join(err, os.Remove(filepath.Join(root, written.path)))
		}
		return err
	}
	return nil
}

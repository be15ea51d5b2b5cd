package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
)

// checkedPolicy is what `policy check` says of a text, and its exit code.
func checkedPolicy(t *testing.T, text string) (verdict map[string]any, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(context.Background(), []string{"policy", "check", "-o", "json", "-"}, strings.NewReader(text), &out, &errs)
	if errs.Len() > 0 {
		t.Errorf("it says on standard error: %s", errs.String())
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	if err := json.Unmarshal([]byte(line), &verdict); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return verdict, code
}

// What a script can't hold: a mebibyte, and bytes that are no UTF-8.
func TestWhatCannotBeUnderstoodIsNeverSafe(t *testing.T) {
	const mebibyte = 1 << 20
	policy := `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}`
	for name, c := range map[string]struct{ text, want string }{
		"lists, open":      {strings.Repeat("[", mebibyte), "line 1, column 101: it is nested deeper than 100 levels"},
		"lists, closed":    {strings.Repeat("[", mebibyte/2) + strings.Repeat("]", mebibyte/2), "line 1, column 101: it is nested deeper than 100 levels"},
		"lists, in it":     {`{"Statement": ` + strings.Repeat("[", mebibyte/2) + strings.Repeat("]", mebibyte/2-20) + "}", "it is nested deeper than 100 levels"},
		"lists, carried":   {`{"PolicyDocument": {"Statement": ` + strings.Repeat("[", mebibyte/4) + strings.Repeat("]", mebibyte/4) + "}}", "it is nested deeper than 100 levels"},
		"objects":          {strings.Repeat(`{"Statement":`, mebibyte/13), "it is nested deeper than 100 levels"},
		"lists, account":   {`{"UserDetailList": ` + strings.Repeat("[", mebibyte/2) + strings.Repeat("]", mebibyte/2) + "}", "exceeded max depth"},
		"too long":         {policy + strings.Repeat(" ", mebibyte), "shorten it to 1048576 at most"},
		"no UTF-8":         {strings.Replace(policy, "Get", "G\xFFt", 1), "line 1, column 75: this is no UTF-8"},
		"no UTF-8 account": {`{"UserDetailList": [{"UserName": "` + "\xFF" + `"}]}`, "this is no UTF-8"},
		"null":             {"null", "it is null and no policy"},
		"nothing":          {"", "it is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			verdict, code := checkedPolicy(t, c.text)
			if code != 3 {
				t.Errorf("exit code %d, want 3", code)
			}
			if why, _ := verdict["cantTell"].(string); !strings.Contains(why, c.want) {
				t.Errorf("it says %q, want %q", why, c.want)
			}
			if verdict["admin"] != nil || verdict["public"] != nil {
				t.Errorf("admin %v, public %v: want null", verdict["admin"], verdict["public"])
			}
		})
	}
}

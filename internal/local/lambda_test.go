package local_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/snapback-aws/snapback/internal/local"
)

func startLambda(t *testing.T, functions map[string]*local.Function) *local.Lambda {
	t.Helper()
	l, err := local.StartLambda(t.Context(), functions)
	must(t, err)
	t.Cleanup(l.Close)
	return l
}

// invoke posts an event as Lambda's Invoke does.
func invoke(t *testing.T, l *local.Lambda, name, event string, headers ...string) (*http.Response, string) {
	t.Helper()
	address := l.Endpoint() + "/2015-03-31/functions/" + url.QueryEscape(name) + "/invocations"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(event))
	must(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	body, err := io.ReadAll(response.Body)
	must(t, err)
	must(t, response.Body.Close())
	return response, strings.TrimSpace(string(body))
}

func TestInvokeReachesTheFunctionByNameOrARN(t *testing.T) {
	l := startLambda(t, map[string]*local.Function{"snapback-storage": local.StartEcho(t, "GREETING=hello")})
	for _, name := range []string{
		"snapback-storage", "snapback-storage:live", "111111111111:function:snapback-storage",
		"arn:aws:lambda:us-east-1:111111111111:function:snapback-storage",
		"arn:aws:lambda:us-east-1:111111111111:function:snapback-storage:$LATEST",
	} {
		response, body := invoke(t, l, name, `{"a":"é"}`, "X-Amz-Invocation-Type", "RequestResponse")
		if response.StatusCode != http.StatusOK || body != `{"a":"é"}` || response.Header.Get("X-Amz-Function-Error") != "" {
			t.Errorf("%s: got %s %s", name, response.Status, body)
		}
	}
	if _, body := invoke(t, l, "snapback-storage", ""); body != "{}" {
		t.Errorf("no payload: the function got %s, want {}", body)
	}
}

func TestInvokeTellsTheFunctionsErrorAsLambdaDoes(t *testing.T) {
	f := local.StartEcho(t, "GREETING=hello")
	l := startLambda(t, map[string]*local.Function{"snapback-storage": f})
	for event, want := range map[string]string{
		`"fail"`: `{"errorMessage":"it failed","errorType":"errorString"}`,
		`"exit"`: `"errorType":"Runtime.ExitError"`,
		`"hang"`: `Task timed out after 2.00 seconds"}`,
	} {
		response, body := invoke(t, l, "snapback-storage", event)
		if response.StatusCode != http.StatusOK || response.Header.Get("X-Amz-Function-Error") != "Unhandled" || !strings.Contains(body, want) {
			t.Errorf("event %s: got %s %v %s, want %s", event, response.Status, response.Header, body, want)
		}
	}
	f.Close()
	response, body := invoke(t, l, "snapback-storage", `1`)
	if response.StatusCode != http.StatusInternalServerError || response.Header.Get("X-Amzn-Errortype") != "ServiceException" || !strings.Contains(body, `"Type":"Service"`) {
		t.Errorf("the emulator has ended: got %s %v %s", response.Status, response.Header, body)
	}
}

func TestInvokeIsRefusedAsLambdaDoes(t *testing.T) {
	l := startLambda(t, nil)
	response, body := invoke(t, l, "snapback-identity", `1`)
	const missing = `{"Message":"Function not found: arn:aws:lambda:us-east-1:111111111111:function:snapback-identity","Type":"User"}`
	if response.StatusCode != http.StatusNotFound || response.Header.Get("X-Amzn-Errortype") != "ResourceNotFoundException" || body != missing {
		t.Errorf("got %s %v %s", response.Status, response.Header, body)
	}
	l = startLambda(t, map[string]*local.Function{"snapback-storage": local.StartEcho(t, "GREETING=hello")})
	response, body = invoke(t, l, "snapback-storage", `1`, "X-Amz-Invocation-Type", "Event")
	if response.StatusCode != http.StatusBadRequest || response.Header.Get("X-Amzn-Errortype") != "InvalidParameterValueException" {
		t.Errorf("got %s %v %s", response.Status, response.Header, body)
	}
	l.Close()
	if _, err := http.Get(l.Endpoint()); err == nil {
		t.Error("a closed front door answers")
	}
}

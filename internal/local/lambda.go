package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Lambda is the front door of AWS Lambda, for programs that call Invoke. It
// stands in for the front end alone: names, headers and the form of errors. The
// functions behind it run as in the cloud, under AWS's own emulator of the
// runtime; moto has no Lambda that could run them.
type Lambda struct {
	endpoint  string
	server    *http.Server
	functions map[string]*Function
	unhook    func() bool
}

// StartLambda starts a front door to functions by their names. It ends on Close
// or with ctx; the functions are their owner's to close.
func StartLambda(ctx context.Context, functions map[string]*Function) (*Lambda, error) {
	l := &Lambda{functions: functions}
	mux := http.NewServeMux()
	// Source: Lambda API reference, Invoke. The name comes escaped: an ARN's
	// colons as %3A.
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", l.invoke)
	l.server = &http.Server{Handler: mux}
	var err error
	if l.endpoint, err = serve(ctx, l.server); err != nil {
		return nil, fmt.Errorf("start Lambda's front door: %w", err)
	}
	l.unhook = context.AfterFunc(ctx, func() { _ = l.server.Close() })
	return l, nil
}

// Endpoint is the URL for AWS_ENDPOINT_URL_LAMBDA.
func (l *Lambda) Endpoint() string { return l.endpoint }

// Close ends the front door. An invocation under way goes on.
func (l *Lambda) Close() {
	l.unhook()
	_ = l.server.Close() // nothing is written down
}

func (l *Lambda) invoke(w http.ResponseWriter, r *http.Request) {
	name := functionName(r.PathValue("name"))
	f := l.functions[name]
	if f == nil {
		refuse(w, http.StatusNotFound, "ResourceNotFoundException",
			"Function not found: arn:aws:lambda:"+Region+":"+HubAccount+":function:"+name)
		return
	}
	if kind := r.Header.Get("X-Amz-Invocation-Type"); kind != "" && kind != "RequestResponse" {
		refuse(w, http.StatusBadRequest, "InvalidParameterValueException", "the local Lambda knows RequestResponse alone, not "+kind)
		return
	}
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller has gone before it had asked
	}
	if len(payload) == 0 {
		payload = []byte("{}") // as Lambda hands it to the function
	}
	// Lambda does not end an invocation whose caller goes away.
	result, err := f.Invoke(context.WithoutCancel(r.Context()), payload)
	var failed *FunctionError
	switch {
	case errors.As(err, &failed):
		result = failed.payload()
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
	case err != nil:
		refuse(w, http.StatusInternalServerError, "ServiceException", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amz-Executed-Version", "$LATEST")
	_, _ = w.Write(result) // a caller that is gone needs none
}

// payload is the error as Lambda answers it.
func (e *FunctionError) payload() []byte {
	data, err := json.Marshal(struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType,omitempty"`
	}{e.Message, e.Type})
	if err != nil {
		panic(err) // two texts can always be written
	}
	return data
}

// functionName is the name in a function's name or ARN, whole or in part, with
// or without a version: snapback-storage, 111111111111:function:snapback-storage,
// arn:aws:lambda:us-east-1:111111111111:function:snapback-storage:live. Source:
// Lambda API reference, Invoke, FunctionName.
func functionName(name string) string {
	if _, rest, ok := strings.Cut(name, ":function:"); ok {
		name = rest
	}
	name, _, _ = strings.Cut(name, ":")
	return name
}

// refuse answers with an error of Lambda's own.
func refuse(w http.ResponseWriter, status int, code, message string) {
	side := "User"
	if status >= http.StatusInternalServerError {
		side = "Service"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", code)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"Type": side, "Message": message}) // a caller that is gone needs none
}

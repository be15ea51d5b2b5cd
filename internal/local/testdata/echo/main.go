// Command echo is the function that the tests of package local run. What it
// does is told by the event.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	if os.Getenv("GREETING") == "" {
		fmt.Fprintln(os.Stderr, `{"level":"ERROR","msg":"GREETING is not set"}`)
		os.Exit(1)
	}
	lambda.Start(answer)
}

func answer(ctx context.Context, event json.RawMessage) (any, error) {
	fmt.Fprintf(os.Stderr, `{"msg":%q,"event":%s}`+"\n", os.Getenv("GREETING"), event)
	fmt.Println("not JSON")
	switch string(event) {
	case `"fail"`:
		return nil, errors.New("it failed")
	case `"panic"`:
		panic("it panicked")
	case `"exit"`:
		os.Exit(3)
	case `"hang"`:
		<-ctx.Done()
		select {}
	case `"environment"`:
		dir, err := os.Getwd()
		return map[string]any{"dir": dir, "env": os.Environ()}, err
	}
	return event, nil
}

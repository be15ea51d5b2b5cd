package local

import (
	"context"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
)

// DynamoDB is AWS's own DynamoDB Local, in memory. Unlike moto's, its
// conditional writes and transactions are atomic under concurrent requests.
// All accounts and Regions share its tables.
type DynamoDB struct {
	process *process
	address string
}

// StartDynamoDB starts a DynamoDB without tables. It ends on Close or with ctx.
func StartDynamoDB(ctx context.Context) (*DynamoDB, error) {
	jars, err := tool("test-tools", "java")
	if err != nil {
		return nil, err
	}
	p, addresses, err := startOn(ctx, "DynamoDB Local", 1,
		func(addresses []string) *exec.Cmd {
			_, port, _ := net.SplitHostPort(addresses[0]) // it was printed by package net
			return java(jars, "-Djava.library.path="+jars, "com.amazonaws.services.dynamodbv2.local.main.ServerRunner",
				"-inMemory", "-sharedDb", "-disableTelemetry", "-port", port)
		},
		func(ctx context.Context, addresses []string) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addresses[0], nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			return resp.Body.Close() // any answer will do: it says 400 to a plain GET
		})
	if err != nil {
		return nil, err
	}
	return &DynamoDB{process: p, address: addresses[0]}, nil
}

// Endpoint is the URL for AWS_ENDPOINT_URL_DYNAMODB.
func (d *DynamoDB) Endpoint() string { return "http://" + d.address }

// Close ends the server; its tables are gone.
func (d *DynamoDB) Close() { d.process.close() }

// java runs a program of the installed jars, tuned to start fast.
func java(jars string, args ...string) *exec.Cmd {
	cmd := exec.Command("java", append([]string{
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-cp", filepath.Join(jars, "*"),
	}, args...)...)
	cmd.Env = environment()
	return cmd
}

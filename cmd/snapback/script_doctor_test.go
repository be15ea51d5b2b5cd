package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// hubParts are what the scripts of doctor and stop take away from the hub, or
// give to it.
var hubParts = map[string]func(*parts) error{
	"recovery": func(p *parts) error {
		_, err := p.db.UpdateContinuousBackups(p.ctx, &dynamodb.UpdateContinuousBackupsInput{
			TableName: aws.String(p.hub.Table), PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(p.give)},
		})
		return err
	},
	"expiry": func(p *parts) error {
		_, err := p.db.UpdateTimeToLive(p.ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName: aws.String(p.hub.Table), TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("ttl"), Enabled: aws.Bool(p.give)},
		})
		return err
	},
	"dead-letter": func(p *parts) error {
		if !p.give {
			return p.hub.Redrive(p.ctx)
		}
		_, err := p.sqs.SendMessage(p.ctx, &sqs.SendMessageInput{QueueUrl: aws.String(p.hub.DeadURL), MessageBody: aws.String("{}")})
		return err
	},
	"redrive": func(p *parts) error {
		policy := ""
		if p.give {
			policy = `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:111111111111:operator","maxReceiveCount":"3"}`
		}
		_, err := p.sqs.SetQueueAttributes(p.ctx, &sqs.SetQueueAttributesInput{
			QueueUrl: aws.String(p.hub.QueueURL), Attributes: map[string]string{"RedrivePolicy": policy},
		})
		return err
	},
	"queue": func(p *parts) error {
		_, err := p.sqs.DeleteQueue(p.ctx, &sqs.DeleteQueueInput{QueueUrl: aws.String(p.hub.QueueURL)})
		return err
	},
	"dead-letter-queue": func(p *parts) error {
		_, err := p.sqs.DeleteQueue(p.ctx, &sqs.DeleteQueueInput{QueueUrl: aws.String(p.hub.DeadURL)})
		return err
	},
	"subscription": func(p *parts) error {
		if p.give {
			_, err := p.sns.Subscribe(p.ctx, &sns.SubscribeInput{TopicArn: aws.String(p.hub.Topic), Protocol: aws.String("email"), Endpoint: aws.String("oncall@example.com")})
			return err
		}
		of, err := p.sns.ListSubscriptionsByTopic(p.ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: aws.String(p.hub.Topic)})
		if err != nil {
			return err
		}
		for _, s := range of.Subscriptions {
			if _, err := p.sns.Unsubscribe(p.ctx, &sns.UnsubscribeInput{SubscriptionArn: s.SubscriptionArn}); err != nil {
				return err
			}
		}
		return nil
	},
	"other-table": func(p *parts) error {
		_, err := p.db.CreateTable(p.ctx, &dynamodb.CreateTableInput{
			TableName: aws.String("other"), BillingMode: types.BillingModePayPerRequest,
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		})
		return err
	},
	// A kill switch that is neither on nor off.
	"damaged-switch": func(p *parts) error {
		_, err := p.db.PutItem(p.ctx, &dynamodb.PutItemInput{TableName: aws.String(p.hub.Table), Item: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: "stop"}, "sk": &types.AttributeValueMemberS{Value: ledger.Organization},
		}})
		return err
	},
	"bus": giveBus, "rule": turnRule, "other-rules": otherRules, "mapping": giveMapping,
	// The hub's account and two members, of which one is closed.
	"organization": func(p *parts) error {
		org := organizations.NewFromConfig(p.cfg)
		if _, err := org.CreateOrganization(p.ctx, &organizations.CreateOrganizationInput{}); err != nil {
			return err
		}
		var last *string
		for _, name := range []string{"shop", "closed"} {
			made, err := org.CreateAccount(p.ctx, &organizations.CreateAccountInput{AccountName: aws.String(name), Email: aws.String(name + "@example.com")})
			if err != nil {
				return err
			}
			last = made.CreateAccountStatus.AccountId
		}
		_, err := org.CloseAccount(p.ctx, &organizations.CloseAccountInput{AccountId: last})
		return err
	},
}

// parts are what hubParts work with.
type parts struct {
	ctx  context.Context
	hub  *local.Hub
	cfg  aws.Config
	db   *dynamodb.Client
	sqs  *sqs.Client
	sns  *sns.Client
	give bool
}

// [!] part NAME…: give (take away) parts of the hub.
func part(ts *testscript.TestScript, neg bool, args []string) {
	h := hubOf(ts)
	a, err := server()
	ts.Check(err)
	cfg := a.Config(local.HubAccount)
	p := &parts{context.Background(), h, cfg, dynamodb.NewFromConfig(cfg), sqs.NewFromConfig(cfg), sns.NewFromConfig(cfg), !neg}
	for _, name := range args {
		do := hubParts[name]
		if do == nil {
			ts.Fatalf("there is no part %s", name)
		}
		ts.Check(do(p))
	}
}

// day VARIABLE N: set a variable to the day, in UTC, that is so many days from
// now.
func day(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: day VARIABLE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Setenv(args[0], time.Now().UTC().AddDate(0, 0, n).Format(time.DateOnly))
}

// oldest AGE|none: the age in seconds that CloudWatch tells of the oldest
// message in the storage domain's queue.
func oldest(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: oldest AGE|none")
	}
	m := metricsOf(ts)
	m.ages = nil
	if args[0] != "none" {
		age, err := strconv.ParseFloat(args[0], 64)
		ts.Check(err)
		m.ages = []float64{age / 2, age, 0}
	}
}

// alarm NAME=STATE…: the alarms are these.
func alarm(ts *testscript.TestScript, _ bool, args []string) {
	m := metricsOf(ts)
	m.alarms = map[string]string{}
	for _, arg := range args {
		name, state, ok := strings.Cut(arg, "=")
		if !ok {
			ts.Fatalf("usage: alarm NAME=STATE…")
		}
		m.alarms[name] = state
	}
}

// metricsOf is the CloudWatch of a script. It is set while no command runs.
func metricsOf(ts *testscript.TestScript) *metrics {
	s := ts.Value(stageKey{}).(*stage)
	if s.metrics == nil {
		s.metrics = &metrics{alarms: map[string]string{"snapback-storage-dead": "OK", "others-bill": "ALARM"}}
		server := httptest.NewServer(s.metrics)
		ts.Defer(server.Close)
		ts.Setenv("AWS_ENDPOINT_URL_CLOUDWATCH", server.URL)
	}
	return s.metrics
}

// metrics stands in for CloudWatch, to which the SDK speaks in CBOR: moto does
// not take that. It knows the age of one queue's oldest message in seconds, as it
// was in the last minutes, and the states of alarms, and answers
// GetMetricStatistics and DescribeAlarms alone.
type metrics struct {
	ages   []float64
	alarms map[string]string
}

func (m *metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the caller has gone
	}
	status := http.StatusOK
	answer, err := m.answer(r.URL.Path, body)
	if err != nil {
		status, answer = http.StatusBadRequest, cbor.Map{"__type": cbor.String("InvalidParameterValue"), "message": cbor.String(err.Error())}
	}
	w.Header().Set("Content-Type", "application/cbor")
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.WriteHeader(status)
	_, _ = w.Write(cbor.Encode(answer)) // a caller that is gone needs none
}

func (m *metrics) answer(path string, body []byte) (cbor.Map, error) {
	asked, err := cbor.Decode(body)
	if err != nil {
		return nil, err
	}
	in, ok := asked.(cbor.Map)
	if !ok {
		return nil, errors.New("want a map")
	}
	switch path[strings.LastIndex(path, "/")+1:] {
	case "GetMetricStatistics":
		points, err := m.points(in)
		return cbor.Map{"Label": cbor.String("age"), "Datapoints": points}, err
	case "DescribeAlarms":
		return cbor.Map{"MetricAlarms": m.described(fmt.Sprint(in["AlarmNamePrefix"])), "CompositeAlarms": cbor.List{}}, nil
	}
	return nil, fmt.Errorf("%s: want GetMetricStatistics or DescribeAlarms", path)
}

// described are the alarms whose names begin so.
func (m *metrics) described(prefix string) cbor.List {
	list := cbor.List{}
	for _, name := range slices.Sorted(maps.Keys(m.alarms)) {
		if strings.HasPrefix(name, prefix) {
			list = append(list, cbor.Map{
				"AlarmName": cbor.String(name), "StateValue": cbor.String(m.alarms[name]), "AlarmDescription": cbor.String("What " + name + " says."),
			})
		}
	}
	return list
}

// points are the data that a request asks for.
func (m *metrics) points(in cbor.Map) (cbor.List, error) {
	for field, want := range map[string]string{
		"Namespace": "AWS/SQS", "MetricName": "ApproximateAgeOfOldestMessage", "Statistics": "[Maximum]",
		"Dimensions": "[map[Name:QueueName Value:snapback-storage]]",
	} {
		if got := fmt.Sprint(in[field]); got != want {
			return nil, fmt.Errorf("%s is %s, want %s", field, got, want)
		}
	}
	start, errStart := cbor.AsTime(in["StartTime"])
	end, errEnd := cbor.AsTime(in["EndTime"])
	if errStart != nil || errEnd != nil {
		return nil, fmt.Errorf("StartTime is %v, EndTime %v: want times", in["StartTime"], in["EndTime"])
	}
	points := cbor.List{}
	for i, age := range m.ages {
		measured := time.Now().Add(time.Duration(-1-i) * time.Minute)
		if measured.After(start) && measured.Before(end) {
			points = append(points, cbor.Map{
				"Timestamp": &cbor.Tag{ID: 1, Value: cbor.Float64(measured.Unix())}, "Maximum": cbor.Float64(age), "Unit": cbor.String("Seconds"),
			})
		}
	}
	return points, nil
}

// refuse CALL…: from now on the operator's calls of these names, and those of
// functions that are deployed by refusing, are denied. The others go through.
func refuse(ts *testscript.TestScript, _ bool, args []string) {
	p := proxyOf(ts)
	for _, call := range args {
		p.Inject(call, 1, local.Denied())
	}
	ts.Setenv("AWS_ENDPOINT_URL", p.Endpoint())
	ts.Setenv("AWS_ENDPOINT_URL_DYNAMODB", p.Endpoint())
}

// refusing CALL… BASELINE: deploy a function as function does, with these calls
// of its denied. Moto lets any role be assumed, whether or not there
// is one: a denied STS.AssumeRole stands in for a role that is missing.
func refusing(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: refusing CALL… BASELINE")
	}
	p := proxyOf(ts)
	for _, call := range args[:len(args)-1] {
		p.Inject(call, 1, local.Denied())
	}
	env, err := hubOf(ts).EnvVia(context.Background(), deployment.Function(domainUnderTest(ts)), ts.MkAbs(args[len(args)-1]), p.Endpoint())
	ts.Check(err)
	deploy(ts, domainUnderTest(ts), env)
}

// unconfirmed KIND: the subscriptions of this kind (sqs, email) that SNS lists
// wait for their confirmation. Moto confirms every one itself.
func unconfirmed(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: unconfirmed sqs|email")
	}
	// The fields of a subscription are in any order.
	member := regexp.MustCompile(`(?s)<member>.*?</member>`)
	arn := regexp.MustCompile(`<SubscriptionArn>[^<]*</SubscriptionArn>`)
	p := proxyOf(ts)
	p.Inject("SNS.ListSubscriptionsByTopic", 1, local.Fault{Times: -1, Disturb: func(x *local.Exchange) {
		a := x.Forward()
		a.Header.Del("Content-Length")
		a.Body = member.ReplaceAllFunc(a.Body, func(m []byte) []byte {
			if !bytes.Contains(m, []byte("<Protocol>"+args[0]+"</Protocol>")) {
				return m
			}
			return arn.ReplaceAll(m, []byte("<SubscriptionArn>PendingConfirmation</SubscriptionArn>"))
		})
		x.Answer(a)
	}})
	ts.Setenv("AWS_ENDPOINT_URL_SNS", p.Endpoint())
}

// proxyOf is a new proxy between the script and the local AWS.
func proxyOf(ts *testscript.TestScript) *local.Proxy {
	hubOf(ts)
	a, err := server()
	ts.Check(err)
	p, err := local.StartProxy(context.Background(), a, nil)
	ts.Check(err)
	ts.Defer(p.Close)
	return p
}

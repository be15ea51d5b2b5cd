package local_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/s3control"
	s3controltypes "github.com/aws/aws-sdk-go-v2/service/s3control/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/snapback-aws/snapback/internal/local"
	"github.com/snapback-aws/snapback/pkg/cloud"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func startProxy(t *testing.T, a *local.AWS, db *local.DynamoDB) *local.Proxy {
	t.Helper()
	p, err := local.StartProxy(t.Context(), a, db)
	must(t, err)
	t.Cleanup(p.Close)
	return p
}

func startDynamoDB(t *testing.T) *local.DynamoDB {
	t.Helper()
	db, err := local.StartDynamoDB(t.Context())
	must(t, err)
	t.Cleanup(db.Close)
	return db
}

// via is the configuration of a caller through the proxy, bounded as ever but
// with waits of a millisecond.
func via(a *local.AWS, p *local.Proxy, account string) aws.Config {
	cfg := a.Config(account)
	cfg.BaseEndpoint = aws.String(p.Endpoint())
	bounded := cfg.Retryer
	cfg.Retryer = func() aws.Retryer { return retry.AddWithMaxBackoffDelay(bounded(), time.Millisecond) }
	return cfg
}

// world is a local AWS behind a proxy, with a bucket, a table, a topic and an
// organization.
type world struct {
	t     *testing.T
	aws   *local.AWS
	proxy *local.Proxy
	topic string

	buckets *s3.Client // through the proxy, as are the others
	tables  *dynamodb.Client
}

func newWorld(t *testing.T, db *local.DynamoDB) *world {
	t.Helper()
	w := &world{t: t, aws: local.StartTestAWS(t)}
	w.proxy = startProxy(t, w.aws, db)
	cfg := via(w.aws, w.proxy, local.HubAccount)
	w.buckets, w.tables = s3.NewFromConfig(cfg), dynamodb.NewFromConfig(cfg)

	w.makeBucket("example")
	_, err := w.tables.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: aws.String("ledger"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
	})
	must(t, err)
	topic, err := sns.NewFromConfig(cfg).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("alerts")})
	must(t, err)
	w.topic = aws.ToString(topic.TopicArn)
	_, err = organizations.NewFromConfig(cfg).CreateOrganization(t.Context(), &organizations.CreateOrganizationInput{})
	must(t, err)
	w.proxy.Clear()
	return w
}

func (w *world) makeBucket(name string) {
	w.t.Helper()
	_, err := w.buckets.CreateBucket(w.t.Context(), &s3.CreateBucketInput{Bucket: &name})
	must(w.t, err)
}

func (w *world) closeBucket(ctx context.Context, c *s3.Client) error {
	_, err := c.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket:                         aws.String("example"),
		PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true)},
	})
	return err
}

// closed reports whether the bucket is closed, as a client sees it.
func (w *world) closed(c *s3.Client, bucket string) bool {
	w.t.Helper()
	_, err := c.GetPublicAccessBlock(w.t.Context(), &s3.GetPublicAccessBlockInput{Bucket: &bucket})
	if cloud.Is(err, "NoSuchPublicAccessBlockConfiguration") {
		return false
	}
	must(w.t, err)
	return true
}

// direct is a client that does not go through the proxy.
func (w *world) direct() *s3.Client { return s3.NewFromConfig(w.aws.Config(local.HubAccount)) }

func (w *world) put(ctx context.Context, c *dynamodb.Client, id string) error {
	_, err := c.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String("ledger"), ConditionExpression: aws.String("attribute_not_exists(id)"),
		Item: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}},
	})
	return err
}

func TestCallsPassTheProxyAndAreNamedAsTheyAreRecorded(t *testing.T) {
	w := newWorld(t, nil)
	ctx, recorder := cloud.Record(t.Context())
	cfg := via(w.aws, w.proxy, local.HubAccount)
	bucket := aws.String("example")

	must(t, w.closeBucket(ctx, w.buckets))
	_, err := w.buckets.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: bucket})
	must(t, err)
	_, err = w.buckets.DeletePublicAccessBlock(ctx, &s3.DeletePublicAccessBlockInput{Bucket: bucket})
	must(t, err)
	for name, call := range map[string]func() error{
		"CreateBucket": func() error {
			_, err := w.buckets.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("b2")})
			return err
		},
		"HeadBucket":  func() error { _, err := w.buckets.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: bucket}); return err },
		"ListBuckets": func() error { _, err := w.buckets.ListBuckets(ctx, nil); return err },
		"ListObjectsV2": func() error {
			_, err := w.buckets.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})
			return err
		},
		"GetBucketAcl": func() error { _, err := w.buckets.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: bucket}); return err },
		"GetBucketPolicy": func() error {
			_, err := w.buckets.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: bucket})
			return err
		},
		"GetBucketTagging": func() error {
			_, err := w.buckets.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: bucket})
			return err
		},
		"PutObject": func() error {
			_, err := w.buckets.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("a/b c"), Body: strings.NewReader("body")})
			return err
		},
		"GetObject": func() error {
			_, err := w.buckets.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("a/b c")})
			return err
		},
		"DeleteBucket": func() error { _, err := w.buckets.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket}); return err },
	} {
		// Some of them fail, by AWS's own answer: it is the name that counts here.
		if err := call(); err != nil && !cloud.Permanent(err) && !cloud.Is(err, "BucketNotEmpty") {
			t.Errorf("%s: %v", name, err)
		}
	}

	_, err = sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	must(t, err)
	_, err = sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::222222222222:role/example"), RoleSessionName: aws.String("example"),
	})
	must(t, err)
	_, err = sns.NewFromConfig(cfg).Publish(ctx, &sns.PublishInput{TopicArn: &w.topic, Message: aws.String("an alert & more")})
	must(t, err)
	queue, err := sqs.NewFromConfig(cfg).CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("example")})
	must(t, err)
	_, err = sqs.NewFromConfig(cfg).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String("{}")})
	must(t, err)
	_, err = organizations.NewFromConfig(cfg).ListRoots(ctx, &organizations.ListRootsInput{})
	must(t, err)
	_, err = resourcegroupstaggingapi.NewFromConfig(cfg).GetResources(ctx, &resourcegroupstaggingapi.GetResourcesInput{})
	must(t, err)
	must(t, w.put(ctx, w.tables, "a"))
	_, err = w.tables.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
		"ledger": {Keys: []map[string]types.AttributeValue{{"id": &types.AttributeValueMemberS{Value: "a"}}}},
	}})
	must(t, err)

	var want []string
	for _, c := range recorder.Calls() {
		if c.Attempts != 1 {
			t.Errorf("%s took %d attempts", c.Name(), c.Attempts)
		}
		want = append(want, c.Name())
	}
	// The credentials of the account are asked for without the proxy.
	want = slices.DeleteFunc(want, func(name string) bool { return name == "STS.AssumeRole" })
	got := slices.DeleteFunc(w.proxy.Calls(), func(name string) bool { return name == "STS.AssumeRole" })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls differ from what the SDK recorded (-want +got):\n%s", diff)
	}
	if n := w.proxy.Count("STS.AssumeRole"); n != 1 {
		t.Errorf("AssumeRole is counted %d times, want once", n)
	}
}

func TestUnknownRESTCallIsNamedByWhatItAsks(t *testing.T) {
	w := newWorld(t, nil)
	_, err := w.buckets.GetBucketWebsite(t.Context(), &s3.GetBucketWebsiteInput{Bucket: aws.String("example")})
	if !cloud.Is(err, "NoSuchWebsiteConfiguration") {
		t.Errorf("got error %v", err)
	}
	if diff := cmp.Diff([]string{"S3.GET /example?website="}, w.proxy.Calls()); diff != "" {
		t.Errorf("calls differ (-want +got):\n%s", diff)
	}
}

// S3 Control's client puts the account before the host.
func TestS3ControlReachesItsAccountThroughTheProxy(t *testing.T) {
	w := newWorld(t, nil)
	client := func(account string) *s3control.Client { return s3control.NewFromConfig(via(w.aws, w.proxy, account)) }
	_, err := client(local.MemberAccount).PutPublicAccessBlock(t.Context(), &s3control.PutPublicAccessBlockInput{
		AccountId:                      aws.String(local.MemberAccount),
		PublicAccessBlockConfiguration: &s3controltypes.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true)},
	})
	must(t, err)
	got, err := client(local.MemberAccount).GetPublicAccessBlock(t.Context(), &s3control.GetPublicAccessBlockInput{AccountId: aws.String(local.MemberAccount)})
	must(t, err)
	if !aws.ToBool(got.PublicAccessBlockConfiguration.BlockPublicAcls) {
		t.Error("what was put through the proxy is not there")
	}
	_, err = client(local.HubAccount).GetPublicAccessBlock(t.Context(), &s3control.GetPublicAccessBlockInput{AccountId: aws.String(local.HubAccount)})
	if !cloud.Is(err, "NoSuchPublicAccessBlockConfiguration") {
		t.Errorf("the other account answers %v", err)
	}
	_, err = client(local.MemberAccount).DeletePublicAccessBlock(t.Context(), &s3control.DeletePublicAccessBlockInput{AccountId: aws.String(local.MemberAccount)})
	must(t, err)
	want := []string{
		"S3Control.PutPublicAccessBlock", "S3Control.GetPublicAccessBlock", "S3Control.GetPublicAccessBlock", "S3Control.DeletePublicAccessBlock",
	}
	if diff := cmp.Diff(want, w.proxy.Calls()); diff != "" {
		t.Errorf("calls differ (-want +got):\n%s", diff)
	}
}

func TestCallsOfDynamoDBGoToDynamoDBLocal(t *testing.T) {
	db := startDynamoDB(t)
	w := newWorld(t, db)
	must(t, w.put(t.Context(), w.tables, "a"))
	cfg := w.aws.Config(local.HubAccount)
	tables, err := dynamodb.NewFromConfig(cfg).ListTables(t.Context(), nil)
	must(t, err)
	if len(tables.TableNames) != 0 {
		t.Errorf("moto holds tables %v", tables.TableNames)
	}
	cfg.BaseEndpoint = aws.String(db.Endpoint())
	if err := w.put(t.Context(), dynamodb.NewFromConfig(cfg), "a"); !cloud.Is(err, "ConditionalCheckFailedException") {
		t.Errorf("DynamoDB Local does not hold the item: %v", err)
	}
}

// TestCancelledTransactionsAreCountedByTheirReason compares the proxy's count
// with what the callers were told.
func TestCancelledTransactionsAreCountedByTheirReason(t *testing.T) {
	w := newWorld(t, startDynamoDB(t))
	once := w.tables.Options()
	once.RetryMaxAttempts, once.Retryer = 1, aws.NopRetryer{}
	client := dynamodb.New(once)
	var mu sync.Mutex
	told := map[string]int{}
	var side sync.WaitGroup
	for range 16 {
		side.Go(func() {
			for _, id := range []string{"a", "b", "c", "d"} {
				_, err := client.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{Put: &types.Put{
					TableName: aws.String("ledger"), ConditionExpression: aws.String("attribute_not_exists(id)"),
					Item: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}},
				}}}})
				var cancelled *types.TransactionCanceledException
				mu.Lock()
				switch {
				case errors.As(err, &cancelled):
					told[aws.ToString(cancelled.CancellationReasons[0].Code)]++
				case err != nil:
					t.Error(err)
				default:
					told["ok"]++
				}
				mu.Unlock()
			}
		})
	}
	side.Wait()
	conflicts, conditions := w.proxy.Cancelled()
	if conflicts != told["TransactionConflict"] || conditions != told["ConditionalCheckFailed"] || told["ok"] != 4 || conditions == 0 {
		t.Errorf("counted %d conflicts and %d conditions, the callers were told %v", conflicts, conditions, told)
	}
	if n := w.proxy.Count("DynamoDB.TransactWriteItems"); n != 64 {
		t.Errorf("%d calls are counted, want 64", n)
	}
	w.proxy.Clear()
	if conflicts, conditions = w.proxy.Cancelled(); conflicts+conditions+len(w.proxy.Calls()) != 0 {
		t.Error("not all is forgotten")
	}
}

func TestConflictIsDynamoDBsOwnAndIsCounted(t *testing.T) {
	w := newWorld(t, nil)
	put := func(id string) types.TransactWriteItem {
		return types.TransactWriteItem{Put: &types.Put{
			TableName: aws.String("ledger"), Item: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}},
		}}
	}
	open := func() error {
		_, err := w.tables.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{put("a"), put("b"), put("c")}})
		return err
	}
	w.proxy.Inject("DynamoDB.TransactWriteItems", 1, local.Conflict(1))
	w.proxy.Inject("DynamoDB.PutItem", 1, local.Conflict(1))
	err := open()
	var cancelled *types.TransactionCanceledException
	if !errors.As(err, &cancelled) || cloud.Permanent(err) {
		t.Fatalf("got %v, want a cancelled transaction that is worth retrying", err)
	}
	var reasons []string
	for _, r := range cancelled.CancellationReasons {
		reasons = append(reasons, aws.ToString(r.Code))
	}
	if diff := cmp.Diff([]string{"TransactionConflict", "None", "None"}, reasons); diff != "" {
		t.Errorf("reasons differ (-want +got):\n%s", diff)
	}
	if conflicts, conditions := w.proxy.Cancelled(); conflicts != 1 || conditions != 0 {
		t.Errorf("counted %d conflicts and %d conditions, want one conflict", conflicts, conditions)
	}
	if err := w.put(t.Context(), w.tables, "a"); !cloud.Is(err, "TransactionConflictException") || cloud.Permanent(err) {
		t.Errorf("got %v for a write alone, want one that is worth retrying", err)
	}
	must(t, w.put(t.Context(), w.tables, "a")) // nothing was carried out
	must(t, open())
}

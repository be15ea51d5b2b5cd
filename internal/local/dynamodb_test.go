package local

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// TestConcurrentTransactionsAreAtomic is why DynamoDB Local is here at all.
func TestConcurrentTransactionsAreAtomic(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d, err := StartDynamoDB(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	client := dynamodb.New(dynamodb.Options{
		Region: Region, BaseEndpoint: aws.String(d.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	_, err = client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: aws.String("ledger"), BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var won atomic.Int32
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			_, err := client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{
				Put: &types.Put{
					TableName: aws.String("ledger"), ConditionExpression: aws.String("attribute_not_exists(id)"),
					Item: map[string]types.AttributeValue{
						"id":     &types.AttributeValueMemberS{Value: "case"},
						"worker": &types.AttributeValueMemberN{Value: strconv.Itoa(worker)},
					},
				},
			}}})
			if err == nil {
				won.Add(1)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 8 workers have opened the case, want 1", won.Load())
	}
	cancel()
	waitGone(t, d.process.pid)
}

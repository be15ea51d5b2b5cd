package main

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

// newLedger is the stack of the ledger. It holds what undoes every change, so it
// is apart from the rest: whoever removes Snapback keeps it, and a new deployment
// finds it again.
//
// It is encrypted with a key that DynamoDB owns: one of our own would cost a call
// of KMS now and then on every event's way, and keep out nobody whom the table's
// permissions let in.
func newLedger(scope constructs.Construct, in input) awscdk.Stack {
	stack := newHubStack(scope, deployment.LedgerStack,
		"Snapback's ledger: every case, and what each change overwrote. It stays when all else is removed.", in, true)
	schema := ledger.Schema(deployment.Table)
	var attributes, indexes []any
	for _, a := range schema.AttributeDefinitions {
		attributes = append(attributes, &awsdynamodb.CfnTable_AttributeDefinitionProperty{
			AttributeName: a.AttributeName, AttributeType: jsii.String(string(a.AttributeType)),
		})
	}
	for _, i := range schema.GlobalSecondaryIndexes {
		indexes = append(indexes, &awsdynamodb.CfnTable_GlobalSecondaryIndexProperty{
			IndexName: i.IndexName, KeySchema: keySchema(i.KeySchema),
			Projection: &awsdynamodb.CfnTable_ProjectionProperty{ProjectionType: jsii.String(string(i.Projection.ProjectionType))},
		})
	}
	table := awsdynamodb.NewCfnTable(stack, jsii.String("Table"), &awsdynamodb.CfnTableProps{
		TableName:              schema.TableName,
		BillingMode:            jsii.String(string(schema.BillingMode)),
		KeySchema:              keySchema(schema.KeySchema),
		AttributeDefinitions:   attributes,
		GlobalSecondaryIndexes: indexes,
		TimeToLiveSpecification: &awsdynamodb.CfnTable_TimeToLiveSpecificationProperty{
			AttributeName: jsii.String("ttl"), Enabled: jsii.Bool(true), // what may go says when; cases never do
		},
		PointInTimeRecoverySpecification: &awsdynamodb.CfnTable_PointInTimeRecoverySpecificationProperty{
			PointInTimeRecoveryEnabled: jsii.Bool(true),
		},
		DeletionProtectionEnabled: jsii.Bool(true),
	})
	table.ApplyRemovalPolicy(awscdk.RemovalPolicy_RETAIN, nil)
	awscdk.NewCfnOutput(stack, jsii.String("TableName"), &awscdk.CfnOutputProps{
		Description: jsii.String("name of the ledger's table"), Value: table.Ref(),
	})
	return stack
}

func keySchema(keys []types.KeySchemaElement) []any {
	var schema []any
	for _, k := range keys {
		schema = append(schema, &awsdynamodb.CfnTable_KeySchemaProperty{
			AttributeName: k.AttributeName, KeyType: jsii.String(string(k.KeyType)),
		})
	}
	return schema
}

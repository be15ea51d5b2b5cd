package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/snapback-aws/snapback/pkg/alert"
	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/ledger"
)

func (d *doctor) db() *dynamodb.Client { return dynamodb.NewFromConfig(d.cfg) }

func (d *doctor) ledger(ctx context.Context) finding {
	out, err := d.db().DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: aws.String(d.table)})
	switch {
	case cloud.Is(err, "ResourceNotFoundException"):
		return wrong("there is no table %s in this account and Region", d.table).
			mend("name the ledger's table by --table, be in the hub account and Region, or deploy Snapback's hub stack")
	case err != nil:
		return unread(err)
	}
	if faults := tableFaults(out.Table, ledger.Schema(d.table)); len(faults) > 0 {
		return wrong("table %s is not as the ledger must be:\n%s", d.table, strings.Join(faults, "\n")).
			mend("see that this is the ledger's table; wait for what is not ACTIVE yet; what is missing is made by deploying Snapback's hub stack again")
	}
	return ok("table %s is ACTIVE, with its keys and indexes", d.table)
}

// tableFaults says what a table lacks that the ledger needs.
func tableFaults(got *dbtypes.TableDescription, want *dynamodb.CreateTableInput) []string {
	var faults []string
	if got.TableStatus != dbtypes.TableStatusActive {
		faults = append(faults, "it is "+string(got.TableStatus)+", not ACTIVE")
	}
	if is, wanted := keys(got.KeySchema), keys(want.KeySchema); is != wanted {
		faults = append(faults, "its key is ("+is+"), not ("+wanted+")")
	}
	for _, index := range want.GlobalSecondaryIndexes {
		name, wanted := aws.ToString(index.IndexName), keys(index.KeySchema)
		i := slices.IndexFunc(got.GlobalSecondaryIndexes, func(g dbtypes.GlobalSecondaryIndexDescription) bool {
			return aws.ToString(g.IndexName) == name
		})
		if i < 0 {
			faults = append(faults, "the index "+name+" ("+wanted+") is missing")
			continue
		}
		has := got.GlobalSecondaryIndexes[i]
		if is := keys(has.KeySchema); is != wanted {
			faults = append(faults, "the key of its index "+name+" is ("+is+"), not ("+wanted+")")
		}
		if has.IndexStatus != dbtypes.IndexStatusActive {
			faults = append(faults, "its index "+name+" is "+string(has.IndexStatus)+", not ACTIVE")
		}
		if p := has.Projection; p == nil || p.ProjectionType != index.Projection.ProjectionType {
			faults = append(faults, "its index "+name+" does not hold "+string(index.Projection.ProjectionType)+" attributes")
		}
	}
	return faults
}

// keys are the attributes of a key, the partition's first.
func keys(schema []dbtypes.KeySchemaElement) string {
	var names []string
	for _, kind := range []dbtypes.KeyType{dbtypes.KeyTypeHash, dbtypes.KeyTypeRange} {
		for _, k := range schema {
			if k.KeyType == kind {
				names = append(names, aws.ToString(k.AttributeName))
			}
		}
	}
	return strings.Join(names, ", ")
}

func (d *doctor) ledgerRecovery(ctx context.Context) finding {
	out, err := d.db().DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: aws.String(d.table)})
	if err != nil {
		return unread(err)
	}
	if b := out.ContinuousBackupsDescription; b == nil || b.PointInTimeRecoveryDescription == nil ||
		b.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus != dbtypes.PointInTimeRecoveryStatusEnabled {
		return wrong("point-in-time recovery is off: what is deleted is lost, and with it what undo needs").
			mend("turn it on").by("aws dynamodb update-continuous-backups --table-name " + d.table +
			" --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true")
	}
	return ok("point-in-time recovery is on")
}

// expiryAttribute is the attribute by which DynamoDB deletes what is only kept
// for a time: the counters of limits.
const expiryAttribute = "ttl"

func (d *doctor) ledgerExpiry(ctx context.Context) finding {
	out, err := d.db().DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: aws.String(d.table)})
	if err != nil {
		return unread(err)
	}
	is := "off"
	if t := out.TimeToLiveDescription; t != nil {
		switch t.TimeToLiveStatus {
		case dbtypes.TimeToLiveStatusEnabled, dbtypes.TimeToLiveStatusEnabling:
			is = "by the attribute " + aws.ToString(t.AttributeName)
			if aws.ToString(t.AttributeName) == expiryAttribute {
				return ok("old counters are deleted %s", is)
			}
		}
	}
	return wrong("time to live is %s, and must be by the attribute %s: old counters are never deleted", is, expiryAttribute).
		mend("turn it on").by("aws dynamodb update-time-to-live --table-name " + d.table +
		" --time-to-live-specification Enabled=true,AttributeName=" + expiryAttribute)
}

func (d *doctor) killSwitch(ctx context.Context) finding {
	var on []string
	for s, err := range openLedger(d.cfg, d.table).Stops(ctx) {
		if err != nil {
			return unread(err)
		}
		on = append(on, place(s.Scope)+" is stopped, "+stopText(*s))
	}
	if len(on) > 0 {
		return note("%s", strings.Join(on, "\n"))
	}
	return ok("nothing is stopped")
}

func (d *doctor) sns() *sns.Client {
	return sns.NewFromConfig(d.cfg, alert.InRegion(d.topic))
}

func (d *doctor) topicThere(ctx context.Context) finding {
	_, err := d.sns().GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: aws.String(d.topic)})
	switch {
	case cloud.Is(err, "NotFound", "NotFoundException"):
		return wrong("there is no topic %s", d.topic).mend("name the topic for alerts by --topic, or deploy Snapback's hub stack")
	case err != nil:
		return unread(err)
	}
	return ok("%s", d.topic)
}

func (d *doctor) subscriptions(ctx context.Context) finding {
	confirmed := 0
	var pending []string
	pages := sns.NewListSubscriptionsByTopicPaginator(d.sns(), &sns.ListSubscriptionsByTopicInput{TopicArn: aws.String(d.topic)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return unread(err)
		}
		for _, s := range page.Subscriptions {
			// SNS writes a word in the place of the ARN where there is none.
			switch id := aws.ToString(s.SubscriptionArn); {
			case arn.IsARN(id):
				confirmed++
			case id == "PendingConfirmation":
				pending = append(pending, aws.ToString(s.Protocol)+" "+aws.ToString(s.Endpoint))
			}
		}
	}
	unconfirmed := "not confirmed: " + strings.Join(pending, ", ")
	switch {
	case confirmed > 0 && len(pending) > 0:
		return note("%d confirmed; %s", confirmed, unconfirmed)
	case confirmed > 0:
		return ok("%d confirmed", confirmed)
	case len(pending) > 0:
		return wrong("nobody gets the alerts; %s", unconfirmed).mend("follow the link in the message that SNS has sent there")
	}
	return wrong("nobody has subscribed to the topic, so nobody gets the alerts").
		mend("subscribe somebody, who then has to follow the link in the message that SNS sends").
		by("aws sns subscribe --topic-arn " + d.topic + " --protocol email --notification-endpoint ADDRESS")
}

// listAccounts finds the accounts that the functions must be able to enter.
func (d *doctor) listAccounts(ctx context.Context) finding {
	if len(d.accounts) > 0 {
		return ok("%s named by --account", plural(len(d.accounts), "account"))
	}
	const byHand = "name the accounts by --account, or use credentials of the management account or a delegated administrator"
	pages := organizations.NewListAccountsPaginator(organizations.NewFromConfig(d.cfg), &organizations.ListAccountsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return wrong("the organization's accounts can't be listed: %s", cloud.Reason(err)).mend(byHand)
		}
		for _, a := range page.Accounts {
			if a.State == orgtypes.AccountStateActive {
				d.accounts = append(d.accounts, aws.ToString(a.Id))
			}
		}
	}
	if len(d.accounts) == 0 {
		return wrong("the organization lists no active account").mend(byHand)
	}
	return ok("%s of the organization", plural(len(d.accounts), "active account"))
}

// plural is a number with what it counts.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

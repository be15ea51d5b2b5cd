package main

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/snapback-aws/snapback/pkg/event"
)

// trail is a CloudTrail log file of n records of some 1.5 KB, written as it is
// read. As in an account at work, most calls only read, two in a hundred
// concern a control.
type trail struct {
	n, written int
	text       bytes.Buffer
	// end, if set, is called when the last record has been handed out.
	end func()
}

func (l *trail) Read(p []byte) (int, error) {
	for l.text.Len() == 0 {
		switch {
		case l.written > l.n:
			return 0, io.EOF
		case l.written == l.n:
			if l.end != nil {
				l.end()
			}
			l.text.WriteString("]}")
		case l.written == 0:
			l.text.WriteString(`{"Records":[`)
			l.record(0)
		default:
			l.text.WriteByte(',')
			l.record(l.written)
		}
		l.written++
	}
	return l.text.Read(p)
}

// traffic is what the log is made of: per 50 records, so many of each.
var traffic = []struct {
	times        int
	source, name string
	readOnly     bool
	request      string
}{
	{1, "s3.amazonaws.com", "DeleteBucketPublicAccessBlock", false,
		`{"bucketName":"example-%[1]d","Host":"example-%[1]d.s3.us-east-1.amazonaws.com","publicAccessBlock":""}`},
	{2, "s3.amazonaws.com", "GetBucketAcl", true, `{"bucketName":"example-%[1]d","Host":"s3.us-east-1.amazonaws.com","acl":""}`},
	{4, "s3.amazonaws.com", "PutObject", false, `{"bucketName":"example-%[1]d","Host":"s3.us-east-1.amazonaws.com","key":"2026/11/22/%[1]d.json"}`},
	{18, "ec2.amazonaws.com", "DescribeInstances", true, `{"maxResults":1000,"instancesSet":{},"filterSet":{"items":[{"name":"tag:job","valueSet":{"items":[{"value":"%[1]d"}]}}]}}`},
	{15, "sts.amazonaws.com", "AssumeRole", true, `{"roleArn":"arn:aws:iam::222222222222:role/worker","roleSessionName":"job-%[1]d","durationSeconds":3600}`},
	{6, "kms.amazonaws.com", "Decrypt", true, `{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::example-%[1]d"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`},
	{4, "logs.amazonaws.com", "CreateLogStream", false, `{"logStreamName":"2026/11/22/[$LATEST]%[1]d","logGroupName":"/aws/lambda/worker"}`},
}

func (l *trail) record(i int) {
	at, k := i%50, 0
	for at >= traffic[k].times {
		at -= traffic[k].times
		k++
	}
	c := traffic[k]
	_, _ = fmt.Fprintf(&l.text, `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLEEXAMPLE%02[1]d:job-%[1]d",`+
		`"arn":"arn:aws:sts::222222222222:assumed-role/worker-%02[1]d/job-%[2]d","accountId":"222222222222","accessKeyId":"ASIAEXAMPLEEXAMPLE%02[1]d",`+
		`"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLEEXAMPLE%02[1]d","arn":"arn:aws:iam::222222222222:role/worker-%02[1]d",`+
		`"accountId":"222222222222","userName":"worker-%02[1]d"},"attributes":{"creationDate":"2026-11-22T00:58:11Z","mfaAuthenticated":"false"}}},`+
		`"eventTime":"2026-11-22T01:%02[3]d:%02[4]dZ","eventSource":%[5]q,"eventName":%[6]q,"awsRegion":"us-east-1","sourceIPAddress":"198.51.100.%[3]d",`+
		`"userAgent":"[aws-sdk-go-v2/1.39.2 ua/2.1 os/linux lang/go#1.25.3 md/GOOS#linux md/GOARCH#arm64 api/example#1.88.4 m/E,g]","requestParameters":`,
		i%17, i, i/60%60, i%60, c.source, c.name)
	_, _ = fmt.Fprintf(&l.text, c.request, i)
	_, _ = fmt.Fprintf(&l.text, `,"responseElements":null,"additionalEventData":{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256",`+
		`"bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"EXAMPLEexampleEXAMPLEexample%012[1]dEXAMPLE=","bytesTransferredOut":0},`+
		`"requestID":"EXAMPLE%09[1]d","eventID":"%08[1]d-5e1f-4c0a-9b1d-000000000001","readOnly":%[2]t,"resources":[{"accountId":"222222222222",`+
		`"type":"AWS::Example::Resource","ARN":"arn:aws:example:us-east-1:222222222222:resource/example-%[1]d"}],"eventType":"AwsApiCall","managementEvent":true,`+
		`"recipientAccountId":"222222222222","eventCategory":"Management","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256",`+
		`"clientProvidedHostHeader":"example-%[1]d.us-east-1.amazonaws.com"}}`, i, c.readOnly)
}

// The heap that is still in use at the end of a log does not depend on how
// long the log was.
func TestReplayNeedsNoMoreMemoryForALongerLog(t *testing.T) {
	live := func(n int) (heap uint64) {
		in := &trail{n: n, end: func() {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap = m.HeapAlloc
		}}
		if code := execute(t.Context(), []string{"replay", "-", "-o", "json"}, in, io.Discard, io.Discard); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		return heap
	}
	const most = 1 << 20
	short, long := live(30_000), live(300_000)
	t.Logf("live heap: %d KiB after 30,000 records, %d KiB after 300,000", short>>10, long>>10)
	if long > short+most {
		t.Errorf("live heap: %d bytes after 30,000 records, %d after 300,000", short, long)
	}
}

// A log may name any number of actors; the summary does not grow with them.
func TestReplayCountsOnlySoManyActors(t *testing.T) {
	r := &replay{counts: map[string]map[string]int{}}
	for i := range 2 * maxCounted {
		r.count(record{Account: "222222222222", Actor: &event.Actor{Name: fmt.Sprint("user-", i)}})
	}
	actors := r.counts["actor"]
	if len(actors) != maxCounted+1 || actors["others"] != maxCounted {
		t.Errorf("%d actors, %d counted as others; want %d and %d", len(actors), actors["others"], maxCounted+1, maxCounted)
	}
}

func BenchmarkReplay(b *testing.B) {
	const n = 100_000
	var log bytes.Buffer
	z := gzip.NewWriter(&log)
	size, err := io.Copy(z, &trail{n: n})
	if err != nil {
		b.Fatal(err)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	for _, output := range []string{"text", "json"} {
		b.Run(output, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if code := execute(b.Context(), []string{"replay", "-", "-o", output}, bytes.NewReader(log.Bytes()), io.Discard, io.Discard); code != 0 {
					b.Fatalf("exit code %d", code)
				}
			}
			seconds := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(n/seconds, "records/s")
			b.ReportMetric(float64(size)/1e6/seconds, "MB/s")
			b.ReportMetric(float64(size)/n, "B/record")
		})
	}
}

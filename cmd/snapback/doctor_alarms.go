package main

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/snapback-aws/snapback/pkg/deployment"
)

// alarms looks at the deployment's own alarms. One without data is no fault: what
// it measures has not happened yet.
func (d *doctor) alarms(ctx context.Context) finding {
	loud, silent, all := []string{}, []string{}, 0
	add := func(state cwtypes.StateValue, name, description *string) {
		all++
		switch state {
		case cwtypes.StateValueAlarm:
			loud = append(loud, strings.TrimSuffix(aws.ToString(name)+": "+aws.ToString(description), ": "))
		case cwtypes.StateValueInsufficientData:
			silent = append(silent, aws.ToString(name))
		}
	}
	pages := cloudwatch.NewDescribeAlarmsPaginator(cloudwatch.NewFromConfig(d.cfg), &cloudwatch.DescribeAlarmsInput{
		AlarmNamePrefix: aws.String(deployment.Prefix + "-"),
		AlarmTypes:      []cwtypes.AlarmType{cwtypes.AlarmTypeMetricAlarm, cwtypes.AlarmTypeCompositeAlarm},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return unread(err)
		}
		for i := range page.MetricAlarms {
			add(page.MetricAlarms[i].StateValue, page.MetricAlarms[i].AlarmName, page.MetricAlarms[i].AlarmDescription)
		}
		for i := range page.CompositeAlarms {
			add(page.CompositeAlarms[i].StateValue, page.CompositeAlarms[i].AlarmName, page.CompositeAlarms[i].AlarmDescription)
		}
	}
	switch {
	case all == 0:
		return wrong("there is no alarm whose name begins with %s-: nobody learns that Snapback does not work", deployment.Prefix).mend(deployAgain)
	case len(loud) > 0:
		return wrong("%d of %s in ALARM:\n%s", len(loud), plural(all, "alarm"), strings.Join(loud, "\n")).
			mend("see what each says; an alarm ends by itself when that is mended")
	case len(silent) > 0:
		return note("%s, none in ALARM; without data yet: %s", plural(all, "alarm"), strings.Join(silent, ", "))
	}
	return ok("%s, all quiet", plural(all, "alarm"))
}

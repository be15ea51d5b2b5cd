package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/jsii-runtime-go"

	"github.com/snapback-aws/snapback/pkg/control"
	"github.com/snapback-aws/snapback/pkg/deployment"
	"github.com/snapback-aws/snapback/pkg/function"
)

// dashboard is the name of the dashboard.
const dashboard = deployment.Prefix

// commands is what the dashboard says to whoever looks at it at night.
const commands = "**Snapback** · `snapback doctor` what is wrong, and how to mend it · `snapback drill` whether every account's events come" +
	" · `snapback cases list --open` what waits for somebody · `snapback cases show CASE` · `snapback cases undo CASE`" +
	" · `snapback stop --why TEXT` nothing is changed any more, until `snapback start`"

// makeDashboard makes the dashboard: what was found and done, how fast, and
// whether Snapback itself is well.
func (h *hub) makeDashboard() {
	body, err := json.Marshal(map[string]any{"widgets": h.widgets()})
	if err != nil {
		panic(err) // texts always encode
	}
	awscloudwatch.NewCfnDashboard(h.stack, jsii.String("Dashboard"), &awscloudwatch.CfnDashboardProps{
		DashboardName: jsii.String(dashboard), DashboardBody: awscdk.Token_AsString(filled(string(body)), nil),
	})
	h.output("DashboardUrl", "the dashboard", jsii.String(fmt.Sprintf("https://%s/cloudwatch/home?region=%s#dashboards:name=%s",
		console(h.place.Region), h.place.Region, dashboard)))
}

// console is the host of AWS's console for a Region.
func console(region string) string {
	switch {
	case strings.HasPrefix(region, "us-gov-"):
		return "console.amazonaws-us-gov.com"
	case strings.HasPrefix(region, "cn-"):
		return "console.amazonaws.cn"
	}
	return region + ".console.aws.amazon.com"
}

// widgets are laid out in rows, 24 columns wide. Source: CloudWatch API reference,
// "Dashboard body structure and syntax".
func (h *hub) widgets() []any {
	var alarms []string
	for _, name := range h.alarms {
		alarms = append(alarms, h.arn("cloudwatch", "alarm:"+name))
	}
	at := func(x, y, width, height int, kind string, properties map[string]any) any {
		return map[string]any{"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": properties}
	}
	return []any{
		at(0, 0, 24, 2, "text", map[string]any{"markdown": commands}),
		at(0, 2, 24, 4, "alarm", map[string]any{"title": "Alarms", "alarms": alarms}),
		at(0, 6, 12, 7, "metric", h.graph("Outcomes by control", search("Outcomes", "Sum"))),
		at(12, 6, 12, 7, "metric", h.graph("From event to contained, ms", search("ContainedAfter", "p50"), search("ContainedAfter", "p90"), search("ContainedAfter", "p99"))),
		at(0, 13, 8, 6, "metric", h.graph("Oldest event in a queue, s", h.ofQueues("ApproximateAgeOfOldestMessage", deployment.Queue)...)),
		at(8, 13, 8, 6, "metric", h.graph("Events in a queue", h.ofQueues("ApproximateNumberOfMessagesVisible", deployment.Queue)...)),
		at(16, 13, 8, 6, "metric", h.graph("Events given up", h.ofQueues("ApproximateNumberOfMessagesVisible", deployment.DeadQueue)...)),
		at(0, 19, 8, 6, "metric", h.graph("Functions: duration p90, ms", h.ofFunctions("Duration", "p90")...)),
		at(8, 19, 8, 6, "metric", h.graph("Functions: errors", h.ofFunctions("Errors", "Sum")...)),
		at(16, 19, 8, 6, "metric", h.graph("Functions: at once", h.ofFunctions("ConcurrentExecutions", "Maximum")...)),
		at(0, 25, 8, 6, "metric", h.graph("Failed, and held by a limit or a tug of war",
			series(outcomes(control.Failed), "failed"), series(outcomes(control.Held), "held"))),
		at(8, 25, 8, 6, "metric", h.graph("Kill switches that are on", series(own("Stops", "Maximum"), "on"))),
		at(16, 25, 8, 6, "metric", h.graph("Canaries", series(own("DrillsSent", "Sum"), "sent"), series(own("DrillsMissing", "Sum"), "missing"),
			series(own("Undelivered", "Maximum"), "undelivered"))),
	}
}

// graph is a graph over time of some series.
func (h *hub) graph(title string, series ...any) map[string]any {
	return map[string]any{
		"title": title, "region": h.place.Region, "view": "timeSeries", "stacked": false, "period": fiveMinutes,
		"metrics": series, "yAxis": map[string]any{"left": map[string]any{"min": 0}},
	}
}

// search is one line for every control and outcome that there is.
func search(name, statistic string) any {
	label := "${PROP('Dim.control')} ${PROP('Dim.outcome')}"
	if statistic != "Sum" {
		label = statistic + " " + label
	}
	return []any{map[string]any{
		"expression": fmt.Sprintf(`SEARCH('{%s,domain,control,outcome} MetricName="%s"', '%s')`, function.Namespace, name, statistic),
		"label":      label,
		"id":         strings.ToLower(name) + strings.ToLower(statistic),
	}}
}

// series is one line.
func series(m metric, label string) any {
	line := []any{m.namespace, m.name}
	for name, value := range m.of { // one at most
		line = append(line, name, value)
	}
	return append(line, map[string]any{"stat": m.statistic, "label": label})
}

// ofQueues is a line for each domain's queue.
func (h *hub) ofQueues(name string, queue func(domain string) string) []any {
	var lines []any
	for _, d := range h.domains {
		lines = append(lines, series(queued(queue(d.Name), name), d.Name))
	}
	return lines
}

// ofFunctions is a line for each function.
func (h *hub) ofFunctions(name, statistic string) []any {
	var lines []any
	for _, function := range h.in.functions() {
		m := invoked(deployment.Function(function), name)
		m.statistic = statistic
		lines = append(lines, series(m, function))
	}
	return lines
}

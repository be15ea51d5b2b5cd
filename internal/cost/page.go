package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/template"
)

// page is one generated file of the folder docs.
type page struct {
	file string
	text string
}

var (
	//go:embed cost.md.tmpl
	costTemplate string
	//go:embed scale.md.tmpl
	scaleTemplate string

	pages = []page{{"cost.md", costTemplate}, {"scale.md", scaleTemplate}}
)

// render writes the page about what is deployed.
func (p page) render(d deployed) ([]byte, error) {
	t, err := template.New(p.file).Funcs(template.FuncMap{
		"lines": func() []line { return lines }, "loads": func() []load { return loads }, "sources": func() []source { return priceSources },
		"usd":   func(n line, l load) string { return dollars(n.usd(d, l)) },
		"total": func(l load, of ...payer) string { return dollars(total(d, l, of...)) },
		"each":  func(l load) string { return dollars(total(d, l) / float64(l.Accounts)) },
		"drivers": func(l load) string {
			var parts []string
			for _, n := range greatest(d, l, 3) {
				parts = append(parts, fmt.Sprintf("%s %s", n.Item, dollars(n.usd(d, l))))
			}
			return strings.Join(parts, "; ")
		},
		"of":    func(item string, l load) (string, error) { n, err := named(item); return dollars(n.usd(d, l)), err },
		"less":  func(part float64, l load, items ...string) (string, error) { return saved(d, part, l, items) },
		"price": asked,
		"n": func(n any) (string, error) {
			switch n := n.(type) {
			case int:
				return number(n), nil
			case float64:
				return number(n), nil
			}
			return "", fmt.Errorf("%T is no number", n)
		},
		"limits": func() []limit { return limits(d) },
		"writes": func() int { return writes },
		"wide":   func() load { return wide },
		"assume": assumed,
	}).Parse(p.text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, d)
	return out.Bytes(), err
}

// named is the line of an item.
func named(item string) (line, error) {
	for _, n := range lines {
		if n.Item == item {
			return n, nil
		}
	}
	return line{}, fmt.Errorf("no line %q", item)
}

// saved is a part of what some lines cost.
func saved(d deployed, part float64, l load, items []string) (string, error) {
	usd := 0.0
	for _, item := range items {
		n, err := named(item)
		if err != nil {
			return "", err
		}
		usd += part * n.usd(d, l)
	}
	return dollars(usd), nil
}

// asked is a price as the page shows it.
func asked(p price) string { return "$" + strconv.FormatFloat(p.USD, 'f', -1, 64) + " per " + p.Unit }

// dollars is an amount to the cent, or what is less.
func dollars(usd float64) string {
	switch {
	case usd == 0:
		return "0"
	case usd < 0.005:
		return "< 0.01"
	case usd < 100:
		return strconv.FormatFloat(usd, 'f', 2, 64)
	}
	return number(usd)
}

// number is a whole number with its thousands parted.
func number[N int | float64](n N) string {
	digits := strconv.FormatFloat(math.Round(float64(n)), 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// assumed are the assumptions by the names of the page.
func assumed() map[string]any {
	return map[string]any{
		"Hours": hours, "Trip": int(tripSeconds * 1000), "Own": int(ownSeconds * 1000), "Share": int(changeShare * 100),
		"Platform": platformBytes, "Line": lineBytes, "Change": changeBytes, "CaseKB": caseKB, "Gates": gateItems,
		"CallsCompliant": callsCompliant, "CallsChange": callsChange, "TripsCompliant": tripsCompliant, "TripsChange": tripsChange,
		"Outcomes": outcomesOfRule, "Other": otherMetrics, "Environments": environments, "Drill": drillSeconds, "Subscribers": subscribers,
	}
}

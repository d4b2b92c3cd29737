package endpoint

import "time"

// LoadReport is what a server says about its own load on a response.
type LoadReport struct {
	CPU, Memory, Application float64
	RPS, EPS                 float64
	InFlight, Limit          float64
	ServiceTime              time.Duration
	Named                    []Metric
}

// Metric is a named figure of a load report.
type Metric struct {
	Name  string
	Value float64
}

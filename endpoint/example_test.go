package endpoint_test

import (
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

func Example() {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ep, control := endpoint.New(endpoint.Info{Addr: "10.0.0.7:8080", Labels: map[string]string{"version": "v2"}}, now)

	control.Begin()
	fmt.Println(ep.Addr(), "available:", ep.Available(), "in flight:", ep.InFlight())

	control.Hold(endpoint.Ejected, "5 failures in a row", now.Add(time.Minute))
	control.End()
	held, reason, since := ep.Availability().Held(endpoint.Ejected)
	fmt.Println(held, reason, since.Sub(ep.Since()), "in flight:", ep.InFlight())
	// Output:
	// 10.0.0.7:8080 available: true in flight: 1
	// true 5 failures in a row 1m0s in flight: 0
}

func ExampleParseLoadReport() {
	r, err := endpoint.ParseLoadReport("TEXT cpu_utilization=0.31, named_metrics.rif=12, named_metrics.ms=8.25, utilization.disk=0.9")
	fmt.Println(r.CPU, r.InFlight, r.ServiceTime, r.Named, err)

	_, err = endpoint.ParseLoadReport("TEXT cpu_utilization=NaN")
	fmt.Println(err)
	// Output:
	// 0.31 12 8.25ms [{utilization.disk 0.9}] <nil>
	// load report: "cpu_utilization": has no finite decimal number
}

func ExampleLoadReport_AppendText() {
	r := endpoint.LoadReport{CPU: 0.31, RPS: 120.5, InFlight: 12, Limit: 64, ServiceTime: 8250 * time.Microsecond}
	fmt.Printf("%s: %s\n", endpoint.LoadReportHeader, r.AppendText(nil))
	// Output:
	// Endpoint-Load-Metrics: TEXT cpu_utilization=0.31,rps_fractional=120.5,named_metrics.rif=12,named_metrics.lim=64,named_metrics.ms=8.25
}

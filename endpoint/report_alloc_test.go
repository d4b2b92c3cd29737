//go:build !race

package endpoint_test

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

const standardReport = "TEXT cpu_utilization=0.31, mem_utilization=0.5, application_utilization=0.62, rps_fractional=120.5, eps=2, " +
	"named_metrics.rif=12, named_metrics.lim=64, named_metrics.ms=8.25"

func TestParseLoadReportAllocs(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := endpoint.ParseLoadReport(standardReport); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAppendTextAllocs(t *testing.T) {
	r := endpoint.LoadReport{CPU: 0.31, Application: 0.62, RPS: 120.5, EPS: 2, InFlight: 12, Limit: 64, ServiceTime: 8250 * time.Microsecond}
	b := make([]byte, 0, 160)
	if n := testing.AllocsPerRun(100, func() { b = r.AppendText(b[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAttemptAllocs(t *testing.T) {
	ep, control := endpoint.New(endpoint.Info{Addr: "a:1"}, time.Unix(0, 0))
	if n := testing.AllocsPerRun(100, func() {
		control.Begin()
		if !ep.Available() || ep.Weight() != 1 || ep.InFlight() != 1 {
			t.Error("not as begun")
		}
		control.Count(false)
		control.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParseLoadReport(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := endpoint.ParseLoadReport(standardReport); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendText(b *testing.B) {
	r := endpoint.LoadReport{CPU: 0.31, Application: 0.62, RPS: 120.5, EPS: 2, InFlight: 12, Limit: 64, ServiceTime: 8250 * time.Microsecond}
	buf := make([]byte, 0, 160)
	b.ReportAllocs()
	for b.Loop() {
		buf = r.AppendText(buf[:0])
	}
}

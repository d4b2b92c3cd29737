package endpoint_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

func TestParseLoadReport(t *testing.T) {
	for _, c := range []struct {
		value string
		want  endpoint.LoadReport
	}{
		{
			"TEXT cpu_utilization=0.3, mem_utilization=0.8, application_utilization=1.25, rps_fractional=10.0, eps=1",
			endpoint.LoadReport{CPU: 0.3, Memory: 0.8, Application: 1.25, RPS: 10, EPS: 1},
		},
		{
			"TEXT named_metrics.rif=12,named_metrics.lim=64,named_metrics.ms=8.25",
			endpoint.LoadReport{InFlight: 12, Limit: 64, ServiceTime: 8250 * time.Microsecond},
		},
		{
			// The older spelling, with a colon.
			"TEXT cpu_utilization:0.3,eps:2",
			endpoint.LoadReport{CPU: 0.3, EPS: 2},
		},
		{
			"TEXT  cpu_utilization = .5\t,\teps = 1e2 ",
			endpoint.LoadReport{CPU: 0.5, EPS: 100},
		},
		{
			"TEXT named_metrics.kv_cache=0.4,utilization.disk=0.9,request_cost.rows=1200,named_metrics.delta=-3",
			endpoint.LoadReport{Named: []endpoint.Metric{
				{Name: "named_metrics.kv_cache", Value: 0.4}, {Name: "utilization.disk", Value: 0.9},
				{Name: "request_cost.rows", Value: 1200}, {Name: "named_metrics.delta", Value: -3},
			}},
		},
		{
			// Members that ORCA may come to define, and one that it gave up.
			"TEXT rps=100,gpu_utilization=0.4,eps=3,future.x=-1",
			endpoint.LoadReport{EPS: 3},
		},
		{"TEXT cpu_utilization=0", endpoint.LoadReport{}},
		{"TEXT cpu_utilization=-0", endpoint.LoadReport{}},
		{"TEXT eps=1,named_metrics.leaving=1", endpoint.LoadReport{EPS: 1, Leaving: true}},
		{"TEXT named_metrics.leaving=0", endpoint.LoadReport{}},
		{"TEXT eps=1,named_metrics.back=1", endpoint.LoadReport{EPS: 1, SentBack: true}},
		{"TEXT named_metrics.ms=0.1", endpoint.LoadReport{ServiceTime: 100 * time.Microsecond}},
		{"TEXT named_metrics.ms=1.001", endpoint.LoadReport{ServiceTime: 1001 * time.Microsecond}},
		{"TEXT named_metrics.ms=86400000", endpoint.LoadReport{ServiceTime: 24 * time.Hour}},
	} {
		got, err := endpoint.ParseLoadReport(c.value)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v, want %+v", c.value, got, err, c.want)
		}
		if math.Signbit(got.CPU) {
			t.Errorf("%q: minus zero", c.value)
		}
	}
}

func TestParseLoadReportRefuses(t *testing.T) {
	many := make([]string, 33)
	for i := range many {
		many[i] = fmt.Sprintf("named_metrics.m%d=1", i)
	}
	for _, c := range []struct{ value, member, fault string }{
		{"", "", "no known form"},
		{"TEXT", "", "no known form"},
		{"text eps=1", "", "no known form"},
		{"eps=1", "", "no known form"},
		{" TEXT eps=1", "", "no known form"},
		{"TEXT ", "", "is not name=number"},
		{"TEXT eps", "eps", "is not name=number"},
		{"TEXT eps=1,", "", "is not name=number"},
		{"TEXT ,eps=1", "", "is not name=number"},
		{"TEXT =1", "", "is no name"},
		{"TEXT e ps=1", "e ps", "is no name"},
		{"TEXT \"eps\"=1", `"eps"`, "is no name"},
		{"TEXT named_metrics.=1", "named_metrics.", "is no name"},
		{"TEXT named_metrics.\x01=1", "named_metrics.\x01", "is no name"},
		{"TEXT named_metrics." + strings.Repeat("x", 200) + "=1", "named_metrics." + strings.Repeat("x", 50), "is no name"},
		{"TEXT eps=", "eps", "no finite decimal number"},
		{"TEXT eps=one", "eps", "no finite decimal number"},
		{"TEXT eps=1 2", "eps", "no finite decimal number"},
		{"TEXT eps==1", "eps", "no finite decimal number"},
		{"TEXT eps=0x10", "eps", "no finite decimal number"},
		{"TEXT eps=1_000", "eps", "no finite decimal number"},
		{"TEXT eps=NaN", "eps", "no finite decimal number"},
		{"TEXT eps=Inf", "eps", "no finite decimal number"},
		{"TEXT eps=-infinity", "eps", "no finite decimal number"},
		{"TEXT eps=1e999", "eps", "no finite decimal number"},
		{"TEXT eps=" + strings.Repeat("1", 33), "eps", "no finite decimal number"},
		{"TEXT unknown=NaN", "unknown", "no finite decimal number"},
		{"TEXT eps=-1", "eps", "out of range"},
		{"TEXT eps=1e16", "eps", "out of range"},
		{"TEXT cpu_utilization=1001", "cpu_utilization", "out of range"},
		{"TEXT application_utilization=-0.1", "application_utilization", "out of range"},
		{"TEXT mem_utilization=1.01", "mem_utilization", "out of range"},
		{"TEXT named_metrics.rif=-1", "named_metrics.rif", "out of range"},
		{"TEXT named_metrics.leaving=2", "named_metrics.leaving", "out of range"},
		{"TEXT named_metrics.ms=86400001", "named_metrics.ms", "out of range"},
		{"TEXT named_metrics.x=1e16", "named_metrics.x", "out of range"},
		{"TEXT named_metrics.x=-1e16", "named_metrics.x", "out of range"},
		{"TEXT utilization.x=-1", "utilization.x", "out of range"},
		{"TEXT request_cost.x=-1", "request_cost.x", "out of range"},
		{"TEXT eps=1,eps=1", "eps", "comes twice"},
		{"TEXT eps=0,eps=0", "eps", "comes twice"},
		{"TEXT named_metrics.ms=1,named_metrics.ms=1", "named_metrics.ms", "comes twice"},
		{"TEXT named_metrics.x=1,named_metrics.x=2", "named_metrics.x", "comes twice"},
		{"TEXT " + strings.Join(many, ","), "", "more than 32 named figures"},
		{"TEXT eps=1," + strings.Repeat(" ", 4<<10), "", "longer than 4 KiB"},
		{"BIN CZqZmZmZmbk/", "", "not in TEXT form"},
		{`JSON {"cpu_utilization":0.3}`, "", "not in TEXT form"},
	} {
		got, err := endpoint.ParseLoadReport(c.value)
		e, ok := errors.AsType[*endpoint.LoadReportError](err)
		if !ok || e.Member != c.member || !strings.Contains(e.Fault, c.fault) || !strings.Contains(e.Error(), c.fault) {
			t.Errorf("%.60q: %+v, want member %q, fault %q", c.value, err, c.member, c.fault)
			continue
		}
		if !reflect.DeepEqual(got, endpoint.LoadReport{}) {
			t.Errorf("%.60q: refused, and yet %+v", c.value, got)
		}
		known := strings.HasPrefix(c.value, "BIN") || strings.HasPrefix(c.value, "JSON")
		if errors.Is(err, errors.ErrUnsupported) != known {
			t.Errorf("%.60q: unsupported: %v", c.value, !known)
		}
	}
}

func TestLoadReportAppendText(t *testing.T) {
	for _, c := range []struct {
		report endpoint.LoadReport
		want   string
	}{
		{endpoint.LoadReport{}, ""},
		{
			endpoint.LoadReport{
				CPU: 0.31, Memory: 0.5, Application: 1, RPS: 120.5, EPS: 2,
				InFlight: 12, Limit: 64, ServiceTime: 8250 * time.Microsecond,
			},
			"TEXT cpu_utilization=0.31,mem_utilization=0.5,application_utilization=1,rps_fractional=120.5,eps=2," +
				"named_metrics.rif=12,named_metrics.lim=64,named_metrics.ms=8.25",
		},
		{endpoint.LoadReport{CPU: 1.0 / 3, RPS: 12345.678, EPS: 99.996}, "TEXT cpu_utilization=0.333,rps_fractional=12346,eps=100"},
		{endpoint.LoadReport{RPS: 9.9996, EPS: 1234.5678}, "TEXT rps_fractional=10,eps=1235"},
		{endpoint.LoadReport{EPS: 1, Leaving: true}, "TEXT eps=1,named_metrics.leaving=1"},
		{endpoint.LoadReport{InFlight: 9, SentBack: true}, "TEXT named_metrics.rif=9,named_metrics.back=1"},
		{endpoint.LoadReport{RPS: 100, EPS: 1000, Limit: 10}, "TEXT rps_fractional=100,eps=1000,named_metrics.lim=10"},
		// Nothing, and what rounds to it.
		{endpoint.LoadReport{CPU: 0.0004, ServiceTime: 499 * time.Nanosecond}, ""},
		// What a reader would refuse.
		{endpoint.LoadReport{CPU: -1, Memory: 1.1, Application: math.NaN(), RPS: math.Inf(1), EPS: 1e16, ServiceTime: -1}, ""},
		{
			endpoint.LoadReport{Named: []endpoint.Metric{
				{Name: "named_metrics.queue", Value: 1.0 / 3}, {Name: "utilization.disk", Value: 0}, {Name: "request_cost.rows", Value: 1e9},
				{Name: "named_metrics.queue", Value: 2}, {Name: "named_metrics.ms", Value: 2}, {Name: "eps", Value: 2},
				{Name: "named_metrics.a b", Value: 2}, {Name: "named_metrics.", Value: 2}, {Name: "", Value: 2},
				{Name: "utilization.cpu", Value: -1}, {Name: "named_metrics.nan", Value: math.NaN()}, {Name: "other.x", Value: 1},
			}},
			"TEXT named_metrics.queue=0.3333333333333333,utilization.disk=0,request_cost.rows=1e+09",
		},
	} {
		got := string(c.report.AppendText(nil))
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.report, got, c.want)
		}
		if got == "" {
			continue
		}
		if _, err := endpoint.ParseLoadReport(got); err != nil {
			t.Errorf("%q: %v", got, err)
		}
	}
	if got := string(endpoint.LoadReport{EPS: 1}.AppendText([]byte("x: "))); got != "x: TEXT eps=1" {
		t.Errorf("%q", got)
	}
	if got := string(endpoint.LoadReport{}.AppendText([]byte("x: "))); got != "x: " {
		t.Errorf("%q", got)
	}
}

func TestLoadReportAppendTextIsShort(t *testing.T) {
	longest := endpoint.LoadReport{
		CPU: 0.123, Application: 0.123, RPS: 99999, EPS: 99999, InFlight: 99999, Limit: 99999, ServiceTime: 99999 * time.Millisecond,
	}
	if text := longest.AppendText(nil); len(text) > 160 {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}

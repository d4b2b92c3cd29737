package endpoint_test

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

func FuzzParseLoadReport(f *testing.F) {
	for _, seed := range []string{
		"TEXT cpu_utilization=0.3, mem_utilization=0.8, application_utilization=1.25, rps_fractional=10.0, eps=1",
		"TEXT named_metrics.rif=12,named_metrics.lim=64,named_metrics.ms=8.25",
		"TEXT cpu_utilization:0.3,eps=99.996,named_metrics.ms=0.0005",
		"TEXT named_metrics.kv=0.4,utilization.disk=1e-9,request_cost.rows=1e15,named_metrics.d=-3.25,rps=1",
		"TEXT eps=9.9996,rps_fractional=999.96,named_metrics.lim=99999.5",
		"0.3", "123456789012345", "1234567890123456", ".5", "5.", ".", "1.2.3", "0.000000000000001", "-0", "1e3", "00000000000000000000000000000001",
		"JSON {}", "BIN AA==", "TEXT ", "TEXT eps=1,eps=1", "TEXT eps=NaN", "TEXT eps=1e309", "TEXT a=1,,",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		checkNumber(t, value)
		r, err := endpoint.ParseLoadReport(value)
		if err != nil {
			if !reflect.DeepEqual(r, endpoint.LoadReport{}) {
				t.Fatalf("refused, and yet %+v", r)
			}
			if len(err.Error()) > 512 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		checkBounds(t, r)
		text := string(r.AppendText(nil))
		if text == "" {
			return
		}
		again, err := endpoint.ParseLoadReport(text)
		if err != nil {
			t.Fatalf("%q wrote %q: %v", value, text, err)
		}
		checkClose(t, r, again)
		// What has once been rounded stays as it is, in both directions.
		if got := string(again.AppendText(nil)); got != text {
			t.Fatalf("%q then %q", text, got)
		}
		if third, err := endpoint.ParseLoadReport(text); err != nil || !reflect.DeepEqual(third, again) {
			t.Fatalf("%+v then %+v, %v", again, third, err)
		}
	})
}

// checkNumber has a number read as strconv reads it.
func checkNumber(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(c rune) bool { return !strings.ContainsRune("0123456789.+-eE", c) }) || len(text) > 32 {
		return
	}
	want, err := strconv.ParseFloat(text, 64)
	r, refused := endpoint.ParseLoadReport("TEXT named_metrics.x=" + text)
	if err != nil || math.Abs(want) > 1e15 {
		if refused == nil {
			t.Fatalf("%q is no number in range", text)
		}
		return
	}
	if refused != nil || r.Named[0].Value != want {
		t.Fatalf("%q is %v, not %v: %v", text, want, r.Named, refused)
	}
}

func figures(r endpoint.LoadReport) []float64 {
	return []float64{
		r.CPU, r.Memory, r.Application, r.RPS, r.EPS, r.InFlight, r.Limit,
		float64(r.ServiceTime) / float64(time.Millisecond),
	}
}

func checkBounds(t *testing.T, r endpoint.LoadReport) {
	t.Helper()
	for i, v := range figures(r) {
		if !(v >= 0 && v <= 1e15) || math.Signbit(v) {
			t.Fatalf("figure %d is %v", i, v)
		}
	}
	if r.Memory > 1 || r.CPU > 1000 || r.Application > 1000 || r.ServiceTime > 24*time.Hour || len(r.Named) > 32 {
		t.Fatalf("%+v", r)
	}
	for _, m := range r.Named {
		if !(math.Abs(m.Value) <= 1e15) || len(m.Name) > 128 {
			t.Fatalf("%+v", m)
		}
	}
}

// checkClose allows for what the writer documents: three decimals, four
// digits, whole numbers; named figures in full.
func checkClose(t *testing.T, a, b endpoint.LoadReport) {
	t.Helper()
	fb := figures(b)
	for i, v := range figures(a) {
		// A nanosecond, in milliseconds, for the rounding of ServiceTime.
		if allowed := max(0.0005, v*0.0005) + 1e-6; math.Abs(v-fb[i]) > allowed {
			t.Fatalf("figure %d: %v became %v", i, v, fb[i])
		}
	}
	if len(a.Named) != len(b.Named) || len(a.Named) > 0 && !reflect.DeepEqual(a.Named, b.Named) {
		t.Fatalf("%v became %v", a.Named, b.Named)
	}
}

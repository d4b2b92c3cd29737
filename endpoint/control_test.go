package endpoint_test

import (
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

func TestInFlightIsNeverLost(t *testing.T) {
	const callers, calls = 8, 2000
	ep, control := endpoint.New(endpoint.Info{Addr: "a:1"}, start)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range calls {
				control.Begin()
				if n := ep.InFlight(); n < 1 || n > callers {
					t.Errorf("%d in flight while one is", n)
				}
				control.Count(i%4 == 0)
				control.Report(endpoint.LoadReport{InFlight: float64(c)}, start)
				if left := control.End(); left < 0 || left >= callers {
					t.Errorf("%d left", left)
				}
				if n := ep.Counts(); n.OK+n.Failed > n.Started {
					t.Errorf("more judged than started: %+v", n)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range calls {
			control.Hold(endpoint.Ejected, "x", start)
			control.SetInfo(endpoint.Info{Weight: uint32(i)}, start)
			control.Lift(endpoint.Ejected, start)
			if held, _, _ := ep.Availability().Held(endpoint.Ejected); held {
				t.Error("held after its lift")
			}
		}
	})
	wg.Go(func() {
		for range calls {
			control.Hold(endpoint.Unhealthy, "y", start)
			if held, _, _ := ep.Availability().Held(endpoint.Unhealthy); !held {
				t.Error("not held after its hold")
			}
			control.Lift(endpoint.Unhealthy, start)
		}
	})
	wg.Wait()
	if n := ep.InFlight(); n != 0 {
		t.Errorf("%d left in flight", n)
	}
	want := endpoint.Counts{Started: callers * calls, OK: callers * calls / 4 * 3, Failed: callers * calls / 4}
	if got := ep.Counts(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !ep.Available() {
		t.Error("held by", ep.Availability().Holds())
	}
}

func TestReport(t *testing.T) {
	ep, control := endpoint.New(endpoint.Info{Addr: "a:1"}, start)
	if ep.Load() != nil {
		t.Error("a report before the first")
	}
	at := start.Add(time.Second)
	control.Report(endpoint.LoadReport{CPU: 0.5}, at)
	if l := ep.Load(); l == nil || l.CPU != 0.5 || !l.At.Equal(at) {
		t.Error(l)
	}
	if control.Endpoint() != ep {
		t.Error("control of another endpoint")
	}
}

func TestWeightIsAtLeastOne(t *testing.T) {
	ep, _ := endpoint.New(endpoint.Info{Addr: "a:1"}, start)
	if ep.Weight() != 1 || ep.Info().Weight != 0 {
		t.Error(ep.Weight(), ep.Info())
	}
}

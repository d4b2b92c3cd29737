package health_test

import (
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

// The one who keeps the endpoints of a service: it feeds results, and acts
// when it is told to look.
func Example() {
	policy := health.Outliers{BaseEjectionTime: 20 * time.Second}
	detector := health.NewDetector(policy, func() uint64 { return 0 })
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

	records := map[string]*health.Record{}
	for _, addr := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
		e, _ := endpoint.New(endpoint.Info{Addr: addr}, now)
		records[addr] = detector.Join(e, now)
	}

	bad := records["10.0.0.2:80"]
	result := outcome.Result{Outcome: outcome.Outcome{Class: outcome.Gateway, Status: 503}, Latency: 5 * time.Millisecond}
	for {
		now = now.Add(100 * time.Millisecond)
		result.At = now
		if bad.Observe(result, false) {
			break
		}
	}

	out := 0 // how many are out already
	if cause, accused := bad.Accused(); accused && out < policy.Cap(len(records)) {
		until := bad.Eject(now)
		fmt.Println(cause, "- out for", until.Sub(now))
	} else if accused {
		bad.Dismiss()
	}

	// Later, a call finds that the trial is due, and is the only one to have it.
	now = now.Add(20 * time.Second)
	if bad.Claim(now) {
		now = now.Add(10 * time.Millisecond)
		good := outcome.Result{Outcome: outcome.Outcome{Class: outcome.Success, Status: 200}, At: now, Latency: 10 * time.Millisecond}
		bad.Observe(good, true)
	}
	_, still := bad.Out()
	fmt.Println("still out:", still)
	// Output:
	// 5 consecutive gateway failures - out for 20s
	// still out: false
}

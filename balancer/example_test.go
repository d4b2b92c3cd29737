package balancer_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// A policy makes a balancer, a balancer a picker for the present set.
func Example() {
	now := time.Now()
	busy, control := endpoint.New(endpoint.Info{Addr: "10.0.0.1:80"}, now)
	idle, _ := endpoint.New(endpoint.Info{Addr: "10.0.0.2:80"}, now)
	control.Begin()

	var policy balancer.Policy = balancer.LeastRequest{}
	picker := policy.New(balancer.Env{Service: "reviews"}).Update([]*endpoint.Endpoint{busy, idle})

	// Draw is a random word in earnest.
	fmt.Println(picker.Pick(balancer.Query{Draw: 1, Attempt: 1}).Addr())
	fmt.Println(picker.Pick(balancer.Query{Draw: 2, Attempt: 2, Avoid: []*endpoint.Endpoint{idle}}).Addr())
	// Output:
	// 10.0.0.2:80
	// 10.0.0.1:80
}

func ExampleRoundRobin() {
	a, _ := endpoint.New(endpoint.Info{Addr: "10.0.0.1:80", Weight: 3}, time.Now())
	b, _ := endpoint.New(endpoint.Info{Addr: "10.0.0.2:80", Weight: 1}, time.Now())
	picker := balancer.RoundRobin{}.New(balancer.Env{Seed: 1}).Update([]*endpoint.Endpoint{a, b})

	picks := map[string]int{}
	for range 100 {
		picks[picker.Pick(balancer.Query{}).Addr()]++
	}
	fmt.Println(picks)
	// Output:
	// map[10.0.0.1:80:75 10.0.0.2:80:25]
}

func ExampleLeastRequest_Validate() {
	fmt.Println(balancer.LeastRequest{Choices: 1}.Validate())
	// Output:
	// choices: 1 is not from 2 to 10
}

func ExampleRandom() {
	a, _ := endpoint.New(endpoint.Info{Addr: "10.0.0.1:80", Weight: 9}, time.Now())
	b, _ := endpoint.New(endpoint.Info{Addr: "10.0.0.2:80", Weight: 1}, time.Now())
	picker := balancer.Random{}.New(balancer.Env{}).Update([]*endpoint.Endpoint{a, b})

	// What was tried is not drawn again while there is something else.
	ep := picker.Pick(balancer.Query{Draw: 4, Attempt: 2, Avoid: []*endpoint.Endpoint{a}})
	fmt.Println(ep.Addr())
	// Output:
	// 10.0.0.2:80
}

func ExamplePeakEWMA() {
	now := time.Now()
	near, _ := endpoint.New(endpoint.Info{Addr: "10.0.0.1:80"}, now)
	far, _ := endpoint.New(endpoint.Info{Addr: "10.9.0.1:80"}, now)
	b := balancer.PeakEWMA{}.New(balancer.Env{})
	picker := b.Update([]*endpoint.Endpoint{near, far})

	answered := func(ep *endpoint.Endpoint, latency time.Duration) {
		b.(balancer.Observer).Observe(ep, outcome.Result{
			Outcome: outcome.Outcome{Class: outcome.Success, Status: 200}, At: now, Latency: latency,
		})
	}
	answered(near, 2*time.Millisecond)
	answered(far, 90*time.Millisecond)
	fmt.Println(picker.Pick(balancer.Query{Draw: 1, Now: now}).Addr())

	// One slow answer is enough.
	answered(near, 3*time.Second)
	fmt.Println(picker.Pick(balancer.Query{Draw: 1, Now: now}).Addr())
	// Output:
	// 10.0.0.1:80
	// 10.9.0.1:80
}

func ExampleWeightedRoundRobin() {
	now := time.Now()
	small, smallControl := endpoint.New(endpoint.Info{Addr: "10.0.0.1:80"}, now)
	large, largeControl := endpoint.New(endpoint.Info{Addr: "10.0.0.2:80"}, now)
	b := balancer.WeightedRoundRobin{}.New(balancer.Env{Seed: 1})
	picker := b.Update([]*endpoint.Endpoint{small, large})

	// The mesh takes the reports from responses. Both have as much to do, which
	// keeps one three times as busy as the other.
	for second := range 12 {
		at := now.Add(time.Duration(second) * time.Second)
		smallControl.Report(endpoint.LoadReport{RPS: 100, CPU: 0.6}, at)
		b.(balancer.Observer).Observe(small, outcome.Result{At: at, Reported: true})
		largeControl.Report(endpoint.LoadReport{RPS: 100, CPU: 0.2}, at)
		b.(balancer.Observer).Observe(large, outcome.Result{At: at, Reported: true})
	}
	picks := map[string]int{}
	for range 1000 {
		picks[picker.Pick(balancer.Query{Now: now.Add(12 * time.Second)}).Addr()]++
	}
	fmt.Println(picks)
	// Output:
	// map[10.0.0.1:80:250 10.0.0.2:80:750]
}

func ExampleRendezvous() {
	var eps []*endpoint.Endpoint
	for _, addr := range []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"} {
		ep, _ := endpoint.New(endpoint.Info{Addr: addr}, time.Now())
		eps = append(eps, ep)
	}
	picker := balancer.Rendezvous{}.New(balancer.Env{}).Update(eps)

	// All calls of a user go to one endpoint, and all further attempts of them
	// to one other.
	q := balancer.Query{Hash: 0x2a, HasHash: true}
	first := picker.Pick(q)
	q.Avoid = []*endpoint.Endpoint{first}
	second := picker.Pick(q)
	fmt.Println(first.Addr(), second.Addr())

	// Without the first the second takes its place.
	rest := slices.DeleteFunc(eps, func(ep *endpoint.Endpoint) bool { return ep == first })
	q.Avoid = nil
	fmt.Println(balancer.Rendezvous{}.New(balancer.Env{}).Update(rest).Pick(q).Addr())
	// Output:
	// 10.0.0.2:80 10.0.0.1:80
	// 10.0.0.1:80
}

func ExampleMaglev_Validate() {
	fmt.Println(balancer.Maglev{TableSize: 100}.Validate())
	// Output:
	// tableSize: 100 is not a prime number up to 5000011
}

func ExampleRingHash_Validate() {
	err := balancer.RingHash{MinSize: 8192, MaxSize: 4096, Bound: 0.9}.Validate()
	fmt.Println(err)
	// Output:
	// maxSize: 4096 is less than minSize, which is 8192
	// bound: 0.9 is neither 0 nor a number of at least 1
}

// Half of the first priority is lost: it keeps 1.4 times that half, which is
// 70 % of the calls, and the second priority has the rest.
func ExampleSpreader() {
	now := time.Now()
	var members []balancer.Member
	for i, addr := range []string{"10.0.0.1:80", "10.0.0.2:80", "10.1.0.1:80", "10.1.0.2:80"} {
		ep, control := endpoint.New(endpoint.Info{Addr: addr, Priority: uint32(i / 2)}, now)
		if i == 0 {
			control.Hold(endpoint.Unhealthy, "probe", now)
		}
		members = append(members, balancer.Member{Endpoint: ep})
	}
	spreader := balancer.NewSpreader(balancer.LeastRequest{}, balancer.Spread{}, balancer.Env{Service: "reviews"})
	division := spreader.Update(members, now)
	for _, p := range division.Parts() {
		fmt.Printf("priority %d: %d of %d available, %.0f %% of the calls\n", p.Priority, p.Available, p.Known, 100*p.Load)
	}
	fmt.Println(division.Picker().Pick(balancer.Query{Draw: 1, Now: now}).Addr())
	// Output:
	// priority 0: 1 of 2 available, 70 % of the calls
	// priority 1: 2 of 2 available, 30 % of the calls
	// 10.0.0.2:80
}

func ExampleSpread_Validate() {
	fmt.Println(balancer.Spread{OverProvisioning: 0.5, Zones: balancer.WeightedZones}.Validate())
	// Output:
	// overProvisioning: 0.5 is neither 0 nor a number of at least 1
	// zoneWeights: no zone has a weight
}

func ExampleLoadFed() {
	now := time.Now()
	busy, busyControl := endpoint.New(endpoint.Info{Addr: "10.0.0.1:80"}, now)
	idle, idleControl := endpoint.New(endpoint.Info{Addr: "10.0.0.2:80"}, now)
	b := balancer.LoadFed{}.New(balancer.Env{})
	picker := b.Update([]*endpoint.Endpoint{busy, idle})

	// The mesh takes the reports from responses.
	answered := func(ep *endpoint.Endpoint, c *endpoint.Control, inFlight float64) {
		c.Report(endpoint.LoadReport{InFlight: inFlight, Limit: 8, ServiceTime: 5 * time.Millisecond}, now)
		b.(balancer.Observer).Observe(ep, outcome.Result{
			Outcome: outcome.Outcome{Class: outcome.Success, Status: 200}, At: now, Latency: 6 * time.Millisecond, Reported: true,
		})
	}
	answered(busy, busyControl, 7)
	answered(idle, idleControl, 1)
	fmt.Println(picker.Pick(balancer.Query{Draw: 1, Now: now}).Addr())

	// What the idle one has said is used up.
	fmt.Println(picker.Pick(balancer.Query{Draw: 2, Now: now}).Addr())
	for _, c := range b.(balancer.Counted).Picks() {
		if c.Picks > 0 {
			fmt.Println(c.Reason, c.Picks)
		}
	}
	// Output:
	// 10.0.0.2:80
	// 10.0.0.1:80
	// token 2
}

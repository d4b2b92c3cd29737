package balancer

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// What is usual is what the endpoints say, each as much as any other, however
// many of the calls one has: who claims to be fast, and is picked for that,
// makes the others no slower.
func TestUsualIsOfEndpointsNotOfReports(t *testing.T) {
	const n, often = 4, 20
	usually := func(times int) time.Duration {
		b := LoadFed{}.New(Env{}).(*loadFed)
		var eps []*endpoint.Endpoint
		var controls []*endpoint.Control
		now := time.Now()
		for i := range n {
			ep, c := endpoint.New(endpoint.Info{Addr: string(rune('A' + i))}, now)
			eps, controls = append(eps, ep), append(controls, c)
		}
		b.Update(eps)
		for range 500 {
			for i, ep := range eps {
				r, k := endpoint.LoadReport{InFlight: 2, Limit: 4, ServiceTime: 10 * time.Millisecond}, 1
				if i == 0 {
					r.ServiceTime, k = time.Microsecond, times
				}
				for range k {
					controls[i].Report(r, now)
					b.Observe(ep, outcome.Result{
						Outcome: outcome.Outcome{Class: outcome.Success}, At: now, Latency: 10 * time.Millisecond, Reported: true,
					})
				}
			}
		}
		return time.Duration(math.Float64frombits(b.usual.service.Load()))
	}
	once := usually(1)
	assert.Greater(t, once, 7*time.Millisecond)
	assert.InEpsilon(t, once, usually(often), .2)
}

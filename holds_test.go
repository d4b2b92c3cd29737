package tulle_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// Whatever was configured and whatever failed in between: when all works again,
// time passes and calls come, nothing is left out any more, and no breaker is
// open.
func TestNothingIsHeldForEver(t *testing.T) { wanders(t, 0, 12) }

// wanders goes through the histories of the seeds from first until end.
func wanders(t *testing.T, first, end uint64) {
	for seed := first; seed < end; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(w *world) { wander(w, seed) })
		})
	}
}

func wander(w *world, seed uint64) {
	rng := chance{seeded(seed)}
	const n = 6
	type node struct {
		status  atomic.Int64
		leaving atomic.Bool
		delay   atomic.Int64
	}
	nodes := make([]*node, n)
	var infos []endpoint.Info
	for i := range n {
		x := new(node)
		x.status.Store(200)
		nodes[i] = x
		addr := fmt.Sprintf("10.0.0.%d:80", i+1)
		w.net.Serve(w.T, addr, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if x.leaving.Load() {
				rw.Header().Set(endpoint.LoadReportHeader, string(endpoint.LoadReport{Leaving: true}.AppendText(nil)))
			}
			time.Sleep(time.Duration(x.delay.Load()))
			rw.WriteHeader(int(x.status.Load()))
		}))
		infos = append(infos, endpoint.Info{Addr: addr, Labels: map[string]string{"half": fmt.Sprint(i % 2)}, Zone: []string{"a", "b"}[i%2]})
	}
	src := newSource()
	src.set(infos...)
	config := func() tulle.Config {
		c := from(src)
		s := &c.Services[0]
		s.MaxWait = time.Second
		if rng.IntN(2) == 0 {
			s.Protocol = tulle.H2C
		}
		if rng.IntN(3) == 0 {
			s.Spread.Panic = -1
		}
		s.Subsets = []tulle.Subset{{Name: "half", Labels: map[string]string{"half": "0"}}}
		mode := func() outcome.Mode { return outcome.Mode(rng.IntN(4) / 3) }
		if rng.IntN(3) > 0 {
			c.Policies.Outliers = &health.Outliers{Mode: mode(), Consecutive5xx: 2 + rng.IntN(3)}
		}
		if rng.IntN(3) > 0 {
			c.Policies.EndpointBreaker = &breaker.Policy{Mode: mode(), Consecutive: 2 + rng.IntN(4), HalfOpenCalls: 1 + rng.IntN(3), SlowCall: time.Second, MinCalls: 3}
		}
		if rng.IntN(3) > 0 {
			c.Policies.Breaker = &breaker.Policy{Mode: mode(), FailureRate: .8, MinCalls: 10}
		}
		if rng.IntN(3) == 0 {
			c.Policies.Probe = &health.Probe{Mode: mode(), Path: "/healthz", Interval: 2 * time.Second}
		}
		if rng.IntN(2) == 0 {
			c.Policies.Retry = &retry.Policy{}
		}
		c.Policies.Timeout = 3 * time.Second
		return c
	}
	c := config()
	m := w.mesh(c)
	call := func() {
		ctx, cancel := context.WithTimeout(w.Context(), time.Duration(50+rng.IntN(3000))*time.Millisecond)
		defer cancel()
		method := []string{"GET", "GET", "GET", "POST"}[rng.IntN(4)]
		_, _ = do(ctx, m, method, "http://reviews/", "")
	}
	for range 60 {
		switch rng.IntN(9) {
		case 0:
			c = config()
			require.NoError(w, m.Apply(c))
		case 1:
			from := rng.IntN(n)
			src.set(infos[from : from+1+rng.IntN(n-from)]...)
		case 2, 3:
			nodes[rng.IntN(n)].status.Store(int64([]int{200, 200, 500, 503, 429}[rng.IntN(5)]))
		case 4:
			nodes[rng.IntN(n)].leaving.Store(rng.IntN(2) == 0)
		case 5:
			nodes[rng.IntN(n)].delay.Store(int64(rng.IntN(2)) * int64(2*time.Second))
		case 6:
			time.Sleep(time.Duration(rng.IntN(20000)) * time.Millisecond)
		default:
			for range rng.IntN(20) {
				if rng.IntN(2) == 0 {
					go call()
					time.Sleep(10 * time.Millisecond)
				} else {
					call()
				}
			}
		}
	}
	time.Sleep(10 * time.Second)
	src.set(infos...)
	for _, x := range nodes {
		x.status.Store(200)
		x.leaving.Store(false)
		x.delay.Store(0)
	}
	for range 700 {
		_, _ = get(w.Context(), m, "http://reviews/")
		time.Sleep(time.Second)
	}
	synctest.Wait()
	s := service(w, m, "reviews")
	for _, e := range s.Endpoints {
		assert.Empty(w, e.Holds, e.Addr)
		if e.Outliers != nil {
			assert.False(w, e.Outliers.Out, e.Addr)
		}
		if e.Breaker != nil {
			assert.Equal(w, breaker.Closed, e.Breaker.State, e.Addr)
		}
	}
	for _, b := range s.Breakers {
		assert.Equal(w, breaker.Closed, b.State)
	}
	_, err := get(w.Context(), m, "http://reviews/")
	assert.NoError(w, err)
}

// chance may be asked by many at once.
type chance struct{ draw func() uint64 }

func (c chance) IntN(n int) int { return int(c.draw() % uint64(n)) }

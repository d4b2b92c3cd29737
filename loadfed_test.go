package tulle_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/internal/oteltest"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// shared is a fleet of servers, each with a mesh of its own, one of which
// others keep busy.
type shared struct {
	*world
	addrs  []string
	served map[string]int
	mu     sync.Mutex
	others sync.WaitGroup
}

// share starts the fleet. Who is busy has three requests of others for each
// that it works on.
func share(w *world, n int, p overload.Policy) *shared {
	s := &shared{world: w, served: map[string]int{}}
	for i := range n {
		addr := fmt.Sprintf("10.0.0.%d:80", i+1)
		s.addrs = append(s.addrs, addr)
		server, err := tulle.New(tulle.Config{Inbound: tulle.Inbound{Overload: &p}})
		require.NoError(w, err)
		w.Cleanup(func() { assert.NoError(w, server.Shutdown(context.Background())) })
		handler := server.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/long" {
				time.Sleep(time.Minute)
				return
			}
			s.mu.Lock()
			s.served[addr]++
			s.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
		}))
		w.net.Serve(w.T, addr, handler)
	}
	others := w.mesh(one(s.addrs[0]))
	for range 12 {
		s.others.Go(func() { w.get(others, "http://reviews/long") })
	}
	synctest.Wait()
	return s
}

// calls makes n calls, one after the other, and returns which part of them went
// to the server that is busy.
func (s *shared) calls(m *tulle.Mesh, n int) float64 {
	clear(s.served)
	for range n {
		s.get(m, "http://reviews/")
	}
	return float64(s.served[s.addrs[0]]) / float64(n)
}

func picksOf(counts []balancer.PickCount) (all uint64, of map[string]uint64) {
	of = map[string]uint64{}
	for _, c := range counts {
		of[c.Reason] = c.Picks
		all += c.Picks
	}
	return all, of
}

// What servers say of their load leads calls away from one that others keep
// busy, of which the caller itself sees nothing: unless told otherwise, and for
// as long as servers say it. State and metrics tell what picks were based on.
func TestCallsFollowTheLoadThatServersReport(t *testing.T) {
	inBubble(t, func(w *world) {
		s := share(w, 4, overload.Policy{MaxInFlight: 4, Mode: outcome.Observe})
		defer s.others.Wait()
		metrics := new(oteltest.Metrics)
		c := one(s.addrs...)
		c.Services[0].Subsets = []tulle.Subset{{Name: "none", Labels: map[string]string{"version": "v1"}}}
		m := w.mesh(c, tulle.WithMeterProvider(metrics))
		s.calls(m, 50)
		assert.Less(w, s.calls(m, 1000), .05)

		state := service(w, m, "reviews")
		all, of := picksOf(state.Picks)
		assert.EqualValues(w, 1050, all)
		assert.Greater(w, of[balancer.PickToken], all*9/10)
		require.Len(w, state.Subsets, 1)
		none, _ := picksOf(state.Subsets[0].Picks)
		assert.Zero(w, none)
		rec := httptest.NewRecorder()
		m.Debug().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		assert.Contains(w, rec.Body.String(), fmt.Sprintf("picks: %d token", of[balancer.PickToken]))
		points, err := metrics.Collect()
		require.NoError(w, err)
		assert.EqualValues(w, of[balancer.PickToken], points["tulle.balancer.picks{tulle.reason=token,tulle.service=reviews}"])

		c.Services[0].Balancer = balancer.LeastRequest{}
		require.NoError(w, m.Apply(c))
		assert.InDelta(w, .25, s.calls(m, 1000), .1, "negative control")
		assert.Empty(w, service(w, m, "reviews").Picks)
	})
	inBubble(t, func(w *world) {
		s := share(w, 4, overload.Policy{MaxInFlight: 4, Mode: outcome.Observe, NoReport: true})
		defer s.others.Wait()
		m := w.mesh(one(s.addrs...))
		s.calls(m, 200)
		all, of := picksOf(service(w, m, "reviews").Picks)
		assert.EqualValues(w, 200, all)
		assert.Zero(w, of[balancer.PickToken], "nobody reports")
	})
}

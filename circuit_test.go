package tulle

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// Each incident of an endpoint's breaker is told of at its beginning and at its
// end, however often the feeds are looked at meanwhile.
func TestNoIncidentIsLost(t *testing.T) {
	var opened, closed atomic.Int64
	m, err := New(Config{
		Services: []Service{{Name: "reviews", Resolver: discovery.Addrs("10.0.0.1:80", "10.0.0.2:80")}},
		Policies: Policies{EndpointBreaker: &breaker.Policy{Consecutive: 1, HalfOpenCalls: 1, OpenFor: time.Microsecond}},
	}, WithHooks(Hooks{BreakerChanged: func(e breaker.Event) {
		if e.Open {
			opened.Add(1)
		} else {
			closed.Add(1)
		}
	}}))
	require.NoError(t, err)
	require.NoError(t, m.Ready(t.Context()))
	s := m.plan.Load().services["reviews"]
	target := s.view.Load().members[0]
	f := target.feeds.Load()
	stop, built := make(chan struct{}), make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.mu.Lock()
				s.reconcileLocked(s.view.Load().members, time.Now()) // as the service's goroutine does
				s.mu.Unlock()
				select {
				case built <- struct{}{}:
				default:
				}
			}
		}
	})
	const rounds = 6000
	finish := func(c outcome.Class) {
		for {
			permit, err := f.breaker.Allow(time.Now())
			if err == nil {
				permit.Done(outcome.Result{Outcome: outcome.Outcome{Class: c}, At: time.Now()})
				return
			}
			runtime.Gosched()
		}
	}
	for range rounds {
		finish(outcome.ServerError)
		for !held(target.Availability(), endpoint.BreakerOpen) {
			<-built
		}
		finish(outcome.Success)
		for held(target.Availability(), endpoint.BreakerOpen) {
			<-built
		}
		require.NoError(t, m.alerts.wait(t.Context()))
	}
	close(stop)
	wg.Wait()
	require.NoError(t, m.Shutdown(context.Background()))
	assert.EqualValues(t, rounds, opened.Load(), "beginnings (less %d dropped)", m.alerts.dropped)
	assert.EqualValues(t, rounds, closed.Load(), "ends")
}

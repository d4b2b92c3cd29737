package tulle_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

func from(r discovery.Resolver) tulle.Config {
	return tulle.Config{Services: []tulle.Service{{Name: "reviews", Resolver: r}}}
}

// A call that comes before discovery has answered waits, and goes on as soon
// as there is something to pick.
func TestCallsWaitForEndpoints(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		src := newSource()
		m := w.mesh(from(src))
		time.AfterFunc(5*time.Second, func() { src.fail(errors.New("registry is down")) })
		time.AfterFunc(10*time.Second, func() { src.set(endpoint.Info{Addr: "10.0.0.1:80", NotReady: true}) })
		time.AfterFunc(15*time.Second, func() { src.set(endpoint.Info{Addr: "10.0.0.1:80"}) })
		begin := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := get(w.Context(), m, "http://reviews/")
				assert.NoError(w, err)
				assert.Equal(w, 15*time.Second, time.Since(begin))
			})
		}
		wg.Wait()
	})
}

// One who waited in vain learns the first cause, not the last.
func TestWaitingInVainTellsTheFirstCause(t *testing.T) {
	first, second := errors.New("no such zone"), errors.New("later trouble")
	for name, row := range map[string]struct {
		say     func(*source)
		maxWait time.Duration
		waited  time.Duration
		text    string
		is      []error
	}{
		"no answer":    {func(*source) {}, 0, time.Second, "no endpoint is available: none is known; waited until: context deadline exceeded", []error{context.DeadlineExceeded}},
		"first cause":  {func(s *source) { s.fail(first); s.fail(second) }, 0, time.Second, "discovery: no such zone", []error{first, context.DeadlineExceeded}},
		"none there":   {func(s *source) { s.set() }, 0, time.Second, "none is known", nil},
		"held back":    {func(s *source) { s.set(endpoint.Info{Addr: "10.0.0.1:80", NotReady: true}) }, 0, time.Second, "1 known, 1 held back", nil},
		"recovered":    {func(s *source) { s.fail(first); s.set(); s.fail(second) }, 0, time.Second, "discovery: later trouble", []error{second}},
		"shorter wait": {func(s *source) { s.fail(first) }, 300 * time.Millisecond, 300 * time.Millisecond, "no such zone; waited as long as the service allows", []error{first}},
		"no wait":      {func(s *source) { s.fail(first) }, -1, 0, "no such zone", []error{first}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				src := newSource()
				row.say(src)
				c := from(src)
				c.Services[0].MaxWait = row.maxWait
				m := w.mesh(c)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(w.Context(), time.Second)
				defer cancel()
				begin := time.Now()
				_, err := get(ctx, m, "http://reviews/")
				e := asError(w, err)
				assert.Equal(w, outcome.NoEndpoint, e.Reason)
				assert.Equal(w, row.waited, time.Since(begin))
				assert.Contains(w, e.Error(), row.text)
				for _, is := range row.is {
					assert.ErrorIs(w, err, is)
				}
			})
		})
	}
}

// What works goes on working while discovery fails.
func TestDiscoveryThatFailsChangesNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		src := newSource()
		src.set(endpoint.Info{Addr: "10.0.0.1:80"})
		m := w.mesh(from(src))
		w.get(m, "http://reviews/")
		src.fail(errors.New("registry is down"))
		synctest.Wait()
		for range 100 {
			require.Equal(w, 200, w.get(m, "http://reviews/").status)
		}
		d := service(w, m, "reviews").Discovery
		assert.Equal(w, "registry is down", d.Error)
		assert.True(w, d.Answered)
	})
}

// brief is a resolver that ends its watch after it has said one thing, or
// nothing.
type brief struct{ addr string }

func (b brief) Watch(context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		if b.addr != "" {
			yield([]endpoint.Info{{Addr: b.addr}}, nil)
		}
	}
}

// A resolver that ends its watch has failed: what it said stays in use, and
// who waits for more is told.
func TestAResolverThatEndsHasFailed(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		for addr, reached := range map[string]bool{"": false, "10.0.0.1:80": true} {
			c := from(brief{addr})
			c.Services[0].MaxWait = time.Second
			m := w.mesh(c)
			synctest.Wait()
			d := service(w, m, "reviews").Discovery
			assert.Equal(w, "the resolver has ended its watch", d.Error)
			assert.Equal(w, reached, d.Answered)
			_, err := get(w.Context(), m, "http://reviews/")
			if reached {
				assert.NoError(w, err)
			} else {
				assert.ErrorContains(w, err, "discovery: the resolver has ended its watch")
			}
		}
	})
}

// An endpoint that is taken away finishes its calls; its connections close.
func TestRemovedEndpointFinishesItsCalls(t *testing.T) {
	for _, protocol := range []tulle.Protocol{tulle.HTTP1, tulle.H2C} {
		t.Run(protocol.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{}, tulletest.Step{Body: "the whole of it", BodyDelay: time.Minute})
				w.serve("10.0.0.2:80", tulletest.Step{})
				src := newSource()
				src.set(endpoint.Info{Addr: "10.0.0.1:80"})
				c := from(src)
				c.Services[0].Protocol = protocol
				m := w.mesh(c)
				w.get(m, "http://reviews/")
				resp, err := m.Client().Get("http://reviews/")
				require.NoError(w, err)
				src.set(endpoint.Info{Addr: "10.0.0.2:80"})
				synctest.Wait()
				w.get(m, "http://reviews/")
				require.Len(w, service(w, m, "reviews").Endpoints, 1)
				require.Equal(w, 1, w.net.Open("10.0.0.1:80"), "the call under way keeps its connection")
				a, err := read(resp, nil)
				require.NoError(w, err)
				assert.Equal(w, "the whole of it", a.body)
				time.Sleep(2 * time.Second)
				assert.Zero(w, w.net.Open("10.0.0.1:80"), "no connection is left")
			})
		})
	}
}

// Without the removal the idle connection stays, which shows that the test
// above can fail.
func TestKeptEndpointKeepsItsConnection(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		m := w.mesh(one("10.0.0.1:80"))
		w.get(m, "http://reviews/")
		time.Sleep(2 * time.Second)
		assert.Equal(w, 1, w.net.Open("10.0.0.1:80"))
		time.Sleep(90 * time.Second)
		assert.Zero(w, w.net.Open("10.0.0.1:80"), "for 90 s")
	})
}

// Endpoints keep their statistics for as long as their address is known, in
// whatever order and with whatever labels it comes.
func TestStatisticsSurviveWhatDiscoverySays(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		w.serve("10.0.0.2:80", tulletest.Step{})
		src := newSource()
		src.set(endpoint.Info{Addr: "10.0.0.1:80"}, endpoint.Info{Addr: "10.0.0.2:80"})
		m := w.mesh(from(src))
		for range 50 {
			w.get(m, "http://reviews/")
		}
		before := service(w, m, "reviews")
		src.set(endpoint.Info{Addr: "10.0.0.2:80", Weight: 3}, endpoint.Info{Addr: "10.0.0.1:80", Labels: map[string]string{"v": "1"}})
		synctest.Wait()
		after := service(w, m, "reviews")
		for i := range before.Endpoints {
			assert.Equal(w, before.Endpoints[i].OK, after.Endpoints[i].OK)
			assert.Equal(w, before.Endpoints[i].Known, after.Endpoints[i].Known)
		}
		assert.EqualValues(w, 3, after.Endpoints[1].Weight)
		assert.Equal(w, 2, w.net.Opened("10.0.0.1:80")+w.net.Opened("10.0.0.2:80"), "connections too")
	})
}

func TestBadEndpointsAreLeftOut(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		src := newSource()
		src.set(endpoint.Info{Addr: "nonsense"}, endpoint.Info{Addr: "10.0.0.1:80"}, endpoint.Info{Addr: "10.0.0.1:80", Weight: 7})
		m := w.mesh(from(src))
		w.get(m, "http://reviews/")
		s := service(w, m, "reviews")
		require.Len(w, s.Endpoints, 1)
		assert.EqualValues(w, 1, s.Endpoints[0].Weight, "the first of an address counts")
	})
}

// A newcomer gets its share of the calls, neither nothing nor all of them.
func TestNewcomerGetsItsShare(t *testing.T) {
	inBubble(t, func(w *world) {
		src := newSource()
		var infos []endpoint.Info
		for i := range 5 {
			addr := fmt.Sprintf("10.0.0.%d:80", i+1)
			w.serve(addr, tulletest.Step{Delay: 10 * time.Millisecond})
			infos = append(infos, endpoint.Info{Addr: addr})
		}
		src.set(infos[:4]...)
		m := w.mesh(from(src))
		load := func(calls int) {
			var wg sync.WaitGroup
			for range calls {
				wg.Go(func() { _, err := get(w.Context(), m, "http://reviews/"); assert.NoError(w, err) })
				time.Sleep(time.Millisecond)
			}
			wg.Wait()
		}
		load(200)
		src.set(infos...)
		synctest.Wait()
		load(500)
		e := endpointAt(w, service(w, m, "reviews"), "10.0.0.5:80")
		assert.Greater(w, e.Started, uint64(50), "half of its share")
		assert.Less(w, e.Started, uint64(200), "twice its share")
	})
}

package tulle_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// An endpoint that says that it is leaving gets no more calls, is used where
// there is no other, and is tried again when it should be gone.
func TestLeavingIsHonouredAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(2)
		var leaving atomic.Bool
		var served atomic.Int64
		w.net.Serve(w.T, "10.0.0.9:80", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			served.Add(1)
			if leaving.Load() {
				rw.Header().Set(endpoint.LoadReportHeader, string(endpoint.LoadReport{Leaving: true}.AppendText(nil)))
			}
		}))
		src := newSource()
		src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]}, endpoint.Info{Addr: "10.0.0.9:80"})
		c := fair(from(src))
		c.Policies.Retry = &retry.Policy{}
		m := w.mesh(c)
		w.calls(m, 30)
		require.EqualValues(w, 10, served.Load())
		leaving.Store(true)
		w.calls(m, 30)
		require.EqualValues(w, 11, served.Load(), "one more call, which learnt it")
		e := endpointAt(w, service(w, m, "reviews"), "10.0.0.9:80")
		require.Equal(w, []endpoint.Hold{endpoint.Leaving}, holds(e))

		src.set(endpoint.Info{Addr: "10.0.0.9:80"})
		synctest.Wait()
		require.Zero(w, w.calls(m, 10), "it serves while there is no other")
		src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]}, endpoint.Info{Addr: "10.0.0.9:80"})
		synctest.Wait()
		leaving.Store(false)
		time.Sleep(2 * time.Second)
		w.calls(m, 30)
		require.Empty(w, endpointAt(w, service(w, m, "reviews"), "10.0.0.9:80").Holds, "another process has its address")
	})
}

// Where the mesh repeats nothing, no call is soon spent on an endpoint that is
// likely to be gone.
func TestNoCallIsSpentOnAnEndpointThatLeft(t *testing.T) {
	for _, repeats := range []bool{false, true} {
		inBubble(t, func(w *world) {
			addrs, _ := w.fleet(2)
			var gone atomic.Bool
			var asked atomic.Int64
			w.net.Serve(w.T, "10.0.0.9:80", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				if gone.Load() {
					asked.Add(1)
					panic(http.ErrAbortHandler)
				}
				rw.Header().Set(endpoint.LoadReportHeader, string(endpoint.LoadReport{Leaving: true}.AppendText(nil)))
			}))
			c := fair(one(append(addrs, "10.0.0.9:80")...))
			if repeats {
				c.Policies.Retry = &retry.Policy{}
			}
			m := w.mesh(c)
			require.Zero(w, w.calls(m, 30))
			gone.Store(true)
			failed := 0
			for range 20 {
				time.Sleep(time.Second)
				failed += w.calls(m, 10)
			}
			require.Zero(w, failed)
			require.Equal(w, repeats, asked.Load() > 0)
		})
	}
}

// What an external service says of itself is not believed.
func TestLeavingOfExternalServicesIsIgnored(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Header: http.Header{
			endpoint.LoadReportHeader: {string(endpoint.LoadReport{Leaving: true}.AppendText(nil))},
		}})
		c := one("10.0.0.1:80")
		c.Services[0].External = true
		m := w.mesh(c)
		w.calls(m, 3)
		require.Empty(w, service(w, m, "reviews").Endpoints[0].Holds)
	})
}

// A trial that is answered with the word that the endpoint is leaving still
// leaves it out: no other call goes there.
func TestATrialThatSaysLeavingAgainDoesNotReturn(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(2)
		var served atomic.Int64
		w.net.Serve(w.T, "10.0.0.9:80", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			served.Add(1)
			rw.Header().Set(endpoint.LoadReportHeader, string(endpoint.LoadReport{Leaving: true}.AppendText(nil)))
		}))
		m := w.mesh(fair(one(append(addrs, "10.0.0.9:80")...)))
		w.calls(m, 30)
		require.EqualValues(w, 1, served.Load())
		time.Sleep(31 * time.Second)
		w.calls(m, 1)
		require.EqualValues(w, 2, served.Load(), "the trial")
		require.Equal(w, []endpoint.Hold{endpoint.Leaving}, holds(endpointAt(w, service(w, m, "reviews"), "10.0.0.9:80")))
		w.calls(m, 30)
		require.EqualValues(w, 2, served.Load(), "the trial only")
	})
}

// What an endpoint says in answer to a copy leaves it out no more than other
// results of copies do.
func TestCopiesLeaveNothingOut(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(1)
		w.serve("10.0.0.9:80", tulletest.Step{Header: http.Header{
			endpoint.LoadReportHeader: {string(endpoint.LoadReport{Leaving: true}.AppendText(nil))},
		}})
		c := one(addrs...)
		c.Services = append(c.Services, tulle.Service{Name: "shadow", Resolver: at("10.0.0.9:80")})
		c.Routes = []tulle.Route{{Name: "r", Match: prefix("/"), Split: to(tulle.Destination{Service: "reviews"}), Mirrors: []tulle.Mirror{{Service: "shadow"}}}}
		m := w.mesh(c)
		w.calls(m, 3)
		time.Sleep(time.Second)
		assert.Empty(w, holds(service(w, m, "shadow").Endpoints[0]))
	})
}

// A trial that fails leaves the endpoint where it is, whether or not it says
// once more that it is leaving.
func TestATrialThatFailsDoesNotEndLeaving(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(2)
		leaves := http.Header{endpoint.LoadReportHeader: {string(endpoint.LoadReport{Leaving: true}.AppendText(nil))}}
		s := w.serve("10.0.0.9:80", tulletest.Step{Header: leaves}, tulletest.Step{Status: 500}, tulletest.Step{Status: 429}, tulletest.Step{})
		m := w.mesh(fair(one(append(addrs, "10.0.0.9:80")...)))
		e := func() tulle.EndpointState { return endpointAt(w, service(w, m, "reviews"), "10.0.0.9:80") }
		w.calls(m, 10)
		for n := 2; n <= 3; n++ {
			time.Sleep(31 * time.Second)
			w.calls(m, 10)
			require.Equal(w, n, s.Count(), "one trial")
			require.Equal(w, []endpoint.Hold{endpoint.Leaving}, holds(e()))
		}
		time.Sleep(31 * time.Second)
		w.calls(m, 1)
		require.Empty(w, holds(e()))
	})
}

package tulle_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

// A probe that fails leaves the endpoint out before calls find out.
func TestProbesLeaveOutWhatFailsThem(t *testing.T) {
	inBubble(t, func(w *world) {
		sick := new(atomic.Bool)
		var served atomic.Int64
		serve := func(addr string, sick *atomic.Bool) {
			w.net.Serve(w.T, addr, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path != "/healthz":
					if sick != nil {
						served.Add(1)
					}
				case sick != nil && sick.Load():
					rw.WriteHeader(503)
				}
			}))
		}
		serve("10.0.0.1:80", sick)
		serve("10.0.0.2:80", nil)
		serve("10.0.0.3:80", nil)
		c := fair(one("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"))
		c.Policies.Probe = &health.Probe{Path: "/healthz", Interval: time.Second}
		m := w.mesh(c)
		time.Sleep(2 * time.Second)
		w.calls(m, 30)
		require.EqualValues(w, 10, served.Load())
		require.Zero(w, service(w, m, "reviews").Endpoints[0].Started-10, "probes are not counted as calls")
		sick.Store(true)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		e := service(w, m, "reviews").Endpoints[0]
		require.Equal(w, []endpoint.Hold{endpoint.Unhealthy}, holds(e))
		require.Contains(w, e.Holds[0].Reason, "503")
		w.calls(m, 30)
		require.EqualValues(w, 10, served.Load())
		sick.Store(false)
		time.Sleep(3 * time.Second)
		w.calls(m, 30)
		require.EqualValues(w, 20, served.Load())

		c.Policies.Probe = &health.Probe{Path: "/healthz", Interval: time.Second, Mode: outcome.Observe}
		sick.Store(true)
		require.NoError(w, m.Apply(c))
		time.Sleep(5 * time.Second)
		w.calls(m, 30)
		require.EqualValues(w, 30, served.Load(), "observed only")
		require.NotZero(w, service(w, m, "reviews").Endpoints[0].Probe.Failures)
		c.Policies.Probe = nil
		require.NoError(w, m.Apply(c))
		require.Nil(w, service(w, m, "reviews").Endpoints[0].Probe)
	})
}

// Endpoints that wait for their first probe are no trouble to warn of.
func TestTheFirstProbeIsNoWarning(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(3)
		c := one(addrs...)
		c.Policies.Probe = &health.Probe{Path: "/healthz"}
		var log syncBuffer
		m := w.mesh(c, tulle.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		time.Sleep(time.Minute)
		w.calls(m, 10)
		assert.NotContains(w, log.String(), "level=WARN")
	})
}

// Probes and outlier detection together leave the last one in.
func TestProbesAndOutliersTogetherLeaveOneIn(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		c := fair(one(append(addrs, "10.0.0.9:80")...)) // nobody listens at the last
		c.Services[0].Spread.Panic = -1
		c.Policies.Outliers = &health.Outliers{BaseEjectionTime: time.Hour}
		c.Policies.Probe = &health.Probe{Interval: time.Second}
		src := newSource()
		src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: "10.0.0.9:80"})
		c.Services[0].Resolver = src
		m := w.mesh(c)
		time.Sleep(10 * time.Second)
		all[0].status.Store(500)
		w.calls(m, 5)
		all[0].status.Store(200)
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		_, err := get(ctx, m, "http://reviews/")
		assert.NoError(w, err)
	})
}

// A Probe of all services is not sent to those of others.
func TestExternalServicesAreNotProbedByInheritance(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80", tulletest.Step{})
		c := one("10.0.0.1:80")
		c.Services[0].External = true
		c.Policies.Probe = &health.Probe{Path: "/healthz"}
		w.mesh(c)
		time.Sleep(time.Minute)
		assert.Zero(w, s.Count())
	})
}

// A probe that can never be made is a fault of the Config.
func TestProbesThatCannotBeMadeAreFaults(t *testing.T) {
	for name, edit := range map[string]func(*tulle.Service){
		"no host":           func(s *tulle.Service) { s.Name, s.Hosts = "my reviews", []string{"*.reviews.test"} },
		"http2 without tls": func(s *tulle.Service) { s.Protocol = tulle.HTTP2 },
	} {
		t.Run(name, func(t *testing.T) {
			c := one("10.0.0.1:80")
			edit(&c.Services[0])
			c.Policies.Probe = &health.Probe{Path: "/healthz"}
			assert.Error(t, c.Validate())
		})
	}
}

// What a probe has in its query is no more for everyone's eyes than what
// routes have.
func TestTheQueryOfAProbeIsRedacted(t *testing.T) {
	inBubble(t, func(w *world) {
		w.fleet(1)
		c := one("10.0.0.1:80")
		c.Policies.Probe = &health.Probe{Path: "/healthz?access_token=s3cret"}
		m := w.mesh(c)
		for _, format := range []string{"json", "text"} {
			rec := &recorder{header: http.Header{}}
			req, _ := http.NewRequest("GET", "/?format="+format, nil)
			m.Debug().ServeHTTP(rec, req)
			assert.NotContains(w, rec.String(), "s3cret", format)
		}
	})
}

type recorder struct {
	strings.Builder
	header http.Header
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(int) {}

// An endpoint that probes find well again is back at once, whatever calls had
// to say of it before. Without probes it stays out for its time.
func TestProbesEndEjections(t *testing.T) {
	for _, probed := range []bool{true, false} {
		t.Run(fmt.Sprintf("probed %v", probed), func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(3)
				c := fair(one(addrs...))
				c.Policies.Outliers = &health.Outliers{BaseEjectionTime: time.Hour, MaxEjectionTime: time.Hour}
				if probed {
					c.Policies.Probe = &health.Probe{Path: "/healthz", Interval: time.Second, UnhealthyThreshold: 5}
				}
				m := w.mesh(c)
				time.Sleep(2 * time.Second)
				all[0].status.Store(500)
				w.calls(m, 30)
				require.Equal(w, []endpoint.Hold{endpoint.Ejected}, holds(service(w, m, "reviews").Endpoints[0]))
				time.Sleep(10 * time.Second)
				if probed {
					require.Equal(w, []endpoint.Hold{endpoint.Unhealthy, endpoint.Ejected}, holds(service(w, m, "reviews").Endpoints[0]))
				}
				all[0].status.Store(200)
				time.Sleep(10 * time.Second)
				assert.Equal(w, probed, service(w, m, "reviews").Endpoints[0].Available)
			})
		})
	}
}

// The first answer to a probe that says that all is well ends no ejection that
// came before: it is no news.
func TestTheFirstProbeEndsNoEjection(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		c := fair(one(addrs...))
		c.Policies.Outliers = &health.Outliers{BaseEjectionTime: time.Hour, MaxEjectionTime: time.Hour}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 30)
		c.Policies.Probe = &health.Probe{Interval: time.Second} // a connection is enough
		require.NoError(w, m.Apply(c))
		time.Sleep(10 * time.Second)
		assert.Equal(w, []endpoint.Hold{endpoint.Ejected}, holds(service(w, m, "reviews").Endpoints[0]))
	})
}

// Endpoints that calls know go on while they wait for their first probe; a new
// one waits for the answer.
func TestOnlyNewEndpointsWaitForTheirFirstProbe(t *testing.T) {
	inBubble(t, func(w *world) {
		for _, addr := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
			w.net.Serve(w.T, addr, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/healthz" {
					time.Sleep(900 * time.Millisecond)
				}
			}))
		}
		src := newSource()
		src.set(endpoint.Info{Addr: "10.0.0.1:80"})
		c := from(src)
		m := w.mesh(c)
		w.calls(m, 1)
		c.Policies.Probe = &health.Probe{Path: "/healthz"}
		require.NoError(w, m.Apply(c))
		src.set(endpoint.Info{Addr: "10.0.0.1:80"}, endpoint.Info{Addr: "10.0.0.2:80"})
		synctest.Wait()
		both := service(w, m, "reviews").Endpoints
		require.Empty(w, holds(both[0]))
		require.Equal(w, []endpoint.Hold{endpoint.Unhealthy}, holds(both[1]))
		require.Equal(w, "not probed yet", both[1].Holds[0].Reason)
		begin := time.Now()
		w.calls(m, 10)
		require.Zero(w, time.Since(begin))
		time.Sleep(20 * time.Second)
		require.Empty(w, holds(service(w, m, "reviews").Endpoints[1]))
	})
}

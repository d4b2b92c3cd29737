package tulle_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
)

// Shutdown is over when its context is, whatever a probe does.
func TestShutdownDoesNotWaitForAProbe(t *testing.T) {
	inBubble(t, func(w *world) {
		release := make(chan struct{})
		c := one("10.0.0.1:80")
		c.Policies.Probe = &health.Probe{}
		m := w.mesh(c, tulle.WithDialer(func(context.Context, string, string) (net.Conn, error) {
			<-release
			return nil, net.ErrClosed
		}))
		time.AfterFunc(time.Hour, func() { close(release) })
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		err := m.Shutdown(ctx)
		assert.ErrorIs(w, err, context.DeadlineExceeded)
		assert.Equal(w, time.Second, time.Since(begin))
		time.Sleep(time.Hour)
	})
}

// The connections of probes are closed with the service: at once, or when the
// probe that is under way has ended.
func TestConnectionsOfProbesAreClosed(t *testing.T) {
	for _, protocol := range []tulle.Protocol{tulle.HTTP1, tulle.H2C} {
		for _, underWay := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, under way %v", protocol, underWay), func(t *testing.T) {
				inBubble(t, func(w *world) {
					w.fleet(1)
					var asked atomic.Int64
					w.net.Serve(w.T, "10.0.0.1:9000", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
						asked.Add(1)
						time.Sleep(500 * time.Millisecond)
						asked.Add(1)
					}))
					c := one("10.0.0.1:80")
					c.Services[0].Protocol = protocol
					c.Policies.Probe = &health.Probe{Path: "/healthz", Port: 9000, Interval: time.Second}
					m := w.mesh(c)
					for asked.Load() < 4 || asked.Load()%2 == 1 != underWay {
						time.Sleep(10 * time.Millisecond)
					}
					require.NotZero(w, w.net.Open("10.0.0.1:9000"))
					require.NoError(w, m.Apply(tulle.Config{}))
					if underWay {
						time.Sleep(5 * time.Second)
					}
					synctest.Wait()
					assert.Zero(w, w.net.Open("10.0.0.1:9000"))
				})
			})
		}
	}
}

// Nothing is probed of a service that is gone, also when discovery had
// something new just before.
func TestAServiceThatIsGoneIsNotProbed(t *testing.T) {
	inBubble(t, func(w *world) {
		late := 0
		for range 20 {
			var gone, probed atomic.Bool
			src := newSource()
			src.set(endpoint.Info{Addr: "10.0.0.1:80"})
			c := from(src)
			c.Policies.Probe = &health.Probe{Interval: time.Second}
			h := &slowHandler{slog.DiscardHandler, make(chan struct{}), make(chan struct{})}
			m := w.mesh(c, tulle.WithLogger(slog.New(enabled{h})), tulle.WithDialer(func(context.Context, string, string) (net.Conn, error) {
				if gone.Load() {
					probed.Store(true)
				}
				return nil, net.ErrClosed
			}))
			synctest.Wait()
			src.set(endpoint.Info{Addr: "10.0.0.1:80"}, endpoint.Info{Addr: "no address"})
			<-h.entered // the service's goroutine writes to the log
			src.set(endpoint.Info{Addr: "10.0.0.1:80"}, endpoint.Info{Addr: "10.0.0.2:80"})
			synctest.Wait()
			require.NoError(w, m.Apply(tulle.Config{}))
			h.release <- struct{}{}
			time.Sleep(5 * time.Second)
			gone.Store(true)
			time.Sleep(30 * time.Second)
			if probed.Load() {
				late++
			}
			require.NoError(w, m.Shutdown(w.Context()))
		}
		assert.Zero(w, late, "of 20 services that are gone")
	})
}

// slowHandler is a log that takes its time.
type slowHandler struct {
	slog.Handler
	entered chan struct{}
	release chan struct{}
}

func (h *slowHandler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "addr" { // an info that is not valid
			h.entered <- struct{}{}
			<-h.release
		}
		return true
	})
	return nil
}

type enabled struct{ *slowHandler }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }

// probes counts requests by path, method and protocol.
type probes struct {
	mu   sync.Mutex
	seen map[string]int
}

func (p *probes) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]int{}
	}
	p.seen[r.URL.Path+" "+r.Proto]++
}

// since forgets what was, lets a time pass and returns what was seen.
func (p *probes) since(d time.Duration) map[string]int {
	p.mu.Lock()
	p.seen = nil
	p.mu.Unlock()
	time.Sleep(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.seen)
}

// Each endpoint is asked by one probe: that of the policy in force, over the
// wire in force, and none when it is a member no more.
func TestProbesFollowTheConfig(t *testing.T) {
	for name, port := range map[string]uint16{"port of calls": 0, "port of its own": 9000} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				var p probes
				addr := "10.0.0.1:80"
				if port != 0 {
					addr = "10.0.0.1:9000"
				}
				w.net.Serve(w.T, addr, &p)
				src := newSource()
				src.set(endpoint.Info{Addr: "10.0.0.1:80"})
				c := from(src)
				c.Services[0].Protocol = tulle.HTTP1
				probe := func(path string) {
					c.Policies.Probe = &health.Probe{Path: path, Port: port, Interval: time.Second}
				}
				probe("/a")
				m := w.mesh(c)
				only := func(what string) {
					time.Sleep(3 * time.Second)
					seen := p.since(30 * time.Second)
					assert.Len(w, seen, 1, what)
					assert.InDelta(w, 30, seen[what], 4, what)
					if synctest.Wait(); port != 0 {
						assert.LessOrEqual(w, w.net.Open(addr), 1, what)
					}
				}
				only("/a HTTP/1.1")
				probe("/b")
				require.NoError(w, m.Apply(c))
				only("/b HTTP/1.1")
				c.Services[0].Protocol = tulle.H2C
				require.NoError(w, m.Apply(c))
				only("/b HTTP/2.0")
				require.NoError(w, m.Apply(c))
				only("/b HTTP/2.0")
				src.set()
				time.Sleep(3 * time.Second)
				assert.Empty(w, p.since(30*time.Second))
				assert.Zero(w, w.net.Open(addr))
				src.set(endpoint.Info{Addr: "10.0.0.1:80"})
				only("/b HTTP/2.0")
				c.Policies.Probe = nil
				require.NoError(w, m.Apply(c))
				time.Sleep(3 * time.Second)
				assert.Empty(w, p.since(30*time.Second))
			})
		})
	}
}

package tulle_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/tulletest"
)

// A change of wire leaves the calls under way their connections, which close
// with the last of them, whatever else is in flight at the same endpoint.
func TestConnectionsOfAnOldWireCloseWithItsLastCall(t *testing.T) {
	for _, protocol := range []tulle.Protocol{tulle.HTTP1, tulle.H2C} {
		t.Run(protocol.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				first, second := make(chan struct{}), make(chan struct{})
				w.net.Serve(w.T, "10.0.0.1:80", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					<-map[string]chan struct{}{"/first": first, "/second": second}[r.URL.Path]
				}))
				c := one("10.0.0.1:80")
				c.Services[0].Protocol = protocol
				m := w.mesh(c)
				var wg sync.WaitGroup
				call := func(path string) {
					wg.Go(func() { _, err := get(w.Context(), m, "http://reviews"+path); assert.NoError(w, err) })
					synctest.Wait()
				}
				call("/first")
				c.Services[0].Connection.ConnectTimeout = 2 * time.Second
				require.NoError(w, m.Apply(c))
				call("/second")
				require.Equal(w, 2, w.net.Open("10.0.0.1:80"), "one of each wire")
				close(first)
				time.Sleep(2 * time.Second)
				assert.Equal(w, 1, w.net.Open("10.0.0.1:80"), "the old one is gone, the other in use")
				close(second)
				wg.Wait()
				time.Sleep(2 * time.Second)
				assert.Equal(w, 1, w.net.Open("10.0.0.1:80"), "which stays, idle")
				m.Client().CloseIdleConnections()
				synctest.Wait()
				assert.Zero(w, w.net.Open("10.0.0.1:80"))
			})
		})
	}
}

// Under load too, changes of wire fail no call and leave no connection.
func TestRewiringUnderLoadLeavesNoConnection(t *testing.T) {
	for _, protocol := range []tulle.Protocol{tulle.HTTP1, tulle.H2C} {
		t.Run(protocol.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{Body: "in two parts", Delay: 3 * time.Millisecond, BodyDelay: 4 * time.Millisecond})
				c := one("10.0.0.1:80")
				c.Services[0].Protocol = protocol
				m := w.mesh(c)
				var wg sync.WaitGroup
				for range 8 {
					wg.Go(func() {
						for range 40 {
							_, err := get(w.Context(), m, "http://reviews/")
							assert.NoError(w, err)
						}
					})
				}
				for i := range 20 {
					time.Sleep(13 * time.Millisecond)
					c.Services[0].Connection.ConnectTimeout = time.Second + time.Duration(i)
					require.NoError(w, m.Apply(c))
				}
				wg.Wait()
				time.Sleep(2 * time.Second)
				require.Greater(w, w.net.Opened("10.0.0.1:80"), 20, "every wire has connections of its own")
				m.Client().CloseIdleConnections()
				synctest.Wait()
				assert.Zero(w, w.net.Open("10.0.0.1:80"), "connections of wires past")
				assert.Zero(w, service(w, m, "reviews").Endpoints[0].InFlight)
			})
		})
	}
}

// pooled is middleware with connections of its own.
type pooled struct {
	http.RoundTripper
	closed func()
}

func (c pooled) CloseIdleConnections() { c.closed() }

// Connections to an endpoint that is gone are closed at once and as calls end,
// each time once more a moment later, for what was still counted as busy.
func TestConnectionsAreClosedOnceMoreAfterAMoment(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Delay: 10 * time.Second})
		src := newSource()
		src.set(endpoint.Info{Addr: "10.0.0.1:80"})
		begin := time.Now()
		var mu sync.Mutex
		var closed []time.Duration
		m := w.mesh(from(src), tulle.WithAttemptMiddleware(func(next http.RoundTripper) http.RoundTripper {
			return pooled{next, func() {
				mu.Lock()
				defer mu.Unlock()
				closed = append(closed, time.Since(begin))
			}}
		}))
		var wg sync.WaitGroup
		wg.Go(func() { w.get(m, "http://reviews/") })
		time.Sleep(5 * time.Second)
		require.Empty(w, closed)
		src.set()
		wg.Wait()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(w, []time.Duration{5 * time.Second, 6 * time.Second, 10 * time.Second, 11 * time.Second}, closed)
	})
}

package tulle_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

func ask(h http.Handler) (status int, body string) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	return rec.Code, strings.TrimSpace(rec.Body.String())
}

// serveAt runs a server by Serve on the network of the world.
func (w *world) serveAt(ctx context.Context, m *tulle.Mesh, addr string, h http.Handler) <-chan error {
	w.Helper()
	l, err := w.net.Listen(addr)
	require.NoError(w, err)
	done := make(chan error, 1)
	go func() { done <- m.ServeListener(ctx, &http.Server{Handler: h}, l) }()
	return done
}

// A server that is told to stop is not ready at once, says that it is leaving
// while its grace lasts and serves all the same, lets requests end, and then
// returns without an error.
func TestServeStopsWithoutLosingRequests(t *testing.T) {
	inBubble(t, func(w *world) {
		m := w.mesh(tulle.Config{Inbound: tulle.Inbound{Grace: 3 * time.Second}})
		ctx, stop := context.WithCancel(w.Context())
		done := w.serveAt(ctx, m, "10.0.0.1:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				time.Sleep(10 * time.Second)
			}
			_, _ = io.WriteString(rw, "answer")
		}))
		c := one("10.0.0.1:80")
		c.Services[0].KeepLoadReports = true
		caller := w.mesh(c)
		a := w.get(caller, "http://reviews/")
		require.Empty(w, a.header.Get(endpoint.LoadReportHeader))
		status, text := ask(m.ReadyHandler())
		require.Equal(w, 200, status)
		require.Equal(w, "ready", text)

		var wg sync.WaitGroup
		wg.Go(func() {
			a, err := get(w.Context(), caller, "http://reviews/slow")
			assert.NoError(w, err)
			assert.Equal(w, "answer", a.body)
		})
		time.Sleep(time.Second)
		begin := time.Now()
		stop()
		synctest.Wait()
		status, text = ask(m.ReadyHandler())
		assert.Equal(w, 503, status)
		assert.Equal(w, "leaving", text)
		status, _ = ask(m.LiveHandler())
		assert.Equal(w, 200, status, "it lives all the same")

		w.get(caller, "http://reviews/")
		resp := sendRaw(w, w, "10.0.0.1:80", "GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
		report, err := endpoint.ParseLoadReport(resp.Header.Get(endpoint.LoadReportHeader))
		require.NoError(w, err)
		assert.True(w, report.Leaving)
		synctest.Wait()
		assert.Equal(w, []endpoint.Hold{endpoint.Leaving}, holds(service(w, caller, "reviews").Endpoints[0]))
		assert.True(w, m.State().Inbound.Leaving)
		require.NoError(w, <-done)
		wg.Wait()
		assert.Equal(w, 9*time.Second, time.Since(begin).Round(time.Second), "as long as the slow request took")
	})
}

// What does not end within the time to drain is cut off, and the error says so.
func TestServeDoesNotWaitForEver(t *testing.T) {
	inBubble(t, func(w *world) {
		m := w.mesh(tulle.Config{Inbound: tulle.Inbound{Grace: -1, DrainTimeout: 2 * time.Second}})
		ctx, stop := context.WithCancel(w.Context())
		done := w.serveAt(ctx, m, "10.0.0.1:80", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}))
		caller := w.mesh(one("10.0.0.1:80"))
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := get(w.Context(), caller, "http://reviews/")
			assert.Error(w, err)
		})
		time.Sleep(time.Second)
		begin := time.Now()
		stop()
		err := <-done
		assert.Equal(w, 2*time.Second, time.Since(begin))
		assert.Equal(w, outcome.ShuttingDown, asError(w, err).Reason)
		assert.ErrorIs(w, err, context.DeadlineExceeded)
		wg.Wait()
	})
}

// A server that fails by itself is not waited for.
func TestServeReturnsWhatTheServerFailedWith(t *testing.T) {
	inBubble(t, func(w *world) {
		m := w.mesh(tulle.Config{})
		l, err := w.net.Listen("10.0.0.1:80")
		require.NoError(w, err)
		require.NoError(w, l.Close())
		require.Error(w, m.ServeListener(w.Context(), &http.Server{}, l))
		require.ErrorContains(w, m.Serve(w.Context(), &http.Server{Addr: "127.0.0.1:99999"}), "99999")
	})
}

// Drain does the same for servers that are run in another way.
func TestDrain(t *testing.T) {
	inBubble(t, func(w *world) {
		m := w.mesh(tulle.Config{Inbound: tulle.Inbound{Grace: time.Second}})
		release := make(chan struct{})
		w.net.Serve(w.T, "10.0.0.1:80", m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })))
		caller := w.mesh(one("10.0.0.1:80"))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				_, err := get(w.Context(), caller, "http://reviews/")
				assert.NoError(w, err)
			})
		}
		synctest.Wait()
		short, cancel := context.WithTimeout(w.Context(), 2*time.Second)
		defer cancel()
		require.ErrorIs(w, m.Drain(short), context.DeadlineExceeded)
		time.AfterFunc(5*time.Second, func() { close(release) })
		begin := time.Now()
		require.NoError(w, m.Drain(w.Context()))
		assert.Equal(w, 5*time.Second, time.Since(begin))
		wg.Wait()
	})
}

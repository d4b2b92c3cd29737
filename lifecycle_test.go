package tulle_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/overload"
)

// Two who drain at once, such as a hook before the stop and the stop itself,
// both learn that the last request has ended.
func TestDrainTwiceAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		m := w.mesh(tulle.Config{Inbound: tulle.Inbound{Grace: -1}})
		release := make(chan struct{})
		h := m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		go visit(h, "GET /", "")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		const drains = 3
		done := make(chan error, drains)
		for range drains {
			go func() { done <- m.Drain(ctx) }()
		}
		synctest.Wait()
		close(release)
		for range drains {
			assert.NoError(w, <-done)
		}
	})
}

// A connection that a handler has taken over is one of its requests until the
// handler returns: a server that stops waits for it, as long as for others.
func TestServeWaitsForConnectionsTakenOver(t *testing.T) {
	for _, ends := range []bool{true, false} {
		inBubble(t, func(w *world) {
			m := w.mesh(tulle.Config{Inbound: tulle.Inbound{Grace: -1, DrainTimeout: 10 * time.Second}})
			ctx, stop := context.WithCancel(w.Context())
			defer stop()
			told, ended := make(chan struct{}), make(chan struct{})
			l, err := w.net.Listen("10.0.0.1:80")
			require.NoError(w, err)
			s := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(rw).Hijack()
				if !assert.NoError(w, err) {
					return
				}
				defer close(ended)
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
				<-told
				time.Sleep(3 * time.Second)
				_, _ = io.WriteString(conn, "farewell")
			})}
			if ends {
				s.RegisterOnShutdown(func() { close(told) })
			}
			done := make(chan error, 1)
			go func() { done <- m.ServeListener(ctx, s, l) }()
			conn, err := w.net.DialContext(w.Context(), "tcp", "10.0.0.1:80")
			require.NoError(w, err)
			defer conn.Close()
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			require.NoError(w, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(w, err)
			require.Equal(w, 101, resp.StatusCode)
			// What another server is at is not waited for.
			elsewhere := make(chan struct{})
			defer close(elsewhere)
			go visit(m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-elsewhere })), "GET /", "")
			synctest.Wait()
			begin := time.Now()
			stop()
			err = <-done
			if ends {
				require.NoError(w, err)
				require.Equal(w, 3*time.Second, time.Since(begin))
				text, err := io.ReadAll(conn)
				require.NoError(w, err)
				require.Equal(w, "farewell", string(text))
			} else {
				require.ErrorIs(w, err, context.DeadlineExceeded)
				require.Equal(w, 10*time.Second, time.Since(begin))
				close(told)
			}
			<-ended
		})
	}
}

// How long a caller waits for another protocol to begin does not bound how long
// that is spoken; a time-out of the server's own does.
func TestDeadlineOfAnUpgradeIsThatOfItsBeginning(t *testing.T) {
	for _, bounded := range []bool{false, true} {
		inBubble(t, func(w *world) {
			in := tulle.Inbound{}
			if bounded {
				in.Guard.Timeout = time.Minute
			}
			served := make(chan time.Duration, 1)
			w.net.Serve(w.T, "10.0.0.1:80", inbound(w, in).Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				began := time.Now()
				conn, _, err := http.NewResponseController(rw).Hijack()
				if !assert.NoError(w, err) {
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
				select {
				case <-r.Context().Done():
				case <-time.After(time.Hour):
				}
				served <- time.Since(began)
			})))
			c := one("10.0.0.1:80")
			c.Policies.Timeout = 2 * time.Second
			req, err := http.NewRequestWithContext(w.Context(), "GET", "http://reviews/", nil)
			require.NoError(w, err)
			req.Header.Set("Connection", "keep-alive, Upgrade")
			req.Header.Set("Upgrade", "x")
			resp, err := w.mesh(c).Transport().RoundTrip(req)
			require.NoError(w, err)
			require.Equal(w, 101, resp.StatusCode)
			want := time.Hour
			if bounded {
				want = time.Minute
			}
			require.Equal(w, want, <-served)
			require.NoError(w, resp.Body.Close())
			// Nobody waits for what is not begun.
			const expired = "GET / HTTP/1.1\r\nHost: h\r\nTulle-Call: d=0\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
			require.Equal(w, 504, sendRaw(w, w, "10.0.0.1:80", expired).StatusCode)
		})
	}
}

// A status that is none is a panic of the handler's before anything was sent.
func TestStatusThatIsNone(t *testing.T) {
	inBubble(t, func(w *world) {
		m := inbound(w, tulle.Inbound{})
		w.net.Serve(w.T, "10.0.0.1:80", m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.WriteHeader(map[string]int{"/less": 99, "/more": 1000}[r.URL.Path])
		})), quietServer)
		for i, path := range []string{"/less", "/more"} {
			resp := sendRaw(w, w, "10.0.0.1:80", "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n")
			require.Equal(w, 500, resp.StatusCode, path)
			synctest.Wait()
			require.EqualValues(w, i+1, m.State().Inbound.Calls.Status["5xx"])
		}
	})
}

// A stream of events is not how long requests take.
func TestStreamsOfEventsAreNoServiceTime(t *testing.T) {
	for _, media := range []string{"text/event-stream", "text/plain"} {
		inBubble(t, func(w *world) {
			m := inbound(w, tulle.Inbound{Overload: &overload.Policy{}})
			h := m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", media)
				_, _ = io.WriteString(rw, "data: x\n\n")
				time.Sleep(time.Hour)
			}))
			visit(h, "GET /", "")
			time.Sleep(time.Second)
			visit(m.Handler(&handled{}), "GET /", "")
			require.Equal(w, media == "text/plain", m.State().Inbound.Overload.ServiceTime > time.Second)
		})
	}
}

// One server may be served on several listeners at once, as net/http has it.
func TestServeOnSeveralListeners(t *testing.T) {
	inBubble(t, func(w *world) {
		m := w.mesh(tulle.Config{Inbound: tulle.Inbound{Grace: -1}})
		ctx, stop := context.WithCancel(w.Context())
		s := &http.Server{Handler: &handled{}}
		done := make(chan error, 2)
		for _, addr := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
			l, err := w.net.Listen(addr)
			require.NoError(w, err)
			go func() { done <- m.ServeListener(ctx, s, l) }()
		}
		synctest.Wait()
		for _, addr := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
			require.Equal(w, 200, sendRaw(w, w, addr, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").StatusCode)
		}
		require.EqualValues(w, 2, m.State().Inbound.Calls.Calls)
		stop()
		for range 2 {
			require.NoError(w, <-done)
		}
	})
}

// What is refused by what its header says is refused before any of its body
// is asked for, and the connection ends where a body may still come.
func TestRefusedExpectations(t *testing.T) {
	inBubble(t, func(w *world) {
		m := inbound(w, tulle.Inbound{Guard: tulle.Guard{Authn: tokens(), Body: &tulle.BodyLimit{MaxBytes: 10}}})
		next := &handled{}
		w.net.Serve(w.T, "10.0.0.1:80", m.Handler(next))
		for header, status := range map[string]int{
			"Content-Length: 11\r\n":                       413,
			"Content-Length: 9\r\n":                        401,
			"Transfer-Encoding: chunked\r\n":               401,
			"Content-Length: 9\r\nTulle-Call: d=0\r\n":     504,
			"Content-Length: 999999999999\r\nRange: x\r\n": 413,
		} {
			resp := sendRaw(w, w, "10.0.0.1:80", "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"+header+"\r\n")
			require.Equal(w, status, resp.StatusCode, header)
			require.True(w, resp.Close, header)
		}
		require.Zero(w, next.served.Load())
	})
}

// foreign is the writer of some middleware around the mesh, such as that of
// httpsnoop, from which otelhttp is made: it has some of what is beneath.
type foreign struct {
	http.ResponseWriter
	http.Flusher
	http.Hijacker
}

func (f foreign) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// Within other middleware a handler can take over its connection as well, by
// either way that programs know, and the mesh knows of it.
func TestTakingOverWithinOtherMiddleware(t *testing.T) {
	takeOver := map[string]func(http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error){
		"controller": func(rw http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
			return http.NewResponseController(rw).Hijack()
		},
		"assertion": func(rw http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
			if h, ok := rw.(http.Hijacker); ok {
				return h.Hijack()
			}
			return nil, nil, http.ErrNotSupported
		},
	}
	for name, hijack := range takeOver {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				m := inbound(w, tulle.Inbound{Overload: &overload.Policy{}})
				h := m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
					conn, _, err := hijack(rw)
					if !assert.NoError(w, err) {
						return
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
					time.Sleep(time.Hour)
					_ = conn.Close()
				}))
				w.net.Serve(w.T, "10.0.0.1:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					h.ServeHTTP(foreign{rw, rw.(http.Flusher), rw.(http.Hijacker)}, r)
				}))
				sendRaw(w, w, "10.0.0.1:80", "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
				time.Sleep(2 * time.Hour)
				s := m.State().Inbound
				require.EqualValues(w, 1, s.Calls.Status["1xx"], "%v", s.Calls.Status)
				visit(m.Handler(&handled{}), "GET /", "")
				require.Less(w, m.State().Inbound.Overload.ServiceTime, time.Second)
			})
		})
	}
}

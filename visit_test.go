package tulle_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/oteltest"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/tulletest"
)

// everything has all stages on, under Enforce with a token that must be there,
// and lets what the conformance kit sends pass. Two things are left out since
// they are fields of responses: the load report, and limits told on success.
// CORS is for any origin: with origins by name each response has Vary, which
// the rows that compare bytes take for what it is.
func everything(mode outcome.Mode) tulle.Inbound {
	authn := tokens()
	// The kit has an Authorization of its own.
	authn.Mode, authn.Header, authn.Strip = mode, "X-Token", true
	authn.ClaimHeaders = map[string]string{"X-Tenant": "tenant"}
	allow := authz.Rule{Name: "all", Action: authz.Allow}
	if mode == outcome.Enforce {
		allow.From = []authz.Source{{Principals: []string{"alice"}}}
	}
	limit := func(name string, key ratelimit.Key) ratelimit.Policy {
		return ratelimit.Policy{Name: name, Mode: mode, Requests: 1 << 30, Key: key}
	}
	return tulle.Inbound{
		Strip:    []string{"X-Never-There"},
		InFlight: &breaker.Limit{Mode: mode},
		Overload: &overload.Policy{Mode: mode, MaxInFlight: 1000, NoReport: true},
		Guard: tulle.Guard{
			Timeout: 24 * time.Hour,
			Body:    &tulle.BodyLimit{Mode: mode, MaxBytes: 1 << 40},
			RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{
				limit("address", ratelimit.Key{Source: true}), limit("who", ratelimit.Key{Principal: true}),
			}},
			CORS:  &tulle.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, MaxAge: time.Hour},
			Authn: authn,
			Authz: &authz.Policy{Mode: mode, Rules: []authz.Rule{allow, {
				Name: "never", Action: authz.Deny, From: []authz.Source{{Principals: []string{"mallory"}}},
			}}},
		},
		Rules: []tulle.Rule{
			{Name: "most", Match: []match.Request{{Hosts: []string{"service.test"}, Path: match.Path{Prefix: "/"}}}, Guard: tulle.Guard{Timeout: 23 * time.Hour}},
		},
	}
}

// A wrapped handler can do what it could before, whatever is on: hijack and
// upgrade, flush, read from files, take trailers, and send them. What differs
// is that a panic of the handler's own is answered, and a preflight where
// there is CORS.
func TestHandlerConformance(t *testing.T) {
	for name, row := range map[string]struct {
		in    tulle.Inbound
		opts  []tulle.Option
		known []tulletest.Difference
	}{
		"zero":                {known: []tulletest.Difference{tulletest.PanicsAnswered}},
		"everything":          {in: everything(outcome.Enforce), known: []tulletest.Difference{tulletest.PanicsAnswered, tulletest.PreflightsAnswered}},
		"everything observed": {in: everything(outcome.Observe), known: []tulletest.Difference{tulletest.PanicsAnswered, tulletest.PreflightsAnswered}},
		"everything, watched": {
			in: everything(outcome.Enforce), known: []tulletest.Difference{tulletest.PanicsAnswered, tulletest.PreflightsAnswered},
			opts: []tulle.Option{
				tulle.WithTracerProvider(&oteltest.Traces{}), tulle.WithMeterProvider(&oteltest.Metrics{}), tulle.WithAccessLog(slog.New(slog.DiscardHandler)),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			enforces := row.in.Guard.Authn != nil && row.in.Guard.Authn.Mode == outcome.Enforce
			var verified, limited, authorized atomic.Uint64
			tulletest.TestHandler(t, func(next http.Handler) http.Handler {
				m, err := tulle.New(tulle.Config{Inbound: row.in}, row.opts...)
				require.NoError(t, err)
				h := m.Handler(next)
				if enforces {
					h = introduced(h)
				}
				return closableHandler{h, func() error {
					if s := m.State().Inbound.Guard; enforces {
						verified.Add(s.Authn.Verified + s.Authn.Cached)
						limited.Add(s.RateLimits[1].Allowed)
						authorized.Add(s.Authz.Rules[0].Matched)
					}
					return m.Shutdown(context.Background())
				}}
			}, row.known...)
			if enforces {
				assert.Greater(t, verified.Load(), uint64(900), "requests with a token")
				assert.Equal(t, verified.Load(), limited.Load())
				assert.Equal(t, verified.Load(), authorized.Load())
			}
		})
	}
}

// introduced gives requests a token, which the mesh takes out of them again.
func introduced(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(r.Context())
		r.Header = r.Header.Clone()
		if r.Header == nil {
			r.Header = http.Header{}
		}
		r.Header.Set("X-Token", tokenOf("alice", nil))
		h.ServeHTTP(w, r)
	})
}

type closableHandler struct {
	http.Handler
	close func() error
}

func (c closableHandler) Close() error { return c.close() }

// What Observe would have refused goes through untouched, and is told with how
// it ended. Under Enforce the same requests are refused.
func TestInboundObserved(t *testing.T) {
	in := func(mode outcome.Mode) tulle.Inbound {
		few, who := never(ratelimit.Key{}), never(ratelimit.Key{Principal: true})
		few.Mode, who.Mode, who.Name = mode, mode, "who"
		authn := tokens()
		authn.Mode = mode
		return tulle.Inbound{
			InFlight: &breaker.Limit{Mode: mode, InFlight: 1},
			Overload: &overload.Policy{Mode: mode, MaxInFlight: 1, Waiting: -1},
			Guard: tulle.Guard{
				Body:      &tulle.BodyLimit{Mode: mode, MaxBytes: 4},
				RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{few, who}},
				Authn:     authn,
				Authz:     &authz.Policy{Mode: mode, Rules: []authz.Rule{{Name: "nobody", Action: authz.Deny}}},
			},
		}
	}
	run := func(t *testing.T, mode outcome.Mode) (codes map[string]int, m *tulle.Mesh) {
		m = inbound(t, in(mode))
		var h http.Handler
		codes = map[string]int{}
		next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				tulle.WriteError(w, r, err)
				return
			}
			switch r.URL.Path {
			case "/nested":
				// Another request, while this one is in.
				codes["within"] = visit(h, "GET /", "").Code
			case "/fails":
				w.WriteHeader(500)
			}
			_, _ = w.Write(body)
		})
		h = m.Handler(next)
		codes["nested"] = visit(h, "GET /nested", "").Code
		codes["long"] = visit(h, "POST /", "too long").Code
		codes["chunked"] = visit(h, "POST /", "too long", chunked).Code
		codes["fails"] = visit(h, "POST /fails", "too long", chunked).Code
		return codes, m
	}
	codes, m := run(t, outcome.Observe)
	assert.Equal(t, map[string]int{"nested": 200, "within": 200, "long": 200, "chunked": 200, "fails": 500}, codes)
	told := map[string][2]uint64{}
	for _, p := range m.Report().Inbound {
		assert.Equal(t, "refuse", p.Verb)
		told[p.Policy] = [2]uint64{p.Would, p.Succeeded}
	}
	assert.Equal(t, map[string][2]uint64{
		"inFlight": {1, 1}, "overload": {1, 1},
		"rateLimit few": {4, 3}, "rateLimit who": {4, 3}, "authn": {5, 4}, "authz": {5, 4}, "body": {3, 2},
	}, told)
	assert.Contains(t, m.Report().String(), "inbound: ")
	assert.Zero(t, m.State().Inbound.Calls.Reasons)

	codes, m = run(t, outcome.Enforce)
	for what, code := range codes {
		assert.GreaterOrEqual(t, code, 400, what)
	}
	assert.Empty(t, m.Report().Inbound)
}

// A body that says it is too large is refused at once, one that does not say
// is cut where it is, and the reply to the error of the cut is 413 as well.
func TestInboundBody(t *testing.T) {
	inBubble(t, func(w *world) {
		m := inbound(w, tulle.Inbound{Guard: tulle.Guard{Body: &tulle.BodyLimit{MaxBytes: 10}}})
		read := make(chan int, 1)
		w.net.Serve(w.T, "10.0.0.1:80", m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/unread" {
				return
			}
			n, err := io.Copy(io.Discard, r.Body)
			read <- int(n)
			if err != nil {
				tulle.WriteError(rw, r, fmt.Errorf("body: %w", err))
			}
		})))
		base := &http.Transport{DialContext: w.net.DialContext}
		defer base.CloseIdleConnections()
		post := func(path, body string, length int64) *http.Response {
			req, err := http.NewRequestWithContext(w.Context(), "POST", "http://10.0.0.1"+path, io.NopCloser(strings.NewReader(body)))
			require.NoError(w, err)
			req.ContentLength = length
			resp, err := base.RoundTrip(req)
			require.NoError(w, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(w, err)
			require.NoError(w, resp.Body.Close())
			return resp
		}
		require.Equal(w, 200, post("/", "ten bytes.", 10).StatusCode)
		require.Equal(w, 10, <-read)
		require.Equal(w, 200, post("/", "ten bytes.", -1).StatusCode)
		require.Equal(w, 10, <-read)
		require.Equal(w, 413, post("/", "eleven byte", 11).StatusCode)
		require.Empty(w, read, "the handler was asked")
		resp := post("/", strings.Repeat("x", 100), -1)
		require.Equal(w, 413, resp.StatusCode)
		require.Equal(w, 10, <-read)
		require.True(w, resp.Close, "the server reads on what nobody wants")
		require.Equal(w, "application/problem+json", resp.Header.Get("Content-Type"))
		// A handler that returns early leaves no trouble behind.
		require.Equal(w, 200, post("/unread", strings.Repeat("x", 1<<20), -1).StatusCode)
		require.Equal(w, 200, post("/", "GET", 3).StatusCode)
		require.Equal(w, 3, <-read)
		require.EqualValues(w, 1, m.State().Inbound.Calls.Reasons[outcome.TooLarge], "the other is the handler's")
	})
}

// The length that a body is said to have is not believed: something in front
// may have unpacked it.
func TestInboundBodyIsMeasured(t *testing.T) {
	h := inbound(t, tulle.Inbound{Guard: tulle.Guard{Body: &tulle.BodyLimit{MaxBytes: 10}}}).Handler(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				tulle.WriteError(w, r, err)
			}
		}))
	bomb := func(r *http.Request) { r.ContentLength = 3 }
	assert.Equal(t, 413, visit(h, "GET /", strings.Repeat("x", 1000), bomb).Code)
}

// The handler has the time that the caller waits, or that it may take,
// whichever is less; what nobody waits for any more is not begun.
func TestInboundDeadline(t *testing.T) {
	inBubble(t, func(w *world) {
		m := inbound(w, tulle.Inbound{Rules: []tulle.Rule{
			{Name: "bounded", Match: []match.Request{{Path: match.Path{Prefix: "/bounded"}}}, Guard: tulle.Guard{Timeout: time.Second}},
		}})
		next := &handled{}
		var left time.Duration
		next.then = func(rw http.ResponseWriter, r *http.Request) {
			left = -1
			if at, ok := r.Context().Deadline(); ok {
				left = time.Until(at)
				<-r.Context().Done()
				assert.ErrorIs(w, r.Context().Err(), context.DeadlineExceeded)
				tulle.WriteError(rw, r, r.Context().Err())
			}
		}
		h := m.Handler(next)
		for _, row := range []struct {
			path, hint string
			left       time.Duration
			status     int
		}{
			{"/", "", -1, 200},
			{"/", "d=850", 850 * time.Millisecond, 504},
			{"/", "d=850, a=2, later=\"x, d=1\"", 850 * time.Millisecond, 504},
			{"/bounded", "", time.Second, 504},
			{"/bounded", "d=850", 850 * time.Millisecond, 504},
			{"/bounded", "d=5000", time.Second, 504},
			{"/bounded", "d=999999999999999", time.Second, 504},
			{"/", "d=999999999999999", 24 * time.Hour, 504},
			{"/bounded", "nonsense=(", time.Second, 504},
		} {
			began := time.Now()
			rec := visit(h, "GET "+row.path, "", with("Tulle-Call", row.hint))
			require.Equal(w, row.status, rec.Code, "%+v", row)
			require.Equal(w, row.left, left, "%+v", row)
			if row.status == 504 {
				require.Equal(w, row.left, time.Since(began))
				require.Equal(w, "caller_deadline", problem(w, rec))
			}
		}
		served := next.served.Load()
		for _, hint := range []string{"d=0", "d=-1", "d=-999999999999999", "a=1, d=0", "d=9, d=0"} {
			rec := visit(h, "GET /", "", with("Tulle-Call", hint))
			require.Equal(w, 504, rec.Code, hint)
			require.Equal(w, "caller_deadline", problem(w, rec))
		}
		require.Equal(w, served, next.served.Load(), "expired work was begun")
		require.Zero(w, m.State().Inbound.BadHints)
		for i, hint := range []string{"d", "d=", "d=x", "d=1.5", "d=+1", "d=1000000000000000", "D=1", "d=0 d=0", "d=0,", ",d=0", "1=2, d=0", "d;x=1", "=0"} {
			require.Equal(w, 200, visit(h, "GET /", "", with("Tulle-Call", hint)).Code, hint)
			require.Equal(w, time.Duration(-1), left, hint)
			require.EqualValues(w, i+1, m.State().Inbound.BadHints, hint)
		}
	})
}

// A body that comes more slowly than the deadline allows cannot hold a handler
// that reads it. Without a deadline it can.
func TestInboundSlowBody(t *testing.T) {
	inBubble(t, func(w *world) {
		m := inbound(w, tulle.Inbound{Rules: []tulle.Rule{
			{Name: "bounded", Match: []match.Request{{Path: match.Path{Prefix: "/bounded"}}}, Guard: tulle.Guard{Timeout: time.Second}},
		}})
		ended := make(chan time.Duration, 1)
		w.net.Serve(w.T, "10.0.0.1:80", m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			began := time.Now()
			_, err := io.Copy(io.Discard, r.Body)
			ended <- time.Since(began)
			if err != nil {
				tulle.WriteError(rw, r, err)
			}
		})))
		const request = "POST %s HTTP/1.1\r\nHost: reviews\r\nContent-Length: 9\r\n\r\nslow"
		resp := sendRaw(w, w, "10.0.0.1:80", fmt.Sprintf(request, "/bounded"))
		require.Equal(w, time.Second, <-ended)
		require.Equal(w, 504, resp.StatusCode)
		require.True(w, resp.Close)
		conn, err := w.net.DialContext(w.Context(), "tcp", "10.0.0.1:80")
		require.NoError(w, err)
		_, err = fmt.Fprintf(conn, request, "/")
		require.NoError(w, err)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(w, ended)
		require.NoError(w, conn.Close())
		require.Equal(w, time.Hour, <-ended)
	})
}

// A deadline of a request is not one of its connection.
func TestInboundDeadlineEndsWithTheRequest(t *testing.T) {
	inBubble(t, func(w *world) {
		m := inbound(w, tulle.Inbound{Guard: tulle.Guard{Timeout: time.Second}})
		w.net.Serve(w.T, "10.0.0.1:80", m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(rw, r.Body)
		})))
		base := &http.Transport{DialContext: w.net.DialContext}
		defer base.CloseIdleConnections()
		for range 3 {
			req, err := http.NewRequestWithContext(w.Context(), "POST", "http://10.0.0.1/", strings.NewReader("words"))
			require.NoError(w, err)
			a, err := read(base.RoundTrip(req))
			require.NoError(w, err)
			require.Equal(w, "words", a.body)
			time.Sleep(10 * time.Second)
		}
		require.Equal(w, 1, w.net.Opened("10.0.0.1:80"))
	})
}

// A panic is a 500 where nothing was sent, and goes on; whatever the handler
// did, what the request held is given back.
func TestInboundPanics(t *testing.T) {
	in := everything(outcome.Enforce)
	in.InFlight.InFlight, in.Overload.MaxInFlight = 1, 1
	m := inbound(t, in, tulle.WithErrorWriter(func(w http.ResponseWriter, r *http.Request, e *tulle.Error) {
		if r.URL.Path == "/writer" {
			panic("writer")
		}
		tulle.WriteError(w, r, e)
	}))
	for _, row := range []struct {
		name, path string
		handler    http.HandlerFunc
		panic      any
		status     int // 200 is a recorder's without any
		body       string
	}{
		{"before the header", "/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			panic("ouch")
		}, "ouch", 500, `"reason":"internal"`},
		{"behind the header", "/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); panic("ouch") }, "ouch", 201, ""},
		{"in the body", "/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a")); panic("ouch") }, "ouch", 200, "a"},
		{"on purpose", "/", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, http.ErrAbortHandler, 200, ""},
		{"with what cannot be compared", "/", func(http.ResponseWriter, *http.Request) { panic([]int{1}) }, []int{1}, 500, `"reason":"internal"`},
		{"in what writes errors", "/writer", func(http.ResponseWriter, *http.Request) { panic("ouch") }, "writer", 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			func() {
				defer func() { assert.Equal(t, row.panic, recover()) }()
				introduced(m.Handler(row.handler)).ServeHTTP(w, httptest.NewRequest("GET", row.path, nil))
			}()
			assert.Equal(t, row.status, w.Code)
			assert.Contains(t, w.Body.String(), row.body)
			assert.NotContains(t, w.Body.String(), "ouch")
			assert.Empty(t, w.Header().Get("Content-Encoding"))
			idle(t, m)
		})
	}
	// A goroutine that ends is no panic, and no success either.
	was := m.State().Inbound.Calls
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		visit(introduced(m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runtime.Goexit() }))), "GET /", "")
	}()
	<-ended
	idle(t, m)
	assert.Equal(t, was.Calls+1, m.State().Inbound.Calls.Calls)
}

// idle requires that a mesh holds nothing for anybody.
func idle(t testing.TB, m *tulle.Mesh) {
	t.Helper()
	s := m.State().Inbound
	assert.Zero(t, s.Calls.Active)
	if s.InFlight != nil {
		assert.Zero(t, s.InFlight.InFlight)
	}
	if s.Overload != nil {
		assert.Zero(t, s.Overload.InFlight)
	}
}

// Over a connection the caller of a handler that panics gets all of the 500,
// once, and knows that the connection ends, if it does. What has begun breaks
// off. The server's log has the stack of the handler. Other requests on the
// connection go on.
func TestInboundPanicOverTheNetwork(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2 %v", h2), func(t *testing.T) {
			inBubble(t, func(w *world) {
				m := inbound(w, tulle.Inbound{})
				var served atomic.Int64
				logged := &syncBuffer{}
				w.net.Serve(w.T, "10.0.0.1:80", m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					served.Add(1)
					switch r.URL.Path {
					case "/panics":
						explode()
					case "/begun":
						_, _ = io.WriteString(rw, "begun")
						_ = http.NewResponseController(rw).Flush()
						explode()
					case "/slow":
						time.Sleep(time.Minute)
					}
				})), func(s *http.Server) { s.ErrorLog = log.New(logged, "", 0) })
				base := &http.Transport{DialContext: w.net.DialContext, Protocols: new(http.Protocols)}
				base.Protocols.SetHTTP1(!h2)
				base.Protocols.SetUnencryptedHTTP2(h2)
				defer base.CloseIdleConnections()
				ask := func(method, path string) (*http.Response, string, error) {
					req, err := http.NewRequestWithContext(w.Context(), method, "http://10.0.0.1"+path, http.NoBody)
					require.NoError(w, err)
					resp, err := base.RoundTrip(req)
					require.NoError(w, err)
					defer resp.Body.Close()
					body, err := io.ReadAll(resp.Body)
					return resp, string(body), err
				}
				_, _, err := ask("GET", "/")
				require.NoError(w, err)
				slow := make(chan int, 1)
				go func() {
					resp, _, _ := ask("GET", "/slow")
					slow <- resp.StatusCode
				}()
				synctest.Wait()
				for range 3 {
					// A bare server that says nothing has a GET repeated by net/http.
					was := served.Load()
					resp, body, err := ask("GET", "/panics")
					assert.Equal(w, 500, resp.StatusCode)
					assert.Contains(w, body, `"reason":"internal"`)
					assert.EqualValues(w, len(body), resp.ContentLength)
					assert.Equal(w, !h2, resp.Close)
					assert.Equal(w, h2, err != nil, "only a handler that returns can end a stream of HTTP/2: %v", err)
					assert.Equal(w, was+1, served.Load())
					resp, _, err = ask("POST", "/")
					require.NoError(w, err)
					require.Equal(w, 200, resp.StatusCode)
				}
				resp, body, err := ask("GET", "/begun")
				require.Equal(w, 200, resp.StatusCode)
				require.Equal(w, "begun", body)
				require.Error(w, err)
				require.Equal(w, 200, <-slow)
				synctest.Wait()
				require.EqualValues(w, 3, m.State().Inbound.Calls.Reasons[outcome.Internal])
				require.Equal(w, 4, strings.Count(logged.String(), "panic serving"), "%s", logged)
				require.GreaterOrEqual(w, strings.Count(logged.String(), "tulle_test.explode("), 4, "the stack of the handler")
			})
		})
	}
}

//go:noinline
func explode() { panic("ouch") }

// A process that is leaving says so on every response, whoever made it, but
// does not close a connection that is becoming another.
func TestInboundLeaving(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		in := tulle.Inbound{Grace: -1, Guard: tulle.Guard{Body: &tulle.BodyLimit{MaxBytes: 1}}}
		if guarded {
			in.Overload = &overload.Policy{}
		}
		m := inbound(t, in)
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/upgrade" {
				w.Header().Set("Connection", "Upgrade")
				w.WriteHeader(http.StatusSwitchingProtocols)
			}
		}))
		says := func(w *httptest.ResponseRecorder) bool {
			report, err := endpoint.ParseLoadReport(w.Header().Get(endpoint.LoadReportHeader))
			return err == nil && report.Leaving
		}
		before := visit(h, "GET /", "")
		assert.False(t, says(before))
		assert.Empty(t, before.Header().Get("Connection"))
		require.NoError(t, m.Drain(t.Context()))
		for what, status := range map[string]int{"GET /": 200, "POST /": 413} {
			w := visit(h, what, strings.Repeat("x", status-200))
			assert.Equal(t, status, w.Code)
			assert.True(t, says(w), "guarded %v, %s: %v", guarded, what, w.Header())
			assert.Equal(t, "close", w.Header().Get("Connection"))
		}
		w := visit(h, "GET /upgrade", "")
		assert.Equal(t, "Upgrade", w.Header().Get("Connection"))
		// Also under a configuration that comes later.
		in.Guard.Timeout = time.Hour
		require.NoError(t, m.Apply(tulle.Config{Inbound: in}))
		assert.True(t, says(visit(h, "GET /", "")))
	}
}

// What handlers add to the load report is in it, and is not taken where there
// is none.
func TestInboundLoadReport(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		in := tulle.Inbound{}
		if guarded {
			in.Overload = &overload.Policy{}
		}
		m := inbound(t, in)
		var ended context.Context
		w := visit(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, guarded, overload.AddMetric(r.Context(), "queue", 7))
			w.WriteHeader(200)
			assert.Equal(t, guarded, overload.AddMetric(r.Context(), "late", 7), "there may be a trailer")
			ended = r.Context()
		})), "GET /", "")
		assert.False(t, overload.AddMetric(ended, "late", 7), "the response has ended")
		assert.Equal(t, guarded, strings.Contains(w.Header().Get(endpoint.LoadReportHeader), "queue=7"), "%v", w.Header())
	}
}

// Limits before and after authentication are both told.
func TestInboundLimitFields(t *testing.T) {
	few, who := never(ratelimit.Key{Source: true}), never(ratelimit.Key{Principal: true})
	few.Requests, who.Requests, who.Name = 5, 3, "who"
	m := inbound(t, tulle.Inbound{Guard: tulle.Guard{Authn: tokens(), RateLimit: &ratelimit.Config{
		Policies: []ratelimit.Policy{few, who}, Fields: ratelimit.LegacyFields,
	}}})
	h := m.Handler(&handled{})
	w := visit(h, "GET /", "", bearer(tokenOf("alice", nil)))
	assert.ElementsMatch(t, []string{`"few";q=5;w=3600`, `"who";q=3;w=3600`}, w.Header().Values("RateLimit-Policy"))
	assert.Len(t, w.Header().Values("RateLimit"), 2)
	assert.Equal(t, []string{"2"}, w.Header().Values("X-RateLimit-Remaining"), "of the one with less left")
	w = visit(h, "GET /", "")
	assert.Equal(t, 401, w.Code)
	assert.Equal(t, []string{`"few";q=5;w=3600`}, w.Header().Values("RateLimit-Policy"), "the other was not asked")
	for range 2 {
		visit(h, "GET /", "", bearer(tokenOf("alice", nil)))
	}
	w = visit(h, "GET /", "", bearer(tokenOf("alice", nil)))
	assert.Equal(t, 429, w.Code)
	assert.Equal(t, []string{"0"}, w.Header().Values("X-RateLimit-Remaining"))
	assert.Equal(t, []string{"1200"}, w.Header().Values("Retry-After"))
}

func quietServer(s *http.Server) { s.ErrorLog = log.New(io.Discard, "", 0) }

package tulle_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// reported returns the load report of an answer.
func reported(t testing.TB, h http.Header) endpoint.LoadReport {
	t.Helper()
	r, err := endpoint.ParseLoadReport(h.Get(endpoint.LoadReportHeader))
	require.NoError(t, err)
	return r
}

// occupied returns a mesh whose handler is at work on one request until the end of the
// test.
func occupied(t *testing.T, in tulle.Inbound, opts ...tulle.Option) (*tulle.Mesh, http.Handler, *handled) {
	t.Helper()
	m := inbound(t, in, opts...)
	next, held, release := &handled{}, make(chan struct{}), make(chan struct{})
	next.then = func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			held <- struct{}{}
			<-release
		}
	}
	h := m.Handler(next)
	var wg sync.WaitGroup
	wg.Go(func() {
		visit(h, "GET /hold", "", bearer(tokenOf("alice", nil)), fromAddr("192.0.2.99:1"))
	})
	t.Cleanup(func() {
		close(release)
		wg.Wait()
	})
	<-held
	return m, h, next
}

// A request goes back after the cap, and before all that is charged for it or
// done for it, whatever else is wrong with it.
func TestInboundSentBackComesBeforeAnyCharge(t *testing.T) {
	in := all()
	in.InFlight = nil
	in.Guard.CORS = &tulle.CORS{AllowOrigins: []string{"https://shop.example"}, AllowMethods: []string{"GET"}}
	m, h, next := occupied(t, in)
	was := progress(m, next)
	ill := []visitor{with("Tulle-Call", "d=0, r=1"), bearer("bad"), fromAddr("192.0.2.1:1"), with("Origin", "https://shop.example")}
	for n := range 3 {
		w := visit(h, "POST /", "too large", ill...)
		assert.Equal(t, 421, w.Code)
		assert.Equal(t, "sent_back", problem(t, w))
		assert.Contains(t, w.Header().Get("Proxy-Status"), "http_request_denied")
		assert.Equal(t, "https://shop.example", w.Header().Get("Access-Control-Allow-Origin"), "the script is to see it")
		assert.Empty(t, w.Header().Get("Retry-After"))
		r := reported(t, w.Header())
		assert.True(t, r.SentBack)
		assert.EqualValues(t, 1, r.InFlight)
		assert.Equal(t, was, progress(m, next))
		s := m.State().Inbound
		assert.EqualValues(t, n+1, s.Overload.SentBack)
		assert.EqualValues(t, n+1, s.Calls.Reasons[outcome.SentBack])
	}
	// The control: with room it goes on to what else is wrong with it.
	ill[0] = with("Tulle-Call", "d=0, r=2")
	w := visit(h, "POST /", "too large", ill...)
	assert.Equal(t, "too_large", problem(t, w))
	assert.False(t, reported(t, w.Header()).SentBack)
	was.address++
	assert.Equal(t, was, progress(m, next))

	// The cap comes first.
	m, h, next = occupied(t, all())
	was = progress(m, next)
	assert.Equal(t, "limit_reached", problem(t, visit(h, "GET /", "", with("Tulle-Call", "r=1"))))
	assert.Equal(t, was, progress(m, next))
	assert.Zero(t, m.State().Inbound.Overload.SentBack)
}

// What goes back, and what does not.
func TestInboundSentBack(t *testing.T) {
	one := func(change func(*overload.Policy)) tulle.Inbound {
		p := &overload.Policy{MaxInFlight: 1, Waiting: -1}
		if change != nil {
			change(p)
		}
		return tulle.Inbound{Overload: p}
	}
	stripping := one(nil)
	stripping.Strip = []string{"Tulle-Call"}
	stripping.Trust = identity.Trust{Principals: []string{"spiffe://a/friend"}}
	preflights := one(nil)
	preflights.Guard.CORS = &tulle.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"GET"}}
	room := with("Tulle-Call", "r=1")
	for name, row := range map[string]struct {
		in         tulle.Inbound
		what       string
		how        []visitor
		want       int
		would      uint64
		unreadable uint64
	}{
		"more than there is room for": {in: one(nil), what: "GET /", how: []visitor{room}, want: 421},
		"whatever the method":         {in: one(nil), what: "POST /", how: []visitor{room}, want: 421},
		"just room":                   {in: one(nil), what: "GET /", how: []visitor{with("Tulle-Call", "r=2")}, want: 503},
		"no word of it":               {in: one(nil), what: "GET /", want: 503},
		"a word nobody can read":      {in: one(nil), what: "GET /", how: []visitor{with("Tulle-Call", "r=1, d=(")}, want: 503, unreadable: 1},
		"no guard":                    {what: "GET /", how: []visitor{room}, want: 200},
		"who needs no place": {in: one(func(p *overload.Policy) { p.Exempt = []match.Request{{Path: match.Path{Exact: "/healthz"}}} }),
			what: "GET /healthz", how: []visitor{room}, want: 200},
		"beside those who need none": {in: one(func(p *overload.Policy) { p.Exempt = []match.Request{{Path: match.Path{Exact: "/healthz"}}} }),
			what: "GET /", how: []visitor{room}, want: 421},
		"nobody would understand": {in: one(func(p *overload.Policy) { p.NoReport = true }), what: "GET /", how: []visitor{room}, want: 503},
		"a trial":                 {in: one(func(p *overload.Policy) { p.Mode = outcome.Observe }), what: "GET /", how: []visitor{room}, want: 200, would: 1},
		"a trial with room": {in: one(func(p *overload.Policy) { p.Mode = outcome.Observe }),
			what: "GET /", how: []visitor{with("Tulle-Call", "r=2")}, want: 200},
		"who has no say":  {in: stripping, what: "GET /", how: []visitor{room}, want: 503},
		"who has a say":   {in: stripping, what: "GET /", how: []visitor{room, certified("spiffe://a/friend")}, want: 421},
		"a preflight":     {in: preflights, what: "OPTIONS /", how: []visitor{room, with("Origin", "https://a.test"), with("Access-Control-Request-Method", "GET")}, want: 204},
		"another OPTIONS": {in: preflights, what: "OPTIONS /", how: []visitor{room, with("Origin", "https://a.test")}, want: 421},
		"an upgrade":      {in: one(nil), what: "GET /", how: []visitor{room, with("Connection", "Upgrade"), with("Upgrade", "echo")}, want: 503},
		"a tunnel":        {in: one(nil), what: "GET /", how: []visitor{room, func(r *http.Request) { r.Method = "CONNECT" }}, want: 503},
	} {
		t.Run(name, func(t *testing.T) {
			m, h, next := occupied(t, row.in)
			served := next.served.Load()
			w := visit(h, row.what, "", row.how...)
			assert.Equal(t, row.want, w.Code)
			assert.Equal(t, row.want == 200, next.served.Load() > served)
			assert.Equal(t, row.unreadable, m.State().Inbound.BadHints)
			o := m.State().Inbound.Overload
			if row.in.Overload == nil {
				return
			}
			assert.Equal(t, row.want == 421, o.SentBack == 1)
			assert.Equal(t, row.would, o.WouldSendBack)
			if row.in.Overload.NoReport {
				assert.NotContains(t, w.Header(), endpoint.LoadReportHeader)
				return
			}
			r := reported(t, w.Header())
			assert.Equal(t, row.want == 421, r.SentBack)
			assert.EqualValues(t, 1, r.InFlight, "all but itself")
			assert.Zero(t, o.RPS)
		})
	}
}

// The answer is written, logged and counted as others of the mesh are. It is
// no failure. Who only looks on counts.
func TestInboundSentBackIsTold(t *testing.T) {
	for mode, status := range map[outcome.Mode]int{outcome.Enforce: 421, outcome.Observe: 200} {
		entered, leave := make(chan struct{}), make(chan struct{})
		f := newFront(t, tulle.Inbound{Overload: &overload.Policy{Mode: mode, MaxInFlight: 1}}, map[string]http.HandlerFunc{
			"/": fine, "/slow": func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave },
		}, tulle.WithErrorWriter(func(_ http.ResponseWriter, _ *http.Request, e *tulle.Error) {
			t.Errorf("it is for a mesh, and no matter of %v", e)
		}))
		var wg sync.WaitGroup
		wg.Go(func() { f.ask("/slow", nil) })
		<-entered
		w := visit(f.http, "GET /", "", with("Tulle-Call", "r=1"))
		require.Equal(t, status, w.Code)
		back := mode == outcome.Enforce
		assert.Equal(t, back, strings.Contains(w.Body.String(), `"reason":"sent_back"`))
		assert.Equal(t, back, strings.Contains(f.log.String(), "status=421 reason=sent_back"), f.log.String())
		assert.NotContains(t, f.log.String(), "level=WARN")
		assert.NotContains(t, f.last().Attributes(), "error.type")
		assert.Equal(t, back, f.last().Attributes()["tulle.reason"] == "sent_back")
		seen := f.collected()
		assert.Equal(t, back, seen["tulle.inbound.refused{tulle.reason=sent_back}"] == 1)
		assert.Equal(t, 1., seen["tulle.overload.sent_back{tulle.mode="+mode.String()+"}"])
		close(leave)
		wg.Wait()
	}
}

// trips are what became of many requests with a word of room, and of those that
// had none.
type trips struct {
	back, in, silent int
	// charged is what the rate limit has counted, reached how many sent back
	// reached the handler, crowded how many let in found more than room,
	// needless how many went back that had room or would have been alone.
	charged                    uint64
	reached, crowded, needless int
}

// travel sends requests at random to a handler that works on one at once.
func travel(t *testing.T, seed uint64, mode outcome.Mode) (all trips) {
	const requests = 400
	synctest.Test(t, func(t *testing.T) {
		m, err := tulle.New(tulle.Config{Inbound: tulle.Inbound{
			Overload: &overload.Policy{Mode: mode, MaxInFlight: 1, MaxWait: time.Minute},
			Guard: tulle.Guard{RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{
				{Requests: requests, Period: time.Hour, Key: ratelimit.Key{Source: true}},
			}}},
		}})
		require.NoError(t, err)
		defer m.Shutdown(context.Background())
		lots := rand.New(rand.NewPCG(seed, 1))
		var mu sync.Mutex
		reached := map[string]bool{}
		h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			reached[r.Header.Get("X-Number")] = true
			d := time.Duration(lots.ExpFloat64() * float64(10*time.Millisecond))
			mu.Unlock()
			time.Sleep(d)
		}))
		var wg sync.WaitGroup
		for n := range requests {
			mu.Lock()
			gap, room := time.Duration(lots.ExpFloat64()*float64(11*time.Millisecond)), lots.IntN(6)
			mu.Unlock()
			time.Sleep(gap)
			synctest.Wait()
			s := m.State().Inbound.Overload
			found := s.InFlight + s.Waiting
			wg.Go(func() {
				how := []visitor{with("X-Number", fmt.Sprint(n)), fromAddr("192.0.2.1:1")}
				if room > 0 {
					how = append(how, with("Tulle-Call", fmt.Sprintf("d=60000, r=%d", room)))
				}
				w := visit(h, "GET /", "", how...)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case w.Code == 421:
					all.back++
					assert.True(t, reported(t, w.Header()).SentBack)
					if reached[fmt.Sprint(n)] {
						all.reached++
					}
					if room == 0 || found < room || found == 0 {
						all.needless++
					}
				case w.Code != 200:
					t.Errorf("status %d", w.Code)
				case room == 0:
					all.silent++
				default:
					all.in++
					if found >= room {
						all.crowded++
					}
				}
			})
			// It has been decided about by now.
			synctest.Wait()
		}
		wg.Wait()
		all.charged = m.State().Inbound.Guard.RateLimits[0].Allowed
		require.Equal(t, requests, all.back+all.in+all.silent)
	})
	return all
}

// Nothing that goes back has been worked on or charged for, nothing is let in
// that finds more than its room, and nothing goes back needlessly.
func TestInboundRoomIsKept(t *testing.T) {
	for seed := range uint64(3) {
		got := travel(t, seed, outcome.Enforce)
		assert.Zero(t, got.reached)
		assert.Zero(t, got.crowded)
		assert.Zero(t, got.needless)
		assert.EqualValues(t, got.in+got.silent, got.charged, "those without a word are charged like any")
		assert.Greater(t, got.back, 50)
		assert.Greater(t, got.silent, 20)
		assert.Greater(t, got.in, 50)

		// The negative control: who only looks on keeps no room.
		got = travel(t, seed, outcome.Observe)
		assert.Zero(t, got.back)
		assert.Greater(t, got.crowded, 50)
		assert.EqualValues(t, got.in+got.silent, got.charged)
	}
}

// Over real sockets: what goes back leaves the connection as good as it was,
// though nobody has read the body.
func TestLoopbackSentBackKeepsTheConnection(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			_, h, next := occupied(t, tulle.Inbound{Overload: &overload.Policy{MaxInFlight: 1}})
			client, url := secured(t, h, protocol)
			served := next.served.Load()
			dialled := 0
			for _, size := range []int{0, 1, 4 << 10, 64 << 10} {
				for _, known := range []bool{true, false} {
					ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
						if !c.Reused {
							dialled++
						}
					}})
					r, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(strings.Repeat("x", size)))
					require.NoError(t, err)
					if !known {
						r.ContentLength = -1
					}
					r.Header.Set("Tulle-Call", "r=1")
					resp, err := client.Do(r)
					a, err := read(resp, err)
					require.NoError(t, err)
					assert.Equal(t, protocol, resp.Proto)
					assert.Equal(t, 421, a.status)
					assert.Contains(t, a.body, "sent_back")
					assert.True(t, reported(t, resp.Header).SentBack)
				}
			}
			assert.Equal(t, 1, dialled, "connections")
			assert.Equal(t, served, next.served.Load())
		})
	}
}

// A caller that waits for a word before it sends its body does not get it. The
// control: a guard that only looks on has the handler ask for it.
func TestLoopbackSentBackAsksForNoBody(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for mode, want := range map[outcome.Mode]int{outcome.Enforce: 421, outcome.Observe: 200} {
			t.Run(fmt.Sprint(protocol, " ", mode), func(t *testing.T) {
				_, h, next := occupied(t, tulle.Inbound{Overload: &overload.Policy{Mode: mode, MaxInFlight: 1}})
				next.then = func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
				client, url := secured(t, h, protocol)
				var asked atomic.Bool
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { asked.Store(true) }})
				content := &watched{Reader: strings.NewReader("x")}
				r, err := http.NewRequestWithContext(ctx, "POST", url, content)
				require.NoError(t, err)
				r.Header.Set("Tulle-Call", "r=1")
				r.Header.Set("Expect", "100-continue")
				resp, err := client.Do(r)
				a, err := read(resp, err)
				require.NoError(t, err)
				assert.Equal(t, want, a.status)
				assert.Equal(t, want == 200, asked.Load())
				assert.Equal(t, want == 200, content.read.Load())
			})
		}
	}
}

// secured serves h and returns a client that speaks the protocol with it and
// waits for as long as it takes.
func secured(t *testing.T, h http.Handler, protocol string) (*http.Client, string) {
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = protocol == "HTTP/2.0"
	srv.StartTLS()
	t.Cleanup(srv.Close)
	client := srv.Client()
	client.Transport.(*http.Transport).ExpectContinueTimeout = time.Hour
	return client, srv.URL
}

// watched notes that somebody reads.
type watched struct {
	io.Reader
	read atomic.Bool
}

func (w *watched) Read(p []byte) (int, error) {
	w.read.Store(true)
	return w.Reader.Read(p)
}

// What is for this server alone the handler does not see, so that a proxy in it
// cannot pass it on; whoever called is left what he sent.
func TestInboundKeepsTheRoomToItself(t *testing.T) {
	guarded := tulle.Inbound{Overload: &overload.Policy{MaxInFlight: 9}}
	seen := func(h func(http.Handler) http.Handler, value string) (handler, caller http.Header) {
		wrapped := h(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { handler = r.Header }))
		visit(wrapped, "GET /", "", with("Tulle-Call", value), with("X-Other", "1"), func(r *http.Request) { caller = r.Header })
		return handler, caller
	}
	guard, err := overload.New(*guarded.Overload, overload.Options{})
	require.NoError(t, err)
	for name, h := range map[string]func(http.Handler) http.Handler{
		"mesh": inbound(t, guarded).Handler, "mesh without a guard": inbound(t, tulle.Inbound{}).Handler, "guard alone": guard.Middleware,
	} {
		handler, caller := seen(h, "d=5000, r=7")
		assert.Equal(t, http.Header{"X-Other": {"1"}}, handler, name)
		assert.Equal(t, "d=5000, r=7", caller.Get("Tulle-Call"), name)
		handler, _ = seen(h, "d=5000")
		assert.Equal(t, "d=5000", handler.Get("Tulle-Call"), "%s: the control", name)
	}
}

package tulle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/internal/oteltest"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/mirror"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/routing"
	"github.com/tulle-mesh/tulle/tulletest"
)

const stale = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// endedOnce checks that every span has been ended, and not twice.
func endedOnce(t testing.TB, traces *oteltest.Traces) {
	t.Helper()
	for _, s := range traces.Spans() {
		assert.Equal(t, 1, s.Ended(), "%s: times ended", s.Name)
	}
}

// parentOf returns the span that a request was sent in.
func parentOf(t testing.TB, r tulletest.Received) trace.SpanContext {
	t.Helper()
	require.Len(t, r.Header["Traceparent"], 1)
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header))
	return trace.SpanContextFromContext(ctx)
}

// A call is a span, each attempt is one below it, and each attempt takes its
// own along, in the place of what the caller had sent.
func TestSpansOfCallsAndAttempts(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80", tulletest.Step{Status: 503}, tulletest.Step{Body: "words"})
		c := one("10.0.0.1:80")
		c.Policies.Retry = &retry.Policy{}
		traces := &oteltest.Traces{}
		m := w.mesh(c, tulle.WithTracerProvider(traces))
		ctx, mine := traces.Tracer("").Start(w.Context(), "mine")
		req, err := http.NewRequestWithContext(ctx, "GET", "http://reviews/a?token=geheim", nil)
		require.NoError(w, err)
		req.Header["Traceparent"] = []string{stale}
		req.Header["Tracestate"] = []string{"old=1"}
		resp, err := m.Transport().RoundTrip(req)
		require.NoError(w, err)
		assert.Equal(w, []string{stale}, req.Header["Traceparent"], "the caller's header has been written to")

		spans := traces.Spans()
		require.Len(w, spans, 4)
		call, first, second := spans[1], spans[2], spans[3]
		assert.Zero(w, call.Ended(), "the body has not ended")
		assert.Equal(w, 1, first.Ended(), "a response that is given up")
		assert.Zero(w, second.Ended())
		_, err = read(resp, nil)
		require.NoError(w, err)
		mine.End()
		endedOnce(w, traces)

		assert.Equal(w, "GET reviews", call.Name)
		assert.Equal(w, mine.SpanContext(), call.Parent)
		assert.Equal(w, trace.SpanKindInternal, call.Kind)
		assert.Equal(w, "2", call.Attributes()["tulle.attempts"])
		for i, span := range []*oteltest.Span{first, second} {
			assert.Equal(w, trace.SpanKindClient, span.Kind)
			assert.Equal(w, call.SpanContext(), span.Parent)
			assert.Equal(w, "http://reviews/a?token=REDACTED", span.Attributes()["url.full"])
			assert.Equal(w, "10.0.0.1", span.Attributes()["network.peer.address"])
			got := s.Received()[i]
			assert.Equal(w, span.SpanContext().SpanID(), parentOf(w, got).SpanID(), "attempt %d", i+1)
			assert.Empty(w, got.Header["Tracestate"])
		}
		assert.Equal(w, "", first.Attributes()["http.request.resend_count"])
		assert.Equal(w, "1", second.Attributes()["http.request.resend_count"])
		assert.Equal(w, "503", first.Attributes()["error.type"])
		assert.Equal(w, "", second.Attributes()["error.type"])
	})
}

// Whatever way a call ends, its spans are ended once and say what was wrong.
func TestSpansEndOnce(t *testing.T) {
	plain := func(c *tulle.Config) {}
	for _, row := range []struct {
		name   string
		step   tulletest.Step
		config func(*tulle.Config)
		opts   []tulle.Option
		closed bool // the caller does not read the body
		call   string
		last   string // of the last attempt
	}{
		{"fine", tulletest.Step{Body: "words"}, plain, nil, false, "", ""},
		{"not read", tulletest.Step{Body: "words"}, plain, nil, true, "", ""},
		{"not found", tulletest.Step{Status: 404}, plain, nil, false, "404", "404"},
		{"reset", tulletest.Step{Fault: tulletest.ResetHeader}, plain, nil, false, "connection_lost", "reset"},
		{"reset in the body", tulletest.Step{Body: "words", Fault: tulletest.ResetBody}, plain, nil, false, "connection_lost", "reset"},
		{"time-out", tulletest.Step{Fault: tulletest.Hang}, func(c *tulle.Config) { c.Policies.Timeout = time.Second }, nil, false, "call_timeout", "timeout"},
		{"no endpoint", tulletest.Step{}, func(c *tulle.Config) {
			c.Services[0].Resolver, c.Services[0].MaxWait = at(), -1
		}, nil, false, "no_endpoint", ""},
		{"fault", tulletest.Step{}, func(c *tulle.Config) {
			c.Policies.Fault = &fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 503}}
		}, nil, false, "503", ""},
		{"direct", tulletest.Step{}, func(c *tulle.Config) {
			c.Routes = []tulle.Route{{Name: "r", Filters: routing.Filters{Direct: &routing.Direct{Status: 410}}, Match: hosts("reviews")}}
		}, nil, false, "410", ""},
		{"panic", tulletest.Step{}, plain, []tulle.Option{tulle.WithAttemptMiddleware(panics)}, false, "internal", "panic"},
		{"panic of a hook", tulletest.Step{}, plain, []tulle.Option{tulle.WithHooks(tulle.Hooks{AttemptDone: func(tulle.AttemptDone) { panic("hook") }})}, false, "internal", "panic"},
		{"grpc", tulletest.Step{Body: "m", Trailer: http.Header{"Grpc-Status": {"14"}}}, func(c *tulle.Config) {
			c.Services[0].Classifier = outcome.GRPC{}
		}, nil, false, "gateway", "gateway"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", row.step)
				c := one("10.0.0.1:80")
				row.config(&c)
				traces := &oteltest.Traces{}
				m := w.mesh(c, append(row.opts, tulle.WithTracerProvider(traces))...)
				require.NoError(w, m.Ready(w.Context()))
				func() {
					defer func() { _ = recover() }()
					req, err := http.NewRequestWithContext(w.Context(), "GET", "http://reviews/", nil)
					require.NoError(w, err)
					resp, err := m.Transport().RoundTrip(req)
					if err == nil && row.closed {
						resp.Body.Close()
						return
					}
					_, _ = read(resp, err)
				}()
				synctest.Wait()
				endedOnce(w, traces)
				spans := traces.Spans()
				require.NotEmpty(w, spans)
				check := func(s *oteltest.Span, want string) {
					assert.Equal(w, want, s.Attributes()["error.type"], s.Name)
					code, _ := s.Status()
					assert.Equal(w, want != "", code == codes.Error, s.Name)
				}
				check(spans[0], row.call)
				if len(spans) > 1 {
					check(spans[len(spans)-1], row.last)
				} else {
					assert.Empty(w, row.last)
				}
			})
		})
	}
}

func hosts(names ...string) []match.Request { return []match.Request{{Hosts: names}} }

func infos(addrs ...string) (all []endpoint.Info) {
	for _, addr := range addrs {
		all = append(all, endpoint.Info{Addr: addr})
	}
	return all
}

func panics(http.RoundTripper) http.RoundTripper {
	return roundTripperFunc(func(*http.Request) (*http.Response, error) { panic("plugged in") })
}

// Trace context goes to services of one's own, to External ones only if that
// is asked for, and never to hosts that the mesh does not know.
func TestTraceContextStaysInside(t *testing.T) {
	inBubble(t, func(w *world) {
		traces := &oteltest.Traces{}
		c := tulle.Config{}
		got := map[string]*tulletest.Script{}
		for i, name := range []string{"own", "external", "asked"} {
			addr := fmt.Sprintf("10.0.0.%d:80", i+1)
			got[name] = w.serve(addr)
			c.Services = append(c.Services, tulle.Service{
				Name: name, Resolver: at(addr), External: name != "own", TraceContext: name == "asked",
			})
		}
		got["unknown"] = w.serve("unknown:80")
		m := w.mesh(c, tulle.WithTracerProvider(traces))
		ctx, mine := traces.Tracer("").Start(w.Context(), "mine")
		defer mine.End()
		for name, s := range got {
			_, err := get(ctx, m, "http://"+name+"/")
			require.NoError(w, err)
			want := name == "own" || name == "asked"
			assert.Equal(w, want, len(s.Received()[0].Header["Traceparent"]) > 0, name)
			if name == "unknown" {
				assert.Empty(w, traces.Named("GET unknown"))
			} else {
				assert.Len(w, traces.Named("GET "+name), 1, "a span of one's own tells nobody else anything")
			}
		}
	})
}

// Attempts carry the trace on without a tracer too, and a propagator that
// writes nothing writes nothing.
func TestWithPropagator(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80")
		ctx, mine := (&oteltest.Traces{}).Tracer("").Start(w.Context(), "mine")
		defer mine.End()
		for _, opts := range [][]tulle.Option{
			{tulle.WithPropagator(propagation.TraceContext{})},
			{tulle.WithTracerProvider(&oteltest.Traces{}), tulle.WithPropagator(propagation.NewCompositeTextMapPropagator())},
			nil,
		} {
			_, err := get(ctx, w.mesh(one("10.0.0.1:80"), opts...), "http://reviews/")
			require.NoError(w, err)
		}
		assert.Equal(w, mine.SpanContext().SpanID(), parentOf(w, s.Received()[0]).SpanID())
		assert.Empty(w, s.Received()[1].Header["Traceparent"])
		assert.Empty(w, s.Received()[2].Header["Traceparent"])
	})
}

// Results have the trace that they belong to, and so has an incident.
func TestResultsHaveTheirTrace(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 500})
		traces := &oteltest.Traces{}
		c := one("10.0.0.1:80")
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3}
		var results []outcome.Result
		var told incidents
		m := w.mesh(c, tulle.WithTracerProvider(traces), tulle.WithHooks(tulle.Hooks{
			AttemptDone: func(d tulle.AttemptDone) { results = append(results, d.Result) }, BreakerChanged: told.add,
		}))
		for range 3 {
			w.get(m, "http://reviews/")
		}
		calls := traces.Named("GET reviews")
		for i, r := range results {
			assert.Equal(w, [16]byte(calls[i].SpanContext().TraceID()), r.TraceID)
		}
		synctest.Wait()
		require.Len(w, told.told(), 1)
		last := told.told()[0].Last
		require.NotEmpty(w, last)
		assert.Equal(w, calls[2].SpanContext().TraceID().String(), last[len(last)-1].TraceID)
		attempts := traces.Named("GET")
		assert.Empty(w, attempts[1].Events())
		assert.Equal(w, []string{"tulle.breaker.open"}, attempts[2].Events())
	})
}

func TestMirroredCallsAreMarked(t *testing.T) {
	inBubble(t, func(w *world) {
		c, _, _ := w.mirrored(mirror.Policy{})
		traces, meters := &oteltest.Traces{}, &oteltest.Metrics{}
		m := w.mesh(c, tulle.WithTracerProvider(traces), tulle.WithMeterProvider(meters))
		w.get(m, "http://reviews/a")
		synctest.Wait()
		endedOnce(w, traces)
		require.Len(w, traces.Named("GET next"), 1)
		assert.Equal(w, "true", traces.Named("GET next")[0].Attributes()["tulle.mirrored"])
		assert.Len(w, meters.Recorded("tulle.call.duration"), 1, "copies are no calls to those who count")
		assert.Len(w, meters.Recorded("http.client.request.duration"), 1)
	})
}

// Metrics have names from the configuration, whatever is in requests.
func TestMetricsOfCalls(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 503, Delay: 30 * time.Millisecond}, tulletest.Step{Delay: time.Second})
		c := one("10.0.0.1:80")
		c.Services[0].Hosts = []string{"*.reviews.test", "reviews.test:8080"}
		c.Services[0].Resolver = discovery.NewStatic(endpoint.Info{Addr: "10.0.0.1:80", Labels: map[string]string{"a": "b"}})
		c.Services[0].Subsets = []tulle.Subset{{Name: "all", Labels: map[string]string{"a": "b"}}}
		c.Routes = []tulle.Route{{Name: "r", Match: hosts("*.reviews.test"), Split: to(tulle.Destination{Service: "reviews", Subset: "all"})}}
		c.Policies.Retry = &retry.Policy{}
		meters, traces := &oteltest.Metrics{}, &oteltest.Traces{}
		m := w.mesh(c, tulle.WithMeterProvider(meters))
		ctx, mine := traces.Tracer("").Start(w.Context(), "mine")
		defer mine.End()
		_, err := get(ctx, m, "http://anything.reviews.test/secret/path?q=1")
		require.NoError(w, err)
		id := mine.SpanContext().TraceID()
		const common = "server.address=reviews.test,server.port=8080,tulle.service=reviews,tulle.subset=all"
		assert.Equal(w, []oteltest.Value{
			{Name: "http.client.request.duration", Attributes: "error.type=503,http.request.method=GET,http.response.status_code=503," + common, Value: .03, Trace: id},
			{Name: "http.client.request.duration", Attributes: "http.request.method=GET,http.response.status_code=200," + common, Value: 1, Trace: id},
		}, meters.Recorded("http.client.request.duration"))
		calls := meters.Recorded("tulle.call.duration")
		require.Len(w, calls, 1)
		assert.Equal(w, "http.request.method=GET,http.response.status_code=200,tulle.route=r,tulle.service=reviews,tulle.subset=all", calls[0].Attributes)
		assert.GreaterOrEqual(w, calls[0].Value, 1.03)
		assert.Equal(w, id, calls[0].Trace, "exemplars lead to the trace")
		route := m.State().Routes[0]
		assert.InEpsilon(w, 1, route.P95.Seconds(), .13)
		assert.InEpsilon(w, 1, route.P50.Seconds(), .13)
		rec := httptest.NewRecorder()
		m.Debug().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		assert.Equal(w, 2, strings.Count(rec.Body.String(), "headers within: p50 "), "of the service and of the route")
	})
}

// What the mesh counts is there for those who ask, and adds up.
func TestCollectedMetrics(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		all[0].status.Store(503)
		said := newSource()
		said.set(infos(addrs...)...)
		c := tulle.Config{
			Services: []tulle.Service{
				{Name: "reviews", Resolver: said, Balancer: balancer.RoundRobin{}},
				{Name: "ratings", Resolver: at("10.0.0.9:80"), MaxWait: -1},
				{Name: "next", Resolver: at(addrs[2])},
			},
			Routes: []tulle.Route{
				{Name: "split", Match: hosts("reviews"), Split: to(tulle.Destination{Service: "reviews", Weight: 1}, tulle.Destination{Service: "next", Weight: 3}),
					Mirrors: []tulle.Mirror{{Service: "next"}}},
				{Name: "gone", Match: hosts("gone"), Filters: routing.Filters{Direct: &routing.Direct{Status: 410}}},
			},
			Policies: tulle.Policies{Retry: &retry.Policy{}, Outliers: &health.Outliers{}, Breaker: &breaker.Policy{}, Limit: &breaker.Limit{InFlight: 10}},
		}
		c.Services[1].Policies = tulle.Policies{
			Breaker: &breaker.Policy{Mode: outcome.Observe},
			Fault:   &fault.Policy{Abort: &fault.Abort{Percent: 100, Reset: true}},
			Retry:   &retry.Policy{Budget: retry.BudgetPolicy{Ratio: .1, MinPerSecond: 1}},
		}
		meters := &oteltest.Metrics{}
		m := w.mesh(c, tulle.WithMeterProvider(meters))
		require.NoError(w, m.Ready(w.Context()))
		w.calls(m, 100)
		for range 4 {
			_, err := get(w.Context(), m, "http://ratings/")
			assert.Error(w, err)
		}
		w.get(m, "http://gone/")
		_, err := get(w.Context(), m, "http://unknown/")
		assert.Error(w, err)
		said.fail(errors.New("away"))
		synctest.Wait()
		time.Sleep(7 * time.Second)
		synctest.Wait()

		got, err := meters.Collect()
		require.NoError(w, err)
		state := m.State()
		byName := map[string]tulle.ServiceState{}
		for _, s := range state.Services {
			byName[s.Name] = s
		}
		split := state.Routes[0].Split
		for key, want := range map[string]float64{
			"tulle.call.active{tulle.service=reviews}":                                    0,
			"tulle.call.unknown_host{tulle.result=passed}":                                1,
			"tulle.call.unknown_host{tulle.result=refused}":                               0,
			"tulle.call.local{tulle.reason=direct_response,tulle.route=gone}":             1,
			"tulle.call.local{tulle.reason=fault_injected,tulle.service=ratings}":         4,
			"tulle.split.calls{tulle.route=split,tulle.service=reviews}":                  float64(split[0].Calls),
			"tulle.split.calls{tulle.route=split,tulle.service=next}":                     float64(split[1].Calls),
			"tulle.attempt.sent{tulle.service=reviews}":                                   float64(byName["reviews"].Retries.Attempts),
			"tulle.attempt.active{tulle.service=reviews}":                                 0,
			"tulle.retry.made{tulle.class=gateway,tulle.service=reviews}":                 float64(byName["reviews"].Retries.Causes[outcome.Gateway]),
			"tulle.retry.budget{tulle.budget=0.1+1/s,tulle.service=ratings}":              10,
			"tulle.endpoint.known{tulle.service=reviews,tulle.state=available}":           2,
			"tulle.endpoint.known{tulle.service=reviews,tulle.state=ejected}":             1,
			"tulle.endpoint.ejections{tulle.service=reviews,tulle.state=ejected}":         1,
			"tulle.breaker.state{tulle.mode=enforce,tulle.service=reviews}":               0,
			"tulle.breaker.state{tulle.mode=observe,tulle.service=ratings}":               0,
			"tulle.breaker.incidents{tulle.mode=enforce,tulle.service=reviews}":           0,
			"tulle.limit.active{tulle.mode=enforce,tulle.service=reviews}":                0,
			"tulle.limit.waiting{tulle.mode=enforce,tulle.service=next}":                  0,
			"tulle.discovery.failing{tulle.service=reviews}":                              7,
			"tulle.discovery.failing{tulle.service=next}":                                 0,
			"tulle.fault.injected{tulle.fault=abort,tulle.service=ratings}":               4,
			"tulle.mirror.copies{tulle.result=sent,tulle.route=split,tulle.service=next}": 100,
			"tulle.mirror.copies{tulle.result=full,tulle.route=split,tulle.service=next}": 0,
		} {
			v, ok := got[key]
			if assert.True(w, ok, key) {
				assert.Equal(w, want, v, key)
			}
		}
		assert.Positive(w, split[0].Calls)
		assert.Positive(w, byName["reviews"].Retries.Retries)
		require.NoError(w, m.Shutdown(w.Context()))
		got, err = meters.Collect()
		require.NoError(w, err)
		assert.Empty(w, got, "asked after Shutdown")
	})
}

func TestBreakerStateIsCollected(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 500})
		c := one("10.0.0.1:80")
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3}
		meters := &oteltest.Metrics{}
		m := w.mesh(c, tulle.WithMeterProvider(meters))
		state := func() float64 {
			got, err := meters.Collect()
			require.NoError(w, err)
			return got["tulle.breaker.state{tulle.mode=enforce,tulle.service=reviews}"]
		}
		assert.Equal(w, 0., state())
		w.calls(m, 4)
		assert.Equal(w, 2., state())
		got, err := meters.Collect()
		require.NoError(w, err)
		assert.Equal(w, 1., got["tulle.breaker.incidents{tulle.mode=enforce,tulle.service=reviews}"])
		assert.Equal(w, 1., got["tulle.call.local{tulle.reason=breaker_open,tulle.service=reviews}"])
	})
}

func TestMeterThatRefuses(t *testing.T) {
	_, err := tulle.New(tulle.Config{}, tulle.WithMeterProvider(&oteltest.Metrics{Refuse: "tulle.call.duration"}))
	assert.ErrorContains(t, err, "tulle.call.duration")
	meters := &oteltest.Metrics{}
	_, err = tulle.New(tulle.Config{Services: []tulle.Service{{}}}, tulle.WithMeterProvider(meters))
	require.Error(t, err)
	got, err := meters.Collect()
	require.NoError(t, err)
	assert.Empty(t, got, "asks a mesh that there is not")
}

func TestAccessLog(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 503}, tulletest.Step{Body: "words", Delay: time.Second}, tulletest.Step{Fault: tulletest.ResetHeader})
		c := one("10.0.0.1:80")
		c.Policies.Retry = &retry.Policy{Backoff: retry.Backoff{Func: func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return 0 }}}
		var out bytes.Buffer
		m := w.mesh(c, tulle.WithAccessLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: timeless}))))
		w.get(m, "http://reviews/a?token=geheim")
		assert.Equal(w, "level=INFO msg=call direction=outbound method=GET host=reviews path=/a status=200 service=reviews endpoint=10.0.0.1:80 attempts=2 duration=1s\n", out.String())
		out.Reset()
		_, err := do(w.Context(), m, "POST", "http://reviews/", "")
		require.Error(w, err)
		assert.Equal(w, 1, strings.Count(out.String(), "\n"))
		assert.Contains(w, out.String(), "level=WARN msg=call direction=outbound method=POST host=reviews path=/ reason=connection_lost service=reviews attempts=1")
	})
}

func timeless(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// The incarnation of a service that is gone from discovery leaves no series.
func TestNoSeriesOfEndpoints(t *testing.T) {
	inBubble(t, func(w *world) {
		said := newSource()
		said.set(infos("10.0.0.1:80", "10.0.0.2:80")...)
		c := tulle.Config{Services: []tulle.Service{{Name: "reviews", Resolver: said}}}
		meters := &oteltest.Metrics{}
		m := w.mesh(c, tulle.WithMeterProvider(meters))
		require.NoError(w, m.Ready(w.Context()))
		before, err := meters.Collect()
		require.NoError(w, err)
		for i := range 100 {
			said.set(endpoint.Info{Addr: fmt.Sprintf("10.0.1.%d:80", i)})
			synctest.Wait()
		}
		after, err := meters.Collect()
		require.NoError(w, err)
		assert.Equal(w, len(before), len(after))
		for key := range after {
			assert.NotContains(w, key, "10.0.")
		}
	})
}

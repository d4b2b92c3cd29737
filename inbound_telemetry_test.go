package tulle_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/oteltest"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// front is a handler behind the inbound stages of a mesh that is watched.
type front struct {
	*testing.T
	mesh   *tulle.Mesh
	http   http.Handler
	traces *oteltest.Traces
	meters *oteltest.Metrics
	log    *bytes.Buffer
}

func newFront(t *testing.T, in tulle.Inbound, routes map[string]http.HandlerFunc, opts ...tulle.Option) *front {
	f := &front{t, nil, nil, &oteltest.Traces{}, &oteltest.Metrics{}, &bytes.Buffer{}}
	m, err := tulle.New(tulle.Config{Inbound: in}, append([]tulle.Option{tulle.WithTracerProvider(f.traces), tulle.WithMeterProvider(f.meters),
		tulle.WithAccessLog(slog.New(slog.NewTextHandler(f.log, nil)))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Shutdown(context.Background()) })
	mux := http.NewServeMux()
	for pattern, h := range routes {
		mux.HandleFunc(pattern, h)
	}
	f.mesh, f.http = m, m.Handler(mux)
	return f
}

// ask sends a request from an address, with what edit does to it, and returns
// the status. What the handler panics with is taken.
func (f *front) ask(target string, edit func(*http.Request)) (status int) {
	f.Helper()
	r := httptest.NewRequest("GET", target, nil)
	r.RemoteAddr = "192.0.2.7:4711"
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	defer func() {
		_ = recover()
		status = w.Code
	}()
	f.http.ServeHTTP(w, r)
	return w.Code
}

func (f *front) last() *oteltest.Span {
	f.Helper()
	all := f.traces.Spans()
	require.NotEmpty(f, all)
	return all[len(all)-1]
}

func (f *front) collected() map[string]float64 {
	f.Helper()
	seen, err := f.meters.Collect()
	require.NoError(f, err)
	return seen
}

func fine(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "words") }

// A request is a span of the pattern that it fits, in the histogram and in the
// log, and its handler is in that span.
func TestRequestsServedAreRecorded(t *testing.T) {
	var within trace.SpanContext
	f := newFront(t, tulle.Inbound{}, map[string]http.HandlerFunc{"GET /reset/{token}": func(w http.ResponseWriter, r *http.Request) {
		within = trace.SpanContextFromContext(r.Context())
		fine(w, r)
	}})
	require.Equal(t, 200, f.ask("/reset/geheim?key=geheim", nil))
	endedOnce(t, f.traces)
	span := f.last()
	assert.Equal(t, "GET /reset/{token}", span.LastName())
	assert.Equal(t, trace.SpanKindServer, span.Kind)
	assert.Equal(t, span.SpanContext(), within)
	assert.Equal(t, "/reset/REDACTED", span.Attributes()["url.path"])
	assert.Equal(t, "192.0.2.7", span.Attributes()["network.peer.address"])
	recorded := f.meters.Recorded("http.server.request.duration")
	require.Len(t, recorded, 1)
	assert.Equal(t, "http.request.method=GET,http.response.status_code=200,http.route=/reset/{token},url.scheme=http", recorded[0].Attributes)
	assert.Equal(t, span.SpanContext().TraceID(), recorded[0].Trace, "the exemplar")
	assert.Contains(t, f.log.String(), "msg=call direction=inbound method=GET host=example.com path=/reset/REDACTED status=200 route=/reset/{token} peer=192.0.2.7 bytes=5")
	assert.NotContains(t, f.log.String(), "geheim")

	require.Equal(t, 404, f.ask("/made/up", nil))
	assert.Equal(t, "GET", f.last().LastName())
	assert.NotContains(t, f.last().Attributes(), "http.route")
}

// A second handler of the mesh on the way records nothing again.
func TestRequestsServedAreRecordedOnce(t *testing.T) {
	f := newFront(t, tulle.Inbound{}, map[string]http.HandlerFunc{"/": fine})
	f.http = f.mesh.Handler(f.http)
	require.Equal(t, 200, f.ask("/", nil))
	assert.Len(t, f.traces.Spans(), 1)
	assert.Len(t, f.meters.Recorded("http.server.request.duration"), 1)
}

// Whatever way a request ends, its span is ended once and says what was wrong.
func TestServerSpansEndOnce(t *testing.T) {
	in := tulle.Inbound{Rules: []tulle.Rule{
		{Name: "small", Match: []match.Request{{Path: match.Path{Exact: "/small"}}}, Guard: tulle.Guard{Body: &tulle.BodyLimit{MaxBytes: 1}}},
	}}
	f := newFront(t, in, map[string]http.HandlerFunc{
		"/":       fine,
		"/error":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) },
		"/panic":  func(http.ResponseWriter, *http.Request) { panic("plugged in") },
		"/broken": func(w http.ResponseWriter, r *http.Request) { fine(w, r); panic(http.ErrAbortHandler) },
	})
	for _, row := range []struct {
		path, fault, reason, rule string
		status                    int
	}{
		{"/", "", "", "", 200},
		{"/error", "502", "", "", 502},
		{"/panic", "panic", "internal", "", 500},
		{"/broken", "panic", "", "", 200},
		{"/small", "", "too_large", "small", 413},
		{"/late", "caller_deadline", "caller_deadline", "", 504},
	} {
		t.Run(row.path, func(t *testing.T) {
			status := f.ask(row.path, func(r *http.Request) {
				if row.path == "/small" {
					r.ContentLength = 2
				}
				if row.path == "/late" {
					r.Header.Set("Tulle-Call", "d=0")
				}
			})
			assert.Equal(t, row.status, status)
			endedOnce(t, f.traces)
			a := f.last().Attributes()
			assert.Equal(t, []string{row.fault, row.reason, row.rule}, []string{a["error.type"], a["tulle.reason"], a["tulle.rule"]})
			recorded := f.meters.Recorded("http.server.request.duration")
			assert.Equal(t, row.fault != "", strings.Contains(recorded[len(recorded)-1].Attributes, "error.type="+row.fault))
		})
	}
	assert.Zero(t, f.collected()["http.server.active_requests{http.request.method=GET,url.scheme=http}"])
}

// brokenLog is a handler of slog that fails as plugged in code may.
type brokenLog struct{ slog.Handler }

func (brokenLog) Handle(context.Context, slog.Record) error { panic("plugged in") }

// A log that panics holds no request back: whoever waits for the last one
// waits for no ghost.
func TestAPanickingLogLeavesNothingBehind(t *testing.T) {
	f := newFront(t, tulle.Inbound{Grace: -1}, map[string]http.HandlerFunc{"/": fine},
		tulle.WithAccessLog(slog.New(brokenLog{slog.NewTextHandler(io.Discard, nil)})))
	f.ask("/", nil)
	require.Zero(t, f.mesh.State().Inbound.Calls.Active)
	require.NoError(t, f.mesh.Drain(t.Context()))
}

// The trace of a peer that is trusted, by its address or its certificate, goes
// on; that of another is linked to.
func TestTraceContextIsAcceptedFromTrustedPeers(t *testing.T) {
	peer := func(spiffe string) *tls.ConnectionState {
		u, err := url.Parse(spiffe)
		require.NoError(t, err)
		return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{URIs: []*url.URL{u}, Issuer: pkix.Name{CommonName: "ca"}}}}}
	}
	trust := identity.Trust{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Principals: []string{"spiffe://td/shop"}}
	for _, row := range []struct {
		name  string
		trust identity.Trust
		addr  string
		tls   *tls.ConnectionState
		want  bool
	}{
		{"loopback by default", identity.Trust{}, "127.0.0.1:1", nil, true},
		{"another by default", identity.Trust{}, "192.0.2.7:1", nil, false},
		{"network", trust, "10.1.2.3:1", nil, true},
		{"not in the network", trust, "127.0.0.1:1", nil, false},
		{"certificate", trust, "192.0.2.7:1", peer("spiffe://td/shop"), true},
		{"another's certificate", trust, "192.0.2.7:1", peer("spiffe://td/other"), false},
		{"unix socket", trust, "@", nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFront(t, tulle.Inbound{Trust: row.trust}, map[string]http.HandlerFunc{"/": fine})
			f.ask("/", func(r *http.Request) {
				r.RemoteAddr, r.TLS = row.addr, row.tls
				r.Header.Set("Traceparent", stale)
			})
			span := f.last()
			assert.Equal(t, row.want, span.Parent.IsValid())
			assert.Equal(t, row.want, len(span.Links) == 0)
		})
	}
}

// publicKey returns a key as a PEM block.
func publicKey(t *testing.T) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// What the stages count is there when a reader asks.
func TestInboundMetrics(t *testing.T) {
	few := func(mode outcome.Mode) *ratelimit.Config {
		return &ratelimit.Config{Policies: []ratelimit.Policy{{Name: "few", Mode: mode, Requests: 1, Period: 3600e9, Burst: 1}}}
	}
	at := func(path string) []match.Request { return []match.Request{{Path: match.Path{Exact: path}}} }
	issuers := []authn.Issuer{{Issuer: "https://id.test", Audiences: []string{"shop"}, JWKS: publicKey(t)}}
	entered, leave := make(chan struct{}), make(chan struct{})
	f := newFront(t, tulle.Inbound{
		Strip: []string{"X-User"}, InFlight: &breaker.Limit{InFlight: 100}, Overload: &overload.Policy{MaxInFlight: 9},
		Rules: []tulle.Rule{
			{Name: "limited", Match: at("/limited"), Guard: tulle.Guard{RateLimit: few(outcome.Enforce)}},
			{Name: "watched", Match: at("/watched"), Guard: tulle.Guard{
				RateLimit: few(outcome.Observe), Body: &tulle.BodyLimit{Mode: outcome.Observe, MaxBytes: 1},
				Authn: &authn.Policy{Mode: outcome.Observe, Issuers: issuers},
				Authz: &authz.Policy{Mode: outcome.Observe, Rules: []authz.Rule{{Name: "none", Action: authz.Deny}}},
			}},
			{Name: "closed", Match: at("/closed"), Guard: tulle.Guard{Authn: &authn.Policy{Issuers: issuers}}},
		},
	}, map[string]http.HandlerFunc{"/": fine, "/slow": func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave }})
	assert.NotContains(t, f.collected(), "tulle.inbound.leaving", "a process that serves nothing")

	for range 3 {
		f.ask("/limited", nil)
	}
	for range 4 {
		f.ask("/watched", func(r *http.Request) { r.ContentLength = 2 })
	}
	require.Equal(t, 401, f.ask("/closed", nil))
	require.Equal(t, 401, f.ask("/closed", func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }))
	f.ask("/", func(r *http.Request) { r.Header.Set("X-User", "root") })
	f.ask("/", func(r *http.Request) { r.Header.Set("Tulle-Call", "d=(") })
	done := make(chan int)
	go func() { done <- f.ask("/slow", nil) }()
	<-entered
	seen := f.collected()
	close(leave)
	require.Equal(t, 200, <-done)
	for key, want := range map[string]float64{
		"tulle.inbound.refused{tulle.reason=rate_limited}":                     2,
		"tulle.inbound.refused{tulle.reason=unauthenticated}":                  2,
		"tulle.inbound.rate_limited{tulle.policy=few,tulle.rule=limited}":      2,
		"tulle.inbound.unauthenticated{tulle.fault=missing,tulle.rule=closed}": 1,
		"tulle.inbound.would_refuse{tulle.policy=watched: rateLimit few}":      3,
		"tulle.inbound.would_refuse{tulle.policy=watched: authn}":              4,
		"tulle.inbound.would_refuse{tulle.policy=watched: authz}":              4,
		"tulle.inbound.would_refuse{tulle.policy=body}":                        4,
		"tulle.inbound.stripped":                                               1,
		"tulle.inbound.bad_hints":                                              1,
		"tulle.inbound.leaving":                                                0,
		"tulle.overload.limit{tulle.mode=enforce}":                             9,
		"tulle.overload.active{tulle.mode=enforce}":                            1,
		"tulle.overload.waiting{tulle.mode=enforce}":                           0,
		"http.server.active_requests{http.request.method=GET,url.scheme=http}": 1,
	} {
		got, ok := seen[key]
		assert.True(t, ok, key)
		assert.Equal(t, want, got, key)
	}
	unverified := 0.
	for key, v := range seen {
		assert.NotContains(t, key, "tulle.policy=few,tulle.rule=watched", "observed and counted as refused")
		if strings.HasPrefix(key, "tulle.inbound.unauthenticated") {
			assert.NotContains(t, key, "tulle.rule=watched")
			unverified += v
		}
	}
	assert.Equal(t, 2., unverified)

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_ = f.mesh.Drain(gone)
	assert.Equal(t, 1., f.collected()["tulle.inbound.leaving"])
}

// Of each key set that is fetched it is told how old it is and whether it is
// good for anything, from the start on and while it cannot be fetched.
func TestKeySetMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		keys := tokens().Issuers[0].JWKS
		issuer := func(name, url string, up bool) authn.Issuer {
			fetch := roundTripperFunc(func(r *http.Request) (*http.Response, error) {
				if !up || down.Load() {
					return nil, errors.New("down")
				}
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(keys)), Request: r}, nil
			})
			return authn.Issuer{Issuer: name, Audiences: []string{"shop"}, JWKSURL: url, Transport: &fetch}
		}
		f := newFront(t, tulle.Inbound{Guard: tulle.Guard{Authn: &authn.Policy{Issuers: []authn.Issuer{
			issuer("https://a.test", "https://a.test/keys?secret=1", true), issuer("https://b.test", "https://b.test/keys", false),
			// One of four that look alike is worse.
			issuer("https://c.test", "https://c.test/keys?secret=1", true), issuer("https://d.test", "https://c.test/keys?secret=2", false),
			issuer("https://e.test", "https://c.test/keys?secret=3", true), issuer("https://f.test", "https://c.test/keys?secret=4", true),
		}}}}, map[string]http.HandlerFunc{"/": fine})
		f.ask("/", nil)
		synctest.Wait()
		state := func() (told [6]float64) {
			seen := f.collected()
			for i, url := range []string{"https://a.test/keys", "https://b.test/keys", "https://c.test/keys"} {
				for j, name := range []string{"age", "usable"} {
					v, ok := seen["tulle.keyset."+name+"{tulle.keyset="+url+"}"]
					assert.True(t, ok, url)
					told[2*i+j] = v
				}
			}
			return told
		}
		assert.Equal(t, [6]float64{0, 1, 0, 0, 0, 0}, state())
		down.Store(true)
		time.Sleep(23 * time.Hour)
		told := state()
		assert.Equal(t, [6]float64{told[0], 1, 23 * 3600, 0, 23 * 3600, 0}, told)
		assert.Greater(t, told[0], 22*3600.)
		time.Sleep(time.Hour)
		assert.Zero(t, state()[1], "nothing of it is accepted any more")
		for key := range f.collected() {
			assert.NotContains(t, key, "secret")
		}
		require.NoError(t, f.mesh.Shutdown(t.Context()))
	})
}

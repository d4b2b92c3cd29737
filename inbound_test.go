package tulle_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

const tokenIssuer = "https://issuer.test"

// signingKey is that of the issuer of tests, from a seed.
var signingKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// tokens are accepted by a policy of one issuer.
func tokens() *authn.Policy {
	x := base64.RawURLEncoding.EncodeToString(signingKey.Public().(ed25519.PublicKey))
	return &authn.Policy{Issuers: []authn.Issuer{{
		Issuer: tokenIssuer, Audiences: []string{"reviews"},
		JWKS: `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","use":"sig","alg":"EdDSA","x":"` + x + `"}]}`,
	}}}
}

// tokenOf returns a token of user, with more claims or others.
func tokenOf(user string, more map[string]any) string {
	claims := map[string]any{"iss": tokenIssuer, "aud": "reviews", "sub": user, "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, more)
	encode := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := encode(map[string]any{"alg": "EdDSA", "kid": "k", "typ": "JWT"}) + "." + encode(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(signingKey, []byte(signed)))
}

// inbound returns a mesh with the Inbound that is shut down with the test.
func inbound(t testing.TB, in tulle.Inbound, opts ...tulle.Option) *tulle.Mesh {
	t.Helper()
	m, err := tulle.New(tulle.Config{Inbound: in}, opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = m.Shutdown(gone)
	})
	return m
}

// visitor makes requests in process.
type visitor func(*http.Request)

func with(name, value string) visitor { return func(r *http.Request) { r.Header.Set(name, value) } }
func bearer(token string) visitor     { return with("Authorization", "Bearer "+token) }
func fromAddr(addr string) visitor    { return func(r *http.Request) { r.RemoteAddr = addr } }

// chunked says that the length of the body is not known.
func chunked(r *http.Request) { r.ContentLength = -1 }

// certified is the peer of a mutually authenticated connection.
func certified(name string) visitor {
	return func(r *http.Request) {
		id, err := url.Parse(name)
		if err != nil {
			panic(err)
		}
		leaf := &x509.Certificate{URIs: []*url.URL{id}, Issuer: pkix.Name{CommonName: "root"}}
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
	}
}

// visit has h answer a request, which is what is before "METHOD path".
func visit(h http.Handler, what, body string, how ...visitor) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(what, " ")
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, "http://reviews"+path, content)
	for _, f := range how {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// problem returns the reason in a body of problem+json, whose status must be
// that of the answer.
func problem(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), "status %d: %s", w.Code, w.Body)
	var p struct {
		Status int
		Reason string
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	require.Equal(t, w.Code, p.Status)
	return p.Reason
}

// handled is a handler that counts, and tells what it has got.
type handled struct {
	served atomic.Int64
	last   atomic.Pointer[http.Request]
	then   http.HandlerFunc
}

func (c *handled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.served.Add(1)
	c.last.Store(r)
	if c.then != nil {
		c.then(w, r)
	}
}

// never is a limit that one request uses up.
func never(key ratelimit.Key) ratelimit.Policy {
	return ratelimit.Policy{Name: "few", Requests: 1, Period: time.Hour, Key: key}
}

// all have every stage, each of which refuses what the words of the request
// say. The counts are what later stages did.
func all() tulle.Inbound {
	few := never(ratelimit.Key{Source: true})
	who := never(ratelimit.Key{Principal: true})
	who.Name = "who"
	return tulle.Inbound{
		InFlight: &breaker.Limit{InFlight: 1},
		Overload: &overload.Policy{MaxInFlight: 1, Waiting: -1},
		Guard: tulle.Guard{
			Body:      &tulle.BodyLimit{MaxBytes: 4},
			RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{few, who}},
			Authn:     tokens(),
			Authz: &authz.Policy{Rules: []authz.Rule{{
				Name: "alice", Action: authz.Allow, From: []authz.Source{{Principals: []string{"alice"}}},
			}}},
		},
	}
}

// done is how far requests have come in a mesh with all().
type done struct{ address, keys, principal, authz, overload, handler uint64 }

func progress(m *tulle.Mesh, h *handled) (d done) {
	s := m.State().Inbound
	limited := func(i int) uint64 {
		return s.Guard.RateLimits[i].Allowed + s.Guard.RateLimits[i].Refused
	}
	d.address, d.principal = limited(0), limited(1)
	d.keys = s.Guard.Authn.Verified + s.Guard.Authn.Cached
	for _, n := range s.Guard.Authn.Refused {
		d.keys += n
	}
	d.authz = s.Guard.Authz.Unmatched.Matched
	for _, r := range s.Guard.Authz.Rules {
		d.authz += r.Matched
	}
	d.overload = s.Overload.Refused + s.Overload.Expired
	d.handler = uint64(h.served.Load())
	return d
}

// Each stage refuses before anything that comes later is done. A request that
// offends them all is refused by the first; one that mends its ways one by one
// comes that much further each time. Without the stage the request goes on to
// what it offends next: the next row is the control of each.
func TestInboundStagesInOrder(t *testing.T) {
	held, release := make(chan struct{}), newGate(make(chan struct{}))
	m := inbound(t, all())
	next := &handled{}
	next.then = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			held <- struct{}{}
			<-release.c
		}
	}
	h := m.Handler(next)
	defer release.close()
	ended := make(chan *httptest.ResponseRecorder)
	go func() { ended <- visit(h, "GET /hold", "", bearer(tokenOf("alice", nil)), fromAddr("192.0.2.99:1")) }()
	<-held
	was := progress(m, next)

	// Everything is wrong, but only one request may be looked at at once.
	bad := []visitor{with("Tulle-Call", "d=0"), bearer("bad"), fromAddr("192.0.2.1:1")}
	w := visit(h, "POST /", "too large", bad...)
	assert.Equal(t, "limit_reached", problem(t, w))
	assert.Equal(t, "1", w.Header().Get("Retry-After"))
	assert.Equal(t, was, progress(m, next), "crypto or a charge before the cap")
	release.close()
	assert.Equal(t, 200, (<-ended).Code)

	next.then = nil
	was = progress(m, next)
	assert.Equal(t, 413, visit(h, "POST /", "too large", bad...).Code, "uses up what its address may")
	was.address++
	assert.Equal(t, was, progress(m, next))

	assert.Equal(t, "rate_limited", problem(t, visit(h, "POST /", "too large", bad...)))
	was.address++
	assert.Equal(t, was, progress(m, next), "the limit by address is before the size")

	n := 1
	elsewhere := func() visitor { n++; return fromAddr(fmt.Sprintf("192.0.2.%d:1", n)) }
	assert.Equal(t, "too_large", problem(t, visit(h, "POST /", "too large", append(bad, elsewhere())...)))
	was.address++
	assert.Equal(t, was, progress(m, next), "the size is before the deadline and authentication")

	assert.Equal(t, "caller_deadline", problem(t, visit(h, "POST /", "ok", append(bad, elsewhere())...)))
	was.address++
	assert.Equal(t, was, progress(m, next), "the deadline is before authentication and the handler")

	assert.Equal(t, "unauthenticated", problem(t, visit(h, "POST /", "ok", bearer("bad"), elsewhere())))
	was.address++
	was.keys++
	assert.Equal(t, was, progress(m, next), "authentication is before limits by principal")

	assert.Equal(t, "forbidden", problem(t, visit(h, "POST /", "ok", bearer(tokenOf("bob", nil)), elsewhere())))
	was.address++
	was.keys++
	was.principal++
	was.authz++
	assert.Equal(t, was, progress(m, next), "authorization is before the handler")

	assert.Equal(t, "rate_limited", problem(t, visit(h, "POST /", "ok", bearer(tokenOf("bob", nil)), elsewhere())))
	was.address++
	was.keys++
	was.principal++
	assert.Equal(t, was, progress(m, next), "limits by principal are before authorization")
}

// The guard against overload comes last: who may not ask takes no place.
func TestInboundOverloadIsLast(t *testing.T) {
	in := all()
	in.InFlight, in.Guard.RateLimit = nil, nil
	m := inbound(t, in)
	held, release := make(chan struct{}), make(chan struct{})
	h := m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		held <- struct{}{}
		<-release
	}))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		visit(h, "GET /", "", bearer(tokenOf("alice", nil)))
	}()
	<-held
	assert.Equal(t, "forbidden", problem(t, visit(h, "GET /", "", bearer(tokenOf("bob", nil)))))
	assert.Zero(t, m.State().Inbound.Overload.Refused)
	w := visit(h, "GET /", "", bearer(tokenOf("alice", nil)))
	assert.Equal(t, "overloaded", problem(t, w))
	assert.NotContains(t, []string{"", "0"}, w.Header().Get("Retry-After"))
	assert.EqualValues(t, 1, m.State().Inbound.Overload.Refused)
	close(release)
	<-ended
}

// What a rule leaves unset it has from the guard of all, field by field, and
// what it sets is its own alone.
func TestInboundRulesInheritFieldByField(t *testing.T) {
	deny := func(name string) *authz.Policy {
		return &authz.Policy{Rules: []authz.Rule{{Name: name, Action: authz.Deny}}}
	}
	limit := func(name string) *ratelimit.Config {
		p := never(ratelimit.Key{})
		p.Name, p.Requests = name, 3
		return &ratelimit.Config{Policies: []ratelimit.Policy{p}, Fields: ratelimit.StandardFields}
	}
	own := tokens()
	own.Realm = "own"
	wide := tokens()
	wide.Realm = "wide"
	// What says of a request that the wide policy is in force, and that the
	// rule's own is.
	deadline := func(h *handled, _ *httptest.ResponseRecorder) any {
		at, ok := h.last.Load().Context().Deadline()
		if !ok {
			return nil
		}
		return time.Until(at).Round(time.Hour)
	}
	for name, row := range map[string]struct {
		wide, own tulle.Guard
		body      string
		see       func(*handled, *httptest.ResponseRecorder) any
		is, was   any // with the rule's own, and inherited
	}{
		"timeout": {
			wide: tulle.Guard{Timeout: 2 * time.Hour}, own: tulle.Guard{Timeout: 5 * time.Hour},
			see: deadline, is: 5 * time.Hour, was: 2 * time.Hour,
		},
		"no timeout": {
			wide: tulle.Guard{Timeout: 2 * time.Hour}, own: tulle.Guard{Timeout: -1},
			see: deadline, is: nil, was: 2 * time.Hour,
		},
		"body": {
			wide: tulle.Guard{Body: &tulle.BodyLimit{MaxBytes: 1}}, own: tulle.Guard{Body: &tulle.BodyLimit{MaxBytes: 9}}, body: "four",
			see: func(_ *handled, w *httptest.ResponseRecorder) any { return w.Code }, is: 200, was: 413,
		},
		"rate limit": {
			wide: tulle.Guard{RateLimit: limit("wide")}, own: tulle.Guard{RateLimit: limit("own")},
			see: func(_ *handled, w *httptest.ResponseRecorder) any {
				name, _, _ := strings.Cut(w.Header().Get("RateLimit"), ";")
				return name
			}, is: `"own"`, was: `"wide"`,
		},
		"cors": {
			wide: tulle.Guard{CORS: &tulle.CORS{AllowOrigins: []string{"*"}}}, own: tulle.Guard{CORS: &tulle.CORS{AllowOrigins: []string{"https://shop.test"}}},
			see: func(_ *handled, w *httptest.ResponseRecorder) any {
				return w.Header().Get("Access-Control-Allow-Origin")
			}, is: "https://shop.test", was: "*",
		},
		"authn": {
			wide: tulle.Guard{Authn: wide}, own: tulle.Guard{Authn: own},
			see: func(_ *handled, w *httptest.ResponseRecorder) any { return w.Header().Get("WWW-Authenticate") },
			is:  `Bearer realm="own"`, was: `Bearer realm="wide"`,
		},
		"anonymous": {
			wide: tulle.Guard{Authn: wide}, own: tulle.Guard{Anonymous: &tulle.Anonymous{}},
			see: func(_ *handled, w *httptest.ResponseRecorder) any { return w.Code }, is: 200, was: 401,
		},
		"anonymous from the guard of all": {
			wide: tulle.Guard{Authn: wide, Anonymous: &tulle.Anonymous{}}, own: tulle.Guard{Authn: own},
			see: func(_ *handled, w *httptest.ResponseRecorder) any { return w.Code }, is: 401, was: 200,
		},
		"authz": {
			wide: tulle.Guard{Authz: deny("wide")},
			own:  tulle.Guard{Authz: &authz.Policy{Rules: []authz.Rule{{Name: "own", Action: authz.Allow}}}},
			see:  func(_ *handled, w *httptest.ResponseRecorder) any { return w.Code }, is: 200, was: 403,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := inbound(t, tulle.Inbound{Guard: row.wide, Rules: []tulle.Rule{
				{Name: "own", Match: []match.Request{{Path: match.Path{Prefix: "/own"}}}, Guard: row.own},
				{Name: "shares", Match: []match.Request{{Path: match.Path{Prefix: "/shares"}}}},
			}})
			next := &handled{}
			h := m.Handler(next)
			origin := with("Origin", "https://shop.test")
			assert.Equal(t, row.is, row.see(next, visit(h, "POST /own/x", row.body, origin)), "the rule's own")
			assert.Equal(t, row.was, row.see(next, visit(h, "POST /shares/x", row.body, origin)), "inherited")
			assert.Equal(t, row.was, row.see(next, visit(h, "POST /elsewhere", row.body, origin)), "no rule")
		})
	}
}

// Inherited limits are one limit, a rule's own is another, and the first rule
// that matches is the one.
func TestInboundRulesShareWhatTheyInherit(t *testing.T) {
	limit := &ratelimit.Config{Policies: []ratelimit.Policy{never(ratelimit.Key{})}}
	m := inbound(t, tulle.Inbound{Guard: tulle.Guard{RateLimit: limit}, Rules: []tulle.Rule{
		{Name: "own", Match: []match.Request{{Path: match.Path{Prefix: "/own"}}}, Guard: tulle.Guard{RateLimit: limit}},
		{Name: "shares", Match: []match.Request{{Path: match.Path{Prefix: "/shares"}}}},
		{Name: "late", Guard: tulle.Guard{RateLimit: limit}},
	}})
	h := m.Handler(&handled{})
	assert.Equal(t, 200, visit(h, "GET /own", "").Code)
	assert.Equal(t, 200, visit(h, "GET /shares", "").Code, "a limit of its own is not charged for others")
	assert.Equal(t, 429, visit(h, "GET /own", "").Code)
	assert.Equal(t, 429, visit(h, "GET /shares", "").Code)
	assert.Equal(t, 200, visit(h, "GET /late", "").Code)
	s := m.State().Inbound
	assert.EqualValues(t, 1, s.Guard.RateLimits[0].Refused, "the guard of all shares the limit")
	assert.Equal(t, s.Guard.RateLimits, s.Rules[1].Guard.RateLimits)
	assert.Equal(t, []string{"own", "shares", "late"}, []string{s.Rules[0].Name, s.Rules[1].Name, s.Rules[2].Name})
}

// Only Anonymous opens a path, and only for those who bring no token.
func TestInboundAnonymous(t *testing.T) {
	m := inbound(t, tulle.Inbound{Guard: tulle.Guard{Authn: tokens()}, Rules: []tulle.Rule{
		{Name: "open", Match: []match.Request{{Path: match.Path{Prefix: "/open"}}}, Guard: tulle.Guard{Anonymous: &tulle.Anonymous{}}},
		{Name: "slow", Match: []match.Request{{Path: match.Path{Prefix: "/slow"}}}, Guard: tulle.Guard{Timeout: time.Hour}},
	}})
	next := &handled{}
	h := m.Handler(next)
	for _, row := range []struct {
		what   string
		token  string
		status int
		who    string
	}{
		{"GET /", "", 401, ""},
		{"GET /slow", "", 401, ""},
		{"GET /open", "", 200, ""},
		{"GET /open", "bad", 401, ""},
		{"GET /open", tokenOf("alice", map[string]any{"exp": 1}), 401, ""},
		{"GET /open", tokenOf("alice", nil), 200, "alice"},
		{"GET /", tokenOf("alice", nil), 200, "alice"},
	} {
		next.last.Store(nil)
		how := []visitor{}
		if row.token != "" {
			how = append(how, bearer(row.token))
		}
		w := visit(h, row.what, "", how...)
		require.Equal(t, row.status, w.Code, "%+v", row)
		if row.status != 200 {
			assert.Nil(t, next.last.Load(), "%+v", row)
			assert.Contains(t, w.Header().Get("WWW-Authenticate"), "Bearer realm=")
			continue
		}
		who, ok := identity.FromContext(next.last.Load().Context())
		assert.Equal(t, row.who != "", ok)
		assert.Equal(t, row.who, who.Name)
		claims, ok := identity.ClaimsFrom(next.last.Load().Context())
		assert.Equal(t, row.who != "", ok)
		assert.Equal(t, row.who, strings.Join(claims.Strings("sub"), ""))
	}
}

// Fields that only some may send are taken from the others, however spelled,
// before any rule looks at them. The request that came is left as it was.
func TestInboundStrip(t *testing.T) {
	mesh := func(trust identity.Trust) *tulle.Mesh {
		return inbound(t, tulle.Inbound{Trust: trust, Strip: []string{"x-user", "X-Real_IP"}, Rules: []tulle.Rule{{
			Name: "admins", Match: []match.Request{{Headers: []match.Value{{Name: "X-User", Exact: "admin"}}}}, Guard: tulle.Guard{Timeout: time.Hour},
		}}})
	}
	network := identity.Trust{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}}
	who := identity.Trust{Principals: []string{"spiffe://shop/gateway"}}
	for _, row := range []struct {
		name  string
		trust identity.Trust
		how   visitor
		kept  bool
	}{
		{"loopback by default", identity.Trust{}, fromAddr("127.0.0.1:1"), true},
		{"loopback of IPv6", identity.Trust{}, fromAddr("[::1]:1"), true},
		{"loopback, mapped", identity.Trust{}, fromAddr("[::ffff:127.0.0.1]:1"), true},
		{"others by default", identity.Trust{}, fromAddr("192.0.2.1:1"), false},
		{"a unix socket", identity.Trust{}, fromAddr("@"), false},
		{"a unix socket without a name", identity.Trust{}, fromAddr(""), false},
		{"no address", identity.Trust{}, fromAddr("127.0.0.1.evil.test:1"), false},
		{"network", network, fromAddr("10.1.2.3:1"), true},
		{"network, mapped", network, fromAddr("[::ffff:10.1.2.3]:1"), true},
		{"network with a zone", network, fromAddr("[fe80::1%eth0]:1"), true},
		{"another network", network, fromAddr("11.1.2.3:1"), false},
		{"loopback once there is a network", network, fromAddr("127.0.0.1:1"), false},
		{"principal", who, certified("spiffe://shop/gateway"), true},
		{"another principal", who, certified("spiffe://shop/gateway/evil"), false},
		{"an address that says it is trusted", network, with("X-Forwarded-For", "10.0.0.1"), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := mesh(row.trust)
			next := &handled{}
			h := m.Handler(next)
			var came *http.Request
			var header http.Header
			w := visit(h, "GET /", "", with("X-User", "admin"), with("X_user", "admin"), with("X-Real-Ip", "1.2.3.4"), with("X-Users", "stays"), row.how, func(r *http.Request) {
				came, header = r, r.Header.Clone()
			})
			require.Equal(t, 200, w.Code)
			got := next.last.Load().Header
			assert.Equal(t, "stays", got.Get("X-Users"))
			_, matched := next.last.Load().Context().Deadline()
			assert.Equal(t, row.kept, matched, "a rule saw the field of one who may not send it")
			assert.Equal(t, header, came.Header, "the request that came was changed")
			if row.kept {
				assert.Equal(t, header, got)
				assert.Zero(t, m.State().Inbound.Stripped)
				return
			}
			want := header.Clone()
			for _, name := range []string{"X-User", "X_user", "X-Real-Ip"} {
				want.Del(name)
				delete(want, "X_user")
			}
			assert.Equal(t, want, got)
			assert.EqualValues(t, 1, m.State().Inbound.Stripped)
		})
	}
}

// Nobody, trusted or not, can send what authentication says of callers: not
// under a rule whose tokens say nothing of the kind, nor to be matched by it.
func TestInboundClaimedFieldsAreOurs(t *testing.T) {
	claims := tokens()
	claims.ClaimHeaders = map[string]string{"X-Tenant": "tenant"}
	m := inbound(t, tulle.Inbound{Guard: tulle.Guard{Authn: claims}, Rules: []tulle.Rule{
		{Name: "matched", Match: []match.Request{{Headers: []match.Value{{Name: "X-Tenant", Exact: "acme"}}}}, Guard: tulle.Guard{Anonymous: &tulle.Anonymous{}}},
		{Name: "other", Match: []match.Request{{Path: match.Path{Prefix: "/other"}}}, Guard: tulle.Guard{Authn: tokens()}},
	}})
	next := &handled{}
	h := m.Handler(next)
	forged := func(r *http.Request) {
		r.RemoteAddr = "127.0.0.1:1"
		r.Header["X-Tenant"], r.Header["X_tenant"] = []string{"acme"}, []string{"acme"}
	}
	assert.Equal(t, 401, visit(h, "GET /", "", forged).Code)
	require.Equal(t, 200, visit(h, "GET /other", "", forged, bearer(tokenOf("alice", nil))).Code)
	assert.NotContains(t, next.last.Load().Header, "X-Tenant")
	assert.NotContains(t, next.last.Load().Header, "X_tenant")
	require.Equal(t, 200, visit(h, "GET /", "", forged, bearer(tokenOf("alice", map[string]any{"tenant": "own"}))).Code)
	assert.Equal(t, []string{"own"}, next.last.Load().Header["X-Tenant"])
	assert.NotContains(t, next.last.Load().Header, "X_tenant")
}

// A path that a handler may read as one thing and the rules as another is
// refused where that matters, and only there.
func TestInboundPathsWithSeveralReadings(t *testing.T) {
	m := inbound(t, tulle.Inbound{Guard: tulle.Guard{Authn: tokens()}, Rules: []tulle.Rule{
		{Name: "open", Match: []match.Request{{Path: match.Path{Prefix: "/open"}}}, Guard: tulle.Guard{Anonymous: &tulle.Anonymous{}}},
		{Name: "tiny", Match: []match.Request{{Hosts: []string{"other"}, Path: match.Path{Prefix: "/x"}}}, Guard: tulle.Guard{Timeout: time.Hour}},
	}})
	h := m.Handler(&handled{})
	for path, status := range map[string]int{
		"/open":                   200,
		"/open/":                  200,
		"/open//a":                200,
		"/open/a%2Fb":             200,
		"/open/%41":               200,
		"/opener":                 401,
		"/admin":                  401,
		"/admin//x":               401,
		"/x//y":                   401,
		"/open/../admin":          400,
		"/admin/../open":          400,
		"/admin/%2e%2e/open":      400,
		"/open%2F..%2Fadmin":      400,
		"/open/..%2Fadmin":        400,
		"//open":                  400,
		"/./open":                 400,
		"/open/%2e%2e%2fadmin/..": 400,
	} {
		w := visit(h, "GET "+path, "")
		assert.Equal(t, status, w.Code, path)
		if status == 400 {
			assert.Equal(t, "bad_request", problem(t, w), path)
		}
	}
	// Without rules that look at paths there is nothing to be in doubt about.
	h = inbound(t, tulle.Inbound{Rules: []tulle.Rule{{Name: "post", Match: []match.Request{{Methods: []string{"POST"}}}}}}).Handler(&handled{})
	assert.Equal(t, 200, visit(h, "GET /open/../admin", "").Code)
}

// A handler that is wrapped twice is one handler; one of another mesh is not.
func TestInboundCountsOnce(t *testing.T) {
	in := tulle.Inbound{InFlight: &breaker.Limit{InFlight: 1}, Guard: tulle.Guard{Body: &tulle.BodyLimit{MaxBytes: 4}}}
	m, other := inbound(t, in), inbound(t, in)
	next := &handled{}
	require.Equal(t, 200, visit(m.Handler(other.Handler(m.Handler(next))), "GET /", "").Code)
	for _, m := range []*tulle.Mesh{m, other} {
		assert.EqualValues(t, 1, m.State().Inbound.Calls.Calls)
		assert.EqualValues(t, 1, m.State().Inbound.InFlight.Peak)
		assert.Zero(t, m.State().Inbound.Calls.Active)
	}
	assert.EqualValues(t, 1, next.served.Load())
}

// gate is a channel that can be closed more than once.
type gate struct {
	c    chan struct{}
	once atomic.Bool
}

func newGate(c chan struct{}) *gate { return &gate{c: c} }

func (c *gate) close() {
	if c.once.CompareAndSwap(false, true) {
		close(c.c)
	}
}

// sendRaw sends bytes over a connection and returns the answer.
func sendRaw(t testing.TB, w *world, addr, request string) *http.Response {
	t.Helper()
	conn, err := w.net.DialContext(w.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	return resp
}

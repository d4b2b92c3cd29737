package authn_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

func request(fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header[fields[i]] = append(r.Header[fields[i]], fields[i+1])
	}
	return r
}

func TestAuthorizationField(t *testing.T) {
	v := verifier(t, static(named(edKey(), "k")))
	good := ed("k")
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"good":             {[]string{"Authorization", "Bearer " + good}, "<nil>"},
		"small letters":    {[]string{"Authorization", "bearer " + good}, "<nil>"},
		"capitals":         {[]string{"Authorization", "BEARER " + good}, "<nil>"},
		"none":             {nil, "missing"},
		"empty":            {[]string{"Authorization", ""}, "missing"},
		"another scheme":   {[]string{"Authorization", "Basic YTpi"}, "missing"},
		"DPoP":             {[]string{"Authorization", "DPoP " + good}, "missing"},
		"no scheme":        {[]string{"Authorization", good}, "missing"},
		"prefix":           {[]string{"Authorization", "Bearer2 " + good}, "missing"},
		"look-alike":       {[]string{"Authorization", "\u0412earer " + good}, "missing"},
		"no token":         {[]string{"Authorization", "Bearer"}, "malformed"},
		"space":            {[]string{"Authorization", "Bearer "}, "malformed"},
		"spaces":           {[]string{"Authorization", "Bearer  " + good}, "malformed"},
		"tab":              {[]string{"Authorization", "Bearer\t" + good}, "missing"},
		"space after":      {[]string{"Authorization", "Bearer " + good + " "}, "malformed"},
		"two tokens":       {[]string{"Authorization", "Bearer " + good + " " + good}, "malformed"},
		"list":             {[]string{"Authorization", "Bearer " + good + ", Bearer " + good}, "malformed"},
		"quoted":           {[]string{"Authorization", `Bearer "` + good + `"`}, "malformed"},
		"two fields":       {[]string{"Authorization", "Bearer " + good, "Authorization", "Bearer " + good}, "repeated"},
		"Basic and Bearer": {[]string{"Authorization", "Basic YTpi", "Authorization", "Bearer " + good}, "repeated"},
		"another field":    {[]string{"X-Authorization", "Bearer " + good}, "missing"},
	} {
		r := request(c.fields...)
		before := r.Header.Clone()
		_, err := v.Authenticate(r)
		assert.Equal(t, c.want, kindOf(err), name)
		assert.Equal(t, before, r.Header, name)
	}
	r := httptest.NewRequest("POST", "/?access_token="+good, strings.NewReader("access_token="+good))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, err := v.Authenticate(r)
	assert.Equal(t, "missing", kindOf(err), "tokens in URLs end up in logs")
	assert.Nil(t, r.Form, "the body is the handler's")
}

func TestOtherHeader(t *testing.T) {
	p := static(named(edKey(), "k"))
	p.Header = "x-jwt-assertion"
	v := verifier(t, p)
	for want, r := range map[string]*http.Request{
		"<nil>":     request("X-Jwt-Assertion", ed("k")),
		"missing":   request("Authorization", "Bearer "+ed("k")),
		"malformed": request("X-Jwt-Assertion", "Bearer "+ed("k")),
		"repeated":  request("X-Jwt-Assertion", ed("k"), "X-Jwt-Assertion", ed("k")),
	} {
		_, err := v.Authenticate(r)
		assert.Equal(t, want, kindOf(err))
	}
}

func TestAnswers(t *testing.T) {
	p := static(named(edKey(), "k"))
	p.Realm, p.Scopes = `the "shop"`, []string{"read"}
	p.Issuers = append(p.Issuers, authn.Issuer{
		Issuer: "https://down.example", Audiences: []string{audience},
		JWKSURL: "https://down.example/jwks", Transport: &visitor{answer: func(r *http.Request) *http.Response {
			return &http.Response{StatusCode: 500, Body: http.NoBody, Request: r}
		}},
	})
	v := verifier(t, p)
	h := v.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it gets through") }))
	const realm = `Bearer realm="the \"shop\""`
	for name, c := range map[string]struct {
		fields    []string
		status    int
		challenge string
		detail    string
	}{
		"missing":  {nil, 401, realm, "a bearer token is required"},
		"scheme":   {[]string{"Authorization", "Basic YTpi"}, 401, realm, "a bearer token is required"},
		"repeated": {[]string{"Authorization", "Bearer a", "Authorization", "Bearer b"}, 400, realm + `, error="invalid_request", error_description="there is more than one token"`, "there is more than one token"},
		"bad":      {[]string{"Authorization", "Bearer secret-token"}, 401, realm + `, error="invalid_token", error_description="the token is not accepted"`, "the token is not accepted"},
		"audience": {[]string{"Authorization", "Bearer " + token(edKey(), "EdDSA", "k", object{"aud": "other"})}, 401, realm + `, error="invalid_token", error_description="the token is not accepted"`, "the token is not accepted"},
		"expired":  {[]string{"Authorization", "Bearer " + token(edKey(), "EdDSA", "k", object{"exp": 1, "iat": 0})}, 401, realm + `, error="invalid_token", error_description="the token has expired"`, "the token has expired"},
		"scope":    {[]string{"Authorization", "Bearer " + ed("k")}, 403, realm + `, error="insufficient_scope", error_description="the token lacks a scope", scope="read"`, "the token lacks a scope"},
		"no keys":  {[]string{"Authorization", "Bearer " + token(edKey(), "EdDSA", "k", object{"iss": "https://down.example"})}, 503, "", "tokens cannot be verified at present"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, request(c.fields...))
			assert.Equal(t, c.status, rec.Code)
			assert.Equal(t, c.challenge, rec.Header().Get("WWW-Authenticate"))
			assert.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
			assert.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
			assert.Equal(t, c.status == 503, rec.Header().Get("Retry-After") != "")
			assert.NotEqual(t, "0", rec.Header().Get("Retry-After"))
			var body map[string]any
			require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &body))
			assert.Equal(t, map[string]any{
				"type": "about:blank", "title": http.StatusText(c.status), "status": float64(c.status), "detail": c.detail,
			}, body)
		})
	}
}

func TestMiddlewareTellsWhoCalls(t *testing.T) {
	v := verifier(t, static(named(edKey(), "k")))
	h := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := identity.FromContext(r.Context())
		assert.True(t, ok)
		assert.Equal(t, identity.Principal{Kind: identity.Token, Name: "alice", Issuer: issuerName}, p)
		c, ok := identity.ClaimsFrom(r.Context())
		assert.True(t, ok)
		assert.Equal(t, []string{"reviews"}, c.Strings("aud"))
		assert.NotEmpty(t, r.Header.Get("Authorization"), "the token stays unless Strip is set")
		w.WriteHeader(http.StatusTeapot)
	}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, request("Authorization", "Bearer "+ed("k")))
	assert.Equal(t, http.StatusTeapot, rec.Code)
}

func TestClaimHeadersAndStrip(t *testing.T) {
	p := static(named(edKey(), "k"))
	p.Strip = true
	p.ClaimHeaders = map[string]string{"x-user": "sub", "X-Groups": "realm.groups", "X-Bad": "bad", "X-None": "none"}
	v := verifier(t, p)
	signed := token(edKey(), "EdDSA", "k", object{"realm": object{"groups": []string{"a", "b"}}, "bad": "x\r\nX-Admin: yes"})
	forged := []string{
		"X-User", "root", "X_user", "root", "x-USER", "root", "X-Groups", "wheel", "X-Bad", "1", "X-None", "1", "Accept", "*/*",
	}
	r := request(append(forged, "Authorization", "Bearer "+signed)...)
	before := r.Header.Clone()
	got, err := v.Authenticate(r)
	require.NoError(t, err)
	out := v.Attach(r, got)
	assert.Equal(t, http.Header{"X-User": {"alice"}, "X-Groups": {"a,b"}, "Accept": {"*/*"}}, out.Header)
	assert.Equal(t, before, r.Header, "the request as it came is left alone")
	// Whoever may come without a token gets no name either.
	out = v.Attach(r, authn.Token{})
	want := maps.Clone(http.Header{"Accept": {"*/*"}})
	want.Set("Authorization", "Bearer "+signed)
	assert.Equal(t, want, out.Header)
	_, ok := identity.FromContext(out.Context())
	assert.False(t, ok)
	// Without ClaimHeaders they are somebody else's.
	assert.Equal(t, before, verifier(t, static(named(edKey(), "k"))).Attach(r, got).Header)
}

// What a claim says reaches the program behind a reverse proxy of the handler,
// even if the caller has called its field one of the connection's alone.
func TestClaimHeadersAreNotOfTheConnection(t *testing.T) {
	p := static(named(edKey(), "k"))
	p.ClaimHeaders = map[string]string{"X-User": "sub"}
	v := verifier(t, p)
	for listed, left := range map[string][]string{
		"X-User": nil, "close, x-user": {"close"}, "X_USER ,,Upgrade,\tx-user\t,X-Users": {"Upgrade, X-Users"}, "close": {"close"},
	} {
		var got http.Header
		behind := &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "behind"}) },
			Transport: &visitor{answer: func(r *http.Request) *http.Response {
				got = r.Header
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}
			}},
		}
		r := request("Authorization", "Bearer "+ed("k"), "Connection", listed)
		before := r.Header.Clone()
		seen := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, left, r.Header["Connection"], listed)
			behind.ServeHTTP(w, r)
		})
		v.Middleware(seen).ServeHTTP(httptest.NewRecorder(), r)
		assert.Equal(t, []string{"alice"}, got["X-User"], listed)
		assert.Equal(t, before, r.Header)
	}
}

// A value with a comma among several would be two to whoever reads the field.
func TestClaimHeadersHaveAsManyValuesAsTheClaim(t *testing.T) {
	p := static(named(edKey(), "k"))
	p.ClaimHeaders = map[string]string{"X-Groups": "groups"}
	v := verifier(t, p)
	for name, row := range map[string]struct {
		claim any
		want  []string
	}{
		"several":         {[]string{"a", "b"}, []string{"a,b"}},
		"one with commas": {"Doe, Jane", []string{"Doe, Jane"}},
		"hidden":          {[]string{"a", "b,wheel"}, nil},
	} {
		r := request("Authorization", "Bearer "+token(edKey(), "EdDSA", "k", object{"groups": row.claim}))
		got, err := v.Authenticate(r)
		require.NoError(t, err)
		assert.Equal(t, row.want, v.Attach(r, got).Header["X-Groups"], name)
	}
}

// A request that passes keeps every contract of a Handler.
func TestConformance(t *testing.T) {
	enforced := static(named(edKey(), "k"))
	enforced.Header, enforced.Strip, enforced.ClaimHeaders = "X-Token", true, map[string]string{"X-None": "none"}
	v := verifier(t, enforced)
	tulletest.TestHandler(t, func(next http.Handler) http.Handler {
		h := v.Middleware(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// The token comes with a request of our own, and goes no further.
			r = r.WithContext(r.Context())
			r.Header = r.Header.Clone()
			r.Header.Set("X-Token", ed("k"))
			h.ServeHTTP(w, r)
		})
	})
	observed := static(named(edKey(), "k"))
	observed.Mode = outcome.Observe
	tulletest.TestHandler(t, verifier(t, observed).Middleware)
}

// What is logged names the fault and never holds a token.
func TestLog(t *testing.T) {
	var log bytes.Buffer
	v, err := authn.New(static(named(edKey(), "ed"), named(ecKey(), "ec"), named(rsaKey(), "rsa")), authn.Options{
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	for name, c := range hostile(t) {
		log.Reset()
		_, err := v.Verify(t.Context(), c[0])
		require.Error(t, err)
		assert.Contains(t, log.String(), c[1], name)
		if len(c[0]) > 100 {
			assert.NotContains(t, log.String(), c[0][len(c[0])-50:], name)
		}
	}
	log.Reset()
	_, err = v.Authenticate(request())
	require.Error(t, err)
	assert.Empty(t, log.String(), "that there is no token is nothing to talk about")
}

func TestLogOfKeySets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := newServer(t, jwks(named(edKey(), "a")))
		p := s.policy(t)
		p.Issuers[0].JWKSURL += "?key=secret"
		v, err := authn.New(p, authn.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		require.Equal(t, "<nil>", verify(t, v, ed("a")))
		s.network.Refuse("127.0.0.1:8080")
		s.network.Reset("127.0.0.1:8080")
		time.Sleep(time.Hour)
		s.network.Heal("127.0.0.1:8080")
		time.Sleep(10 * time.Minute)
		require.NoError(t, v.Close())
		assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), "what has been said need not be said again:\n%s", &log)
		assert.Equal(t, 1, strings.Count(log.String(), "again"))
		assert.NotContains(t, log.String(), "secret")
		assert.Equal(t, jwksURL, v.Stats().KeySets[issuerName].URL)
	})
}

func TestErrorIsAnError(t *testing.T) {
	cause := errors.New("cause")
	err := error(&authn.Error{Kind: authn.UnknownKey, Issuer: "i", Detail: "d", Err: cause})
	assert.EqualError(t, err, "authn: token of an unknown key of i: d: cause")
	assert.ErrorIs(t, err, cause)
	names := map[string]bool{}
	for k := authn.Missing; k <= authn.KeysUnavailable; k++ {
		e := &authn.Error{Kind: k}
		assert.False(t, names[k.String()], k)
		names[k.String()] = true
		assert.GreaterOrEqual(t, e.Status(), 400)
		assert.NotEmpty(t, e.Text())
	}
	assert.Equal(t, "malformed", authn.Kind(99).String())
}

package tulle_test

import (
	"cmp"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/match"
)

// underRule wraps a handler by that of a mesh with one rule, which either opens
// what it matches, in a server that wants a token otherwise, or wants one for
// what it matches, in a server that is open.
func underRule(t testing.TB, opens bool, next http.Handler, matches ...match.Request) http.Handler {
	t.Helper()
	closed := tulle.Guard{Authn: tokens()}
	rule := tulle.Rule{Name: "some", Match: matches, Guard: closed}
	in := tulle.Inbound{Rules: []tulle.Rule{rule}}
	if opens {
		in.Guard, in.Rules[0].Guard = closed, tulle.Guard{Anonymous: &tulle.Anonymous{}}
	}
	return inbound(t, in).Handler(next)
}

// toHost sets what a client may write into the field Host.
func toHost(host string) visitor { return func(r *http.Request) { r.Host, r.URL.Host = host, "" } }

// Whatever a client makes of the name of a host, what http.ServeMux takes for
// one that a rule guards is not handled without a token, nor is anything but
// that with one for a host that is open. Without the rule the handler is
// reached.
func TestRulesByHostHoldWhateverTheHandlerTakesItFor(t *testing.T) {
	hosts := []string{
		"admin.test", "ADMIN.test", "admin.test.", "admin.test:80", "admin.test:", "admin.test:abc", "admin.test:99999", "admin.test:0",
		"[admin.test]:80", "[admin.test]:", "[admin.test]", "admin.test:80:80", "admin.test..", "user@admin.test", "x.admin.test", "",
		"other.test", "[::1]:80", "[::1%25admin.test]:80",
	}
	secrets := 0
	for _, opens := range []bool{false, true} {
		mux := http.NewServeMux()
		closed, open := "admin.test/", "/"
		if opens {
			closed, open = open, closed
		}
		mux.HandleFunc(closed, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
		mux.HandleFunc(open, func(http.ResponseWriter, *http.Request) {})
		h := underRule(t, opens, mux, match.Request{Hosts: []string{"admin.test"}})
		for _, host := range hosts {
			status := visit(h, "GET /", "", toHost(host)).Code
			assert.NotEqual(t, http.StatusTeapot, status, "opens %v: %q", opens, host)
			if visit(mux, "GET /", "", toHost(host)).Code == http.StatusTeapot {
				secrets++
			}
			if host == "admin.test" || host == "admin.test:80" || host == "other.test" || host == "" || host == "[::1]:80" {
				assert.NotEqual(t, http.StatusBadRequest, status, "%q is plain", host)
			}
		}
	}
	require.Greater(t, secrets, 15, "of the hosts that the handler alone gives away")
}

// A rule for GET is one for HEAD, as routers have it, unless one before it is
// for that.
func TestRulesForGETAreForHEAD(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	get := match.Request{Methods: []string{"GET"}}
	h := underRule(t, false, mux, get)
	assert.Equal(t, 401, visit(h, "GET /", "").Code)
	assert.Equal(t, 401, visit(h, "HEAD /", "").Code)
	assert.Equal(t, http.StatusTeapot, visit(mux, "HEAD /", "").Code, "the handler alone")
	assert.Equal(t, http.StatusTeapot, visit(underRule(t, true, mux, get), "HEAD /", "").Code)

	m := inbound(t, tulle.Inbound{Guard: tulle.Guard{Authn: tokens()}, Rules: []tulle.Rule{
		{Name: "head", Match: []match.Request{{Methods: []string{"HEAD"}}}, Guard: tulle.Guard{Anonymous: &tulle.Anonymous{}}},
		{Name: "get", Match: []match.Request{get}},
	}})
	assert.Equal(t, http.StatusTeapot, visit(m.Handler(mux), "HEAD /", "").Code)
	assert.Equal(t, 401, visit(m.Handler(mux), "GET /", "").Code)
}

// Routers that go by the path as it was sent, as chi and echo do, do not take
// what is encoded without need for what a rule takes it for. What clients do
// encode makes no difference.
func TestRulesByPathHoldForRoutersOfRawPaths(t *testing.T) {
	for _, opens := range []bool{false, true} {
		router := rawRouter(opens)
		h := underRule(t, opens, router, match.Request{Path: match.Path{Prefix: "/some"}})
		for path, plain := range map[string]bool{
			"/some": true, "/some/": true, "/some/@me": true, "/some/%40me": true, "/some/a%2fb": true, "/some/a%20b": true,
			"/some/caf%c3%a9": true, "/some/%2e": true, "/some/%61": true,
			"/%73ome": false, "/som%65/x": false, "/some%2fx": false, "/other/%2e%2e/some": false, "/some/%2e%2e/other": false,
			"//some": false, "/some/..%2fother": false, "/%2573ome": false,
			"/some/a;b": true, "/some;a": false, "/other;a/x": true, "/100%25": true, `/some/a%5cb`: true,
		} {
			got := visit(h, "GET "+path, "").Code
			assert.NotEqual(t, http.StatusTeapot, got, "opens %v: %s", opens, path)
			if plain {
				assert.NotEqual(t, 400, got, "opens %v: %s", opens, path)
			}
		}
		require.Equal(t, http.StatusTeapot, visit(router, "GET "+map[bool]string{true: "/%73ome", false: "/some"}[opens], "").Code)
	}
}

// rawRouter hands out what is below /some, or all but that.
func rawRouter(except bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := cmp.Or(r.URL.RawPath, r.URL.Path)
		if some := path == "/some" || strings.HasPrefix(path, "/some/"); some != except {
			w.WriteHeader(http.StatusTeapot)
		}
	})
}

// A server hands all of these on to its handler.
func TestRulesByHostOverTheNetwork(t *testing.T) {
	inBubble(t, func(w *world) {
		mux := http.NewServeMux()
		mux.HandleFunc("admin.test/", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusTeapot) })
		w.net.Serve(w.T, "10.0.0.1:80", mux)
		w.net.Serve(w.T, "10.0.0.2:80", underRule(w.T, false, mux, match.Request{Hosts: []string{"admin.test"}}))
		for host, status := range map[string]int{"admin.test": 401, "admin.test:x": 400, "[admin.test]:": 400} {
			request := "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
			assert.Equal(t, http.StatusTeapot, sendRaw(w, w, "10.0.0.1:80", request).StatusCode, host)
			assert.Equal(t, status, sendRaw(w, w, "10.0.0.2:80", request).StatusCode, host)
		}
	})
}

// A program behind a gateway may read what this one hands on in ways of its
// own: with parameters of segments, backslashes, and escapes within escapes.
func TestRulesByPathHoldForProgramsBehind(t *testing.T) {
	for _, opens := range []bool{false, true} {
		h := underRule(t, opens, &handled{}, match.Request{Path: match.Path{Prefix: "/some"}})
		for path, status := range map[string]int{
			"/some;v=1/x": 400, "/some;/x": 400, "/%73ome;x": 400, "/x/..;/some": 400, "/x/..;a=b/..;/some/y": 400,
			`/x/..%5csome`: 400, `/x%5c..%5csome`: 400, "/%2573ome": 400, "/x/%252e%252e/some": 400, "/x%252f..%252fsome": 400,
			"/some/..;/x": 400, "/some/%252e%252e/x": 400,
			"/some/a;b=c/d": 0, "/x;some/a": 0, `/some/a%5cb`: 0, "/100%25/x": 0, "/some/100%25": 0,
		} {
			got := visit(h, "GET "+path, "").Code
			if status == 400 {
				assert.Equal(t, 400, got, "opens %v: %s", opens, path)
			} else {
				assert.Contains(t, []int{200, 401}, got, "opens %v: %s", opens, path)
			}
		}
	}
}

// Hosts that are two, or none, are no ground for a guard, and neither is what
// only a path and a host that are both odd would lead to.
func TestRulesInDoubt(t *testing.T) {
	mesh := inbound(t, tulle.Inbound{Rules: []tulle.Rule{{
		Name: "some", Guard: tulle.Guard{Timeout: time.Hour},
		Match: []match.Request{{Hosts: []string{"admin.test"}, Path: match.Path{Prefix: "/a"}}, {Path: match.Path{Prefix: "/b"}}},
	}}})
	h := mesh.Handler(&handled{})
	two := func(r *http.Request) { r.Host, r.URL.Host = "admin.test", "other.test" }
	for name, row := range map[string]struct {
		what   string
		host   visitor
		status int
	}{
		"one host":      {"GET /a", toHost("admin.test"), 200},
		"two hosts":     {"GET /a", two, 400},
		"a port alone":  {"GET /a", toHost(":80"), 400},
		"odd path":      {"GET /a/../b", toHost("admin.test"), 200},
		"odd host":      {"GET /b", toHost("ADMIN.test"), 200},
		"both odd":      {"GET /a/../b", toHost("ADMIN.test"), 400},
		"no host there": {"GET /a/../b", toHost(""), 400},
	} {
		assert.Equal(t, row.status, visit(h, row.what, "", row.host).Code, name)
	}
}

package tulle_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/match"
)

// FuzzReadings: no spelling of a host and a path gets http.ServeMux, or a
// router that goes by the path as it was sent, to hand out what is under
// another guard.
func FuzzReadings(f *testing.F) {
	for _, host := range []string{"admin.test", "ADMIN.test", "admin.test.", "admin.test:x", "[admin.test]:80", "other", "]", "[", "[]:", "[::1]", ""} {
		for _, path := range []string{"/some", "/%73ome/x", "/other/%2e%2e/some", "//some", "/some/..%2fother", "/%", "*", "/some;x", "/SOME"} {
			f.Add(host, path)
		}
	}
	secret := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	type route struct {
		pattern string
		match   match.Request
	}
	handlers := map[string]http.Handler{}
	for _, route := range []route{
		{"admin.test/", match.Request{Hosts: []string{"admin.test"}}},
		{"/some/", match.Request{Path: match.Path{Prefix: "/some"}}},
		{"admin.test/some/", match.Request{Hosts: []string{"admin.test"}, Path: match.Path{Prefix: "/some"}}},
	} {
		mux, open := http.NewServeMux(), http.NewServeMux()
		mux.Handle(route.pattern, secret)
		mux.Handle("/", nothing)
		open.Handle(route.pattern, nothing)
		open.Handle("/", secret)
		handlers["closed mux "+route.pattern] = underRule(f, false, mux, route.match)
		handlers["open mux "+route.pattern] = underRule(f, true, open, route.match)
	}
	some := match.Request{Path: match.Path{Prefix: "/some"}}
	handlers["closed raw"], handlers["open raw"] = underRule(f, false, rawRouter(false), some), underRule(f, true, rawRouter(true), some)
	f.Fuzz(func(t *testing.T, host, path string) {
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		if _, err := url.ParseRequestURI(path); err != nil || strings.ContainsAny(host+path, " \t\r\n\x00") {
			return
		}
		for name, h := range handlers {
			// As a server reads it.
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
			if err != nil {
				return
			}
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code == http.StatusTeapot {
				t.Errorf("%s: host %q, path %q", name, host, path)
			}
		}
	})
}

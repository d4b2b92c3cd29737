package authz_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/tulle-mesh/tulle/authz"
)

// hostile are targets that somebody reads as something below /admin, or as
// something not below /public, though they look otherwise.
var hostile = []string{
	"//admin", "/admin//x", "//", "/public//admin", "///admin///",
	"/./admin", "/public/.", "/public/./x", "/.",
	"/public/../admin", "/..", "/../admin", "/admin/..", "/public/..",
	"/public/%2e%2e/admin", "/public/%2E%2E/admin", "/public/.%2e/admin", "/public/%2e/admin", "/%2e%2e/admin",
	"/public%2F..%2Fadmin", "/public%2f%2e%2e%2fadmin", "/%2Fadmin", "/admin%2Fx", "/public/..%2fadmin", "%2Fadmin",
	"/%61dmin", "/admi%6E", "/%41dmin", "/public/%61", "/%7Eadmin", "/a%2Dmin",
	"/%2561dmin", "/public/%252e%252e/admin", "/public%252F..%252Fadmin", "/100%25", "/%25",
	"/admin;x", "/admin;/x", "/public;x/admin", "/public/..;/admin", "/public/;/admin", "/public/..;a=b/admin", "/admin%3B",
	`/admin\x`, `/public\..\admin`, "/admin%5Cx", "/public/..%5cadmin", "/public/%5C..%5Cadmin",
	"/admin%00", "/%00admin", "/admin%0a", "/admin%0D%0A", "/admin%09", "/admin%7F",
	"/admin%3Fx", "/admin%23x", "/admin%3f",
	"/admin\xff", "/admin%ff", "/%c0%afadmin", "/%c0%ae%c0%ae/admin", "/%ed%a0%80",
	"*",
}

func TestHostilePaths(t *testing.T) {
	rules := map[string]authz.Operation{
		"prefix":   {Paths: []authz.Path{{Prefix: "/admin"}}},
		"exact":    {Paths: []authz.Path{{Exact: "/admin"}}},
		"public":   {Paths: []authz.Path{{Prefix: "/public"}}},
		"root":     {Paths: []authz.Path{{Prefix: "/"}}},
		"excluded": {NotPaths: []authz.Path{{Prefix: "/public"}}},
		"both":     {Paths: []authz.Path{{Prefix: "/"}}, NotPaths: []authz.Path{{Prefix: "/admin"}}},
	}
	for _, target := range hostile {
		r, err := read("GET " + target)
		if err != nil {
			continue // net/http refuses it
		}
		for name, to := range rules {
			if got := ask(t, authz.Rule{To: []authz.Operation{to}}, r); got != inDoubt {
				t.Errorf("%s: %q (%q, %q): %+v, want doubt", name, target, r.URL.Path, r.URL.RawPath, got)
			}
		}
		// Rules that do not look at paths do not care.
		if got := ask(t, authz.Rule{To: []authz.Operation{{Methods: []string{"GET"}}}}, r); got != holds {
			t.Errorf("%q: without conditions on paths: %+v", target, got)
		}
	}
}

func TestPlainPaths(t *testing.T) {
	prefix, exact := authz.Path{Prefix: "/a/b"}, authz.Path{Exact: "/a/b"}
	for _, c := range []struct {
		path   authz.Path
		target string
		want   answers
	}{
		{prefix, "/a/b", holds},
		{prefix, "/a/b/", holds},
		{prefix, "/a/b/c", holds},
		{prefix, "/a/b?x=//../%2e", holds},
		{prefix, "/a/bc", fails},
		{prefix, "/a", fails},
		{prefix, "/A/b", fails},
		{prefix, "/c/a/b", fails},
		{prefix, "http://shop.example/a/b/c", holds},
		{exact, "/a/b", holds},
		{exact, "/a/b/", inDoubt},
		{exact, "/a/b/c", fails},
		{authz.Path{Exact: "/a/b/"}, "/a/b", inDoubt},
		{authz.Path{Exact: "/a/b/"}, "/a/b/", holds},
		{authz.Path{Prefix: "/a/b/"}, "/a/b", holds},
		{authz.Path{Exact: "/"}, "/", holds},
		{authz.Path{Exact: "/"}, "/a", fails},
		{authz.Path{Exact: "/"}, "http://shop.example", holds},
		{authz.Path{Prefix: "/"}, "/a/b/c/d", holds},
		{authz.Path{Exact: "/caf%C3%A9"}, "/caf%c3%a9", holds},
		{authz.Path{Exact: "/café"}, "/caf%C3%A9", holds},
		{authz.Path{Exact: "/café"}, "/café", holds},
		{authz.Path{Prefix: "/a b"}, "/a%20b/c", holds},
		{authz.Path{Prefix: "/a,b"}, "/a%2Cb/(c)/~d/-e_f.g", holds},
		{authz.Path{Prefix: "/.well-known"}, "/.well-known/x", holds},
		{authz.Path{Prefix: "/..."}, "/.../..a/b..", holds},
		{authz.Path{Prefix: "/a:b@c"}, "/a:b@c/d+e&f=g", holds},
	} {
		if got := ask(t, authz.Rule{To: []authz.Operation{{Paths: []authz.Path{c.path}}}}, parse(t, "GET "+c.target)); got != c.want {
			t.Errorf("%+v, %q: %+v, want %+v", c.path, c.target, got, c.want)
		}
	}
}

// TestConnect: the target of CONNECT is no path, unless it looks like one.
func TestConnect(t *testing.T) {
	rule := authz.Rule{To: []authz.Operation{{Paths: []authz.Path{{Prefix: "/"}}}}}
	if got := ask(t, rule, parse(t, "CONNECT shop.example:443")); got != inDoubt {
		t.Errorf("authority form: %+v", got)
	}
	if got := ask(t, rule, parse(t, "CONNECT /rpc")); got != holds {
		t.Errorf("a path: %+v", got)
	}
	if got := ask(t, rule, parse(t, "CONNECT /rpc/../admin")); got != inDoubt {
		t.Errorf("a path with dots, which ServeMux does not resolve: %+v", got)
	}
}

// TestPathsByHand has URLs that net/http does not parse but code in between
// makes.
func TestPathsByHand(t *testing.T) {
	rule := authz.Rule{To: []authz.Operation{{Paths: []authz.Path{{Prefix: "/a"}}}}}
	for _, c := range []struct {
		u    *url.URL
		want answers
	}{
		{nil, inDoubt},
		{&url.URL{}, fails}, // "/"
		{&url.URL{Path: "a"}, inDoubt},
		{&url.URL{Path: "/a"}, holds},
		{&url.URL{Path: "/a", RawPath: "/a"}, holds},
		{&url.URL{Path: "/a", RawPath: "/b"}, inDoubt},
		{&url.URL{Path: "/a", RawPath: "/a/b"}, inDoubt},
		{&url.URL{Path: "/a/b", RawPath: "/a"}, inDoubt},
		{&url.URL{Path: "/a", RawPath: "/a%"}, inDoubt},
		{&url.URL{Path: "/a", RawPath: "/a%2"}, inDoubt},
		{&url.URL{Path: "/ag", RawPath: "/a%zz"}, inDoubt},
		{&url.URL{Path: "/a,b", RawPath: "/a%2cb"}, fails},
		{&url.URL{RawPath: "/a"}, inDoubt},
		{&url.URL{Opaque: "/a", Path: "/a"}, inDoubt},
		{&url.URL{Path: "/a%2Fb"}, inDoubt},
	} {
		r := &http.Request{Method: http.MethodGet, URL: c.u, Host: "shop.example"}
		if got := ask(t, rule, r); got != c.want {
			t.Errorf("%#v: %+v, want %+v", c.u, got, c.want)
		}
	}
}

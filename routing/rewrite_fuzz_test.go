package routing_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

// FuzzRewrite: what is sent after a rewrite is, judged again, the new prefix and
// the rest of what was judged; and a redirect to it stays on its host.
func FuzzRewrite(f *testing.F) {
	for _, path := range []string{"/foo/bar", "/foo//evil.com", "/foo/%2F%2Fevil.com", "/foo/../..//e", "/foo/%5Cevil", "/foo%2Fx", "/foo/%2e%2e/", "/foo/\\evil"} {
		f.Add(path, "/foo", "/xyz", "q=\r\nSet-Cookie: a")
		f.Add(path, "/", "/", "")
	}
	f.Fuzz(func(t *testing.T, path, prefix, replacement, query string) {
		u, err := url.Parse("http://h" + path)
		if err != nil || u.Host != "h" || u.User != nil {
			return
		}
		u.RawQuery = query
		rewrite := routing.Rewrite{Prefix: replacement}
		p, err := match.Path{Prefix: prefix}.Canonical()
		canonical := match.CanonicalPath(u)
		if err != nil || prefix == "" || rewrite.Validate() != nil {
			return
		}
		rest, ok := strings.CutPrefix(canonical, strings.TrimSuffix(p.Prefix, "/"))
		if !ok || rest != "" && rest[0] != '/' {
			return
		}
		r := &http.Request{URL: u}
		rewrite.Apply(r, p.Prefix)
		to, _ := match.Path{Prefix: replacement}.Canonical()
		want := strings.TrimSuffix(to.Prefix, "/") + rest
		if want == "" {
			want = "/"
		}
		if got := match.CanonicalPath(r.URL); got != want {
			t.Fatalf("%q, %q to %q: %q, want %q", path, prefix, replacement, got, want)
		}

		redirect := routing.Redirect{Prefix: replacement}
		location := redirect.Location(&http.Request{URL: u, Host: "h"}, p.Prefix)
		target, err := url.Parse(location)
		if err != nil || target.Host != "" || target.Scheme != "" || !strings.HasPrefix(location, "/") ||
			strings.HasPrefix(location, "//") || strings.ContainsAny(location, "\\\r\n\t \x00") {
			t.Fatalf("%q leads to %q, %v", path, location, err)
		}
		// A '?' or '#' in the path would move the border between path and query.
		if match.CanonicalPath(target) != want {
			t.Fatalf("%q leads to %q, want the path %q", path, location, want)
		}
	})
}

package match_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/match"
)

var canonicalPaths = []struct{ escaped, want string }{
	{"", "/"},
	{"/", "/"},
	{"*", "*"},
	{"/a", "/a"},
	{"/a/", "/a/"},
	{"/a/b", "/a/b"},
	{"//", "/"},
	{"//evil.com/x", "/evil.com/x"},
	{"/a//b///c", "/a/b/c"},
	{"/a//", "/a/"},
	{"/.", "/"},
	{"/..", "/"},
	{"/../../etc", "/etc"},
	{"/a/.", "/a/"},
	{"/a/..", "/"},
	{"/a/b/..", "/a/"},
	{"/a/./b", "/a/b"},
	{"/a/../b", "/b"},
	{"/a//../b", "/b"},
	{"/a/.../b", "/a/.../b"},
	{"/a/..b/.c/d..", "/a/..b/.c/d.."},
	{"/a/%2e%2E/b", "/b"},
	{"/a/%2e/b", "/a/b"},
	{"/a/.%2e/b", "/b"},
	{"/%61%62", "/ab"},
	{"/caf%C3%A9", "/café"},
	{"/a%20b+c", "/a b+c"},
	{"/v1%2Fx", "/v1%2Fx"},
	{"/v1%2fx", "/v1%2Fx"},
	{"/a%2F..%2Fb", "/a%2F..%2Fb"},
	{"/a%2F../b", "/a%2F../b"},
	{"/a/%2F/../b", "/a/b"},
	{"/100%25", "/100%25"},
	{"/%252F", "/%252F"},
	{"/%252e%252e/a", "/%252e%252e/a"},
	{"/a%2Fb/100%25/%3B;", "/a%2Fb/100%25/;;"},
	{"/a%5Cb", `/a\b`},
	{"/a%00b", "/a\x00b"},
}

func TestCanonicalPath(t *testing.T) {
	for _, c := range canonicalPaths {
		u := &url.URL{Scheme: "http", Host: "h", Path: "*"}
		if c.escaped != "*" {
			var err error
			if u, err = url.Parse("http://h" + c.escaped); err != nil {
				t.Fatal(err)
			}
		}
		if got := match.CanonicalPath(u); got != c.want {
			t.Errorf("%q: %q, want %q", c.escaped, got, c.want)
		}
	}
}

// TestCanonicalPathByHand has URLs that no parser makes but callers do.
func TestCanonicalPathByHand(t *testing.T) {
	for _, c := range []struct {
		url     url.URL
		want    string
		escaped string
	}{
		{url.URL{Path: "a/b"}, "/a/b", "/a/b"},
		{url.URL{Path: "/a%2Fb"}, "/a%252Fb", "/a%252Fb"},
		// RawPath does not mean Path, so that net/url sends Path.
		{url.URL{Path: "/a/b", RawPath: "/x%2Fy"}, "/a/b", "/a/b"},
		{url.URL{Path: "/a b/c", RawPath: "/a b%2Fc"}, "/a b/c", "/a%20b/c"},
		// A client sends the Opaque part.
		{url.URL{Host: "h", Path: "/x", Opaque: "//h/a%2Fb/../c?q"}, "/c", "/c"},
		{url.URL{Host: "h", Path: "/x", Opaque: "//h/a/%2E%2e/a%2Fc"}, "/a%2Fc", "/a%2Fc"},
		{url.URL{Host: "h", Path: "/x", Opaque: "//h"}, "/", "/"},
		{url.URL{Host: "h", Path: "/x", Opaque: "/a"}, "/a", "/a"},
		{url.URL{Host: "h", Path: "/x", Opaque: "/100%"}, "/100%25", "/100%25"},
		// A server's handlers look at Path.
		{url.URL{Scheme: "a", Opaque: "b"}, "/", "/"},
	} {
		if got := match.CanonicalPath(&c.url); got != c.want {
			t.Errorf("%#v: canonical %q, want %q", c.url, got, c.want)
		}
		if got := match.EscapedPath(&c.url); got != c.escaped {
			t.Errorf("%#v: escaped %q, want %q", c.url, got, c.escaped)
		}
	}
}

// naivePath computes the canonical path from segments alone.
func naivePath(escaped string) string {
	if escaped == "*" {
		return escaped
	}
	var out []string
	segments := strings.Split(strings.TrimPrefix(escaped, "/"), "/")
	for i, segment := range segments {
		text, _ := url.PathUnescape(segment)
		last := i == len(segments)-1
		switch text {
		case ".", "":
		case "..":
			out = out[:max(len(out)-1, 0)]
		default:
			text = strings.ReplaceAll(text, "%", "%25")
			out = append(out, strings.ReplaceAll(text, "/", "%2F"))
			last = false
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}

// FuzzCanonicalPath: the canonical form is what the segments mean, does not
// change when taken again, has no way above the root, and EscapedPath means the
// same.
func FuzzCanonicalPath(f *testing.F) {
	for _, c := range canonicalPaths {
		f.Add(c.escaped)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		if escaped != "" && escaped[0] != '/' {
			escaped = "/" + escaped
		}
		u, err := url.Parse("http://h" + escaped)
		if err != nil || u.Host != "h" {
			return
		}
		path := match.CanonicalPath(u)
		if want := naivePath(u.EscapedPath()); path != want {
			t.Fatalf("%q: %q, want %q", escaped, path, want)
		}
		for segment := range strings.SplitSeq(path, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q: %q keeps a dot segment", escaped, path)
			}
		}
		if path[0] != '/' || strings.Contains(path, "//") {
			t.Fatalf("%q: %q", escaped, path)
		}
		on := match.EscapedPath(u)
		decoded, err := url.PathUnescape(on)
		if err != nil {
			t.Fatalf("%q: %q: %v", escaped, on, err)
		}
		sent := &url.URL{Path: decoded, RawPath: on}
		if again := match.CanonicalPath(sent); again != path {
			t.Fatalf("%q: judged as %q, but what is sent for it as %q", escaped, path, again)
		}
		if again := match.EscapedPath(sent); again != on {
			t.Fatalf("%q: escaped %q, then %q", escaped, on, again)
		}
		// What is canonical is a pattern for itself, unless it says "?" or "#".
		if !strings.ContainsAny(path, "?#") {
			p, err := match.Path{Exact: path}.Canonical()
			if err != nil || p.Exact != path {
				t.Fatalf("%q: as a pattern %q: %v", path, p.Exact, err)
			}
		}
	})
}

func BenchmarkCanonicalPath(b *testing.B) {
	for _, path := range []string{"/", "/api/v1/accounts/42/items", "/api//v1/../v2", "/a%2Fb"} {
		u, err := url.Parse("http://h" + path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				match.CanonicalPath(u)
			}
		})
	}
}

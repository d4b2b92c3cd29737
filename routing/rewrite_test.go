package routing_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

// TestReplacePrefixMatch is the table of Gateway API's HTTPPathModifier. What is
// "" there is "/" here: both are the same by the table.
func TestReplacePrefixMatch(t *testing.T) {
	for _, row := range [][4]string{ // path, prefix, replacement, new path
		{"/foo/bar", "/foo", "/xyz", "/xyz/bar"},
		{"/foo/bar", "/foo", "/xyz/", "/xyz/bar"},
		{"/foo/bar", "/foo/", "/xyz", "/xyz/bar"},
		{"/foo/bar", "/foo/", "/xyz/", "/xyz/bar"},
		{"/foo", "/foo", "/xyz", "/xyz"},
		{"/foo/", "/foo", "/xyz", "/xyz/"},
		{"/foo/bar", "/foo", "/", "/bar"},
		{"/foo/", "/foo", "/", "/"},
		{"/foo", "/foo", "/", "/"},
		// Beyond the table.
		{"/foo/a%2Fb/c", "/foo", "/x", "/x/a%2Fb/c"},
		{"/foo/a%3Bb;c", "/foo", "/x", "/x/a%3Bb;c"},
		{"/foo//a/../b", "/foo", "/x", "/x/b"},
		{"/%66oo/%61", "/foo", "/x", "/x/%61"},
		{"/caf%C3%A9/x%C3%A9", "/café", "/thé", "/th%C3%A9/x%C3%A9"},
		{"/a%2Fb/c", "/a%2fb", "/x%2fy", "/x%2fy/c"},
		{"/a/b/c", "/a/b", "/x/y/z", "/x/y/z/c"},
		{"/foo//evil.com", "/foo", "/", "/evil.com"},
		{"/foo/%2F/evil.com", "/foo", "/", "/%2F/evil.com"},
		{"/foo/100%25", "/foo", "/50%25", "/50%25/100%25"},
		{"/a/b", "/", "/x", "/x/a/b"},
		{"/", "/", "/x", "/x/"},
	} {
		table := compile(t, to("", mreq{Path: match.Path{Prefix: row[1]}}))
		r := request(t, "GET", "http://h"+row[0]+"?q=%20")
		hit, ok := table.Match(r)
		if !ok {
			t.Errorf("%v: no match", row)
			continue
		}
		rewrite := routing.Rewrite{Prefix: row[2]}
		wantFaults(t, rewrite.Validate())
		before, text := r.URL, r.URL.String()
		rewrite.Apply(r, hit.Prefix)
		if got := r.URL.EscapedPath(); got != row[3] {
			t.Errorf("%v: %s", row, got)
		}
		if r.URL.RawQuery != "q=%20" || r.URL.Host != "h" {
			t.Errorf("%v: more than the path changed: %s", row, r.URL)
		}
		if before == r.URL || before.String() != text {
			t.Errorf("%v: the URL the request had was changed", row)
		}
		// The parts of a URL agree as they do when net/url makes them.
		if again, err := url.Parse(r.URL.String()); err != nil || *again != *r.URL {
			t.Errorf("%v: %#v, parsed again %#v, %v", row, r.URL, again, err)
		}
	}
}

func TestRewrite(t *testing.T) {
	for _, c := range []struct {
		rewrite routing.Rewrite
		match   match.Path
		url     string
		want    string // Host, then the URL
	}{
		{routing.Rewrite{Host: "other:81"}, match.Path{}, "http://h//a", "other:81 http://h//a"},
		{routing.Rewrite{Path: "/new"}, match.Path{}, "http://h/a/b?q", "h http://h/new?q"},
		{routing.Rewrite{Path: "/n w", Host: "o"}, match.Path{}, "http://h/a%2Fb", "o http://h/n%20w"},
		{routing.Rewrite{Prefix: "/x"}, match.Path{}, "http://h/a", "h http://h/x/a"},
		{routing.Rewrite{Prefix: "/x"}, match.Path{Regex: ".*"}, "http://h", "h http://h/x/"},
		{routing.Rewrite{Prefix: "/x"}, match.Path{Exact: "/a/b"}, "http://h/a/b", "h http://h/x"},
		{routing.Rewrite{Prefix: "/x"}, match.Path{Exact: "/a/"}, "http://h/a/", "h http://h/x/"},
	} {
		wantFaults(t, c.rewrite.Validate())
		r := request(t, "GET", c.url)
		hit, ok := compile(t, to("", mreq{Path: c.match})).Match(r)
		c.rewrite.Apply(r, hit.Prefix)
		if got := r.Host + " " + r.URL.String(); !ok || got != c.want {
			t.Errorf("%+v of %s: %s, want %s", c.rewrite, c.url, got, c.want)
		}
	}
}

// TestRewriteOpaque has URLs that only callers make.
func TestRewriteOpaque(t *testing.T) {
	r := &http.Request{URL: &url.URL{Scheme: "http", Host: "h", Opaque: "//h/foo/a%2Fb"}}
	routing.Rewrite{Prefix: "/x"}.Apply(r, "/foo")
	if got := r.URL.String(); got != "http://h/x/a%2Fb" {
		t.Error(got)
	}
	r = &http.Request{URL: &url.URL{Path: "*"}}
	routing.Rewrite{Prefix: "/x"}.Apply(r, "/")
	if r.URL.Path != "*" {
		t.Error(r.URL.Path)
	}
}

func TestRewriteFaults(t *testing.T) {
	wantFaults(t, routing.Rewrite{}.Validate(), "host, path, prefix: ")
	wantFaults(t, routing.Rewrite{Host: "*.a", Path: "a", Prefix: "//evil"}.Validate(),
		"host: ", "path, prefix: ", "path: ", "prefix: ")
	for _, host := range []string{"a/b", "::1", "a:0", "http://a", "a\r\nb"} {
		if (routing.Rewrite{Host: host}).Validate() == nil {
			t.Errorf("host %q is let through", host)
		}
	}
	for _, path := range []string{"/a/../b", "/a?b", "/a#b", "/%zz", "http://a/"} {
		if (routing.Rewrite{Path: path}).Validate() == nil {
			t.Errorf("path %q is let through", path)
		}
	}
}

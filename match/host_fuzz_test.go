package match_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/match"
)

// FuzzCanonicalHost: the name is canonical, and a pattern that is a host matches
// the requests for it.
func FuzzCanonicalHost(f *testing.F) {
	for _, seed := range []string{"reviews", "Reviews.:9080", "[::1]:80", "*.example.com", "[fe80::1%eth0]", "a:", "::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		r := &http.Request{URL: &url.URL{}, Host: host}
		name, port := match.CanonicalHost(r)
		again := name
		if strings.Contains(name, ":") {
			again = "[" + name + "]"
		}
		if got, _ := match.CanonicalHost(&http.Request{URL: &url.URL{}, Host: again}); got != name && !strings.HasSuffix(name, ".") {
			t.Fatalf("%q: %q, then %q", host, name, got)
		}
		h, err := match.ParseHost(host)
		if err != nil || h.Wildcard || strings.Count(host, ":") > 1 && host[0] != '[' {
			return
		}
		if name != h.Name || h.Port != 0 && h.Port != port {
			t.Fatalf("%q: a request for it is for %q, %d, but the pattern is %+v", host, name, port, h)
		}
		if !compile(t, match.Request{Hosts: []string{host}}).Matches(r) {
			t.Fatalf("%q does not match itself", host)
		}
	})
}

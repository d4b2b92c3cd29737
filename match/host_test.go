package match_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/match"
)

func TestHosts(t *testing.T) {
	for _, c := range []struct {
		pattern string
		matches []string
		not     []string
	}{
		{"reviews", []string{"http://reviews", "http://reviews:9080", "https://REVIEWS.", "http://reviews:"},
			[]string{"http://reviews2", "http://x.reviews", "http://reviews.x", "http://reviews.."}},
		{"Reviews.:9080", []string{"http://reviews:9080", "http://reviews.:9080"},
			[]string{"http://reviews", "http://reviews:908", "http://reviews:99080"}},
		{"reviews:80", []string{"http://reviews", "http://reviews:80", "http://reviews:080", "https://reviews:80"},
			[]string{"https://reviews", "ws://reviews"}},
		{"reviews:443", []string{"https://reviews", "http://reviews:443"}, []string{"http://reviews"}},
		{"*.example.com", []string{"http://a.example.com", "http://a.b.Example.com:8080"},
			[]string{"http://example.com", "http://aexample.com", "http://.example.com", "http://a.example.com.x"}},
		{"*.example.com:8080", []string{"http://a.example.com:8080"}, []string{"http://a.example.com"}},
		{"10.0.0.1", []string{"http://10.0.0.1:9080"}, []string{"http://10.0.0.10"}},
		{"::1", []string{"http://[::1]", "http://[::1]:9080", "http://[0:0:0:0:0:0:0:1]"}, []string{"http://[::2]"}},
		{"[2001:DB8::0]:80", []string{"http://[2001:db8::]"}, []string{"http://[2001:db8::]:81"}},
	} {
		m := compile(t, match.Request{Hosts: []string{"unrelated", c.pattern}})
		for _, url := range c.matches {
			if !m.Matches(outbound(t, "GET", url+"/")) {
				t.Errorf("%s does not match %s", c.pattern, url)
			}
		}
		for _, url := range c.not {
			if m.Matches(outbound(t, "GET", url+"/")) {
				t.Errorf("%s matches %s", c.pattern, url)
			}
		}
	}
}

func TestHostOfRequest(t *testing.T) {
	r := outbound(t, "GET", "http://reviews/")
	r.Host = "disguise"
	if name, port := match.CanonicalHost(r); name != "reviews" || port != 80 {
		t.Errorf("outbound: %s, %d", name, port)
	}
	r = inbound(t, "GET /v1 HTTP/1.1\nHost: Reviews:9080")
	if name, port := match.CanonicalHost(r); name != "reviews" || port != 9080 {
		t.Errorf("inbound: %s, %d", name, port)
	}
	r = inbound(t, "GET http://absolute/v1 HTTP/1.1\nHost: other")
	if name, port := match.CanonicalHost(r); name != "absolute" || port != 80 {
		t.Errorf("inbound, absolute form: %s, %d", name, port)
	}
	for _, host := range []string{
		"", ":80", "a:b", "a:80:80", "a:99999", "[::1", "[::1]x", "[::1]]", "[a]", "[]", "[10.0.0.1]", "a:-1", "[",
		strings.Repeat("a.", 200) + "com",
	} {
		name, _ := match.CanonicalHost(&http.Request{URL: &url.URL{}, Host: host})
		if name != "" {
			t.Errorf("%q can be no host but is %q", host, name)
		}
	}
}

func TestParseHostFaults(t *testing.T) {
	for _, pattern := range []string{
		"", "*", "*.", "*:80", "a.*.com", "*a.com", "a*", "http://a", "a/b", "a b", "a:", "a:0", "a:65536", "a:http",
		"a:80:80", "[::1", "[::1]80", "[a]", "[10.0.0.1]", "::1:x", "a..b", ".a", "bücher.example", "a@b", "a%41",
		strings.Repeat("a", 64), strings.Repeat("a.", 127) + "com",
	} {
		if h, err := match.ParseHost(pattern); err == nil {
			t.Errorf("%q is let through as %+v", pattern, h)
		}
	}
}

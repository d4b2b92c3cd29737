package telemetry

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"http://reviews/a/b": "http://reviews/a/b",
		"https://anna:geheim@reviews:8443/a?page=2&q=x#top":   "https://REDACTED:REDACTED@reviews:8443/a?page=2&q=x",
		"https://anna@reviews/":                               "https://REDACTED:REDACTED@reviews/",
		"http://reviews/?token=abc&page=2":                    "http://reviews/?token=REDACTED&page=2",
		"http://reviews/?X-Amz-Signature=1&x-goog-Signature=": "http://reviews/?X-Amz-Signature=REDACTED&x-goog-Signature=REDACTED",
		"http://reviews/?%74oken=abc;q=1":                     "http://reviews/?%74oken=REDACTED;q=1",
		"http://reviews/?a=1&&b=2":                            "http://reviews/?a=1&&b=2",
		"http://reviews/?%zz=abc&token":                       "http://reviews/?%zz=REDACTED&token",
		"mailto:anna@reviews":                                 "mailto:REDACTED",
	} {
		u, err := url.Parse(in)
		require.NoError(t, err)
		assert.Equal(t, want, redact(u))
		assert.Equal(t, in, u.String(), "the URL has been written to")
	}
}

func TestRedactPath(t *testing.T) {
	for _, row := range [][3]string{
		{"/reset/{token}", "/reset/abc", "/reset/REDACTED"},
		{"/reset/{token}/{step}", "/reset/a%2Fb/2", "/reset/REDACTED/2"},
		{"/files/{keys...}", "/files/a/b/c", "/files/REDACTED"},
		{"/files/{path...}", "/files/a/b/c", "/files/a/b/c"},
		{"/users/{id}", "/users/7", "/users/7"},
		{"/token/", "/token/abc", "/token/abc"},
		{"", "/token/abc", "/token/abc"},
		{"/a/{token}", "/a", "/a"},
	} {
		assert.Equal(t, row[2], redactPath(row[1], row[0]), row)
	}
}

// What the mux takes for the value of a wildcard with a secret name is not to
// be seen, whatever stands around it.
func FuzzRedactPath(f *testing.F) {
	f.Add("a", "b/c")
	f.Add("%2F", "//")
	f.Add("..", "%zz")
	const secret, pattern = "verysecret", "GET /{tenant}/{token}/{rest...}"
	found := ""
	mux := http.NewServeMux()
	mux.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) { found = r.PathValue("token") })
	f.Fuzz(func(t *testing.T, tenant, rest string) {
		u, err := url.Parse("/" + tenant + "/" + secret + "/" + rest)
		if err != nil || strings.Contains(tenant+rest, secret) {
			return
		}
		found = ""
		mux.ServeHTTP(httptest.NewRecorder(), &http.Request{Method: "GET", URL: u, RequestURI: u.RequestURI()})
		if found == secret {
			assert.NotContains(t, redactPath(u.EscapedPath(), routeOf(pattern)), secret)
		}
	})
}

// Whatever stands around it, the value of a parameter with a secret name is
// not to be seen, and one with another name stays.
func FuzzRedactQuery(f *testing.F) {
	f.Add("a=1&b=2", "&c=3")
	f.Add("%", ";")
	f.Add("=;=&", "%zz=1")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret, plain = "verysecret", "quiteplain"
		for _, sep := range []string{"&", ";"} {
			got := redactQuery(before + sep + "access_token=" + secret + sep + "page=" + plain + sep + after)
			assert.NotContains(t, got, secret)
			assert.Contains(t, got, "page="+plain)
		}
	})
}

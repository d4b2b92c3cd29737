package routing_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tulle-mesh/tulle/routing"
)

func TestRedirectLocation(t *testing.T) {
	for _, c := range []struct {
		redirect routing.Redirect
		url      string
		prefix   string
		want     string
	}{
		{routing.Redirect{Host: "other"}, "http://h/a?q=1", "/", "http://other/a?q=1"},
		{routing.Redirect{Host: "other"}, "http://h:8080/a", "/", "http://other:8080/a"},
		{routing.Redirect{Scheme: "https"}, "http://h/a", "/", "https://h/a"},
		{routing.Redirect{Scheme: "https"}, "http://h:8080/a", "/", "https://h/a"},
		{routing.Redirect{Scheme: "https", Port: 443}, "http://h/a", "/", "https://h/a"},
		{routing.Redirect{Scheme: "https", Port: 8443}, "http://h/a", "/", "https://h:8443/a"},
		{routing.Redirect{Scheme: "http", Port: 443}, "https://h/a", "/", "http://h:443/a"},
		{routing.Redirect{Port: 80}, "http://h:8080/a", "/", "http://h/a"},
		{routing.Redirect{Port: 80}, "https://h/a", "/", "https://h:80/a"},
		{routing.Redirect{Port: 8083}, "http://h/a", "/", "http://h:8083/a"},
		{routing.Redirect{Host: "[::1]", Port: 81}, "http://h/", "/", "http://[::1]:81/"},
		{routing.Redirect{Scheme: "https"}, "http://[::1]:80/", "/", "https://[::1]/"},
		{routing.Redirect{Host: "other", Path: "/p"}, "http://h/a", "/", "http://other/p"},
		{routing.Redirect{Path: "/p q/caf%C3%A9"}, "http://h/a?x=y", "/", "/p%20q/caf%C3%A9?x=y"},
		{routing.Redirect{Prefix: "/new"}, "http://h/old/a%2Fb", "/old", "/new/a%2Fb"},
		{routing.Redirect{Prefix: "/"}, "http://h/old//evil.com", "/old", "/evil.com"},
		{routing.Redirect{Prefix: "/"}, "http://h/old/%5Cevil.com", "/old", "/%5Cevil.com"},
		{routing.Redirect{Prefix: "/"}, "http://h//evil.com", "/", "/evil.com"},
		{routing.Redirect{Prefix: "/"}, "http://h/%2Fevil.com", "/", "/%2Fevil.com"},
		{routing.Redirect{Scheme: "https"}, "http://h//evil.com", "/", "https://h/evil.com"},
	} {
		wantFaults(t, c.redirect.Validate())
		if got := c.redirect.Location(request(t, "GET", c.url), c.prefix); got != c.want {
			t.Errorf("%+v of %s: %s, want %s", c.redirect, c.url, got, c.want)
		}
	}
}

func TestRedirectInbound(t *testing.T) {
	r := httptest.NewRequest("GET", "/a?b", nil)
	r.Host = "Shop.example:8080"
	if got := (routing.Redirect{Scheme: "https"}).Location(r, "/"); got != "https://shop.example/a?b" {
		t.Error(got)
	}
	if got := (routing.Redirect{Host: "new"}).Location(r, "/"); got != "http://new:8080/a?b" {
		t.Error(got)
	}
	r.TLS = &tls.ConnectionState{}
	if got := (routing.Redirect{Port: 8443}).Location(r, "/"); got != "https://shop.example:8443/a?b" {
		t.Error(got)
	}
	for _, host := range []string{"evil.com/x", "a@evil.com", "evil.com\\x", "", "a b", "a:b", "evil.com?x", "*.com", "evil\r\nx"} {
		r.Host = host
		if got := (routing.Redirect{Scheme: "https"}).Location(r, "/"); got != "/a?b" {
			t.Errorf("Host %q is reflected: %s", host, got)
		}
	}
	r = httptest.NewRequest("OPTIONS", "*", nil)
	if got := (routing.Redirect{Scheme: "https", Host: "o"}).Location(r, "/"); got != "https://o/" {
		t.Error(got)
	}
}

func TestRedirectResponse(t *testing.T) {
	for status, want := range map[int]int{0: 302, 301: 301, 303: 303, 307: 307, 308: 308} {
		redirect := routing.Redirect{Path: "/p", Status: status}
		wantFaults(t, redirect.Validate())
		r := request(t, "POST", "http://h/a")
		resp := redirect.Response(r, "/")
		if resp.StatusCode != want || resp.Header.Get("Location") != "/p" || resp.Request != r ||
			resp.ContentLength != 0 || resp.Body != http.NoBody {
			t.Errorf("%d: %+v", status, resp)
		}
		w := httptest.NewRecorder()
		redirect.Serve(w, r, "/")
		if w.Code != want || w.Header().Get("Location") != "/p" || w.Header().Get("Content-Length") != "0" {
			t.Errorf("%d: %+v", status, w)
		}
	}
}

func TestRedirectFaults(t *testing.T) {
	wantFaults(t, routing.Redirect{Status: 301}.Validate(), "scheme, host, port, path, prefix: ")
	wantFaults(t, routing.Redirect{
		Scheme: "javascript", Host: "a:80", Port: 65536, Path: "//evil", Prefix: "x", Status: 304,
	}.Validate(), "scheme: ", "host: ", "port: ", "path, prefix: ", "path: ", "prefix: ", "status: ")
	wantFaults(t, routing.Redirect{Host: "*.evil.com", Port: -1}.Validate(), "host: ", "port: ")
}

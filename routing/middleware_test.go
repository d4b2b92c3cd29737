package routing_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

type filters = routing.Filters

// roundTripper is a transport in a test.
type roundTripper struct {
	roundTrip func(*http.Request) (*http.Response, error)
	idle      int
}

func (f *roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f.roundTrip(r) }
func (f *roundTripper) CloseIdleConnections()                             { f.idle++ }

// closer is a body that counts how often it is closed.
type closer struct {
	io.Reader
	closed int
}

func (c *closer) Close() error { c.closed++; return nil }

// filterRules has a rule for each path.
func filterRules(t testing.TB) *routing.Table[filters] {
	t.Helper()
	under := func(prefix string, f filters) routing.Rule[filters] {
		return routing.Rule[filters]{Name: prefix, Match: []mreq{{Path: match.Path{Prefix: prefix}}}, Action: f}
	}
	return compile(t,
		under("/nothing", filters{}),
		under("/request", filters{Request: routing.HeaderEdit{Set: []field{{"x-set", "new"}}, Add: []field{{"x-add", "2"}}, Remove: []string{"x-remove"}}}),
		under("/response", filters{Response: routing.HeaderEdit{Set: []field{{"x-set", "new"}}, Remove: []string{"x-remove"}}}),
		under("/rewrite", filters{Rewrite: &routing.Rewrite{Host: "other", Prefix: "/new"}}),
		under("/redirect", filters{
			Redirect: &routing.Redirect{Prefix: "/new", Status: 308},
			Response: routing.HeaderEdit{Set: []field{{"x-set", "new"}}},
		}),
		under("/direct", filters{
			Direct:   &routing.Direct{Status: 503, Body: "closed", Header: []field{{"x-remove", "1"}}},
			Response: routing.HeaderEdit{Set: []field{{"x-set", "new"}}, Remove: []string{"x-remove"}},
		}),
		under("/all", filters{
			Request:  routing.HeaderEdit{Set: []field{{"x-set", "new"}}},
			Response: routing.HeaderEdit{Add: []field{{"x-add", "2"}}},
			Rewrite:  &routing.Rewrite{Path: "/all new"},
		}),
	)
}

func TestMiddleware(t *testing.T) {
	var seen *http.Request
	shared := http.Header{"X-Set": {"old"}, "X-Add": {"1"}, "X-Remove": {"1"}}
	next := &roundTripper{roundTrip: func(r *http.Request) (*http.Response, error) {
		seen = r
		// The header is shared by all responses, so that a change to it shows.
		return &http.Response{StatusCode: 200, Header: shared, Body: http.NoBody, Request: r}, nil
	}}
	rt := routing.Middleware(filterRules(t))(next)
	for _, c := range []struct {
		path    string
		passes  bool        // the caller's request itself reaches next
		url     string      // what next sees, "" if nothing
		host    string      // what next sees
		request http.Header // what next sees
		status  int
		header  http.Header
	}{
		{"/unmatched", true, "http://h/unmatched", "h", shared, 200, shared},
		{"/nothing", true, "http://h/nothing", "h", shared, 200, shared},
		{"/request", false, "http://h/request", "h", http.Header{"X-Set": {"new"}, "X-Add": {"1", "2"}}, 200, shared},
		{"/response", true, "http://h/response", "h", shared, 200, http.Header{"X-Set": {"new"}, "X-Add": {"1"}}},
		{"/rewrite/a%2Fb?q", false, "http://h/new/a%2Fb?q", "other", shared, 200, shared},
		{"/redirect/a", false, "", "", nil, 308, http.Header{"Location": {"/new/a"}, "Content-Length": {"0"}, "X-Set": {"new"}}},
		{"/direct", false, "", "", nil, 503, http.Header{
			"Content-Length": {"6"}, "Content-Type": {"text/plain; charset=utf-8"}, "X-Set": {"new"},
		}},
		{"/all", false, "http://h/all%20new", "h", http.Header{"X-Set": {"new"}, "X-Add": {"1"}, "X-Remove": {"1"}}, 200,
			http.Header{"X-Set": {"old"}, "X-Add": {"1", "2"}, "X-Remove": {"1"}}},
	} {
		seen = nil
		req := request(t, "POST", "http://h"+c.path)
		req.Header = shared.Clone()
		req.Trailer = http.Header{"X-Trailer": nil}
		body := &closer{Reader: strings.NewReader("body")}
		req.Body = body
		req.GetBody = func() (io.ReadCloser, error) { return body, nil }
		before := req.Clone(req.Context())
		url := req.URL

		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		if resp.StatusCode != c.status || !reflect.DeepEqual(resp.Header, c.header) {
			t.Errorf("%s: %d %v, want %d %v", c.path, resp.StatusCode, resp.Header, c.status, c.header)
		}
		if resp.Request != req {
			t.Errorf("%s: resp.Request is not the caller's", c.path)
		}
		if req.URL != url || req.URL.String() != before.URL.String() || req.Host != before.Host || req.Method != before.Method ||
			!reflect.DeepEqual(req.Header, before.Header) || req.Body != body {
			t.Errorf("%s: the caller's request was changed", c.path)
		}
		if (seen != nil) != (c.url != "") || (seen == req) != c.passes {
			t.Errorf("%s: next saw %v", c.path, seen)
		}
		if seen == nil {
			if body.closed != 1 {
				t.Errorf("%s: body closed %d times", c.path, body.closed)
			}
			continue
		}
		if seen.URL.String() != c.url || seen.Host != c.host || !reflect.DeepEqual(seen.Header, c.request) {
			t.Errorf("%s: next saw %s, Host %s, %v", c.path, seen.URL, seen.Host, seen.Header)
		}
		if body.closed != 0 || seen.Body != body || seen.GetBody == nil || seen.Context() != req.Context() ||
			reflect.ValueOf(seen.Trailer).Pointer() != reflect.ValueOf(req.Trailer).Pointer() {
			t.Errorf("%s: body, trailer or context were not passed on", c.path)
		}
	}
	if !reflect.DeepEqual(shared, http.Header{"X-Set": {"old"}, "X-Add": {"1"}, "X-Remove": {"1"}}) {
		t.Errorf("the header of another response was changed: %v", shared)
	}
}

func TestMiddlewareContract(t *testing.T) {
	broken := errors.New("broken")
	next := &roundTripper{roundTrip: func(*http.Request) (*http.Response, error) { return nil, broken }}
	rt := routing.Middleware(filterRules(t))(next)
	for _, path := range []string{"/unmatched", "/request", "/response", "/rewrite"} {
		if resp, err := rt.RoundTrip(request(t, "GET", "http://h"+path)); resp != nil || err != broken {
			t.Errorf("%s: %v, %v", path, resp, err)
		}
	}
	(&http.Client{Transport: rt}).CloseIdleConnections()
	if next.idle != 1 {
		t.Error("CloseIdleConnections does not pass through")
	}
	plain := routing.Middleware(nil)(struct{ http.RoundTripper }{next})
	plain.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	if _, err := plain.RoundTrip(request(t, "GET", "http://h/redirect")); err != broken {
		t.Errorf("without a table: %v", err)
	}
	// Requests that only next can judge.
	if _, err := rt.RoundTrip(&http.Request{}); err != broken {
		t.Errorf("without a URL: %v", err)
	}
	bare := request(t, "HEAD", "http://h/request")
	bare.Header = nil
	if _, err := rt.RoundTrip(bare); err != broken || bare.Header != nil {
		t.Errorf("without a header: %v", err)
	}
	resp, err := rt.RoundTrip(request(t, "HEAD", "http://h/direct"))
	if err != nil || resp.ContentLength != 6 || body(t, resp) != "" {
		t.Errorf("HEAD: %+v, %v", resp, err)
	}
}

// TestMiddlewareWithClient follows a redirect through a real client and server.
func TestMiddlewareWithClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Method+" "+r.RequestURI+" "+r.Host)
	}))
	defer server.Close()
	client := &http.Client{Transport: routing.Middleware(filterRules(t))(server.Client().Transport)}
	for path, want := range map[string]string{
		"/redirect/a%2Fb?q": "PUT /new/a%2Fb?q " + strings.TrimPrefix(server.URL, "http://"),
		"/rewrite/a?q":      "PUT /new/a?q other",
	} {
		resp, err := client.Do(request(t, "PUT", server.URL+path))
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, resp); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestFiltersFaults(t *testing.T) {
	bad := routing.HeaderEdit{Remove: []string{"host"}}
	wantFaults(t, filters{
		Request: bad, Response: bad, Rewrite: &routing.Rewrite{}, Redirect: &routing.Redirect{Status: 1}, Direct: &routing.Direct{},
	}.Validate(),
		"request.remove[0]: ", "response.remove[0]: ", "rewrite.host, path, prefix: ", "redirect.scheme, host, port, path, prefix: ",
		"redirect.status: ", "direct.status: ", "direct: ", "request: ", "rewrite: ")
	if !(filters{}).IsZero() || (filters{Direct: &routing.Direct{}}).IsZero() {
		t.Error("IsZero")
	}
	_, err := routing.Compile([]routing.Rule[filters]{{Name: "a", Action: filters{Request: bad}}})
	wantFaults(t, err, "routes[0] (a): request.remove[0]: ")
}

package match_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/match"
)

// outbound returns a request as a client makes it.
func outbound(t testing.TB, method, url string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// inbound returns a request as a server reads it.
func inbound(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n\r\n")))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r
}

func compile(t testing.TB, m match.Request) *match.Matcher {
	t.Helper()
	matcher, err := match.Compile(m)
	if err != nil {
		t.Fatalf("%+v: %v", m, err)
	}
	return matcher
}

func TestMatches(t *testing.T) {
	type request = match.Request
	header := func(v match.Value) request { return request{Headers: []match.Value{v}} }
	query := func(v match.Value) request { return request{Query: []match.Value{v}} }
	get := func(url string, header ...string) *http.Request { return outbound(t, "GET", url, header...) }
	const here = "http://reviews:9080/v1/x"
	for _, c := range []struct {
		name  string
		match request
		r     *http.Request
		want  bool
	}{
		{"zero", request{}, get(here), true},

		{"path exact", request{Path: match.Path{Exact: "/v1/x"}}, get(here), true},
		{"path exact and a slash more", request{Path: match.Path{Exact: "/v1/x"}}, get(here + "/"), false},
		{"path exact, other case", request{Path: match.Path{Exact: "/V1/x"}}, get(here), false},
		{"path exact, empty path", request{Path: match.Path{Exact: "/"}}, get("http://reviews"), true},
		{"path exact, escaped pattern", request{Path: match.Path{Exact: "/caf%C3%A9"}}, get("http://h/café"), true},
		{"path exact, escaped request", request{Path: match.Path{Exact: "/café"}}, get("http://h/caf%C3%A9"), true},
		{"path exact, encoded slash", request{Path: match.Path{Exact: "/a%2fb"}}, get("http://h/a%2Fb"), true},
		{"path exact, slash is not an encoded slash", request{Path: match.Path{Exact: "/a%2fb"}}, get("http://h/a/b"), false},
		{"prefix itself", request{Path: match.Path{Prefix: "/v1"}}, get("http://h/v1"), true},
		{"prefix and a slash", request{Path: match.Path{Prefix: "/v1"}}, get("http://h/v1/"), true},
		{"prefix and a segment", request{Path: match.Path{Prefix: "/v1"}}, get("http://h/v1/x"), true},
		{"prefix and a longer segment", request{Path: match.Path{Prefix: "/v1"}}, get("http://h/v12"), false},
		{"prefix with a slash, itself", request{Path: match.Path{Prefix: "/v1/"}}, get("http://h/v1"), true},
		{"prefix with a slash and a segment", request{Path: match.Path{Prefix: "/v1/"}}, get("http://h/v1/x"), true},
		{"prefix and an encoded slash", request{Path: match.Path{Prefix: "/v1"}}, get("http://h/v1%2Fx"), false},
		{"prefix left by dots", request{Path: match.Path{Prefix: "/v1"}}, get("http://h/v1/../v2"), false},
		{"prefix left by encoded dots", request{Path: match.Path{Prefix: "/v1"}}, get("http://h/v1/%2e%2e/v2"), false},
		{"prefix reached by slashes", request{Path: match.Path{Prefix: "/v1"}}, get("http://h//v1"), true},
		{"root prefix", request{Path: match.Path{Prefix: "/"}}, get("http://h"), true},
		{"root prefix of *", request{Path: match.Path{Prefix: "/"}}, inbound(t, "OPTIONS * HTTP/1.1\nHost: h"), false},
		{"regex", request{Path: match.Path{Regex: `/v[0-9]+/x`}}, get(here), true},
		{"regex in part, end", request{Path: match.Path{Regex: `/v[0-9]+`}}, get(here), false},
		{"regex in part, beginning", request{Path: match.Path{Regex: `x`}}, get(here), false},
		{"regex of alternatives", request{Path: match.Path{Regex: `/v1/x|/v2`}}, get(here + "/y"), false},
		{"regex, shorter alternative first", request{Path: match.Path{Regex: `/v1|/v1/x`}}, get(here), true},
		{"regex, line feed", request{Path: match.Path{Regex: `/v1/.*`}}, get("http://h/v1/a%0Ab"), true},
		{"regex with anchors", request{Path: match.Path{Regex: `^/v1/x$`}}, get(here), true},
		{"regex with an open quotation", request{Path: match.Path{Regex: `/v1/\Qx`}}, get(here), true},
		{"regex with an open quotation, more", request{Path: match.Path{Regex: `/v1/\Qx`}}, get(here + "y"), false},
		{"regex on the canonical path", request{Path: match.Path{Regex: `/v1/.*`}}, get("http://h/v1/../admin"), false},

		{"method", request{Methods: []string{"PUT", "GET"}}, get(here), true},
		{"method, other", request{Methods: []string{"GET"}}, outbound(t, "HEAD", here), false},
		{"method, other case", request{Methods: []string{"get"}}, get(here), false},
		{"method, empty means GET", request{Methods: []string{"GET"}}, &http.Request{URL: get(here).URL}, true},

		{"header exact", header(match.Value{Name: "version", Exact: "one"}), get(here, "Version", "one"), true},
		{"header exact, other case", header(match.Value{Name: "version", Exact: "one"}), get(here, "Version", "One"), false},
		{"header absent", header(match.Value{Name: "version", Exact: "one"}), get(here), false},
		{"header prefix", header(match.Value{Name: "VERSION", Prefix: "on"}), get(here, "Version", "one"), true},
		{"header regex", header(match.Value{Name: "version", Regex: "o.e"}), get(here, "Version", "one"), true},
		{"header regex in part", header(match.Value{Name: "version", Regex: "o."}), get(here, "Version", "one"), false},
		{"header present", header(match.Value{Name: "version"}), get(here, "Version", "one"), true},
		{"header present, empty", header(match.Value{Name: "version"}), get(here, "Version", ""), true},
		{"header present, absent", header(match.Value{Name: "version"}), get(here), false},
		{"header empty", header(match.Value{Name: "version", Regex: "^$"}), get(here, "Version", ""), true},
		{"headers joined", header(match.Value{Name: "a", Exact: "x,y"}), get(here, "A", "x", "A", "y"), true},
		{"headers joined, first alone", header(match.Value{Name: "a", Exact: "x"}), get(here, "A", "x", "A", "y"), false},
		{"headers joined, prefix across", header(match.Value{Name: "a", Prefix: "x,"}), get(here, "A", "x", "A", "y"), true},
		{"headers joined, regex", header(match.Value{Name: "a", Regex: "x,y"}), get(here, "A", "x", "A", "y"), true},
		{"header not", header(match.Value{Name: "a", Exact: "x", Not: true}), get(here, "A", "y"), true},
		{"header not, equal", header(match.Value{Name: "a", Exact: "x", Not: true}), get(here, "A", "x"), false},
		{"header not, absent", header(match.Value{Name: "a", Exact: "x", Not: true}), get(here), true},
		{"header not present", header(match.Value{Name: "a", Not: true}), get(here), true},
		{"header not present, empty", header(match.Value{Name: "a", Not: true}), get(here, "A", ""), false},
		{"headers, all", request{Headers: []match.Value{{Name: "a"}, {Name: "b"}}}, get(here, "A", "", "B", ""), true},
		{"headers, one of two", request{Headers: []match.Value{{Name: "a"}, {Name: "b"}}}, get(here, "A", ""), false},

		{"query exact", query(match.Value{Name: "a", Exact: "x"}), get(here + "?b=1&a=x"), true},
		{"query, first counts", query(match.Value{Name: "a", Exact: "x"}), get(here + "?a=y&a=x"), false},
		{"query, name's case", query(match.Value{Name: "a"}), get(here + "?A=x"), false},
		{"query without =", query(match.Value{Name: "a"}), get(here + "?a"), true},
		{"query escaped name", query(match.Value{Name: "a b", Exact: "x&y"}), get(here + "?a+%62=x%26y"), true},
		{"query escaped prefix", query(match.Value{Name: "a", Prefix: "x y"}), get(here + "?a=x%20yz"), true},
		{"query escaped regex", query(match.Value{Name: "a", Regex: "x yz?"}), get(here + "?a=x+y"), true},
		{"query semicolon", query(match.Value{Name: "b"}), get(here + "?a=1;b=2"), false},
		{"query after a bad one", query(match.Value{Name: "a", Exact: "x"}), get(here + "?a=%zz&a=y;&a=x"), true},
		{"query not", query(match.Value{Name: "a", Prefix: "x", Not: true}), get(here + "?a=y"), true},
		{"query not, absent", query(match.Value{Name: "a", Prefix: "x", Not: true}), get(here), true},

		{"conditions, one fails", request{Methods: []string{"GET"}, Path: match.Path{Exact: "/"}}, get(here), false},
	} {
		if got := compile(t, c.match).Matches(c.r); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

func TestMatchesPrincipals(t *testing.T) {
	m := compile(t, match.Request{Principals: []string{"spiffe://td/a", "spiffe://td/b"}})
	r := outbound(t, "GET", "http://h/")
	if m.Matches(r) {
		t.Error("a request without a principal matches")
	}
	for name, want := range map[string]bool{
		"spiffe://td/b": true, "spiffe://td/bc": false, "spiffe://td/": false, "spiffe://td.evil/a": false,
	} {
		ctx := identity.NewContext(t.Context(), identity.Principal{Kind: identity.Certificate, Name: name})
		if got := m.Matches(r.WithContext(ctx)); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
}

func TestMatchesWithoutURL(t *testing.T) {
	if compile(t, match.Request{}).Matches(&http.Request{}) {
		t.Error("a request without a URL matches")
	}
}

func TestMatchesPath(t *testing.T) {
	m := compile(t, match.Request{Hosts: []string{"other"}, Path: match.Path{Prefix: "/a"}, Methods: []string{"GET"}})
	r := outbound(t, "GET", "http://h/b")
	if !m.MatchesPath("/a/x", r) || m.MatchesPath("/b", r) {
		t.Error("the path given is not the one judged")
	}
	if m.MatchesPath("/a", outbound(t, "PUT", "http://h/a")) {
		t.Error("the method is not judged")
	}
}

// randomRequest draws from few enough values that conditions often hold.
func randomRequest(t testing.TB, rng *rand.Rand) *http.Request {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	host := pick("reviews", "Reviews.", "reviews:9080", "a.example.com", "x.a.Example.com:443", "example.com", "[::1]", "[0:0::1]:80", "10.0.0.1")
	path := pick("", "/", "/v1", "/v1/", "/v1/x", "/v12", "//v1/./x", "/v2/../v1", "/v1%2Fx", "/%761")
	query := pick("", "?a=x", "?a=y&a=x", "?b=x&a=%78", "?a=x;b=y", "?a=%zz&a=x", "?a", "?a=x%20y", "?A=x", "?%61=x+y")
	r := outbound(t, pick("GET", "HEAD", "PUT", ""), pick("http", "https")+"://"+host+path+query)
	for range rng.IntN(4) {
		r.Header.Add(pick("A", "B"), pick("x", "y", "x,y", ""))
	}
	if rng.IntN(2) == 0 {
		// As a server has it.
		if r.URL.Scheme == "https" {
			r.TLS = &tls.ConnectionState{}
		}
		r.Host, r.URL.Host, r.URL.Scheme = r.URL.Host, "", ""
	}
	if name := pick("", "p", "q"); name != "" {
		r = r.WithContext(identity.NewContext(r.Context(), identity.Principal{Kind: identity.Token, Name: name}))
	}
	return r
}

func randomMatch(rng *rand.Rand) match.Request {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	list := func(from ...string) []string {
		rng.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
		return from[:max(0, rng.IntN(6)-3)]
	}
	values := func(names ...string) (out []match.Value) {
		for range max(0, rng.IntN(5)-2) {
			v := match.Value{Name: pick(names...), Not: rng.IntN(3) == 0}
			switch rng.IntN(4) {
			case 0:
				v.Exact = pick("x", "y", "x,y", "x y", "x,,y")
			case 1:
				v.Prefix = pick("x", "y", "x,", "x ")
			case 2:
				v.Regex = pick("x", "x.*", ".*y", "x|x,y", "^$")
			}
			out = append(out, v)
		}
		return out
	}
	m := match.Request{
		Hosts:      list("reviews", "REVIEWS:9080", "*.example.com", "*.a.example.com:443", "example.com.", "::1", "[::1]:80", "10.0.0.1:80"),
		Methods:    list("GET", "PUT", "HEAD"),
		Headers:    values("a", "B"),
		Query:      values("a", "b"),
		Principals: list("p", "q"),
	}
	switch rng.IntN(6) {
	case 0:
		m.Path.Exact = pick("/", "/v1", "/v1/x", "/v1/", "/v1%2fx")
	case 1:
		m.Path.Prefix = pick("/", "/v1", "/v1/", "/v1/x")
	case 2:
		m.Path.Regex = pick("/v.*", "/v1", ".*x", "/v1|/v1/x")
	}
	return m
}

// difference looks for a random match and request that Matches and judge see
// differently. It also returns how many matches held.
func difference(t *testing.T, judge func(match.Request, *http.Request) bool) (found string, held int) {
	rng := rand.New(rand.NewPCG(7, 11))
	for range 100_000 {
		m, r := randomMatch(rng), randomRequest(t, rng)
		got, want := compile(t, m).Matches(r), judge(m, r)
		if got != want {
			return fmt.Sprintf("%+v\non %s %s%s %v: %t, want %t", m, r.Method, r.Host, r.URL, r.Header, got, want), held
		}
		if got {
			held++
		}
	}
	return "", held
}

// TestMatchesAsReference compares Matches with a naive implementation on random
// matches and requests.
func TestMatchesAsReference(t *testing.T) {
	found, held := difference(t, matchesNaively)
	if found != "" {
		t.Fatal(found)
	}
	// The comparison says something only if both answers occur.
	if held < 10_000 || held > 90_000 {
		t.Fatalf("%d of 100000 matches held", held)
	}
}

// TestReferenceNoticesFaults gives the comparison implementations that are wrong
// in one point each.
func TestReferenceNoticesFaults(t *testing.T) {
	for name, wrong := range map[string]func(match.Request, *http.Request) bool{
		"prefix by bytes": func(m match.Request, r *http.Request) bool {
			if m.Path.Prefix != "" {
				m.Path = match.Path{Regex: regexp.QuoteMeta(strings.TrimSuffix(m.Path.Prefix, "/")) + ".*"}
			}
			return matchesNaively(m, r)
		},
		"an absent header fulfils nothing": func(m match.Request, r *http.Request) bool {
			for _, v := range m.Headers {
				if len(r.Header.Values(v.Name)) == 0 {
					return false
				}
			}
			return matchesNaively(m, r)
		},
		"the first field counts": func(m match.Request, r *http.Request) bool {
			r = r.Clone(r.Context())
			for name, fields := range r.Header {
				r.Header[name] = fields[:1]
			}
			return matchesNaively(m, r)
		},
		"semicolons separate": func(m match.Request, r *http.Request) bool {
			r = r.Clone(r.Context())
			r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, ";", "&")
			return matchesNaively(m, r)
		},
		"https has port 80": func(m match.Request, r *http.Request) bool {
			r = r.Clone(r.Context())
			r.TLS, r.URL.Scheme = nil, ""
			return matchesNaively(m, r)
		},
		"encoded slashes separate": func(m match.Request, r *http.Request) bool {
			r = r.Clone(r.Context())
			r.URL.RawPath = ""
			return matchesNaively(m, r)
		},
	} {
		if found, _ := difference(t, wrong); found == "" {
			t.Errorf("%s: not noticed", name)
		}
	}
}

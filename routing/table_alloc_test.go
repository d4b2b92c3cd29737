//go:build !race

package routing_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

// manyRules returns n rules over 16 hosts. With headers, two of them share each
// host and path, and differ in a header.
func manyRules(n int, headers bool) []routing.Rule[int] {
	rules := make([]routing.Rule[int], n)
	for i := range rules {
		place := i
		var m match.Request
		if headers {
			place = i / 2
			if i%2 == 1 {
				m.Headers = []match.Value{{Name: "x-canary", Exact: "always"}}
			}
		}
		m.Hosts = []string{fmt.Sprintf("host-%d.example.com", place%16)}
		m.Path.Prefix = fmt.Sprintf("/api/v1/service-%d", place)
		rules[i] = routing.Rule[int]{Action: i, Match: []match.Request{m}}
	}
	return rules
}

// requestFor returns a request for rule i of manyRules.
func requestFor(t testing.TB, i int, headers bool) *http.Request {
	place := i
	if headers {
		place = i / 2
	}
	r := request(t, "GET", fmt.Sprintf("http://host-%d.example.com/api/v1/service-%d/items/42", place%16, place))
	if headers && i%2 == 1 {
		r.Header.Set("X-Canary", "always")
	}
	return r
}

func TestMatchAllocations(t *testing.T) {
	table := compile(t, manyRules(1000, true)...)
	wide := compile(t,
		to("wildcard", mreq{Hosts: []string{"*.example.com"}, Path: match.Path{Regex: "/.*"}, Methods: []string{"GET"}}),
		to("query", mreq{Path: match.Path{Exact: "/x"}, Query: []value{{Name: "a", Exact: "b c"}}}),
	)
	canary, plain := requestFor(t, 777, true), requestFor(t, 776, true)
	regex, query, none := request(t, "GET", "http://a.b.example.com/x"), request(t, "GET", "http://h/x?a=b%20c"), request(t, "GET", "http://h/")
	if hit, _ := wide.Match(query); hit.Name != "query" {
		t.Fatal("not the rule that was meant")
	}
	for name, f := range map[string]func(){
		"header": func() { table.Match(canary) },
		"plain":  func() { table.Match(plain) },
		"regex":  func() { wide.Match(regex) },
		"query":  func() { wide.Match(query) },
		"none":   func() { wide.Match(none) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestFilterAllocations: where nothing is changed nothing is allocated.
func TestFilterAllocations(t *testing.T) {
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	rt := routing.Middleware(filterRules(t))(&roundTripper{roundTrip: func(*http.Request) (*http.Response, error) { return resp, nil }})
	split, err := routing.NewSplit([]uint32{90, 10})
	if err != nil {
		t.Fatal(err)
	}
	handler := routing.Handler(filterRules(t))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	nothing, unmatched := request(t, "GET", "http://h/nothing"), request(t, "GET", "http://h/unmatched")
	var draw uint64
	for name, f := range map[string]func(){
		"no rule":          func() { rt.RoundTrip(unmatched) },
		"zero filters":     func() { rt.RoundTrip(nothing) },
		"handler, no rule": func() { handler.ServeHTTP(nil, unmatched) },
		"split":            func() { draw++; split.Pick(draw) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkMiddleware(b *testing.B) {
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	rt := routing.Middleware(filterRules(b))(&roundTripper{roundTrip: func(*http.Request) (*http.Response, error) { return resp, nil }})
	for _, path := range []string{"/unmatched", "/request", "/rewrite/a", "/direct"} {
		r := request(b, "GET", "http://h"+path)
		b.Run(path[1:], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rt.RoundTrip(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, headers := range []bool{false, true} {
		kind := "host+path"
		if headers {
			kind += "+header"
		}
		for _, n := range []int{10, 100, 1000, 10_000} {
			table := compile(b, manyRules(n, headers)...)
			requests := make([]*http.Request, min(n, 1024))
			for i := range requests {
				requests[i] = requestFor(b, i*n/len(requests), headers)
			}
			b.Run(fmt.Sprintf("%s/routes=%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, ok := table.Match(requests[i%len(requests)]); !ok {
						b.Fatal("no rule")
					}
					i++
				}
			})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		rules := manyRules(n, true)
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			for b.Loop() {
				compile(b, rules...)
			}
		})
	}
}

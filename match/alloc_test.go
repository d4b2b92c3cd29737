//go:build !race

package match_test

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/match"
)

func TestAllocations(t *testing.T) {
	m := compile(t, match.Request{
		Hosts:   []string{"*.example.com:443", "[::1]", "reviews"},
		Path:    match.Path{Regex: "/v1/.*"},
		Methods: []string{"GET"},
		Headers: []match.Value{{Name: "x-a", Exact: "a,b"}, {Name: "x-b", Regex: "b+"}, {Name: "x-c", Not: true}},
		Query:   []match.Value{{Name: "q", Prefix: "a b"}, {Name: "r", Regex: "x"}, {Name: "s", Not: true}},

		Principals: []string{"p"},
	})
	r := outbound(t, "GET", "http://reviews/v1/caf%C3%A9?%71=a%20bc&r=x", "X-A", "a", "X-A", "b", "X-B", "bb",
		"Cookie", "a=b; c=d")
	r.RemoteAddr = "[2001:db8::1]:80"
	r = r.WithContext(identity.NewContext(r.Context(), identity.Principal{Kind: identity.Token, Name: "p"}))
	if !m.Matches(r) {
		t.Fatal("does not match")
	}
	long := outbound(t, "GET", "http://h/?q="+strings.Repeat("%41", 500), "X-Long", strings.Repeat("a", 500), "X-Long", "b")
	v6 := outbound(t, "GET", "https://[2001:db8::1]:8443/")
	for name, f := range map[string]func(){
		"Matches":        func() { m.Matches(r) },
		"CanonicalHost":  func() { match.CanonicalHost(v6) },
		"Header":         func() { match.Key{Header: "x-b"}.Hash(r) },
		"Header, joined": func() { match.Key{Header: "x-long"}.Hash(long) },
		"Cookie":         func() { match.Key{Cookie: "c"}.Hash(r) },
		"Query":          func() { match.Key{Query: "q"}.Hash(r) },
		"Query, long":    func() { match.Key{Query: "q"}.Hash(long) },
		"Principal":      func() { match.Key{Principal: true}.Hash(r) },
		"Source":         func() { match.Key{Source: true}.Hash(r) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkMatches(b *testing.B) {
	m := compile(b, match.Request{
		Hosts:   []string{"reviews"},
		Path:    match.Path{Prefix: "/v1"},
		Headers: []match.Value{{Name: "x-canary", Exact: "always"}},
		Query:   []match.Value{{Name: "lang", Exact: "en"}},
	})
	r := outbound(b, "GET", "http://reviews:9080/v1/products/1?page=2&lang=en", "X-Canary", "always")
	b.ReportAllocs()
	for b.Loop() {
		if !m.Matches(r) {
			b.Fatal("does not match")
		}
	}
}

func BenchmarkKeyHash(b *testing.B) {
	r := outbound(b, "GET", "http://reviews:9080/?user=alice", "X-User", "alice", "Cookie", "a=b; user=alice")
	r.RemoteAddr = "192.0.2.1:1234"
	for name, k := range map[string]match.Key{
		"header": {Header: "x-user"}, "cookie": {Cookie: "user"}, "query": {Query: "user"}, "source": {Source: true},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				k.Hash(r)
			}
		})
	}
}

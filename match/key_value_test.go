package match_test

import (
	"net/http"
	"testing"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/xxh64"
	"github.com/tulle-mesh/tulle/match"
)

func TestKeyValue(t *testing.T) {
	r := outbound(t, "GET", "http://h/?user=a%20b&none=",
		"X-User", "alice", "X-List", "a", "X-List", "b", "X-Empties", "", "X-Empties", "", "Cookie", `a=1; s="s 1"`)
	r = r.WithContext(identity.NewContext(r.Context(), identity.Principal{Kind: identity.Token, Name: "alice", Issuer: "i"}))
	for _, c := range []struct {
		key    match.Key
		remote string
		want   string
	}{
		{match.Key{Header: "x-user"}, "", "alice"},
		{match.Key{Header: "X-List"}, "", "a,b"},
		{match.Key{Header: "X-Empties"}, "", ""},
		{match.Key{Cookie: "s"}, "", "s 1"},
		{match.Key{Query: "user"}, "", "a b"},
		{match.Key{Query: "none"}, "", ""},
		{match.Key{Principal: true}, "", "alice"},
		{match.Key{Source: true}, "192.0.2.1:80", "192.0.2.1"},
		{match.Key{Source: true}, "[2001:db8::1:2:3:4]:80", "2001:db8::/64"},
		{match.Key{Source: true}, "", ""},
		{match.Key{}, "", ""},
	} {
		r.RemoteAddr = c.remote
		got, ok := c.key.Value(r)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%+v: %q, %t; want %q", c.key, got, ok, c.want)
		}
	}
}

// FuzzKeyValue holds Value to Hash: two ways to look at the same text.
func FuzzKeyValue(f *testing.F) {
	f.Add("alice", "", "a=1; s=\"x y\"", "s=a%20b&s=c")
	f.Add("", "", "s=;s=2", "s=%zz&s=+")
	f.Add("a", "b", "s", "s")
	f.Fuzz(func(t *testing.T, first, second, cookie, query string) {
		r := outbound(t, "GET", "http://h/")
		r.URL.RawQuery = query
		r.Header = http.Header{"X-User": {first, second}, "X-One": {first}, "Cookie": {cookie, second}}
		for _, key := range []match.Key{{Header: "X-User"}, {Header: "X-One"}, {Cookie: "s"}, {Query: "s"}} {
			value, ok := key.Value(r)
			hash, has := key.Hash(r)
			if ok != has || ok && xxh64.Sum(value, 0) != hash {
				t.Fatalf("%+v: value %q, %t; hash %#x, %t", key, value, ok, hash, has)
			}
		}
	})
}

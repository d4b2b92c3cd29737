package match_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/xxh64"
	"github.com/tulle-mesh/tulle/match"
)

func TestKeyHash(t *testing.T) {
	r := outbound(t, "GET", "http://h/?user=a%20b&user=c&none=&plain=x",
		"X-User", "alice", "X-List", "a", "X-List", "b", "X-Empty", "", "X-Empties", "", "X-Empties", "",
		"Cookie", `a=1; session="s 1"; session=s2`, "Cookie", "late=l; bad=\x01; bad=good")
	r.RemoteAddr = "192.0.2.1:1234"
	r = r.WithContext(identity.NewContext(r.Context(), identity.Principal{Kind: identity.Token, Name: "alice", Issuer: "i"}))
	text := func(s string) uint64 { return xxh64.Sum(s, 0) }
	for _, c := range []struct {
		key  match.Key
		want uint64
		ok   bool
	}{
		{match.Key{Header: "X-User"}, text("alice"), true},
		{match.Key{Header: "x-uSer"}, text("alice"), true},
		{match.Key{Header: "X-List"}, text("a,b"), true},
		{match.Key{Header: "X-Empty"}, 0, false},
		{match.Key{Header: "X-Empties"}, 0, false},
		{match.Key{Header: "X-None"}, 0, false},
		{match.Key{Header: "X-" + strings.Repeat("n", 100)}, 0, false},
		{match.Key{Cookie: "session"}, text("s 1"), true},
		{match.Key{Cookie: "late"}, text("l"), true},
		{match.Key{Cookie: "bad"}, text("good"), true},
		{match.Key{Cookie: "Session"}, 0, false},
		{match.Key{Query: "user"}, text("a b"), true},
		{match.Key{Query: "plain"}, text("x"), true},
		{match.Key{Query: "none"}, 0, false},
		{match.Key{Query: "absent"}, 0, false},
		{match.Key{Principal: true}, text("alice"), true},
		{match.Key{Source: true}, text("\xc0\x00\x02\x01"), true},
		{match.Key{}, 0, false},
	} {
		got, ok := c.key.Hash(r)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%+v: %#x, %t; want %#x, %t", c.key, got, ok, c.want, c.ok)
		}
	}
	if _, ok := (match.Key{Principal: true}).Hash(outbound(t, "GET", "http://h/")); ok {
		t.Error("nobody has a hash")
	}
}

// TestKeyHashStable holds hashes that were computed before: a change moves every
// user of every service to another endpoint.
func TestKeyHashStable(t *testing.T) {
	r := outbound(t, "GET", "http://h/?q=asdf", "X-User", "a", "Cookie", "c=Call me Ishmael. Some years ago--never mind how long precisely-")
	for _, c := range []struct {
		key  match.Key
		want uint64
	}{
		{match.Key{Header: "X-User"}, 0xd24ec4f1a98c6e5b},
		{match.Key{Query: "q"}, 0x415872f599cea71e},
		{match.Key{Cookie: "c"}, 0x02a2e85470d6fd96},
	} {
		if got, ok := c.key.Hash(r); !ok || got != c.want {
			t.Errorf("%+v: %#x, want %#x", c.key, got, c.want)
		}
	}
}

func TestKeySource(t *testing.T) {
	hash := func(addr string) uint64 {
		h, ok := match.Key{Source: true}.Hash(&http.Request{URL: &url.URL{}, RemoteAddr: addr})
		if !ok {
			t.Errorf("%q has no hash", addr)
		}
		return h
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"[2001:db8::1]:1", "[2001:db8::ffff:1]:1", true},
		{"[2001:db8:0:1::1]:1", "[2001:db8::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::2%eth1]:1", true},
	} {
		if (hash(c.a) == hash(c.b)) != c.same {
			t.Errorf("%s and %s: same must be %t", c.a, c.b, c.same)
		}
	}
	for _, addr := range []string{"", "@", "pipe"} {
		if _, ok := (match.Key{Source: true}).Hash(&http.Request{URL: &url.URL{}, RemoteAddr: addr}); ok {
			t.Errorf("%q has a hash", addr)
		}
	}
}

func TestKeyValidate(t *testing.T) {
	for _, k := range []match.Key{
		{Header: "x-user"}, {Cookie: "session"}, {Query: "a b"}, {Principal: true}, {Source: true},
	} {
		if err := k.Validate(); err != nil {
			t.Errorf("%+v: %v", k, err)
		}
	}
	for want, k := range map[string]match.Key{
		"exactly one of":      {},
		"exactly one of ":     {Header: "a", Source: true},
		"exactly one of h":    {Query: "a", Principal: true},
		"header: ":            {Header: "a b"},
		"header: the host is": {Header: "host"},
		"cookie: ":            {Cookie: "a=b"},
	} {
		if err := k.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", k, err, want)
		}
	}
}

// FuzzCookie compares the scan of cookies with net/http's.
func FuzzCookie(f *testing.F) {
	for _, line := range []string{"a=1", "b=2; a=1", `a="1"`, "a=\x01; a=2", " a = 1 ;", "a", "=1", `a="`, "a=;a=1", "a=1;;", "A=1"} {
		f.Add(line, "a=3", "a")
	}
	f.Fuzz(func(t *testing.T, first, second, name string) {
		r := &http.Request{URL: &url.URL{}, Header: http.Header{"Cookie": {first, second}}}
		key := match.Key{Cookie: name}
		if key.Validate() != nil || strings.Count(first+second, ";") > 100 {
			return
		}
		var want string
		if cookie, err := r.Cookie(name); err == nil {
			want = cookie.Value
		}
		got, ok := key.Hash(r)
		if ok != (want != "") || ok && got != xxh64.Sum(want, 0) {
			t.Fatalf("%q of %q, %q: %#x, %t; net/http says %q", name, first, second, got, ok, want)
		}
	})
}

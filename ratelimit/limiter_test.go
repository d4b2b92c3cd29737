package ratelimit_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
)

func TestSeveralPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t,
			ratelimit.Policy{Name: "second", Requests: 2, Key: ratelimit.Key{Source: true}},
			ratelimit.Policy{Name: "day", Requests: 3, Period: 24 * time.Hour, Key: ratelimit.Key{Source: true}})
		a, b := from("192.0.2.1:1"), from("192.0.2.2:1")
		now := time.Now()
		d := l.Take(a, 1, now)
		assert.True(t, d.Allowed)
		assert.Equal(t, "second", d.Policy, "1 left is less than 2")
		assert.True(t, l.Take(a, 1, now).Allowed)

		d = l.Take(a, 1, now)
		assert.False(t, d.Allowed)
		assert.Equal(t, "second", d.Policy)
		assert.Equal(t, 500*time.Millisecond, d.RetryAfter)
		assert.True(t, l.Take(b, 1, now).Allowed, "another key")

		now = now.Add(time.Second)
		assert.True(t, l.Take(a, 1, now).Allowed, "the refusal has charged neither")
		now = now.Add(time.Second)
		d = l.Take(a, 1, now)
		assert.False(t, d.Allowed)
		assert.Equal(t, "day", d.Policy)

		now = now.Add(-time.Second)
		err, _ := errors.AsType[*ratelimit.Error](l.Take(a, 2, now).Err())
		require.NotNil(t, err)
		assert.Equal(t, []string{"second", "day"}, err.Violated)
		assert.Equal(t, "day", err.Policy, "the longest wait")
		assert.Contains(t, err.Error(), "rate limit day: too many requests, again in")

		d = l.Take(a, 3, now)
		assert.False(t, d.Allowed)
		assert.Equal(t, "second", d.Policy)
		assert.Zero(t, d.RetryAfter, "never")
		assert.Contains(t, d.Err().Error(), "more than the burst")

		s := l.Stats()
		assert.EqualValues(t, 4, s.Allowed)
		assert.EqualValues(t, 4, s.Refused)
		assert.EqualValues(t, 3, s.Policies[0].Refused)
		assert.EqualValues(t, 3, s.Policies[1].Refused)
	})
}

// network returns the address of one of very many networks.
func network(n uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], 0x20<<56|n) // the first 64 bits count
	return netip.AddrFrom16(b)
}

// allOrNone has goroutines charge two policies, one of which runs out first,
// and returns how many units the other has lost without a request let through.
func allOrNone(take func(i int) bool, left func() int) int {
	var allowed atomic.Int64
	var wg sync.WaitGroup
	before := left()
	start := make(chan struct{})
	for i := range 4 {
		wg.Go(func() {
			<-start
			for range 50_000 {
				if take(i) {
					allowed.Add(1)
				}
			}
		})
	}
	close(start)
	wg.Wait()
	return before - left() - int(allowed.Load())
}

// Under races too, a request is charged to all policies or to none, and what
// there is is given out to the last.
func TestAllOrNone(t *testing.T) {
	const scarce, ample = 30_000, 1_000_000
	year := 366 * 24 * time.Hour
	for range 5 {
		l := limiter(t,
			ratelimit.Policy{Name: "ample", Requests: ample, Period: year, Key: ratelimit.Key{Header: "X-User"}},
			ratelimit.Policy{Name: "scarce", Requests: scarce, Period: year, Key: ratelimit.Key{Source: true}})
		now := time.Now()
		requests := []*http.Request{from("192.0.2.1:1"), from("192.0.2.2:1"), from("192.0.2.1:1"), from("192.0.2.2:1")}
		probe := from("192.0.2.3:1")
		lost := allOrNone(func(i int) bool { return l.Take(requests[i], 1, now).Allowed }, func() int {
			d := l.Take(probe, scarce+1, now) // costs too much, and changes nothing
			assert.False(t, d.Allowed)
			n := 0
			for lo, hi := 0, ample; lo < hi; {
				mid := (lo + hi + 1) / 2
				if fits(t, l, probe, int64(mid), now) {
					lo, n = mid, mid
				} else {
					hi = mid - 1
				}
			}
			return n
		})
		assert.Zero(t, lost)
		assert.EqualValues(t, 2*scarce, l.Stats().Allowed)
	}
}

// fits reports whether the ample policy would allow a cost. The scarce one
// refuses it in any case, and its burst is smaller, so nothing is charged.
func fits(t *testing.T, l *ratelimit.Limiter, r *http.Request, cost int64, now time.Time) bool {
	err, ok := errors.AsType[*ratelimit.Error](l.Take(r, max(cost, 30_001), now).Err())
	require.True(t, ok)
	return len(err.Violated) == 1
}

// Charging one after the other is what loses units.
func TestAllOrNoneFinds(t *testing.T) {
	year := 366 * 24 * time.Hour
	ample := limiter(t, ratelimit.Policy{Requests: 1_000_000, Period: year})
	scarce := limiter(t, ratelimit.Policy{Requests: 30_000, Period: year})
	now, r := time.Now(), from("")
	assert.Positive(t, allOrNone(func(int) bool {
		return ample.Take(r, 1, now).Allowed && scarce.Take(r, 1, now).Allowed
	}, func() int { return 1_000_000 - int(ample.Stats().Allowed) }))
}

// One bucket is not lost or doubled when goroutines bring in the same new keys
// at the same moment.
func TestNewKeysAtOnce(t *testing.T) {
	l := limiter(t, ratelimit.Policy{Requests: 5, Period: time.Hour, Key: ratelimit.Key{Source: true}, MaxKeys: 64})
	now := time.Now()
	var allowed [40]atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				for k := range allowed {
					if l.Take(from(network(uint64(k)).String()), 1, now).Allowed {
						allowed[k].Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	for k := range allowed {
		assert.LessOrEqual(t, allowed[k].Load(), int64(5), "key %d", k)
	}
}

// The number of keys is exact up to a bound, and beyond it near the truth,
// however few of the buckets are looked at.
func TestKeysInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			room, active int
			within       float64
		}{{4096, 100, 0}, {1 << 16, 1000, 0}, {1 << 20, 20_000, .15}, {1<<20 + 16*1000, 0, 0}} {
			l := limiter(t, ratelimit.Policy{Requests: 1, Period: time.Minute, Key: ratelimit.Key{Source: true}, MaxKeys: c.room})
			r := &http.Request{}
			for i := range c.active {
				r.RemoteAddr = network(uint64(i)).String()
				require.True(t, l.Take(r, 1, time.Now()).Allowed)
			}
			s := l.Stats().Policies[0]
			assert.Equal(t, c.room, s.MaxKeys)
			assert.InDelta(t, c.active, s.Keys, c.within*float64(c.active), "of %d", c.room)
			time.Sleep(time.Minute)
			assert.Zero(t, l.Stats().Policies[0].Keys, "all have their burst back")
		}
	})
}

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t,
			ratelimit.Policy{Name: "trial", Mode: outcome.Observe, Requests: 1},
			ratelimit.Policy{Name: "real", Requests: 3})
		r, now := from(""), time.Now()
		d := l.Take(r, 1, now)
		assert.True(t, d.Allowed && !d.WouldRefuse())
		d.Succeeded()
		for i := range 2 {
			d = l.Take(r, 1, now)
			assert.True(t, d.Allowed && d.WouldRefuse())
			assert.Equal(t, "real", d.Policy)
			if i == 0 {
				d.Succeeded()
			}
		}
		assert.False(t, l.Take(r, 1, now).Allowed, "refused by the other")
		s := l.Stats()
		assert.Equal(t, "real", s.Policies[0].Name)
		assert.Equal(t, ratelimit.PolicyStats{Name: "trial", WouldRefuse: 2, WouldRefuseSucceeded: 1}, s.Policies[1])

		now = now.Add(time.Second)
		assert.False(t, l.Take(r, 1, now).WouldRefuse(), "what would have been refused has charged nothing")
	})
}

func TestKeys(t *testing.T) {
	with := func(edit func(*http.Request)) *http.Request {
		r := from("192.0.2.1:1")
		edit(r)
		return r
	}
	principal := func(p identity.Principal) *http.Request {
		r := from("")
		return r.WithContext(identity.NewContext(r.Context(), p))
	}
	claims := func(c identity.Claims) *http.Request {
		r := from("")
		return r.WithContext(identity.WithClaims(r.Context(), c))
	}
	remote := func(a string) *http.Request { return from(a) }
	pattern := func(p, a string) *http.Request {
		return with(func(r *http.Request) { r.Pattern, r.RemoteAddr = p, a })
	}
	header := func(v ...string) *http.Request {
		return with(func(r *http.Request) { r.Header["X-Tenant"] = v })
	}
	query := func(q string) *http.Request { return with(func(r *http.Request) { r.URL.RawQuery = q }) }
	token := identity.Principal{Kind: identity.Token, Name: "alice", Issuer: "a"}
	other := token
	other.Issuer = "b"
	for _, c := range []struct {
		name string
		key  ratelimit.Key
		a, b *http.Request
		same bool
	}{
		{"global", ratelimit.Key{}, remote("192.0.2.1:1"), remote("[2001:db8::1]:1"), true},
		{"address", ratelimit.Key{Source: true}, remote("192.0.2.1:1"), remote("192.0.2.2:1"), false},
		{"port", ratelimit.Key{Source: true}, remote("192.0.2.1:1"), remote("192.0.2.1:2"), true},
		{"mapped", ratelimit.Key{Source: true}, remote("192.0.2.1:1"), remote("[::ffff:192.0.2.1]:2"), true},
		{"/64", ratelimit.Key{Source: true}, remote("[2001:db8::1]:1"), remote("[2001:db8::2:3]:1"), true},
		{"other /64", ratelimit.Key{Source: true}, remote("[2001:db8::1]:1"), remote("[2001:db8:0:1::1]:1"), false},
		{"/48", ratelimit.Key{Source: true, IPv6Prefix: 48}, remote("[2001:db8::1]:1"), remote("[2001:db8:0:1::1]:1"), true},
		{"/72", ratelimit.Key{Source: true, IPv6Prefix: 72}, remote("[2001:db8::12:3:4:5]:1234"), remote("[2001:db8::56:6:7:8]:1234"), true},
		{"other /72", ratelimit.Key{Source: true, IPv6Prefix: 72}, remote("[2001:db8::112:3:4:5]:1234"), remote("[2001:db8::256:3:4:5]:1234"), false},
		{"/128", ratelimit.Key{Source: true, IPv6Prefix: 128}, remote("[2001:db8::1]:1234"), remote("[2001:db8::2]:1234"), false},
		{"spelling", ratelimit.Key{Source: true, IPv6Prefix: 128}, remote("[2001:db8::a:0:0:1]:1234"), remote("[2001:0DB8:0:0000:000A::1%eth0]:65535"), true},
		{"mapped in hexadecimal", ratelimit.Key{Source: true}, remote("192.0.2.1:1"), remote("[::ffff:c000:201]:1234"), true},
		{"not mapped", ratelimit.Key{Source: true, IPv6Prefix: 128}, remote("192.0.2.1:1"), remote("[::c000:201]:1234"), false},
		{"/24", ratelimit.Key{Source: true, IPv4Prefix: 24}, remote("192.0.2.1:1"), remote("192.0.2.2:1"), true},
		{"no address", ratelimit.Key{Source: true}, remote("@"), remote(""), true},
		{"header", ratelimit.Key{Header: "x-tenant"}, header("a"), header("b"), false},
		{"headers", ratelimit.Key{Header: "x-tenant"}, header("a", "b"), header("a,b"), true},
		{"no header", ratelimit.Key{Header: "x-tenant"}, header(), header(""), true},
		{"header and none", ratelimit.Key{Header: "x-tenant"}, header(), header("a"), false},
		{"query", ratelimit.Key{Query: "t"}, query("t=a%62"), query("x&t=ab"), true},
		{"queries", ratelimit.Key{Query: "t"}, query("t=a"), query("t=b"), false},
		{"cookie", ratelimit.Key{Cookie: "s"}, with(func(r *http.Request) { r.Header.Set("Cookie", "s=1") }), with(func(r *http.Request) { r.Header.Set("Cookie", "a=2; s=1") }), true},
		{"principal", ratelimit.Key{Principal: true}, principal(token), principal(token), true},
		{"issuer", ratelimit.Key{Principal: true}, principal(token), principal(other), false},
		{"anonymous", ratelimit.Key{Principal: true}, remote("192.0.2.1:1"), remote("192.0.2.2:1"), true},
		{"claim", ratelimit.Key{Claim: "tenant"}, claims(identity.Claims{"tenant": "a"}), claims(identity.Claims{"tenant": "b"}), false},
		{"same claim", ratelimit.Key{Claim: "org.id"}, claims(identity.Claims{"org": map[string]any{"id": 7.0}}), claims(identity.Claims{"org.id": "7"}), true},
		{"claims", ratelimit.Key{Claim: "g"}, claims(identity.Claims{"g": []any{"a", "b"}}), claims(identity.Claims{"g": []any{"ab"}}), false},
		{"no claim", ratelimit.Key{Claim: "tenant"}, claims(nil), remote(""), true},
		{"route", ratelimit.Key{Route: true}, pattern("/a", "1.2.3.4:1"), pattern("/b", "1.2.3.4:1"), false},
		{"same route", ratelimit.Key{Route: true}, pattern("/a", "1.2.3.4:1"), pattern("/a", "1.2.3.5:1"), true},
		{"no route", ratelimit.Key{Route: true}, remote("192.0.2.1:1"), remote("192.0.2.2:1"), true},
		{"route and address", ratelimit.Key{Route: true, Source: true}, pattern("/a", "1.2.3.4:1"), pattern("/b", "1.2.3.4:1"), false},
		{"address and route", ratelimit.Key{Route: true, Source: true}, pattern("/a", "1.2.3.4:1"), pattern("/a", "1.2.3.5:1"), false},
	} {
		l := limiter(t, ratelimit.Policy{Requests: 1, Period: time.Hour, Key: c.key})
		now := time.Now()
		require.True(t, l.Take(c.a, 1, now).Allowed, c.name)
		assert.Equal(t, !c.same, l.Take(c.b, 1, now).Allowed, c.name)

		// A Store is told the same, in words that mean nothing.
		s := &memory{}
		remote, err := ratelimit.New(ratelimit.Config{
			Policies: []ratelimit.Policy{{Requests: 1, Period: time.Hour, Key: c.key}}, Store: s, OnStoreFailure: ratelimit.FailClosed,
			StoreTimeout: 10 * time.Second,
		})
		require.NoError(t, err)
		require.True(t, remote.Take(c.a, 1, now).Allowed, c.name)
		assert.Equal(t, !c.same, remote.Take(c.b, 1, now).Allowed, c.name)
	}
}

func FuzzKey(f *testing.F) {
	f.Add("a", "b=c", "s=%20", "192.0.2.1:1", "x")
	f.Add("", "s=\"a b\"; s=", "s=%zz&s=+&s", "[::1%eth0]:80", "")
	f.Fuzz(func(t *testing.T, header, cookie, query, remote, claim string) {
		r := from(remote)
		r.Header = http.Header{"X-Tenant": {header}, "Cookie": {cookie}}
		r.URL.RawQuery, r.Pattern = query, header
		r = r.WithContext(identity.WithClaims(context.Background(), identity.Claims{"c": []any{claim, header}}))
		for _, k := range []ratelimit.Key{{Header: "X-Tenant"}, {Cookie: "s"}, {Query: "s"}, {Source: true, IPv4Prefix: 8, IPv6Prefix: 3}, {Claim: "c"}, {Route: true}} {
			l := limiter(t, ratelimit.Policy{Requests: 1, Period: time.Hour, Key: k, MaxKeys: 1})
			now := time.Now()
			if !l.Take(r, 1, now).Allowed || l.Take(r, 1, now).Allowed {
				t.Fatalf("%+v: not one bucket", k)
			}
		}
	})
}

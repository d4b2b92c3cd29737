package ratelimit_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/ratelimit"
)

const plenty = 1_000_000_000

func limiter(t testing.TB, policies ...ratelimit.Policy) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(ratelimit.Config{Policies: policies})
	require.NoError(t, err)
	return l
}

func from(remote string) *http.Request {
	r, err := http.NewRequest(http.MethodGet, "http://reviews/", nil)
	if err != nil {
		panic(err)
	}
	r.RemoteAddr = remote
	r.Header.Set("X-User", "alice")
	return r
}

// known returns a request of a caller who is.
func known(r *http.Request) *http.Request {
	return r.WithContext(identity.WithClaims(identity.NewContext(r.Context(),
		identity.Principal{Kind: identity.Token, Name: "alice", Issuer: "https://issuer.example"}), identity.Claims{"tenant": "shop"}))
}

// BenchmarkTake measures decisions; reading the clock is the caller's.
func BenchmarkTake(b *testing.B) {
	const v4, v6, whole = "192.0.2.1:1234", "[2001:db8:85a3::8a2e:370:7334]:1234", "[2001:db8:85a3:8d3:1319:8a2e:7370:7334]:51234"
	source := ratelimit.Key{Source: true}
	scarce := ratelimit.Policy{Name: "scarce", Requests: 1, Period: time.Hour, Key: source}
	by := func(k ratelimit.Key) []ratelimit.Policy { return []ratelimit.Policy{{Requests: plenty, Key: k}} }
	all := ratelimit.Policy{Name: "all", Requests: plenty}
	for _, c := range []struct {
		name     string
		policies []ratelimit.Policy
		remote   string
	}{
		{"Global", by(ratelimit.Key{}), v4},
		{"Header", by(ratelimit.Key{Header: "X-User"}), v4},
		{"Principal", by(ratelimit.Key{Principal: true}), v4},
		{"Claim", by(ratelimit.Key{Claim: "tenant"}), v4},
		{"Source", by(source), v4},
		{"Source6", by(source), v6},
		{"Source6Whole", by(source), whole},
		{"Refused", []ratelimit.Policy{scarce}, v4},
		{"Two", append(by(source), all), v4},
		{"TwoOfOneKey", append(by(source), ratelimit.Policy{Name: "day", Requests: plenty, Period: time.Minute, Key: source}), v4},
		{"TwoRefused", []ratelimit.Policy{scarce, all}, v4},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := limiter(b, c.policies...)
			r := known(from(c.remote))
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(50)
				l.Take(r, 1, now)
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			l := limiter(b, c.policies...)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := known(from(c.remote))
				now := time.Now()
				for pb.Next() {
					now = now.Add(50)
					l.Take(r, 1, now)
				}
			})
		})
	}
}

// BenchmarkKeys visits a million keys in a table that has room for 65 536.
func BenchmarkKeys(b *testing.B) {
	l := limiter(b, ratelimit.Policy{Requests: 100, Period: time.Minute, Key: ratelimit.Key{Header: "X-User"}})
	users := make([][]string, 1_000_000)
	for i := range users {
		users[i] = []string{"user-" + strconv.Itoa(i)}
	}
	r := from("")
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r.Header["X-User"] = users[i%len(users)]
		i += 7919
		l.Take(r, 1, time.Now())
	}
}

// BenchmarkStats counts the keys of tables of several sizes.
func BenchmarkStats(b *testing.B) {
	for _, keys := range []int{1 << 12, 1 << 16, 1 << 20} {
		b.Run(strconv.Itoa(keys), func(b *testing.B) {
			l := limiter(b, ratelimit.Policy{Requests: 1, Key: ratelimit.Key{Source: true}, MaxKeys: keys})
			b.ReportAllocs()
			for b.Loop() {
				l.Stats()
			}
		})
	}
}

package ratelimit_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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

// BenchmarkTake measures decisions; reading the clock is the caller's.
func BenchmarkTake(b *testing.B) {
	source := ratelimit.Key{Source: true}
	for _, c := range []struct {
		name     string
		policies []ratelimit.Policy
	}{
		{"Global", []ratelimit.Policy{{Requests: plenty}}},
		{"Header", []ratelimit.Policy{{Requests: plenty, Key: ratelimit.Key{Header: "X-User"}}}},
		{"Source", []ratelimit.Policy{{Requests: plenty, Key: source}}},
		{"Refused", []ratelimit.Policy{{Requests: 1, Period: time.Hour, Key: source}}},
		{"Two", []ratelimit.Policy{{Requests: plenty, Key: source}, {Name: "all", Requests: plenty}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			l := limiter(b, c.policies...)
			r := from("192.0.2.1:1234")
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
				r := from("192.0.2.1:1234")
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

package benchmarks

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/httprate"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/tulle-mesh/tulle/ratelimit"
)

var errRate = errors.New("too many requests")

const (
	ipv4 = "192.0.2.1:49152"
	ipv6 = "[2001:db8:85a3::8a2e:370:7334]:49152"
)

// rates decide whether a request may come now, at so many a second. They read
// the clock themselves.
func rates(perSecond int) []part {
	tulle := func(remote string, policies ...ratelimit.Policy) func(testing.TB, int) asked {
		return func(tb testing.TB, _ int) asked {
			l, err := ratelimit.New(ratelimit.Config{Policies: policies})
			require.NoError(tb, err)
			return func() turn {
				r := &http.Request{RemoteAddr: remote}
				return func(int) (string, error) { return allowed(l.Take(r, 1, time.Now()).Allowed) }
			}
		}
	}
	n := int64(perSecond)
	bySource := ratelimit.Policy{Requests: n, Key: ratelimit.Key{Source: true}}
	return []part{
		{"all alike", "tulle", tulle(ipv4, ratelimit.Policy{Requests: n})},
		{"all alike", "x/time/rate", func(testing.TB, int) asked {
			l := rate.NewLimiter(rate.Limit(perSecond), perSecond)
			return alone(func(int) (string, error) { return allowed(l.Allow()) })
		}},
		{"by address", "tulle", tulle(ipv4, bySource)},
		{"by address", "tulle, IPv6", tulle(ipv6, bySource)},
		{"by address", "tulle, and one for all", tulle(ipv4, bySource, ratelimit.Policy{Name: "all", Requests: n})},
		{"by address", "map+x/time/rate", func(testing.TB, int) asked {
			var mu sync.Mutex
			limiters := map[string]*rate.Limiter{}
			r := &http.Request{RemoteAddr: ipv4}
			return alone(func(int) (string, error) {
				host, _, err := net.SplitHostPort(r.RemoteAddr)
				if err != nil {
					return "", err
				}
				mu.Lock()
				l := limiters[host]
				if l == nil {
					l = rate.NewLimiter(rate.Limit(perSecond), perSecond)
					limiters[host] = l
				}
				mu.Unlock()
				return allowed(l.Allow())
			})
		}},
		{"by address", "httprate", func(testing.TB, int) asked {
			l := httprate.NewRateLimiter(perSecond, time.Second)
			r := &http.Request{RemoteAddr: ipv4}
			return func() turn {
				v := &visitor{header: http.Header{}}
				return func(int) (string, error) {
					host, _, err := net.SplitHostPort(r.RemoteAddr)
					if err != nil {
						return "", err
					}
					return allowed(!l.OnLimit(v, r, httprate.CanonicalizeIP(host)))
				}
			}
		}},
	}
}

func allowed(ok bool) (string, error) {
	if !ok {
		return "", errRate
	}
	return "", nil
}

func BenchmarkRate(b *testing.B) {
	benchmarkParts(b, rates(ample), partCase{name: "serial"}, partCase{name: "parallel", goroutines: 1})
}

// Each limit refuses when there are too many, and not before.
func TestRates(t *testing.T) {
	for _, p := range rates(10) {
		t.Run(p.sort+" "+p.name, func(t *testing.T) {
			ask := p.start(t, 0)()
			refused := 0
			for i := range 1000 {
				if _, err := ask(i); err != nil {
					require.ErrorIs(t, err, errRate)
					require.GreaterOrEqual(t, i, 10)
					refused++
				}
			}
			require.Greater(t, refused, 900)
		})
	}
}

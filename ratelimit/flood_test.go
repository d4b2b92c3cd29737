//go:build !race

package ratelimit_test

import (
	"net/http"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/ratelimit"
)

const (
	floodKeys = 1_000_000
	room      = 4096
)

// perMinute is the policy of the floods below.
var perMinute = ratelimit.Policy{Requests: 100, Period: time.Minute, Burst: 20, Key: ratelimit.Key{Source: true}, MaxKeys: room}

// keyedTaker is a limiter by address.
type keyedTaker func(addr netip.Addr, now time.Duration) bool

// flooded is what a flood did to others.
type flooded struct {
	hostile            int // requests of the flood let through
	offended, entitled int // what an offender got, and should have got
	behaved, refused   int // requests of the well-behaved
}

// flood sends requests of a million keys, each times in a row, so many keys a
// second. Between them an offender sends all the time, and a hundred
// well-behaved callers as many requests as they may.
func flood(take keyedTaker, times, perSecond int) (f flooded) {
	offender := netip.MustParseAddr("198.51.100.1")
	now := time.Duration(0)
	next := time.Duration(0)
	turn := 0
	for n := range floodKeys {
		now = time.Duration(float64(n) / float64(perSecond) * float64(time.Second))
		for range times {
			if take(network(uint64(n)), now) {
				f.hostile++
			}
		}
		if n%10 == 0 && take(offender, now) {
			f.offended++
		}
		// A hundred callers in turn: each once in 1.2 s, half of its rate.
		for ; next <= now; next += 12 * time.Millisecond {
			turn++
			f.behaved++
			if !take(netip.AddrFrom4([4]byte{192, 0, 2, byte(turn % 100)}), now) {
				f.refused++
			}
		}
	}
	f.entitled = 20 + int(now/(600*time.Millisecond))
	return f
}

func ours(t *testing.T, l *ratelimit.Limiter) keyedTaker {
	start, r := time.Now(), &http.Request{}
	addrs := map[netip.Addr]string{}
	return func(addr netip.Addr, now time.Duration) bool {
		remote, ok := addrs[addr]
		if !ok {
			remote = netip.AddrPortFrom(addr, 1).String()
			if addr.Is4() {
				addrs[addr] = remote
			}
		}
		r.RemoteAddr = remote
		return l.Take(r, 1, start.Add(now)).Allowed
	}
}

// A flood of a million keys within the table's rate makes nothing grow, lets
// no offender through, and costs the well-behaved nothing.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, perMinute)
		take := ours(t, l)
		take(netip.MustParseAddr("198.51.100.9"), 0)
		before := heap()
		// 3 requests of 2 000 keys a second are 6 000: the table is good for
		// 4 096 times 100 a minute, 6 827 a second.
		f := flood(take, 3, 2000)
		assert.Less(t, heap()-before, int64(64<<10))
		assert.LessOrEqual(t, f.offended, f.entitled)
		assert.Greater(t, f.offended, f.entitled/2, "nor is it shut out")
		assert.Zero(t, f.refused, "of %d well-behaved requests", f.behaved)
		s := l.Stats().Policies[0]
		assert.Equal(t, room, s.MaxKeys)
		assert.Positive(t, s.Displaced)
		assert.Positive(t, s.Evicted)
		assert.LessOrEqual(t, s.Keys, room)
	})
}

// A flood beyond that is held to the rate of the table as a whole, and no
// offender is let through even then.
func TestFloodBeyond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, perMinute)
		f := flood(ours(t, l), 3, 50_000)
		assert.LessOrEqual(t, f.offended, f.entitled)
		assert.LessOrEqual(t, f.hostile, room*(f.entitled+1))
		s := l.Stats()
		assert.Positive(t, s.Refused)
	})
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// naive is a table of exact buckets with a cap, by another rule for the keys
// that find it full.
type naive struct {
	tats map[netip.Addr]time.Duration
	// forget makes room by dropping any bucket; otherwise newcomers are
	// refused while all are active.
	forget, unbounded bool
}

func (n *naive) take(addr netip.Addr, now time.Duration) bool {
	const interval, full = 600 * time.Millisecond, 20 * 600 * time.Millisecond
	key := addr
	if addr.Is6() {
		p, err := addr.Prefix(64)
		if err != nil {
			return false
		}
		key = p.Addr()
	}
	tat, ok := n.tats[key]
	if !ok && !n.unbounded && len(n.tats) >= room {
		tries := 16
		for other, t := range n.tats {
			if tries--; n.forget || t <= now {
				delete(n.tats, other)
				break
			} else if tries == 0 {
				break
			}
		}
		if len(n.tats) >= room {
			return false
		}
	}
	after := max(tat, now) + interval
	if after-now > full {
		return false
	}
	n.tats[key] = after
	return true
}

// Other rules for a full table fail in one of three ways.
func TestFloodFinds(t *testing.T) {
	forgetful := &naive{tats: map[netip.Addr]time.Duration{}, forget: true}
	f := flood(forgetful.take, 3, 2000)
	assert.Greater(t, f.offended, f.entitled, "an offender is forgiven")

	full := &naive{tats: map[netip.Addr]time.Duration{}}
	f = flood(full.take, 3, 50_000)
	assert.Positive(t, f.refused, "the well-behaved are locked out")

	before := heap()
	growing := &naive{tats: map[netip.Addr]time.Duration{}, unbounded: true}
	flood(growing.take, 1, 50_000)
	assert.Greater(t, heap()-before, int64(1<<20))
	runtime.KeepAlive(growing)
}

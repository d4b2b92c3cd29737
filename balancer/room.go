package balancer

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

const (
	// usualTrip is what a call loses that is sent back, in ns, where that is not
	// known.
	usualTrip = float64(time.Millisecond)
	// tripFades is in how many times Decay what is known falls to 1/e.
	tripFades = 3
)

// trip is how long calls take that are sent back. It fades: where it seems to be
// long nothing comes back, and nothing else would tell that it is not.
type trip struct {
	took atomic.Uint64 // in ns, as bits of a float64; 0 is not known
	at   atomic.Int64  // when a call last was
}

func (t *trip) takes(at int64, decay float64) float64 {
	took := math.Float64frombits(t.took.Load())
	if took == 0 {
		return usualTrip
	}
	return usualTrip + (took-usualTrip)*exp(-float64(max(0, at-t.at.Load()))/(tripFades*decay))
}

// learn adds to what is known. Of two at once one may be lost.
func (t *trip) learn(took float64, at int64, decay float64) {
	old := t.takes(at, decay)
	t.took.Store(math.Float64bits(old + (min(max(took, old/drift), old*drift)-old)/inertia))
	t.at.Store(at)
}

// Room implements Wary. It is 0 for whatever was not picked by a token: then
// nothing was expected of the endpoint, or nothing better is known.
func (p *loadPicker) Room(ep *endpoint.Endpoint, now time.Time) int {
	f := p.known[ep]
	if f == nil || p.b.sendBack == 0 || now.IsZero() {
		return 0
	}
	at, used := int64(now.Sub(p.base)), f.used.Load()
	if used == 0 || f.usedAt.Load() != at {
		return 0
	}
	next, load := p.next(f.number, at), ep.Load()
	if next == 0 || load == nil {
		return 0
	}
	var otherwise float64
	if load.ServiceTime <= 0 {
		otherwise = f.last(p.decay)
	}
	s := p.b.usual.takes(&load.LoadReport, otherwise)
	// A cost is no time, and says more of how far two endpoints are apart: so the
	// trip counts in proportion to what a call takes.
	most := max(costOf(used), costOf(next)*p.b.sendBack) * (1 + p.b.trip.takes(at, p.decay)/s)
	return roomFor(most, s, load.Limit, math.Float64frombits(f.share.Load()))
}

// next returns the word of the cheapest token up that may be used at now and
// is not of the endpoint of the given number, 0 if there is none. It takes
// nothing.
func (p *loadPicker) next(number uint32, now int64) uint64 {
	t := &p.b.tokens
	tried := uint64(0) // all slots up to it
	for range maxTries {
		if tried = t.least(tried); tried == 0 {
			return 0
		}
		n := uint32(tried)
		if n == number || int(n) >= len(p.places) || p.places[n] == 0 {
			continue
		}
		i := p.places[n] - 1
		f := p.feds[i]
		word := f.token.word.Load()
		if word>>32 == tried>>32 && int64(age(tick(now), uint32(word)))<<tickBits <= p.b.maxAge &&
			f.may(t.issued.Load(), p.turns[i], p.turn) {
			return word
		}
	}
	return 0
}

// costOf returns the cost of a token.
func costOf(word uint64) float64 { return float64(math.Float32frombits(uint32(word >> 32))) }

// roomFor returns how many requests an endpoint of the given share can have in
// flight, with the one to come, until that one costs more than most, where a
// request takes s: the inverse of usual.cost and weigh. It is at least 1.
func roomFor(most, s, limit, share float64) int {
	// The last bits of a cost are left to chance, and are not to cost a place.
	x := most / s * (1 + ties/float64(1<<22))
	n := (x-1)*share + 1
	if limit > 0 {
		if limit = max(1, limit); n > limit {
			// n/limit·((n-1)/share+1) = x
			b := 1 - share
			n = (math.Sqrt(b*b+4*x*limit*share) + b) / 2
		}
	}
	return int(min(max(n, 1), mostInFlight))
}

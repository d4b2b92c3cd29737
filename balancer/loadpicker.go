package balancer

import (
	"math"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// loadPicker is the Picker of LoadFed.
type loadPicker struct {
	peakPicker
	b     *loadFed
	feds  []*fed // of the peers
	known map[*endpoint.Endpoint]*fed
	// places has the index among the peers, and 1, for the number of each.
	places []uint32
	// turns are what tokens of the peers take, see turnOf.
	turns []int64
	// turn is that of one of mean weight.
	turn int64
}

func (p *loadPicker) place(number uint32, i int) {
	for len(p.places) <= int(number) {
		p.places = append(p.places, 0)
	}
	p.places[number] = uint32(i + 1)
}

// Pick implements Picker.
func (p *loadPicker) Pick(q Query) *endpoint.Endpoint {
	now := noTime
	if !q.Now.IsZero() {
		now = int64(q.Now.Sub(p.base))
	}
	best, why := p.choose(&q, now)
	if !q.again {
		p.b.picks.count(q.Draw, why)
	}
	if now != noTime {
		best.est.mark(now)
	}
	return best.ep
}

// putBack implements returner.
func (p *loadPicker) putBack(ep *endpoint.Endpoint, now time.Time) {
	f := p.known[ep]
	if f == nil || int(f.number) >= len(p.places) || p.places[f.number] == 0 {
		return
	}
	at := noTime
	if !now.IsZero() {
		at = int64(now.Sub(p.base))
		f.settle(at, false)
	}
	if f.usedAt.Load() == at {
		p.b.tokens.back(f, p.turns[p.places[f.number]-1])
	}
}

func (p *loadPicker) choose(q *Query, now int64) (*peer, reason) {
	r := random{q.Draw}
	var first, second *peer
	if len(q.Avoid) == 0 && len(p.peers) > 1 {
		i, j := p.lots.two(&r)
		first, second = &p.peers[i], &p.peers[j]
	} else {
		first, second = p.pair(&r, q.Avoid)
	}
	switch {
	case first == nil:
		// So few are not to be avoided, or none, that drawing missed them.
		if i := otherIndex(p.members, q); i >= 0 {
			return &p.peers[i], pickedOnly
		}
		if first, second = p.pair(&r, nil); second != nil && p.better(second, first, now) {
			first = second
		}
		return first, pickedOnly
	case second == nil:
		return first, pickedOnly
	}
	if float64(r.word()>>32) < p.explores(first) && p.lost(first, now) {
		return first, pickedExploring
	}
	if p.heard(first) != reporting || p.heard(second) != reporting {
		winner := first
		if p.better(second, first, now) {
			winner = second
		}
		if h := p.heard(winner); h == mute || h == unheard {
			return winner, pickedUnreported
		}
	}
	best, why := p.take(q, now)
	if best == nil {
		best = p.fallBack(q, &r, first, second, now)
	}
	return best, why
}

// explores returns how likely a pick is to explore a peer that was drawn, in
// parts of 2³². One of little weight is not picked for its tokens where one
// call is more than its share of the load, and is explored the more.
func (p *loadPicker) explores(c *peer) float64 {
	if p.b.explore == 0 || c.share >= 1 {
		return p.b.explore
	}
	return max(p.b.explore, (1-c.share)*(1-c.share)*math.MaxUint32)
}

func (p *loadPicker) heard(c *peer) uint32 { return p.feds[c.index].heard.Load() }

// better reports whether a should take the place of b, which was drawn first,
// by latencies.
func (p *loadPicker) better(a, b *peer, now int64) bool {
	if la, lb := p.heard(a) == leaving, p.heard(b) == leaving; la != lb {
		return lb
	}
	at := now
	if now == noTime {
		at = max(p.feds[a.index].at.Load(), p.feds[b.index].at.Load())
	}
	return p.cheaper(a, b, now, p.b.blame(p.feds[a.index], at), p.b.blame(p.feds[b.index], at))
}

// maxTries bounds how many tokens that are of no use a pick looks at.
const maxTries = 4

// take uses up the token of the least cost that may be used, and returns its
// peer, or nil and why there is none.
func (p *loadPicker) take(q *Query, now int64) (*peer, reason) {
	t := &p.b.tokens
	why := pickedDry
	tried := uint64(0) // all slots up to it
	for range maxTries {
		least := t.least(tried)
		if least == 0 {
			return nil, why
		}
		tried = least
		number := uint32(least)
		if int(number) >= len(p.places) || p.places[number] == 0 {
			t.drop(least, 0) // of another set
			continue
		}
		i := p.places[number] - 1
		f := p.feds[i]
		word := f.token.word.Load()
		switch {
		case word>>32 != least>>32:
			t.drop(least, f.slot.Load()) // used up, or there is a newer one
		case now != noTime && int64(age(tick(now), uint32(word)))<<tickBits > p.b.maxAge:
			t.drop(least, f.slot.Load())
			why = pickedOld
		case len(q.Avoid) > 0 && q.Avoids(p.peers[i].ep):
			why = pickedAvoided
		default:
			reports := t.issued.Load()
			if !f.may(reports, p.turns[i], p.turn) {
				why = pickedCapped
				continue
			}
			if !f.token.word.CompareAndSwap(word, 0) {
				continue
			}
			f.charge(reports, p.turns[i])
			f.used.Store(word)
			f.usedAt.Store(now)
			t.drop(least, f.slot.Load())
			return &p.peers[i], pickedToken
		}
	}
	return nil, why
}

// lost reports whether an endpoint that reports was not heard of for longer
// than its reports are of use, while nothing else is known against it than that
// it was slow.
func (p *loadPicker) lost(c *peer, now int64) bool {
	f := p.feds[c.index]
	at := f.at.Load()
	if now != noTime {
		if now-at <= p.b.maxAge {
			return false
		}
		at = now
		if c.ep.InFlight() > 0 && f.waited(now, p.decay) > silent*math.Float64frombits(p.b.usual.typical.Load()) {
			return false
		}
	} else if f.token.word.Load() != 0 {
		return false
	}
	return f.heard.Load() == reporting && p.b.blame(f, at) == 0
}

// silent is for how many usual costs an endpoint may answer nothing.
const silent = 4

// fallBack picks without a token: of few endpoints the best by what the last
// reports say, of many, and of those whose weights differ, the better of the two
// that were drawn.
func (p *loadPicker) fallBack(q *Query, r *random, first, second *peer, now int64) *peer {
	var best *peer
	fresh := false
	if len(p.peers) > maxTokens || p.lots.alias != nil {
		a, moreA, freshA := p.expected(first, now)
		b, moreB, freshB := p.expected(second, now)
		best, fresh = first, freshA && freshB
		if b < a && b+moreB < a+moreA {
			best = second
		}
	} else {
		least := math.Inf(1)
		off := int(r.below(uint64(len(p.peers))))
		for k := range p.peers {
			c := &p.peers[(k+off)%len(p.peers)]
			if len(q.Avoid) > 0 && q.Avoids(c.ep) {
				continue
			}
			v, _, young := p.expected(c, now)
			fresh = fresh || young
			if v < least {
				best, least = c, v
			}
		}
	}
	switch {
	case best != nil && fresh:
		return best
	case p.better(second, first, now):
		return second
	}
	return first
}

// expected returns the cost of a call by the last report, infinite if there is none, how much more it is if the weight counts for
// the call itself too, as in cheaper, and whether the report is not too old.
// What it says of requests in flight is forgotten within a tenth of MaxAge, for
// others come and go.
func (p *loadPicker) expected(c *peer, now int64) (cost, more float64, fresh bool) {
	f, u := p.feds[c.index], &p.b.usual
	load := c.ep.Load()
	if load == nil || f.heard.Load() != reporting {
		return math.Inf(1), 0, false
	}
	at, age := now, int64(0)
	if now == noTime {
		at = f.at.Load()
	} else {
		age = max(0, at-int64(load.At.Sub(p.base)))
	}
	x := float64(age) / float64(p.b.maxAge)
	mean := max(0, math.Float64frombits(u.inFlight.Load())-1)
	s := math.Float64frombits(u.service.Load())
	r := endpoint.LoadReport{
		InFlight: mean + (max(0, load.InFlight)-mean)*exp(-fading*x),
		Limit:    load.Limit, ServiceTime: time.Duration(s + (float64(load.ServiceTime)-s)*exp(-x)),
	}
	own := c.ep.InFlight()
	each, n := u.cost(&r, own, minLatency)
	cost = u.believe(each*weigh(n, c.share), f.average(at, p.decay)*weigh(float64(own+1), c.share))
	return cost + p.b.blame(f, at), each/c.share - each, age <= p.b.maxAge
}

// fading is how much faster requests in flight are forgotten than service
// times.
const fading = 10

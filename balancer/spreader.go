package balancer

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// Member is an endpoint of a set that is divided.
type Member struct {
	Endpoint *endpoint.Endpoint
	// RampFor is for how long the endpoint comes back to its full share
	// since it last became available. Zero means that there is nothing but
	// Spread.SlowStart to keep it from that.
	RampFor time.Duration
}

// Spreader divides the calls to a set of endpoints over their priorities and
// zones and has a Balancer of one Policy choose in each part. While endpoints
// are in their ramps, and for attempts that must avoid others, Pick of a
// policy may be called several times for one attempt.
type Spreader struct {
	policy    Policy
	spread    Spread
	env       Env
	shape     shape
	weights   map[string]uint32 // of zones
	base      time.Time         // what times are counted from: the first update
	spare     Balancer          // made by NewSpreader, and not yet in use
	learns    bool
	balancers map[partKey]*partBalancer
	made      uint64
	gone      []PickCount // of Balancers that were let go of
	updates   uint64
}

// partBalancer is the Balancer of a part and the last update that had the
// part.
type partBalancer struct {
	Balancer
	update uint64
}

// maxSpare is how many Balancers of parts that have vanished are kept, beyond
// as many as there are parts.
const maxSpare = 16

// NewSpreader returns a Spreader that makes its Balancers by p.New, the first
// one at once; it returns nil if that is nil. What is invalid in s counts as
// its default.
func NewSpreader(p Policy, s Spread, env Env) *Spreader {
	first := p.New(env)
	if first == nil {
		return nil
	}
	s = s.sound()
	sp := &Spreader{
		policy: p, spread: s, env: env, spare: first,
		shape:     shape{exponent: 1 / s.SlowStart.Aggression, least: s.SlowStart.MinPercent / 100},
		weights:   map[string]uint32{},
		balancers: map[partKey]*partBalancer{},
	}
	for _, w := range s.ZoneWeights {
		sp.weights[w.Zone] = w.Weight
	}
	_, sp.learns = first.(Observer)
	return sp
}

// Update returns the division of the members at now: all that are known, in
// order of address, whether they may be picked or not. It is called again
// whenever anything about them changes, but not for ramps to go on or end.
// It is never called twice at once. It panics if the policy, having made a
// Balancer before, returns none.
func (s *Spreader) Update(members []Member, now time.Time) *Division {
	if s.updates++; s.updates == 1 {
		s.base = now
	}
	at := s.ns(now)
	set := s.parts(members, false, at)
	set.settle(s)
	if !set.usable() {
		// What is left are endpoints that are about to stop, if any.
		if leaving := s.parts(members, true, at); len(leaving.parts) > 0 {
			if leaving.settle(s); leaving.usable() {
				set = leaving
			}
		}
	}
	d := s.division(set, at)
	s.forget()
	d.before = s.gone
	for _, b := range s.balancers {
		if c, ok := b.Balancer.(Counted); ok {
			d.counted = append(d.counted, c)
		}
	}
	return d
}

func (s *Spreader) ns(t time.Time) int64 { return int64(t.Sub(s.base)) }

const (
	nearest = iota
	nearby
	remote

	listed   = 0
	unlisted = 1
)

// key returns the part that an endpoint belongs to.
func (s *Spreader) key(info *endpoint.Info) partKey {
	k := partKey{priority: info.Priority}
	switch s.spread.Zones {
	case NearestZone:
		known := s.env.Region != "" && info.Region != ""
		same := known && s.env.Region == info.Region
		switch {
		case s.env.Zone != "" && s.env.Zone == info.Zone && (same || !known):
			k.rank = nearest
		case same:
			k.rank = nearby
		default:
			k.rank = remote
		}
	case WeightedZones:
		if s.weights[info.Zone] == 0 {
			k.rank = unlisted
		} else {
			k.zone = info.Zone
		}
	}
	return k
}

// parts sorts the members into parts, in order of tier and zone. If leaving,
// endpoints that are leaving count as if they were not, and no others do.
func (s *Spreader) parts(members []Member, leaving bool, at int64) *partition {
	by := map[partKey]*part{}
	for i, m := range members {
		availability := m.Endpoint.Availability()
		state := stateOf(availability)
		if !state.counts || state.leaving != leaving {
			continue
		}
		info := m.Endpoint.Info()
		k := s.key(&info)
		p := by[k]
		if p == nil {
			p = &part{key: k, region: info.Region, zone: k.zone, weight: 1}
			if k.rank == listed && s.spread.Zones == WeightedZones {
				p.weight = float64(s.weights[k.zone])
			}
			by[k] = p
		}
		if p.region != info.Region {
			p.region = ""
		}
		c := candidate{ep: m.Endpoint, index: i, weight: float64(m.Endpoint.Weight()), sick: state.sick, ramp: over()}
		if availability.Available() {
			c.ramp = s.ramp(m, availability.Since())
		}
		p.add(c)
	}
	parts := slices.SortedFunc(maps.Values(by), func(a, b *part) int { return a.key.compare(b.key) })
	for _, p := range parts {
		s.place(p)
	}
	return partitionOf(parts, at)
}

// place says where a part is, as far as that is what makes it a part.
func (s *Spreader) place(p *part) {
	switch {
	case s.spread.Zones == NearestZone && p.key.rank == nearest:
		p.zone = s.env.Zone
	case s.spread.Zones == NearestZone && p.key.rank == nearby:
	case s.spread.Zones == WeightedZones && p.key.rank == listed:
	default:
		p.region = ""
	}
}

// state is what an availability means to a division.
type state struct{ counts, leaving, sick bool }

func stateOf(a *endpoint.Availability) state {
	if a.Available() {
		return state{counts: true}
	}
	held := func(h endpoint.Hold) bool { is, _, _ := a.Held(h); return is }
	if held(endpoint.NotReady) || held(endpoint.Removed) {
		return state{}
	}
	sick := held(endpoint.Unhealthy) || held(endpoint.Ejected) || held(endpoint.BreakerOpen)
	return state{counts: true, leaving: held(endpoint.Leaving), sick: sick}
}

// ramp returns the ramp of an available endpoint. It begins when the endpoint
// became available. If that was a return within the slow start of a newcomer,
// both are over when the later one is.
func (s *Spreader) ramp(m Member, since time.Time) ramp {
	start := s.ns(since)
	from := start
	if m.RampFor > 0 {
		from = s.ns(m.Endpoint.Since())
	}
	end := add(start, max(0, m.RampFor))
	if w := s.spread.SlowStart.Window; w > 0 {
		end = max(end, add(from, w))
	}
	return ramp{start, end}
}

func add(at int64, d time.Duration) int64 {
	if at > math.MaxInt64-int64(d) {
		return math.MaxInt64
	}
	return at + int64(d)
}

// of returns the Balancer of a part, made now if need be.
func (s *Spreader) of(k partKey) Balancer {
	b := s.balancers[k]
	if b == nil {
		b = &partBalancer{Balancer: s.spare}
		if s.spare = nil; b.Balancer == nil {
			env := s.env
			s.made++
			seed := random{env.Seed ^ s.made<<32}
			env.Seed = seed.word()
			if b.Balancer = s.policy.New(env); b.Balancer == nil {
				panic(fmt.Sprintf("balancer: %T.New has returned nil", s.policy))
			}
		}
		s.balancers[k] = b
	}
	b.update = s.updates
	return b.Balancer
}

// forget lets go of the Balancers of parts that have vanished, if they are
// many.
func (s *Spreader) forget() {
	present := 0
	for _, b := range s.balancers {
		if b.update == s.updates {
			present++
		}
	}
	if len(s.balancers) <= 2*present+maxSpare {
		return
	}
	gone := slices.Clone(s.gone)
	for k, b := range s.balancers {
		if b.update == s.updates {
			continue
		}
		if c, ok := b.Balancer.(Counted); ok {
			gone = addPicks(gone, c.Picks())
		}
		delete(s.balancers, k)
	}
	s.gone = gone
}

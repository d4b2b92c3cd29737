package sim

import (
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// Chooser is a way to choose servers. Besides the policies of package
// balancer, see Balanced, it can be anything: what sends probes, by
// Caller.Probe (see Prequal), what knows everything (see Central), or what
// does not choose at all (see Pinned).
type Chooser interface {
	// New returns what picks for a caller. It is called once for each caller
	// of a run, before the first call of any.
	New(*Caller) Picker
}

// Picker picks for one caller. It may be an Observer and an Updater too, and a
// Counter. Its methods are called within the loop of the run, one at a time.
type Picker interface {
	// Pick returns a server, one of Caller.Usable, or -1 for none, which fails
	// the call. draw is a random word.
	Pick(now time.Time, draw uint64) int
}

// Observer is a Picker that learns from results.
type Observer interface {
	// Observe is called when the answer of a server has come, or can no
	// longer come in time. If r.Reported, Caller.Endpoint(server).Load() is
	// the report that came with it.
	Observe(server int, r outcome.Result)
}

// Updater is a Picker that wants to know when Caller.Usable has changed.
type Updater interface {
	Update()
}

// Wary is a Picker that lets servers send calls back; see balancer.Wary.
type Wary interface {
	// Room returns how many requests server, which was just picked, may have in
	// flight if it is to let the call in, 0 if it is to in any case.
	Room(server int, now time.Time) int
	// Again picks as Pick does, for a call that server back has sent back.
	Again(now time.Time, draw uint64, back int) int
}

// Counter is a Picker that counts for what reason it picked.
type Counter interface {
	// Reasons adds to counts.
	Reasons(counts map[string]uint64)
}

// Balanced chooses by a policy of package balancer, through the constructors
// that the mesh uses.
type Balanced struct {
	Policy balancer.Policy
	// Spread is how calls are divided; servers have zones, callers have none.
	Spread balancer.Spread
	// Ramp is for how long servers that were held grow into their share.
	Ramp time.Duration
}

// New implements Chooser.
func (b Balanced) New(c *Caller) Picker {
	env := balancer.Env{Service: "simulated", Seed: c.rnd.Uint64()}
	p := &balanced{
		caller: c, ramp: b.Ramp, spreader: balancer.NewSpreader(b.Policy, b.Spread, env),
		servers: make(map[*endpoint.Endpoint]int, len(c.endpoints)),
	}
	p.Update()
	return p
}

type balanced struct {
	caller   *Caller
	spreader *balancer.Spreader
	ramp     time.Duration
	servers  map[*endpoint.Endpoint]int
	division *balancer.Division
	picker   balancer.Picker
	observer balancer.Observer
}

// Update implements Updater.
func (b *balanced) Update() {
	c := b.caller
	members := make([]balancer.Member, 0, len(c.endpoints))
	for n, e := range c.endpoints {
		if e == nil {
			continue
		}
		b.servers[e] = n
		m := balancer.Member{Endpoint: e}
		if c.returning[n] {
			m.RampFor = b.ramp
		}
		members = append(members, m)
	}
	d := b.spreader.Update(members, c.fleet.Now())
	b.division, b.picker, b.observer = d, d.Picker(), d.Observer()
}

// Pick implements Picker.
func (b *balanced) Pick(now time.Time, draw uint64) int {
	return b.pick(balancer.Query{Now: now, Draw: draw, Attempt: 1})
}

func (b *balanced) pick(q balancer.Query) int {
	if b.picker == nil {
		return -1
	}
	e := b.picker.Pick(q)
	if e == nil {
		return -1
	}
	return b.servers[e]
}

// Room implements Wary.
func (b *balanced) Room(server int, now time.Time) int {
	if w, ok := b.picker.(balancer.Wary); ok {
		return w.Room(b.caller.endpoints[server], now)
	}
	return 0
}

// Again implements Wary.
func (b *balanced) Again(now time.Time, draw uint64, back int) int {
	return b.pick(balancer.Query{Now: now, Draw: draw, Attempt: 1, Avoid: []*endpoint.Endpoint{b.caller.endpoints[back]}})
}

// Observe implements Observer.
func (b *balanced) Observe(server int, r outcome.Result) {
	if b.observer != nil {
		b.observer.Observe(b.caller.endpoints[server], r)
	}
}

// Reasons implements Counter.
func (b *balanced) Reasons(counts map[string]uint64) {
	for _, p := range b.division.Picks() {
		counts[p.Reason] += p.Picks
	}
}

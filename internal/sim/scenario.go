package sim

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Scenario is a fleet of servers, the callers it has, and what happens to
// them. It is data; what is not said has the defaults named here.
type Scenario struct {
	// Seed decides all that is left to chance. Scenarios that differ in their
	// Chooser meet the same calls, the same work and the same spells.
	Seed uint64
	// Servers are the fleet; see Servers.
	Servers []Server
	// Callers is how many processes make calls. Zero means 1.
	Callers int
	// Load is how much of what the servers can do on the average is asked of
	// them: calls come at random (a Poisson process), whether others have been
	// answered or not. Spells count, and servers that join later do not.
	Load float64
	// Rate is how many calls come in a second, in the place of Load.
	Rate float64
	Work Work
	// Delay is how long a message is on its way, in one direction; zero means
	// 250 µs, negative not at all. Jitter is the most that chance adds to it,
	// each message for itself.
	Delay, Jitter time.Duration
	// Timeout is how long a caller waits; the call has then failed, and took
	// so long. Zero means 1 s.
	Timeout time.Duration
	// Abandon lets servers go on with requests that nobody waits for any
	// more. Otherwise they learn of it and stop.
	Abandon bool
	// Chooser is how callers choose servers.
	Chooser Chooser
	// Loss is the part of the load reports that never arrive, from 0 to 1.
	Loss float64
	// Staleness is how much older reports are than the answers that bring
	// them.
	Staleness time.Duration
	// Changes are what happens to the fleet.
	Changes []Change
	// Warm is how long calls are made before they are counted; zero means 2 s,
	// negative not at all. Measure is for how long they are then counted; zero
	// means 10 s.
	Warm, Measure time.Duration
	// Step is the unit of time: everything happens at a multiple of it, the
	// nearest. Zero means a 200th of the mean work.
	Step time.Duration
}

// Change is something that happens to the fleet.
type Change struct {
	// At is when, from the beginning of the run, which comes before Warm.
	At time.Duration
	// Do does it, by the methods of Fleet.
	Do func(*Fleet)
}

// Run runs the scenario and returns what became of it. It must not be called
// within a bubble.
func (s Scenario) Run(t *testing.T) (r Result) {
	t.Helper()
	if err := s.validate(); err != nil {
		t.Fatalf("sim: %v", err)
	}
	begin := time.Now()
	synctest.Test(t, func(t *testing.T) {
		f := s.fleet()
		f.loop()
		r = f.tally.result(f)
		if err := f.end(); err != nil {
			t.Fatal(fmt.Errorf("sim: %w", err))
		}
	})
	r.Took = time.Since(begin)
	return r
}

// validate returns every fault of the scenario, joined.
func (s *Scenario) validate() error {
	var faults []error
	fault := func(is bool, format string, args ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(len(s.Servers) == 0, "servers: there are none")
	fault(s.Chooser == nil, "chooser: there is none")
	fault(s.capacity() == 0, "servers: all of them join later")
	fault(s.Load <= 0 && s.Rate <= 0, "load: there is none")
	fault(s.Load > 0 && s.Rate > 0, "rate: excludes load")
	fault(!(s.Loss >= 0 && s.Loss <= 1), "loss: %v is not from 0 to 1", s.Loss)
	if b, ok := s.Chooser.(Balanced); ok {
		if b.Policy == nil {
			fault(true, "chooser: there is no policy")
		} else if err := b.Policy.Validate(); err != nil {
			fault(true, "chooser: %w", err)
		}
	}
	for n, server := range s.Servers {
		if server.Guard != nil {
			if err := server.Guard.Validate(); err != nil {
				fault(true, "servers[%d].guard: %w", n, err)
			}
		}
	}
	return errors.Join(faults...)
}

// capacity is how much work the servers do in a ns.
func (s *Scenario) capacity() float64 {
	all := 0.0
	for _, server := range s.Servers {
		if server.Joins == 0 {
			all += server.capacity()
		}
	}
	return all
}

// fleet makes the fleet, in the bubble.
func (s Scenario) fleet() *Fleet {
	or := func(d, otherwise time.Duration) int64 {
		if d == 0 {
			d = otherwise
		}
		return int64(max(0, d))
	}
	f := &Fleet{
		scenario: s, base: time.Now(), step: max(1, or(s.Step, time.Duration(s.Work.mean()/200))),
		work: s.Work, timeout: or(s.Timeout, time.Second), cancels: !s.Abandon,
		loss: s.Loss, staleness: int64(s.Staleness), outcomes: judged(),
		wake: make(chan struct{}, 1), alarm: time.NewTimer(time.Hour),
	}
	f.delay, f.jitter = f.whole(float64(or(s.Delay, 250*time.Microsecond))), float64(s.Jitter)
	f.arrivals, f.jitters, f.losses = f.random(streamArrivals, 0), f.random(streamJitter, 0), f.random(streamLoss, 0)
	f.lots = f.random(streamLot, 0)
	warm, measure := or(s.Warm, 2*time.Second), or(s.Measure, 10*time.Second)
	f.until = warm + measure
	f.tally.init(len(s.Servers), warm, f.until)
	if f.rate = s.Rate / float64(time.Second); s.Rate <= 0 {
		f.SetLoad(s.Load)
	}
	for n, server := range s.Servers {
		v := f.newServer(n, server)
		f.servers = append(f.servers, v)
		f.blocks = f.blocks || v.blocks
	}
	for n := range max(1, s.Callers) {
		f.callers = append(f.callers, f.newCaller(n))
	}
	for n, server := range s.Servers {
		if server.Joins > 0 {
			f.after(server.Joins, func() { f.join(n) })
		}
	}
	for _, c := range s.Changes {
		f.after(c.At, func() { c.Do(f) })
	}
	f.after(0, f.sample)
	f.after(time.Duration(warm), func() { f.tally.reasons = f.reasons() })
	return f
}

// join makes a server known to all callers.
func (f *Fleet) join(n int) {
	f.servers[n].warmUp()
	for _, c := range f.callers {
		c.learn(n)
		c.update()
	}
}

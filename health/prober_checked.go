package health

import (
	"context"
	"sync/atomic"
	"time"
)

// Checked is an endpoint that is being probed, and what has been found.
type Checked struct {
	prober  *Prober
	subject Subject // Probe is effective
	verdict atomic.Pointer[verdict]

	// Guarded by the Prober's lock.
	due    time.Duration // when the next probe is planned
	stalls uint32        // of the schedule, when the probe under way began
	index  int32         // in the schedule, or idle
	probed bool          // a probe has ended, or none will
	again  bool          // the last one was disregarded
	// streak counts the last results that speak against the verdict.
	streak  int32
	stopped bool
	cancel  context.CancelFunc // of the probe under way
	stats   ProbeStats
}

// verdict does not change once it is stored.
type verdict struct {
	healthy bool
	cause   string
	since   time.Time
}

// ProbeStats count the probes of one endpoint.
type ProbeStats struct {
	// Probes counts those that ended, Failures those of them that failed.
	Probes   uint64 `json:"probes"`
	Failures uint64 `json:"failures"`
	// Disregarded counts probes that failed while this process itself stood
	// still. They are no Failures and speak against nobody.
	Disregarded uint64 `json:"disregarded,omitzero"`
	// LastAt is when the last one began, Latency how long it took.
	LastAt  time.Time     `json:"lastAt,omitzero"`
	Latency time.Duration `json:"latency,omitzero"`
	// LastError is what the last one failed with, empty if it succeeded.
	LastError string `json:"lastError,omitzero"`
}

// Verdict returns whether the endpoint is healthy and since when. Before the
// first probe has ended nothing is known. The cause is what the last failed
// probe failed with while the endpoint is unhealthy, and empty else. It takes
// no lock.
func (c *Checked) Verdict() (healthy, known bool, cause string, since time.Time) {
	v := c.verdict.Load()
	if v == nil {
		return false, false, "", time.Time{}
	}
	return v.healthy, true, v.cause, v.since
}

// Stats returns the counts so far.
func (c *Checked) Stats() ProbeStats {
	c.prober.mu.Lock()
	defer c.prober.mu.Unlock()
	return c.stats
}

// Stop ends the probing of the endpoint. A probe under way is cancelled and
// comes to nothing: the verdict stays what it is. Stop does not wait: a call
// of Changed for a verdict from before may still be on its way when it
// returns, but no other follows. It may be called more than once.
func (c *Checked) Stop() {
	p := c.prober
	p.mu.Lock()
	if !c.stopped {
		c.stopped = true
		p.schedule.leave(c)
	}
	cancel := c.cancel
	p.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// count takes in a result and reports whether the verdict has turned. The
// Prober's lock is held.
func (c *Checked) count(ok bool, cause string, now time.Time) (turned bool) {
	v := c.verdict.Load()
	switch {
	case v == nil: // nothing is known against which it could be weighed
	case ok == v.healthy:
		c.streak = 0
		if !ok && cause != v.cause {
			c.verdict.Store(&verdict{cause: cause, since: v.since})
		}
		return false
	default:
		c.streak++
		threshold := c.subject.Probe.HealthyThreshold
		if v.healthy {
			threshold = c.subject.Probe.UnhealthyThreshold
		}
		if int(c.streak) < threshold {
			return false
		}
	}
	c.streak = 0
	c.verdict.Store(&verdict{healthy: ok, cause: cause, since: now})
	return true
}

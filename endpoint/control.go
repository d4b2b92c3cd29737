package endpoint

import (
	"sync"
	"time"
)

// Control is the other half of an Endpoint: the right to change it. The one
// who made the endpoint keeps it. It is safe for concurrent use.
type Control struct {
	ep Endpoint
	// mu orders writers of the availability.
	mu sync.Mutex
}

// New returns an endpoint, known since now, and its control. An Info that is
// not ready makes an endpoint that is held from the start. The Info is not
// validated here.
func New(info Info, now time.Time) (*Endpoint, *Control) {
	c := &Control{}
	c.ep.addr, c.ep.since = info.Addr, now
	c.ep.avail.Store(&Availability{since: now})
	c.SetInfo(info, now)
	return &c.ep, c
}

// Endpoint returns the endpoint under control.
func (c *Control) Endpoint() *Endpoint { return &c.ep }

// SetInfo takes over what discovery says now. The address must be the same;
// it is the endpoint's identity and is not changed. It reports whether the
// availability changed. Calls of SetInfo come one after the other, as what
// discovery says does.
func (c *Control) SetInfo(info Info, now time.Time) (changed bool) {
	info.Addr = c.ep.addr
	c.ep.info.Store(&info)
	if info.NotReady {
		return c.Hold(NotReady, "discovery", now)
	}
	return c.Lift(NotReady, now)
}

// Hold leaves the endpoint out of picks for cause h until it is lifted. It
// reports whether the endpoint was available before. A hold that is already
// there keeps its time and takes the new reason.
func (c *Control) Hold(h Hold, reason string, now time.Time) (changed bool) {
	if h >= numHolds {
		return false
	}
	return c.change(now, func(a *Availability) {
		if !a.held[h] {
			a.from[h] = now
		}
		a.held[h], a.reason[h] = true, reason
	})
}

// Lift takes away hold h. It reports whether that made the endpoint
// available. Removed is never lifted.
func (c *Control) Lift(h Hold, now time.Time) (changed bool) {
	if h >= numHolds || h == Removed {
		return false
	}
	return c.change(now, func(a *Availability) {
		a.held[h], a.reason[h], a.from[h] = false, "", time.Time{}
	})
}

func (c *Control) change(now time.Time, f func(*Availability)) (flipped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.ep.avail.Load()
	a := *old
	f(&a)
	if a == *old {
		return false
	}
	if flipped = a.Available() != old.Available(); flipped {
		a.since = now
	}
	c.ep.avail.Store(&a)
	return flipped
}

// Begin counts an attempt as started and in flight. Each Begin is followed by
// exactly one End.
func (c *Control) Begin() {
	c.ep.started.Add(1)
	c.ep.inFlight.Add(1)
}

// End takes the attempt out of flight and returns how many are left.
func (c *Control) End() (left int64) { return c.ep.inFlight.Add(-1) }

// Count adds an attempt that was judged well or badly to the totals.
func (c *Control) Count(failed bool) {
	if failed {
		c.ep.failed.Add(1)
		return
	}
	c.ep.ok.Add(1)
}

// Amend counts an attempt as failed after all. counted says that it was
// counted as good before.
func (c *Control) Amend(counted bool) {
	if counted {
		c.ep.ok.Add(^uint64(0))
	}
	c.ep.failed.Add(1)
}

// Report takes over a load report that came at now.
func (c *Control) Report(r LoadReport, now time.Time) {
	// A Load of its own for each report costs 128 bytes. Figures written in
	// place, between two steps of a counter, would save a third of the time
	// here, make every look at them three times as long, and have those who
	// pick spin while a writer is off its processor.
	c.ep.load.Store(&Load{LoadReport: r, At: now})
}

package endpoint

import (
	"sync"
	"sync/atomic"
	"time"
)

// Endpoint is a live endpoint as policies and pickers see it: read-only, safe
// for concurrent use, and the same object for as long as the service knows
// the address, whatever else about it changes.
type Endpoint struct {
	addr  string
	since time.Time
	info  atomic.Pointer[Info]
	avail atomic.Pointer[Availability]
	load  atomic.Pointer[Load]

	// What every attempt writes has a cache line of its own, apart from what
	// every pick reads and from the next endpoint.
	_        [64]byte
	inFlight atomic.Int64
	started  atomic.Uint64
	ok       atomic.Uint64
	failed   atomic.Uint64
	_        [32]byte
}

// Load is a load report and when it came.
type Load struct {
	LoadReport
	At time.Time
}

// Counts are totals over an endpoint's life.
type Counts struct {
	// Started counts attempts begun; OK and Failed those judged so. What is
	// neither was neutral or is still in flight.
	Started, OK, Failed uint64
}

// Control is the other half of an Endpoint: the right to change it. The one
// who made the endpoint keeps it.
type Control struct {
	ep Endpoint
	// mu orders writers of the availability.
	mu sync.Mutex
}

// New returns an endpoint, known since now, and its control. An Info that is
// not ready makes an endpoint that is held from the start.
func New(info Info, now time.Time) (*Endpoint, *Control) {
	c := &Control{}
	c.ep.addr, c.ep.since = info.Addr, now
	c.ep.avail.Store(&Availability{clear: now})
	c.SetInfo(info, now)
	return &c.ep, c
}

// Addr returns the address that identifies the endpoint in its service.
func (e *Endpoint) Addr() string { return e.addr }

// Since returns when the endpoint became known.
func (e *Endpoint) Since() time.Time { return e.since }

// Info returns what discovery last said. The caller must not change its map.
func (e *Endpoint) Info() Info { return *e.info.Load() }

// Weight returns the weight that discovery gave, at least 1.
func (e *Endpoint) Weight() uint32 { return max(1, e.info.Load().Weight) }

// Availability returns the present state.
func (e *Endpoint) Availability() *Availability { return e.avail.Load() }

// Available reports whether nothing holds the endpoint.
func (e *Endpoint) Available() bool { return e.avail.Load().Available() }

// InFlight returns how many attempts of this process are between their pick
// and the end of their response body.
func (e *Endpoint) InFlight() int64 { return e.inFlight.Load() }

// Load returns the last load report of the endpoint, nil if there was none.
func (e *Endpoint) Load() *Load { return e.load.Load() }

// Counts returns totals. They are read one after the other, so their sums
// may be off by attempts under way.
func (e *Endpoint) Counts() Counts {
	return Counts{OK: e.ok.Load(), Failed: e.failed.Load(), Started: e.started.Load()}
}

// Endpoint returns the endpoint under control.
func (c *Control) Endpoint() *Endpoint { return &c.ep }

// SetInfo takes over what discovery says now. The address must be the same;
// it is the endpoint's identity and is not changed. It reports whether the
// availability changed.
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
	return c.change(func(a *Availability) {
		if !a.held[h] {
			a.since[h] = now
		}
		a.held[h], a.reason[h] = true, reason
	})
}

// Lift takes away hold h. It reports whether that made the endpoint
// available.
func (c *Control) Lift(h Hold, now time.Time) (changed bool) {
	return c.change(func(a *Availability) {
		if !a.held[h] || h == Removed {
			return
		}
		a.held[h], a.reason[h], a.since[h] = false, "", time.Time{}
		if a.Available() {
			a.clear = now
		}
	})
}

func (c *Control) change(f func(*Availability)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.ep.avail.Load()
	a := *old
	f(&a)
	if a != *old {
		c.ep.avail.Store(&a)
	}
	return a.Available() != old.Available()
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

// Report takes over a load report that came at now.
func (c *Control) Report(r LoadReport, now time.Time) {
	c.ep.load.Store(&Load{LoadReport: r, At: now})
}

package endpoint

import (
	"sync/atomic"
	"time"
)

// Endpoint is a live endpoint as policies and pickers see it: read-only, safe
// for concurrent use, and the same object for as long as the service knows
// the address, whatever else about it changes.
type Endpoint struct {
	// What every pick reads and hardly anything writes.
	addr  string
	since time.Time
	info  atomic.Pointer[Info]
	avail atomic.Pointer[Availability]

	// What every attempt writes lies a cache line away from it, and from the
	// next endpoint: wherever the allocator puts the object, a write here
	// takes nothing from a core that reads there.
	_        [cacheLine]byte
	load     atomic.Pointer[Load]
	inFlight atomic.Int64
	started  atomic.Uint64
	ok       atomic.Uint64
	failed   atomic.Uint64
	_        [cacheLine]byte
}

// cacheLine is the size of a cache line on the processors that Go servers
// mostly run on.
const cacheLine = 64

// Load is a load report and when it came.
type Load struct {
	LoadReport
	At time.Time `json:"at"`
}

// Counts are totals over an endpoint's life.
type Counts struct {
	// Started counts attempts begun; OK and Failed those judged so. What is
	// neither was neutral or is still in flight.
	Started, OK, Failed uint64
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

// Counts returns totals. They are read one after the other while attempts go
// on, but never show more attempts judged than started.
func (e *Endpoint) Counts() Counts {
	c := Counts{OK: e.ok.Load(), Failed: e.failed.Load()}
	c.Started = e.started.Load()
	return c
}

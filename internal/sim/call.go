package sim

import (
	"context"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// place is where the server's half of a call is.
type place uint8

const (
	onWire   place = iota
	parked         // at a server that hangs
	entering       // in line at the guard
	queued         // in, waiting for a worker
	running
	failing
	answered // on the way back, or lost
)

// call is one call of a caller. It is the context of its request at the
// server. It is used again when both halves have ended.
type call struct {
	life   uint64 // a different one for each use
	caller *Caller
	server int
	start  int64
	began  int64   // the attempt
	work   float64 // ns at speed 1
	lot    float64 // servers whose Errors are more fail it
	// room is how many requests its server may have in flight if it is to be let
	// in, 0 if it is to be in any case; back says that it was sent back.
	room int
	back bool
	// open counts what still refers to the call: the caller who waits, and the
	// message or the server that has it.
	open  uint8
	ended bool // for the caller

	place       place
	lost        bool   // its server has crashed
	incarnation uint64 // of the server that it came to
	ticket      overload.Ticket
	inflight    int // at the server when it came
	came        int64
	mark        float64 // see jobs
	index       int
	// gone is closed when the server learns that nobody waits any more; nil
	// where the guard does not look.
	gone chan struct{}
	err  error

	out  outcome.Outcome
	text string // the load report
}

// Deadline implements context.Context: servers know nothing of it.
func (c *call) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (c *call) Done() <-chan struct{} { return c.gone }

// Err implements context.Context.
func (c *call) Err() error { return c.err }

// Value implements context.Context.
func (c *call) Value(any) any { return nil }

// cancel ends the context.
func (c *call) cancel() {
	if c.err != nil {
		return
	}
	if c.gone == nil {
		c.err = context.Canceled
		return
	}
	// The guard may just have turned to the goroutine that looks at it.
	synctest.Wait()
	c.err = context.Canceled
	close(c.gone)
	synctest.Wait()
}

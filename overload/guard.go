package overload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
)

// Guard carries out a Policy. It is safe for concurrent use, and starts no
// goroutines.
type Guard struct {
	policy Policy
	exempt []exemption
	places places
	meter  meter

	// inFlight counts the requests that are in, under Observe with those that
	// would not be.
	inFlight atomic.Int64
	peak     atomic.Int64
	leaving  atomic.Bool

	waited, refused, expired, wouldRefuse, wouldRefuseSucceeded atomic.Uint64
	sentBack, wouldSendBack                                     atomic.Uint64

	// waiting is the length of the queue whenever mu is free.
	waiting atomic.Int64
	mu      sync.Mutex
	queue   queue
}

// Options are what a Guard may be given besides its Policy.
type Options struct {
	// CPU returns which part of the processors is in use, 1 for all that there
	// are, and what is not a number, or below 0, if that is not known. It is
	// called about four times in a second while there are requests, by one
	// goroutine at a time, and must not block. Nil measures the process
	// against its quota; it knows nothing on Windows.
	CPU func() float64
	// Processors is how many requests can be worked on at once without any of
	// them being slower for the others, which is what SendBack goes by. 0 is
	// how many processors the process may use: its quota, or GOMAXPROCS if
	// that is less.
	Processors int
}

// New returns a Guard, or every fault of the policy and the options.
func New(p Policy, o Options) (*Guard, error) {
	err := p.Validate()
	if o.Processors < 0 {
		err = errors.Join(err, fmt.Errorf("options.processors: %d is negative", o.Processors))
	}
	if err != nil {
		return nil, err
	}
	g := &Guard{policy: p.Effective()}
	for n, m := range g.policy.Exempt {
		compiled, err := match.Compile(m)
		if err != nil {
			return nil, fmt.Errorf("exempt[%d].%w", n, err)
		}
		g.exempt = append(g.exempt, exemption{compiled, m.Path != match.Path{}})
	}
	g.places.init(g.policy)
	g.meter.init(o)
	return g, nil
}

// exemption is a condition of Exempt, and whether it is about the path.
type exemption struct {
	*match.Matcher
	path bool
}

// Exempt reports whether a request needs no place.
func (g *Guard) Exempt(r *http.Request) bool {
	return slices.ContainsFunc(g.exempt, func(e exemption) bool { return e.Matches(r) && (!e.path || isPlain(r.URL)) })
}

// isPlain reports whether a path has one reading: of another, handlers may
// not make what the condition does.
func isPlain(u *url.URL) bool {
	return u.RawPath == "" && (u.Path == "" || u.Path == match.CanonicalPath(u))
}

// SetLeaving makes every load report from now on say that the server is about
// to stop, or no longer so. Requests are let in as before.
func (g *Guard) SetLeaving(leaving bool) { g.leaving.Store(leaving) }

// Ticket is the place of one request. The zero Ticket does nothing. It is for
// one goroutine, and a copy must not be used beside it.
type Ticket struct {
	guard *Guard
	ctx   context.Context
	place place
	start time.Time
	// held says that there is a place to give back, excess that only Observe
	// let the request in, untimed that its time is no service time.
	held, excess, untimed bool
	// sentBack says that there is none, because the request goes back.
	sentBack bool
}

// Enter takes a place for a request, waiting for one as the policy allows. The
// error is an *Error, or the cause of ctx if that has ended or ends first.
// While there is a place and nobody waits it takes no lock of its own, and
// allocates only what the adaptive limit needs. Whatever happens then, Leave
// must be called, so it is best deferred.
func (g *Guard) Enter(ctx context.Context) (Ticket, error) {
	now := time.Now()
	g.meter.tick(now)
	if g.policy.Mode == outcome.Observe {
		return g.observe(ctx, now), nil
	}
	if err := ended(ctx, now); err != nil {
		g.expired.Add(1)
		return Ticket{}, err
	}
	if g.waiting.Load() == 0 {
		if p, ok := g.places.take(); ok {
			g.count()
			return g.admit(ctx, p, now), nil
		}
	}
	p, err := g.wait(ctx, now)
	if err != nil {
		return Ticket{}, err
	}
	begin := time.Now()
	if begin.After(now) {
		g.waited.Add(1)
	}
	return g.admit(ctx, p, begin), nil
}

// ended returns why nobody waits for a request any more. A busy server may be
// late to tell its contexts.
func ended(ctx context.Context, now time.Time) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d, ok := ctx.Deadline(); ok && !now.Before(d) {
		return context.DeadlineExceeded
	}
	return nil
}

// admit returns the ticket of a request that has been counted.
func (g *Guard) admit(ctx context.Context, p place, now time.Time) Ticket {
	return Ticket{guard: g, ctx: ctx, place: p, start: now, held: true}
}

// count counts one more in flight and returns how many there are.
func (g *Guard) count() int64 {
	n := g.inFlight.Add(1)
	for peak := g.peak.Load(); n > peak && !g.peak.CompareAndSwap(peak, n); peak = g.peak.Load() {
	}
	return n
}

// refuse counts a request that is refused.
func (g *Guard) refuse(waited time.Duration) *Error {
	g.refused.Add(1)
	g.meter.answered(false)
	return &Error{
		InFlight: int(g.inFlight.Load()), Waiting: int(g.waiting.Load()), Limit: int(g.places.limit.Load()),
		Waited: waited, RetryAfter: retryAfter,
	}
}

// observe lets a request in, and decides whether it would have been. How long
// it would have waited is estimated from those in excess of the limit.
func (g *Guard) observe(ctx context.Context, now time.Time) Ticket {
	t := Ticket{guard: g, ctx: ctx, start: now}
	limit := max(1, g.places.limit.Load())
	over := g.count() - limit
	// The adaptive limit learns from those that it would have let in.
	t.place, t.held = g.places.take()
	wait := time.Duration(float64(max(0, over)) / float64(limit) * float64(g.meter.serviceTime()))
	switch {
	case ended(ctx, now) != nil, over > int64(max(0, g.policy.Waiting)), over > 0 && wait > g.policy.MaxWait:
		g.wouldRefuse.Add(1)
		t.excess = true
	case over > 0:
		g.waited.Add(1)
	}
	return t
}

// Untimed says that the time the request takes is not how long such requests
// take: a connection that was taken over, a stream without end.
func (t *Ticket) Untimed() { t.untimed = true }

// Leave gives the place back; once more does nothing. ok says that the request
// was served, in contrast to a 5xx or a panic. A request that failed or was
// cut off is known to take at least as long as it did: that counts if it is
// longer than usual.
func (t *Ticket) Leave(ok bool) {
	g := t.guard
	if g == nil {
		return
	}
	t.guard = nil
	if t.excess && ok {
		g.wouldRefuseSucceeded.Add(1)
	}
	now := time.Now()
	took := now.Sub(t.start)
	timed := !t.untimed && (ok && t.ctx.Err() == nil || took > g.meter.serviceTime())
	g.meter.answered(ok)
	if timed {
		g.meter.took(took)
	}
	g.meter.tick(now)
	g.inFlight.Add(-1)
	if t.held {
		g.release(t.place, timed)
	}
}

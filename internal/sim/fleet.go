package sim

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// Fleet is a Scenario that is being run: servers and callers, and the loop in
// which everything happens. Its methods are for Choosers and for what a
// Change does, which are called within the loop.
type Fleet struct {
	scenario  Scenario
	base      time.Time
	now       int64 // ns since base
	step      int64
	events    events
	giveUps   line[patience]
	servers   []*server
	callers   []*Caller
	work      Work
	delay     int64
	jitter    float64
	timeout   int64
	cancels   bool
	loss      float64
	staleness int64

	arrivals, jitters, losses, lots *rand.Rand
	rate                            float64 // calls in a ns
	next                            float64 // when the next comes
	until                           int64   // when the last may
	open                            int     // calls whose callers wait
	calls                           uint64
	free                            []*call
	outcomes                        outcomes
	tally                           tally

	// What the guards of servers answer by goroutines.
	visits  sync.WaitGroup
	blocks  bool
	waiting int  // for goroutines to come out
	stirred bool // some may just have come out
	mu      sync.Mutex
	visited []visit
	wake    chan struct{}
	alarm   *time.Timer
}

// visit is a request that the guard of a server has let in or turned away.
type visit struct {
	call   *call
	server *server
	ticket overload.Ticket
	err    error
}

// outcomes are what the judge of real attempts makes of what happens here.
type outcomes struct{ ok, failed, overloaded, refused, reset, late, back outcome.Outcome }

func judged() outcomes {
	status := func(code int) outcome.Outcome {
		return outcome.HTTP{}.Classify(&http.Response{StatusCode: code}, nil)
	}
	err := func(err error) outcome.Outcome { return outcome.HTTP{}.Classify(nil, err) }
	return outcomes{
		ok:         status(http.StatusOK),
		failed:     status(http.StatusServiceUnavailable),
		overloaded: status(outcome.Overloaded.Status()),
		refused:    err(&outcome.UnsentError{Err: io.ErrClosedPipe}),
		reset:      err(io.ErrUnexpectedEOF),
		late:       err(context.DeadlineExceeded),
		back:       outcome.Outcome{Class: outcome.Neutral, Status: outcome.SentBack.Status(), Unsent: true},
	}
}

// The streams of chance. What is drawn from one does not depend on what is
// drawn from another, so that scenarios that differ in their Chooser meet the
// same calls and the same spells.
const (
	streamArrivals uint64 = iota + 1
	streamJitter
	streamLoss
	streamServer
	streamCaller
	streamDraw
	streamLot
)

func (f *Fleet) random(stream, n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(f.scenario.Seed, stream<<32|n))
}

// push lets an event happen in d, in whole steps.
func (f *Fleet) push(d time.Duration, e event) {
	e.at = f.now + f.whole(float64(d))
	f.events.push(e)
}

func (f *Fleet) whole(ns float64) int64 {
	return int64(max(0, ns)/float64(f.step)+.5) * f.step
}

func (f *Fleet) after(d time.Duration, do func()) { f.push(d, event{kind: action, do: do}) }

// travel returns how long a message is on its way.
func (f *Fleet) travel() int64 {
	if f.jitter == 0 {
		return f.delay
	}
	return f.delay + f.whole(f.jitters.Float64()*f.jitter)
}

// loop lets everything happen until no caller waits and none comes.
func (f *Fleet) loop() {
	f.arrive()
	for f.next < float64(f.until) || f.open > 0 {
		at, ok := f.soonest()
		if !ok {
			panic("sim: callers wait for what never happens")
		}
		if at > f.now {
			f.sleep(at)
		}
		for len(f.events.heap) > 0 && f.events.heap[0].at <= f.now {
			f.happen(f.events.pop())
			if f.stirred {
				f.collect()
			}
		}
		for p := f.impatient(); p != nil && p.at <= f.now; p = f.impatient() {
			p.call.caller.giveUp(p.call)
		}
	}
}

// impatient returns who gives up next, if nothing comes before, nil if nobody
// waits.
func (f *Fleet) impatient() *patience {
	for f.giveUps.len() > 0 {
		p := f.giveUps.first()
		if p.call.life == p.life && !p.call.ended {
			return p
		}
		f.giveUps.pop()
	}
	return nil
}

func (f *Fleet) soonest() (at int64, ok bool) {
	if p := f.impatient(); p != nil {
		at, ok = p.at, true
	}
	if h := f.events.heap; len(h) > 0 && (!ok || h[0].at < at) {
		at, ok = h[0].at, true
	}
	return at, ok
}

// sleep lets the clock advance, until at or until something has come out of a
// guard.
func (f *Fleet) sleep(at int64) {
	if f.waiting == 0 {
		time.Sleep(time.Duration(at - f.now))
		f.now = at
		return
	}
	select {
	case <-f.wake: // of a visit that was collected in the meantime
	default:
	}
	f.alarm.Reset(time.Duration(at - f.now))
	select {
	case <-f.alarm.C:
	case <-f.wake:
	}
	f.now = int64(time.Since(f.base))
	f.collect()
}

// post hands a visit over to the loop.
func (f *Fleet) post(v visit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.visited = append(f.visited, v)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// collect goes on with what has come out of the guards by now.
func (f *Fleet) collect() {
	for f.blocks {
		f.stirred = false
		synctest.Wait()
		f.mu.Lock()
		vs := f.visited
		f.visited = nil
		f.mu.Unlock()
		if len(vs) == 0 {
			return
		}
		// Goroutines that woke at once have posted in any order.
		slices.SortFunc(vs, func(a, b visit) int { return int(int64(a.call.life - b.call.life)) })
		for _, v := range vs {
			s := v.server
			f.waiting--
			s.entering = slices.DeleteFunc(s.entering, func(c *call) bool { return c == v.call })
			s.entered(v.call, v.ticket, v.err)
		}
	}
}

func (f *Fleet) happen(e event) {
	switch e.kind {
	case arrival:
		f.arrive()
	case request:
		f.servers[e.server].arrive(e.call)
	case answer:
		c := e.call
		if !c.ended {
			c.caller.answered(c)
		}
		f.release(c)
	case given:
		if e.call.life == e.life {
			f.servers[e.server].givenUp(e.call)
		}
	case progress:
		f.servers[e.server].progress()
	case failure:
		f.servers[e.server].fail(e.call)
	case action:
		e.do()
	}
}

// arrive makes the call that is due, if any, and sees to the next.
func (f *Fleet) arrive() {
	if f.next > 0 {
		caller := f.callers[f.arrivals.IntN(len(f.callers))]
		caller.make(f.work.draw(f.arrivals), f.lots.Float64())
	}
	if f.next += f.arrivals.ExpFloat64() / f.rate; f.next < float64(f.until) {
		f.events.push(event{at: max(f.now, f.whole(f.next)), kind: arrival})
	}
}

// answer sends an answer back to the caller.
func (f *Fleet) answer(c *call, o outcome.Outcome, text string) {
	c.place, c.out, c.text = answered, o, text
	f.servers[c.server].assigned--
	f.events.push(event{at: f.now + f.travel(), kind: answer, call: c})
}

// take returns a call to be used.
func (f *Fleet) take() *call {
	f.calls++
	if n := len(f.free); n > 0 {
		c := f.free[n-1]
		f.free = f.free[:n-1]
		*c = call{life: f.calls}
		return c
	}
	return &call{life: f.calls}
}

// release takes back a call when nothing refers to it.
func (f *Fleet) release(c *call) {
	if c.open == 0 {
		panic("sim: a call has ended that has ended before")
	}
	if c.open--; c.open == 0 {
		c.life = 0
		f.free = append(f.free, c)
	}
}

// Now returns the time.
func (f *Fleet) Now() time.Time { return f.base.Add(time.Duration(f.now)) }

// Hold leaves the servers out of what all callers pick from, for cause h. It
// is nothing to servers that have not joined.
func (f *Fleet) Hold(h endpoint.Hold, servers ...int) {
	for _, c := range f.callers {
		for _, n := range servers {
			if c.controls[n] != nil {
				c.controls[n].Hold(h, "scenario", f.Now())
			}
		}
		c.update()
	}
}

// Lift is the reverse of Hold.
func (f *Fleet) Lift(h endpoint.Hold, servers ...int) {
	for _, c := range f.callers {
		for _, n := range servers {
			if c.controls[n] != nil && c.controls[n].Lift(h, f.Now()) {
				c.returning[n] = true
			}
		}
		c.update()
	}
}

// SetLoad changes the calls that come to this part of what the servers can
// do, from the next call on.
func (f *Fleet) SetLoad(load float64) { f.rate = load * f.scenario.capacity() / f.work.mean() }

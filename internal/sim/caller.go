package sim

import (
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// Caller is a process that makes calls. It knows the servers by endpoints of
// its own.
type Caller struct {
	fleet     *Fleet
	index     int
	rnd       *rand.Rand
	draws     *rand.PCG
	endpoints []*endpoint.Endpoint // by server, nil before it joins
	controls  []*endpoint.Control
	returning []bool // has been held
	usable    []int
	picker    Picker
	observer  Observer
	updated   Updater
	wary      Wary
}

func (f *Fleet) newCaller(n int) *Caller {
	c := &Caller{
		fleet: f, index: n, rnd: f.random(streamCaller, uint64(n)),
		draws:     rand.NewPCG(f.scenario.Seed, streamDraw<<32|uint64(n)),
		endpoints: make([]*endpoint.Endpoint, len(f.servers)),
		controls:  make([]*endpoint.Control, len(f.servers)),
		returning: make([]bool, len(f.servers)),
	}
	for i, s := range f.servers {
		if s.Joins == 0 {
			c.learn(i)
		}
	}
	c.update()
	c.picker = f.scenario.Chooser.New(c)
	c.observer, _ = c.picker.(Observer)
	c.updated, _ = c.picker.(Updater)
	c.wary, _ = c.picker.(Wary)
	return c
}

// learn makes a server known.
func (c *Caller) learn(n int) {
	c.endpoints[n], c.controls[n] = endpoint.New(c.fleet.servers[n].info(n), c.fleet.Now())
}

// update looks again at what may be picked.
func (c *Caller) update() {
	c.usable = c.usable[:0]
	for n, e := range c.endpoints {
		if e != nil && e.Available() {
			c.usable = append(c.usable, n)
		}
	}
	if c.updated != nil {
		c.updated.Update()
	}
}

// make makes a call that is so much work, and whose lot says at which servers
// it fails.
func (c *Caller) make(work, lot float64) {
	f := c.fleet
	n := c.picker.Pick(f.Now(), c.draws.Uint64())
	f.tally.called(f.now, n)
	if n < 0 {
		f.tally.ended(f.now, f.timeout, true, true)
		return
	}
	call := f.take()
	call.caller, call.start, call.work = c, f.now, work
	call.lot = lot
	call.open = 1
	f.open++
	if c.wary != nil {
		call.room = c.wary.Room(n, f.Now())
	}
	c.send(call, n)
	f.giveUps.push(patience{f.now + f.timeout, call, call.life})
}

// send sends the request of a call to server n.
func (c *Caller) send(call *call, n int) {
	f := c.fleet
	call.server, call.began, call.place = n, f.now, onWire
	call.open++
	c.controls[n].Begin()
	f.servers[n].assigned++
	f.events.push(event{at: f.now + f.travel(), kind: request, server: int32(n), call: call})
}

// elsewhere makes a call anew that was sent back, at another server, which has
// to let it in. Nothing counts but the report.
func (c *Caller) elsewhere(call *call, r outcome.Result) {
	f, from := c.fleet, call.server
	r.SentBack = true
	control := c.controls[from]
	control.Count(false)
	if c.observer != nil {
		c.observer.Observe(from, r)
	}
	control.End()
	call.back, call.room, call.text = false, 0, ""
	n := c.wary.Again(f.Now(), c.draws.Uint64(), from)
	if n < 0 {
		n = from // which has answered
	}
	f.tally.moved(call.start, from, n)
	c.send(call, n)
}

// answered takes in the answer to a call as the mesh does: the report, the
// counts, what learns, and then the end of the body, for it has none.
func (c *Caller) answered(call *call) {
	f := c.fleet
	r := outcome.Result{Outcome: call.out, At: f.Now(), Latency: time.Duration(f.now - call.began)}
	r.Cut = call.out.Status == 0 && call.out.Class != outcome.Connect
	if call.text != "" {
		if report, err := endpoint.ParseLoadReport(call.text); err == nil {
			c.controls[call.server].Report(report, r.At)
			r.Reported = true
		}
	}
	if call.back {
		c.elsewhere(call, r)
		return
	}
	f.tally.reported(r.Reported)
	c.ended(call, r)
}

// giveUp ends a call for which no answer has come in time.
func (c *Caller) giveUp(call *call) {
	f := c.fleet
	if f.cancels {
		f.events.push(event{at: f.now + f.travel(), kind: given, server: int32(call.server), call: call, life: call.life})
	}
	c.ended(call, outcome.Result{
		Outcome: f.outcomes.late, At: f.Now(), Latency: time.Duration(f.now - call.began), Cut: true,
	})
}

func (c *Caller) ended(call *call, r outcome.Result) {
	f := c.fleet
	failed := r.Class.Failed() || r.Class == outcome.Overload
	control := c.controls[call.server]
	control.Count(r.Class.Failed())
	if c.observer != nil {
		c.observer.Observe(call.server, r)
	}
	control.End()
	f.tally.ended(call.start, f.now-call.start, failed, r.Class == outcome.Timeout)
	call.ended = true
	f.open--
	f.release(call)
}

// Fleet returns the fleet, which a real caller has no hold of; a Picker asks it
// for the time.
func (c *Caller) Fleet() *Fleet { return c.fleet }

// Usable returns the servers that may be picked, in order. It is valid until
// the next update.
func (c *Caller) Usable() []int { return c.usable }

// Endpoint returns what the caller knows of server n, nil if nothing.
func (c *Caller) Endpoint(n int) *endpoint.Endpoint { return c.endpoints[n] }

// Rand is chance for what the Picker of this caller draws beyond its word.
func (c *Caller) Rand() *rand.Rand { return c.rnd }

package sim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// Server describes a server of the fleet.
type Server struct {
	// Workers is how many requests it works on at its full speed at once.
	// Zero means 4.
	Workers int
	// Sharing makes all requests share the workers, as a kernel does with
	// threads. Otherwise each has a worker for itself, and others wait in the
	// order in which they came.
	Sharing bool
	// Speed is how fast a worker is. Zero means 1.
	Speed  float64
	Spells Spells
	WarmUp WarmUp
	// Errors is the part of the requests that fail once they are done, by
	// chance.
	Errors float64
	// Guard is the policy of its overload.Guard. Nil is one that only looks on,
	// with Workers as its limit: requests are let in at once, and what they
	// wait for a worker counts as the time that they take, as it does at a
	// server that starts a goroutine for each. One that enforces the limit of
	// Workers has the queue to itself and knows the time without it.
	Guard *overload.Policy
	// Keeps makes it let every request in, as a server does that knows nothing of
	// sending back. Servers whose reports are not true are such too.
	Keeps bool
	// Reports is what it says of its load.
	Reports Reports
	// Joins is when callers come to know it. Zero is from the beginning.
	Joins time.Duration
	// Zone and Weight are what discovery says of it.
	Zone   string
	Weight uint32
}

// capacity is how much work it does in a ns, on the average.
func (s Server) capacity() float64 {
	return float64(s.workers()) * s.speed() * s.Spells.factor()
}

func (s Server) workers() int {
	if s.Workers <= 0 {
		return 4
	}
	return s.Workers
}

func (s Server) speed() float64 {
	if s.Speed <= 0 {
		return 1
	}
	return s.Speed
}

func (s Server) info(n int) endpoint.Info {
	return endpoint.Info{Addr: fmt.Sprintf("10.0.%d.%d:80", n/250, 1+n%250), Zone: s.Zone, Weight: s.Weight}
}

// Servers returns n servers like s.
func Servers(n int, s Server) []Server {
	all := make([]Server, n)
	for i := range all {
		all[i] = s
	}
	return all
}

// state is what has become of a server.
type state uint8

const (
	works state = iota
	failsFast
	hangs
	gone
)

// server is a Server at work.
type server struct {
	Server
	fleet  *Fleet
	index  int
	guard  *overload.Guard
	blocks bool // the guard may keep a request waiting
	rnd    *rand.Rand
	jobs   jobs
	due    int64 // when progress is to be seen to, 0 for not at all

	state              state
	failAfter          time.Duration
	spell, warm, given float64 // what the speed is multiplied by
	incarnation        uint64  // a different one after each crash

	assigned int // calls that were sent to it and have not ended there
	inside   int // those that have reached it
	parked   []*call
	entering []*call
	hungUp   []patience // what it has not noticed while it hung
	later    []func()   // what it would have done

	header http.Header
	said   line[saying]
	times  times
	looked struct { // when the use of the processors was last asked for
		at   int64
		busy float64
	}
}

func (f *Fleet) newServer(n int, s Server) *server {
	v := &server{
		Server: s, fleet: f, index: n, rnd: f.random(streamServer, uint64(n)),
		spell: 1, warm: 1, given: 1, header: http.Header{},
	}
	v.start()
	if !s.Spells.never() {
		v.nextSpell()
	}
	return v
}

// start begins a life of the server.
func (s *server) start() {
	p := overload.Policy{Mode: outcome.Observe, MaxInFlight: s.workers()}
	if s.Guard != nil {
		p = *s.Guard
	}
	s.blocks = p.Mode == outcome.Enforce
	guard, err := overload.New(p, overload.Options{CPU: s.cpu, Processors: s.workers()})
	if err != nil {
		panic(fmt.Sprintf("sim: server %d: guard: %v", s.index, err))
	}
	s.guard, s.state = guard, works
	s.jobs = jobs{workers: s.workers(), sharing: s.Sharing, at: s.fleet.now}
	s.looked.at, s.looked.busy = s.fleet.now, 0
	s.setSpeed()
}

// cpu returns the part of the workers that were busy since it was last asked.
func (s *server) cpu() float64 {
	s.jobs.advance(s.fleet.now)
	passed, busy := s.fleet.now-s.looked.at, s.jobs.busy-s.looked.busy
	s.looked.at, s.looked.busy = s.fleet.now, s.jobs.busy
	if passed <= 0 {
		return -1
	}
	return busy / float64(passed) / float64(s.workers())
}

// setSpeed lets work go on at what is the speed now.
func (s *server) setSpeed() {
	s.jobs.advance(s.fleet.now)
	s.jobs.speed = s.currentSpeed()
	if s.state == hangs {
		s.jobs.speed = 0
	}
	s.schedule()
}

func (s *server) currentSpeed() float64 { return s.speed() * s.spell * s.warm * s.given }

func (s *server) nextSpell() {
	sp := s.Spells
	s.fleet.after(time.Duration(s.rnd.ExpFloat64()*float64(sp.Gap)), func() {
		s.spell = sp.Low + s.rnd.Float64()*(sp.High-sp.Low)
		s.setSpeed()
		s.fleet.after(time.Duration(s.rnd.ExpFloat64()*float64(sp.Mean)), func() {
			s.spell = 1
			s.setSpeed()
			s.nextSpell()
		})
	})
}

// warmSteps is in how many steps a server gets warm.
const warmSteps = 20

// warmUp lets the server grow warm from now on.
func (s *server) warmUp() {
	w, of := s.WarmUp, s.incarnation
	if w.For <= 0 {
		return
	}
	s.warm = w.From
	s.setSpeed()
	for i := 1; i <= warmSteps; i++ {
		part := float64(i) / warmSteps
		s.fleet.after(time.Duration(part*float64(w.For)), func() {
			if s.incarnation == of {
				s.warm = w.From + part*(1-w.From)
				s.setSpeed()
			}
		})
	}
}

// schedule sees to it that the next job that is done is noticed.
func (s *server) schedule() {
	at, ok := s.jobs.due(s.fleet.step)
	if ok && (s.due == 0 || at < s.due) {
		s.due = at
		s.fleet.events.push(event{at: at, kind: progress, server: int32(s.index)})
	}
}

// progress ends jobs that are done.
func (s *server) progress() {
	if s.fleet.now != s.due {
		return // what was expected has been overtaken
	}
	s.due = 0
	s.jobs.advance(s.fleet.now)
	for c := s.jobs.next(s.fleet.step); c != nil; c = s.jobs.next(s.fleet.step) {
		s.times.add(c.inflight, s.fleet.now-c.came)
		o := s.fleet.outcomes.ok
		if c.lot < s.Errors {
			o = s.fleet.outcomes.failed
		}
		s.finish(c, o)
	}
	s.schedule()
}

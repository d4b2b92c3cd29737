package sim

import (
	"errors"
	"slices"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// arrive takes in the request of a call.
func (s *server) arrive(c *call) {
	c.inflight, c.came, c.incarnation = s.inside, s.fleet.now, s.incarnation
	switch s.state {
	case gone:
		s.fleet.answer(c, s.fleet.outcomes.refused, "")
	case hangs:
		s.inside++
		c.place = parked
		s.parked = append(s.parked, c)
	default:
		s.inside++
		if s.sendsBack(c) {
			s.sendBack(c)
			return
		}
		s.enter(c)
	}
}

// sendsBack asks the guard whether the request of a call goes back. One that
// only looks on has no say, but counts what it would do: as it stands for one
// that lets all in at once, that is done.
func (s *server) sendsBack(c *call) bool {
	if c.room == 0 || s.Keeps || s.Reports > True {
		return false
	}
	if s.blocks && s.fleet.stirred {
		synctest.Wait()
	}
	before := s.guard.Stats().WouldSendBack
	return s.guard.SendBack(&c.ticket, c.room) || s.guard.Stats().WouldSendBack > before
}

// sendBack answers a call whose request the server does not work on. Its report
// is what makes it such an answer, and does not get lost.
func (s *server) sendBack(c *call) {
	text := s.aged(s.say(&c.ticket))
	c.back, c.ticket = true, overload.Ticket{}
	s.inside--
	s.fleet.answer(c, s.fleet.outcomes.back, text)
}

// enter takes a request to the guard.
func (s *server) enter(c *call) {
	if !s.mayWait() {
		t, err := s.guard.Enter(c)
		s.entered(c, t, err)
		return
	}
	c.place, c.gone = entering, make(chan struct{})
	s.entering = append(s.entering, c)
	guard, f := s.guard, s.fleet
	f.waiting++
	f.visits.Go(func() {
		t, err := guard.Enter(c)
		f.post(visit{c, s, t, err})
	})
	// They go to the guard in the order in which they came.
	synctest.Wait()
	f.stirred = true
}

// mayWait reports whether the guard may keep the next request waiting. Of a
// fixed limit it is known when there is a place, of one that adapts only the
// guard knows.
func (s *server) mayWait() bool {
	if !s.blocks || s.Guard.Waiting < 0 {
		return false
	}
	if s.Guard.MaxInFlight == 0 {
		return true
	}
	if s.fleet.stirred {
		synctest.Wait()
	}
	g := s.guard.Stats()
	return g.Waiting > 0 || g.InFlight >= g.Limit
}

// leave gives the place of a request back, which another may have waited for.
func (s *server) leave(c *call, ok bool) {
	c.ticket.Leave(ok)
	s.fleet.stirred = s.fleet.stirred || len(s.entering) > 0
}

// entered goes on with a request that the guard has let in or turned away.
func (s *server) entered(c *call, t overload.Ticket, err error) {
	c.ticket = t
	if c.lost {
		s.leave(c, false)
		s.fleet.release(c)
		return
	}
	if s.state == hangs {
		s.later = append(s.later, func() { s.entered(c, t, err) })
		return
	}
	if _, refused := errors.AsType[*overload.Error](err); err != nil && !refused {
		s.drop(c) // nobody waits for it
		return
	}
	if err != nil {
		s.finish(c, s.fleet.outcomes.overloaded)
		return
	}
	if s.state == failsFast {
		c.place = failing
		s.fleet.push(s.failAfter, event{kind: failure, server: int32(s.index), call: c, life: c.life})
		return
	}
	s.jobs.advance(s.fleet.now)
	s.jobs.add(c)
	s.schedule()
}

// fail answers a request that the server fails.
func (s *server) fail(c *call) {
	switch {
	case c.incarnation != s.incarnation:
		s.leave(c, false)
		s.inside--
		s.fleet.answer(c, s.fleet.outcomes.reset, "")
	case s.state == hangs:
		s.later = append(s.later, func() { s.fail(c) })
	default:
		s.finish(c, s.fleet.outcomes.failed)
	}
}

// finish answers a call whose request the server has done with.
func (s *server) finish(c *call, o outcome.Outcome) {
	text := s.report(c)
	s.leave(c, !o.Class.Failed())
	s.inside--
	s.fleet.answer(c, o, text)
}

// drop ends a request without an answer.
func (s *server) drop(c *call) {
	s.leave(c, false)
	s.inside--
	s.assigned--
	c.place = answered
	s.fleet.release(c)
}

// givenUp tells the server that nobody waits for the answer to a request.
func (s *server) givenUp(c *call) {
	if s.state == hangs && c.place != answered {
		s.hungUp = append(s.hungUp, patience{call: c, life: c.life})
		return
	}
	switch c.place {
	case parked:
		s.parked = slices.DeleteFunc(s.parked, func(o *call) bool { return o == c })
		s.drop(c)
	case queued:
		c.cancel()
		s.jobs.forget(c)
		s.drop(c)
	case running:
		c.cancel()
		s.jobs.advance(s.fleet.now)
		s.jobs.remove(c)
		s.drop(c)
		s.schedule()
	case entering, failing:
		c.cancel()
	}
}

// Hang stops server n as SIGSTOP does: it takes requests in and neither works
// nor answers until it is resumed.
func (f *Fleet) Hang(n int) {
	s := f.servers[n]
	s.state = hangs
	s.setSpeed()
}

// FailFast makes server n answer with 503 after d. What it works on already
// ends as it would.
func (f *Fleet) FailFast(n int, d time.Duration) {
	s := f.servers[n]
	s.state, s.failAfter = failsFast, d
	s.setSpeed()
}

// Crash takes server n away: what it has is lost, and connections are refused.
func (f *Fleet) Crash(n int) {
	s := f.servers[n]
	if s.state == hangs {
		f.Resume(n)
	}
	s.jobs.advance(f.now)
	s.state = gone
	s.incarnation++
	calls := slices.Clone(s.jobs.running)
	for _, c := range s.jobs.waiting.items[s.jobs.waiting.head:] {
		if c != nil {
			calls = append(calls, c)
		}
	}
	s.jobs = jobs{workers: s.workers(), sharing: s.Sharing, at: f.now}
	for _, c := range calls {
		s.leave(c, false)
		s.inside--
		f.answer(c, f.outcomes.reset, "")
	}
	for _, c := range s.entering {
		// Its answer is on its way, and its place in the guard still held.
		c.lost = true
		c.open++
		s.inside--
		f.answer(c, f.outcomes.reset, "")
		c.cancel()
	}
}

// Resume lets server n work again, after Hang, FailFast or Crash; after Crash
// with a new guard and cold.
func (f *Fleet) Resume(n int) {
	s := f.servers[n]
	before := s.state
	s.state = works
	if before == gone {
		s.start()
		s.warmUp()
		return
	}
	s.setSpeed()
	if before != hangs {
		return
	}
	gaveUp, waited, later := s.hungUp, s.parked, s.later
	s.hungUp, s.parked, s.later = nil, nil, nil
	for _, do := range later {
		do()
	}
	for _, p := range gaveUp {
		if p.call.life == p.life && p.call.place != parked {
			s.givenUp(p.call)
		}
	}
	for _, c := range waited {
		if c.ended && f.cancels {
			s.drop(c)
			continue
		}
		s.enter(c)
	}
}

// SetSpeed multiplies the speed of server n by factor from now on, in the
// place of what was set before.
func (f *Fleet) SetSpeed(n int, factor float64) {
	f.servers[n].given = factor
	f.servers[n].setSpeed()
}

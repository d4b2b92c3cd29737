package tulle

import (
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

// ramp is how long an endpoint takes to grow into its share when it returns
// from having been left out.
func (a asked) ramp() time.Duration {
	if (a.outliers == nil || a.outliers.Mode == outcome.Observe) && (a.breaker == nil || a.breaker.Mode == outcome.Observe) {
		return 0
	}
	return max(0, orZero(a.outliers).Effective().Ramp)
}

// equipLocked gives every member the feeds that the specification asks for.
// What is equal to what was goes on.
func (s *service) equipLocked(members []*target, now time.Time) {
	ask := s.spec.asked
	if !reflect.DeepEqual(s.detecting, ask.outliers) {
		s.detecting, s.detector = ask.outliers, nil
		if ask.outliers != nil {
			s.detector = health.NewDetector(*ask.outliers, s.options.draw)
		}
	}
	for _, t := range members {
		old := t.feeds.Load()
		if old.asked == ask && (old.probed == t || ask.probe == nil) {
			continue
		}
		next := *old
		next.asked = ask
		if !reflect.DeepEqual(old.asked.outliers, ask.outliers) {
			if next.record = nil; s.detector != nil {
				next.record = s.detector.Join(t.Endpoint, now)
			}
		}
		if !reflect.DeepEqual(old.asked.breaker, ask.breaker) {
			old.retireBreaker()
			next.breaker = s.newBreaker(t)
		}
		if old.probed != t || !reflect.DeepEqual(old.asked.probe, ask.probe) {
			old.stopProbe()
			next.checked, next.probing = s.probe(t)
			next.probed = t
		}
		t.feeds.Store(&next)
	}
}

// newBreaker returns the breaker of an endpoint, nil if there is to be none.
// It was validated.
func (s *service) newBreaker(t *target) *circuit {
	if s.spec.asked.breaker == nil {
		return nil
	}
	c, err := newCircuit(*s.spec.asked.breaker, s.name, t.Addr(), s.options.draw, s.tell, s.look)
	if err != nil {
		panic(fmt.Sprintf("tulle: a valid breaker.Policy was refused: %v", err))
	}
	return c
}

func (f *feeds) retireBreaker() {
	if f.breaker != nil {
		f.breaker.retire()
	}
}

// probe has an endpoint asked whether it works, if that is wanted. It returns
// the transport too if the probe needs one of its own.
func (s *service) probe(t *target) (*health.Checked, *http.Transport) {
	p := s.spec.asked.probe
	if p == nil {
		return nil, nil
	}
	var own *http.Transport
	subject := health.Subject{
		Name: s.spec.host, Endpoint: t.Endpoint, Probe: *p, Scheme: t.wire.scheme("http"),
		RoundTripper: t.transport, Dial: s.options.dial, Changed: s.look,
	}
	if network, addr := p.Addr(t.Info()); p.Path != "" && p.Port != 0 && network == "tcp" {
		e, _ := endpoint.New(endpoint.Info{Addr: addr}, t.Since())
		own = newTransport(s.options, t.wire, e)
		subject.RoundTripper = own
	}
	return s.prober.Watch(subject), own
}

func (f *feeds) stopProbe() {
	if f.checked != nil {
		f.checked.Stop()
	}
	if f.probing != nil {
		f.probing.CloseIdleConnections()
		time.AfterFunc(linger, f.probing.CloseIdleConnections)
	}
}

// dismiss ends what was done for a member that is one no more.
func (s *service) dismiss(t *target) {
	f := t.feeds.Load()
	f.stopProbe()
	f.retireBreaker()
	s.departed.add(f)
	if f.record != nil && s.detector != nil {
		s.detector.Leave(f.record)
	}
}

// reconcileLocked makes holds of what the feeds of the members say. This is
// the one place that leaves endpoints out for their health, and so the one
// that knows how many are. What passive means may not leave out at once is
// bounded; which endpoints are used when too few are left is for the Spread.
func (s *service) reconcileLocked(members []*target, now time.Time) (reports []func()) {
	was := make([]*endpoint.Availability, len(members))
	for i, t := range members {
		was[i] = t.Availability()
		f := t.feeds.Load()
		reconcileProbe(t, f, was[i], now)
		set(t.control, endpoint.Leaving, f.leaving.due.Load() != 0, "announced by the endpoint", now)
	}
	places := s.places(members)
	for _, t := range members {
		reconcileRecord(t, t.feeds.Load(), places, now)
		reconcileBreaker(t, t.feeds.Load(), places, now)
	}
	readmit(members, places, now)
	for i, t := range members {
		is := t.Availability()
		if was[i].Available() && !is.Available() {
			t.feeds.Load().notes.returning = true
		}
		reports = append(reports, s.logs(t, was[i], is)...)
	}
	return reports
}

// places are how many endpoints passive means may still leave out. What is
// only observed takes its places from a count of its own.
type places struct {
	room [outcome.Observe + 1]int
	// usable counts members that nothing else keeps from being used, less
	// those that are left out.
	usable [outcome.Observe + 1]int
}

func (s *service) places(members []*target) *places {
	most := orZero(s.spec.asked.outliers).Cap(len(members))
	p := &places{}
	for mode := range p.room {
		p.room[mode] = most
		for _, t := range members {
			a, out := t.Availability(), t.feeds.Load().out(outcome.Mode(mode))
			if out {
				p.room[mode]--
			} else if !held(a, endpoint.NotReady) && !held(a, endpoint.Unhealthy) && !held(a, endpoint.Leaving) {
				p.usable[mode]++
			}
		}
	}
	return p
}

// take takes a place for an endpoint, unless it has one. The last that can be
// used gets none.
func (p *places) take(f *feeds, mode outcome.Mode) bool {
	if f.out(mode) {
		return true
	}
	if p.room[mode] <= 0 || p.usable[mode] <= 1 {
		return false
	}
	p.room[mode]--
	p.usable[mode]--
	return true
}

// out reports whether passive means of a mode leave the endpoint out.
func (f *feeds) out(mode outcome.Mode) bool {
	if f.record != nil && f.asked.outliers.Mode == mode {
		if _, out := f.record.Out(); out {
			return true
		}
	}
	return f.breaker != nil && f.asked.breaker.Mode == mode && f.breaker.isAdmitted()
}

func reconcileProbe(t *target, f *feeds, was *endpoint.Availability, now time.Time) {
	if f.checked == nil || f.asked.probe.Mode == outcome.Observe {
		t.control.Lift(endpoint.Unhealthy, now)
		return
	}
	healthy, known, cause, _ := f.checked.Verdict()
	switch {
	case known:
		set(t.control, endpoint.Unhealthy, !healthy, cause, now)
		if _, reason, _ := was.Held(endpoint.Unhealthy); healthy && reason != "" && reason != notProbed && f.record != nil {
			f.record.Amnesty()
		}
	case t.Endpoint.Counts().Started == 0:
		// Who has not been called is not called before it is known to work.
		// One that has been goes on until it is known not to.
		t.control.Hold(endpoint.Unhealthy, notProbed, now)
	}
}

const notProbed = "not probed yet"

func reconcileRecord(t *target, f *feeds, p *places, now time.Time) {
	if f.record == nil {
		t.control.Lift(endpoint.Ejected, now)
		return
	}
	mode := f.asked.outliers.Mode
	if cause, accused := f.record.Accused(); !accused {
		if _, out := f.record.Out(); !out {
			t.control.Lift(endpoint.Ejected, now)
		}
	} else if !p.take(f, mode) {
		f.record.Dismiss()
	} else if f.record.Eject(now); mode == outcome.Enforce {
		t.control.Hold(endpoint.Ejected, cause, now)
	}
}

func reconcileBreaker(t *target, f *feeds, p *places, now time.Time) {
	switch open := f.breaker != nil && f.breaker.State() != breaker.Closed; {
	case f.breaker == nil:
		t.control.Lift(endpoint.BreakerOpen, now)
	case !open:
		f.breaker.withdraw()
		t.control.Lift(endpoint.BreakerOpen, now)
	case f.breaker.isAdmitted():
	case !p.take(f, f.asked.breaker.Mode):
		f.breaker.Reset()
	default:
		if f.breaker.admit(); f.asked.breaker.Mode == outcome.Enforce {
			t.control.Hold(endpoint.BreakerOpen, f.breaker.Stats().LastCause, now)
		}
	}
}

// readmit brings endpoints back that others need the place of: because there
// are fewer members than there were, or because all others have gone. Those
// that would be tried soonest come first.
func readmit(members []*target, p *places, now time.Time) {
	for p.room[outcome.Enforce] < 0 || p.usable[outcome.Enforce] == 0 {
		var first *target
		for _, t := range members {
			a := t.Availability()
			if onTrial(a) && !held(a, endpoint.Leaving) && (first == nil || t.due(now).Before(first.due(now))) {
				first = t
			}
		}
		if first == nil {
			return
		}
		f := first.feeds.Load()
		if f.record != nil {
			f.record.Amnesty()
		}
		if f.breaker != nil {
			f.breaker.Reset()
			f.breaker.withdraw()
		}
		first.control.Lift(endpoint.Ejected, now)
		first.control.Lift(endpoint.BreakerOpen, now)
		p.room[outcome.Enforce]++
		p.usable[outcome.Enforce]++
	}
}

// set holds or lifts.
func set(c *endpoint.Control, h endpoint.Hold, hold bool, reason string, now time.Time) {
	if hold {
		c.Hold(h, reason, now)
	} else {
		c.Lift(h, now)
	}
}

// logs returns what is to be logged of a change.
func (s *service) logs(t *target, was, is *endpoint.Availability) (reports []func()) {
	for _, h := range [...]endpoint.Hold{endpoint.Unhealthy, endpoint.Ejected, endpoint.BreakerOpen, endpoint.Leaving} {
		_, _, since := was.Held(h)
		switch now, reason, _ := is.Held(h); {
		case now && !held(was, h):
			if reason == notProbed {
				continue
			}
			s.leftOut[h].Add(1)
			if h == endpoint.Leaving {
				// It will close them itself soon, perhaps just as one is used.
				reports = append(reports, t.closeIdle)
			}
			reports = append(reports, func() {
				s.options.logger.Warn("endpoint left out", "service", s.name, "endpoint", t.Addr(), "hold", h.String(), "reason", reason)
			})
		case !now && held(was, h):
			reports = append(reports, func() {
				s.options.logger.Info("endpoint back", "service", s.name, "endpoint", t.Addr(), "hold", h.String(), "after", time.Since(since).Round(time.Millisecond))
			})
		}
	}
	return reports
}

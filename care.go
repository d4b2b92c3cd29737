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

// ramp is how long an endpoint takes to grow into its share when it returns.
func (a asked) ramp() time.Duration {
	if a.outliers == nil && a.breaker == nil {
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
			next.breaker, next.notes.breakerOut = s.newBreaker(t), false
			t.control.Lift(endpoint.BreakerOpen, now)
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
func (s *service) newBreaker(t *target) *breaker.Breaker {
	if s.spec.asked.breaker == nil {
		return nil
	}
	notes := t.feeds.Load().notes
	b, err := breaker.New(*s.spec.asked.breaker, breaker.Options{
		Service: s.name, Endpoint: t.Addr(), Draw: s.options.draw,
		OnEvent: func(e breaker.Event) {
			if e.Open {
				// It is an incident when the endpoint may be left out for it.
				notes.incident.Store(&e)
			} else if notes.told.Swap(false) {
				s.tell(e)
			}
			s.look()
		},
	})
	if err != nil {
		panic(fmt.Sprintf("tulle: a valid breaker.Policy was refused: %v", err))
	}
	return b
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
	}
}

// dismiss ends what was done for a member that is one no more.
func (s *service) dismiss(t *target) {
	f := t.feeds.Load()
	f.stopProbe()
	if f.record != nil && s.detector != nil {
		s.detector.Leave(f.record)
	}
}

// reconcileLocked makes holds of what the feeds of the members say. This is
// the one place that leaves endpoints out for their health, and so the one
// that knows how many are. What passive means may not leave out at once is
// bounded; which endpoints are used when too few are left is for the Spread.
func (s *service) reconcileLocked(members []*target, now time.Time) (reports []func()) {
	room := orZero(s.spec.asked.outliers).Cap(len(members))
	for _, t := range members {
		if t.feeds.Load().out() {
			room--
		}
	}
	for _, t := range members {
		f := t.feeds.Load()
		was := t.Availability()
		reconcileProbe(t, f, was, now)
		reconcileRecord(t, f, &room, now)
		s.reconcileBreaker(t, f, &room, now)
		set(t.control, endpoint.Leaving, f.leaving.due.Load() != 0, "announced by the endpoint", now)
		reports = append(reports, s.logs(t, was, t.Availability())...)
	}
	return reports
}

// out reports whether passive means leave the endpoint out, or would under
// Observe.
func (f *feeds) out() bool {
	if f.record != nil {
		if _, out := f.record.Out(); out {
			return true
		}
	}
	return f.notes.breakerOut
}

// mayLeave takes a place among those left out, unless the endpoint has one.
func (f *feeds) mayLeave(room *int) bool {
	if f.out() {
		return true
	}
	if *room <= 0 {
		return false
	}
	*room--
	return true
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
		if healthy && held(was, endpoint.Unhealthy) && f.record != nil {
			f.record.Amnesty()
		}
	case t.Endpoint.Counts().Started == 0:
		// Who has not been called is not called before it is known to work.
		// One that has been goes on until it is known not to.
		t.control.Hold(endpoint.Unhealthy, "not probed yet", now)
	}
}

func reconcileRecord(t *target, f *feeds, room *int, now time.Time) {
	if f.record == nil {
		t.control.Lift(endpoint.Ejected, now)
		return
	}
	if cause, accused := f.record.Accused(); !accused {
		if _, out := f.record.Out(); !out {
			t.control.Lift(endpoint.Ejected, now)
		}
	} else if !f.mayLeave(room) {
		f.record.Dismiss()
	} else if f.record.Eject(now); f.asked.outliers.Mode == outcome.Enforce {
		t.control.Hold(endpoint.Ejected, cause, now)
	}
}

func (s *service) reconcileBreaker(t *target, f *feeds, room *int, now time.Time) {
	switch open := f.breaker != nil && f.breaker.State() != breaker.Closed; {
	case !open:
		f.notes.breakerOut = false
		t.control.Lift(endpoint.BreakerOpen, now)
	case f.notes.breakerOut:
	case !f.mayLeave(room):
		f.notes.incident.Store(nil)
		f.breaker.Reset()
	default:
		if f.notes.breakerOut = true; f.asked.breaker.Mode == outcome.Enforce {
			t.control.Hold(endpoint.BreakerOpen, f.breaker.Stats().LastCause, now)
		}
		if e := f.notes.incident.Swap(nil); e != nil {
			f.notes.told.Store(true)
			s.tell(*e)
		}
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
			s.leftOut[h].Add(1)
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

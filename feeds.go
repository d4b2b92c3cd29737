package tulle

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

// feeds are those who have an opinion on whether an endpoint works: outlier
// detection, its own breaker, probes, and the endpoint itself. They hold
// nothing back; service.reconcile makes holds of what they say, so that one
// place decides how many endpoints may be left out. A feeds does not change:
// another configuration makes a new one, and results under way go to the one
// that they began with.
type feeds struct {
	asked   asked
	record  *health.Record  // nil without Outliers
	breaker *circuit        // nil without EndpointBreaker
	checked *health.Checked // nil without Probe
	// probed is the target that checked asks, probing the transport for it if
	// that is not the target's.
	probed  *target
	probing *http.Transport
	leaving *leaving
	notes   *notes
}

// notes are what is kept of an endpoint from one feeds to the next.
type notes struct {
	// returning says that the endpoint is back, or will be, from having been
	// left out. Only service.reconcile uses it.
	returning bool
	// later puts trials off, in nanoseconds of Unix time, after those that
	// said nothing: the last waited for so long.
	later, waited atomic.Int64
	// would counts attempts at the endpoint while it failed a probe that is
	// only observed, succeeded those of them that did not fail.
	would, succeeded atomic.Uint64
	// refused are load reports that were not believed.
	refused refusals
}

// A trial that says nothing puts the next one off, for longer each time: who
// has no time to wait for an answer is not to be the one who waits for it.
const (
	firstPutOff = time.Second
	maxPutOff   = 30 * time.Second
)

func (n *notes) putOff(now time.Time) {
	wait := min(max(firstPutOff, 2*time.Duration(n.waited.Load())), maxPutOff)
	n.waited.Store(int64(wait))
	n.later.Store(now.Add(wait).UnixNano())
}

// spare counts an attempt that there would not have been. What succeeded may
// be taken back at its end.
func (n *notes) spare(r outcome.Result) {
	switch good := !r.Class.Failed(); {
	case r.Class == outcome.Neutral || r.Late && (good || r.Was == outcome.Neutral):
	case r.Late:
		for was := n.succeeded.Load(); was > 0 && !n.succeeded.CompareAndSwap(was, was-1); {
			was = n.succeeded.Load()
		}
	default:
		n.would.Add(1)
		if good {
			n.succeeded.Add(1)
		}
	}
}

// asked are the policies that feeds are made for.
type asked struct {
	outliers *health.Outliers
	breaker  *breaker.Policy
	probe    *health.Probe
}

// verdict is the result of an attempt and what it was for.
type verdict struct {
	outcome.Result
	own   breaker.Permit
	trial trial
	// leaving is set if the endpoint said once more that it is leaving.
	leaving bool
}

// observe passes on the result of an attempt and reports whether somebody
// should look at the opinions.
func (f *feeds) observe(v verdict) (look bool) {
	v.own.Done(v.Result)
	if f.checked != nil && f.asked.probe.Mode == outcome.Observe && f.unhealthy() {
		f.notes.spare(v.Result)
	}
	if f.record != nil {
		look = f.record.Observe(v.Result, v.trial&trialOfEjection != 0)
	}
	if v.trial == 0 || v.Late {
		return look
	}
	if v.Class == outcome.Neutral {
		f.notes.putOff(v.At)
		return look
	}
	f.notes.waited.Store(0)
	if v.trial&trialOfLeaving != 0 && v.Class == outcome.Success && !v.leaving {
		look = f.leaving.stay() || look
	}
	return look
}

// unhealthy reports whether probes say that the endpoint does not work.
func (f *feeds) unhealthy() bool {
	healthy, known, _, _ := f.checked.Verdict()
	return known && !healthy
}

// leaving is an endpoint's word that it is about to stop, from when a response
// brings it until a trial call is answered without it.
type leaving struct {
	// due is when a call may ask again, in nanoseconds of Unix time, 0 while
	// the endpoint stays.
	due atomic.Int64
}

// leaveFor is how long an endpoint is believed that it is leaving, before it is
// asked again. It may be gone, or started anew at the same address.
const leaveFor = time.Second

func (l *leaving) announce(now time.Time) (first bool) {
	return l.due.Swap(now.Add(leaveFor).UnixNano()) == 0
}

func (l *leaving) stay() (changed bool) { return l.due.Swap(0) != 0 }

// claim has one winner among those who come when it is due, and none again
// for a while: it needs no word of how the trial ended.
func (l *leaving) claim(now time.Time) bool {
	due := l.due.Load()
	return due != 0 && now.UnixNano() >= due && l.due.CompareAndSwap(due, now.Add(leaveFor).UnixNano())
}

// trial says of which holds an attempt tries whether they can be lifted.
type trial uint8

const (
	trialOfEjection trial = 1 << iota
	trialOfBreaker
	trialOfLeaving
)

// trialPatience is how long after it is due a trial waits for a call that can
// be repeated elsewhere, leavingPatience the same for an endpoint that is
// leaving and so quite likely to be gone.
const (
	trialPatience   = time.Second
	leavingPatience = 30 * time.Second
)

// patience is how long the trial of a target waits for a better call than c: for
// one that can be repeated elsewhere and, where the endpoint is likely to be
// gone, that the mesh itself repeats.
func (t *target) patience(c *Call) time.Duration {
	switch repeatable := c.repeatable(); {
	case held(t.Availability(), endpoint.Leaving) && !(repeatable && c.dest.repeats):
		return leavingPatience
	case !repeatable:
		return trialPatience
	}
	return 0
}

// onTrial reports whether a target is left out only for what a call can try.
func onTrial(a *endpoint.Availability) bool {
	for _, h := range [...]endpoint.Hold{endpoint.NotReady, endpoint.Unhealthy, endpoint.Removed} {
		if held(a, h) {
			return false
		}
	}
	return held(a, endpoint.Ejected) || held(a, endpoint.BreakerOpen) || held(a, endpoint.Leaving)
}

func held(a *endpoint.Availability, h endpoint.Hold) bool {
	is, _, _ := a.Held(h)
	return is
}

// due returns when a call may try whether a hold can be lifted, zero for a hold
// that calls cannot lift.
func (f *feeds) due(h endpoint.Hold, now time.Time) time.Time {
	switch {
	case h == endpoint.Ejected && f.record != nil:
		until, _ := f.record.Out()
		return until
	case h == endpoint.BreakerOpen && f.breaker != nil:
		return now.Add(f.breaker.RetryAfter(now))
	case h == endpoint.Leaving:
		if due := f.leaving.due.Load(); due != 0 {
			return time.Unix(0, due)
		}
	}
	return time.Time{}
}

// due returns when a target on trial may next be tried.
func (t *target) due(now time.Time) (at time.Time) {
	a, f := t.Availability(), t.feeds.Load()
	for _, h := range [...]endpoint.Hold{endpoint.Ejected, endpoint.BreakerOpen, endpoint.Leaving} {
		if held(a, h) {
			if due := f.due(h, now); due.After(at) {
				at = due
			}
		}
	}
	if later := f.notes.later.Load(); later != 0 {
		if due := time.Unix(0, later); due.After(at) {
			at = due
		}
	}
	return at
}

// claim makes an attempt the trial of a held target that is due, if no other
// attempt is.
func (t *target) claim(now time.Time) (f *feeds, of trial, own breaker.Permit, ok bool) {
	a := t.Availability()
	f = t.feeds.Load()
	if f.breaker != nil && held(a, endpoint.BreakerOpen) {
		if !f.breaker.Due(now) {
			return nil, 0, own, false
		}
		permit, err := f.breaker.Allow(now)
		if err != nil {
			return nil, 0, own, false
		}
		own = permit
		of |= trialOfBreaker
	}
	if f.record != nil && held(a, endpoint.Ejected) {
		if !f.record.Claim(now) {
			own.Release()
			return nil, 0, own, false
		}
		of |= trialOfEjection
	}
	if held(a, endpoint.Leaving) {
		if !f.leaving.claim(now) {
			f.unclaim(of, own, now)
			return nil, 0, own, false
		}
		of |= trialOfLeaving
	}
	return f, of, own, of != 0
}

// unclaim gives back what was claimed, and when, for an attempt that says
// nothing.
func (f *feeds) unclaim(of trial, own breaker.Permit, claimed time.Time) {
	own.Release()
	if of&trialOfEjection != 0 {
		f.record.Unclaim(claimed)
	}
}

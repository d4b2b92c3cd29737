package tulle

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

// subset is a part of a service that calls are balanced over: the whole of
// it, or the endpoints with certain labels. It stays the same object for as
// long as configurations have it. Calls read its generation; only the
// service, under its mutex, replaces that.
type subset struct {
	name     string // "" is the whole service
	gen      atomic.Pointer[generation]
	labels   map[string]string
	spec     spec // of which policy, spread and place matter here
	spreader *balancer.Spreader
}

// generation is membership × availability at one moment, immutable. A call
// that finds nothing to pick waits until it is superseded.
type generation struct {
	// picker is nil where there is nothing to pick.
	picker balancer.Picker
	// wary is the picker if it says how much it expects to find.
	wary balancer.Wary
	// observer is the balancer that made the picker, if it wants to learn.
	observer balancer.Observer
	// division says how calls are divided over priorities and zones, and
	// which endpoints are picked from.
	division *balancer.Division
	// trials are those that are left out until a call finds them working, in
	// order of address.
	trials []*target
	// due is when the first of them may be tried, in nanoseconds of Unix
	// time, or when it is worth looking again.
	due atomic.Int64
	// targets leads from what was picked to the way there.
	targets map[*endpoint.Endpoint]*target
	// known counts members, held those of them that are held back; cause is
	// the first error of discovery since it last answered. They explain a
	// nil picker.
	known, held int
	cause       error
	// superseded is closed when there is a newer generation. It is nil in
	// the last one, when the configuration no longer has the subset.
	superseded chan struct{}
}

// newSubset returns a subset that has nothing to pick yet.
func newSubset(name string) *subset {
	s := &subset{name: name}
	s.gen.Store(&generation{superseded: make(chan struct{})})
	return s
}

// configure takes over what a specification says of the subset. If it says the
// same, balancers stay and with them what they have learnt.
func (s *subset) configure(labels map[string]string, sp spec, env func() balancer.Env) {
	s.labels = maps.Clone(labels)
	if s.spreader == nil || s.spec.policy != sp.policy || s.spec.region != sp.region || s.spec.zone != sp.zone ||
		!reflect.DeepEqual(s.spec.spread, sp.spread) {
		if s.spec, s.spreader = sp, balancer.NewSpreader(sp.policy, sp.spread, env()); s.spreader == nil {
			panic(fmt.Sprintf("tulle: %T.New has returned nil", sp.policy))
		}
	}
}

// rebuild makes a generation of members, in order of address, and wakes those
// who waited for it. Endpoints that were held back grow into their share
// within the ramp.
func (s *subset) rebuild(members []*target, ramp time.Duration, cause error, now time.Time) {
	g := &generation{cause: cause, targets: make(map[*endpoint.Endpoint]*target, len(members))}
	part := make([]balancer.Member, 0, len(members))
	for _, t := range members {
		if !t.Info().Has(s.labels) {
			continue
		}
		g.known++
		g.targets[t.Endpoint] = t
		member := balancer.Member{Endpoint: t.Endpoint}
		if t.feeds.Load().notes.returning {
			member.RampFor = ramp
		}
		part = append(part, member)
		if a := t.Availability(); !a.Available() {
			g.held++
			if onTrial(a) {
				g.trials = append(g.trials, t)
			}
		}
	}
	g.division = s.spreader.Update(part, now)
	g.picker, g.observer = g.division.Picker(), g.division.Observer()
	g.wary, _ = g.picker.(balancer.Wary)
	if at, ok := g.earliest(now, nil); ok {
		g.due.Store(at.UnixNano())
	}
	s.supersede(g)
}

func (g *generation) clone() *generation {
	c := &generation{
		picker: g.picker, wary: g.wary, observer: g.observer, division: g.division, trials: g.trials, targets: g.targets,
		known: g.known, held: g.held, cause: g.cause, superseded: g.superseded,
	}
	c.due.Store(g.due.Load())
	return c
}

// blame makes a generation that differs in its cause only.
func (s *subset) blame(cause error) {
	g := s.gen.Load().clone()
	g.cause = cause
	s.supersede(g)
}

// orphan makes the present generation the last: calls under way may still
// pick what they could, but wait for nothing more.
func (s *subset) orphan() {
	old := s.gen.Load()
	if old.superseded == nil {
		return
	}
	g := old.clone()
	g.superseded = nil
	s.gen.Store(g)
	close(old.superseded)
}

func (s *subset) supersede(g *generation) {
	old := s.gen.Load()
	if old.superseded == nil {
		return
	}
	g.superseded = make(chan struct{})
	s.gen.Store(g)
	close(old.superseded)
}

// usable returns the endpoints that are picked from, in order of address.
func (g *generation) usable() []*endpoint.Endpoint {
	if g.division == nil {
		return nil
	}
	return g.division.Usable()
}

// earliest returns when the first of the endpoints that are left out may be
// tried by a call, nil for any, if there is one.
func (g *generation) earliest(now time.Time, c *Call) (first time.Time, ok bool) {
	for _, t := range g.trials {
		at := t.due(now)
		if c != nil {
			at = at.Add(t.patience(c))
		}
		if !ok || at.Before(first) {
			first, ok = at, true
		}
	}
	return first, ok
}

// lookAgain is after what time it is worth looking for a trial again, when the
// one that is due belongs to another call.
const lookAgain = 10 * time.Millisecond

// next returns the endpoints that may be tried now, none while it is not worth
// looking: however many are left out, a pick is not to ask them all.
func (g *generation) next(now time.Time, repeatable bool) []*target {
	if len(g.trials) == 0 {
		return nil
	}
	if !repeatable {
		// Others go first for a moment.
		now = now.Add(-trialPatience)
	}
	due := g.due.Load()
	if now.UnixNano() < due {
		return nil
	}
	// Whoever looks does so for all who come in the meantime.
	if !g.due.CompareAndSwap(due, now.Add(lookAgain).UnixNano()) {
		return nil
	}
	return g.trials
}

var errNoneKnown = errors.New("none is known")

// why says in words why there is nothing to pick, with the first cause.
func (g *generation) why() error {
	switch {
	case g.cause != nil && g.known == 0:
		return fmt.Errorf("discovery: %w", g.cause)
	case g.cause != nil:
		return fmt.Errorf("%d known, %d held back; discovery: %w", g.known, g.held, g.cause)
	case g.known == 0:
		return errNoneKnown
	default:
		return fmt.Errorf("%d known, %d held back", g.known, g.held)
	}
}

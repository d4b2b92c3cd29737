package tulle

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"sync/atomic"

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
	policy   balancer.Policy
	balancer balancer.Balancer
}

// generation is membership × availability at one moment, immutable. A call
// that finds nothing to pick waits until it is superseded.
type generation struct {
	// picker is nil where there is nothing to pick.
	picker balancer.Picker
	// observer is the balancer that made the picker, if it wants to learn.
	observer balancer.Observer
	// usable are the endpoints that are picked from, in order of address.
	usable []*endpoint.Endpoint
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

// configure takes over labels and policy. An equal policy keeps its balancer
// and with it what that has learnt.
func (s *subset) configure(labels map[string]string, p balancer.Policy, env func() balancer.Env) {
	s.labels = maps.Clone(labels)
	if s.balancer == nil || s.policy != p {
		if s.policy, s.balancer = p, p.New(env()); s.balancer == nil {
			panic(fmt.Sprintf("tulle: %T.New has returned nil", p))
		}
	}
}

// rebuild makes a generation of members, in order of address, and wakes those
// who waited for it. Of endpoints with different priorities those are picked
// that have the best of which any is available.
func (s *subset) rebuild(members []*target, cause error) {
	g := &generation{cause: cause, targets: make(map[*endpoint.Endpoint]*target, len(members))}
	best := uint32(math.MaxUint32)
	for _, t := range members {
		info := t.Info()
		if !info.Has(s.labels) {
			continue
		}
		g.known++
		if t.Available() {
			best = min(best, info.Priority)
			g.targets[t.Endpoint] = t
		}
	}
	g.held = g.known - len(g.targets)
	usable := make([]*endpoint.Endpoint, 0, len(g.targets))
	for _, t := range members {
		if g.targets[t.Endpoint] == t && t.Info().Priority == best {
			usable = append(usable, t.Endpoint)
		}
	}
	if g.usable = usable; len(usable) > 0 {
		g.picker = s.balancer.Update(usable)
	}
	g.observer, _ = s.balancer.(balancer.Observer)
	s.supersede(g)
}

// blame makes a generation that differs in its cause only.
func (s *subset) blame(cause error) {
	g := *s.gen.Load()
	g.cause = cause
	s.supersede(&g)
}

// orphan makes the present generation the last: calls under way may still
// pick what they could, but wait for nothing more.
func (s *subset) orphan() {
	old := s.gen.Load()
	if old.superseded == nil {
		return
	}
	g := *old
	g.superseded = nil
	s.gen.Store(&g)
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

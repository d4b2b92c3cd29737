package tulle

import (
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

// subset is a part of a service that calls are balanced over: the whole of
// it, or the endpoints with certain labels. Calls read its generation; only
// the service, under its mutex, replaces it.
type subset struct {
	name     string // "" is the whole service
	labels   map[string]string
	policy   balancer.Policy
	balancer balancer.Balancer
	observer balancer.Observer // the balancer, if it wants to learn
	gen      atomic.Pointer[generation]
}

// generation is membership × availability at one moment, immutable. A call
// that finds nothing to pick waits until it is superseded.
type generation struct {
	// picker is nil where there is nothing to pick.
	picker balancer.Picker
	// targets leads from what was picked to the way there.
	targets map[*endpoint.Endpoint]*target
	// known and notReady count members; cause is the first error of
	// discovery since it last answered. They explain a nil picker.
	known, held int
	cause       error
	// superseded is closed when there is a newer generation. It is nil in
	// the last one, when the configuration no longer has the subset.
	superseded chan struct{}
}

// newSubset returns a subset that has nothing to pick yet.
func newSubset(name string, labels map[string]string, p balancer.Policy, env balancer.Env) *subset {
	s := &subset{name: name, labels: maps.Clone(labels), policy: p, balancer: p.New(env)}
	s.observer, _ = s.balancer.(balancer.Observer)
	s.gen.Store(&generation{superseded: make(chan struct{})})
	return s
}

// supersede makes a generation of members, in order of address, and wakes
// those who waited for it.
func (s *subset) supersede(members []*target, cause error) {
	if s.gen.Load().superseded == nil {
		return
	}
	g := &generation{cause: cause, superseded: make(chan struct{})}
	g.targets = make(map[*endpoint.Endpoint]*target, len(members))
	usable := make([]*endpoint.Endpoint, 0, len(members))
	for _, t := range members {
		if !t.Info().Has(s.labels) {
			continue
		}
		g.known++
		if t.Available() {
			usable = append(usable, t.Endpoint)
			g.targets[t.Endpoint] = t
		}
	}
	g.held = g.known - len(usable)
	if len(usable) > 0 {
		g.picker = s.balancer.Update(usable)
	}
	old := s.gen.Swap(g)
	close(old.superseded)
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

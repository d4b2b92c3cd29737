package tulle

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/histogram"
	"github.com/tulle-mesh/tulle/retry"
)

var errNoneKnown = errors.New("none is known")

// service is the live side of a configured service: its members, their
// availability, and what was counted. It stays the same object for as long
// as configurations have a service of its name.
type service struct {
	name    string
	options *options
	stats   stats
	retries retry.Counters
	// latency is of attempts, to their headers.
	latency *histogram.Histogram
	// kick asks for a new generation; many asks become one.
	kick chan struct{}
	stop context.CancelFunc
	wg   sync.WaitGroup

	// mu orders those who change the service; no call ever takes it.
	mu       sync.Mutex
	spec     spec
	watch    *watch
	members  map[string]*target
	subsets  map[string]*subset
	budgets  map[retry.BudgetPolicy]*retry.Budget
	answered chan struct{} // closed once the first set of discovery is in use
}

// spec is what of a Service concerns its endpoints. The rest is in the plan.
type spec struct {
	resolver discovery.Resolver
	policy   balancer.Policy
	subsets  []Subset
	wire     wire
}

// watch is one run of a resolver.
type watch struct {
	cancel context.CancelFunc
	// latest is what the resolver last said and the service has not yet
	// taken over; guarded by the service's mu.
	latest  []endpoint.Info
	pending bool
	// cause is the first error since the last set, since is when each came.
	cause error
	since time.Time
}

func newService(name string, o *options, now time.Time) *service {
	ctx, stop := context.WithCancel(context.Background())
	s := &service{
		name: name, options: o, latency: histogram.New(now),
		kick: make(chan struct{}, 1), stop: stop,
		members: map[string]*target{}, subsets: map[string]*subset{},
		budgets: map[retry.BudgetPolicy]*retry.Budget{}, answered: make(chan struct{}),
	}
	s.wg.Go(func() { s.rebuildOnKick(ctx) })
	return s
}

// configure takes over a specification. What is equal to what was is not
// touched: an equal resolver goes on watching, an equal subset keeps its
// balancer, endpoints keep their connections unless the wire is another.
func (s *service) configure(sp spec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rewired := !s.spec.wire.equal(sp.wire)
	repolicied := s.spec.policy != sp.policy
	s.watchLocked(sp.resolver)
	s.spec = sp

	if rewired {
		for addr, t := range s.members {
			s.members[addr] = newTarget(s.options, &s.spec.wire, t.Endpoint, t.control)
			t.retire()
		}
	}
	was := s.subsets
	s.subsets = make(map[string]*subset, len(sp.subsets)+1)
	for _, sub := range append([]Subset{{}}, sp.subsets...) {
		kept := was[sub.Name]
		if kept == nil || repolicied || !maps.Equal(kept.labels, sub.Labels) {
			env := balancer.Env{Service: s.name, Subset: sub.Name, Seed: s.options.draw()}
			kept = newSubset(sub.Name, sub.Labels, sp.policy, env)
		}
		s.subsets[sub.Name] = kept
	}
	s.buildLocked()
	for name, old := range was {
		if s.subsets[name] != old {
			old.orphan()
		}
	}
}

// watchLocked starts the resolver, in the place of another one if there was.
// The members stay until the new one answers.
func (s *service) watchLocked(r discovery.Resolver) {
	if s.watch != nil {
		if s.spec.resolver == r {
			return
		}
		s.watch.cancel()
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{cancel: cancel}
	s.watch = w
	s.wg.Go(func() {
		for infos, err := range r.Watch(ctx) {
			if ctx.Err() != nil {
				return
			}
			s.heard(w, infos, err)
		}
	})
}

// heard takes note of what a resolver said. An error leaves what was.
func (s *service) heard(w *watch, infos []endpoint.Info, err error) {
	now := time.Now()
	var recovered error
	s.mu.Lock()
	if err != nil {
		if w.cause == nil {
			w.cause, w.since = err, now
		}
	} else {
		recovered, w.cause, w.since = w.cause, nil, now
		w.latest, w.pending = infos, true
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		s.options.logger.Warn("discovery failed, known endpoints stay in use", "service", s.name, "error", err)
	case recovered != nil:
		s.options.logger.Info("discovery recovered", "service", s.name, "endpoints", len(infos))
	}
	s.changed()
}

// changed asks for a new generation. It never blocks.
func (s *service) changed() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *service) rebuildOnKick(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
			s.mu.Lock()
			s.buildLocked()
			s.mu.Unlock()
		}
	}
}

// buildLocked takes over what discovery said and makes a generation of it
// for every subset.
func (s *service) buildLocked() {
	answered := s.watch.pending
	if answered {
		s.membersLocked(s.watch.latest)
		s.watch.latest, s.watch.pending = nil, false
	}
	members := slices.SortedFunc(maps.Values(s.members), func(a, b *target) int {
		return cmp.Compare(a.Addr(), b.Addr())
	})
	for _, sub := range s.subsets {
		sub.supersede(members, s.watch.cause)
	}
	if answered && !s.answeredBefore() {
		close(s.answered)
	}
}

// answeredBefore reports whether the first set of discovery is in use.
func (s *service) answeredBefore() bool {
	select {
	case <-s.answered:
		return true
	default:
		return false
	}
}

// membersLocked makes infos the members: those with a known address keep
// their endpoint, those that are gone retire. An info that is not valid, or
// has the address of one before it, is left out.
func (s *service) membersLocked(infos []endpoint.Info) {
	now := time.Now()
	next := make(map[string]*target, len(infos))
	for _, info := range infos {
		if err := info.Validate(); err != nil {
			s.options.logger.Warn("endpoint left out", "service", s.name, "addr", info.Addr, "error", err)
			continue
		}
		if next[info.Addr] != nil {
			continue
		}
		t := s.members[info.Addr]
		if t == nil {
			e, c := endpoint.New(info, now)
			t = newTarget(s.options, &s.spec.wire, e, c)
		} else if !t.Info().Equal(info) {
			t.control.SetInfo(info, now)
		}
		next[info.Addr] = t
	}
	for addr, t := range s.members {
		if next[addr] == nil {
			t.control.Hold(endpoint.Removed, "discovery", now)
			t.retire()
		}
	}
	s.members = next
}

// orphan lets no call wait for an endpoint any more.
func (s *service) orphan() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.subsets {
		sub.orphan()
	}
}

// close stops watching and retires the endpoints. Calls in flight go on.
func (s *service) close() {
	s.orphan()
	s.mu.Lock()
	s.watch.cancel()
	for _, t := range s.members {
		t.retire()
	}
	s.mu.Unlock()
	s.stop()
	s.wg.Wait()
}

// closeIdle closes the idle connections to all endpoints.
func (s *service) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.members {
		t.closeIdle()
	}
}

// budget returns the retry budget of the service for a policy: one for all
// its routes with the same policy, kept across configurations.
func (s *service) budget(p retry.BudgetPolicy) *retry.Budget {
	s.mu.Lock()
	defer s.mu.Unlock()
	p = p.Effective()
	b := s.budgets[p]
	if b == nil {
		b = retry.NewBudget(p)
		s.budgets[p] = b
	}
	return b
}

// subset returns the subset of the name, the whole service for "".
func (s *service) subset(name string) *subset {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subsets[name]
}

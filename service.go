package tulle

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/internal/histogram"
	"github.com/tulle-mesh/tulle/retry"
)

// service is the live side of a configured service: its members, their
// availability, and what was counted. It stays the same object for as long
// as configurations have a service of its name.
type service struct {
	name    string
	options *options
	prober  *health.Prober
	// tell is told of the incidents of the endpoints' breakers.
	tell    func(breaker.Event)
	stats   stats
	retries retry.Counters
	// sentBack counts attempts whose requests came back unworked.
	sentBack atomic.Uint64
	// leftOut counts how often endpoints were, by endpoint.Hold.
	leftOut [8]atomic.Uint64
	// latency is of attempts, to their headers.
	latency *histogram.Histogram
	// view is what is there now, for those who only look.
	view atomic.Pointer[view]
	// kick asks for new generations; many asks become one. stale is set when
	// the feeds of endpoints have something new to say.
	kick  chan struct{}
	stale atomic.Bool
	ctx   context.Context // of all that runs for the service
	stop  context.CancelFunc
	wg    sync.WaitGroup
	// ended is closed when nothing runs any more for the closed service.
	ended chan struct{}

	// mu orders those who change the service. Neither a call nor State ever
	// takes it. Balancing policies and middleware are made under it, and
	// must not change the mesh.
	mu      sync.Mutex
	spec    spec
	members map[string]*target
	// detector compares the members with each other, as detecting says. Both
	// are nil without Outliers.
	detector  *health.Detector
	detecting *health.Outliers
	// departed counts what Observe would have spared callers of endpoints
	// that are members no more.
	departed departed
}

// spec is what of a Service concerns its endpoints. The rest is in the plan.
type spec struct {
	resolver discovery.Resolver
	policy   balancer.Policy
	spread   balancer.Spread
	region   string // of this process, as zone is
	zone     string
	subsets  []Subset
	wire     *wire
	host     string // of HTTP probes
	asked    asked
}

// view is a service at one moment, immutable.
type view struct {
	watch   *watch
	members []*target // in order of address
	subsets map[string]*subset
}

func newService(name string, m *Mesh, now time.Time) *service {
	ctx, stop := context.WithCancel(context.Background())
	s := &service{
		name: name, options: &m.options, prober: m.prober, tell: m.alerts.add, latency: histogram.New(now),
		kick: make(chan struct{}, 1), ctx: ctx, stop: stop, ended: make(chan struct{}),
		members: map[string]*target{},
	}
	s.view.Store(&view{})
	s.wg.Go(s.rebuildOnKick)
	return s
}

// draft returns the subsets that the service will have with a specification:
// those it has, and new ones that nothing knows of yet.
func (s *service) draft(sp spec) map[string]*subset {
	has := s.view.Load().subsets
	subsets := make(map[string]*subset, len(sp.subsets)+1)
	for _, c := range append([]Subset{{}}, sp.subsets...) {
		subsets[c.Name] = has[c.Name]
		if subsets[c.Name] == nil {
			subsets[c.Name] = newSubset(c.Name)
		}
	}
	return subsets
}

// commit takes over a specification and the subsets drafted for it. What is
// equal to what was is not touched: an equal resolver goes on watching, an
// equal policy keeps its balancer, endpoints keep their connections unless
// the wire is another. It returns what is to be reported when no lock is held.
func (s *service) commit(sp spec, subsets map[string]*subset) (reports []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.view.Load()
	now := &view{watch: was.watch, subsets: subsets}
	if was.watch == nil || was.watch.resolver != sp.resolver {
		if was.watch != nil {
			was.watch.cancel()
		}
		now.watch = newWatch(s.ctx, sp.resolver, s.wg.Go, s.heard)
	}
	rewired := s.spec.wire != nil && !s.spec.wire.equal(sp.wire)
	s.spec = sp
	if rewired {
		for addr, t := range s.members {
			s.members[addr] = newTarget(s.options, sp.wire, t.Endpoint, t.control, t.feeds.Load())
			t.retire()
		}
	}
	for _, c := range append([]Subset{{}}, sp.subsets...) {
		subsets[c.Name].configure(c.Labels, sp, func() balancer.Env {
			return balancer.Env{Service: s.name, Subset: c.Name, Region: sp.region, Zone: sp.zone, Seed: s.options.draw()}
		})
	}
	return s.buildLocked(now, true)
}

// heard is told what the resolver said.
func (s *service) heard(infos []endpoint.Info, err, recovered error) {
	switch {
	case err != nil:
		s.options.logger.Warn("discovery failed, known endpoints stay in use", "service", s.name, "error", err)
	case recovered != nil:
		s.options.logger.Info("discovery recovered", "service", s.name, "endpoints", len(infos))
	}
	s.changed()
}

// look asks for a look at the feeds. It never blocks.
func (s *service) look() {
	s.stale.Store(true)
	s.changed()
}

// changed asks for new generations. It never blocks.
func (s *service) changed() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *service) rebuildOnKick() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.kick:
			begin := time.Now()
			for _, report := range s.build() {
				report()
			}
			s.rest(time.Since(begin))
		}
	}
}

// rest lets pass four times what a build took, where that is much: a large
// service whose endpoints change one by one is not to keep a core busy.
func (s *service) rest(took time.Duration) {
	if took < time.Millisecond {
		return
	}
	timer := time.NewTimer(4 * took)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
	case <-timer.C:
	}
}

func (s *service) build() []func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil // closed meanwhile
	}
	now := *s.view.Load()
	return s.buildLocked(&now, false)
}

// buildLocked takes over what discovery and the feeds said and makes a
// generation of it for every subset. If there is nothing new but trouble,
// pickers stay.
func (s *service) buildLocked(v *view, anew bool) (reports []func()) {
	infos, fresh, cause := v.watch.take()
	if stale := s.stale.Swap(false); !fresh && !anew && !stale {
		for _, sub := range v.subsets {
			sub.blame(cause)
		}
		return nil
	}
	now := time.Now()
	if fresh {
		reports = s.membersLocked(infos, now)
	}
	if fresh || anew {
		v.members = slices.SortedFunc(maps.Values(s.members), func(a, b *target) int {
			return cmp.Compare(a.Addr(), b.Addr())
		})
	}
	s.equipLocked(v.members, now)
	reports = append(reports, s.reconcileLocked(v.members, now)...)
	// State is never behind the calls.
	s.view.Store(v)
	for _, sub := range v.subsets {
		sub.rebuild(v.members, s.spec.asked.ramp(), cause, now)
	}
	if fresh {
		v.watch.use()
	}
	return reports
}

// membersLocked makes infos the members: those with a known address keep
// their endpoint, those that are gone retire. An info that is not valid, or
// has the address of one before it, is left out.
func (s *service) membersLocked(infos []endpoint.Info, now time.Time) (reports []func()) {
	next := make(map[string]*target, len(infos))
	for _, info := range infos {
		if err := info.Validate(); err != nil {
			reports = append(reports, func() {
				s.options.logger.Warn("endpoint left out", "service", s.name, "addr", info.Addr, "error", err)
			})
			continue
		}
		if next[info.Addr] != nil {
			continue
		}
		t := s.members[info.Addr]
		if t == nil {
			e, c := endpoint.New(info, now)
			t = newTarget(s.options, s.spec.wire, e, c, nil)
		} else if !t.Info().Equal(info) {
			t.control.SetInfo(info, now)
		}
		next[info.Addr] = t
	}
	for addr, t := range s.members {
		if next[addr] == nil {
			t.control.Hold(endpoint.Removed, "discovery", now)
			s.dismiss(t)
			t.retire()
		}
	}
	s.members = next
	return reports
}

// orphan lets no call wait for an endpoint any more.
func (s *service) orphan() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.view.Load().subsets {
		sub.orphan()
	}
}

// close stops what runs for the service and retires its endpoints. Calls in
// flight go on. It waits for nothing; wait does.
func (s *service) close() {
	s.orphan()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.members {
		s.dismiss(t)
		t.retire()
	}
	if s.ctx.Err() == nil {
		s.stop()
		go func() {
			s.wg.Wait()
			close(s.ended)
		}()
	}
}

// hasEnded reports whether nothing runs any more for the closed service.
func (s *service) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// wait returns when everything that ran for the closed service has ended, or
// ctx has.
func (s *service) wait(ctx context.Context) error {
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// closeIdle closes the idle connections to all endpoints.
func (s *service) closeIdle() {
	for _, t := range s.view.Load().members {
		t.closeIdle()
	}
}

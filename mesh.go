package tulle

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/telemetry"
)

// Mesh carries calls to services according to a Config. It is made by New,
// is safe for concurrent use, and runs until Shutdown.
type Mesh struct {
	options options
	started time.Time
	// around is the call middleware around the spine, nil without any.
	around http.RoundTripper
	plan   atomic.Pointer[plan]
	// applied counts configurations, lastApply is when the present one came.
	applied   atomic.Uint64
	lastApply atomic.Pointer[time.Time]
	// prober asks endpoints whether they work, of all services.
	prober *health.Prober
	// recorder tells of calls to those who watch, nil if nobody does.
	recorder *telemetry.Recorder
	alerts   alerts
	// passed counts calls to unknown hosts that went through, refused those
	// that did not or, under Observe, would not have. missed counts those of
	// the latter that went well.
	passed, refused, missed atomic.Uint64

	// visits counts requests to handlers of the mesh, bodies those that were
	// too long where that is only observed, stripped those from which a field
	// was taken, badHints those whose hint could not be read.
	visits             stats
	bodies             spared
	stripped, badHints atomic.Uint64
	peers              peers
	keySets            *authn.KeySets
	// leaving is set once the process is to stop; quiet gets a word when no
	// request is left then. serving are the servers of Serve.
	leaving atomic.Bool
	quiet   word
	serving struct {
		mu      sync.Mutex
		servers map[*http.Server]served
	}
	// taken counts the requests under way whose connections are their
	// handlers' own.
	taken atomic.Int64

	closing atomic.Bool
	// idle gets a word when a service has no active calls left while the
	// mesh shuts down; shutting holds a word while one Shutdown waits for it.
	idle, shutting chan struct{}

	// mu orders Apply and the beginning of Shutdown.
	mu sync.Mutex
	// former are services that the configuration no longer has but of which
	// something still runs; guarded by mu.
	former []*service
}

// New returns a mesh for the Config, or every fault in it at once, see
// Config.Validate. It waits for nothing: calls made before discovery has
// answered wait for it.
func New(c Config, opts ...Option) (*Mesh, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	m := &Mesh{
		options: o, started: time.Now(), idle: make(chan struct{}, 1), shutting: make(chan struct{}, 1),
		prober:  health.NewProber(health.ProberOptions{Draw: o.draw}),
		alerts:  alerts{logger: o.logger, listen: o.hooks.BreakerChanged},
		keySets: authn.NewKeySets(o.logger),
	}
	if m.recorder, err = m.newRecorder(); err != nil {
		return nil, err
	}
	if len(o.middleware) > 0 {
		m.around = chain(o.middleware, spine{m})
	}
	if err := m.Apply(c); err != nil {
		m.unwatch()
		return nil, err
	}
	return m, nil
}

// Apply replaces the configuration, or changes nothing and returns every
// fault in it at once. Calls under way go on as they began. What is equal in
// both configurations is not restarted: endpoints keep their statistics and
// connections, resolvers go on watching, budgets keep their balance.
//
// Code that is plugged into the mesh must not call Apply while it is asked to
// make something, such as a Picker.
func (m *Mesh) Apply(c Config) error {
	if err := m.options.check(c); err != nil {
		return fmt.Errorf("tulle: configuration:\n%w", err)
	}
	reports, err := m.apply(c.clone())
	for _, report := range reports {
		report()
	}
	return err
}

// apply has two phases: everything that can fail is drafted first, beside
// what is live; only then is anything live changed, and nothing can fail.
func (m *Mesh) apply(c Config) (reports []func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing.Load() {
		return nil, &Error{Reason: outcome.ShuttingDown}
	}
	was := m.plan.Load()
	services, added := m.services(c, was)
	drafts := make(map[string]map[string]*subset, len(services))
	for i := range c.Services {
		drafts[c.Services[i].Name] = services[c.Services[i].Name].draft(c.Services[i].spec(&c))
	}
	next, err := compile(c, services, drafts, was)
	if err == nil {
		err = m.guard(next, was)
	}
	if err != nil {
		for _, s := range added {
			s.close()
		}
		return nil, fmt.Errorf("tulle: configuration:\n%w", err)
	}
	var dropped []*subset
	for i := range c.Services {
		s := services[c.Services[i].Name]
		for name, sub := range s.view.Load().subsets {
			if drafts[s.name][name] != sub {
				dropped = append(dropped, sub)
			}
		}
		reports = append(reports, s.commit(c.Services[i].spec(&c), drafts[s.name])...)
	}
	m.plan.Store(next)
	now := time.Now()
	m.lastApply.Store(&now)
	m.applied.Add(1)
	// Only now does no new call come to what is gone.
	for _, sub := range dropped {
		sub.orphan()
	}
	m.dismissLocked(was, next)
	if was != nil {
		was.guards.retire(next.guards)
		for key, c := range was.breakers {
			if next.breakers[key] == nil {
				c.retire()
			}
		}
	}
	return reports, nil
}

// services returns the live services for c, those of the plan before where
// they have the same name, and which of them are new.
func (m *Mesh) services(c Config, was *plan) (all map[string]*service, added []*service) {
	all = make(map[string]*service, len(c.Services))
	for i := range c.Services {
		name := c.Services[i].Name
		if was != nil && was.services[name] != nil {
			all[name] = was.services[name]
			continue
		}
		all[name] = newService(name, m, time.Now())
		added = append(added, all[name])
	}
	return all, added
}

// dismissLocked closes services that next no longer has, and forgets those
// closed before of which nothing runs any more.
func (m *Mesh) dismissLocked(was, next *plan) {
	kept := m.former[:0]
	for _, s := range m.former {
		if s.stats.active.Load() > 0 || !s.hasEnded() {
			kept = append(kept, s)
		}
	}
	m.former = kept
	if was == nil {
		return
	}
	for name, s := range was.services {
		if next.services[name] == nil {
			s.close()
			m.former = append(m.former, s)
		}
	}
}

// Ready waits until discovery has answered for every service of the present
// configuration and the endpoints are in use. If ctx ends first it returns an
// error that names those that are missing. It does not say that the endpoints
// work: whether a process is ready must not depend on another.
func (m *Mesh) Ready(ctx context.Context) error {
	for {
		missing, changed := m.missing()
		if m.closing.Load() {
			return &Error{Reason: outcome.ShuttingDown}
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if missing, _ = m.missing(); len(missing) == 0 {
				return nil
			}
			return fmt.Errorf("tulle: discovery has not answered for %s: %w", strings.Join(missing, ", "), context.Cause(ctx))
		}
	}
}

// missing returns the names of the services that discovery has not answered
// for, and a channel that is closed when that may have changed.
func (m *Mesh) missing() (names []string, changed <-chan struct{}) {
	for name, s := range m.plan.Load().services {
		if w := s.view.Load().watch; !w.inUse() {
			names, changed = append(names, name), w.settled
		}
	}
	slices.Sort(names)
	return names, changed
}

// Shutdown refuses new calls to services, waits for those under way to end,
// the bodies of their responses included, and stops everything that the mesh
// runs. If ctx ends first, it stops all the same and returns ctx's error;
// calls still under way go on without the mesh. Calls to unknown hosts pass
// through as before. Shutdown may be called again, to wait once more.
func (m *Mesh) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	m.closing.Store(true)
	services := append([]*service(nil), m.former...)
	for _, s := range m.plan.Load().services {
		services = append(services, s)
	}
	m.mu.Unlock()
	for _, s := range services {
		s.orphan()
	}
	err := m.drain(ctx, services)
	for _, s := range services {
		s.close()
	}
	for _, s := range services {
		if waited := s.wait(ctx); err == nil {
			err = waited
		}
	}
	if waited := m.closeHelpers(ctx); err == nil {
		err = waited
	}
	m.unwatch()
	if waited := m.alerts.wait(ctx); err == nil {
		err = waited
	}
	return err
}

// closeHelpers stops probes and the fetching of keys, and waits for those
// under way, which a dialer may hold up.
func (m *Mesh) closeHelpers(ctx context.Context) error {
	closed := make(chan struct{})
	go func() {
		m.prober.Close()
		_ = m.keySets.Close()
		close(closed)
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// guard makes the guards of a plan. It is the last that can fail.
func (m *Mesh) guard(next, was *plan) (err error) {
	var before *guards
	if was != nil {
		before = was.guards
	}
	if next.guards, err = m.newGuards(next.config.Inbound, before); err != nil {
		next.guards.retire(before)
		return fmt.Errorf("inbound: %w", err)
	}
	if m.leaving.Load() && next.guards.overload != nil {
		next.guards.overload.SetLeaving(true)
	}
	return nil
}

// drain waits until no service has an active call.
func (m *Mesh) drain(ctx context.Context, services []*service) error {
	if !slices.ContainsFunc(services, func(s *service) bool { return s.stats.active.Load() > 0 }) {
		return nil
	}
	select {
	case m.shutting <- struct{}{}:
		defer func() { <-m.shutting }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for _, s := range services {
		for s.stats.active.Load() > 0 {
			select {
			case <-m.idle:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// left is told when a service has no active call left.
func (m *Mesh) left() {
	if m.closing.Load() {
		select {
		case m.idle <- struct{}{}:
		default:
		}
	}
}

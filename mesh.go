package tulle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
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
	// passed counts calls to unknown hosts that went through, refused those
	// that did not or, under Observe, would not have.
	passed, refused atomic.Uint64

	closing atomic.Bool
	// idle gets a word when a service has no active calls left while the
	// mesh shuts down.
	idle chan struct{}

	// mu orders Apply and Shutdown.
	mu sync.Mutex
}

// New returns a mesh for the Config, or every fault in it at once, see
// Config.Validate. It waits for nothing: calls made before discovery has
// answered wait for it.
func New(c Config, opts ...Option) (*Mesh, error) {
	m := &Mesh{options: newOptions(opts), started: time.Now(), idle: make(chan struct{}, 1)}
	if len(m.options.middleware) > 0 {
		m.around = chain(m.options.middleware, spine{m})
	}
	if err := m.Apply(c); err != nil {
		return nil, err
	}
	return m, nil
}

// Apply replaces the configuration, or changes nothing and returns every
// fault in it at once. Calls under way go on as they began. What is equal in
// both configurations is not restarted: endpoints keep their statistics and
// connections, resolvers go on watching, budgets keep their balance.
func (m *Mesh) Apply(c Config) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("tulle: configuration:\n%w", err)
	}
	c = c.clone()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing.Load() {
		return &Error{Reason: outcome.ShuttingDown}
	}
	was := m.plan.Load()
	services, added := m.services(c, was)
	next, err := compile(c, services, was)
	if err != nil {
		// Validate has let through what cannot be compiled. Nothing live has
		// been changed but for what was added.
		for _, s := range added {
			s.close()
		}
		return fmt.Errorf("tulle: configuration:\n%w", err)
	}
	m.plan.Store(next)
	now := time.Now()
	m.lastApply.Store(&now)
	m.applied.Add(1)
	if was != nil {
		for name, s := range was.services {
			if next.services[name] == nil {
				s.close()
			}
		}
	}
	return nil
}

// services returns the live services for c, those of the plan before where
// they have the same name, configured anew.
func (m *Mesh) services(c Config, was *plan) (all map[string]*service, added []*service) {
	all = make(map[string]*service, len(c.Services))
	for i := range c.Services {
		name := c.Services[i].Name
		var s *service
		if was != nil {
			s = was.services[name]
		}
		if s == nil {
			s = newService(name, &m.options, time.Now())
			added = append(added, s)
		}
		s.configure(c.Services[i].spec())
		all[name] = s
	}
	return all, added
}

// Ready waits until discovery has answered for every service of the present
// configuration. If ctx ends first it returns an error that names those that
// are missing. It does not say that the endpoints work: whether a process is
// ready must not depend on another.
func (m *Mesh) Ready(ctx context.Context) error {
	var errs []error
	for name, s := range m.plan.Load().services {
		if s.answeredBefore() {
			continue
		}
		select {
		case <-s.answered:
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("tulle: service %s: discovery has not answered: %w", name, context.Cause(ctx)))
		}
	}
	return errors.Join(errs...)
}

// Shutdown refuses new calls to services, waits for those under way to end,
// the bodies of their responses included, and stops everything that the mesh
// runs. If ctx ends first, it stops all the same and returns ctx's error;
// calls still under way go on without the mesh. Calls to unknown hosts pass
// through as before. Shutdown may be called again and then does nothing.
func (m *Mesh) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closing.Swap(true) {
		return nil
	}
	services := m.plan.Load().services
	for _, s := range services {
		s.orphan()
	}
	err := m.drain(ctx, services)
	for _, s := range services {
		s.close()
	}
	return err
}

func (m *Mesh) drain(ctx context.Context, services map[string]*service) error {
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

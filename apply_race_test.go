package tulle_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// Tests in this file change the configuration of a mesh that is at work.

// A configuration that is refused leaves no trace, whichever part of it has
// the fault and however much else in it is new.
func TestRefusedApplyChangesNothing(t *testing.T) {
	for name, spoil := range map[string]func(*tulle.Config){
		"a service without a resolver": func(c *tulle.Config) { c.Services = append(c.Services, tulle.Service{Name: "ratings"}) },
		"limits that contradict each other in a route for any service": func(c *tulle.Config) {
			c.Services[0].Policies.Timeout = 2 * time.Second
			c.Routes = []tulle.Route{{Name: "any", Policies: tulle.Policies{Retry: &retry.Policy{PerTry: 3 * time.Second}}}}
		},
		"a route to a subset that is gone": func(c *tulle.Config) {
			c.Routes = []tulle.Route{{Name: "all", Split: to(tulle.Destination{Service: "reviews", Subset: "v1"})}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				c := w.versions("v1", "v2")
				c.Routes = []tulle.Route{{Name: "all", Split: to(tulle.Destination{Service: "reviews", Subset: "v1"})}}
				m := w.mesh(c)
				require.Equal(w, "v1", w.get(m, "http://reviews/").body)
				synctest.Wait() // for the other subsets
				before := m.State()

				other := newSource()
				other.set(endpoint.Info{Addr: "10.0.0.9:80"})
				bad := from(other)
				bad.Services[0].Balancer = balancer.RoundRobin{}
				bad.Services[0].Protocol = tulle.H2C
				spoil(&bad)
				require.Error(w, m.Apply(bad))
				synctest.Wait()
				assert.Equal(w, before, m.State())
				assert.Zero(w, other.watched())
				assert.Equal(w, "v1", w.get(m, "http://reviews/").body)
				assert.Equal(w, 1, w.net.Opened("10.0.0.1:80"))
			})
		})
	}
}

// State shows one configuration or the other, at whatever moment it is asked.
func TestStateShowsOneConfigurationAtATime(t *testing.T) {
	inBubble(t, func(w *world) {
		whole, parted := one("10.0.0.1:80"), one("10.0.0.1:80")
		parted.Services[0].Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"v": "1"}}}
		parted.Routes = []tulle.Route{{Name: "all", Split: to(tulle.Destination{Service: "reviews", Subset: "v1"})}}
		m := w.mesh(whole)
		var wg sync.WaitGroup
		done := make(chan struct{})
		wg.Go(func() {
			defer close(done)
			for i := range 500 {
				assert.NoError(w, m.Apply([]tulle.Config{parted, whole}[i%2]))
			}
		})
		defer wg.Wait()
		for under := true; under; {
			select {
			case <-done:
				under = false
			default:
			}
			s := m.State()
			require.Len(w, s.Services[0].Subsets, len(s.Routes))
		}
	})
}

// A call that waits for an endpoint goes on waiting through a change of
// anything but the service's existence.
func TestWaitingCallsSurviveApply(t *testing.T) {
	for name, change := range map[string]func(c *tulle.Config, replacement *source){
		"balancer": func(c *tulle.Config, _ *source) { c.Services[0].Balancer = balancer.RoundRobin{} },
		"wire":     func(c *tulle.Config, _ *source) { c.Services[0].Protocol = tulle.H2C },
		"subsets": func(c *tulle.Config, _ *source) {
			c.Services[0].Subsets = append(c.Services[0].Subsets, tulle.Subset{Name: "v2", Labels: map[string]string{"version": "v2"}})
		},
		"labels": func(c *tulle.Config, _ *source) {
			c.Services[0].Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"version": "v1", "tier": "a"}}}
		},
		"resolver": func(c *tulle.Config, replacement *source) { c.Services[0].Resolver = replacement },
		"policies": func(c *tulle.Config, _ *source) { c.Policies = tulle.Recommended() },
		"services": func(c *tulle.Config, _ *source) {
			c.Services = append(c.Services, tulle.Service{Name: "ratings", Resolver: at("10.0.0.9:80")})
		},
		"routes": func(c *tulle.Config, _ *source) { c.Routes = nil },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{})
				src, replacement := newSource(), newSource()
				c := from(src)
				c.Services[0].Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"version": "v1"}}}
				c.Routes = []tulle.Route{{Name: "part", Match: prefix("/part"), Split: to(tulle.Destination{Service: "reviews", Subset: "v1"})}}
				m := w.mesh(c)
				var wg sync.WaitGroup
				for _, path := range []string{"/whole", "/part"} {
					wg.Go(func() {
						_, err := get(w.Context(), m, "http://reviews"+path)
						assert.NoError(w, err, path)
					})
				}
				synctest.Wait()
				change(&c, replacement)
				require.NoError(w, m.Apply(c))
				synctest.Wait()
				assert.EqualValues(w, 2, service(w, m, "reviews").Calls.Active, "both wait")
				info := endpoint.Info{Addr: "10.0.0.1:80", Labels: map[string]string{"version": "v1", "tier": "a"}}
				src.set(info)
				replacement.set(info)
				wg.Wait()
			})
		})
	}
}

// meddler is a policy during whose New something happens.
type meddler struct {
	balancer.RoundRobin
	during func()
}

func (p *meddler) New(env balancer.Env) balancer.Balancer {
	if env.Subset == "" {
		p.during()
	}
	return p.RoundRobin.New(env)
}

// There is no moment, while Apply is at work, at which a call finds less than
// either configuration gives it.
func TestCallsGoOnWhileApplyIsAtWork(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		w.serve("10.0.0.2:80", tulletest.Step{Body: "ratings"})
		src := newSource()
		c := from(src)
		c.Services[0].Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"version": "v1"}}}
		c.Services = append(c.Services, tulle.Service{Name: "ratings", Resolver: at("10.0.0.2:80")})
		m := w.mesh(c)
		require.Equal(w, "ratings", w.get(m, "http://ratings/").body)
		var wg sync.WaitGroup
		meddled := false
		// Services are taken over in the order of the configuration: by then
		// the first is done.
		c.Services[0].Balancer, c.Services[0].Subsets = balancer.RoundRobin{}, nil
		c.Services[1].Balancer = &meddler{during: func() {
			meddled = true
			assert.Equal(w, "ratings", w.get(m, "http://ratings/").body)
			wg.Go(func() { _, err := get(w.Context(), m, "http://reviews/"); assert.NoError(w, err) })
			synctest.Wait()
			assert.EqualValues(w, 1, service(w, m, "reviews").Calls.Active, "it waits for an endpoint")
		}}
		require.NoError(w, m.Apply(c))
		require.True(w, meddled)
		src.set(endpoint.Info{Addr: "10.0.0.1:80"})
		wg.Wait()
	})
}

// A call that waits for a service which the new configuration no longer has
// does not wait for ever, and neither does one that waits for a subset.
func TestCallsDoNotWaitForWhatIsGone(t *testing.T) {
	for name, change := range map[string]func(*tulle.Config){
		"service": func(c *tulle.Config) { *c = tulle.Config{} },
		"subset":  func(c *tulle.Config) { c.Services[0].Subsets, c.Routes = nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				c := from(newSource())
				c.Services[0].Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"version": "v1"}}}
				c.Routes = []tulle.Route{{Name: "part", Split: to(tulle.Destination{Service: "reviews", Subset: "v1"})}}
				m := w.mesh(c)
				change(&c)
				time.AfterFunc(time.Second, func() { assert.NoError(w, m.Apply(c)) })
				_, err := get(w.Context(), m, "http://reviews/")
				assert.Equal(w, outcome.NoEndpoint, asError(w, err).Reason)
			})
		})
	}
}

// A key of any kind is compared by its certificate: equal ones leave the
// endpoints alone, others do not.
func TestCertificatesAreComparedWhateverTheirKeys(t *testing.T) {
	inBubble(t, func(w *world) {
		_, key, err := ed25519.GenerateKey(nil)
		require.NoError(w, err)
		var wired atomic.Int64
		c := one("10.0.0.1:80")
		show := func(der byte) {
			c.Services[0].TLS = &tulle.TLS{Certificates: []tls.Certificate{{Certificate: [][]byte{{der}}, PrivateKey: key}}}
		}
		show(1)
		m := w.mesh(c, tulle.WithAttemptMiddleware(func(next http.RoundTripper) http.RoundTripper {
			wired.Add(1)
			return next
		}))
		require.NoError(w, m.Ready(w.Context()))
		show(1)
		require.NoError(w, m.Apply(c))
		assert.EqualValues(w, 1, wired.Load(), "equal")
		show(2)
		require.NoError(w, m.Apply(c))
		assert.EqualValues(w, 2, wired.Load(), "another")
	})
}

// The budgets of configurations past are not kept.
func TestBudgetsDoNotPileUp(t *testing.T) {
	inBubble(t, func(w *world) {
		c := one("10.0.0.1:80")
		m := w.mesh(c)
		for i := range 20 {
			c.Policies.Retry = &retry.Policy{Budget: retry.BudgetPolicy{MinPerSecond: i + 1}}
			require.NoError(w, m.Apply(c))
		}
		budgets := service(w, m, "reviews").Budgets
		require.Len(w, budgets, 1)
		assert.Equal(w, 20, budgets[0].MinPerSecond)
	})
}

// Calls never fail, hang or race while configurations come and go.
func TestApplyUnderLoad(t *testing.T) {
	inBubble(t, func(w *world) {
		for i := range 4 {
			w.serve(fmt.Sprintf("10.0.0.%d:80", i+1), tulletest.Step{Delay: time.Millisecond, Body: "ok"})
		}
		configs := []tulle.Config{one("10.0.0.1:80", "10.0.0.2:80"), one("10.0.0.3:80"), one("10.0.0.4:80", "10.0.0.1:80")}
		configs[1].Services[0].Protocol = tulle.H2C
		configs[2].Services[0].Balancer = balancer.RoundRobin{}
		configs[2].Services[0].Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"v": "1"}}}
		configs[2].Services = append(configs[2].Services, tulle.Service{Name: "other", Resolver: at("10.0.0.2:80")})
		m := w.mesh(configs[0])
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for range 50 {
					a, err := get(w.Context(), m, "http://reviews/")
					if assert.NoError(w, err) {
						assert.Equal(w, "ok", a.body)
					}
				}
			})
		}
		wg.Go(func() {
			for i := range 60 {
				time.Sleep(time.Millisecond)
				assert.NoError(w, m.Apply(configs[i%3]))
				_ = m.State()
			}
		})
		wg.Wait()
		s := service(w, m, "reviews")
		assert.Zero(w, s.Calls.Active)
		assert.EqualValues(w, 3200, s.Calls.Calls)
	})
}

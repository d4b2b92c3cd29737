package tulle_test

import (
	"context"
	"log/slog"
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
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// Tests in this file plug in code that does what it may, or should not.

// explosive panics where it is told to: as a classifier or as a balancer, at
// the headers or at the end of the body.
type explosive struct {
	balancer.RoundRobin
	outcome.HTTP
	at string
}

func (explosive) Validate() error { return nil }

func (x explosive) blow(at string) {
	if x.at == at {
		panic("boom")
	}
}

func (x explosive) Classify(resp *http.Response, err error) outcome.Outcome {
	x.blow("headers")
	return x.HTTP.Classify(resp, err)
}

func (x explosive) ClassifyEnd(o outcome.Outcome, resp *http.Response, err error) outcome.Outcome {
	x.blow("end")
	return x.HTTP.ClassifyEnd(o, resp, err)
}

func (x explosive) New(env balancer.Env) balancer.Balancer {
	return explosiveBalancer{x.RoundRobin.New(env), x}
}

type explosiveBalancer struct {
	balancer.Balancer
	explosive
}

func (b explosiveBalancer) Update(es []*endpoint.Endpoint) balancer.Picker {
	return explosivePicker{b.Balancer.Update(es), b.explosive}
}

func (b explosiveBalancer) Observe(_ *endpoint.Endpoint, r outcome.Result) {
	if r.Late {
		b.blow("late result")
	} else {
		b.blow("result")
	}
}

type explosivePicker struct {
	balancer.Picker
	explosive
}

func (p explosivePicker) Pick(q balancer.Query) *endpoint.Endpoint {
	p.blow("pick")
	return p.Picker.Pick(q)
}

// A panic in code that is plugged in reaches its owner and keeps nothing: no
// permit, no call, no response and so no connection.
func TestPanicKeepsNothing(t *testing.T) {
	boom := func(http.RoundTripper) http.RoundTripper {
		return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
			if r.Body != nil {
				r.Body.Close()
			}
			panic("boom")
		})
	}
	none, whole := tulletest.Step{Status: 204}, tulletest.Step{Body: "abcdef"}
	broken := tulletest.Step{Body: "abcdef", Fault: tulletest.ResetBody}
	endless := tulletest.Step{Body: "abcdef", BodyDelay: time.Hour}
	attemptDone := tulle.WithHooks(tulle.Hooks{AttemptDone: func(tulle.AttemptDone) { panic("boom") }})
	callDone := tulle.WithHooks(tulle.Hooks{CallDone: func(tulle.CallDone) { panic("boom") }})
	for name, row := range map[string]struct {
		step     tulletest.Step
		opt      tulle.Option
		balancer string
		judge    string
	}{
		"call middleware":                     {step: none, opt: tulle.WithMiddleware(boom)},
		"attempt middleware":                  {step: none, opt: tulle.WithAttemptMiddleware(boom)},
		"attempt hook":                        {step: none, opt: attemptDone},
		"attempt hook, body to come":          {step: endless, opt: attemptDone},
		"call hook":                           {step: none, opt: callDone},
		"call hook, after the body":           {step: whole, opt: callDone},
		"picker":                              {step: none, balancer: "pick"},
		"balancer told of a result":           {step: none, balancer: "result"},
		"balancer told, body to come":         {step: endless, balancer: "result"},
		"balancer told of a late result":      {step: broken, balancer: "late result"},
		"classifier":                          {step: none, judge: "headers"},
		"classifier, body to come":            {step: endless, judge: "headers"},
		"classifier at the end of no body":    {step: none, judge: "end"},
		"classifier at the end of a body":     {step: whole, judge: "end"},
		"classifier at the end of a bad body": {step: broken, judge: "end"},
	} {
		for armed, policies := range map[string]tulle.Policies{
			"": {}, ", retries armed": {Timeout: 24 * time.Hour, Retry: &retry.Policy{PerTry: time.Hour}},
		} {
			t.Run(name+armed, func(t *testing.T) {
				inBubble(t, func(w *world) {
					w.serve("10.0.0.1:80", row.step)
					c := one("10.0.0.1:80")
					c.Policies = policies
					if row.balancer != "" {
						c.Services[0].Balancer = explosive{at: row.balancer}
					}
					if row.judge != "" {
						c.Services[0].Classifier = explosive{at: row.judge}
					}
					opts := []tulle.Option{}
					if row.opt != nil {
						opts = append(opts, row.opt)
					}
					m := w.mesh(c, opts...)
					require.PanicsWithValue(w, "boom", func() { _, _ = do(w.Context(), m, "POST", "http://reviews/", "words") })
					synctest.Wait()
					m.Client().CloseIdleConnections()
					synctest.Wait()
					s := service(w, m, "reviews")
					assert.Zero(w, s.Calls.Active)
					for _, e := range s.Endpoints {
						assert.Zero(w, e.InFlight)
					}
					assert.Zero(w, w.net.Open("10.0.0.1:80"), "a connection is still in use")
				})
			})
		}
	}
}

// tally is a classifier that remembers what it saw.
type tally struct {
	outcome.HTTP
	mu   sync.Mutex
	seen map[int]int
}

func (c *tally) Classify(resp *http.Response, err error) outcome.Outcome {
	o := c.HTTP.Classify(resp, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[o.Status]++
	return o
}

// State names what is plugged in without looking into it: it may be at work.
func TestStateDoesNotLookIntoWhatIsPluggedIn(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		c := one("10.0.0.1:80")
		c.Services[0].Classifier = &tally{seen: map[int]int{}}
		c.Services[0].Balancer = &meddler{during: func() {}}
		m := w.mesh(c)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					_, err := get(w.Context(), m, "http://reviews/")
					assert.NoError(w, err)
				}
			})
		}
		defer wg.Wait()
		for range 200 {
			s := service(w, m, "reviews")
			require.Equal(w, "*tulle_test.tally", s.Classifier)
			require.Equal(w, "*tulle_test.meddler", s.Balancer)
		}
	})
}

// What is nil where something is needed is a fault with its path, and what is
// nil among options is a fault or the default: never a panic, then or later.
func TestNilIsAFaultOrTheDefault(t *testing.T) {
	for want, s := range map[string]tulle.Service{
		"resolver: is missing":                    {Name: "reviews"},
		"resolver: is a nil *discovery.Static":    {Name: "reviews", Resolver: (*discovery.Static)(nil)},
		"resolver: is a nil *discovery.Manual":    {Name: "reviews", Resolver: (*discovery.Manual)(nil)},
		"balancer: is a nil *balancer.RoundRobin": {Name: "reviews", Resolver: at(), Balancer: (*balancer.RoundRobin)(nil)},
		"classifier: is a nil *outcome.HTTP":      {Name: "reviews", Resolver: at(), Classifier: (*outcome.HTTP)(nil)},
	} {
		err := tulle.Config{Services: []tulle.Service{s}}.Validate()
		assert.ErrorContains(t, err, "services[0] (reviews): "+want)
	}
	for name, opt := range map[string]tulle.Option{
		"option": nil, "middleware": tulle.WithMiddleware(through, nil), "attempt middleware": tulle.WithAttemptMiddleware(nil),
	} {
		_, err := tulle.New(one("10.0.0.1:80"), opt)
		assert.ErrorContains(t, err, "nil", name)
	}
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "here"})
		m := w.mesh(one("10.0.0.1:80"), tulle.WithTransport((*http.Transport)(nil)), tulle.WithLogger(nil), tulle.WithRand(nil),
			tulle.WithHooks(tulle.Hooks{}), tulle.WithMiddleware(), tulle.WithDialer(nil), tulle.WithDialer(w.net.DialContext))
		assert.Equal(w, "here", w.get(m, "http://reviews/").body)
	})
}

// curious is plugged in at many places, and at each asks for the mesh's state.
type curious struct {
	balancer.RoundRobin
	slog.Handler
	mesh  *atomic.Pointer[tulle.Mesh]
	asked *sync.Map
}

func (c curious) ask(where string) {
	if m := c.mesh.Load(); m != nil {
		_ = m.State()
		c.asked.Store(where, true)
	}
}

func (c curious) Enabled(context.Context, slog.Level) bool { return true }

func (c curious) Handle(_ context.Context, r slog.Record) error {
	c.ask("logger: " + r.Message)
	return nil
}

func (c curious) wrap(next http.RoundTripper) http.RoundTripper {
	c.ask("attempt middleware")
	return next
}

// policy is the balancing policy in which New and Update ask.
func (c curious) policy() balancer.Policy { return &curiousPolicy{curious: c} }

type curiousPolicy struct{ curious }

func (p *curiousPolicy) New(env balancer.Env) balancer.Balancer {
	p.ask("policy")
	return &curiousBalancer{p.RoundRobin.New(env), p.curious}
}

type curiousBalancer struct {
	balancer.Balancer
	curious
}

func (b *curiousBalancer) Update(es []*endpoint.Endpoint) balancer.Picker {
	b.ask("balancer")
	return b.Balancer.Update(es)
}

// State takes no lock that is held while code plugged in is called.
func TestStateMayBeAskedFromAnywhere(t *testing.T) {
	inBubble(t, func(w *world) {
		nosy := curious{Handler: slog.DiscardHandler, mesh: new(atomic.Pointer[tulle.Mesh]), asked: new(sync.Map)}
		src := newSource()
		c := from(src)
		m := w.mesh(c, tulle.WithLogger(slog.New(nosy)), tulle.WithAttemptMiddleware(nosy.wrap))
		nosy.mesh.Store(m)
		c.Services[0].Balancer = nosy.policy()
		require.NoError(w, m.Apply(c))
		src.fail(context.DeadlineExceeded)
		src.set(endpoint.Info{Addr: "nonsense"}, endpoint.Info{Addr: "10.0.0.1:80"})
		synctest.Wait()
		c.Services[0].Protocol = tulle.H2C
		require.NoError(w, m.Apply(c))
		for _, where := range []string{
			"policy", "balancer", "attempt middleware", "logger: discovery failed, known endpoints stay in use",
			"logger: discovery recovered", "logger: endpoint left out",
		} {
			_, asked := nosy.asked.Load(where)
			assert.True(w, asked, where)
		}
	})
}

package tulle_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

func TestConnectionLimits(t *testing.T) {
	silent := func(w *world) {
		l, err := w.net.Listen("10.0.0.1:443")
		require.NoError(w, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				w.Cleanup(func() { c.Close() })
			}
		})
		w.Cleanup(func() { l.Close(); wg.Wait() })
	}
	for name, row := range map[string]struct {
		connection tulle.Connection
		want       time.Duration
		setup      func(*world)
		addr       string
		tls        *tulle.TLS
	}{
		"connect":              {tulle.Connection{ConnectTimeout: 3 * time.Second}, 3 * time.Second, func(w *world) { w.net.Blackhole("10.0.0.1:80") }, "10.0.0.1:80", nil},
		"connect, by default":  {tulle.Connection{}, time.Second, func(w *world) { w.net.Blackhole("10.0.0.1:80") }, "10.0.0.1:80", nil},
		"handshake":            {tulle.Connection{TLSTimeout: 7 * time.Second}, 7 * time.Second, silent, "10.0.0.1:443", &tulle.TLS{}},
		"handshake by default": {tulle.Connection{}, 5 * time.Second, silent, "10.0.0.1:443", &tulle.TLS{}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				row.setup(w)
				c := one(row.addr)
				c.Services[0].Connection, c.Services[0].TLS = row.connection, row.tls
				m := w.mesh(c)
				begin := time.Now()
				_, err := get(w.Context(), m, "http://reviews/")
				assert.Equal(w, outcome.ConnectTimeout, asError(w, err).Reason)
				assert.Equal(w, row.want, time.Since(begin))
				assert.EqualValues(w, 1, service(w, m, "reviews").Endpoints[0].Failed)
			})
		})
	}
}

func TestIdleConnections(t *testing.T) {
	run := func(c tulle.Connection, wait time.Duration) (open int) {
		inBubble(t, func(w *world) {
			w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Second})
			config := one("10.0.0.1:80")
			config.Services[0].Connection = c
			m := w.mesh(config)
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() { _, err := get(w.Context(), m, "http://reviews/"); assert.NoError(w, err) })
			}
			wg.Wait()
			time.Sleep(wait)
			synctest.Wait()
			open = w.net.Open("10.0.0.1:80")
		})
		return open
	}
	assert.Equal(t, 64, run(tulle.Connection{}, time.Second))
	assert.Equal(t, 3, run(tulle.Connection{MaxIdle: 3}, time.Second))
	assert.Equal(t, 64, run(tulle.Connection{}, 89*time.Second))
	assert.Zero(t, run(tulle.Connection{}, 91*time.Second))
	assert.Zero(t, run(tulle.Connection{IdleTimeout: time.Second}, 2*time.Second))
}

// learner is a policy that notes what it is told.
type learner struct {
	balancer.RoundRobin
	*lessons
}

type lessons struct {
	mu      sync.Mutex
	env     balancer.Env
	results []outcome.Result
	queries []balancer.Query
}

func (l learner) New(env balancer.Env) balancer.Balancer {
	l.env = env
	return &learning{l.RoundRobin.New(env), l.lessons}
}

type learning struct {
	balancer.Balancer
	*lessons
}

func (l *learning) Observe(_ *endpoint.Endpoint, r outcome.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results = append(l.results, r)
}

func (l *learning) Update(es []*endpoint.Endpoint) balancer.Picker {
	return noting{l.Balancer.Update(es), l.lessons}
}

type noting struct {
	balancer.Picker
	*lessons
}

func (n noting) Pick(q balancer.Query) *endpoint.Endpoint {
	n.mu.Lock()
	q.Avoid = append([]*endpoint.Endpoint(nil), q.Avoid...)
	n.queries = append(n.queries, q)
	n.mu.Unlock()
	return n.Picker.Pick(q)
}

// A policy of one's own learns of every result, and late ones again.
func TestBalancerLearns(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "abcdef", Fault: tulletest.ResetBody, Delay: time.Second,
			Header: http.Header{endpoint.LoadReportHeader: {"TEXT cpu_utilization=0.5"}}})
		w.serve("10.0.0.2:80", tulletest.Step{Status: 503})
		l := &lessons{}
		c := one("10.0.0.1:80", "10.0.0.2:80")
		c.Services[0].Balancer = learner{lessons: l}
		c.Policies = tulle.Recommended()
		m := w.mesh(c)
		for range 2 {
			_, _ = get(w.Context(), m, "http://reviews/")
		}
		assert.Equal(w, "reviews", l.env.Service)
		var late, failed, reported int
		for _, r := range l.results {
			switch {
			case r.Late:
				late++
				assert.Equal(w, outcome.Reset, r.Class)
			case r.Class.Failed():
				failed++
			default:
				assert.Equal(w, time.Second, r.Latency)
				assert.True(w, r.Reported)
				reported++
			}
		}
		assert.Equal(w, 2, late)
		assert.Equal(w, 2, reported)
		assert.GreaterOrEqual(w, failed, 1)
		for _, q := range l.queries {
			assert.Len(w, q.Avoid, q.Attempt-1, "a retry goes elsewhere")
			assert.False(w, q.Now.IsZero())
		}
	})
}

// An attempt is the affair of the balancer that picked for it, to the end.
func TestLateResultsGoToTheBalancerThatPicked(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "abcdef", BodyDelay: time.Minute, Fault: tulletest.ResetBody})
		first, second := &lessons{}, &lessons{}
		c := one("10.0.0.1:80")
		c.Services[0].Balancer = learner{lessons: first}
		m := w.mesh(c)
		resp, err := m.Client().Get("http://reviews/")
		require.NoError(w, err)
		c.Services[0].Balancer = learner{lessons: second}
		require.NoError(w, m.Apply(c))
		_, err = read(resp, nil)
		require.Error(w, err)
		assert.Len(w, first.results, 2)
		assert.Empty(w, second.results)
	})
}

// teapots is a classifier for which 418 is a failure of the endpoint.
type teapots struct{ outcome.HTTP }

func (t teapots) Classify(resp *http.Response, err error) outcome.Outcome {
	o := t.HTTP.Classify(resp, err)
	if o.Status == 418 {
		o.Class = outcome.ServerError
	}
	return o
}

func TestClassifierJudges(t *testing.T) {
	for want, classifier := range map[uint64]outcome.Classifier{0: nil, 1: teapots{}} {
		inBubble(t, func(w *world) {
			w.serve("10.0.0.1:80", tulletest.Step{Status: 418})
			c := one("10.0.0.1:80")
			c.Services[0].Classifier = classifier
			m := w.mesh(c)
			w.get(m, "http://reviews/")
			assert.Equal(w, want, service(w, m, "reviews").Endpoints[0].Failed)
		})
	}
}

func TestProtocols(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80", tulletest.Step{})
		for protocol, want := range map[tulle.Protocol]string{tulle.Auto: "HTTP/1.1", tulle.HTTP1: "HTTP/1.1", tulle.H2C: "HTTP/2.0"} {
			c := one("10.0.0.1:80")
			c.Services[0].Protocol = protocol
			m := w.mesh(c)
			w.get(m, "http://reviews/")
			all := s.Received()
			assert.Equal(w, want, all[len(all)-1].Proto, protocol.String())
		}
		c := one("10.0.0.1:80")
		c.Services[0].Protocol = tulle.HTTP2
		_, err := get(w.Context(), w.mesh(c), "http://reviews/")
		assert.Error(w, err, "there is no HTTP/2 without TLS but by h2c")
	})
}

// heedless picks at random, wherever the call has been.
type heedless struct{}

func (heedless) Validate() error                    { return nil }
func (heedless) New(balancer.Env) balancer.Balancer { return heedlessBalancer{} }

type heedlessBalancer struct{}

func (heedlessBalancer) Update(es []*endpoint.Endpoint) balancer.Picker { return heedlessPicker(es) }

type heedlessPicker []*endpoint.Endpoint

func (p heedlessPicker) Pick(q balancer.Query) *endpoint.Endpoint { return p[q.Draw%uint64(len(p))] }

package tulle_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// Whatever happens, in whatever order: every call ends once and is told
// once, every permit comes back, every request body is closed, and what is
// counted adds up.
func TestProofStorm(t *testing.T) {
	seeds := uint64(6)
	if os.Getenv("TULLE_PROOF") != "" {
		seeds = 150
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(w *world) { storm(w, seed) })
		})
	}
}

func storm(w *world, seed uint64) {
	draw := seeded(seed)
	roll := func(n uint64) int { return int(draw() % n) }
	var infos []endpoint.Info
	for i := range 5 {
		addr := fmt.Sprintf("10.0.0.%d:80", i+1)
		w.net.Serve(w.T, addr, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			(&tulletest.Script{Default: randomStep(roll)}).ServeHTTP(rw, r)
		}))
		infos = append(infos, endpoint.Info{Addr: addr, Labels: map[string]string{"half": fmt.Sprint(i % 2)}})
	}
	src := newSource()
	src.set(infos...)
	configs := make([]tulle.Config, 3)
	for i := range configs {
		configs[i] = from(src)
		s := &configs[i].Services[0]
		s.Protocol = []tulle.Protocol{tulle.HTTP1, tulle.H2C, tulle.H2C}[i]
		s.Subsets = []tulle.Subset{{Name: "half", Labels: map[string]string{"half": "0"}}}
		configs[i].Policies = tulle.Policies{
			Timeout: time.Duration(i) * 2 * time.Second,
			Retry:   &retry.Policy{Attempts: 3, PerTry: time.Second, BufferBody: 16, Idempotent: i == 1},
			Limit:   &breaker.Limit{InFlight: 200 - 80*i, Waiting: 20},
			Probe:   &health.Probe{Interval: time.Second},
		}
		if i > 0 {
			mode := outcome.Mode(roll(2))
			configs[i].Policies.Outliers = &health.Outliers{Mode: mode, BaseEjectionTime: time.Second}
			configs[i].Policies.EndpointBreaker = &breaker.Policy{Consecutive: 4, OpenFor: 500 * time.Millisecond}
			configs[i].Policies.Breaker = &breaker.Policy{FailureRate: .9, MinCalls: 10, OpenFor: 200 * time.Millisecond}
			s.Spread.SlowStart.Window = time.Second
		}
		configs[i].Routes = []tulle.Route{{Name: "split", Split: to(
			tulle.Destination{Service: "reviews", Weight: 2}, tulle.Destination{Service: "reviews", Subset: "half", Weight: 1})}}
	}
	var told, tries, open atomic.Int64
	m := w.mesh(configs[0], tulle.WithRand(draw), tulle.WithHooks(tulle.Hooks{
		CallDone:    func(d tulle.CallDone) { told.Add(1); tries.Add(int64(d.Attempts)) },
		AttemptDone: func(tulle.AttemptDone) { tries.Add(-1) },
	}))

	var wg sync.WaitGroup
	const calls = 600
	for i := range calls {
		time.Sleep(time.Duration(roll(10)) * time.Millisecond)
		wg.Go(func() { stormyCall(w, m, &open, rand.New(rand.NewPCG(seed, uint64(i)))) })
		switch roll(40) {
		case 0:
			assert.NoError(w, m.Apply(configs[roll(3)]))
		case 1:
			from := roll(4)
			src.set(infos[from : from+1+roll(uint64(5-from))]...)
		case 2:
			src.fail(io.ErrClosedPipe)
		case 3:
			_, _ = m.State(), m.Report()
		}
	}
	src.set(infos...) // for those who still wait for one
	wg.Wait()
	synctest.Wait()
	s := m.State()
	assert.EqualValues(w, calls, told.Load(), "calls told of")
	assert.Zero(w, tries.Load(), "attempts told of, less those of the calls")
	assert.Zero(w, open.Load(), "request bodies left open")
	assert.EqualValues(w, calls, s.Services[0].Calls.Calls)
	assert.EqualValues(w, calls, s.Routes[0].Calls.Calls)
	assert.Zero(w, s.Services[0].Calls.Active)
	assert.Zero(w, s.Routes[0].Calls.Active)
	for _, e := range s.Services[0].Endpoints {
		assert.Zero(w, e.InFlight, e.Addr)
	}
	for _, l := range s.Services[0].Limits {
		assert.Zero(w, l.InFlight)
		assert.Zero(w, l.Waiting)
	}
	var answered uint64
	for _, n := range s.Services[0].Calls.Status {
		answered += n
	}
	assert.NotZero(w, answered)
	assert.Less(w, answered, uint64(calls), "the storm must be one")
	require.NoError(w, m.Shutdown(w.Context()))
}

func stormyCall(w *world, m *tulle.Mesh, open *atomic.Int64, rng *rand.Rand) {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	switch rng.IntN(4) {
	case 0:
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(3000))*time.Millisecond)
		defer cancel()
	case 1:
		stop := time.AfterFunc(time.Duration(rng.IntN(2000))*time.Millisecond, cancel)
		defer stop.Stop()
	}
	var body io.Reader
	method := "GET"
	if rng.IntN(2) == 0 {
		method = "POST"
		open.Add(1)
		body = &counted{Reader: strings.NewReader(strings.Repeat("x", rng.IntN(40))), open: open}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://reviews/", body)
	assert.NoError(w, err)
	resp, err := m.Transport().RoundTrip(req)
	if err != nil {
		asError(w, err)
		return
	}
	assert.Same(w, req, resp.Request)
	switch rng.IntN(3) {
	case 0: // closed without a look
	case 1:
		_, _ = resp.Body.Read(make([]byte, 2))
	default:
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	_ = resp.Body.Close()
}

// counted is a body that counts itself as no longer open, once.
type counted struct {
	io.Reader
	once sync.Once
	open *atomic.Int64
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return nil
}

func randomStep(roll func(uint64) int) tulletest.Step {
	s := tulletest.Step{
		Status: []int{200, 200, 200, 204, 404, 429, 500, 503, 503}[roll(9)],
		Delay:  time.Duration(roll(1200)) * time.Millisecond,
	}
	if s.Status == 200 {
		s.Body = "some words"
		s.BodyDelay = time.Duration(roll(3)*roll(1000)) * time.Millisecond
	}
	s.Fault = []tulletest.Fault{0, 0, 0, 0, 0, 0, tulletest.Hang, tulletest.ResetHeader, tulletest.ResetBody, tulletest.Truncate}[roll(10)]
	s.KeepBody = roll(4) == 0
	return s
}

// A retry goes to another endpoint: with one of three that always fails, two
// attempts are enough for everybody. A policy that pays no heed to where the
// call has been shows what would happen otherwise.
func TestRetriesGoElsewhere(t *testing.T) {
	run := func(c tulle.Config) (failed int) {
		inBubble(t, func(w *world) {
			w.serve("10.0.0.1:80", tulletest.Step{Status: 503})
			w.serve("10.0.0.2:80", tulletest.Step{})
			w.serve("10.0.0.3:80", tulletest.Step{})
			c.Policies.Retry = &retry.Policy{Budget: retry.BudgetPolicy{Ratio: -1}}
			m := w.mesh(c)
			for range 500 {
				if w.get(m, "http://reviews/").status != 200 {
					failed++
				}
			}
		})
		return failed
	}
	c := one("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	assert.Zero(t, run(c))
	c.Services[0].Balancer = heedless{}
	assert.NotZero(t, run(c))
}

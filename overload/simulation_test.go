package overload_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/overload"
)

// server is one whose workers take turns at the requests that are in, each for
// a slice of the request's work, as a kernel does with threads. It does not
// notice that a caller has gone.
type server struct {
	workers int
	work    time.Duration // of a request, on the average
	slices  int
}

func (s server) capacity() float64 { return float64(s.workers) / s.work.Seconds() }

// fewWorkers are what most of this file is about: 800 requests a second.
func fewWorkers() server { return server{workers: 8, work: 10 * time.Millisecond, slices: 4} }

// scenario is a load from outside that does not wait for answers.
type scenario struct {
	server
	seed uint64
	// load is that offered, as a multiple of the capacity, at a moment.
	load func(at time.Duration) float64
	// patience is how long a caller waits for the answer.
	patience time.Duration
	// from is when what is served begins to count, to when it ends.
	from, to time.Duration
	// policy is nil for a server without a guard.
	policy *overload.Policy
}

// result is what became of it.
type result struct {
	// goodput is what was answered in time, as a part of the capacity.
	goodput float64
	// refusal is the mean wait of those refused.
	refusal time.Duration
	stats   overload.Stats
}

func constant(load float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return load }
}

func (s scenario) run(t *testing.T) (out result) {
	synctest.Test(t, func(t *testing.T) {
		var guard *overload.Guard
		if s.policy != nil {
			var err error
			guard, err = overload.New(*s.policy, overload.Options{CPU: func() float64 { return 0 }})
			require.NoError(t, err)
		}
		rng := rand.New(rand.NewPCG(s.seed, 0))
		turns := make(chan struct{}, s.workers)
		var mu sync.Mutex
		var served, refused int
		var waited time.Duration
		var wg sync.WaitGroup
		begin := time.Now()
		for {
			at := time.Since(begin)
			if at >= s.to {
				break
			}
			time.Sleep(time.Duration(rng.ExpFloat64() / (s.capacity() * s.load(at)) * float64(time.Second)))
			slice := time.Duration(rng.ExpFloat64() * float64(s.work) / float64(s.slices))
			wg.Go(func() {
				arrived := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), s.patience)
				defer cancel()
				if guard != nil {
					ticket, err := guard.Enter(ctx)
					if err != nil {
						mu.Lock()
						defer mu.Unlock()
						refused++
						waited += time.Since(arrived)
						return
					}
					defer func() { ticket.Leave(true) }()
				}
				for range s.slices {
					turns <- struct{}{}
					time.Sleep(slice)
					<-turns
				}
				if now := time.Since(begin); time.Since(arrived) <= s.patience && now >= s.from && now < s.to {
					mu.Lock()
					defer mu.Unlock()
					served++
				}
			})
		}
		if guard != nil {
			out.stats = guard.Stats()
		}
		wg.Wait()
		if guard != nil {
			end := guard.Stats()
			assert.Zero(t, end.InFlight, "in flight at the end")
			assert.Zero(t, end.Waiting, "waiting at the end")
		}
		out.goodput = float64(served) / (s.to - s.from).Seconds() / s.capacity()
		if refused > 0 {
			out.refusal = waited / time.Duration(refused)
		}
	})
	return out
}

// callers give up after a quarter of a second.
const patience = 250 * time.Millisecond

func overloaded(p *overload.Policy, seed uint64, load float64) scenario {
	return scenario{
		server: fewWorkers(), seed: seed, load: constant(load), patience: patience,
		from: 5 * time.Second, to: 12 * time.Second, policy: p,
	}
}

// Whatever is offered, what is served in time is nearly all that the server
// can do. Without a guard it is nothing.
func TestGoodput(t *testing.T) {
	for name, p := range map[string]*overload.Policy{"fixed": {MaxInFlight: 16}, "adaptive": {}} {
		const load = 4 // what is in between is in TestProofGoodput
		r := overloaded(p, 1, load).run(t)
		t.Logf("%s, %v x: %.3f of the capacity, refused after %v", name, load, r.goodput, r.refusal)
		assert.GreaterOrEqual(t, r.goodput, .9, "%s at %v x", name, load)
		assert.Less(t, r.refusal, patience/4, "who is refused has time to ask another")
		r = overloaded(p, 1, .5).run(t)
		assert.InDelta(t, .5, r.goodput, .02, name)
		assert.Zero(t, r.stats.Refused, "%s: a server with time to spare refuses nobody", name)
	}
	for _, load := range []float64{2, 4} {
		assert.Less(t, overloaded(nil, 1, load).run(t).goodput, .01, "negative control at %v x", load)
	}
	assert.InDelta(t, .5, overloaded(nil, 1, .5).run(t).goodput, .02, "the load alone does no harm")
}

// The limit that adapts finds its place again when the load changes.
func TestLimitFollowsTheLoad(t *testing.T) {
	step := func(at time.Duration) float64 {
		if at < 20*time.Second {
			return .5
		}
		return 4
	}
	s := scenario{server: fewWorkers(), seed: 1, load: step, patience: patience, from: 20 * time.Second, to: 30 * time.Second, policy: &overload.Policy{}}
	assert.GreaterOrEqual(t, s.run(t).goodput, .9)
	s.policy = nil
	assert.Less(t, s.run(t).goodput, .2, "negative control")

	// Handlers that wait for others do not slow each other down: the limit
	// rises beyond what is needed, and refuses nobody any more.
	waiting := scenario{
		server: server{workers: 1000, work: 100 * time.Millisecond, slices: 1},
		seed:   1, load: constant(.05), patience: time.Second, from: 40 * time.Second, to: 60 * time.Second, policy: &overload.Policy{},
	}
	r := waiting.run(t)
	assert.Greater(t, r.stats.Limit, 80)
	assert.InDelta(t, .05, r.goodput, .002)
}

// The long table: servers, policies, loads and seeds. The mean over the seeds
// is held; a limit that adapts wavers, so one of them may be a little less.
func TestProofGoodput(t *testing.T) {
	servers := map[string]server{"two": {workers: 2, work: 10 * time.Millisecond, slices: 4}}
	loads, seeds, until := []float64{1.2, 3}, uint64(1), 20*time.Second
	if os.Getenv("TULLE_PROOF") != "" {
		loads, seeds, until = []float64{.5, .8, 1, 1.2, 2, 3, 4}, 3, 90*time.Second
		servers["one"] = server{workers: 1, work: 2 * time.Millisecond, slices: 1}
		servers["slow"] = server{workers: 16, work: 50 * time.Millisecond, slices: 4}
		servers["eight"] = fewWorkers()
	}
	for name, sv := range servers {
		for policy, p := range map[string]*overload.Policy{
			"fixed": {MaxInFlight: 2 * sv.workers}, "adaptive": {}, "none": nil,
		} {
			for _, load := range loads {
				cell(t, fmt.Sprintf("%s, %s, %v x", name, policy, load), seeds, scenario{
					server: sv, load: constant(load), patience: max(patience, 10*sv.work), from: until / 6, to: until, policy: p,
				})
			}
		}
	}
}

// cell runs a scenario with each seed and checks what comes of it.
func cell(t *testing.T, name string, seeds uint64, s scenario) {
	load := s.load(0)
	least := .9 * min(1, load)
	if load == 1 {
		// Where exactly as much comes as can be served, chance leaves the server
		// idle now and overrun then.
		least = .85
	}
	if s.policy == nil {
		// It does not come back, and all that it has taken on is in memory.
		s.from, s.to = 5*time.Second, 15*time.Second
	}
	var sum float64
	for seed := range seeds {
		s.seed = seed
		r := s.run(t)
		sum += r.goodput
		line := fmt.Sprintf("%s, seed %d: %.3f of the capacity, limit %d, refused after %v", name, seed, r.goodput, r.stats.Limit, r.refusal)
		t.Log(line)
		switch {
		case s.policy != nil:
			assert.GreaterOrEqual(t, r.goodput, least-.05, line)
		case load >= 2:
			assert.Less(t, r.goodput, .01, "negative control: "+line)
		}
	}
	if s.policy != nil {
		assert.GreaterOrEqual(t, sum/float64(seeds), least, name)
	}
}

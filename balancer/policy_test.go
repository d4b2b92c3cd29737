package balancer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// fleet is a set of endpoints with their controls.
type fleet struct {
	eps      []*endpoint.Endpoint
	controls map[*endpoint.Endpoint]*endpoint.Control
}

// newFleet returns n endpoints in order of address; weight may be nil.
func newFleet(n int, weight func(i int) uint32) *fleet {
	f := &fleet{controls: map[*endpoint.Endpoint]*endpoint.Control{}}
	for i := range n {
		info := endpoint.Info{Addr: fmt.Sprintf("10.0.%03d.%03d:80", i/256, i%256)}
		if weight != nil {
			info.Weight = weight(i)
		}
		ep, control := endpoint.New(info, time.Unix(0, 0))
		f.eps = append(f.eps, ep)
		f.controls[ep] = control
	}
	return f
}

func weights(ws ...uint32) func(int) uint32 { return func(i int) uint32 { return ws[i] } }

// policies are held to the contract of Picker.
var policies = map[string]balancer.Policy{
	"round robin":              balancer.RoundRobin{},
	"weighted round robin":     balancer.WeightedRoundRobin{},
	"random":                   balancer.Random{},
	"least request":            balancer.LeastRequest{},
	"peak EWMA":                balancer.PeakEWMA{},
	"load-fed":                 balancer.LoadFed{},
	"ring hash":                balancer.RingHash{},
	"bounded ring hash":        balancer.RingHash{MinSize: 100, Bound: 1.25},
	"Maglev":                   balancer.Maglev{},
	"bounded small Maglev":     balancer.Maglev{TableSize: 251, Bound: 1},
	"rendezvous":               balancer.Rendezvous{},
	"bounded rendezvous":       balancer.Rendezvous{Bound: 1.5},
	"least request of 5":       balancer.LeastRequest{Choices: 5},
	"least request of the max": balancer.LeastRequest{Choices: 10},
}

// contract lists what every policy promises.
var contract = map[string]func(balancer.Policy) error{
	"observes whatever comes": observes,
	"is a comparable value, valid by default": func(p balancer.Policy) error {
		if !reflect.TypeOf(p).Comparable() || p != p {
			return errors.New("cannot be compared")
		}
		return p.Validate()
	},
	"picks from the set, and all of it": func(p balancer.Policy) error {
		return sizes(func(f *fleet, rnd *rand.Rand) error {
			picker := p.New(balancer.Env{Seed: rnd.Uint64()}).Update(f.eps)
			seen := map[*endpoint.Endpoint]bool{}
			for range 50 * len(f.eps) {
				ep := picker.Pick(balancer.Query{Draw: rnd.Uint64(), Attempt: 1, Hash: rnd.Uint64(), HasHash: rnd.IntN(2) == 0})
				if !slices.Contains(f.eps, ep) {
					return fmt.Errorf("%v is not in the set", ep)
				}
				seen[ep] = true
			}
			if len(seen) != len(f.eps) {
				return fmt.Errorf("%d of %d endpoints were never picked", len(f.eps)-len(seen), len(f.eps))
			}
			return nil
		})
	},
	"avoids what it can": func(p balancer.Policy) error {
		return sizes(func(f *fleet, rnd *rand.Rand) error {
			picker := p.New(balancer.Env{Seed: rnd.Uint64()}).Update(f.eps)
			for range 500 {
				avoid := pickSome(f.eps, rnd)
				ep := picker.Pick(balancer.Query{
					Draw: rnd.Uint64(), Attempt: 2, Avoid: avoid, Hash: rnd.Uint64(), HasHash: rnd.IntN(2) == 0,
				})
				if !slices.Contains(f.eps, ep) {
					return fmt.Errorf("%v is not in the set", ep)
				}
				if slices.Contains(avoid, ep) && len(avoid) < len(f.eps) {
					return fmt.Errorf("took one of %d to avoid of %d", len(avoid), len(f.eps))
				}
			}
			return nil
		})
	},
	"avoids what has gone": func(p balancer.Policy) error {
		f := newFleet(6, nil)
		picker := p.New(balancer.Env{}).Update(f.eps[:3])
		for draw := range uint64(100) {
			ep := picker.Pick(balancer.Query{Draw: draw, Avoid: f.eps[2:]})
			if ep != f.eps[0] && ep != f.eps[1] {
				return fmt.Errorf("took %s", ep.Addr())
			}
		}
		return nil
	},
	"repeats itself for the same seed": func(p balancer.Policy) error {
		return sizes(func(f *fleet, rnd *rand.Rand) error {
			seed := rnd.Uint64()
			a, b := p.New(balancer.Env{Seed: seed}).Update(f.eps), p.New(balancer.Env{Seed: seed}).Update(f.eps)
			for range 200 {
				q := balancer.Query{
					Draw: rnd.Uint64(), Avoid: pickSome(f.eps, rnd), Hash: rnd.Uint64(), HasHash: rnd.IntN(2) == 0,
				}
				if a.Pick(q) != b.Pick(q) {
					return errors.New("different choices")
				}
			}
			return nil
		})
	},
	"changes nothing that it was given": func(p balancer.Policy) error {
		return sizes(func(f *fleet, rnd *rand.Rand) error {
			before := slices.Clone(f.eps)
			avoid := pickSome(f.eps, rnd)
			avoided := slices.Clone(avoid)
			b := p.New(balancer.Env{})
			for range 3 {
				picker := b.Update(f.eps)
				for range 50 {
					picker.Pick(balancer.Query{Draw: rnd.Uint64(), Avoid: avoid})
				}
			}
			if !slices.Equal(f.eps, before) || !slices.Equal(avoid, avoided) {
				return errors.New("a slice was changed")
			}
			return nil
		})
	},
	"picks from the newest set": func(p balancer.Policy) error {
		f := newFleet(20, nil)
		b := p.New(balancer.Env{})
		for n := range uint64(15) {
			set := f.eps[n : n+5]
			picker := b.Update(set)
			for draw := range uint64(50) {
				if ep := picker.Pick(balancer.Query{Draw: draw*1e9 + n}); !slices.Contains(set, ep) {
					return fmt.Errorf("%s is of an older set", ep.Addr())
				}
			}
		}
		return nil
	},
	"picks while the set changes": func(p balancer.Policy) error {
		f := newFleet(50, func(i int) uint32 { return uint32(i % 3) })
		b := p.New(balancer.Env{Seed: 1})
		pickers := make(chan balancer.Picker)
		var wg sync.WaitGroup
		var failed sync.Once
		var err error
		for g := range uint64(4) {
			wg.Go(func() {
				draw := g << 40
				for picker := range pickers {
					for range 200 {
						draw++
						ep := picker.Pick(balancer.Query{Draw: draw, Avoid: f.eps[:1], Hash: draw, HasHash: draw%2 == 0})
						if control := f.controls[ep]; control == nil || ep == f.eps[0] {
							failed.Do(func() { err = errors.New("not of the set") })
						} else {
							control.Begin()
							control.End()
						}
					}
				}
			})
		}
		for i := range 100 {
			pickers <- b.Update(f.eps[:2+i%49])
		}
		close(pickers)
		wg.Wait()
		return err
	},
}

// observes holds a Balancer that wants to learn to the contract of Observer:
// results come from many goroutines while others pick and the set changes,
// of endpoints that have gone or were never there, and once or twice.
func observes(p balancer.Policy) error {
	f := newFleet(6, nil)
	b := p.New(balancer.Env{Seed: 1})
	observer, ok := b.(balancer.Observer)
	if !ok {
		return nil
	}
	var wg sync.WaitGroup
	var failed sync.Once
	var err error
	for g := range 4 {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					failed.Do(func() { err = fmt.Errorf("panic: %v", v) })
				}
			}()
			for i := range 500 {
				result := outcome.Result{
					Outcome: outcome.Outcome{Class: outcome.Class(i % 8)},
					At:      time.Unix(int64(i), 0), Latency: time.Duration(i-10) * time.Millisecond,
					Cut: i%3 == 0, Reported: i%2 == 0, Late: i%5 == 0,
				}
				observer.Observe(f.eps[(g+i)%6], result)
			}
		})
	}
	for i := range 100 {
		set := f.eps[i%3 : 3+i%3]
		if ep := b.Update(set).Pick(balancer.Query{Draw: uint64(i)}); !slices.Contains(set, ep) {
			failed.Do(func() { err = errors.New("picked what is not in the set") })
		}
	}
	wg.Wait()
	return err
}

// sizes runs a check over sets of many sizes, with equal and other weights.
func sizes(check func(*fleet, *rand.Rand) error) error {
	for _, n := range []int{1, 2, 3, 5, 10, 40} {
		for name, weight := range map[string]func(int) uint32{
			"equal": nil, "mixed": func(i int) uint32 { return uint32(1 + i%3) },
		} {
			rnd := rand.New(rand.NewPCG(uint64(n), 7))
			if err := check(newFleet(n, weight), rnd); err != nil {
				return fmt.Errorf("%d endpoints of %s weight: %w", n, name, err)
			}
		}
	}
	return nil
}

// pickSome returns any number of the endpoints, in any order.
func pickSome(eps []*endpoint.Endpoint, rnd *rand.Rand) []*endpoint.Endpoint {
	some := slices.Clone(eps)
	rnd.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some[:rnd.IntN(len(some)+1)]
}

func TestPolicies(t *testing.T) {
	for name, p := range policies {
		t.Run(name, func(t *testing.T) {
			for promise, check := range contract {
				if err := check(p); err != nil {
					t.Errorf("%s: %v", promise, err)
				}
			}
		})
	}
}

// One endpoint that outweighs the others by far is avoided nevertheless, and
// what is left shares by weight.
func TestAvoidAHeavyEndpoint(t *testing.T) {
	for name, p := range policies {
		f := newFleet(4, weights(60000, 3, 1, 2))
		picker := p.New(balancer.Env{Seed: 3}).Update(f.eps)
		rnd := rand.New(rand.NewPCG(1, 2))
		counts := map[*endpoint.Endpoint]int{}
		for range 6000 {
			counts[picker.Pick(balancer.Query{Draw: rnd.Uint64(), Avoid: f.eps[:1]})]++
		}
		if counts[f.eps[0]] > 0 {
			t.Errorf("%s: took the one to avoid", name)
		}
		if name != "round robin" && name != "random" {
			continue
		}
		for i, want := range []int{0, 3000, 1000, 2000} {
			if got := counts[f.eps[i]]; got < want*85/100 || got > want*115/100 {
				t.Errorf("%s: endpoint %d: %d picks, want about %d", name, i, got, want)
			}
		}
	}
}

// faulty is a policy made of one function: the negative controls.
type faulty struct {
	name  string
	fails string
	pick  func(eps []*endpoint.Endpoint, q balancer.Query) *endpoint.Endpoint
}

type faultyPolicy struct{ *faulty }

func (p faultyPolicy) New(balancer.Env) balancer.Balancer { return &faultyBalancer{faulty: p.faulty} }
func (p faultyPolicy) Validate() error                    { return nil }

type faultyBalancer struct {
	*faulty
	eps []*endpoint.Endpoint
}

func (b *faultyBalancer) Update(eps []*endpoint.Endpoint) balancer.Picker {
	if b.eps == nil || b.name != "stale" {
		b.eps = eps
	}
	return faultyPicker{b.faulty, b.eps}
}

type faultyPicker struct {
	*faulty
	eps []*endpoint.Endpoint
}

func (p faultyPicker) Pick(q balancer.Query) *endpoint.Endpoint { return p.pick(p.eps, q) }

// learning is a policy that wants to learn.
type learning struct {
	balancer.RoundRobin
	careful bool
}

func (p learning) New(env balancer.Env) balancer.Balancer {
	return &learner{Balancer: p.RoundRobin.New(env), careful: p.careful}
}

type learner struct {
	balancer.Balancer
	careful bool
	known   atomic.Pointer[map[*endpoint.Endpoint]*atomic.Int64]
}

func (l *learner) Update(eps []*endpoint.Endpoint) balancer.Picker {
	known := map[*endpoint.Endpoint]*atomic.Int64{}
	for _, ep := range eps {
		known[ep] = new(atomic.Int64)
	}
	l.known.Store(&known)
	return l.Balancer.Update(eps)
}

func (l *learner) Observe(ep *endpoint.Endpoint, r outcome.Result) {
	known := l.known.Load()
	if l.careful && (known == nil || (*known)[ep] == nil) {
		return
	}
	(*known)[ep].Store(int64(r.Latency))
}

func TestContractOfObservers(t *testing.T) {
	if err := observes(learning{careful: true}); err != nil {
		t.Error(err)
	}
	if observes(learning{careful: false}) == nil {
		t.Error("a fall over an endpoint that has gone goes unnoticed")
	}
}

func TestContractNoticesFaultyPolicies(t *testing.T) {
	stranger := newFleet(1, nil).eps[0]
	anyOf := func(eps []*endpoint.Endpoint, q balancer.Query) *endpoint.Endpoint {
		return eps[q.Draw%uint64(len(eps))]
	}
	for _, f := range []faulty{
		{"first", "picks from the set, and all of it", func(eps []*endpoint.Endpoint, _ balancer.Query) *endpoint.Endpoint { return eps[0] }},
		{"stranger", "picks from the set, and all of it", func([]*endpoint.Endpoint, balancer.Query) *endpoint.Endpoint { return stranger }},
		{"careless", "avoids what it can", anyOf},
		{"one try", "avoids what it can", func(eps []*endpoint.Endpoint, q balancer.Query) *endpoint.Endpoint {
			if ep := anyOf(eps, q); !q.Avoids(ep) {
				return ep
			}
			q.Draw >>= 32
			return anyOf(eps, q)
		}},
		{"forgetful", "repeats itself for the same seed", func(eps []*endpoint.Endpoint, _ balancer.Query) *endpoint.Endpoint {
			return eps[rand.IntN(len(eps))]
		}},
		{"sorting", "changes nothing that it was given", func(eps []*endpoint.Endpoint, _ balancer.Query) *endpoint.Endpoint {
			slices.SortFunc(eps, func(a, b *endpoint.Endpoint) int { return strings.Compare(b.Addr(), a.Addr()) })
			return eps[0]
		}},
		{"stale", "picks from the newest set", anyOf},
	} {
		if err := contract[f.fails](faultyPolicy{&f}); err == nil {
			t.Errorf("%s: nothing noticed by %q", f.name, f.fails)
		}
	}
}

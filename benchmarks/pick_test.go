package benchmarks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dgryski/go-rendezvous"
	"github.com/go-kratos/kratos/v2/registry"
	"github.com/go-kratos/kratos/v2/selector"
	"github.com/go-kratos/kratos/v2/selector/p2c"
	"github.com/go-kratos/kratos/v2/selector/random"
	"github.com/go-kratos/kratos/v2/selector/wrr"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/balancer/leastrequest"
	"google.golang.org/grpc/balancer/ringhash"
	"google.golang.org/grpc/balancer/roundrobin"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/xxh64"
	"github.com/tulle-mesh/tulle/outcome"
)

// pickers choose among n endpoints and are told when the attempt is over. Each
// finds its own chance, its own time and the hash of a key, as it would in a
// call.
func pickers() []part {
	return []part{
		{"round_robin", "tulle", ours(balancer.RoundRobin{}, equal)},
		{"round_robin", "grpc", theirs(roundrobin.Name, `{}`)},
		{"round_robin,_weights_1_to_7", "tulle", ours(balancer.RoundRobin{}, upTo7)},
		{"round_robin,_weights_1_to_7", "kratos_wrr", kratos(wrr.NewBuilder(), upTo7)},
		{"weighted_round_robin,_reported_1_to_7", "tulle", reporting},
		{"weighted_round_robin,_reported_1_to_7", "grpc", theirsReporting},
		{"random", "tulle", ours(balancer.Random{}, equal)},
		{"random", "kratos", kratos(random.NewBuilder(), equal)},
		{"least_request_of_2", "tulle", ours(balancer.LeastRequest{}, equal)},
		{"least_request_of_2", "grpc", theirs(leastrequest.Name, `{"choiceCount":2}`)},
		{"peak_EWMA", "tulle", ours(balancer.PeakEWMA{}, equal)},
		{"peak_EWMA", "kratos_p2c", kratos(p2c.NewBuilder(), equal)},
		{"ring_hash", "tulle", ours(balancer.RingHash{}, equal)},
		{"ring_hash", "grpc", theirs(ringhash.Name, `{"requestHashHeader":"`+keyField+`"}`)},
		{"rendezvous", "tulle", ours(balancer.Rendezvous{}, equal)},
		{"rendezvous", "dgryski", dgryski},
		{"Maglev", "tulle", ours(balancer.Maglev{}, equal)},
	}
}

func BenchmarkPick(b *testing.B) {
	benchmarkParts(b, pickers(),
		partCase{name: "10_serial", n: 10}, partCase{name: "1000_serial", n: 1000},
		partCase{name: "10_parallel", n: 10, goroutines: 1}, partCase{name: "1000_parallel", n: 1000, goroutines: 1})
}

// Every picker reaches every endpoint, and one that hashes always the same for
// a key.
func TestPickers(t *testing.T) {
	const n = 10
	for _, p := range pickers() {
		t.Run(p.sort+"/"+p.name, func(t *testing.T) {
			pick, reached := p.start(t, n)(), map[string]int{}
			byKey := map[int]string{}
			for i := range 3 * len(keys) {
				addr, err := pick(i)
				require.NoError(t, err)
				require.NotEmpty(t, addr)
				reached[addr]++
				if p.sort == "ring_hash" || p.sort == "rendezvous" || p.sort == "Maglev" {
					key := i % len(keys)
					if before, ok := byKey[key]; ok {
						require.Equal(t, before, addr, "key %d", key)
					}
					byKey[key] = addr
				}
			}
			require.Len(t, reached, n)
			if strings.HasSuffix(p.sort, "1_to_7") {
				for i := range n {
					// The weights of ten add up to 34.
					require.InDelta(t, 3*len(keys)*int(upTo7(i))/34, reached[addr(i)], 5, "endpoint %d", i)
				}
			}
		})
	}
}

// keys are what calls are hashed by, in turn.
var keys = func() (k [1024]string) {
	for i := range k {
		k[i] = fmt.Sprintf("user-%d", i)
	}
	return k
}()

// keyField is the name of the header field that has the key.
const keyField = "x-user"

func addr(i int) string { return fmt.Sprintf("10.0.%03d.%03d:80", i/256, i%256) }

func equal(int) uint32   { return 1 }
func upTo7(i int) uint32 { return uint32(1 + i%7) }

// ours does what an attempt of the mesh does: it picks, counts the attempt in
// flight and tells a Balancer that learns how long it took.
func ours(p balancer.Policy, weight func(int) uint32) func(testing.TB, int) asked {
	return func(tb testing.TB, n int) asked {
		eps, controls := make([]*endpoint.Endpoint, n), map[*endpoint.Endpoint]*endpoint.Control{}
		for i := range eps {
			ep, control := endpoint.New(endpoint.Info{Addr: addr(i), Weight: weight(i)}, time.Now())
			eps[i], controls[ep] = ep, control
		}
		b := p.New(balancer.Env{Seed: rand.Uint64()})
		picker := b.Update(eps)
		observer, learns := b.(balancer.Observer)
		hashes := false
		switch p.(type) {
		case balancer.RingHash, balancer.Rendezvous, balancer.Maglev:
			hashes = true
		}
		return alone(func(i int) (string, error) {
			q := balancer.Query{Draw: rand.Uint64()}
			if hashes {
				q.Hash, q.HasHash = xxh64.Sum(keys[i%len(keys)], 0), true
			}
			if learns {
				q.Now = time.Now()
			}
			ep := picker.Pick(q)
			control := controls[ep]
			control.Begin()
			if learns {
				now := time.Now()
				observer.Observe(ep, outcome.Result{Outcome: outcome.Outcome{Class: outcome.Success}, At: now, Latency: now.Sub(q.Now)})
			}
			control.End()
			return ep.Addr(), nil
		})
	}
}

// reporting is a balancer of ours that is told of a report at the end of each
// call: that its endpoints could do from 1 to 7 times as much as another. Who
// reads reports pays for that, so they are there from the beginning.
func reporting(tb testing.TB, n int) asked {
	eps, controls := make([]*endpoint.Endpoint, n), map[*endpoint.Endpoint]*endpoint.Control{}
	b := balancer.WeightedRoundRobin{BlackoutPeriod: -1, WeightExpirationPeriod: -1}.New(balancer.Env{Seed: rand.Uint64()})
	now := time.Now()
	for i := range eps {
		ep, control := endpoint.New(endpoint.Info{Addr: addr(i)}, now)
		control.Report(endpoint.LoadReport{RPS: able(i), CPU: 0.5}, now)
		eps[i], controls[ep] = ep, control
	}
	b.Update(eps)
	answered := func(ep *endpoint.Endpoint) {
		b.(balancer.Observer).Observe(ep, outcome.Result{Outcome: outcome.Outcome{Class: outcome.Success}, At: time.Now(), Reported: true})
	}
	for _, ep := range eps {
		answered(ep)
	}
	picker := b.Update(eps)
	return alone(func(int) (string, error) {
		ep := picker.Pick(balancer.Query{Draw: rand.Uint64(), Now: time.Now()})
		control := controls[ep]
		control.Begin()
		answered(ep)
		control.End()
		return ep.Addr(), nil
	})
}

// able is how many requests a second the i-th endpoint reports at a
// utilization of a half.
func able(i int) float64 { return 100 * float64(upTo7(i)) }

func kratos(builder selector.Builder, weight func(int) uint32) func(testing.TB, int) asked {
	return func(tb testing.TB, n int) asked {
		all := make([]selector.Node, n)
		for i := range all {
			all[i] = selector.NewNode("http", addr(i), &registry.ServiceInstance{Metadata: map[string]string{"weight": fmt.Sprint(weight(i))}})
		}
		s := builder.Build()
		s.Apply(all)
		ctx := context.Background()
		return alone(func(int) (string, error) {
			chosen, done, err := s.Select(ctx)
			if err != nil {
				return "", err
			}
			done(ctx, selector.DoneInfo{})
			return chosen.Address(), nil
		})
	}
}

// dgryski hashes a key and does not count what is in flight.
func dgryski(tb testing.TB, n int) asked {
	addrs := make([]string, n)
	for i := range addrs {
		addrs[i] = addr(i)
	}
	r := rendezvous.New(addrs, func(s string) uint64 { return xxh64.Sum(s, 0) })
	return alone(func(i int) (string, error) { return r.Lookup(keys[i%len(keys)]), nil })
}

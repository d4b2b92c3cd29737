// Chance without concurrency: the race detector would only take its time.

//go:build !race

package balancer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

func TestHashedCallsStick(t *testing.T) {
	// What differs between calls and processes other than the hash.
	sticks := func(p balancer.Policy) error {
		ws := func(i int) uint32 { return uint32(1 + i%4) }
		a, b := newFleet(30, ws), newFleet(30, ws)
		before := p.New(balancer.Env{Seed: 1, Service: "a"}).Update(a.eps)
		later := p.New(balancer.Env{Seed: 2, Service: "b"})
		later.Update(b.eps[:7])
		after := later.Update(b.eps)
		for i := range 2000 {
			first := before.Pick(balancer.Query{Hash: keyHash(i), HasHash: true, Draw: uint64(i), Attempt: 1})
			again := after.Pick(balancer.Query{Hash: keyHash(i), HasHash: true, Draw: ^uint64(i), Attempt: 3, Now: time.Unix(int64(i), 0)})
			if first.Addr() != again.Addr() {
				return fmt.Errorf("key %d is at %s and at %s", i, first.Addr(), again.Addr())
			}
		}
		return nil
	}
	for name, p := range hashing {
		if err := sticks(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if sticks(balancer.Random{}) == nil {
		t.Error("chance sticks")
	}
}

// The choices are the same in every process, on every machine and in every
// version: first, second and third of 40 keys.
func TestHashedChoicesAreGolden(t *testing.T) {
	f := newFleet(8, weights(1, 2, 3, 1, 2, 3, 1, 5))
	golden := map[string]string{
		"ring hash": "327 245 602 712 743 217 576 724 457 253 241 725 753 257 723 573 217 257 072 453 " +
			"423 256 530 347 743 374 167 567 751 047 250 746 153 502 510 317 274 125 267 170",
		"Maglev": "153 724 257 231 760 720 574 527 507 375 273 206 207 147 315 431 514 271 017 532 " +
			"134 137 234 526 537 275 207 502 724 175 756 437 732 537 421 125 701 752 027 701",
		"rendezvous": "435 670 172 162 715 274 715 071 742 572 542 175 746 265 721 715 417 217 374 524 " +
			"027 075 257 271 725 756 723 762 072 672 467 314 621 751 762 617 451 270 752 721",
	}
	for name, p := range hashing {
		picker := p.New(balancer.Env{Seed: 99}).Update(f.eps)
		var got strings.Builder
		for i := range 40 {
			q := balancer.Query{Hash: keyHash(i), HasHash: true}
			for len(q.Avoid) < 3 {
				q.Avoid = append(q.Avoid, picker.Pick(q))
				fmt.Fprint(&got, slices.Index(f.eps, q.Avoid[len(q.Avoid)-1]))
			}
			got.WriteByte(' ')
		}
		if strings.TrimSpace(got.String()) != golden[name] {
			t.Errorf("%s: %s", name, got.String())
		}
	}
}

func TestCallsWithoutAHashAreSpread(t *testing.T) {
	ws := []uint32{1, 2, 3, 4, 5, 5, 4, 3, 2, 1}
	f := newFleet(len(ws), weights(ws...))
	for name, p := range hashing {
		if x := chiSquare(f.count(real(p, f), 8, 100000), ws); x > 27.9 {
			t.Errorf("%s: χ² %.1f", name, x)
		}
	}
	// Negative control: the hash of a call that has none.
	if chiSquare(f.count(real(modulo, f), 8, 100000), ws) <= 27.9 {
		t.Error("calls that all go to one pass")
	}
}

// Each attempt of a hashed call goes elsewhere until all were tried, and to
// the same place as any other call that has been where it has.
func TestHashedRetriesLandElsewhere(t *testing.T) {
	follows := func(p balancer.Policy) error {
		f := newFleet(10, func(i int) uint32 { return uint32(1 + i%2) })
		a, b := p.New(balancer.Env{Seed: 1}).Update(f.eps), p.New(balancer.Env{Seed: 2}).Update(f.eps)
		rnd := rand.New(rand.NewPCG(4, 4))
		seconds := map[[2]*endpoint.Endpoint]bool{}
		for i := range 1000 {
			var avoid []*endpoint.Endpoint
			for n := range f.eps {
				q := balancer.Query{Hash: keyHash(i), HasHash: true, Draw: rnd.Uint64(), Attempt: n + 1, Avoid: avoid}
				ep := a.Pick(q)
				q.Draw, q.Avoid = rnd.Uint64(), slices.Clone(avoid)
				rnd.Shuffle(len(avoid), func(i, j int) { q.Avoid[i], q.Avoid[j] = q.Avoid[j], q.Avoid[i] })
				if other := b.Pick(q); other != ep {
					return fmt.Errorf("key %d, attempt %d: %s or %s", i, n+1, ep.Addr(), other.Addr())
				}
				if slices.Contains(avoid, ep) {
					return fmt.Errorf("key %d, attempt %d: %s again", i, n+1, ep.Addr())
				}
				if avoid = append(avoid, ep); n == 1 {
					seconds[[2]*endpoint.Endpoint(avoid)] = true
				}
			}
		}
		// What one endpoint leaves does not fall on one other.
		if len(seconds) < 60 {
			return fmt.Errorf("only %d of 90 ways from a first to a second", len(seconds))
		}
		return nil
	}
	for name, p := range hashing {
		if err := follows(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range []balancer.Policy{balancer.Random{}, modulo} {
		if follows(p) == nil {
			t.Errorf("%T passes", p)
		}
	}
}

// moved returns which part of the keys has moved between two sets, and which
// part has moved though neither its old nor its new endpoint came or went.
func moved(p balancer.Policy, from, to []*endpoint.Endpoint) (all, needless float64) {
	const keys = 20000
	before, after := owners(p, from, keys), owners(p, to, keys)
	in := func(eps []*endpoint.Endpoint, addr string) bool {
		return slices.ContainsFunc(eps, func(ep *endpoint.Endpoint) bool { return ep.Addr() == addr })
	}
	for i := range before {
		if before[i] != after[i] {
			all++
			if in(to, before[i]) && in(from, after[i]) {
				needless++
			}
		}
	}
	return all / keys, needless / keys
}

func TestHashingMovesFewKeys(t *testing.T) {
	// How much of 1/n moves at most, and how much of that without need.
	for name, most := range map[string][2]float64{"ring hash": {2.5, 1.5}, "Maglev": {1.8, 0.8}, "rendezvous": {1.3, 0}} {
		few := func(p balancer.Policy) error {
			for _, n := range []int{5, 20, 100} {
				eps := newFleet(n, nil).eps
				for _, gone := range []int{0, n / 2, n - 1} {
					without := slices.Delete(slices.Clone(eps), gone, gone+1)
					for what, sets := range map[string][2][]*endpoint.Endpoint{"gone": {eps, without}, "come": {without, eps}} {
						all, needless := moved(p, sets[0], sets[1])
						if share := 1 / float64(n); all > most[0]*share || needless > most[1]*share {
							return fmt.Errorf("%d of %d has %s: %.4f of the keys move, %.4f without need", gone, n, what, all, needless)
						}
					}
				}
			}
			return nil
		}
		if err := few(hashing[name]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if few(modulo) == nil {
			t.Errorf("%s: hash modulo n passes", name)
		}
	}
}

// A changed weight moves keys to or from that endpoint only.
func TestRendezvousMovesNothingElseForAWeight(t *testing.T) {
	const changed = 3
	needless := func(p balancer.Policy) (n int) {
		a, b := newFleet(10, nil), newFleet(10, func(i int) uint32 { return map[bool]uint32{true: 4, false: 1}[i == changed] })
		before, after := owners(p, a.eps, 20000), owners(p, b.eps, 20000)
		for i := range before {
			if before[i] != after[i] && after[i] != b.eps[changed].Addr() {
				n++
			}
		}
		return n
	}
	if n := needless(balancer.Rendezvous{}); n > 0 {
		t.Errorf("%d keys moved elsewhere", n)
	}
	if needless(balancer.RingHash{}) == 0 {
		t.Error("the ring moves none, so nothing was tested")
	}
}

const evenKeys = 100_000

// evenness returns the least and the greatest part of a fair share of the
// keys that any endpoint has.
func evenness(p balancer.Policy, f *fleet) (least, most float64) {
	counts, total := map[string]float64{}, 0.0
	for _, addr := range owners(p, f.eps, evenKeys) {
		counts[addr]++
	}
	for _, ep := range f.eps {
		total += float64(ep.Weight())
	}
	least = math.Inf(1)
	for _, ep := range f.eps {
		share := counts[ep.Addr()] / evenKeys / (float64(ep.Weight()) / total)
		least, most = min(least, share), max(most, share)
	}
	return least, most
}

func TestHashingIsEven(t *testing.T) {
	for name, ws := range map[string]func(int) uint32{"equal": nil, "mixed": func(i int) uint32 { return uint32(1 + i%3) }} {
		for _, n := range []int{3, 10, 50} {
			// So many keys leave a deviation of √(n/keys), 2.2 % of a share at
			// 50 endpoints, and of √2 times that at half the mean weight. Four
			// are allowed.
			noise := 4 * math.Sqrt(2*float64(n)/evenKeys)
			for policy, slack := range map[string]float64{"ring hash": 0.65, "Maglev": 0.02, "rendezvous": 0} {
				even := func(p balancer.Policy) bool {
					least, most := evenness(p, newFleet(n, ws))
					t.Logf("%s, %d of %s weight: %.3f to %.3f", policy, n, name, least, most)
					return least >= 1-slack-noise && most <= 1+slack+noise
				}
				if !even(hashing[policy]) {
					t.Errorf("%s, %d endpoints of %s weight: uneven", policy, n, name)
				}
				// Negative controls: hardly any points; blind to weights.
				if n == 10 && even(balancer.RingHash{MinSize: 10, MaxSize: 10}) {
					t.Error("a ring of ten points passes")
				}
				if ws != nil && policy != "ring hash" && even(modulo) {
					t.Error("blind to weights passes")
				}
			}
		}
	}
}

func TestHashingValidate(t *testing.T) {
	for _, p := range []balancer.Policy{
		balancer.RingHash{}, balancer.RingHash{MinSize: 1, MaxSize: 1}, balancer.RingHash{MinSize: 8 << 20},
		balancer.RingHash{Bound: 1}, balancer.Maglev{TableSize: 2}, balancer.Maglev{TableSize: 5_000_011, Bound: 1.25},
		balancer.Rendezvous{}, balancer.Rendezvous{Bound: 2},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, c := range []struct {
		p    balancer.Policy
		want []string
	}{
		{balancer.RingHash{MinSize: -1, MaxSize: -1, Bound: 0.5}, []string{"minSize: -1", "maxSize: -1", "bound: 0.5"}},
		{balancer.RingHash{MinSize: 8<<20 + 1, MaxSize: 8<<20 + 1}, []string{"minSize: ", "maxSize: "}},
		{balancer.RingHash{MinSize: 11, MaxSize: 10}, []string{"maxSize: 10 is less than minSize, which is 11"}},
		{balancer.RingHash{MaxSize: 10}, []string{"maxSize: 10 is less than minSize, which is 1024"}},
		{balancer.Maglev{TableSize: 65536, Bound: -1}, []string{"tableSize: 65536", "bound: -1"}},
		{balancer.Maglev{TableSize: 1}, []string{"tableSize"}}, {balancer.Maglev{TableSize: -7}, []string{"tableSize"}},
		{balancer.Maglev{TableSize: 5_000_077}, []string{"tableSize"}},
		{balancer.Rendezvous{Bound: math.NaN()}, []string{"bound"}}, {balancer.Rendezvous{Bound: math.Inf(1)}, []string{"bound"}},
	} {
		err := c.p.Validate()
		if err == nil {
			t.Errorf("%+v is valid", c.p)
			continue
		}
		if got := strings.Split(err.Error(), "\n"); len(got) != len(c.want) {
			t.Errorf("%+v: %v", c.p, err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v", c.p, err)
			}
		}
		// What was not validated does not panic.
		f := newFleet(3, nil)
		c.p.New(balancer.Env{}).Update(f.eps).Pick(balancer.Query{HasHash: true, Hash: 1, Avoid: f.eps})
	}
}

package routing

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/internal/xxh64"
)

// outside returns the arms whose counts lie farther from their share of draws
// than six standard deviations of the binomial distribution, which chance does
// once in 5e8.
func outside(weights []uint32, counts []int) (arms []int) {
	var sum, draws float64
	for i, w := range weights {
		sum += float64(w)
		draws += float64(counts[i])
	}
	for i, w := range weights {
		p := float64(w) / sum
		if sum == 0 {
			p = 1 / float64(len(weights))
		}
		if math.Abs(float64(counts[i])-draws*p) > 6*math.Sqrt(draws*p*(1-p)) {
			arms = append(arms, i)
		}
	}
	return arms
}

var splits = [][]uint32{
	{1}, {0, 0, 0}, {1, 1}, {90, 10}, {99, 1}, {70, 30, 0}, {0, 5, 0, 0, 5, 0}, {1, 2, 3, 4, 5, 6, 7},
	{math.MaxUint32, math.MaxUint32, math.MaxUint32}, {math.MaxUint32, math.MaxUint32 / 9}, {0, 0, 1},
}

// TestSplitProportions draws at random, from a counter, and from hashes of keys.
func TestSplitProportions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func(i int) uint64{
		"random":  func(int) uint64 { return rng.Uint64() },
		"counter": func(i int) uint64 { return uint64(i) },
		"key":     func(i int) uint64 { return xxh64.Sum("user-"+strconv.Itoa(i), 0) },
		"high":    func(i int) uint64 { return uint64(i) << 40 },
	} {
		for _, weights := range splits {
			s, err := NewSplit(weights)
			if err != nil {
				t.Fatal(err)
			}
			counts := make([]int, len(weights))
			for i := range 100_000 {
				counts[s.Pick(draw(i))]++
			}
			if arms := outside(weights, counts); arms != nil {
				t.Errorf("%s: %v got %v: arms %v", name, weights, counts, arms)
			}
		}
	}
}

// TestSplitProportionsNoticeFaults gives the statistics a split that is off by one
// in a hundred, and one that does not mix the draw.
func TestSplitProportionsNoticeFaults(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	biased, err := NewSplit([]uint32{89, 11})
	if err != nil {
		t.Fatal(err)
	}
	off, unmixed := make([]int, 2), make([]int, 2)
	for i := range 100_000 {
		off[biased.Pick(rng.Uint64())]++
		if high, _ := bits.Mul64(uint64(i), 100); high < 90 {
			unmixed[0]++
		} else {
			unmixed[1]++
		}
	}
	for name, counts := range map[string][]int{"biased": off, "unmixed": unmixed} {
		if outside([]uint32{90, 10}, counts) == nil {
			t.Errorf("%s: %v passes for 90:10", name, counts)
		}
	}
}

// TestSplitBounds reaches both ends of every arm by undoing the mixing.
func TestSplitBounds(t *testing.T) {
	for _, weights := range splits {
		s, err := NewSplit(weights)
		if err != nil {
			t.Fatal(err)
		}
		sum := s.bounds[len(s.bounds)-1]
		for _, mixed := range []uint64{0, 1, math.MaxUint64, math.MaxUint64 - 1, math.MaxUint64 / 2, math.MaxUint64/2 + 1} {
			arm := s.Pick(unmix(mixed))
			point, _ := bits.Mul64(mixed, sum)
			var low uint64
			if arm > 0 {
				low = s.bounds[arm-1]
			}
			if point < low || point >= s.bounds[arm] {
				t.Errorf("%v: point %d of %d fell to arm %d", weights, point, sum, arm)
			}
		}
	}
}

// unmix undoes mix.
func unmix(x uint64) uint64 {
	inverse := func(a uint64) uint64 { // of an odd number, by Newton's iteration
		x := a
		for range 6 {
			x *= 2 - a*x
		}
		return x
	}
	x = x ^ x>>31 ^ x>>62
	x *= inverse(0x94d049bb133111eb)
	x = x ^ x>>27 ^ x>>54
	x *= inverse(0xbf58476d1ce4e5b9)
	x = x ^ x>>30 ^ x>>60
	return x - 0x9e3779b97f4a7c15
}

// TestSplitSticky: raising a weight only adds keys to an arm, and the choice of
// these draws is held against a record, lest users move with a new version.
func TestSplitSticky(t *testing.T) {
	var before []bool
	for weight := range uint32(101) {
		s, err := NewSplit([]uint32{100 - weight, weight})
		if err != nil {
			t.Fatal(err)
		}
		now := make([]bool, 2000)
		for i := range now {
			now[i] = s.Pick(xxh64.Sum(strconv.Itoa(i), 0)) == 1
			if before != nil && before[i] && !now[i] {
				t.Fatalf("key %d left the arm when its weight rose to %d", i, weight)
			}
			if weight == 0 && now[i] || weight == 100 && !now[i] {
				t.Fatalf("key %d at weight %d", i, weight)
			}
		}
		before = now
	}
	s, _ := NewSplit([]uint32{1, 1, 1, 1, 1, 1, 1, 1, 1, 1})
	var record strings.Builder
	for i := range 20 {
		record.WriteString(strconv.Itoa(s.Pick(uint64(i))))
	}
	if got, want := record.String(), "85514373660357453507"; got != want {
		t.Errorf("draws 0 to 19 fall to %s, want %s", got, want)
	}
}

func TestSplitFaults(t *testing.T) {
	for _, weights := range [][]uint32{nil, make([]uint32, maxArms+1)} {
		if _, err := NewSplit(weights); err == nil || !strings.HasPrefix(err.Error(), "weights: ") {
			t.Errorf("%d weights: %v", len(weights), err)
		}
	}
	if arm := (Split{}).Pick(1); arm != 0 {
		t.Errorf("the zero Split picks %d", arm)
	}
	widest := make([]uint32, maxArms)
	for i := range widest {
		widest[i] = math.MaxUint32
	}
	s, err := NewSplit(widest)
	if err != nil {
		t.Fatal(err)
	}
	if arm := s.Pick(unmix(math.MaxUint64)); arm != maxArms-1 {
		t.Errorf("the last draw of the widest split falls to arm %d", arm)
	}
}

func TestSplitKeepsNothing(t *testing.T) {
	weights := []uint32{1, 0}
	s, _ := NewSplit(weights)
	weights[0], weights[1] = 0, 1
	if s.Pick(1) != 0 {
		t.Error("the split changed with what it was made of")
	}
}

func BenchmarkSplitPick(b *testing.B) {
	for _, n := range []int{2, 8, 1000} {
		weights := make([]uint32, n)
		for i := range weights {
			weights[i] = uint32(i + 1)
		}
		s, err := NewSplit(weights)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			var draw uint64
			for b.Loop() {
				s.Pick(draw)
				draw++
			}
		})
	}
}

//go:build !race

package health_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

// long returns how often something is done: more often in a proof.
func long(short, proof int) int {
	if os.Getenv("TULLE_PROOF") != "" {
		return proof
	}
	return short
}

// accuser is a way of finding outliers. It takes the result of a call to
// endpoint i and returns the endpoints that it accuses now, whose evidence
// then starts anew. Caps are left out of all of them: with its own, of 10 %,
// Envoy's would eject nobody of fewer than ten.
type accuser interface {
	result(i int, failed bool, now time.Duration) []int
}

// ours drives the real Detector.
type ours struct {
	records []*health.Record
	bad     func(i int) bool
}

func newOurs(n int, o health.Outliers, bad func(int) bool) *ours {
	d := health.NewDetector(o, rand.New(rand.NewPCG(1, 1)).Uint64)
	u := &ours{bad: bad}
	for i := range n {
		e, _ := endpoint.New(endpoint.Info{Addr: fmt.Sprintf("10.0.0.%d:80", i+1)}, begin)
		u.records = append(u.records, d.Join(e, begin))
	}
	return u
}

func (u *ours) result(i int, failed bool, now time.Duration) (accused []int) {
	res := outcome.Result{Outcome: outcome.Outcome{Class: success}, At: begin.Add(now), Latency: time.Millisecond}
	if failed {
		res.Class = broken
	}
	if !u.records[i].Observe(res, false) {
		return nil
	}
	for j, r := range u.records {
		if _, yes := r.Accused(); yes {
			accused = append(accused, j)
			if u.bad(j) {
				r.Eject(res.At)
			} else {
				r.Dismiss()
			}
		}
	}
	return accused
}

// sweeper is the success rate rule of Envoy and of gRPC (A50) at their
// defaults, with gRPC's failure percentage and Envoy's run of five if wanted.
type sweeper struct {
	ok, failed []float64
	runs       []int
	next       time.Duration
	percentage bool
	five       bool
}

func newSweeper(n int, percentage, five bool) *sweeper {
	return &sweeper{make([]float64, n), make([]float64, n), make([]int, n), 10 * time.Second, percentage, five}
}

func (s *sweeper) result(i int, failed bool, now time.Duration) (accused []int) {
	if now >= s.next {
		s.next += 10 * time.Second
		accused = s.sweep()
	}
	if !failed {
		s.ok[i]++
		s.runs[i] = 0
		return accused
	}
	s.failed[i]++
	if s.runs[i]++; s.five && s.runs[i] == 5 && !slices.Contains(accused, i) {
		s.runs[i] = 0
		accused = append(accused, i)
	}
	return accused
}

func (s *sweeper) sweep() (accused []int) {
	rates := map[int]float64{}
	large := 0
	mean, variance := 0., 0.
	for i := range s.ok {
		calls := s.ok[i] + s.failed[i]
		if calls >= 50 {
			large++
		}
		if calls >= 100 {
			rates[i] = s.ok[i] / calls
			mean += rates[i]
		}
	}
	if len(rates) >= 5 {
		mean /= float64(len(rates))
		for _, r := range rates {
			variance += (r - mean) * (r - mean)
		}
		least := mean - 1.9*math.Sqrt(variance/float64(len(rates)))
		for i, r := range rates {
			if r < least {
				accused = append(accused, i)
			}
		}
	}
	for i := range s.ok {
		calls := s.ok[i] + s.failed[i]
		if s.percentage && large >= 5 && calls >= 50 && s.failed[i] > .85*calls && !slices.Contains(accused, i) {
			accused = append(accused, i)
		}
		s.ok[i], s.failed[i] = 0, 0
	}
	slices.Sort(accused)
	return accused
}

// accrual is Finagle's failure accrual at its defaults: a success rate under
// 80 %, as a moving average over 30 s of at least five calls, or five
// failures in a row.
type accrual struct {
	of []struct {
		calls, run int
		average    float64
		at         time.Duration
	}
}

func newAccrual(n int) *accrual {
	a := &accrual{}
	a.of = slices.Grow(a.of, n)[:n]
	return a
}

func (a *accrual) result(i int, failed bool, now time.Duration) []int {
	e := &a.of[i]
	x := 1.
	e.run++
	if failed {
		x = 0
	} else {
		e.run = 0
	}
	if e.calls++; e.calls == 1 {
		e.average = x
	} else {
		w := math.Exp(-float64(now-e.at) / float64(30*time.Second))
		e.average = x*(1-w) + e.average*w
	}
	e.at = now
	if failed && (e.run >= 5 || e.calls >= 5 && e.average < .8) {
		*e = a.zero()
		return []int{i}
	}
	return nil
}

func (*accrual) zero() (e struct {
	calls, run int
	average    float64
	at         time.Duration
}) {
	return e
}

// trouble is a scene: after a quiet minute, the first bad of n endpoints fail
// at the rate for two minutes; bad is n where all do, and then nobody is an
// outlier.
type trouble struct {
	n, bad      int
	usual, rate float64
}

func (s trouble) String() string {
	switch s.bad {
	case 0:
		return fmt.Sprintf("%d\tnone, all at %v", s.n, s.usual)
	case s.n:
		return fmt.Sprintf("%d\tall at %v", s.n, s.rate)
	default:
		return fmt.Sprintf("%d\t%d at %v", s.n, s.bad, s.rate)
	}
}

// tallied is what came of scenes.
type tallied struct {
	bad, found int
	delays     []time.Duration
	// wrong counts accusations of good endpoints.
	wrong int
}

func (r tallied) median() time.Duration {
	if len(r.delays) == 0 {
		return time.Hour
	}
	slices.Sort(r.delays)
	return r.delays[len(r.delays)/2]
}

func (r tallied) String() string {
	if r.bad == 0 {
		return fmt.Sprintf("%d wrong", r.wrong)
	}
	s := fmt.Sprintf("%d/%d", r.found, r.bad)
	if r.found > 0 {
		s += fmt.Sprintf(" %.1fs", r.median().Seconds())
	}
	if r.wrong > 0 {
		s += fmt.Sprintf(" %d wrong", r.wrong)
	}
	return s
}

const (
	quietFor, troubleFor = time.Minute, 2 * time.Minute
	// each endpoint has twenty calls a second, so that it passes Envoy's 100
	// in an interval.
	perSecond = 20
)

func (s trouble) play(seed uint64, a accuser, into *tallied) {
	draw := rand.New(rand.NewPCG(seed, 77))
	found := make([]bool, s.n)
	in := make([]int, s.n)
	for i := range in {
		in[i] = i
	}
	outliers := s.bad
	if s.bad == s.n {
		outliers = 0
	}
	into.bad += outliers
	step := time.Second / time.Duration(perSecond*s.n)
	for now := time.Duration(0); now < quietFor+troubleFor; now += step {
		i := in[draw.IntN(len(in))]
		rate := s.usual
		if i < s.bad && now > quietFor {
			rate = s.rate
		}
		for _, j := range a.result(i, draw.Float64() < rate, now) {
			if j >= outliers || now <= quietFor {
				into.wrong++
				continue
			}
			if !found[j] {
				found[j] = true
				into.found++
				into.delays = append(into.delays, now-quietFor)
				in = slices.DeleteFunc(in, func(k int) bool { return k == j })
			}
		}
	}
}

// Against the ways of others, at their defaults: the comparison finds what
// mean − 1.9σ cannot (few endpoints, or many bad ones, or a small rate), finds
// the rest sooner, and accuses no good endpoint, in quiet as in common
// trouble.
func TestProofAgainstRivals(t *testing.T) {
	const ourAll, ourPeers, envoy, envoyRate, grpc, finagle = "all rules", "peers alone", "Envoy", "Envoy rate alone", "gRPC", "Finagle"
	ways := []string{ourAll, ourPeers, envoy, envoyRate, grpc, finagle}
	start := func(way string, s trouble) accuser {
		bad := func(i int) bool { return i < s.bad && s.bad < s.n }
		switch way {
		case ourAll:
			return newOurs(s.n, health.Outliers{}, bad)
		case ourPeers:
			return newOurs(s.n, peersAlone(), bad)
		case envoy, envoyRate:
			return newSweeper(s.n, false, way == envoy)
		case grpc:
			return newSweeper(s.n, true, false)
		default:
			return newAccrual(s.n)
		}
	}
	table := map[trouble]map[string]tallied{}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "n\tbad\t"+strings.Join(ways, "\t"))
	play := func(s trouble) {
		table[s] = map[string]tallied{}
		_, _ = fmt.Fprint(w, s)
		for _, way := range ways {
			var r tallied
			for seed := range uint64(long(max(1, 15/s.n), 40)) {
				s.play(seed, start(way, s), &r)
			}
			table[s][way] = r
			_, _ = fmt.Fprint(w, "\t", r)
		}
		_, _ = fmt.Fprintln(w)
	}
	for _, n := range []int{2, 3, 5, 20} {
		for _, rate := range []float64{1, .3, .1} {
			play(trouble{n, 1, .005, rate})
			if n >= 5 {
				play(trouble{n, n * 2 / 5, .005, rate})
			}
			if n >= 20 {
				play(trouble{n, n * 3 / 10, .005, rate})
			}
		}
		play(trouble{n, 0, .01, 0})
		play(trouble{n, n, .005, .3})
		play(trouble{n, n, .005, .7})
	}
	_ = w.Flush()
	t.Log("found/bad, median delay, accusations of good endpoints\n" + text.String())

	for s, r := range table {
		require.Zero(t, r[ourPeers].wrong, "%v: peers alone", s)
		if s.bad < s.n {
			require.Zero(t, r[ourAll].wrong, "%v: all rules", s)
		}
		if s.bad == 0 || s.bad == s.n {
			continue
		}
		require.Equal(t, r[ourAll].bad, r[ourAll].found, "%v: all rules find all", s)
		if s.rate == 1 {
			require.Less(t, r[ourAll].median(), time.Second, "%v", s)
			require.Less(t, r[ourAll].median(), r[grpc].median(), "%v", s)
			continue
		}
		require.Equal(t, r[ourPeers].bad, r[ourPeers].found, "%v: so does the comparison alone", s)
		require.Less(t, r[ourPeers].median(), r[envoyRate].median(), "%v: sooner", s)
		require.Less(t, r[ourPeers].median(), r[grpc].median(), "%v: sooner", s)
		if s.n < 5 || s.n == 5 && s.bad == 2 && s.rate == .3 {
			require.Zero(t, r[envoyRate].found, "%v: mean − 1.9σ cannot", s)
		}
		if s.rate == .1 {
			require.Less(t, r[finagle].found, r[finagle].bad, "%v: nine of ten are enough for Finagle", s)
		}
	}
	calm, common := trouble{20, 0, .01, 0}, trouble{20, 20, .005, .3}
	require.Positive(t, table[calm][envoyRate].wrong, "noise, taken for outliers")
	require.Positive(t, table[common][finagle].wrong, "a common cause, taken for everyone's own")
}

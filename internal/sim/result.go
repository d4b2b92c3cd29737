package sim

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Result is what became of the calls that came while they were counted.
type Result struct {
	// Calls is how many there were, Failed how many failed, TimedOut those of
	// them that took too long or found no server.
	Calls, Failed, TimedOut int
	// The latencies, as the callers see them, are of calls that were answered
	// well and of those that timed out, which took so long. Other failures are
	// not among them: that they come fast is nothing to be proud of.
	Mean, P50, P90, P99, P999, Max time.Duration
	// SentBack counts calls that a server sent back, and another one answered.
	SentBack int
	// Picks counts calls by server, those that were sent back where they went
	// then.
	Picks []int
	// Seconds are all seconds of the run, from its beginning.
	Seconds []Second
	// InFlight is how many requests there are at a server on the average, and
	// Herding by what part of that servers differ at one time: the coefficient
	// of variation, on the average over time.
	InFlight, Herding float64
	// Reported is the part of the answers that brought a load report, without
	// those that sent a call back.
	Reported float64
	// Reasons counts picks by reason, if the Chooser says: one for each call, and
	// another for each that was sent back.
	Reasons map[string]uint64
	// Probes counts probes.
	Probes int
	// Took is how long the run took in real time.
	Took time.Duration
	// All counts the calls of the whole run.
	All int
}

// Second is a second of a run.
type Second struct {
	Picks  []int // by server
	Failed int   // of the calls made in it
}

// Share returns which part of the calls of the second went to server n.
func (s Second) Share(n int) float64 {
	all := 0
	for _, picks := range s.Picks {
		all += picks
	}
	return float64(s.Picks[n]) / float64(max(1, all))
}

// ErrorShare returns which part of the calls failed.
func (r Result) ErrorShare() float64 { return float64(r.Failed) / float64(max(1, r.Calls)) }

// String returns a line of a table, see Head.
func (r Result) String() string {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return fmt.Sprintf("%8.2f %8.2f %8.2f %8.1f %8.1f %8.4f %8.3f",
		ms(r.Mean), ms(r.P50), ms(r.P90), ms(r.P99), ms(r.P999), 100*r.ErrorShare(), r.Herding)
}

// Head is what stands above lines of Result.String.
const Head = "    mean      p50      p90      p99    p99.9     err%  herding"

// tally counts.
type tally struct {
	from, to  int64
	servers   int
	latencies []int64
	ends      int
	out       Result
	answers   [2]int            // without a report, with one
	reasons   map[string]uint64 // before it counted
	samples   int
	deviation float64
	inside    float64
}

func (t *tally) init(servers int, from, to int64) {
	t.servers, t.from, t.to = servers, from, to
	t.out.Picks = make([]int, servers)
}

func (t *tally) second(at int64) *Second {
	n := int(at / int64(time.Second))
	for len(t.out.Seconds) <= n {
		t.out.Seconds = append(t.out.Seconds, Second{Picks: make([]int, t.servers)})
	}
	return &t.out.Seconds[n]
}

// called counts a call to server n, or to none.
func (t *tally) called(at int64, n int) {
	t.out.All++
	if n < 0 {
		return
	}
	t.second(at).Picks[n]++
	if at >= t.from {
		t.out.Picks[n]++
	}
}

// moved counts a call that began at start and was sent back by a server, and
// so goes to another.
func (t *tally) moved(start int64, from, to int) {
	p := t.second(start).Picks
	p[from]--
	p[to]++
	if start >= t.from {
		t.out.SentBack++
		t.out.Picks[from]--
		t.out.Picks[to]++
	}
}

// ended counts the end of a call that began at start.
func (t *tally) ended(start, latency int64, failed, late bool) {
	t.ends++
	if failed {
		t.second(start).Failed++
	}
	if start < t.from {
		return
	}
	r := &t.out
	r.Calls++
	if failed {
		r.Failed++
	}
	if late {
		r.TimedOut++
	}
	if late || !failed {
		t.latencies = append(t.latencies, latency)
	}
}

func (t *tally) reported(with bool) {
	if with {
		t.answers[1]++
	} else {
		t.answers[0]++
	}
}

// sampled is how often the servers are looked at.
const sampled = 10 * time.Millisecond

// sample looks at the servers, now and ever after.
func (f *Fleet) sample() {
	t := &f.tally
	if f.now >= t.from && f.now < t.to {
		n, sum, squares := 0.0, 0.0, 0.0
		for i, s := range f.servers {
			if e := f.callers[0].endpoints[i]; e == nil || !e.Available() {
				continue
			}
			in := float64(s.inside)
			n, sum, squares = n+1, sum+in, squares+in*in
		}
		if sum > 0 {
			mean := sum / n
			t.deviation += math.Sqrt(max(0, squares/n-mean*mean)) / mean
		}
		if n > 0 {
			t.inside += sum / n
			t.samples++
		}
	}
	f.after(sampled, f.sample)
}

// result returns what was counted.
func (t *tally) result(f *Fleet) Result {
	r := t.out
	slices.Sort(t.latencies)
	if n := len(t.latencies); n > 0 {
		sum := 0.0
		for _, l := range t.latencies {
			sum += float64(l)
		}
		at := func(q float64) time.Duration { return time.Duration(t.latencies[min(n-1, int(q*float64(n)))]) }
		r.Mean = time.Duration(sum / float64(n))
		r.P50, r.P90, r.P99, r.P999, r.Max = at(.5), at(.9), at(.99), at(.999), time.Duration(t.latencies[n-1])
	}
	if t.samples > 0 {
		r.InFlight, r.Herding = t.inside/float64(t.samples), t.deviation/float64(t.samples)
	}
	r.Reported = float64(t.answers[1]) / float64(max(1, t.answers[0]+t.answers[1]))
	for why, n := range f.reasons() {
		if n -= t.reasons[why]; n > 0 {
			if r.Reasons == nil {
				r.Reasons = map[string]uint64{}
			}
			r.Reasons[why] = n
		}
	}
	return r
}

// reasons returns the picks by reason of all callers up to now.
func (f *Fleet) reasons() map[string]uint64 {
	all := map[string]uint64{}
	for _, c := range f.callers {
		if counter, ok := c.picker.(Counter); ok {
			counter.Reasons(all)
		}
	}
	return all
}

package sim

import (
	"math/bits"
	"slices"
	"time"
)

// Reading is what a server says to a probe.
type Reading struct {
	// InFlight is how many requests are in.
	InFlight int
	// Latency is how long requests have taken of late that came when about as
	// many were in: a median of up to eight. Zero is not known.
	Latency time.Duration
}

// Probe asks server n how it is, by a message that takes as long as any other.
// got is called within the loop when the answer has come, never if none comes:
// a server that hangs or has crashed does not answer. Probes cost the server
// nothing and are not counted anywhere but in Result.Probes. A Picker calls it
// from Pick, Observe, Update, or got.
func (c *Caller) Probe(n int, got func(Reading)) {
	f := c.fleet
	f.tally.out.Probes++
	f.after(time.Duration(f.travel()), func() {
		s := f.servers[n]
		if s.state == hangs || s.state == gone {
			return
		}
		r := Reading{s.inside, s.times.near(s.inside)}
		f.after(time.Duration(f.travel()), func() { got(r) })
	})
}

const (
	timesKept    = 8
	timesBuckets = 20
)

// times are how long requests took by how many were in when they came: a
// bucket for each number up to four, and then two for each power of two.
type times struct {
	kept [timesBuckets][timesKept]int64
	seen [timesBuckets]int
}

func timesBucket(inFlight int) int {
	if inFlight < 4 {
		return inFlight
	}
	shift := bits.Len(uint(inFlight)) - 2
	return min(timesBuckets-1, shift*2+inFlight>>shift)
}

func (t *times) add(inFlight int, took int64) {
	b := timesBucket(inFlight)
	t.kept[b][t.seen[b]%timesKept] = took
	t.seen[b]++
}

// near returns the median of the bucket of inFlight, or of the nearest that
// knows something.
func (t *times) near(inFlight int) time.Duration {
	b := timesBucket(inFlight)
	for d := range timesBuckets {
		for _, at := range [2]int{b - d, b + d} {
			if at < 0 || at >= timesBuckets || t.seen[at] == 0 {
				continue
			}
			n := min(timesKept, t.seen[at])
			sorted := t.kept[at]
			slices.Sort(sorted[:n])
			return time.Duration(sorted[n/2])
		}
	}
	return 0
}

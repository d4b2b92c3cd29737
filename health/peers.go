package health

import (
	"fmt"
	"math"
)

const (
	// An endpoint is watched for failing by at least this factor and this
	// share more often than its peers usually do, or for half of its calls.
	watchFactor = 3
	watchGap    = .04
	watchMost   = .5
	// floorRate is taken for what peers do at least, with the weight of so
	// many calls.
	floorRate   = .001
	floorWeight = 20
	// alarm is the sum of log-likelihood ratios at which an endpoint is
	// compared: with peers at 0.5 % it takes millions of good calls to get
	// there by chance, and some 200 calls at 5 %. mostScore is where the sum
	// stops growing while there is nobody to compare with.
	alarm     = 15
	mostScore = 2 * alarm
	// What the comparison then has to show, beside a logarithm of the
	// likelihood ratio, of two rates against a common one, that reaches alarm
	// as well: by chance that takes tens of millions of comparisons.
	guiltyFactor = 2
	guiltyGap    = .03
	// peersFail is the share of failures above which the peers are in trouble
	// themselves.
	peersFail = .20
)

// tally counts calls; fractions of calls where old ones weigh less.
type tally struct{ ok, failed float64 }

func (t *tally) add(o tally)       { t.ok, t.failed = t.ok+o.ok, t.failed+o.failed }
func (t tally) less(o tally) tally { return tally{t.ok - o.ok, t.failed - o.failed} }
func (t tally) calls() float64     { return t.ok + t.failed }
func (t tally) rate() float64      { return t.failed / t.calls() }

// series is what the sweep keeps of one endpoint in service.
type series struct {
	// counted is what the endpoint had counted at the last sweep, step the
	// part of it that was new then, usual the same with a fading memory.
	counted, step, usual tally
	// score is the cumulative sum. It left zero when the endpoint had
	// counted onset, and all endpoints together onsetAll.
	score           float64
	onset, onsetAll tally
}

// take brings the series up to what the endpoint has counted by now. A late
// failure may have made a success of an earlier step undone.
func (s *series) take(now tally, keep float64) {
	s.step = now.less(s.counted)
	s.counted = now
	s.usual = tally{max(0, s.usual.ok*keep+s.step.ok), s.usual.failed*keep + s.step.failed}
}

// begin notes where the sum leaves zero, if it does with the last step. all
// is what all together had counted before it.
func (s *series) begin(all tally) {
	if s.score == 0 {
		s.onset, s.onsetAll = s.counted.less(s.step), all
	}
}

// watch adds the last step to the sum and reports whether it raises alarm.
// usual is what the peers did in the last minutes, since what they did since
// the onset: in trouble that all have, the latter is sooner to tell.
func (s *series) watch(usual, since tally) bool {
	good := max(floorRate, (usual.failed+floorRate*floorWeight)/(usual.calls()+floorWeight))
	good = max(good, (since.failed+good*floorWeight)/(since.calls()+floorWeight))
	bad := min(watchMost, max(watchFactor*good, good+watchGap))
	if bad <= good {
		s.score = 0
		return false
	}
	s.score += s.step.failed*math.Log(bad/good) + s.step.ok*math.Log((1-bad)/(1-good))
	s.score = min(max(0, s.score), mostScore)
	return s.score >= alarm
}

// finding is what a comparison comes to.
type finding uint8

const (
	undecided finding = iota
	innocent
	guilty
)

// compare holds the calls of an endpoint against those that its peers had in
// the same time.
func compare(own, peers tally) finding {
	p, q := own.rate(), peers.rate()
	switch {
	case q > peersFail, p < guiltyFactor*q, p < q+guiltyGap:
		return innocent
	case likelihood(own)+likelihood(peers)-likelihood(tally{own.ok + peers.ok, own.failed + peers.failed}) < alarm:
		return undecided
	default:
		return guilty
	}
}

// likelihood returns the logarithm of the greatest likelihood of the counts.
func likelihood(t tally) float64 {
	l := 0.
	for _, n := range [...]float64{t.ok, t.failed} {
		if n > 0 {
			l += n * math.Log(n/t.calls())
		}
	}
	return l
}

// proof is the comparison that an endpoint is accused by.
type proof struct{ own, peers tally }

func (p *proof) String() string {
	return fmt.Sprintf("fails %s of %.0f calls, its peers %s", percent(p.own.rate()), p.own.calls(), percent(p.peers.rate()))
}

// percent writes a share with no more digits than it is worth.
func percent(share float64) string {
	if share > 0 && share < .01 {
		return fmt.Sprintf("%.1f %%", share*100)
	}
	return fmt.Sprintf("%.0f %%", share*100)
}

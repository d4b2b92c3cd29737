package balancer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// LoadFed picks by the load that servers report on their answers (see
// endpoint.LoadReport): where many processes call the same servers, and each
// of them sees little of what a server has to do, that is the only way to know
// of a queue before standing in it.
//
// An answer that brings a report makes a token for its endpoint: what a call
// there would cost by the report, and when. A pick uses the token of the least
// cost among the 16 newest up, so that what one server says to one caller
// moves one call. That is what keeps callers from falling on the same idle
// server together, as they do when reports are used again and again
// (Mitzenmacher, "How useful is old information?", 2000); Prequal (Wydrowski et
// al., NSDI '24) has the like for its probes, and Join-Idle-Queue (Lu et al.,
// 2011) for servers that run idle. Reports travel in the format of ORCA, the
// Open Request Cost Aggregation of Envoy and gRPC.
//
// The cost is the service time, times the requests that will be in flight,
// times how often these exceed the limit: a server that works on all requests
// at once slows down by the one, a server that lets them wait by the other,
// and few reports say which it is. Requests in flight count for their part of
// the endpoint's weight; the one to come does not, so that weights change
// nothing while there is none.
//
//   - A failure, an answer that asks for less (429) and an attempt that was cut
//     off take back the token of the endpoint. One that fails more often than
//     others costs more, and has no tokens while that is much; see
//     FailurePenalty. So one that fails fast, and therefore seems idle, does not
//     draw calls to it, while failures that all endpoints have, such as those of
//     certain requests, change nothing.
//   - Some picks look for what tokens do not know of; see Exploration.
//   - Reports are believed within bounds: no fewer in flight than the caller
//     itself has there, a service time of at least a quarter of what is usual,
//     and a cost not far below what latency and calls in flight say, as
//     PeakEWMA sees them. Tokens alone get no endpoint more than five times its
//     share of the picks, twice where weights differ, and of few endpoints none
//     nearly all.
//   - A report that says that its server is leaving makes no token.
//   - What a token says may be out of date when the call arrives. So the call
//     says how many requests it expects, and goes elsewhere if there are more;
//     see SendBack. That makes up for what other callers do meanwhile.
//
// Without a token that may be used, endpoints are compared by
// reports that are not too old, else two drawn by
// chance as PeakEWMA does, to which all of this falls back step by step as
// reports get fewer: endpoints that do not report are compared by latency with
// those that do, and get what they win. Picks counts the reasons, see
// PickToken. Reports that are old without saying so are worse than none.
//
// What is known of an endpoint stays while it is held back and is forgotten
// with it.
type LoadFed struct {
	// Exploration is the part of the picks, up to 1, that draw an endpoint by
	// chance and take it if it reports but was not heard of within MaxAge, so
	// that those whose token was lost come back. Zero means 0.02, negative
	// none: then an endpoint that has lost its token is asked again only when
	// there are no tokens left. Of endpoints of less than the mean weight, which
	// seldom have a token that is worth it, it is up to all.
	Exploration float64
	// MaxAge is how old a report may be to be used, at most an hour. Zero
	// means 1 s, as in Prequal. Callers that make less than a call in that
	// time may want more.
	MaxAge time.Duration
	// Decay is the time in which what is known of latencies and failures falls
	// to 1/e of itself, at least a millisecond. Zero means 10 s.
	Decay time.Duration
	// FailurePenalty is what a call costs more at an endpoint that always
	// fails while others do not, where reports and where latencies are
	// compared. One that fails sometimes costs more by the square of how much
	// more often than usual it does. Zero means 5 s. Negative is none, and
	// failures then count as answers: for services whose failures say nothing
	// about the endpoint.
	FailurePenalty time.Duration
	// SendBack is how many times what it would cost elsewhere, by the next best
	// token, a call may cost at the endpoint that was picked, up to 100. If that
	// has more requests by the time the call comes than this allows, and is a
	// server of this mesh, it sends the call back and the call is made anew, once.
	// Zero means 1: a call goes elsewhere wherever that is better. It may always
	// cost what was expected of the endpoint, and the time that the way there and
	// back takes counts too, so that short requests are seldom sent back, nor those
	// with a long way. Negative never asks for it.
	SendBack float64
}

const (
	defaultExploration = 0.02
	defaultMaxAge      = time.Second
	maxMaxAge          = time.Hour
	defaultSendBack    = 1
	maxSendBack        = 100
)

// Effective returns the policy with its defaults filled in.
func (p LoadFed) Effective() LoadFed {
	if p.Exploration == 0 {
		p.Exploration = defaultExploration
	}
	if p.MaxAge == 0 {
		p.MaxAge = defaultMaxAge
	}
	if p.Decay == 0 {
		p.Decay = defaultDecay
	}
	if p.FailurePenalty == 0 {
		p.FailurePenalty = defaultFailurePenalty
	}
	if p.SendBack == 0 {
		p.SendBack = defaultSendBack
	}
	return p
}

// Validate implements Policy.
func (p LoadFed) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !(p.Exploration <= 1) {
		fault("exploration: %v is not a part of at most 1", p.Exploration)
	}
	if p.MaxAge < 0 || p.MaxAge > maxMaxAge {
		fault("maxAge: %v is not from 0 to %v", p.MaxAge, maxMaxAge)
	}
	if p.Decay != 0 && p.Decay < minDecay {
		fault("decay: %v is less than %v", p.Decay, minDecay)
	}
	if !(p.SendBack <= maxSendBack) {
		fault("sendBack: %v is not at most %v", p.SendBack, maxSendBack)
	}
	return errors.Join(errs...)
}

// New implements Policy. What is invalid counts as its default, or as the
// nearest that is not.
func (p LoadFed) New(Env) Balancer {
	if !(p.Exploration <= 1) {
		p.Exploration = 0
	}
	if math.IsNaN(p.SendBack) {
		p.SendBack = 0
	}
	p = p.Effective()
	b := &loadFed{
		decay:   float64(max(p.Decay, minDecay)),
		penalty: float64(max(p.FailurePenalty, 0)), averse: p.FailurePenalty > 0,
		explore:  max(0, p.Exploration) * math.MaxUint32,
		maxAge:   int64(min(max(p.MaxAge, 0), maxMaxAge)),
		sendBack: min(max(0, p.SendBack), maxSendBack),
		base:     time.Now(),
	}
	b.known.Store(&map[*endpoint.Endpoint]*fed{})
	return b
}

// loadFed is the Balancer of LoadFed.
type loadFed struct {
	decay, penalty float64 // ns
	averse         bool    // failures count
	explore        float64 // in parts of 2³²
	maxAge         int64
	sendBack       float64 // 0 is never
	trip           trip
	// base is what times are counted from, which keeps their monotonic part.
	base time.Time
	// known is replaced by Update and never changed.
	known  atomic.Pointer[map[*endpoint.Endpoint]*fed]
	unused []uint32     // numbers of endpoints that were forgotten
	size   atomic.Int64 // of the set
	tokens tokens
	usual  usual
	// faults is the part of all attempts that failed of late.
	faults fraction
	picks  picks
}

// fed is what is known of one endpoint.
type fed struct {
	estimate
	// number is under what tokens know it.
	number uint32
	token
	// faults is the part of the attempts that failed of late.
	faults fraction
	// noted is how many tokens there had been at its last report.
	noted atomic.Uint64
	// share is the weight in parts of the mean, as bits of a float64.
	share atomic.Uint64
	heard atomic.Uint32
	_     [cacheLine - 16]byte
}

// What was heard of an endpoint.
const (
	unheard   = iota
	reporting // the last answer brought a report
	mute      // it brought none
	leaving   // it said that the server is about to stop
)

// Update implements Balancer.
func (b *loadFed) Update(eps []*endpoint.Endpoint) Picker {
	ms := members(eps)
	p := &loadPicker{b: b, feds: make([]*fed, len(ms)), turns: make([]int64, len(ms))}
	p.peakPicker = peakPicker{
		peers: make([]peer, len(ms)), members: ms, lots: newLots(ms), decay: b.decay, base: b.base,
	}
	old := *b.known.Load()
	known := keep(old, func(f *fed) int64 { return f.at.Load() }, silence*b.decay)
	for ep, f := range old {
		if known[ep] == nil {
			b.unused = append(b.unused, f.number)
		}
	}
	slices.Sort(b.unused) // maps have no order, and numbers decide between equals
	var total float64
	for i := range ms {
		total += float64(ms[i].weight)
	}
	turn := turnOf(len(ms), p.lots.alias == nil)
	p.turn = int64(turn)
	for i, m := range ms {
		f := known[m.ep]
		if f == nil {
			f = &fed{number: uint32(len(known))}
			if last := len(b.unused) - 1; last >= 0 {
				f.number, b.unused = b.unused[last], b.unused[:last]
			}
			known[m.ep] = f
		}
		share := float64(m.weight) * float64(len(ms)) / total
		f.share.Store(math.Float64bits(share))
		p.peers[i], p.feds[i] = peer{m.ep, &f.estimate, share, i}, f
		p.turns[i] = int64(turn / share)
		p.place(f.number, i)
	}
	b.known.Store(&known)
	b.size.Store(int64(len(ms)))
	p.known = known
	return p
}

// Observe implements Observer.
func (b *loadFed) Observe(ep *endpoint.Endpoint, r outcome.Result) {
	f := (*b.known.Load())[ep]
	if f == nil {
		return
	}
	at := int64(r.At.Sub(b.base))
	again := r.Late && r.Was == r.Class // another report, and nothing else
	failed := r.Class.Failed() || r.Class == outcome.Overload
	if failed && !b.averse {
		failed = false
		r.Class = outcome.Success
	}
	f.estimate.observe(r, at, b.decay, 0) // failures are in fed.faults
	if !again && r.Class != outcome.Neutral {
		f.faults.add(failed, at, b.decay, faultStep)
		b.faults.add(failed, at, b.decay, allFaultsStep)
	}
	switch {
	case failed || r.Cut:
		f.token.revoke()
		if r.Reported && !r.Cut && b.blame(f, at) == 0 {
			// It fails no more than others: as good as any.
			b.report(f, ep, at, r.Latency)
		}
	case r.Class == outcome.Neutral:
		if r.SentBack && r.Reported {
			// What it has to do is known, and nothing of what requests take.
			b.trip.learn(float64(r.Latency), at, b.decay)
			b.report(f, ep, at, time.Duration(f.last(b.decay)))
		}
	case r.Reported:
		b.report(f, ep, at, r.Latency)
	case !r.Late:
		f.hear(mute)
	}
}

// report takes over a report that has come with an answer.
func (b *loadFed) report(f *fed, ep *endpoint.Endpoint, at int64, latency time.Duration) {
	load := ep.Load()
	switch {
	case load == nil || !tells(&load.LoadReport):
		f.hear(mute)
		return
	case load.Leaving:
		f.token.revoke()
		f.hear(leaving)
		return
	}
	f.hear(reporting)
	own := ep.InFlight() // with the call that was answered, in the place of the one to come
	share := math.Float64frombits(f.share.Load())
	local := f.average(at, b.decay) * weigh(float64(max(1, own)), share)
	each, n := b.usual.cost(&load.LoadReport, own-1, latency)
	cost := b.usual.believe(each*weigh(n, share), local)
	// Who is picked more often has no more weight for that, lest what is usual be
	// what it says.
	issued := b.tokens.issued.Load()
	b.usual.note(&load.LoadReport, cost, local, min(maxPart, float64(issued-f.noted.Swap(issued))/float64(b.size.Load())))
	// Who runs out of good tokens must not come to those of endpoints that fail.
	if blame := b.blame(f, at); blame <= math.Float64frombits(b.usual.typical.Load()) {
		b.tokens.put(f, cost+blame, at)
	}
}

func (f *fed) hear(what uint32) {
	if f.heard.Load() != what {
		f.heard.Store(what)
	}
}

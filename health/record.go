package health

import (
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// claimTimeout is how long a claimed trial may go without a result.
const claimTimeout = 30 * time.Second

// accuseAgain is how long after an accusation the next one may come, if that
// one was dismissed.
const accuseAgain = time.Second

// Record is what outlier detection knows of one endpoint: the evidence, and
// whether it is in service, accused, or out. It never acts; who keeps the
// endpoint's availability asks and decides. All methods are safe for
// concurrent use and none of them blocks.
type Record struct {
	d     *Detector
	ep    *endpoint.Endpoint
	base  time.Time
	index int // in d.members, under d.mu
	phase atomic.Pointer[phase]

	_       [64]byte // what is written now and then, away from what all read
	counted struct {
		ejections, overflows, trials, failedTrials, amnesties atomic.Uint64
		avoidable, avoidableOK                                atomic.Int64
		out                                                   atomic.Int64
	}
}

// OutlierStats count what became of a Record. Under Mode Observe they count
// what would have.
type OutlierStats struct {
	// Ejections counts how often the endpoint was put out, failed trials not
	// included; Overflows how often the cap kept it in.
	Ejections uint64 `json:"ejections"`
	Overflows uint64 `json:"overflows"`
	// Trials counts trials claimed, under Observe those judged; FailedTrials
	// those that prolonged an ejection.
	Trials       uint64 `json:"trials"`
	FailedTrials uint64 `json:"failedTrials"`
	// Amnesties counts ejections ended by Amnesty.
	Amnesties uint64 `json:"amnesties"`
	// TimeOut is how long the ejections have lasted that ended by a trial.
	TimeOut time.Duration `json:"timeOut"`
	// WouldAvoid counts the results of attempts that were made at the
	// endpoint under Observe and that Enforce would have spared it,
	// WouldAvoidSucceeded those that succeeded nevertheless.
	WouldAvoid          uint64 `json:"wouldAvoid,omitempty"`
	WouldAvoidSucceeded uint64 `json:"wouldAvoidSucceeded,omitempty"`
}

// Endpoint returns the endpoint that the record is about.
func (r *Record) Endpoint() *endpoint.Endpoint { return r.ep }

// Observe takes the result of an attempt at the endpoint; trial says that the
// attempt had been claimed as its trial. It reports whether the opinion
// changed, so that someone must look: the endpoint is accused, or its trial
// is decided. It allocates only then.
//
// A result says nothing if its attempt, which began at At − Latency, began
// before the last ejection, return or dismissal: it belongs to another time.
// While the endpoint is out, only the trial counts. A success ends the
// ejection, a failure makes it longer, and an Overload puts the next trial
// off by BaseEjectionTime, for the endpoint works but asks for less. A
// Neutral result leaves the trial to the next. Under Observe the endpoint goes
// on to get calls, and the first of them that begins when the trial is due
// serves as the trial.
//
// A Late failure counts as one and takes back the success that it Was. Runs of
// failures that the success had ended are taken up again if no other came
// since: exact while calls follow one another, while they overlap it is the
// comparison with peers that finds an endpoint whose responses break off. The
// late failure of the very trial that ended an ejection accuses at once.
// Other Late results change nothing.
func (r *Record) Observe(res outcome.Result, trial bool) (look bool) {
	at := r.nanos(res.At)
	begun := at - int64(res.Latency)
	r.d.tick(at)
	p := r.phase.Load()
	switch p.kind {
	case accused:
		return false
	case ejected:
		return r.observeOut(p, res, trial, at, begun)
	}
	failed := res.Class.Failed()
	if begun < p.epoch {
		if res.Late && failed && trial && begun == p.acquittal {
			return r.accuse(p, facts{rule: byTrial}, at)
		}
		return false
	}
	switch {
	case failed:
		p.fail(res.Class, res.Late && res.Was == outcome.Success, begun)
	case res.Late:
	case res.Class == outcome.Success:
		p.succeed(begun)
	case res.Class == outcome.Overload:
		p.answer()
	}
	if at < p.until {
		return false
	}
	if failed {
		if by, run, found := p.tooLong(&r.d.limits); found {
			return r.accuse(p, facts{rule: by, run: run}, at)
		}
	}
	if proof := p.found.Load(); proof != nil {
		return r.accuse(p, facts{rule: byPeers, proof: proof}, at)
	}
	return false
}

func (r *Record) accuse(p *phase, f facts, at int64) bool {
	f.kind, f.step, f.epoch, f.since, f.until, f.acquittal = accused, p.step, at, at, p.since, never
	return r.phase.CompareAndSwap(p, newPhase(f))
}

// observeOut takes a result while the endpoint is out.
func (r *Record) observeOut(p *phase, res outcome.Result, trial bool, at, begun int64) bool {
	if begun < p.epoch {
		return false
	}
	observing := r.d.policy.Mode == outcome.Observe
	byItself := observing && !trial && !res.Late && begun >= p.until && res.Class != outcome.Neutral
	trial = trial || byItself
	if !trial {
		if observing {
			r.avoidable(res)
		}
		return false
	}
	if res.Late {
		return false
	}
	f := facts{kind: ejected, step: p.step, epoch: at, since: p.since}
	switch {
	case res.Class.Failed():
		f.step, f.until = r.next(p.step, at)
	case res.Class == outcome.Overload:
		f.until = at + r.jitter(r.d.policy.BaseEjectionTime)
	case res.Class == outcome.Success:
		f.kind, f.since, f.acquittal = serving, at, begun
	default:
		// Another may have the trial by now, who has claimed it since.
		if held := p.claim.Load(); held <= begun {
			p.claim.CompareAndSwap(held, never)
		}
		return false
	}
	if !r.phase.CompareAndSwap(p, newPhase(f)) {
		return false
	}
	if byItself {
		r.counted.trials.Add(1)
	}
	switch {
	case f.kind == serving:
		r.counted.out.Add(at - p.since)
	case res.Class.Failed():
		r.counted.failedTrials.Add(1)
	}
	return true
}

// avoidable counts a result that there would not have been under Enforce.
func (r *Record) avoidable(res outcome.Result) {
	switch {
	case !res.Late:
		r.counted.avoidable.Add(1)
		if res.Class == outcome.Success {
			r.counted.avoidableOK.Add(1)
		}
	case res.Was == outcome.Success && res.Class.Failed():
		r.counted.avoidableOK.Add(-1)
	}
}

// Accused reports whether the endpoint should be ejected, and by what
// evidence, as "5 consecutive 5xx" or "fails 40 % of 120 calls, its peers
// 1 %". It stays accused, and its results say nothing more, until Eject or
// Dismiss.
func (r *Record) Accused() (cause string, yes bool) {
	p := r.phase.Load()
	if p.kind != accused {
		return "", false
	}
	return p.cause(), true
}

// Eject puts the endpoint out, and returns until when at least: then its
// trial is due. The n-th ejection in succession lasts BaseEjectionTime·2ⁿ⁻¹,
// at most MaxEjectionTime, of which chance takes up to a fifth so that the
// processes of a fleet do not come back at once. n grows with every ejection
// and every failed trial, and goes down by one for each stretch of service
// without an ejection that is as long as the ejection it makes forgotten. An
// endpoint that is out already stays so as it is.
func (r *Record) Eject(now time.Time) (until time.Time) {
	at := r.nanos(now)
	for {
		p := r.phase.Load()
		if p.kind == ejected {
			return r.time(p.until)
		}
		returned := p.since
		if p.kind == accused {
			returned = p.until
		}
		f := facts{kind: ejected, epoch: at, since: at}
		f.step, f.until = r.next(r.forget(p.step, at-returned), at)
		if r.phase.CompareAndSwap(p, newPhase(f)) {
			r.counted.ejections.Add(1)
			return r.time(f.until)
		}
	}
}

// forget returns what is left of step after a time of service.
func (r *Record) forget(step uint8, served int64) uint8 {
	for ; step > 0; step-- {
		length, _ := r.d.policy.length(step)
		if served -= int64(length); served < 0 {
			break
		}
	}
	return step
}

// next returns the step after step, which does not grow beyond the longest
// ejection, and the end of its ejection, begun at at.
func (r *Record) next(step uint8, at int64) (uint8, int64) {
	if step == 0 {
		step = 1
	} else if _, longest := r.d.policy.length(step); !longest {
		step++
	}
	length, _ := r.d.policy.length(step)
	return step, at + r.jitter(length)
}

// jitter returns between 80 % and 100 % of d.
func (r *Record) jitter(d time.Duration) int64 {
	return int64(float64(d) * (1 - .2*float64(r.d.draw()>>11)/(1<<53)))
}

// Dismiss ends an accusation without an ejection, as the cap does. Evidence
// starts anew, and for a second there is no other accusation.
func (r *Record) Dismiss() {
	p := r.phase.Load()
	if p.kind != accused {
		return
	}
	f := facts{kind: serving, step: p.step, epoch: p.epoch, since: p.until, until: p.since + int64(accuseAgain), acquittal: never}
	if r.phase.CompareAndSwap(p, newPhase(f)) {
		r.counted.overflows.Add(1)
	}
}

// Claim reports whether the caller may make the trial call of an ejected
// endpoint: it is due and nobody else has it. Of any number of callers one
// wins. A claim ends with a result that decides, with Unclaim, or unheard
// after 30 s, when another may claim. Claim does not allocate.
func (r *Record) Claim(now time.Time) bool {
	p := r.phase.Load()
	at := r.nanos(now)
	if p.kind != ejected || at < p.until {
		return false
	}
	held := p.claim.Load()
	if held != never && at-held < int64(claimTimeout) {
		return false
	}
	if !p.claim.CompareAndSwap(held, at) {
		return false
	}
	r.counted.trials.Add(1)
	return true
}

// Unclaim gives back the trial that was claimed at a time, as given to Claim:
// its call was not made. It does nothing once another has the trial.
func (r *Record) Unclaim(claimed time.Time) {
	r.phase.Load().claim.CompareAndSwap(r.nanos(claimed), never)
}

// Out reports whether the endpoint is out, and when its trial is or was due.
func (r *Record) Out() (until time.Time, out bool) {
	p := r.phase.Load()
	if p.kind != ejected {
		return time.Time{}, false
	}
	return r.time(p.until), true
}

// Amnesty ends an ejection at once: an active probe says that the endpoint is
// well. Its ejections are not forgotten; as time of service counts what
// follows the time when its trial would have been due.
func (r *Record) Amnesty() {
	p := r.phase.Load()
	if p.kind != ejected {
		return
	}
	f := facts{kind: serving, step: p.step, epoch: p.epoch, since: p.until, acquittal: never}
	if r.phase.CompareAndSwap(p, newPhase(f)) {
		r.counted.amnesties.Add(1)
	}
}

// Stats returns the counts so far. They are read one after the other.
func (r *Record) Stats() OutlierStats {
	c := &r.counted
	s := OutlierStats{
		Ejections: c.ejections.Load(), Overflows: c.overflows.Load(),
		FailedTrials: c.failedTrials.Load(), Amnesties: c.amnesties.Load(),
		TimeOut:             time.Duration(c.out.Load()),
		WouldAvoidSucceeded: uint64(max(0, c.avoidableOK.Load())),
	}
	s.Trials = c.trials.Load()
	s.WouldAvoid = uint64(c.avoidable.Load())
	return s
}

func (r *Record) nanos(t time.Time) int64 { return int64(t.Sub(r.base)) }

func (r *Record) time(nanos int64) time.Time { return r.base.Add(time.Duration(nanos)) }

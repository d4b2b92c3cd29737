package health

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/outcome"
)

// kind is where an endpoint stands with outlier detection.
type kind uint8

const (
	serving kind = iota // nothing is said against it, as yet
	accused             // wants to be ejected; someone has to decide
	ejected             // out, waiting for its trial or in it
)

// rule is what an endpoint can be accused by. The first three are indexes of
// runs of failures, the most telling first.
type rule uint8

const (
	byLocalOrigin rule = iota
	byGateway
	by5xx
	numRuns
	byPeers
	byTrial
)

// never is before any time that a record knows.
const never = math.MinInt64

// facts are what does not change within a phase. Times are nanoseconds since
// the detector's first.
type facts struct {
	kind kind
	// step counts the ejections in succession.
	step uint8
	// rule, run and proof are what the endpoint is accused by.
	rule  rule
	run   int64
	proof *proof
	// epoch is the time before which an attempt must not have begun if its
	// result is to say something.
	epoch int64
	// since is when the endpoint returned, was accused or was ejected.
	since int64
	// until is when a trial is due; while serving, when the next accusation
	// may come; while accused, since when the endpoint had served.
	until int64
	// acquittal is when the attempt began that ended the last ejection.
	acquittal int64
}

// phase is one stretch in the life of a record. A change of its facts makes a
// new phase, without the evidence of the old one; who puts it in the place of
// the old one by compare-and-swap has decided, and the others have not.
//
// What every result reads fills the first cache line, what results write lies
// on the others, and no other object on any of them: the allocator keeps
// objects of 256 bytes so.
type phase struct {
	facts
	// claim is when the trial was claimed, never while it is free.
	claim atomic.Int64

	ok, failed atomic.Int64
	runs       [numRuns]atomic.Int64
	// A success sets the runs aside in case it turns out to be none; opened
	// is when its attempt began.
	opened atomic.Int64
	aside  [numRuns]atomic.Int64
	// found is set by the sweep when the comparison goes against the endpoint.
	found atomic.Pointer[proof]
	// series belongs to the sweep.
	series series
	_      [24]byte
}

func newPhase(f facts) *phase {
	p := &phase{facts: f}
	p.claim.Store(never)
	p.opened.Store(never)
	return p
}

// counts reports whether a failure of class c belongs to the runs of r.
func (r rule) counts(c outcome.Class) bool {
	switch r {
	case byLocalOrigin:
		return c >= outcome.Connect
	case byGateway:
		return c >= outcome.Gateway
	default:
		return true
	}
}

// succeed counts a success of an attempt that began at begun.
func (p *phase) succeed(begun int64) {
	p.ok.Add(1)
	var was [numRuns]int64
	ended := false
	for k := range p.runs {
		if n := p.runs[k].Load(); n != 0 {
			ended = true
			was[k] = n
			p.runs[k].Store(0)
		}
	}
	switch {
	case ended:
		for k := range p.runs {
			p.aside[k].Store(was[k])
		}
		p.opened.Store(begun)
	case p.opened.Load() != never:
		p.opened.Store(never)
	}
}

// answer counts an answer that is neither a success nor a failure.
func (p *phase) answer() {
	if p.runs[byLocalOrigin].Load() != 0 {
		p.runs[byLocalOrigin].Store(0)
	}
}

// fail counts a failure. One that was taken for a success takes that back:
// where it had ended runs, and no other success has come since, they go on.
func (p *phase) fail(c outcome.Class, succeeded bool, begun int64) {
	p.failed.Add(1)
	resume := false
	if succeeded {
		p.ok.Add(-1)
		resume = p.opened.CompareAndSwap(begun, never)
	}
	for k := range p.runs {
		switch {
		case resume:
			n := p.aside[k].Swap(0)
			if rule(k).counts(c) {
				p.runs[k].Add(n + 1)
			}
		case rule(k).counts(c):
			p.runs[k].Add(1)
		case p.runs[k].Load() != 0:
			p.runs[k].Store(0)
		}
	}
}

// tooLong returns the most telling rule whose run of failures is too long.
func (p *phase) tooLong(limits *[numRuns]int64) (by rule, run int64, found bool) {
	for k := range p.runs {
		if n := p.runs[k].Load(); limits[k] > 0 && n >= limits[k] {
			return rule(k), n, true
		}
	}
	return 0, 0, false
}

// cause says in words what the endpoint is accused by.
func (f *facts) cause() string {
	switch f.rule {
	case byLocalOrigin:
		return fmt.Sprintf("%d consecutive connect failures, resets or time-outs", f.run)
	case byGateway:
		return fmt.Sprintf("%d consecutive gateway failures", f.run)
	case by5xx:
		return fmt.Sprintf("%d consecutive 5xx", f.run)
	case byTrial:
		return "the response to its trial broke off"
	default:
		return f.proof.String()
	}
}

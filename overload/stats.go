package overload

import "time"

// Stats are the figures of a Guard.
type Stats struct {
	// InFlight is how many requests are in, Waiting how many wait, Limit how
	// many can be in at once, Peak the most there have been.
	InFlight int `json:"inFlight"`
	Waiting  int `json:"waiting"`
	Limit    int `json:"limit"`
	Peak     int `json:"peak"`
	// Waited counts the requests that had to wait and were let in, Refused
	// those that were refused for want of a place, Expired those whose context
	// had ended before they got one. Under Observe Waited counts those that
	// would have had to wait, WouldRefuse those that would have been refused
	// or had ended, and WouldRefuseSucceeded those of them that were served.
	Waited               uint64 `json:"waited"`
	Refused              uint64 `json:"refused"`
	Expired              uint64 `json:"expired"`
	WouldRefuse          uint64 `json:"wouldRefuse,omitempty"`
	WouldRefuseSucceeded uint64 `json:"wouldRefuseSucceeded,omitempty"`
	// SentBack counts the requests that went back to their callers unworked,
	// which are not among those above, nor in the figures below. WouldSendBack
	// counts those that would have under Observe.
	SentBack      uint64 `json:"sentBack,omitempty"`
	WouldSendBack uint64 `json:"wouldSendBack,omitempty"`
	// ServiceTime is how long a request takes, without waiting; CPU the part
	// of the processors in use; RPS and EPS how many requests are answered and
	// how many of them in error, each second, refusals among them. They are
	// averages over about two seconds of traffic, and 0 if not known.
	ServiceTime time.Duration `json:"serviceTime"`
	CPU         float64       `json:"cpu"`
	RPS         float64       `json:"rps"`
	EPS         float64       `json:"eps"`
	// Leaving is what SetLeaving has set.
	Leaving bool `json:"leaving"`
}

// Stats returns the figures.
func (g *Guard) Stats() Stats {
	g.meter.tick(time.Now())
	f := g.meter.found.Load()
	return Stats{
		InFlight: int(g.inFlight.Load()), Waiting: int(g.waiting.Load()), Limit: int(g.places.limit.Load()), Peak: int(g.peak.Load()),
		Waited: g.waited.Load(), Refused: g.refused.Load(), Expired: g.expired.Load(),
		WouldRefuse: g.wouldRefuse.Load(), WouldRefuseSucceeded: g.wouldRefuseSucceeded.Load(),
		SentBack: g.sentBack.Load(), WouldSendBack: g.wouldSendBack.Load(),
		ServiceTime: f.service, CPU: f.cpu, RPS: f.rps, EPS: f.eps, Leaving: g.leaving.Load(),
	}
}

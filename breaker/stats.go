package breaker

import "time"

// Stats are the state and the counts of a Breaker.
type Stats struct {
	// State is the state, Since when it began.
	State State     `json:"state"`
	Since time.Time `json:"since"`
	// HalfOpenAt is when an open breaker lets trials through.
	HalfOpenAt time.Time `json:"halfOpenAt,omitzero"`
	// Calls, Failures and Slow are what the window of a closed breaker holds,
	// else what it held as the incident began.
	Calls    int `json:"calls"`
	Failures int `json:"failures"`
	Slow     int `json:"slow,omitempty"`
	// Opened counts incidents, Reopened the failed trials of the last one.
	Opened   uint64 `json:"opened"`
	Reopened int    `json:"reopened,omitempty"`
	// Refused counts the calls refused; under Observe WouldRefuse those that
	// would have been, WouldRefuseSucceeded those of them that succeeded.
	Refused              uint64 `json:"refused"`
	WouldRefuse          uint64 `json:"wouldRefuse,omitempty"`
	WouldRefuseSucceeded uint64 `json:"wouldRefuseSucceeded,omitempty"`
	// LastCause is why the breaker last opened, empty if it never has.
	LastCause string `json:"lastCause,omitempty"`
}

// Stats returns the state and the counts.
func (b *Breaker) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Stats{
		State: b.State(), Since: b.epoch.Add(b.since),
		Opened: b.opened, Reopened: b.incident.reopened, LastCause: b.incident.cause,
		Refused: b.refused.Load(), WouldRefuse: b.wouldRefuse.Load(), WouldRefuseSucceeded: b.wouldRefuseSucceeded.Load(),
	}
	switch s.State {
	case Closed:
		// The window only moves when something is added to it.
		if now := b.offset(time.Now()); now < b.added+b.policy.Window {
			s.Calls, s.Failures, s.Slow = b.counts(now)
		}
	case Open:
		s.HalfOpenAt = b.epoch.Add(time.Duration(b.openUntil.Load()))
		fallthrough
	default:
		s.Calls, s.Failures, s.Slow = b.incident.calls, b.incident.failures, b.incident.slow
	}
	return s
}

// counts returns what the windows of a closed breaker hold.
func (b *Breaker) counts(at time.Duration) (calls, failures, slow int) {
	calls, failures = b.calls.counts(at)
	if b.slow != nil {
		_, slow = b.slow.counts(at)
	}
	return calls, failures, slow
}

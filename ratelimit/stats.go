package ratelimit

// Stats are the counts of a Limiter. They are of policies and never of keys.
type Stats struct {
	// Allowed counts the requests let through, Refused those refused.
	Allowed uint64 `json:"allowed"`
	Refused uint64 `json:"refused"`
	// Waiting is how many requests wait, Waited counts those that had to.
	Waiting int    `json:"waiting,omitempty"`
	Waited  uint64 `json:"waited,omitempty"`
	// StoreFailed counts questions that the Store did not answer, or not in
	// time, StoreSkipped those it was not asked because it had failed before.
	StoreFailed  uint64 `json:"storeFailed,omitempty"`
	StoreSkipped uint64 `json:"storeSkipped,omitempty"`
	// StoreResting reports whether the Store is left alone for now.
	StoreResting bool `json:"storeResting,omitempty"`
	// Policies are the counts of each policy, those enforced first.
	Policies []PolicyStats `json:"policies"`
}

// PolicyStats are the counts of one policy of a Limiter.
type PolicyStats struct {
	Name string `json:"name"`
	// Refused counts the requests that the policy refused, alone or with
	// others.
	Refused uint64 `json:"refused"`
	// WouldRefuse counts, under Observe, the requests that it would have
	// refused, WouldRefuseSucceeded those of them that succeeded.
	WouldRefuse          uint64 `json:"wouldRefuse,omitempty"`
	WouldRefuseSucceeded uint64 `json:"wouldRefuseSucceeded,omitempty"`
	// Keys is how many keys have used some of their burst, MaxKeys for how many
	// there is room. Where that is more than 65 536, Keys is an estimate, made
	// of so many.
	Keys    int `json:"keys,omitempty"`
	MaxKeys int `json:"maxKeys,omitempty"`
	// Evicted counts keys that made room while their burst was whole.
	// Displaced counts those that had used some of it, so that another key
	// inherited that: if it grows, MaxKeys is too small, or somebody floods.
	Evicted   uint64 `json:"evicted,omitempty"`
	Displaced uint64 `json:"displaced,omitempty"`
}

// Stats returns the counts. It is for people and their dashboards, not for
// every request: to count the keys of a policy it looks at up to 65 536
// buckets, which takes tens of microseconds, or some hundreds
// where there are many more.
func (l *Limiter) Stats() Stats {
	s := Stats{Allowed: l.allowed.load(), Refused: l.refused.load(), Waiting: int(l.queue.length.Load()), Waited: l.queue.waited.Load()}
	if m := l.remote; m != nil {
		s.StoreFailed, s.StoreSkipped, s.StoreResting = m.failed.Load(), m.skipped.Load(), m.restUntil.Load() != 0
	}
	now := since(l)
	for i := range l.limits {
		b := &l.limits[i]
		p := PolicyStats{
			Name: b.Name, Refused: b.refused.load(),
			WouldRefuse: b.wouldRefuse.Load(), WouldRefuseSucceeded: b.wouldRefuseSucceeded.Load(),
		}
		if t := b.table; t != nil {
			p.Keys, p.MaxKeys = t.active(b.ticks(now)), len(t.slots)
			p.Evicted, p.Displaced = t.evicted.Load(), t.displaced.Load()
		}
		if l.single {
			s.Refused = p.Refused
		}
		s.Policies = append(s.Policies, p)
	}
	return s
}

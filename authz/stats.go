package authz

import "sync/atomic"

// Stats count what an Authorizer has decided.
type Stats struct {
	// Rules are those of the policy, in its order.
	Rules []RuleStats `json:"rules"`
	// Unmatched are the requests that no rule decided: denied if there is an
	// Allow rule, else allowed.
	Unmatched Counts `json:"unmatched"`
}

// RuleStats count the requests that one rule decided. Of several rules that
// match, the first of the action that wins decides.
type RuleStats struct {
	// Name and Action are those of the rule.
	Name   string `json:"name"`
	Action Action `json:"action"`
	Counts
}

// Counts count requests.
type Counts struct {
	// Matched are all requests decided.
	Matched uint64 `json:"matched"`
	// Denied are those refused.
	Denied uint64 `json:"denied"`
	// WouldDeny are those that Observe let through and Enforce would refuse.
	WouldDeny uint64 `json:"wouldDeny"`
	// Succeeded are those of WouldDeny that were then answered with a status
	// below 400: what Enforce would have broken, or a hole it would have
	// closed. See Decision.Done.
	Succeeded uint64 `json:"succeeded"`
}

// counters has cache lines of its own, as rules are counted by many at once.
type counters struct {
	allowed, denied, wouldDeny, succeeded atomic.Uint64

	_ [32]byte
}

func (c *counters) counts() Counts {
	// succeeded comes first, so that it never exceeds what it is part of.
	succeeded, allowed, denied, wouldDeny := c.succeeded.Load(), c.allowed.Load(), c.denied.Load(), c.wouldDeny.Load()
	return Counts{Matched: allowed + denied + wouldDeny, Denied: denied, WouldDeny: wouldDeny, Succeeded: succeeded}
}

// Stats returns the counts so far.
func (a *Authorizer) Stats() Stats {
	stats := Stats{Rules: make([]RuleStats, len(a.rules)), Unmatched: a.unmatched.counts()}
	for i, r := range a.rules {
		stats.Rules[i] = RuleStats{Name: r.Name, Action: r.Action, Counts: r.counts.counts()}
	}
	return stats
}

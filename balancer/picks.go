package balancer

import "sync/atomic"

// Counted is a Balancer that counts for what reasons it picked.
type Counted interface {
	// Picks returns how many picks there were for each reason, always all
	// reasons in the same order. It may be called at any time. Where a Spreader
	// has picked several times for one attempt, it is the first pick that
	// counts.
	Picks() []PickCount
}

// PickCount is how many picks there were for one reason.
type PickCount struct {
	// Reason is a lower-case word fit for a metric label, of a fixed list for
	// each policy.
	Reason string `json:"reason"`
	Picks  uint64 `json:"picks"`
}

// addPicks adds counts to those of other Balancers of the same policy.
func addPicks(all, more []PickCount) []PickCount {
	if all == nil {
		return more
	}
	for i := range all {
		all[i].Picks += more[i].Picks
	}
	return all
}

// The reasons for which LoadFed picks.
const (
	// PickToken is a pick by a token, which is how it should be.
	PickToken = "token"
	// PickExplore is one that looked for what tokens do not know of.
	PickExplore = "explore"
	// PickUnreported is an endpoint that reports nothing, or is new, and won
	// against another by its latency.
	PickUnreported = "unreported"
	// The rest fell back on older reports and latencies: with PickDry because
	// there was no token, with PickOld because all were too old, with PickCapped because
	// their endpoints had had several times their share, with PickAvoided
	// because the call had tried these already.
	PickDry     = "dry"
	PickOld     = "old"
	PickCapped  = "capped"
	PickAvoided = "avoided"
	// PickOnly is the only endpoint there is, or that need not be avoided.
	PickOnly = "only"
)

type reason uint8

const (
	pickedToken reason = iota
	pickedExploring
	pickedUnreported
	pickedDry
	pickedOld
	pickedCapped
	pickedAvoided
	pickedOnly
	numReasons
)

var reasons = [numReasons]string{
	PickToken, PickExplore, PickUnreported, PickDry, PickOld, PickCapped, PickAvoided, PickOnly,
}

// picks counts picks by reason, in shards so that they seldom meet.
type picks struct {
	_      [cacheLine]byte
	shards [numShards]struct {
		counts [numReasons]atomic.Uint64
		_      [2*cacheLine - numReasons*8]byte
	}
}

const numShards = 8

func (p *picks) count(draw uint64, why reason) { p.shards[draw%numShards].counts[why].Add(1) }

// Picks implements Counted.
func (b *loadFed) Picks() []PickCount {
	all := make([]PickCount, numReasons)
	for i, name := range reasons {
		all[i].Reason = name
		for s := range b.picks.shards {
			all[i].Picks += b.picks.shards[s].counts[i].Load()
		}
	}
	return all
}

package tulle

import (
	"sync/atomic"

	"github.com/tulle-mesh/tulle/outcome"
)

// stats counts the calls of one service, or of one route. It is padded so
// that two of them do not share a cache line.
type stats struct {
	_       [64]byte
	active  atomic.Int64
	calls   atomic.Uint64
	status  [6]atomic.Uint64 // by hundreds; 0 is none
	_       [48]byte
	reasons [32]atomic.Uint64
}

// CallCounts are totals of calls since the mesh was made.
type CallCounts struct {
	// Active is how many calls are under way, up to the end of the body.
	Active int64 `json:"active"`
	// Calls is how many were begun.
	Calls uint64 `json:"calls"`
	// Status counts the responses that callers got, by "2xx" and so on.
	Status map[string]uint64 `json:"status,omitempty"`
	// Reasons counts what the mesh answered, refused or gave up.
	Reasons map[outcome.Reason]uint64 `json:"reasons,omitempty"`
}

func (s *stats) begin() {
	s.calls.Add(1)
	s.active.Add(1)
}

// end counts a call that has ended and reports whether none is left.
func (s *stats) end(status int, reason outcome.Reason) (last bool) {
	if status > 0 {
		s.status[min(status/100, len(s.status)-1)].Add(1)
	}
	if reason != outcome.NoReason {
		s.count(reason)
	}
	return s.active.Add(-1) == 0
}

func (s *stats) count(reason outcome.Reason) { s.reasons[int(reason)%len(s.reasons)].Add(1) }

func (s *stats) snapshot() CallCounts {
	c := CallCounts{Active: s.active.Load(), Calls: s.calls.Load()}
	for i := 1; i < len(s.status); i++ {
		if n := s.status[i].Load(); n > 0 {
			if c.Status == nil {
				c.Status = map[string]uint64{}
			}
			c.Status[string(rune('0'+i))+"xx"] = n
		}
	}
	for _, r := range outcome.Reasons() {
		if n := s.reasons[r].Load(); n > 0 {
			if c.Reasons == nil {
				c.Reasons = map[outcome.Reason]uint64{}
			}
			c.Reasons[r] = n
		}
	}
	return c
}

package balancer

import (
	"math"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/endpoint"
)

// strides is a static stride scheduler, as in gRPC: the members are gone
// through round by round, and each lets rounds pass so that it has its turn in
// weight of any fullStride rounds, evenly. One counter that all picks move is
// all the state there is, so that picks need no lock.
type strides struct {
	// members have weights up to fullStride, which one of them has.
	members []member
	// heaviest has its turn in each round.
	heaviest *endpoint.Endpoint
}

const (
	fullStride = 1<<16 - 1
	// turnBits is what the counter has to grow, and to be multiplied by a
	// weight, until it overflows.
	turnBits = 24
	// Weights are kept between these parts of their mean.
	maxOfMean = 10
	minOfMean = 0.01
)

// newStrides returns nil if fewer than two of the weights are known, which are
// those that are not zero.
func newStrides(eps []*endpoint.Endpoint, weights []float64) *strides {
	var sum, most float64
	known := 0
	for _, w := range weights {
		if w > 0 {
			sum, most = sum+w, max(most, w)
			known++
		}
	}
	if known < 2 {
		return nil
	}
	mean := sum / float64(known)
	most = min(most, maxOfMean*mean)
	s := &strides{members: make([]member, len(eps))}
	for i, w := range weights {
		if w == 0 {
			w = mean
		}
		scaled := math.Round(min(max(w, minOfMean*mean), most) / most * fullStride)
		s.members[i] = member{eps[i], uint32(scaled)}
		if scaled == fullStride {
			s.heaviest = eps[i]
		}
	}
	return s
}

// pick returns whose turn it is, but for who is to be avoided.
func (s *strides) pick(turn *atomic.Uint64, q *Query) *endpoint.Endpoint {
	first := s.next(turn)
	if len(q.Avoid) == 0 || !q.Avoids(first) {
		return first
	}
	for range min(maxSkips, len(s.members)-1) {
		if ep := s.next(turn); !q.Avoids(ep) {
			return ep
		}
	}
	if ep := other(s.members, q); ep != nil {
		return ep
	}
	return first
}

// next returns whose turn it is. Who finds that it is nobody's in as many
// places as there are members has met others in between, who took the turns.
func (s *strides) next(turn *atomic.Uint64) *endpoint.Endpoint {
	n := uint64(len(s.members))
	for range s.members {
		t := turn.Add(1) - 1
		round, i := t/n, t%n
		m := &s.members[i]
		// A member comes to a turn whenever weight·round passes a multiple of
		// fullStride. That every other one is half of that ahead keeps members
		// of like weight from letting the same rounds pass.
		if (uint64(m.weight)*round+i*(fullStride/2))%fullStride >= fullStride-uint64(m.weight) {
			return m.ep
		}
	}
	return s.heaviest
}

package breaker

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// incident is what is known of the time from a breaker's opening to its
// closing. It is guarded by the mutex of its Breaker.
type incident struct {
	began                 time.Duration
	cause                 string
	calls, failures, slow int
	reopened              int
	// refused is what the Breaker had refused before.
	refused uint64
}

// event returns the event for the incident at one of its ends.
func (b *Breaker) event(at time.Duration, open bool, cause string) Event {
	i := &b.incident
	e := Event{
		Service: b.options.Service, Endpoint: b.options.Endpoint,
		Open: open, Mode: b.policy.Mode, Cause: cause,
		At: b.epoch.Add(at), Since: b.epoch.Add(i.began), Duration: at - i.began,
		Calls: i.calls, Failures: i.failures, Slow: i.slow,
		Last: b.last.list(b.epoch), Reopened: i.reopened, Refused: b.refusals() - i.refused,
	}
	if open {
		e.HalfOpenAt = b.epoch.Add(time.Duration(b.openUntil.Load()))
	}
	return e
}

func (b *Breaker) refusals() uint64 { return b.refused.Load() + b.wouldRefuse.Load() }

// events are those that have not been told yet, in order. It is guarded by
// the mutex of its Breaker.
type events struct {
	queue   []Event
	telling bool
}

// add appends an event. Those of a listener that hangs are dropped in pairs,
// an end with the beginning after it or the other way round, so that the rest
// still takes turns.
func (e *events) add(v Event) {
	const most = 16
	if len(e.queue) >= most {
		e.queue = slices.Delete(e.queue, 0, 2)
	}
	e.queue = append(e.queue, v)
}

// tell tells the listener of all events, unless another goroutine is at it,
// which then goes on with them. No lock is held.
func (b *Breaker) tell() {
	for {
		b.mu.Lock()
		if b.events.telling || len(b.events.queue) == 0 {
			b.mu.Unlock()
			return
		}
		e := b.events.queue[0]
		b.events.queue = slices.Delete(b.events.queue, 0, 1)
		b.events.telling = true
		b.mu.Unlock()
		b.tellOne(e)
	}
}

func (b *Breaker) tellOne(e Event) {
	returned := false
	defer func() {
		b.mu.Lock()
		b.events.telling = false
		b.mu.Unlock()
		if !returned {
			// A panic goes on to the caller; the other events are still told.
			b.tell()
		}
	}()
	if b.options.OnEvent != nil {
		b.options.OnEvent(e)
	}
	returned = true
}

// samples are the latest judged results.
type samples struct {
	ring [8]sample
	n    uint64
}

type sample struct {
	at, latency time.Duration
	trace       [16]byte
	status      uint16
	class       outcome.Class
}

func (s *samples) add(r outcome.Result, at time.Duration) {
	s.ring[s.n%uint64(len(s.ring))] = sample{at, r.Latency, r.TraceID, uint16(r.Status), r.Class}
	s.n++
}

// list returns the samples, the newest last.
func (s *samples) list(epoch time.Time) []Sample {
	n := min(s.n, uint64(len(s.ring)))
	all := make([]Sample, 0, n)
	for i := s.n - n; i < s.n; i++ {
		v := &s.ring[i%uint64(len(s.ring))]
		one := Sample{At: epoch.Add(v.at), Class: v.class, Status: int(v.status), Latency: v.latency}
		if v.trace != [16]byte{} {
			one.TraceID = hex.EncodeToString(v.trace[:])
		}
		all = append(all, one)
	}
	return all
}

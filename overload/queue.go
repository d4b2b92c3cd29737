package overload

import (
	"context"
	"time"
)

// target is the wait that CoDel tolerates in a standing queue (RFC 8289); the
// queue as a whole follows "Fail at Scale", Ben Maurer, ACM Queue 13(8), 2015.
const target = 5 * time.Millisecond

// waiter is a request that waits for a place.
type waiter struct {
	prev, next *waiter
	queued     bool
	// ready is closed when the waiter has left the queue by another's hand:
	// with a place, or refused.
	ready   chan struct{}
	place   place
	refused bool
}

// queue holds the waiters in the order of their arrival. Its owner locks.
type queue struct {
	first, last *waiter
	length      int
	// since is when the queue was last empty.
	since time.Time
	// standing says that it has not been empty for MaxWait: the last comes
	// first then.
	standing bool
}

func (q *queue) push(w *waiter, now time.Time, interval time.Duration) {
	if q.first == nil {
		q.since, q.standing = now, false
	}
	q.standing = q.standing || now.Sub(q.since) > interval
	w.prev, w.queued = q.last, true
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.length++
}

// following returns who gets the next place, nil if nobody waits.
func (q *queue) following() *waiter {
	if q.standing {
		return q.last
	}
	return q.first
}

func (q *queue) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	q.length--
}

// wait waits for a place from now on.
func (g *Guard) wait(ctx context.Context, now time.Time) (place, error) {
	w, patience := g.join(now)
	if w == nil {
		return place{}, g.refuse(0)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.ready:
	case <-ctx.Done():
		g.leave(w)
	case <-timer.C:
		g.leave(w)
	}
	// The place may have come at the same moment as the end of the wait.
	held := false
	select {
	case <-w.ready:
		held = !w.refused
	default:
	}
	if ctx.Err() != nil {
		if held {
			g.inFlight.Add(-1)
			g.release(w.place, false)
		}
		g.expired.Add(1)
		return place{}, context.Cause(ctx)
	}
	if !held {
		return place{}, g.refuse(time.Since(now))
	}
	return w.place, nil
}

// join returns a waiter that is in the queue, or has been in it, and how long
// it is to wait; nil if there is no room.
func (g *Guard) join(now time.Time) (*waiter, time.Duration) {
	if g.policy.Waiting < 0 {
		return nil, 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.queue.length >= g.policy.Waiting {
		// In a standing queue who has waited longest makes room.
		if !g.queue.standing {
			return nil, 0
		}
		first := g.queue.first
		g.dismiss(first)
		first.refused = true
		close(first.ready)
	}
	w := &waiter{ready: make(chan struct{})}
	// Whoever gives a place back looks at waiting afterwards: it sees this
	// waiter, or handOver sees its place.
	g.waiting.Add(1)
	g.queue.push(w, now, g.policy.MaxWait)
	g.handOver()
	patience := g.policy.MaxWait
	if g.queue.standing {
		// On a slow link CoDel tolerates the packet that is being sent. What is
		// sent here are places: at least one must have time to become free.
		between := g.meter.serviceTime() / time.Duration(max(1, g.places.limit.Load()))
		patience = min(patience, max(target, 2*between))
	}
	return w, patience
}

// handOver gives places to those who wait. It is called with mu held.
func (g *Guard) handOver() {
	for w := g.queue.following(); w != nil; w = g.queue.following() {
		p, ok := g.places.take()
		if !ok {
			return
		}
		// Counted here, not when it runs: on a busy server that is later, and
		// load reports are not to miss it meanwhile.
		g.count()
		g.dismiss(w)
		w.place = p
		close(w.ready)
	}
}

// dismiss takes w out of the queue. It is called with mu held.
func (g *Guard) dismiss(w *waiter) {
	g.queue.remove(w)
	g.waiting.Add(-1)
}

// leave takes w out of the queue if it is in it.
func (g *Guard) leave(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.queued {
		g.dismiss(w)
	}
}

// release gives a place back, or to who waits for one.
func (g *Guard) release(p place, timed bool) {
	g.places.give(p, timed)
	if g.waiting.Load() > 0 {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.handOver()
	}
}

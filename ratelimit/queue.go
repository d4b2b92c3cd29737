package ratelimit

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Acquire is Take for those who wait: it returns when the request is allowed,
// at once or within Config.MaxWait, and otherwise fails with an *Error, or
// with the cause of r's context if that ends first. Requests that want the same
// bucket get it in the order of their arrival; one that would have to wait
// longer than MaxWait or the deadline of its context allows is refused at once.
func (l *Limiter) Acquire(r *http.Request, cost int64) (Decision, error) {
	now := time.Now()
	if l.config.MaxWait == 0 {
		d := l.Take(r, cost, now)
		return d, d.Err()
	}
	var k keys
	l.keysOf(r, &k)
	// While nobody waits, there is nobody to overtake.
	if l.queue.length.Load() == 0 {
		var d Decision
		if l.decide(&d, &k, cost, now.Sub(l.epoch)); d.Allowed {
			l.count(&d, now.Sub(l.epoch))
			return d, nil
		}
	}
	w := &waiter{keys: k, cost: cost, ready: make(chan struct{})}
	patience := l.config.MaxWait
	if deadline, ok := r.Context().Deadline(); ok {
		patience = min(patience, deadline.Sub(now))
	}
	if !l.queue.join(w, patience) {
		l.count(&w.decision, now.Sub(l.epoch))
		return w.decision, w.decision.Err()
	}
	return l.queue.wait(r.Context(), w, now)
}

// queue holds the requests that wait, in the order of their arrival.
type queue struct {
	limiter *Limiter
	length  atomic.Int64 // of waiters, changed under mu
	waited  atomic.Uint64

	mu      sync.Mutex
	waiters []*waiter
	// timer runs serve when the next bucket has refilled.
	timer *time.Timer
}

type waiter struct {
	keys     keys
	cost     int64
	decision Decision // the last one
	queued   bool
	// ready is closed when decision has become one that allows.
	ready chan struct{}
}

func (q *queue) init(l *Limiter) { q.limiter = l }

// join decides on w in its turn, and makes it wait if it is refused. It
// reports false if w does not wait, be it that it is allowed or that waiting
// is of no use.
func (q *queue) join(w *waiter, patience time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiters = append(q.waiters, w)
	q.length.Store(int64(len(q.waiters)))
	w.queued = true
	q.serveLocked()
	if !w.queued {
		return false
	}
	if len(q.waiters) > q.limiter.config.Waiting || w.decision.RetryAfter == 0 || w.decision.RetryAfter > patience {
		q.remove(w)
		return false
	}
	q.waited.Add(1)
	return true
}

func (q *queue) wait(ctx context.Context, w *waiter, start time.Time) (Decision, error) {
	late := time.NewTimer(q.limiter.config.MaxWait)
	defer late.Stop()
	select {
	case <-w.ready:
	case <-ctx.Done():
		if q.leave(w) {
			return Decision{limiter: q.limiter}, context.Cause(ctx)
		}
	case <-late.C:
		if q.leave(w) {
			now := since(q.limiter)
			d := q.limiter.behind(w, now)
			d.Waited = time.Since(start)
			q.limiter.count(&d, now)
			return d, d.Err()
		}
	}
	// Its turn has come, be it at the same moment, and it has been charged.
	q.limiter.count(&w.decision, since(q.limiter))
	w.decision.Waited = time.Since(start)
	return w.decision, nil
}

// leave takes w out of the queue and reports whether it was in it.
func (q *queue) leave(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !w.queued {
		return false
	}
	q.remove(w)
	return true
}

func (q *queue) remove(w *waiter) {
	for i, other := range q.waiters {
		if other == w {
			copy(q.waiters[i:], q.waiters[i+1:])
			q.cut(len(q.waiters) - 1)
			break
		}
	}
	w.queued = false
}

// cut shortens the queue to n waiters.
func (q *queue) cut(n int) {
	clear(q.waiters[n:])
	q.waiters = q.waiters[:n]
	q.length.Store(int64(n))
	if n == 0 && q.timer != nil {
		q.timer.Stop()
	}
}

// serve lets those through whose turn has come.
func (q *queue) serve() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.serveLocked()
}

// bucketID names a bucket.
type bucketID struct {
	policy int
	hash   uint64
}

// serveLocked goes through the queue once. A bucket that has refused one
// waiter is not tried for those behind him.
func (q *queue) serveLocked() {
	l := q.limiter
	now := since(l)
	blocked := map[bucketID]bool{}
	var next time.Duration
	n := 0
	for _, w := range q.waiters {
		if policy := l.blocked(&w.keys, blocked); policy >= 0 {
			if w.decision.limiter == nil {
				// It has not been refused itself yet.
				w.decision = Decision{policy: policy, violated: 1 << policy, RetryAfter: next}
				w.decision = l.behind(w, now)
			}
		} else {
			w.decision = Decision{}
			if l.decide(&w.decision, &w.keys, w.cost, now); w.decision.Allowed {
				w.queued = false
				close(w.ready)
				continue
			}
			wait := w.decision.RetryAfter
			for i := range l.limits {
				if w.decision.violated&(1<<i) != 0 {
					blocked[bucketID{i, w.keys[i]}] = true
				}
			}
			if wait > 0 && (next == 0 || wait < next) {
				next = wait
			}
		}
		q.waiters[n] = w
		n++
	}
	q.cut(n)
	if next == 0 {
		return
	}
	if q.timer == nil {
		q.timer = time.AfterFunc(next, q.serve)
	} else {
		q.timer.Reset(next)
	}
}

// since is the reading of the clock.
func since(l *Limiter) time.Duration { return time.Since(l.epoch) }

// blocked returns the first policy of which k names a bucket that has refused
// somebody, -1 if there is none.
func (l *Limiter) blocked(k *keys, refused map[bucketID]bool) int {
	for i := range l.enforced {
		if refused[bucketID{i, k[i]}] {
			return i
		}
	}
	return -1
}

// behind returns a refusal for w, who is not to be served: by its own buckets
// or, if these would allow it, by the one whose turn w has to wait for.
func (l *Limiter) behind(w *waiter, now time.Duration) (d Decision) {
	t := tally{limiter: l, cost: w.cost, since: now, dry: true}
	t.chargeAll(0, l.enforced, &w.keys)
	t.tell(&d)
	if d.Allowed {
		b := &l.limits[w.decision.policy]
		d.Allowed, d.Policy, d.Limit, d.policy = false, b.Name, b.Burst, w.decision.policy
		d.violated, d.RetryAfter = w.decision.violated, max(1, w.decision.RetryAfter)
	}
	return d
}

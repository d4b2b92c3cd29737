package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// Store keeps buckets that many processes share. It must be comparable, and
// safe for concurrent use.
type Store interface {
	// Take charges all of the buckets named, or none if one of them does not
	// hold what is asked of it, and returns the level of each, in their
	// order. It must do so atomically, by a clock of its own, and return soon
	// after ctx has ended; it must not keep charges. An error says that it is
	// not known what has been charged.
	Take(ctx context.Context, charges []Charge) ([]Level, error)
}

// Charge names a bucket, and what is to be taken from it.
type Charge struct {
	// Policy is the policy, with its defaults filled in.
	Policy Policy
	// Key tells the buckets of the policy apart: 22 characters of base64url
	// that do not tell the key they stand for and are the same in all
	// processes, "-" for requests that have no key, and "" where all requests
	// share a bucket.
	Key string
	// Cost is what is to be taken, at most the Burst of the policy.
	Cost int64
}

// Level is what a bucket says to a Charge.
type Level struct {
	// Allowed reports whether the bucket held the cost. If all did, all have
	// been charged.
	Allowed bool
	// Remaining is what the bucket holds afterwards.
	Remaining int64
	// Reset is when the bucket will be full.
	Reset time.Duration
	// RetryAfter is when the bucket will hold the cost, above 0 if it does
	// not now.
	RetryAfter time.Duration
}

const (
	// maxAsking bounds what a Store that does not return may hold on to.
	maxAsking = 256
	// After so many failures in a row a Store is left alone for a while, and
	// then asked by one request at a time until it answers. Otherwise every
	// request would wait for the time-out.
	failuresToRest = 5
	restFor        = time.Second
)

var (
	errResting = errors.New("the store has failed and is left alone for a second")
	errBusy    = errors.New("too many requests wait for the store")
	errTimeout = errors.New("the store took too long")
	errLevels  = errors.New("the store answered to other charges than those asked")
	errLapsed  = errors.New("the request ended before the store answered")
)

// remote is a Store, of which nothing is expected.
type remote struct {
	store   Store
	timeout time.Duration
	mode    FailureMode

	asking   atomic.Int64
	failures atomic.Int64 // in a row
	// restUntil is when a Store left alone is asked again, in nanoseconds
	// since the epoch, 0 if it is not left alone.
	restUntil atomic.Int64

	failed, skipped atomic.Uint64
}

func newRemote(c Config) *remote {
	return &remote{store: c.Store, timeout: c.StoreTimeout, mode: c.OnStoreFailure}
}

// takeRemote decides on a request as the Store does.
func (l *Limiter) takeRemote(r *http.Request, cost int64, since time.Duration) Decision {
	d := Decision{Allowed: true, limiter: l}
	if l.enforced > 0 {
		var err error
		if d, err = l.chargeRemote(0, l.enforced, r, cost, since); err != nil {
			return l.withoutStore(r, cost, since, err)
		}
	}
	if d.Allowed && l.enforced < len(l.limits) {
		// A failure here has no consequence to report.
		if o, err := l.chargeRemote(l.enforced, len(l.limits), r, cost, since); err == nil {
			d.excess = o.violated
		}
	}
	return d
}

// withoutStore decides on a request that the Store has not decided on.
func (l *Limiter) withoutStore(r *http.Request, cost int64, since time.Duration, err error) Decision {
	d := Decision{Allowed: l.remote.mode == FailOpen, limiter: l}
	if l.remote.mode == FailLocal {
		var k keys
		l.keysOf(r, &k)
		l.decide(&d, &k, cost, since)
	}
	d.StoreErr = err
	return d
}

// chargeRemote charges the policies from first up to end, all or none.
func (l *Limiter) chargeRemote(first, end int, r *http.Request, cost int64, since time.Duration) (Decision, error) {
	charges := make([]Charge, 0, end-first)
	for i := first; i < end; i++ {
		b := &l.limits[i]
		if _, ok := b.price(cost); !ok {
			return l.impossible(i), nil
		}
		c := Charge{Policy: b.Policy, Cost: max(cost, 1) * b.Cost}
		if !b.Key.global() {
			c.Key = cmp.Or(b.extractor.digest(r), "-")
		}
		charges = append(charges, c)
	}
	levels, err := l.remote.ask(r.Context(), charges, since)
	if err != nil {
		return Decision{}, err
	}
	d := Decision{Allowed: true, limiter: l}
	fewest := int64(0) // requests left, of the tightest policy
	for i, level := range levels {
		b := &l.limits[first+i]
		remaining := level.Remaining / b.Cost
		var tightest bool
		switch {
		case !level.Allowed:
			tightest = d.violated == 0 || level.RetryAfter > d.RetryAfter
			d.Allowed = false
			d.violated |= 1 << (first + i)
		case d.violated == 0:
			tightest = i == 0 || remaining < fewest
		}
		if tightest {
			d.Policy, d.Limit, d.policy, fewest = b.Name, b.Burst, first+i, remaining
			d.Remaining, d.Reset, d.RetryAfter = level.Remaining, level.Reset, level.RetryAfter
		}
	}
	if d.Allowed {
		d.RetryAfter = 0
	}
	return d, nil
}

// valid reports whether levels can be an answer to charges.
func valid(levels []Level, charges []Charge) bool {
	if len(levels) != len(charges) {
		return false
	}
	for i, level := range levels {
		if level.Remaining < 0 || level.Remaining > charges[i].Policy.Burst || level.Reset < 0 ||
			level.RetryAfter < 0 || !level.Allowed && level.RetryAfter == 0 {
			return false
		}
	}
	return true
}

type answer struct {
	levels []Level
	err    error
}

// ask asks the Store, within its time.
func (m *remote) ask(ctx context.Context, charges []Charge, since time.Duration) ([]Level, error) {
	if !m.awake(int64(since)) {
		m.skipped.Add(1)
		return nil, errResting
	}
	if m.asking.Add(1) > maxAsking {
		m.asking.Add(-1)
		m.skipped.Add(1)
		return nil, errBusy
	}
	asked, cancel := context.WithTimeoutCause(ctx, m.timeout, errTimeout)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		defer m.asking.Add(-1)
		defer func() {
			if v := recover(); v != nil {
				answers <- answer{err: fmt.Errorf("the store panicked: %v", v)}
			}
		}()
		levels, err := m.store.Take(asked, charges)
		answers <- answer{levels, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-asked.Done():
		a.err = context.Cause(asked)
	}
	if a.err == nil && !valid(a.levels, charges) {
		a.err = errLevels
	}
	switch {
	case a.err == nil:
		m.failures.Store(0)
		m.restUntil.Store(0)
		return a.levels, nil
	case ctx.Err() != nil:
		// Who has lost patience says nothing about the Store.
		return nil, errors.Join(errLapsed, context.Cause(ctx))
	}
	m.failed.Add(1)
	if m.failures.Add(1) >= failuresToRest {
		m.restUntil.Store(int64(since + m.timeout + restFor))
	}
	return nil, a.err
}

// awake reports whether the Store may be asked.
func (m *remote) awake(now int64) bool {
	until := m.restUntil.Load()
	return until == 0 || now >= until && m.restUntil.CompareAndSwap(until, now+int64(restFor+m.timeout))
}

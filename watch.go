package tulle

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

var errWatchEnded = errors.New("the resolver has ended its watch")

// watch is one run of a resolver, and what it last said.
type watch struct {
	resolver discovery.Resolver
	cancel   context.CancelFunc
	// answered is closed once a first set is in use, settled then or when the
	// watch is over.
	answered, settled chan struct{}
	settle            func()

	// mu guards what follows.
	mu sync.Mutex
	// latest is a set that the service has not taken over yet, if fresh.
	latest []endpoint.Info
	fresh  bool
	// cause is the first error since the last set; since is when it came,
	// or when the last set did.
	cause error
	since time.Time
}

// newWatch watches r until it is cancelled and tells of each change that
// there is something new to take over.
func newWatch(ctx context.Context, r discovery.Resolver, run func(func()), heard func(infos []endpoint.Info, err, recovered error)) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{resolver: r, cancel: cancel, answered: make(chan struct{}), settled: make(chan struct{})}
	w.settle = sync.OnceFunc(func() { close(w.settled) })
	run(func() {
		defer context.AfterFunc(ctx, w.settle)()
		for infos, err := range r.Watch(ctx) {
			if ctx.Err() != nil {
				return
			}
			heard(infos, err, w.hear(infos, err))
		}
		if ctx.Err() == nil {
			heard(nil, errWatchEnded, w.hear(nil, errWatchEnded))
		}
	})
	return w
}

// hear takes note of what the resolver said. An error leaves what was; a set
// ends an error, which is returned.
func (w *watch) hear(infos []endpoint.Info, err error) (recovered error) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if w.cause == nil {
			w.cause, w.since = err, now
		}
		return nil
	}
	recovered, w.cause, w.since = w.cause, nil, now
	w.latest, w.fresh = infos, true
	return recovered
}

// take returns the set to take over, if there is one, and what stands in the
// way of a newer one.
func (w *watch) take() (infos []endpoint.Info, fresh bool, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	infos, fresh = w.latest, w.fresh
	w.latest, w.fresh = nil, false
	return infos, fresh, w.cause
}

// status returns since when it is as it is, and the present cause.
func (w *watch) status() (since time.Time, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since, w.cause
}

// use notes that a set is in use.
func (w *watch) use() {
	if !w.inUse() {
		close(w.answered)
		w.settle()
	}
}

// inUse reports whether a set is.
func (w *watch) inUse() bool {
	select {
	case <-w.answered:
		return true
	default:
		return false
	}
}

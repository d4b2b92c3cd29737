package tulle

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/breaker"
)

// maxAlerts is how many incidents wait for a listener that is slow.
const maxAlerts = 256

// alerts tells of the incidents of breakers: in order, one at a time, on a
// goroutine of their own, so that no call waits for a listener. A listener
// that hangs harms only what it was to be told next.
type alerts struct {
	logger *slog.Logger
	listen func(breaker.Event) // nil for the log

	mu      sync.Mutex
	queue   []breaker.Event
	running bool
	// done is closed when the goroutine that is running has nothing to tell.
	done    chan struct{}
	dropped atomic.Uint64
}

// add tells of an incident soon. It never blocks.
func (a *alerts) add(e breaker.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == maxAlerts {
		a.dropped.Add(1)
		return
	}
	a.queue = append(a.queue, e)
	if !a.running {
		a.running, a.done = true, make(chan struct{})
		go a.run(a.done)
	}
}

func (a *alerts) run(done chan struct{}) {
	defer close(done)
	for {
		a.mu.Lock()
		if len(a.queue) == 0 {
			a.running, a.queue = false, nil
			a.mu.Unlock()
			return
		}
		e := a.queue[0]
		a.queue = a.queue[1:]
		a.mu.Unlock()
		a.tell(e)
	}
}

// tell gives one incident to the listener, or writes a line about it.
func (a *alerts) tell(e breaker.Event) {
	defer func() {
		if p := recover(); p != nil {
			a.logger.Error("the listener for breakers panicked", "service", e.Service, "panic", p)
		}
	}()
	if a.listen != nil {
		a.listen(e)
		return
	}
	attrs := []any{
		"service", e.Service, "mode", e.Mode.String(), "cause", e.Cause, "calls", e.Calls, "failures", e.Failures, "slow", e.Slow,
	}
	if e.Endpoint != "" {
		attrs = append(attrs, "endpoint", e.Endpoint)
	}
	if !e.Open {
		a.logger.Info("breaker closed", append(attrs, "after", e.Duration, "reopened", e.Reopened)...)
		return
	}
	a.logger.Warn("breaker open", append(attrs, "halfOpenAt", e.HalfOpenAt, "last", e.Last)...)
}

// wait returns when everything has been told, or ctx has ended.
func (a *alerts) wait(ctx context.Context) error {
	a.mu.Lock()
	running, done := a.running, a.done
	a.mu.Unlock()
	if !running {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

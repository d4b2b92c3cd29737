package tulle

import (
	"context"
	"log/slog"
	"sync"

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
	done chan struct{}
	// lost counts incidents by whose they are that were dropped and whose end
	// is to come; dropped counts those not yet told of in the log.
	lost    map[[2]string]int
	dropped int
}

// add tells of an incident soon. It never blocks. While too many wait, an
// incident is dropped whole: whoever hears of its beginning hears of its end.
func (a *alerts) add(e breaker.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	whose := [2]string{e.Service, e.Endpoint}
	switch {
	case !e.Open && a.lost[whose] > 0:
		if a.lost[whose]--; a.lost[whose] == 0 {
			delete(a.lost, whose)
		}
		return
	case e.Open && len(a.queue) >= maxAlerts:
		if a.lost == nil {
			a.lost = map[[2]string]int{}
		}
		a.lost[whose]++
		a.dropped++
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
		e, dropped := a.queue[0], a.dropped
		a.queue, a.dropped = a.queue[1:], 0
		a.mu.Unlock()
		if dropped > 0 {
			a.logger.Warn("incidents of breakers dropped, the listener is too slow", "incidents", dropped)
		}
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

package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

const (
	// minInterval keeps a unit that was forgotten from becoming a storm.
	minInterval = 10 * time.Millisecond
	// After failures a poll begins to ask again after minBackoff, or its
	// interval if that is less, and then ever more seldom up to maxBackoff,
	// or its interval if that is more.
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// poll is a watch of what has to be asked again and again. It asks on the
// goroutine of its consumer, so that one watch never asks twice at once and a
// slow consumer misses what was there in between.
type poll struct {
	// interval is the time between the starts of two looks, give or take a
	// fifth so that many processes do not ask at once.
	interval time.Duration
	// steady keeps the interval after failures too.
	steady bool
	// look returns the set, in an order of its own that is always the same.
	look func(ctx context.Context) ([]endpoint.Info, error)
}

func (p poll) run(ctx context.Context, yield func([]endpoint.Info, error) bool) {
	var last []endpoint.Info
	var known bool
	var failing error
	failures := 0
	for ctx.Err() == nil {
		start := time.Now()
		infos, err := p.look(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := vary(p.interval, 0.2)
		switch {
		case err != nil:
			// What has been said need not be said again, and its text is all
			// that a reader would see of a difference.
			news := failing == nil || failing.Error() != err.Error()
			failing = err
			if news && !yield(nil, err) {
				return
			}
			if !p.steady {
				// A look that failed has taken its time for nothing.
				start, wait = time.Now(), p.backoff(failures)
				if e, ok := errors.AsType[pauseError](err); ok {
					wait = max(wait, e.pause)
				}
			}
			failures++
		case !known || failing != nil || !slices.EqualFunc(infos, last, endpoint.Info.Equal):
			last, known, failing, failures = infos, true, nil, 0
			if !yield(infos, nil) {
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait - time.Since(start)):
		}
	}
}

// backoff returns how long to wait after one failure that has followed on
// others: from half of the time that doubles with each up to the whole.
func (p poll) backoff(failures int) time.Duration {
	limit := max(maxBackoff, p.interval)
	d := min(minBackoff, p.interval)
	for range failures {
		if d = min(2*d, limit); d == limit {
			break
		}
	}
	return d - time.Duration(rand.Float64()*float64(d)/2)
}

// vary returns d give or take a part of it.
func vary(d time.Duration, part float64) time.Duration {
	return d + time.Duration((2*rand.Float64()-1)*part*float64(d))
}

// interval checks a duration whose zero value is a default.
func interval(name string, d time.Duration) error {
	if d != 0 && d < minInterval {
		return fmt.Errorf("%s: %v is less than %v", name, d, minInterval)
	}
	return nil
}

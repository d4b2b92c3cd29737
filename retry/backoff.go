package retry

import (
	"fmt"
	"math/bits"
	"net/http"
	"time"
)

// Backoff is how long to wait before a retry: a random time between nothing
// and Base, doubled for each further retry up to Max ("full jitter": M.
// Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015). The
// first retry of a request that was never sent does not wait: nothing is
// overloaded by it, and another endpoint may well take it.
type Backoff struct {
	// Base is the longest wait before the first retry; 0 is 25 ms.
	Base time.Duration `json:"base,omitzero"`
	// Max is the longest wait before any retry; 0 is 250 ms, or Base if that
	// is more.
	Max time.Duration `json:"max,omitzero"`
	// Func, if set, returns the wait in the place of the above, given Base,
	// Max, the number of retries so far and the response, nil after an error
	// or if MaxRetryAfter is negative. The values of type Backoff of
	// github.com/hashicorp/go-retryablehttp fit. A Retry-After within
	// MaxRetryAfter is waited for at least.
	Func func(min, max time.Duration, attempt int, resp *http.Response) time.Duration `json:"-"`
}

func (b Backoff) faults() (faults []error) {
	if b.Base < 0 {
		faults = append(faults, fmt.Errorf("backoff.base: %v is negative", b.Base))
	}
	if b.Max < 0 {
		faults = append(faults, fmt.Errorf("backoff.max: %v is negative", b.Max))
	}
	if b.Max > 0 && b.Base > b.Max {
		faults = append(faults, fmt.Errorf("backoff.base: %v exceeds the maximum of %v", b.Base, b.Max))
	}
	return faults
}

func (b Backoff) effective() Backoff {
	if b.Base == 0 {
		b.Base = defaultBase
		if b.Max > 0 {
			b.Base = min(b.Base, b.Max)
		}
	}
	if b.Max == 0 {
		b.Max = max(defaultMax, b.Base)
	}
	return b
}

// draw returns the wait before retry n, which counts from 1, by chance.
func (b *Backoff) draw(n int, chance uint64) time.Duration {
	ceiling := b.Max
	// Base<<(n-1) may overflow; Max>>(n-1) cannot.
	if shift := n - 1; b.Base <= b.Max>>shift {
		ceiling = b.Base << shift
	}
	wait, _ := bits.Mul64(chance, uint64(max(1, ceiling)))
	return time.Duration(wait)
}

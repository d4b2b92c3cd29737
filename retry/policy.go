package retry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Defaults of a Policy.
const (
	defaultAttempts      = 2
	maxAttempts          = 10
	defaultBase          = 25 * time.Millisecond
	defaultMax           = 250 * time.Millisecond
	defaultMaxRetryAfter = time.Second
	defaultBufferBody    = 64 << 10
	maxBufferBody        = 16 << 20
)

// Policy says when a call is attempted again. It is data; zero fields are the
// defaults named here. Whatever it says, a call is only repeated when that is
// safe: see Idempotent.
type Policy struct {
	// Mode Observe makes and counts the decisions of the policy on the first
	// attempt and repeats nothing: no attempt is cut off by PerTry, and no
	// body is buffered.
	Mode outcome.Mode `json:"mode,omitzero"`
	// Attempts is the most attempts of one call, the first included: 0 is 2,
	// 1 is no retry, 10 the limit.
	Attempts int `json:"attempts,omitzero"`
	// PerTry is the time that one attempt is given from when it is sent to
	// its response headers; 0 is no limit. It does not count while the body
	// is read.
	PerTry time.Duration `json:"perTry,omitzero"`
	// Statuses are the status codes on which a call is repeated; nil is 502,
	// 503 and 504, empty is none.
	Statuses []int `json:"statuses,omitzero"`
	// On are the classes on which a call is repeated; nil is Connect, Reset
	// and Timeout, empty is none. Timeout is what becomes of an attempt cut
	// off by PerTry or by its transport's own limit; there is no retry once
	// the time of the whole call is over. With outcome.GRPC add Gateway for
	// the status UNAVAILABLE.
	On []outcome.Class `json:"on,omitzero"`
	// Idempotent declares that every request under this policy may be
	// repeated. Without it these are: requests with the method GET, HEAD,
	// OPTIONS, TRACE, PUT or DELETE; those with a header Idempotency-Key or
	// X-Idempotency-Key, as in net/http; those of a context from
	// WithIdempotent; and any request after an attempt of which it is
	// certain that the endpoint did not see it.
	Idempotent bool `json:"idempotent,omitzero"`
	// Backoff is how long to wait before a retry.
	Backoff Backoff `json:"backoff,omitzero"`
	// MaxRetryAfter is the longest Retry-After that is waited for; after a
	// response that asks for more the call is not repeated. 0 is 1 s,
	// negative ignores the header.
	MaxRetryAfter time.Duration `json:"maxRetryAfter,omitzero"`
	// BufferBody is how many bytes are kept of a request body that comes
	// without http.Request.GetBody, so that it can be sent again: 0 is 64
	// KiB, negative none, 16 MiB the limit. A longer body is sent once,
	// unless nothing of it has been read.
	BufferBody int64 `json:"bufferBody,omitzero"`
	// Budget bounds the retries of all calls together.
	Budget BudgetPolicy `json:"budget,omitzero"`
	// CheckRetry, if set, decides in the place of Statuses and On, among the
	// retries that are safe. The values of type CheckRetry of
	// github.com/hashicorp/go-retryablehttp fit. It is called after every
	// attempt that another may follow and must not touch the body. Only its
	// verdict counts: a call always ends with the response or the error of
	// its last attempt.
	CheckRetry func(ctx context.Context, resp *http.Response, err error) (bool, error) `json:"-"`
}

// Validate returns every fault of the policy, joined, each with the path of
// its field.
func (p Policy) Validate() error {
	var faults []error
	fault := func(path, format string, args ...any) {
		faults = append(faults, fmt.Errorf(path+": "+format, args...))
	}
	if p.Mode > outcome.Observe {
		fault("mode", "%d is neither Enforce nor Observe", p.Mode)
	}
	if p.Attempts < 0 || p.Attempts > maxAttempts {
		fault("attempts", "%d is not between 0 and %d", p.Attempts, maxAttempts)
	}
	if p.PerTry < 0 {
		fault("perTry", "%v is negative", p.PerTry)
	}
	for i, s := range p.Statuses {
		if s < 200 || s > 599 {
			fault(fmt.Sprintf("statuses[%d]", i), "%d is not between 200 and 599", s)
		}
	}
	for i, c := range p.On {
		if c <= outcome.Success || c > outcome.Timeout {
			fault(fmt.Sprintf("on[%d]", i), "%v is not a class to retry on", c)
		}
	}
	if p.BufferBody > maxBufferBody {
		fault("bufferBody", "%d exceeds the limit of %d", p.BufferBody, maxBufferBody)
	}
	faults = append(faults, p.Backoff.faults()...)
	faults = append(faults, p.Budget.faults("budget.")...)
	return errors.Join(faults...)
}

// Effective returns the policy with its defaults filled in. It shares nothing
// with p.
func (p Policy) Effective() Policy {
	if p.Attempts == 0 {
		p.Attempts = defaultAttempts
	}
	if p.Statuses == nil {
		p.Statuses = []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	}
	if p.On == nil {
		p.On = []outcome.Class{outcome.Connect, outcome.Reset, outcome.Timeout}
	}
	p.Statuses, p.On = slices.Clone(p.Statuses), slices.Clone(p.On)
	p.Backoff = p.Backoff.effective()
	if p.MaxRetryAfter == 0 {
		p.MaxRetryAfter = defaultMaxRetryAfter
	}
	if p.BufferBody == 0 {
		p.BufferBody = defaultBufferBody
	}
	p.Budget = p.Budget.Effective()
	return p
}

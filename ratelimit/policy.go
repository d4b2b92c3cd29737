package ratelimit

import (
	"errors"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/internal/token"
	"github.com/tulle-mesh/tulle/outcome"
)

// Defaults and bounds of a Policy and of a Config.
const (
	defaultName         = "default"
	defaultPeriod       = time.Second
	defaultKeys         = 1 << 16
	defaultWaiting      = 128
	defaultStoreTimeout = 20 * time.Millisecond

	maxPolicies     = 16
	maxKeys         = 1 << 24
	maxRequests     = 1 << 60
	maxPerNano      = 4
	maxWaiting      = 1 << 14
	maxStoreTimeout = 10 * time.Second
)

// Policy is one limit: so many requests in a period, for every key. It is
// data, and comparable; zero fields are the defaults named here.
type Policy struct {
	// Name is what refusals, the RateLimit fields and the statistics call the
	// policy, a token of RFC 9110; empty is "default". No two policies of a
	// Config have the same.
	Name string `json:"name,omitzero"`
	// Mode Observe counts the requests that it would have refused, with what
	// became of them, and refuses none.
	Mode outcome.Mode `json:"mode,omitzero"`
	// Requests is how many requests there may be in a Period, in the long
	// run; it must be set, to less than four per nanosecond.
	Requests int64 `json:"requests"`
	// Period is the time in which there may be so many, up to 366 days; 0 is
	// a second.
	Period time.Duration `json:"period,omitzero"`
	// Burst is how many requests may come at once after a time of rest; 0 is
	// as many as Requests. It comes back at the rate of Requests per Period,
	// evenly, within 3660 days at most.
	Burst int64 `json:"burst,omitzero"`
	// Key says which requests share a bucket; zero is all of them.
	Key Key `json:"key,omitzero"`
	// Cost is what a request costs, at most Burst; 0 is 1.
	Cost int64 `json:"cost,omitzero"`
	// MaxKeys is for how many keys there is room at a time, up to 16 777 216;
	// 0 is 65 536. It is rounded up to a multiple of 16, and takes 16 bytes for
	// each from the start. Only keys that have used some of their burst need
	// room. When there are more of these, some share a bucket; see the
	// package's documentation.
	MaxKeys int `json:"maxKeys,omitzero"`
}

// Validate returns every fault of the policy, joined, each with the path of
// its field.
func (p Policy) Validate() error {
	var faults []error
	fault := func(path, format string, args ...any) {
		faults = append(faults, fmt.Errorf(path+": "+format, args...))
	}
	if p.Name != "" && !token.Is(p.Name) {
		fault("name", "%q is not a token", p.Name)
	}
	if p.Mode > outcome.Observe {
		fault("mode", "%d is neither Enforce nor Observe", p.Mode)
	}
	if err := p.Key.Validate(); err != nil {
		for _, err := range split(err) {
			fault("key", "%w", err)
		}
	}
	if p.MaxKeys < 0 || p.MaxKeys > maxKeys {
		fault("maxKeys", "%d is not between 1 and %d", p.MaxKeys, maxKeys)
	}
	whole := len(faults)
	if p.Requests < 1 || p.Requests > maxRequests {
		fault("requests", "%d is not between 1 and %d", p.Requests, int64(maxRequests))
	}
	if p.Period < 0 || p.Period > maxPeriod {
		fault("period", "%v is not between 0 and %v", p.Period, maxPeriod)
	}
	if p.Burst < 0 {
		fault("burst", "%d is negative", p.Burst)
	}
	if p.Cost < 0 {
		fault("cost", "%d is negative", p.Cost)
	}
	if len(faults) > whole {
		return errors.Join(faults...)
	}
	e := p.Effective()
	if e.Requests/maxPerNano >= int64(e.Period) {
		fault("requests", "%d in %v are %d or more per nanosecond", e.Requests, e.Period, maxPerNano)
	}
	if refill(e.Requests, e.Period, e.Burst) > float64(maxRefill) {
		fault("burst", "%d take longer than %v to come back", e.Burst, maxRefill)
	}
	if e.Cost > e.Burst {
		fault("cost", "%d exceeds the burst of %d, so that nothing would ever pass", e.Cost, e.Burst)
	}
	return errors.Join(faults...)
}

// split returns the errors that err joins.
func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// Effective returns the policy with its defaults filled in.
func (p Policy) Effective() Policy {
	or(&p.Name, defaultName)
	or(&p.Period, defaultPeriod)
	or(&p.Burst, p.Requests)
	or(&p.Cost, 1)
	p.Key = p.Key.Effective()
	if !p.Key.global() {
		or(&p.MaxKeys, defaultKeys)
	}
	return p
}

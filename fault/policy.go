package fault

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
)

// maxDelay bounds what a typing error can do.
const maxDelay = 5 * time.Minute

// Policy says what trouble is made, for which requests, and how often. A
// request may be both delayed and aborted, in this order; the two are decided
// independently.
type Policy struct {
	// Mode Observe decides and counts, and lets requests through.
	Mode outcome.Mode `json:"mode,omitzero"`
	// Match lists the requests concerned, any of them. Empty means all.
	Match []match.Request `json:"match,omitzero"`
	// Delay holds requests up.
	Delay *Delay `json:"delay,omitzero"`
	// Abort answers requests in the place of the service.
	Abort *Abort `json:"abort,omitzero"`
	// PerAttempt injects into each attempt of a call instead of into the
	// call. Retries, breakers and endpoint statistics then take the trouble
	// for the endpoint's. It makes no difference outside the root package.
	PerAttempt bool `json:"perAttempt,omitzero"`
}

// Delay is a wait before a request goes on.
type Delay struct {
	// Percent is the share of requests, above 0 and up to 100.
	Percent float64 `json:"percent"`
	// Duration is how long they wait, up to five minutes.
	Duration time.Duration `json:"duration"`
}

// Abort is a failure in the place of an answer. Either Status or Reset is set.
type Abort struct {
	// Percent is the share of requests, above 0 and up to 100.
	Percent float64 `json:"percent"`
	// Status is the status code answered, from 200 to 599.
	Status int `json:"status,omitzero"`
	// Reset fails the request as a connection does that breaks before the
	// response: with ErrReset to a client, with a reset connection by a
	// server.
	Reset bool `json:"reset,omitzero"`
}

// ErrReset is what an Abort with Reset fails with.
var ErrReset = errors.New("fault: injected connection reset")

// Validate reports every fault of the policy, each with its path.
func (p Policy) Validate() error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	percent := func(path string, v float64) {
		if math.IsNaN(v) || v <= 0 || v > 100 {
			add("%s.percent: %v is not above 0 and up to 100", path, v)
		}
	}
	if p.Mode > outcome.Observe {
		add("mode: %d is neither Enforce nor Observe", p.Mode)
	}
	for i, m := range p.Match {
		if err := m.Validate(); err != nil {
			add("matches[%d].%w", i, err)
		}
	}
	if p.Delay == nil && p.Abort == nil {
		add("delay, abort: neither is set")
	}
	if d := p.Delay; d != nil {
		percent("delay", d.Percent)
		if d.Duration <= 0 || d.Duration > maxDelay {
			add("delay.duration: %v is not above 0 and up to %v", d.Duration, maxDelay)
		}
	}
	if a := p.Abort; a != nil {
		percent("abort", a.Percent)
		switch {
		case a.Reset && a.Status != 0:
			add("abort.status: excludes reset")
		case !a.Reset && (a.Status < http.StatusOK || a.Status > 599):
			add("abort.status: %d is not between 200 and 599", a.Status)
		}
	}
	return errors.Join(faults...)
}

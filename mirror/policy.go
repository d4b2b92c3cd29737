package mirror

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Defaults of a Policy.
const (
	defaultInFlight = 64
	defaultBody     = 64 << 10
	maxBody         = 16 << 20
	defaultTimeout  = 10 * time.Second
)

// Policy says how much is mirrored. Zero fields are the defaults named here.
type Policy struct {
	// Percent is the share of requests, up to 100; 0 is 100.
	Percent float64 `json:"percent,omitzero"`
	// MaxInFlight is how many copies there are at once; 0 is 64. A copy is in
	// flight until its response has been read.
	MaxInFlight int `json:"maxInFlight,omitzero"`
	// MaxBody is how many bytes a request body may have to be copied; 0 is 64
	// KiB, 16 MiB the limit, negative means none.
	MaxBody int64 `json:"maxBody,omitzero"`
	// Timeout is what a copy is given, response body included; 0 is 10 s.
	Timeout time.Duration `json:"timeout,omitzero"`
	// KeepCredentials leaves Authorization, Proxy-Authorization and Cookie on
	// copies.
	KeepCredentials bool `json:"keepCredentials,omitzero"`
}

// Validate reports every fault of the policy, each with its path.
func (p Policy) Validate() error {
	var faults []error
	if math.IsNaN(p.Percent) || p.Percent < 0 || p.Percent > 100 {
		faults = append(faults, fmt.Errorf("percent: %v is not between 0 and 100", p.Percent))
	}
	if p.MaxInFlight < 0 {
		faults = append(faults, fmt.Errorf("maxInFlight: %d is negative", p.MaxInFlight))
	}
	if p.MaxBody > maxBody {
		faults = append(faults, fmt.Errorf("maxBody: %d exceeds the limit of %d", p.MaxBody, maxBody))
	}
	if p.Timeout < 0 {
		faults = append(faults, fmt.Errorf("timeout: %v is negative", p.Timeout))
	}
	return errors.Join(faults...)
}

// Effective returns the policy with its defaults filled in.
func (p Policy) Effective() Policy {
	if p.Percent == 0 {
		p.Percent = 100
	}
	if p.MaxInFlight == 0 {
		p.MaxInFlight = defaultInFlight
	}
	if p.MaxBody == 0 {
		p.MaxBody = defaultBody
	}
	p.MaxBody = max(0, p.MaxBody)
	if p.Timeout == 0 {
		p.Timeout = defaultTimeout
	}
	return p
}

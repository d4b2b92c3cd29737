package ratelimit

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Config says what a Limiter does. It is data; zero fields are the defaults
// named here.
type Config struct {
	// Policies are the limits, from 1 to 16. A request is let through if all
	// of those enforced allow it, and only then charged to any.
	Policies []Policy `json:"policies"`
	// Fields says what is told to clients in response headers; zero is what a
	// refusal needs.
	Fields Fields `json:"fields,omitzero"`
	// MaxWait is how long a request may wait for its turn, in the order of
	// arrival, before it is refused; 0 refuses at once. It is for clients: a
	// server has better things to do than to hold requests.
	MaxWait time.Duration `json:"maxWait,omitzero"`
	// Waiting is the most requests that wait at a time, up to 16 384; 0 is
	// 128. It needs MaxWait.
	Waiting int `json:"waiting,omitzero"`
	// Store keeps the buckets; nil keeps them in this process. It excludes
	// MaxWait.
	Store Store `json:"-"`
	// StoreTimeout is how long the Store may take to answer, up to 10 s; 0 is
	// 20 ms.
	StoreTimeout time.Duration `json:"storeTimeout,omitzero"`
	// OnStoreFailure says what becomes of requests while the Store does not
	// answer. It must be set if Store is.
	OnStoreFailure FailureMode `json:"onStoreFailure,omitzero"`
}

// Fields says what response headers tell clients of their limits. Policies
// under Observe are not mentioned.
type Fields uint8

const (
	// RefusalFields writes Retry-After to refusals, and nothing else.
	RefusalFields Fields = iota
	// StandardFields writes RateLimit-Policy and RateLimit to all responses
	// besides, as draft-ietf-httpapi-ratelimit-headers-11 has them.
	StandardFields
	// LegacyFields writes X-RateLimit-Limit, -Remaining and -Reset (seconds
	// until all is back) besides both, for clients that know no others.
	LegacyFields
)

// FailureMode says what becomes of requests while a Store does not answer.
type FailureMode uint8

const (
	// FailOpen lets them through: a limit that protects nothing dear.
	FailOpen FailureMode = iota + 1
	// FailClosed refuses them: a limit that costs money when exceeded.
	FailClosed
	// FailLocal limits them by buckets in this process, as if there were no
	// other.
	FailLocal
)

// texts of the enumerations, for configuration files and snapshots.
const (
	textRefusal, textStandard, textLegacy = "refusal", "standard", "legacy"
	textOpen, textClosed, textLocal       = "open", "closed", "local"
)

// String returns "refusal", "standard" or "legacy".
func (f Fields) String() string {
	switch f {
	case StandardFields:
		return textStandard
	case LegacyFields:
		return textLegacy
	}
	return textRefusal
}

// MarshalText makes Fields readable in snapshots and golden files.
func (f Fields) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (f *Fields) UnmarshalText(text []byte) error {
	switch string(text) {
	case textRefusal:
		*f = RefusalFields
	case textStandard:
		*f = StandardFields
	case textLegacy:
		*f = LegacyFields
	default:
		return fmt.Errorf("ratelimit: fields %q are none of refusal, standard and legacy", text)
	}
	return nil
}

// String returns "open", "closed" or "local", "" for the zero FailureMode.
func (f FailureMode) String() string {
	switch f {
	case FailOpen:
		return textOpen
	case FailClosed:
		return textClosed
	case FailLocal:
		return textLocal
	}
	return ""
}

// MarshalText makes a FailureMode readable in snapshots and golden files.
func (f FailureMode) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (f *FailureMode) UnmarshalText(text []byte) error {
	for _, mode := range []FailureMode{0, FailOpen, FailClosed, FailLocal} {
		if mode.String() == string(text) {
			*f = mode
			return nil
		}
	}
	return fmt.Errorf("ratelimit: failure mode %q is none of open, closed and local", text)
}

// Validate returns every fault of the configuration, joined, each with the
// path of its field.
func (c Config) Validate() error {
	var faults []error
	fault := func(path, format string, args ...any) {
		faults = append(faults, fmt.Errorf(path+": "+format, args...))
	}
	if n := len(c.Policies); n == 0 || n > maxPolicies {
		fault("policies", "%d are not between 1 and %d", n, maxPolicies)
	}
	for i, p := range c.Policies {
		path := fmt.Sprintf("policies[%d]", i)
		name := p.Effective().Name
		if slices.ContainsFunc(c.Policies[:i], func(o Policy) bool { return o.Effective().Name == name }) {
			fault(path+".name", "%q is there twice", name)
		}
		if err := p.Validate(); err != nil {
			for _, err := range split(err) {
				faults = append(faults, fmt.Errorf("%s.%w", path, err))
			}
		}
	}
	if c.Fields > LegacyFields {
		fault("fields", "%d is none of those there are", c.Fields)
	}
	if c.MaxWait < 0 {
		fault("maxWait", "%v is negative", c.MaxWait)
	}
	switch {
	case c.Waiting < 0 || c.Waiting > maxWaiting:
		fault("waiting", "%d is not between 0 and %d", c.Waiting, maxWaiting)
	case c.Waiting > 0 && c.MaxWait == 0:
		fault("waiting", "needs maxWait")
	}
	if c.StoreTimeout < 0 || c.StoreTimeout > maxStoreTimeout {
		fault("storeTimeout", "%v is not between 0 and %v", c.StoreTimeout, maxStoreTimeout)
	}
	switch {
	case c.OnStoreFailure > FailLocal:
		fault("onStoreFailure", "%d is none of those there are", c.OnStoreFailure)
	case c.Store == nil && c.OnStoreFailure != 0:
		fault("onStoreFailure", "needs a store")
	case c.Store != nil && c.OnStoreFailure == 0:
		fault("onStoreFailure", "must be set to open, closed or local")
	}
	switch {
	case c.Store == nil && c.StoreTimeout > 0:
		fault("storeTimeout", "needs a store")
	case c.Store != nil && c.MaxWait > 0:
		fault("maxWait", "excludes a store")
	}
	return errors.Join(faults...)
}

// Effective returns the configuration with its defaults filled in.
func (c Config) Effective() Config {
	c.Policies = slices.Clone(c.Policies)
	for i := range c.Policies {
		c.Policies[i] = c.Policies[i].Effective()
	}
	if c.MaxWait > 0 {
		or(&c.Waiting, defaultWaiting)
	}
	if c.Store != nil {
		or(&c.StoreTimeout, defaultStoreTimeout)
	}
	return c
}

// observed reports whether p refuses nothing.
func (p *Policy) observed() bool { return p.Mode == outcome.Observe }

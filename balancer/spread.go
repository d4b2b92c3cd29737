package balancer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Spread says how calls are divided over the priorities and zones of a
// service's endpoints before a Policy chooses among those of one part. It is
// data; its zero value is what is described here, with zones ignored and no
// slow start.
//
// Endpoints of one priority make a tier. A tier takes calls in the measure in
// which its endpoints are available, times OverProvisioning, and at most all;
// what it cannot take goes on to the next tier, as in Envoy. With the default
// of 1.4 a tier takes all calls as long as 72 % of it are available; at 50 %
// it takes 70 % of the calls. Where all tiers together cannot take everything
// each gets more in proportion. Endpoints count by their weights.
//
// Endpoints that discovery says are not ready, and those that are leaving,
// are counted nowhere. The former are never used, the latter only where there
// is nothing else to use in the whole set, for they serve while they drain.
//
// A call with a key (see Query.HasHash) always goes to the same part while
// shares stay as they are. When they change, a key moves from one part to
// another only if the other's share has grown in proportion to that of the
// one, so that in particular nothing moves but the keys of a part that loses,
// if the others keep their proportions.
//
// An attempt that would land on an endpoint to be avoided goes to another
// part that has a share of the calls, else to one that has none but has
// available endpoints.
type Spread struct {
	// Strict sends all calls to the first tier in which any endpoint is
	// available: nothing is spilt, the last endpoint of a tier gets all of its
	// calls, and a further attempt stays in the tier as well.
	Strict bool `json:"strict,omitzero"`
	// OverProvisioning is how much more than its even share an endpoint is
	// trusted to take when others of its tier or zone are not available, at
	// least 1. Zero means 1.4.
	OverProvisioning float64 `json:"overProvisioning,omitzero"`
	// Panic is the part of a tier, from 0 to 1, that must be available. When
	// less is, and all tiers together cannot take all calls, the tier's
	// endpoints are used whether they are held for their health (Unhealthy,
	// Ejected, BreakerOpen) or not: that most of them are bad is then less
	// likely than that health is judged wrongly, and the rest could not bear
	// it. Where all tiers are in panic, calls are divided over them by the
	// weights of their endpoints. Zero means 0.5, negative never: then there
	// is nothing to pick if all are held.
	Panic float64 `json:"panic,omitzero"`
	// Zones is what zones are to the division.
	Zones Zones `json:"zones,omitzero"`
	// ZoneWeights are the shares of zones under WeightedZones.
	ZoneWeights []ZoneWeight `json:"zoneWeights,omitzero"`
	// SlowStart is what newcomers get at first.
	SlowStart SlowStart `json:"slowStart,omitzero"`
}

// Zones is what zones are to the division of calls.
type Zones uint8

const (
	// AnyZone ignores where endpoints run.
	AnyZone Zones = iota
	// NearestZone divides each priority into the endpoints in the caller's
	// own zone, the others in its region, and the rest: tiers between which
	// calls spill as between priorities. A caller that does not know its zone
	// and region, see Env, has the rest only. Endpoints and callers that name
	// a zone but no region are in any region.
	NearestZone
	// WeightedZones divides the calls of each priority over zones by
	// ZoneWeights, as long as OverProvisioning times the available part of a
	// zone is 1 or more, and less in proportion below that. Zones not listed,
	// or listed with 0, are a tier after those that are: they take what those
	// cannot.
	WeightedZones
	numZones
)

var zonesNames = [numZones]string{"any", "nearest", "weighted"}

// String returns "any", "nearest" or "weighted".
func (z Zones) String() string {
	if z < numZones {
		return zonesNames[z]
	}
	return "unknown"
}

// MarshalText makes Zones readable in snapshots.
func (z Zones) MarshalText() ([]byte, error) { return []byte(z.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (z *Zones) UnmarshalText(text []byte) error {
	for i, name := range zonesNames {
		if name == string(text) {
			*z = Zones(i)
			return nil
		}
	}
	return fmt.Errorf("balancer: zones %q are neither any, nearest nor weighted", text)
}

// ZoneWeight is the share of a zone relative to other zones.
type ZoneWeight struct {
	// Zone is the name of the zone in any region; "" are the endpoints that
	// name none.
	Zone   string `json:"zone"`
	Weight uint32 `json:"weight"`
}

// SlowStart gives an endpoint less than its share when it becomes available,
// so that it can fill its caches and pools. Its weight is multiplied by
// (t/Window)^(1/Aggression), at least MinPercent, as in Envoy, with t the time
// since it became known or, if it could not be used then or was held since,
// since it could be used. Factors count in proportion to the largest one: where all
// endpoints are new there is no slow start. The division over tiers and zones
// takes them into account too: a zone that returns as a whole takes its share
// back little by little.
type SlowStart struct {
	// Window is how long it takes. Zero means that there is no slow start but
	// for what Member.RampFor asks.
	Window time.Duration `json:"window,omitzero"`
	// Aggression above 1 gives more early, below 1 less. Zero means 1, which
	// is a straight line. At most 100, at least 0.01.
	Aggression float64 `json:"aggression,omitzero"`
	// MinPercent of its weight is what an endpoint has at least, so that it
	// gets calls where there are few. Zero means 10, at most 100.
	MinPercent float64 `json:"minPercent,omitzero"`
}

const (
	defaultOverProvisioning = 1.4
	defaultPanic            = 0.5
	defaultAggression       = 1
	minAggression           = 0.01
	maxAggression           = 100
	defaultMinPercent       = 10
)

// Validate reports every fault of the Spread, each with the path of its field.
func (s Spread) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !validOverProvisioning(s.OverProvisioning) {
		fault("overProvisioning: %v is neither 0 nor a number of at least 1", s.OverProvisioning)
	}
	if !(s.Panic <= 1) {
		fault("panic: %v is not a part of at most 1", s.Panic)
	}
	if s.Zones >= numZones {
		fault("zones: %d is none of any, nearest and weighted", s.Zones)
	}
	if s.Zones == WeightedZones && !slices.ContainsFunc(s.ZoneWeights, func(w ZoneWeight) bool { return w.Weight > 0 }) {
		fault("zoneWeights: no zone has a weight")
	}
	if s.Zones != WeightedZones && len(s.ZoneWeights) > 0 {
		fault("zoneWeights: they have no effect unless zones is weighted")
	}
	seen := map[string]bool{}
	for i, w := range s.ZoneWeights {
		if seen[w.Zone] {
			fault("zoneWeights[%d].zone: %q is listed already", i, w.Zone)
		}
		seen[w.Zone] = true
	}
	if s.SlowStart.Window < 0 {
		fault("slowStart.window: %v is negative", s.SlowStart.Window)
	}
	if !validAggression(s.SlowStart.Aggression) {
		fault("slowStart.aggression: %v is neither 0 nor from %v to %v", s.SlowStart.Aggression, minAggression, maxAggression)
	}
	if !validPercent(s.SlowStart.MinPercent) {
		fault("slowStart.minPercent: %v is not from 0 to 100", s.SlowStart.MinPercent)
	}
	return errors.Join(errs...)
}

func validOverProvisioning(f float64) bool { return f == 0 || f >= 1 && !math.IsInf(f, 1) }
func validAggression(a float64) bool {
	return a == 0 || a >= minAggression && a <= maxAggression
}
func validPercent(p float64) bool { return p >= 0 && p <= 100 }

// Effective returns the Spread with its defaults filled in. It shares nothing
// with s.
func (s Spread) Effective() Spread {
	if s.OverProvisioning == 0 {
		s.OverProvisioning = defaultOverProvisioning
	}
	if s.Panic == 0 {
		s.Panic = defaultPanic
	}
	if s.SlowStart.Aggression == 0 {
		s.SlowStart.Aggression = defaultAggression
	}
	if s.SlowStart.MinPercent == 0 {
		s.SlowStart.MinPercent = defaultMinPercent
	}
	s.ZoneWeights = slices.Clone(s.ZoneWeights)
	return s
}

// sound returns s with its defaults, and with them in place of what is
// invalid.
func (s Spread) sound() Spread {
	if !validOverProvisioning(s.OverProvisioning) {
		s.OverProvisioning = 0
	}
	if !(s.Panic <= 1) {
		s.Panic = 0
	}
	if s.Zones >= numZones {
		s.Zones = AnyZone
	}
	s.SlowStart.Window = max(0, s.SlowStart.Window)
	if !validAggression(s.SlowStart.Aggression) {
		s.SlowStart.Aggression = 0
	}
	if !validPercent(s.SlowStart.MinPercent) {
		s.SlowStart.MinPercent = 0
	}
	return s.Effective()
}

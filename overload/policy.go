package overload

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
)

// The defaults of a Policy.
const (
	// Of five requests at once few servers fall over, and with five places
	// one slow request does not hold up all others.
	defaultMin = 5
	// The usual start of adaptive limits: Vegas and Gradient2 of Netflix,
	// failsafe-go.
	defaultInitial = 20
	// The most that Netflix gives to Vegas. It bounds what a limit can climb
	// to that never meets resistance.
	defaultMax = 1000

	defaultWaiting = 1000
	// The time after which CoDel calls a queue a standing one.
	defaultMaxWait = 100 * time.Millisecond

	// mostPlaces bounds what a typing error can do.
	mostPlaces = 1 << 20
	mostWait   = time.Minute
)

// Policy says how many requests a server works on at once, and how long
// others wait. It is data; zero fields are the defaults named here.
type Policy struct {
	// Mode Observe decides and counts, and lets every request in at once. It
	// reports the load all the same.
	Mode outcome.Mode `json:"mode,omitzero"`
	// MaxInFlight is the most requests at once. 0 is a limit that adapts.
	MaxInFlight int `json:"maxInFlight,omitzero"`
	// Adaptive bounds the limit that adapts. It excludes MaxInFlight.
	Adaptive Adaptive `json:"adaptive,omitzero"`
	// Waiting is the most requests that wait for a place; 0 is 1000, negative
	// none.
	Waiting int `json:"waiting,omitzero"`
	// MaxWait is how long a request waits before it is refused, up to a
	// minute; 0 is 100 ms. While there has been a queue for longer than that,
	// those who come wait for 5 ms only (or for two places to become free, if
	// that is longer), and the last comes first: who has waited longest is
	// least likely to be waited for. It needs Waiting.
	MaxWait time.Duration `json:"maxWait,omitzero"`
	// Exempt lists requests that need no place and are never refused, such as
	// probes, by any of its conditions. They are not in the figures either. A
	// condition on the path is met only by one without needless escapes, dot segments
	// and repeated slashes: handlers may make something else of others.
	Exempt []match.Request `json:"exempt,omitzero"`
	// NoReport leaves the load report away.
	NoReport bool `json:"noReport,omitzero"`
}

// Adaptive bounds a limit that adapts to how long requests take: it rises
// while they take no longer than they used to, and falls when they do, or when
// more of them at once bring no more of them to an end.
type Adaptive struct {
	// Min is the least limit; 0 is 5, or Max if that is less.
	Min int `json:"min,omitzero"`
	// Max is the greatest limit; 0 is 1000, or Min or Initial if that is more.
	Max int `json:"max,omitzero"`
	// Initial is the limit to begin with; 0 is 20, or the nearest that Min and
	// Max allow. A server that is hardly used does not fall below it for that
	// alone, nor rise above five times what it is used for.
	Initial int `json:"initial,omitzero"`
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
	a := p.Adaptive
	for _, f := range []struct {
		path string
		v    int
	}{{"maxInFlight", p.MaxInFlight}, {"adaptive.min", a.Min}, {"adaptive.max", a.Max}, {"adaptive.initial", a.Initial}} {
		if f.v < 0 || f.v > mostPlaces {
			fault(f.path, "%d is not between 0 and %d", f.v, mostPlaces)
		}
	}
	if p.MaxInFlight != 0 && a != (Adaptive{}) {
		fault("adaptive", "excludes maxInFlight")
	}
	if a.Max > 0 && a.Min > a.Max {
		fault("adaptive.min", "%d is above max %d", a.Min, a.Max)
	}
	if a.Max > 0 && a.Initial > a.Max {
		fault("adaptive.initial", "%d is above max %d", a.Initial, a.Max)
	}
	if a.Initial > 0 && a.Initial < a.Min {
		fault("adaptive.initial", "%d is below min %d", a.Initial, a.Min)
	}
	if p.Waiting > math.MaxInt32 {
		fault("waiting", "%d is above %d", p.Waiting, math.MaxInt32)
	}
	switch {
	case p.MaxWait < 0 || p.MaxWait > mostWait:
		fault("maxWait", "%v is not between 0 and %v", p.MaxWait, mostWait)
	case p.MaxWait > 0 && p.Waiting < 0:
		fault("maxWait", "needs waiting")
	}
	for i, m := range p.Exempt {
		if err := m.Validate(); err != nil {
			faults = append(faults, fmt.Errorf("exempt[%d].%w", i, err))
		}
	}
	return errors.Join(faults...)
}

// Effective returns the policy with its defaults filled in.
func (p Policy) Effective() Policy {
	if p.MaxInFlight == 0 {
		a := &p.Adaptive
		if a.Max == 0 {
			a.Max = max(defaultMax, a.Min, a.Initial)
		}
		if a.Min == 0 {
			a.Min = min(defaultMin, a.Max)
			if a.Initial > 0 {
				a.Min = min(a.Min, a.Initial)
			}
		}
		if a.Initial == 0 {
			a.Initial = min(max(defaultInitial, a.Min), a.Max)
		}
	}
	if p.Waiting == 0 {
		p.Waiting = defaultWaiting
	}
	if p.MaxWait == 0 && p.Waiting > 0 {
		p.MaxWait = defaultMaxWait
	}
	p.Exempt = slices.Clone(p.Exempt)
	return p
}

package health

import (
	"errors"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Defaults of Outliers.
const (
	defaultConsecutive   = 5
	defaultMinimumHosts  = 2
	defaultRequestVolume = 10
	defaultBaseEjection  = 10 * time.Second
	defaultMaxEjection   = 300 * time.Second
	defaultMaxPercent    = 30
	defaultRamp          = 10 * time.Second
)

// Outliers says which endpoints are taken for outliers by the results of the
// calls made to them, and for how long they are then left out. It is data;
// zero fields are the defaults named here. Field names are Envoy's where the
// meaning is. Four rules are on by default, each of which can accuse an
// endpoint alone: three count failures in a row, the fourth compares the
// endpoint with its peers.
//
// A failure is what [outcome.Class.Failed] says. Neutral results say nothing.
// An Overload (429) is no failure and no proof of health: it leaves runs of
// failures as they are, except that a run of calls without an answer ends
// with any answer, and the comparison does not count it.
//
// The comparison with peers takes the place of Envoy's success rate rule,
// which ejects endpoints below mean − 1.9 standard deviations. One bad
// endpoint of n lies at most √(n−1) deviations below the mean, and k equally
// bad ones √((n−k)/k), however bad they are: that rule cannot act with fewer
// than five endpoints, nor when more than 21 % of them are bad, and between
// good ones it takes noise for a difference. Here an endpoint is watched by a
// cumulative sum (CUSUM, Page 1954) of log-likelihood ratios: does it fail as
// often as its peers did lately, or three times as often and at least 4
// points more? When the sum says that something has changed, the calls since
// then are held against the calls that the peers had in the same time: the
// endpoint is accused if it fails at least twice as often, at least 3 points
// more, and by a likelihood-ratio test not by chance. If the peers fail more
// than 20 % of theirs, the rule accuses nobody: the trouble is then a common
// dependency's or the caller's. Sums are drawn up about once a second, for
// more than 1,000 endpoints every n milliseconds.
type Outliers struct {
	// Mode Observe judges and counts, with what became of the calls that an
	// ejected endpoint would not have had, and ejects nobody.
	Mode outcome.Mode `json:"mode,omitzero"`
	// Consecutive5xx accuses an endpoint after so many failures of any kind
	// in a row: ServerError, Gateway, Connect, Reset and Timeout count. 0 is
	// 5, negative turns the rule off.
	Consecutive5xx int `json:"consecutive5xx,omitzero"`
	// ConsecutiveGatewayFailure does so after Gateway, Connect, Reset and
	// Timeout; a ServerError ends the run. 0 is 5, negative turns it off.
	ConsecutiveGatewayFailure int `json:"consecutiveGatewayFailure,omitzero"`
	// ConsecutiveLocalOriginFailure does so after Connect, Reset and
	// Timeout; any answer ends the run. 0 is 5, negative turns it off.
	ConsecutiveLocalOriginFailure int `json:"consecutiveLocalOriginFailure,omitzero"`
	// SuccessRateMinimumHosts is how many endpoints, the accused among them,
	// must have had calls in the last minutes for a comparison: 0 is 2, the
	// least; negative turns the comparison off.
	SuccessRateMinimumHosts int `json:"successRateMinimumHosts,omitzero"`
	// SuccessRateRequestVolume is how many calls the endpoint must have had
	// since its trouble began, and its peers together in the same time: 0 is
	// 10. Fewer are rarely enough for the comparison anyway.
	SuccessRateRequestVolume int `json:"successRateRequestVolume,omitzero"`
	// BaseEjectionTime is how long the first ejection lasts, less a jitter
	// of up to 20 %. It doubles with each further one, see Record.Eject. 0
	// is 10 s.
	BaseEjectionTime time.Duration `json:"baseEjectionTime,omitzero"`
	// MaxEjectionTime is the longest ejection. 0 is 300 s, or
	// BaseEjectionTime if that is longer.
	MaxEjectionTime time.Duration `json:"maxEjectionTime,omitzero"`
	// MaxEjectionPercent is the share of the known endpoints that may be
	// left out at once, from 1 to 100: 0 is 30. It allows for one endpoint
	// at least, and never for the last; see Cap.
	MaxEjectionPercent int `json:"maxEjectionPercent,omitzero"`
	// Ramp is the time in which an endpoint grows into its share after its
	// return: 0 is 10 s, negative none.
	Ramp time.Duration `json:"ramp,omitzero"`
}

// Validate reports every fault of the policy, each with the path of its field.
func (o Outliers) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if o.Mode > outcome.Observe {
		fault("mode: %d is neither Enforce nor Observe", o.Mode)
	}
	if o.Consecutive5xx < 0 && o.ConsecutiveGatewayFailure < 0 && o.ConsecutiveLocalOriginFailure < 0 && o.SuccessRateMinimumHosts < 0 {
		fault("consecutive5xx, consecutiveGatewayFailure, consecutiveLocalOriginFailure, successRateMinimumHosts: all are off")
	}
	if o.SuccessRateMinimumHosts == 1 {
		fault("successRateMinimumHosts: 1 leaves nobody to compare with")
	}
	if o.SuccessRateRequestVolume < 0 {
		fault("successRateRequestVolume: %d is negative", o.SuccessRateRequestVolume)
	}
	if o.BaseEjectionTime < 0 {
		fault("baseEjectionTime: %v is negative", o.BaseEjectionTime)
	}
	switch {
	case o.MaxEjectionTime < 0:
		fault("maxEjectionTime: %v is negative", o.MaxEjectionTime)
	case o.MaxEjectionTime > 0 && o.BaseEjectionTime >= 0 && o.MaxEjectionTime < o.Effective().BaseEjectionTime:
		fault("maxEjectionTime: %v is shorter than baseEjectionTime %v", o.MaxEjectionTime, o.Effective().BaseEjectionTime)
	}
	if o.MaxEjectionPercent < 0 || o.MaxEjectionPercent > 100 {
		fault("maxEjectionPercent: %d is not between 1 and 100", o.MaxEjectionPercent)
	}
	return errors.Join(faults...)
}

// Effective returns the policy with its defaults filled in.
func (o Outliers) Effective() Outliers {
	fill(&o.Consecutive5xx, defaultConsecutive)
	fill(&o.ConsecutiveGatewayFailure, defaultConsecutive)
	fill(&o.ConsecutiveLocalOriginFailure, defaultConsecutive)
	fill(&o.SuccessRateMinimumHosts, defaultMinimumHosts)
	fill(&o.SuccessRateRequestVolume, defaultRequestVolume)
	fill(&o.BaseEjectionTime, defaultBaseEjection)
	fill(&o.MaxEjectionTime, max(defaultMaxEjection, o.BaseEjectionTime))
	fill(&o.MaxEjectionPercent, defaultMaxPercent)
	fill(&o.Ramp, defaultRamp)
	return o
}

// Cap returns how many of known endpoints may be left out at once:
// MaxEjectionPercent of them, rounded down, but at least one, and at most all
// but one.
func (o Outliers) Cap(known int) int {
	fill(&o.MaxEjectionPercent, defaultMaxPercent)
	allowed := max(1, known/100*o.MaxEjectionPercent+known%100*o.MaxEjectionPercent/100)
	return max(0, min(allowed, known-1))
}

// length returns how long the n-th ejection in succession lasts before jitter
// of an effective policy, and whether it is the longest.
func (o Outliers) length(n uint8) (d time.Duration, longest bool) {
	d = o.BaseEjectionTime
	for range n - 1 {
		if d > o.MaxEjectionTime/2 {
			return o.MaxEjectionTime, true
		}
		d *= 2
	}
	return d, d == o.MaxEjectionTime
}

func fill[T int | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

package endpoint

import (
	"fmt"
	"time"
)

// Hold is one cause for which an endpoint is left out of picks. An endpoint
// is available while nothing holds it.
type Hold uint8

const (
	// NotReady is discovery saying so, see Info.
	NotReady Hold = iota
	// Unhealthy is a probe that fails.
	Unhealthy
	// Ejected is outlier detection.
	Ejected
	// BreakerOpen is the endpoint's own circuit breaker.
	BreakerOpen
	// Leaving is the endpoint announcing that it is about to stop.
	Leaving
	// Removed means that discovery no longer knows the endpoint. It is
	// final: only the calls in flight are left.
	Removed
	numHolds
)

var holdNames = [numHolds]string{"not_ready", "unhealthy", "ejected", "breaker_open", "leaving", "removed"}

// String returns the hold as a lower-case word.
func (h Hold) String() string {
	if h < numHolds {
		return holdNames[h]
	}
	return "unknown"
}

// MarshalText makes a Hold readable in snapshots.
func (h Hold) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (h *Hold) UnmarshalText(text []byte) error {
	for v := range numHolds {
		if v.String() == string(text) {
			*h = v
			return nil
		}
	}
	return fmt.Errorf("endpoint: hold %q is unknown", text)
}

// Availability is the one state of an endpoint that decides whether it is
// picked: which causes hold it, why, and since when. It does not change; a
// change makes a new one.
type Availability struct {
	held   [numHolds]bool
	reason [numHolds]string
	from   [numHolds]time.Time
	// since is when Available last became what it is.
	since time.Time
}

// Available reports whether nothing holds the endpoint.
func (a *Availability) Available() bool { return a.held == [numHolds]bool{} }

// Held reports whether h holds the endpoint, why, and since when.
func (a *Availability) Held(h Hold) (held bool, reason string, since time.Time) {
	if h >= numHolds {
		return false, "", time.Time{}
	}
	return a.held[h], a.reason[h], a.from[h]
}

// Holds returns the causes that hold the endpoint, none if it is available.
func (a *Availability) Holds() []Hold {
	var hs []Hold
	for h := range numHolds {
		if a.held[h] {
			hs = append(hs, h)
		}
	}
	return hs
}

// Since returns since when the endpoint has been available or, if it is not,
// since when it has been held without a break, by whatever cause.
func (a *Availability) Since() time.Time { return a.since }

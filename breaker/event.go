package breaker

import (
	"encoding/json"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Event tells of an incident: one when it begins, as a closed breaker opens,
// and one when it ends, as the breaker closes. That trials fail in between
// belongs to the incident and has no event. As JSON it is meant to be read by
// people too: durations are texts such as "5.2s".
type Event struct {
	// Service and Endpoint are those of the Options.
	Service  string `json:"service,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	// Open is true for the beginning and false for the end.
	Open bool `json:"open"`
	// Mode says whether calls were refused (Enforce) or would have been.
	Mode outcome.Mode `json:"mode"`
	// At is when the breaker opened or closed, Since when the incident began.
	At    time.Time `json:"at"`
	Since time.Time `json:"since"`
	// Cause is a sentence: which trigger opened the breaker, or why it closed.
	Cause string `json:"cause"`
	// Calls, Failures and Slow are what the window held as the incident
	// began.
	Calls    int `json:"calls"`
	Failures int `json:"failures"`
	Slow     int `json:"slow,omitempty"`
	// Last are the latest judged results, up to 8, the newest last.
	Last []Sample `json:"last,omitempty"`
	// HalfOpenAt is when an open breaker lets trials through.
	HalfOpenAt time.Time `json:"halfOpenAt,omitzero"`
	// Reopened counts the trials that opened the breaker again, Refused the
	// calls refused, under Observe those that would have been.
	Reopened int    `json:"reopened,omitempty"`
	Refused  uint64 `json:"refused,omitempty"`
	// Duration is how long the incident has lasted.
	Duration time.Duration `json:"duration,omitempty"`
}

// Sample is one judged result.
type Sample struct {
	// At is when the result was taken.
	At time.Time `json:"at"`
	// Class is the judgement, Status the HTTP status, 0 without a response.
	Class  outcome.Class `json:"class"`
	Status int           `json:"status,omitempty"`
	// Latency is the time from the start of the attempt to At.
	Latency time.Duration `json:"latency"`
	// TraceID is the W3C trace of the attempt, in hexadecimal digits, empty
	// if it had none.
	TraceID string `json:"traceId,omitempty"`
}

// text is a duration in JSON.
type text time.Duration

func (t text) MarshalText() ([]byte, error) { return []byte(time.Duration(t).String()), nil }

func (t *text) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	*t = text(d)
	return err
}

type (
	plainEvent  Event
	plainSample Sample
	// The outer field goes before the one of the same name within.
	eventJSON struct {
		plainEvent
		Duration text `json:"duration,omitzero"`
	}
	sampleJSON struct {
		plainSample
		Latency text `json:"latency"`
	}
)

// MarshalJSON implements json.Marshaler.
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(eventJSON{plainEvent(e), text(e.Duration)})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (e *Event) UnmarshalJSON(b []byte) error {
	var v eventJSON
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*e = Event(v.plainEvent)
	e.Duration = time.Duration(v.Duration)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (s Sample) MarshalJSON() ([]byte, error) {
	return json.Marshal(sampleJSON{plainSample(s), text(s.Latency)})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (s *Sample) UnmarshalJSON(b []byte) error {
	var v sampleJSON
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*s = Sample(v.plainSample)
	s.Latency = time.Duration(v.Latency)
	return nil
}

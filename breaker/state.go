package breaker

import "fmt"

// State is where a Breaker stands.
type State uint8

const (
	// Closed lets calls flow, and counts them.
	Closed State = iota
	// Open refuses calls.
	Open
	// HalfOpen lets a few trial calls through, and refuses the others.
	HalfOpen
)

var stateNames = [...]string{"closed", "open", "half_open"}

// String returns the state as a lower-case word fit for a metric label.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// MarshalText makes a State readable in snapshots.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("breaker: state %q is unknown", text)
}

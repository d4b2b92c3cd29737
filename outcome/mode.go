package outcome

import "fmt"

// Mode says whether a mechanism that can refuse, eject or repeat acts on what
// it decides. The decision is made on real traffic either way.
type Mode uint8

const (
	// Enforce acts on the decision. It is the default of a policy that is
	// present.
	Enforce Mode = iota
	// Observe makes and counts the decision, together with what then became
	// of the call, and lets the call through untouched.
	Observe
)

// String returns "enforce" or "observe".
func (m Mode) String() string {
	if m == Observe {
		return "observe"
	}
	return "enforce"
}

// MarshalText makes a Mode readable in snapshots and golden files.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (m *Mode) UnmarshalText(text []byte) error {
	switch string(text) {
	case "enforce":
		*m = Enforce
	case "observe":
		*m = Observe
	default:
		return fmt.Errorf("outcome: mode %q is neither enforce nor observe", text)
	}
	return nil
}

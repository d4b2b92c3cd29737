package authz

import "fmt"

// Action is what a rule does with the requests it matches. The zero Action is
// none: a rule must say what it does.
type Action uint8

const (
	// Allow lets requests through that no Deny rule matches. If there is any
	// Allow rule, requests that none matches are denied.
	Allow Action = iota + 1
	// Deny refuses requests, whatever Allow rules say.
	Deny
)

// String returns "allow" or "deny".
func (a Action) String() string {
	switch a {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	}
	return "none"
}

// MarshalText makes an Action readable in configuration and snapshots.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is the reverse of MarshalText. What is neither "allow" nor
// "deny" is an error.
func (a *Action) UnmarshalText(text []byte) error {
	switch string(text) {
	case "allow":
		*a = Allow
	case "deny":
		*a = Deny
	default:
		return fmt.Errorf("authz: %q is neither allow nor deny", text)
	}
	return nil
}

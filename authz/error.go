package authz

import (
	"strconv"

	"github.com/tulle-mesh/tulle/outcome"
)

// DeniedError is why a request was denied. It is for logs; the caller learns no
// more than its Reason.
type DeniedError struct {
	// Rule is the name of the Deny rule that matched, "" if no Allow rule did.
	Rule string
	// InDoubt is that of the Decision.
	InDoubt bool
}

// Reason returns outcome.Forbidden.
func (e *DeniedError) Reason() outcome.Reason { return outcome.Forbidden }

// Error returns a sentence.
func (e *DeniedError) Error() string {
	s := "denied: no rule allows the request"
	if e.Rule != "" {
		s = "denied by rule " + strconv.Quote(e.Rule)
	}
	if e.InDoubt {
		s += ", by doubt about what it asks for"
	}
	return s
}

// Package endpoint describes one place where a service can be called: what
// discovery says about it (Info), what the process that calls it knows about
// it (Endpoint, Availability, Counts), and what it says about itself
// (LoadReport).
//
// An Endpoint is read-only and safe for concurrent use; the Control that New
// returns beside it is the right to change it. Policies and pickers get the
// one, the owner of the service keeps the other.
//
// Use the package to write a resolver, a balancing policy, or a server that
// reports its load without the rest of the library. Callers of services do
// not need it.
package endpoint

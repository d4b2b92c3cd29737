// Package discovery finds the endpoints of services. A Resolver says what it
// knows and goes on to say what has changed; this package has one for a set
// that is written down (Static, Addrs), one for a set that the program itself
// finds out (Manual), and one that unites others (Merge).
//
// Write a Resolver for a registry that none here speaks to; a Manual that a
// goroutine of yours sets is the short way. There is no need for one where a
// load balancer outside of the process already has the one address.
package discovery

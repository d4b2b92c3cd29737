// Package discovery finds the endpoints of services. A Resolver says what it
// knows and goes on to say what has changed; this package has one for a set
// that is written down (Static, Addrs), one for a set that the program itself
// finds out (Manual), one for names (DNS: addresses and SRV records), those
// for a list in a file (File) or on a server (HTTP), and one that unites
// others (Merge).
//
// What a Resolver cannot find out at present it says as an error, and what it
// said before stays in use: a registry that is gone takes no endpoint away.
//
// Write a Resolver for a registry that none here speaks to; a Manual that a
// goroutine of yours sets is the short way. There is no need for one where a
// load balancer outside of the process already has the one address.
package discovery

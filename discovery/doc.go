// Package discovery finds the endpoints of services. A Resolver says what it
// knows and goes on to say what has changed. There is one for a set that is
// written down (Static, Addrs), for a set that the program itself finds out
// (Manual), for names (DNS: addresses and SRV records), and for a list in a
// file (File) or on a server (HTTP). Others stand on these: Merge unites
// several, Fallback uses one where another knows nothing, LastKnownGood keeps
// what was known for the next process, and Guard doubts sudden losses; around
// a LastKnownGood it doubts them from the start.
//
// What a Resolver cannot find out at present it says as an error, and what it
// said before stays in use: a registry that is gone takes no endpoint away.
//
// Write a Resolver for a registry that none here speaks to; a Manual that a
// goroutine of yours sets is the short way. There is no need for one where a
// load balancer outside of the process already has the one address.
package discovery

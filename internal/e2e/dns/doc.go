// Package dns drives discovery.DNS, by itself and through a mesh, with a real
// name server on loopback that can be told to misbehave. It is a module of
// its own, so that nobody else comes to require the server's library.
package dns

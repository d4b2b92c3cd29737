// Package balancer chooses the endpoint of each attempt. A Policy is
// configuration; it makes a Balancer for a set of endpoints, which makes a
// Picker for each state that the set is in.
//
// LeastRequest is the policy for nearly every service: it needs nothing but
// what the caller itself has in flight, and keeps away from whatever answers
// slowly. RoundRobin deals calls out in exact proportion to the weights
// whatever becomes of them; take it where calls are alike and proportions
// matter more than speed.
//
// PeakEWMA looks at latency too: take it where endpoints differ in speed more
// than calls do, where so little is in flight that counting it says nothing,
// or where an endpoint that fails fast must not draw calls to it. It knows
// only what this process has seen; of many processes with few calls each,
// none sees enough of it.
//
// WeightedRoundRobin is the weighted_round_robin of gRPC: it deals calls out in
// proportion to what servers could do by the load that they report. Take it
// where servers differ in size and calls are many and alike, or where it is
// what one knows. It evens out over seconds what is busy for minutes, and does
// not see who is slow right now.
//
// LoadFed is the policy where servers report their load on their answers, as
// those guarded by package overload do. Many callers with few calls each see
// little of what a server has to do, and only the server can say it. Where there
// are no reports it is PeakEWMA.
//
// Random is for those who want neither load nor order looked at: the cheapest
// pick there is, with no state shared by callers.
//
// RingHash, Maglev and Rendezvous send calls with the same key to the same
// endpoint, for services that keep something of a key in memory. They need a
// key, such as a route's stickiness gives; calls that have none are spread by
// chance. Rendezvous moves the fewest keys and is right for up to a few
// hundred endpoints; Maglev is the most even among those whose picks take the
// same time for any number of endpoints; RingHash chooses as the rings of other
// proxies do, and is less even. A popular key makes its endpoint hot: Bound
// lets such calls go on to others. None of them looks at latency, so where
// keys need not stay together LeastRequest does better.
//
// Availability is not a matter of policies: a Picker is only ever given
// endpoints that may be picked.
//
// A Spreader stands before the policy where endpoints have priorities or run
// in several zones: it divides the calls over them as a Spread says, spills
// what a part cannot take, falls back on endpoints that seem unhealthy rather
// than on none, and lets those that are new or have returned come to their
// share gradually. Without priorities, zones and ramps it is not in the way of
// a pick at all.
package balancer

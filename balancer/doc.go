// Package balancer chooses the endpoint of each attempt. A Policy is
// configuration; it makes a Balancer for a set of endpoints, which makes a
// Picker for each state that the set is in.
//
// LoadFed is the policy for nearly every service, and what a mesh takes unless
// told otherwise. Where servers report their load on their answers, as those
// guarded by package overload do, it follows that: many callers with few calls
// each see little of what a server has to do, and only the server can say it.
// Where there are no reports it compares latencies as PeakEWMA does. In both it
// keeps away from endpoints that fail where others do not.
//
// LeastRequest needs nothing but what the caller itself has in flight. Where
// callers are few and servers alike it is as good, and it is the one whose picks
// are told most easily. RoundRobin deals calls out in exact proportion to the weights
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

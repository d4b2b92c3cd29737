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
// Random is for those who want neither load nor order looked at: the cheapest
// pick there is, with no state shared by callers.
//
// Availability is not a matter of policies: a Picker is only ever given
// endpoints that may be picked.
package balancer

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
// Random is for those who want neither load nor order looked at: the cheapest
// pick there is, with no state shared by callers.
//
// Availability is not a matter of policies: a Picker is only ever given
// endpoints that may be picked.
package balancer

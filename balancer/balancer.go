package balancer

import (
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// Policy is the configuration of a way to choose among endpoints: a
// comparable value whose zero fields are documented defaults.
type Policy interface {
	// New returns a Balancer for one set of endpoints that lives until the
	// configuration changes. Balancers of one policy share nothing.
	New(Env) Balancer
	// Validate reports every fault of the policy.
	Validate() error
}

// Balancer turns a set of endpoints into a Picker. Update is never called
// twice at once; what a Balancer wants to remember of an endpoint it keeps
// under the endpoint's pointer, which stays the same across updates.
type Balancer interface {
	// Update returns a Picker for the endpoints that may be picked now. It is
	// called again whenever these or what discovery says of them have
	// changed; earlier Pickers may still be in use for a moment. The slice is
	// not empty, is ordered by address, may be kept and must not be changed.
	Update([]*endpoint.Endpoint) Picker
}

// Picker chooses. Pick is called by many goroutines at once; it must not
// block, take a lock shared by all calls, or allocate.
type Picker interface {
	// Pick returns an endpoint of the set. Where it can it returns one that
	// is not in Query.Avoid, else any.
	Pick(Query) *endpoint.Endpoint
}

// Wary is a Picker that knows how far what it expects of an endpoint may be
// wrong before a call had better go elsewhere. Room is called by many
// goroutines at once, under the rules of Pick.
type Wary interface {
	Picker
	// Room returns how many requests ep, which was just picked, may have in
	// flight, with the one to come, if the call is not to be worse off there
	// than elsewhere; 0 if there is nothing better to be had, or nothing known.
	// A server that works for this mesh and finds more sends the call back
	// unworked, with a load report, so that it is made anew at another
	// endpoint, once. now is the Query's.
	Room(ep *endpoint.Endpoint, now time.Time) int
}

// Observer is a Balancer that learns from results. Observe is called once
// when the headers of an attempt came or can no longer come, and a second
// time, with Result.Late, where the end of the body changed the judgement. It
// is called by many goroutines at once and must not block or allocate.
type Observer interface {
	Observe(*endpoint.Endpoint, outcome.Result)
}

// Query is what a Picker may know about the attempt it picks for.
type Query struct {
	// Draw is a random word, different for each pick: take from it what a
	// pick needs of chance.
	Draw uint64
	// Hash is the hash of the call's key if HasHash; the same key gives the
	// same hash in every process.
	Hash    uint64
	HasHash bool
	// Attempt counts from 1.
	Attempt int
	// Now is when the pick is made, for policies whose knowledge ages. The
	// zero Time if the caller does not say.
	Now time.Time
	// Avoid lists the endpoints that this call has already tried or that
	// refused it. It belongs to the caller and is valid during the pick only.
	Avoid []*endpoint.Endpoint
	// again says that another pick was made for the same attempt, which does
	// not count.
	again bool
}

// Avoids reports whether e is to be avoided.
func (q *Query) Avoids(e *endpoint.Endpoint) bool { return slices.Contains(q.Avoid, e) }

// Env is what a Balancer may know about its surroundings.
type Env struct {
	// Service and Subset name the set; Subset is "" for the whole service.
	Service, Subset string
	// Region and Zone say where the calling process runs, in the words of
	// endpoint.Info; "" if it does not know.
	Region, Zone string
	// Seed differs between balancers and processes; with the same seed a
	// Balancer makes the same choices.
	Seed uint64
}

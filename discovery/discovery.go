package discovery

import (
	"context"
	"iter"

	"github.com/tulle-mesh/tulle/endpoint"
)

// Resolver finds the endpoints of one service. Implementations are
// comparable, so that a changed configuration can be told from an equal one.
type Resolver interface {
	// Watch yields the whole set of endpoints, first as soon as it is known
	// and again whenever it has changed. An error instead of a set means
	// that the set is not known at present: what was yielded before stays
	// valid. An empty set without an error means that there is no endpoint.
	//
	// The sequence goes on until ctx ends or its consumer stops; a resolver
	// that has nothing more to say waits for ctx. Everything that it starts
	// ends with it. Several consumers may watch at once. What was yielded
	// must not be changed by either side.
	Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error]
}

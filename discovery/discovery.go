package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/tulle-mesh/tulle/endpoint"
)

// Resolver finds the endpoints of one service. Implementations are
// comparable, so that a changed configuration can be told from an equal one.
// One that can be configured wrongly has a method Validate() error too.
type Resolver interface {
	// Watch yields the whole set of endpoints, first as soon as it is known
	// and again whenever it has changed. An error instead of a set means
	// that the set is not known at present: what was yielded before stays
	// valid, and the next set, which may be the same, says that it is known
	// again. An empty set without an error means that there is no endpoint.
	//
	// The sequence goes on until ctx ends or its consumer stops; a resolver
	// that has nothing more to say waits for ctx. Everything that it starts
	// ends with it. Several consumers may watch at once, and a slow one gets
	// the latest set rather than every set. What was yielded must not be
	// changed by either side.
	Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error]
}

// Validate reports every fault of a set of endpoints: those of each Info, and
// addresses that come twice.
func Validate(infos []endpoint.Info) error { return validate(infos, nil) }

// validate is Validate without what skip says has faults already.
func validate(infos []endpoint.Info, skip map[int]bool) error {
	var errs []error
	first := make(map[string]int, len(infos))
	for i, info := range infos {
		if skip[i] {
			continue
		}
		for _, err := range faults(info.Validate()) {
			errs = append(errs, fmt.Errorf("endpoints[%d].%w", i, err))
		}
		if j, twice := first[info.Addr]; twice {
			errs = append(errs, fmt.Errorf("endpoints[%d].addr: %q is that of endpoints[%d] too", i, info.Addr, j))
			continue
		}
		first[info.Addr] = i
	}
	return errors.Join(errs...)
}

// faults takes joined errors apart, so that each can be told its path.
func faults(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

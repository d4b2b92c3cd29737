package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

const (
	guardMinEndpoints = 1
	guardMaxDrop      = 0.7
	guardGrace        = 30 * time.Second
)

// Guard is a Resolver that doubts sudden losses. A registry that has just
// been restarted, lost its data, or missed the heartbeats of everyone at
// once, lists hardly anything or nothing, without an error; endpoints that
// serve well would be left at its word.
//
// A set of Source that is much smaller than the one in use is held back: the
// set in use stays, and an error says what is doubted. It is believed once
// Grace has passed, unless Source fails by then; meanwhile Source may change
// its mind, and a set that is not doubted is believed at once. The first set
// is believed whatever it is, since there is nothing to lose.
//
// Only endpoints that are no longer listed count as lost. That one is not
// ready is said of that one, and a set that lists as many others is taken for
// a deployment.
type Guard struct {
	// Source is what is guarded. It is required.
	Source Resolver
	// MinEndpoints is how many endpoints a set must have so that it is not
	// doubted after one that had more. Zero means 1: the empty set is.
	MinEndpoints int
	// MaxDrop is the part of the endpoints in use, from 0 to 1, by which a set
	// can be smaller without being doubted. Zero means 0.7; 1 means that only
	// MinEndpoints counts.
	MaxDrop float64
	// Grace is for how long a set is doubted. Zero means 30 seconds.
	Grace time.Duration
}

// Validate reports every fault of the configuration, that of Source included.
func (g Guard) Validate() error {
	errs := checked("source", g.Source)
	if g.MinEndpoints < 0 {
		errs = append(errs, fmt.Errorf("min endpoints: %d is less than 0", g.MinEndpoints))
	}
	if !(g.MaxDrop >= 0 && g.MaxDrop <= 1) {
		errs = append(errs, fmt.Errorf("max drop: %v is not from 0 to 1", g.MaxDrop))
	}
	return errors.Join(append(errs, interval("grace", g.Grace))...)
}

// doubts reports whether next is a sudden loss after now.
func (g Guard) doubts(now, next int) bool {
	lost := now - next
	return lost > 0 && (next < cmp.Or(g.MinEndpoints, guardMinEndpoints) ||
		float64(lost) > cmp.Or(g.MaxDrop, guardMaxDrop)*float64(now))
}

// Watch implements Resolver.
func (g Guard) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		source := follow(ctx, g.Source)
		defer source.stop()
		var before said
		var now []endpoint.Info
		var known bool
		// Until then the set that Source said last is doubted.
		var believe <-chan time.Time
		for ctx.Err() == nil {
			over := false
			select {
			case <-ctx.Done():
				return
			case <-believe:
				over = true
			case <-source.news:
			}
			s := source.said()
			set, failure := s.since(before)
			before = s
			doubt := known && g.doubts(len(now), len(s.infos))
			switch {
			case over && s.err != nil:
				// It has not stood by what it said; its next set is doubted anew.
				believe = nil
			case set && doubt && !over:
				if believe == nil {
					believe = time.After(cmp.Or(g.Grace, guardGrace))
				}
				if !yield(nil, fmt.Errorf("a sudden drop of endpoints from %d to %d is held back for %v",
					len(now), len(s.infos), cmp.Or(g.Grace, guardGrace))) {
					return
				}
			case set || over:
				believe = nil
				now, known = s.infos, true
				if !yield(s.infos, nil) {
					return
				}
				// The error that was there before it still holds.
				failure = s.err != nil
			}
			if failure && !yield(nil, s.err) {
				return
			}
		}
	}
}

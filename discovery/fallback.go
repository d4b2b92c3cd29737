package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

const fallbackAfter = 5 * time.Second

// Fallback is a Resolver that uses Secondary for as long as Primary knows no
// endpoint: it has said nothing, has failed without ever having said a set,
// or has said the empty set. A Primary that fails while it knows endpoints
// keeps them.
//
// Secondary is watched once Primary has been without an endpoint for After,
// and until Secondary has said something, what was known stays in use. It is
// left as soon as Primary knows an endpoint. While it is used, an error says
// why, and the errors of both are passed on, named primary and secondary.
type Fallback struct {
	// Primary and Secondary are required.
	Primary, Secondary Resolver
	// After is how long Primary may be without an endpoint. Zero means 5
	// seconds.
	After time.Duration
}

var errNoEndpoint = errors.New("knows no endpoint")

// Validate reports every fault of the configuration, those of both resolvers
// included.
func (f Fallback) Validate() error {
	errs := append(checked("primary", f.Primary), checked("secondary", f.Secondary)...)
	return errors.Join(append(errs, interval("after", f.After))...)
}

// Watch implements Resolver.
func (f Fallback) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		if ctx.Err() != nil {
			return
		}
		w := &fallbackWatch{primary: follow(ctx, f.Primary)}
		defer w.primary.stop()
		defer w.leave()
		after := time.After(cmp.Or(f.After, fallbackAfter))
		for {
			select {
			case <-ctx.Done():
				return
			case <-after:
				after = nil
				w.using = true
			case <-w.primary.news:
			case <-w.news():
			}
			if len(w.primary.said().infos) > 0 {
				after = nil
				w.leave()
			} else if after == nil && !w.using {
				after = time.After(cmp.Or(f.After, fallbackAfter))
			}
			if ctx.Err() != nil || !w.say(yield) {
				return
			}
			if w.using && w.secondary == nil {
				w.secondary = follow(ctx, f.Secondary)
			}
		}
	}
}

// fallbackWatch is one watch of a Fallback.
type fallbackWatch struct {
	primary *tail
	// secondary is nil while it is not watched; using says that it is to be.
	secondary *tail
	using     bool
	// infos, if known, and err are what was last yielded.
	infos []endpoint.Info
	known bool
	err   error
}

// news returns the channel of the secondary, if that is watched.
func (w *fallbackWatch) news() <-chan struct{} {
	if w.secondary == nil {
		return nil
	}
	return w.secondary.news
}

// leave ends the use of the secondary.
func (w *fallbackWatch) leave() {
	w.using = false
	if w.secondary != nil {
		w.secondary.stop()
		w.secondary = nil
	}
}

// present returns what is to be used, if that is known, and what stands in
// the way of something better.
func (w *fallbackWatch) present() (infos []endpoint.Info, known bool, err error) {
	p := w.primary.said()
	if p.err != nil {
		err = fmt.Errorf("primary: %w", p.err)
	}
	if len(p.infos) > 0 {
		return p.infos, true, err
	}
	if !w.using {
		return nil, false, err
	}
	if err == nil {
		err = fmt.Errorf("primary: %w", errNoEndpoint)
	}
	var s said
	if w.secondary != nil {
		s = w.secondary.said()
	}
	if s.err != nil {
		err = errors.Join(err, fmt.Errorf("secondary: %w", s.err))
	}
	switch {
	case s.sets > 0:
		return s.infos, true, err
	case s.err != nil && p.sets > 0:
		// Nobody knows better than the primary, which knows of none.
		return p.infos, true, err
	}
	return nil, false, err
}

// say yields what of the present is new.
func (w *fallbackWatch) say(yield func([]endpoint.Info, error) bool) bool {
	infos, known, err := w.present()
	set := known && (!w.known || w.err != nil && err == nil || !slices.EqualFunc(infos, w.infos, endpoint.Info.Equal))
	// Errors differ for a reader by their texts alone.
	failure := err != nil && (set || w.err == nil || w.err.Error() != err.Error())
	if set {
		w.infos, w.known = infos, true
	}
	w.err = err
	return (!set || yield(infos, nil)) && (!failure || yield(nil, err))
}

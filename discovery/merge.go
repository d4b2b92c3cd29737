package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// mergeWait is how long the first set waits for sources that have not yet
// said anything once one has.
const mergeWait = time.Second

// Merged is a Resolver that unites others, its sources. Two are equal if they
// unite equal sources in the same order.
type Merged struct {
	// A chain, since a slice could not be compared: rest is the next Merged,
	// and the zero Merged its end.
	first Resolver
	rest  any
}

// Merge returns a Resolver of all endpoints that any of the given ones knows.
// Of an address that several know the one listed first decides what is said
// about it.
//
// A source that fails keeps the endpoints that it had, and hides none of the
// others'. Its error is passed on, named sources[i], and is repeated after
// each set for as long as it fails, so that the last thing said is that part
// of the set is not known. A source that ends its sequence early is taken to
// fail.
//
// The first set comes when every source has answered or failed, so that what
// is listed first decides from the start and traffic does not fall on half a
// set; but at most one second after the first answer, so that a source that
// says nothing delays the others no longer than that.
func Merge(resolvers ...Resolver) Merged {
	var m Merged
	for i := len(resolvers) - 1; i >= 0; i-- {
		m = Merged{first: resolvers[i], rest: m}
	}
	return m
}

// sources returns the resolvers in their order; some may be nil.
func (m Merged) sources() []Resolver {
	var rs []Resolver
	for next := any(m); ; {
		link, _ := next.(Merged)
		if link == (Merged{}) {
			return rs
		}
		rs = append(rs, link.first)
		next = link.rest
	}
}

// Validate reports every fault of every source that has a Validate method.
func (m Merged) Validate() error {
	sources := m.sources()
	if len(sources) == 0 {
		return errors.New("sources: there is none")
	}
	var errs []error
	for i, r := range sources {
		if r == nil {
			errs = append(errs, fmt.Errorf("sources[%d]: is nil", i))
		}
		if v, ok := r.(interface{ Validate() error }); ok {
			for _, err := range faults(v.Validate()) {
				errs = append(errs, fmt.Errorf("sources[%d].%w", i, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Watch implements Resolver.
func (m Merged) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		w := newMergeWatch(ctx, m.sources())
		defer w.wg.Wait()
		defer cancel()
		w.run(ctx, yield)
	}
}

// mergeWatch is one watch of a Merged: a goroutine for each source notes what
// it says, and the consumer's goroutine passes on what comes of it.
type mergeWatch struct {
	wg sync.WaitGroup
	// news has room for one: that there is some.
	news    chan struct{}
	mu      sync.Mutex
	sources []source
	// failures counts errors.
	failures uint64
}

// source is what one source has said.
type source struct {
	infos []endpoint.Info
	known bool
	err   error
}

var errEnded = errors.New("ended its sequence early")

func newMergeWatch(ctx context.Context, resolvers []Resolver) *mergeWatch {
	w := &mergeWatch{news: make(chan struct{}, 1), sources: make([]source, len(resolvers))}
	// There is news even without a source: the empty set.
	w.news <- struct{}{}
	for i, r := range resolvers {
		if r == nil {
			w.note(i, nil, errors.New("is nil"))
			continue
		}
		w.wg.Go(func() {
			for infos, err := range r.Watch(ctx) {
				w.note(i, infos, err)
			}
			if ctx.Err() == nil {
				w.note(i, nil, errEnded)
			}
		})
	}
	return w
}

func (w *mergeWatch) note(i int, infos []endpoint.Info, err error) {
	w.mu.Lock()
	s := &w.sources[i]
	if s.err = err; err != nil {
		w.failures++
	} else {
		s.infos, s.known = infos, true
	}
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// union is the state of all sources taken together.
type union struct {
	infos []endpoint.Info
	// answers counts sources with a set, silent those that said nothing yet.
	answers, silent int
	err             error
	failures        uint64
}

func (w *mergeWatch) union() union {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := union{infos: []endpoint.Info{}, failures: w.failures}
	var errs []error
	taken := map[string]bool{}
	for i, s := range w.sources {
		switch {
		case s.known:
			u.answers++
		case s.err == nil:
			u.silent++
		}
		if s.err != nil {
			errs = append(errs, fmt.Errorf("sources[%d]: %w", i, s.err))
		}
		for _, info := range s.infos {
			if !taken[info.Addr] {
				taken[info.Addr] = true
				u.infos = append(u.infos, info)
			}
		}
	}
	u.err = errors.Join(errs...)
	return u
}

func (w *mergeWatch) run(ctx context.Context, yield func([]endpoint.Info, error) bool) {
	var last union
	var said, waited bool // a set was yielded; mergeWait has passed
	var late <-chan time.Time
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-late:
			waited = true
		case <-w.news:
		}
		u := w.union()
		if late == nil && u.answers > 0 && u.silent > 0 {
			late = time.After(mergeWait)
		}
		complete := u.silent == 0 && (u.answers > 0 || u.err == nil)
		changed := !slices.EqualFunc(u.infos, last.infos, endpoint.Info.Equal) || last.err != nil && u.err == nil
		set := said && changed || !said && (complete || waited)
		if set {
			if !yield(u.infos, nil) {
				return
			}
			said = true
		}
		if u.err != nil && (set || u.failures > last.failures) && !yield(nil, u.err) {
			return
		}
		last = u
	}
}

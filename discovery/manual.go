package discovery

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/tulle-mesh/tulle/endpoint"
)

// Manual is a Resolver that is told its set: by a test, or by a program that
// has a source of its own. The zero value is ready to use and knows no set
// yet. A *Manual is equal to itself only; it is safe for concurrent use.
type Manual struct {
	mu  sync.Mutex
	now manualState
}

type manualState struct {
	infos []endpoint.Info
	// sets counts the sets there have been and failures the calls of Fail,
	// so that a watcher sees what is new to it.
	sets, failures uint64
	err            error
	// changed is closed when this state is a past one; nil while nobody
	// watches.
	changed chan struct{}
}

// Set makes infos the set, which nil or no arguments make empty. A set with
// faults, see [Validate], is refused and changes nothing. Watchers hear of a
// set that is not the one they have, and of any after a Fail.
func (m *Manual) Set(infos ...endpoint.Info) error {
	if err := Validate(infos); err != nil {
		return err
	}
	infos = slices.Clone(infos)
	for i := range infos {
		infos[i].Labels = maps.Clone(infos[i].Labels)
	}
	m.change(func(s *manualState) bool {
		if s.sets > 0 && s.err == nil && slices.EqualFunc(s.infos, infos, endpoint.Info.Equal) {
			return false
		}
		s.infos, s.err = infos, nil
		s.sets++
		return true
	})
	return nil
}

// Fail tells watchers that the set is not known at present and why. The last
// set stays valid, and a new watcher gets it before the error.
func (m *Manual) Fail(err error) {
	if err == nil {
		err = errors.New("discovery: the set of endpoints is not known")
	}
	m.change(func(s *manualState) bool {
		s.err = err
		s.failures++
		return true
	})
}

func (m *Manual) change(f func(*manualState) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f(&m.now) && m.now.changed != nil {
		close(m.now.changed)
		m.now.changed = nil
	}
}

func (m *Manual) state() manualState {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now.changed == nil {
		m.now.changed = make(chan struct{})
	}
	return m.now
}

// Watch implements Resolver.
func (m *Manual) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		var sets, failures uint64
		for ctx.Err() == nil {
			s := m.state()
			if s.sets > sets && !yield(s.infos, nil) {
				return
			}
			if s.err != nil && s.failures > failures && !yield(nil, s.err) {
				return
			}
			sets, failures = s.sets, s.failures
			select {
			case <-s.changed:
			case <-ctx.Done():
			}
		}
	}
}

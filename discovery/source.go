package discovery

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/tulle-mesh/tulle/endpoint"
)

// checked returns the faults of a resolver that another one stands on.
func checked(name string, r Resolver) []error {
	v := reflect.ValueOf(r)
	switch {
	case !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil():
		return []error{fmt.Errorf("%s: is required", name)}
	case !v.Comparable():
		return []error{fmt.Errorf("%s: a %T cannot be compared, use a pointer to it", name, r)}
	}
	var errs []error
	if v, ok := r.(interface{ Validate() error }); ok {
		for _, err := range faults(v.Validate()) {
			errs = append(errs, fmt.Errorf("%s.%w", name, err))
		}
	}
	return errs
}

// tail is one watch of a resolver by a goroutine of its own, so that whoever
// follows it can wait for other things too. Like any consumer that is slow,
// the follower gets the latest.
type tail struct {
	cancel context.CancelFunc
	done   chan struct{}
	// news has room for one: that there is some.
	news chan struct{}

	mu  sync.Mutex
	now said
}

// said is what a resolver has said so far.
type said struct {
	infos []endpoint.Info
	// sets and failures count, so that a follower sees what is new to it.
	sets, failures int
	// err is nil if the last that was said is a set.
	err error
}

// follow begins to watch r. The follower must stop the tail.
func follow(ctx context.Context, r Resolver) *tail {
	ctx, cancel := context.WithCancel(ctx)
	t := &tail{cancel: cancel, done: make(chan struct{}), news: make(chan struct{}, 1)}
	go func() {
		defer close(t.done)
		for infos, err := range r.Watch(ctx) {
			t.note(infos, err)
		}
		if ctx.Err() == nil {
			t.note(nil, errEnded)
		}
	}()
	return t
}

// stop returns when the watch has ended.
func (t *tail) stop() {
	t.cancel()
	<-t.done
}

func (t *tail) note(infos []endpoint.Info, err error) {
	t.mu.Lock()
	if t.now.err = err; err != nil {
		t.now.failures++
	} else {
		t.now.infos = infos
		t.now.sets++
	}
	t.mu.Unlock()
	select {
	case t.news <- struct{}{}:
	default:
	}
}

func (t *tail) said() said {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

// since returns whether there is a set, and an error after all sets, that
// was not yet in what had been said before.
func (s said) since(before said) (set, failure bool) {
	return s.sets > before.sets, s.err != nil && s.failures > before.failures
}

package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

// subject is a resolver under the test that every resolver must pass.
type subject struct {
	resolver discovery.Resolver
	// change makes the n-th set known, counting from 1; nil for a resolver
	// that never changes. The first is known from the start.
	change func(n int)
	// set is the n-th set.
	set func(n int) []endpoint.Info
}

// watcher collects what one watch yields. Its fields can be read where the
// next thing that is yielded comes of something the reader does; where time
// alone makes it come, take them by said.
type watcher struct {
	mu     sync.Mutex
	sets   [][]endpoint.Info
	copies [][]endpoint.Info
	errs   []error
	ended  bool
	cancel context.CancelFunc
}

// watch runs a watch that stops by itself at stop sets (0: never).
func watch(t *testing.T, r discovery.Resolver, stop int) *watcher {
	w := &watcher{}
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	go func() {
		defer func() { w.ended = true }()
		for infos, err := range r.Watch(ctx) {
			if w.note(infos, err) == stop && err == nil {
				break
			}
		}
	}()
	return w
}

// note returns how many sets there have been.
func (w *watcher) note(infos []endpoint.Info, err error) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.errs = append(w.errs, err)
	} else {
		w.sets, w.copies = append(w.sets, infos), append(w.copies, clone(infos))
	}
	return len(w.sets)
}

// said returns what has been yielded, once nothing more happens at present.
func (w *watcher) said() (sets [][]endpoint.Info, errs []error) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sets, w.errs
}

func clone(infos []endpoint.Info) []endpoint.Info {
	infos = slices.Clone(infos)
	for i := range infos {
		infos[i].Labels = maps.Clone(infos[i].Labels)
	}
	return infos
}

// settle lets everything run until nothing more happens.
func settle() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

func same(a, b []endpoint.Info) bool { return slices.EqualFunc(a, b, endpoint.Info.Equal) }

// contract lists what Resolver promises. Each check runs in a bubble of its
// own, which fails if a goroutine is left.
var contract = map[string]func(*testing.T, subject) error{
	"yields the set and stays": func(t *testing.T, s subject) error {
		w := watch(t, s.resolver, 0)
		defer w.cancel()
		settle()
		if w.ended {
			return errors.New("ended by itself")
		}
		if len(w.sets) != 1 || !same(w.sets[0], s.set(1)) || len(w.errs) > 0 {
			return fmt.Errorf("yielded %v, %v, want once %v", w.sets, w.errs, s.set(1))
		}
		return nil
	},
	"ends with its context": func(t *testing.T, s subject) error {
		w := watch(t, s.resolver, 0)
		settle()
		w.cancel()
		settle()
		if !w.ended {
			return errors.New("goes on")
		}
		return nil
	},
	"yields nothing in a context that has ended": func(t *testing.T, s subject) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for infos, err := range s.resolver.Watch(ctx) {
			return fmt.Errorf("yielded %v, %v", infos, err)
		}
		return nil
	},
	"ends with its consumer": func(t *testing.T, s subject) error {
		w := watch(t, s.resolver, 1)
		defer w.cancel()
		settle()
		if !w.ended || len(w.sets) != 1 {
			return errors.New("goes on")
		}
		return nil
	},
	"ends with a consumer that panics": func(t *testing.T, s subject) (err error) {
		defer func() {
			if v := recover(); v != "consumer" {
				err = fmt.Errorf("panic %v", v)
			}
		}()
		for range s.resolver.Watch(t.Context()) {
			panic("consumer")
		}
		return nil
	},
	"serves several consumers": func(t *testing.T, s subject) error {
		a, gone, b := watch(t, s.resolver, 0), watch(t, s.resolver, 1), watch(t, s.resolver, 0)
		defer a.cancel()
		defer gone.cancel()
		defer b.cancel()
		settle()
		if !gone.ended || a.ended || b.ended {
			return errors.New("one ended another, or did not end")
		}
		for _, w := range []*watcher{a, b, gone} {
			if len(w.sets) != 1 || !same(w.sets[0], s.set(1)) {
				return fmt.Errorf("yielded %v, want once %v", w.sets, s.set(1))
			}
		}
		return nil
	},
	"yields changes and leaves what it yielded": func(t *testing.T, s subject) error {
		w := watch(t, s.resolver, 0)
		defer w.cancel()
		settle()
		if s.change == nil {
			return nil
		}
		for n := 2; n <= 5; n++ {
			s.change(n)
			settle()
			if len(w.sets) != n || !same(w.sets[n-1], s.set(n)) {
				return fmt.Errorf("yielded %v, want at last %v", w.sets, s.set(n))
			}
			s.change(n)
			settle()
			if len(w.sets) != n {
				return fmt.Errorf("yielded %v again", w.sets[n])
			}
		}
		if !reflect.DeepEqual(w.sets, w.copies) {
			return errors.New("a set was changed after it had been yielded")
		}
		return nil
	},
	"gives a slow consumer the latest": func(t *testing.T, s subject) error {
		if s.change == nil {
			return nil
		}
		seen := 0
		for infos, err := range s.resolver.Watch(t.Context()) {
			if err != nil {
				return err
			}
			if seen++; seen == 1 {
				for n := 2; n <= 9; n++ {
					s.change(n) // must not wait for this consumer
				}
				settle()
			}
			if same(infos, s.set(9)) {
				break
			}
		}
		if seen != 2 {
			return fmt.Errorf("%d sets, want the first and the latest", seen)
		}
		return nil
	},
	"is equal to itself": func(_ *testing.T, s subject) error {
		if !reflect.TypeOf(s.resolver).Comparable() || s.resolver != s.resolver {
			return errors.New("cannot be compared")
		}
		return nil
	},
}

// testResolver holds a kind of resolver to the contract. It calls fresh in
// each bubble.
func testResolver(t *testing.T, fresh func() subject) {
	t.Helper()
	for name, check := range contract {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := check(t, fresh()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// numbered is a set of n+1 endpoints.
func numbered(n int) []endpoint.Info {
	infos := make([]endpoint.Info, n+1)
	for i := range infos {
		infos[i] = endpoint.Info{Addr: fmt.Sprintf("10.0.0.%d:80", i), Labels: map[string]string{"n": fmt.Sprint(n)}}
	}
	return infos
}

func manual(t *testing.T) (*discovery.Manual, func(n int)) {
	m := new(discovery.Manual)
	change := func(n int) {
		if err := m.Set(numbered(n)...); err != nil {
			t.Error(err)
		}
	}
	change(1)
	return m, change
}

func TestStaticResolver(t *testing.T) {
	testResolver(t, func() subject {
		return subject{resolver: discovery.NewStatic(numbered(1)...), set: numbered}
	})
}

func TestEmptyStaticResolver(t *testing.T) {
	testResolver(t, func() subject {
		return subject{resolver: discovery.Addrs(), set: func(int) []endpoint.Info { return nil }}
	})
}

func TestManualResolver(t *testing.T) {
	testResolver(t, func() subject {
		m, change := manual(t)
		return subject{m, change, numbered}
	})
}

func TestMergedResolver(t *testing.T) {
	rest := []endpoint.Info{{Addr: "a:1"}, {Addr: "b:1"}}
	testResolver(t, func() subject {
		m, change := manual(t)
		return subject{
			discovery.Merge(m, discovery.NewStatic(rest...)), change,
			func(n int) []endpoint.Info { return append(numbered(n), rest...) },
		}
	})
}

func TestMergedOfOneAndOfMergedResolver(t *testing.T) {
	testResolver(t, func() subject {
		m, change := manual(t)
		return subject{discovery.Merge(discovery.Merge(m)), change, numbered}
	})
}

func TestMergedOfNoneResolver(t *testing.T) {
	testResolver(t, func() subject {
		return subject{resolver: discovery.Merge(), set: func(int) []endpoint.Info { return nil }}
	})
}

// broken resolvers: the negative controls of the contract.
type broken struct {
	name  string
	watch func(ctx context.Context, m *discovery.Manual) iter.Seq2[[]endpoint.Info, error]
	// fails names a check that must fail.
	fails string
}

type brokenResolver struct {
	*broken
	m *discovery.Manual
}

func (r brokenResolver) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return r.watch(ctx, r.m)
}

var brokenResolvers = []broken{
	{"ends", func(ctx context.Context, m *discovery.Manual) iter.Seq2[[]endpoint.Info, error] {
		return func(yield func([]endpoint.Info, error) bool) { yield(numbered(1), nil) }
	}, "yields the set and stays"},
	{"deaf to its context", func(ctx context.Context, m *discovery.Manual) iter.Seq2[[]endpoint.Info, error] {
		return func(yield func([]endpoint.Info, error) bool) {
			if yield(numbered(1), nil) {
				time.Sleep(time.Hour)
			}
		}
	}, "ends with its context"},
	{"hasty", func(ctx context.Context, m *discovery.Manual) iter.Seq2[[]endpoint.Info, error] {
		return func(yield func([]endpoint.Info, error) bool) {
			if yield(numbered(1), nil) {
				<-ctx.Done()
			}
		}
	}, "yields nothing in a context that has ended"},
	{"repeating", func(ctx context.Context, m *discovery.Manual) iter.Seq2[[]endpoint.Info, error] {
		return func(yield func([]endpoint.Info, error) bool) {
			for ctx.Err() == nil && yield(numbered(1), nil) {
				time.Sleep(time.Second)
			}
		}
	}, "yields the set and stays"},
	{"reusing its memory", func(ctx context.Context, m *discovery.Manual) iter.Seq2[[]endpoint.Info, error] {
		return func(yield func([]endpoint.Info, error) bool) {
			infos := make([]endpoint.Info, 0, 100)
			for next := range m.Watch(ctx) {
				infos = append(infos[:0], next...)
				if !yield(infos, nil) {
					return
				}
			}
		}
	}, "yields changes and leaves what it yielded"},
	{"queueing", func(ctx context.Context, m *discovery.Manual) iter.Seq2[[]endpoint.Info, error] {
		return func(yield func([]endpoint.Info, error) bool) {
			queue := make(chan []endpoint.Info, 100)
			done := make(chan struct{})
			defer func() { <-done }()
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go func() {
				defer close(done)
				for infos := range m.Watch(ctx) {
					queue <- infos
				}
			}()
			n := 0
			for {
				select {
				case <-ctx.Done():
					return
				case infos := <-queue:
					if n++; n == 2 {
						// As if every set had been queued.
						infos = numbered(2)
					}
					if !yield(infos, nil) {
						return
					}
				}
			}
		}
	}, "gives a slow consumer the latest"},
	{"leaking", func(ctx context.Context, m *discovery.Manual) iter.Seq2[[]endpoint.Info, error] {
		return func(yield func([]endpoint.Info, error) bool) {
			go func() { select {} }()
			for infos, err := range m.Watch(ctx) {
				if !yield(infos, err) {
					return
				}
			}
		}
	}, "ends with its consumer"},
}

func TestContractNoticesBrokenResolvers(t *testing.T) {
	for _, b := range brokenResolvers {
		t.Run(b.name, func(t *testing.T) {
			if err := inBubble(t, b); err == nil {
				t.Errorf("%q passed", b.fails)
			}
		})
	}
}

// inBubble returns the error of the check, or the panic of a bubble in which
// a goroutine was left.
func inBubble(t *testing.T, b broken) (err error) {
	defer func() {
		if v := recover(); v != nil && err == nil {
			err = fmt.Errorf("%v", v)
			if !strings.Contains(err.Error(), "deadlock") {
				t.Error(err)
			}
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		m, change := manual(t)
		err = contract[b.fails](t, subject{brokenResolver{&b, m}, change, numbered})
	})
	return err
}

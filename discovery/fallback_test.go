package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

func TestFallbackResolver(t *testing.T) {
	testResolver(t, func() subject {
		m, change := manual(t)
		return subject{discovery.Fallback{Primary: m, Secondary: discovery.Addrs("second:1")}, change, numbered}
	})
}

// watched counts the watches of a resolver.
type watched struct {
	discovery.Resolver
	now atomic.Int64
}

func (w *watched) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		w.now.Add(1)
		defer w.now.Add(-1)
		for infos, err := range w.Resolver.Watch(ctx) {
			if !yield(infos, err) {
				return
			}
		}
	}
}

// words renders what a watcher has seen.
func words(w *watcher) string {
	sets, errs := w.said()
	var b strings.Builder
	for _, infos := range sets {
		fmt.Fprintf(&b, "[%s]", addrs(infos))
	}
	for _, err := range errs {
		fmt.Fprintf(&b, "(%s)", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return b.String()
}

func TestFallback(t *testing.T) {
	one, two := endpoint.Info{Addr: "one:1"}, endpoint.Info{Addr: "two:1"}
	lost := errors.New("lost")
	type step struct {
		do   func(t *testing.T, primary, secondary *discovery.Manual)
		wait time.Duration
		want string // everything yielded so far
		// used: the secondary is watched.
		used int64
	}
	nothing := func(*testing.T, *discovery.Manual, *discovery.Manual) {}
	says := func(infos ...endpoint.Info) func(*testing.T, *discovery.Manual, *discovery.Manual) {
		return func(t *testing.T, primary, _ *discovery.Manual) { set(t, primary, infos...) }
	}
	second := func(infos ...endpoint.Info) func(*testing.T, *discovery.Manual, *discovery.Manual) {
		return func(t *testing.T, _, secondary *discovery.Manual) { set(t, secondary, infos...) }
	}
	fails := func(_ *testing.T, primary, _ *discovery.Manual) { primary.Fail(lost) }
	secondFails := func(_ *testing.T, _, secondary *discovery.Manual) { secondary.Fail(lost) }
	cases := map[string][]step{
		"a silent primary, and its return": {
			{second(two), 4999 * time.Millisecond, "", 0},
			{nothing, time.Millisecond, "[two:1](primary: knows no endpoint)(primary: knows no endpoint)", 1},
			{says(one), 0, "[two:1][one:1](primary: knows no endpoint)(primary: knows no endpoint)", 0},
		},
		"a primary that fails from the start": {
			{second(two), 0, "", 0},
			{fails, 4 * time.Second, "(primary: lost)", 0},
			{nothing, time.Second, "[two:1](primary: lost)(primary: lost)", 1},
		},
		"a primary that fails keeps its endpoints": {
			{says(one), 0, "[one:1]", 0},
			{fails, time.Hour, "[one:1](primary: lost)", 0},
			{says(one), 0, "[one:1][one:1](primary: lost)", 0},
		},
		"an empty primary": {
			{second(two), 0, "", 0},
			{says(one), time.Hour, "[one:1]", 0},
			{says(), 4 * time.Second, "[one:1]", 0},
			{nothing, time.Second, "[one:1][two:1](primary: knows no endpoint)(primary: knows no endpoint)", 1},
			{second(two, one), 0, "[one:1][two:1][two:1 one:1](primary: knows no endpoint)(primary: knows no endpoint)(primary: knows no endpoint)", 1},
		},
		"a primary that is empty in passing": {
			{second(two), 0, "", 0},
			{says(one), time.Hour, "[one:1]", 0},
			{says(), 4 * time.Second, "[one:1]", 0},
			{says(one), time.Hour, "[one:1]", 0},
		},
		"nobody knows an endpoint": {
			{says(), time.Hour, "(primary: knows no endpoint)", 1},
			{secondFails, 0, "[](primary: knows no endpoint)(primary: knows no endpoint; secondary: lost)", 1},
			{second(), 0, "[](primary: knows no endpoint)(primary: knows no endpoint; secondary: lost)(primary: knows no endpoint)", 1},
		},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				primary, secondary := new(discovery.Manual), &watched{Resolver: new(discovery.Manual)}
				w := watch(t, discovery.Fallback{Primary: primary, Secondary: secondary}, 0)
				for i, s := range steps {
					s.do(t, primary, secondary.Resolver.(*discovery.Manual))
					synctest.Wait()
					time.Sleep(s.wait)
					if got := words(w); got != s.want || secondary.now.Load() != s.used {
						t.Fatalf("step %d: %s, %d watches, want\n%s, %d", i, got, secondary.now.Load(), s.want, s.used)
					}
				}
				w.cancel()
				synctest.Wait()
				if n := secondary.now.Load(); n != 0 {
					t.Errorf("%d watches are left", n)
				}
			})
		})
	}
}

// The negative control: without a fallback a silent primary is no set.
func TestWithoutFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, new(discovery.Manual), 0)
		defer w.cancel()
		settle()
		if got := words(w); got != "" {
			t.Error(got)
		}
	})
}

func TestFallbackValidate(t *testing.T) {
	err := discovery.Fallback{Secondary: discovery.Addrs("a", "b"), After: -1}.Validate()
	want := []string{
		"primary: is required",
		`secondary.endpoints[0].addr: "a" is neither host:port nor unix:path`,
		`secondary.endpoints[1].addr: "b" is neither host:port nor unix:path`,
		"after: -1ns is less than 10ms",
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Error(err)
	}
	if err := (discovery.Fallback{Primary: discovery.Addrs("a:1"), Secondary: discovery.Addrs()}).Validate(); err != nil {
		t.Error(err)
	}
}

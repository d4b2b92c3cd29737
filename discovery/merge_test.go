package discovery_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

func set(t *testing.T, m *discovery.Manual, infos ...endpoint.Info) {
	t.Helper()
	if err := m.Set(infos...); err != nil {
		t.Error(err)
	}
}

func addrs(infos []endpoint.Info) string {
	var b strings.Builder
	for _, info := range infos {
		b.WriteString(info.Addr + " ")
	}
	return strings.TrimSpace(b.String())
}

func TestMergeFirstListedDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(discovery.Manual), new(discovery.Manual)
		w := watch(t, discovery.Merge(a, b), 0)
		defer w.cancel()
		// The second answers first.
		set(t, b, endpoint.Info{Addr: "x:1", Weight: 2}, endpoint.Info{Addr: "y:1"})
		synctest.Wait()
		set(t, a, endpoint.Info{Addr: "x:1", Weight: 1})
		settle()
		want := []endpoint.Info{{Addr: "x:1", Weight: 1}, {Addr: "y:1"}}
		if len(w.sets) != 1 || !same(w.sets[0], want) {
			t.Fatal(w.sets)
		}
		set(t, a) // no longer knows x, so the second decides
		settle()
		want = []endpoint.Info{{Addr: "x:1", Weight: 2}, {Addr: "y:1"}}
		if len(w.sets) != 2 || !same(w.sets[1], want) {
			t.Fatal(w.sets)
		}
	})
}

func TestMergeWaitsForASilentSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, silent := new(discovery.Manual), new(discovery.Manual)
		start := time.Now()
		time.AfterFunc(time.Hour, func() { set(t, a, endpoint.Info{Addr: "x:1"}) })
		for infos, err := range discovery.Merge(silent, a).Watch(t.Context()) {
			if err != nil || addrs(infos) != "x:1" {
				t.Error(infos, err)
			}
			// As long as nobody answers there is nothing to say; then the
			// source listed first has a second more.
			if d := time.Since(start); d != time.Hour+time.Second {
				t.Error("yielded after", d)
			}
			break
		}
	})
}

func TestMergeDoesNotWaitForAFailedSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, failed := new(discovery.Manual), new(discovery.Manual)
		failed.Fail(errors.New("no registry"))
		set(t, a, endpoint.Info{Addr: "x:1"})
		w := watch(t, discovery.Merge(failed, a), 0)
		defer w.cancel()
		synctest.Wait()
		if len(w.sets) != 1 || addrs(w.sets[0]) != "x:1" || len(w.errs) == 0 {
			t.Fatal(w.sets, w.errs)
		}
	})
}

// A source that fails keeps its endpoints and hides none of the others'.
func TestMergeFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(discovery.Manual), new(discovery.Manual)
		set(t, a, endpoint.Info{Addr: "x:1"})
		set(t, b, endpoint.Info{Addr: "y:1"})
		w := watch(t, discovery.Merge(a, b), 0)
		defer w.cancel()
		settle()

		lost := errors.New("registry lost")
		b.Fail(lost)
		settle()
		if len(w.sets) != 1 || len(w.errs) != 1 || !errors.Is(w.errs[0], lost) || w.errs[0].Error() != "sources[1]: registry lost" {
			t.Fatal(w.sets, w.errs)
		}
		set(t, a, endpoint.Info{Addr: "x:1"}, endpoint.Info{Addr: "z:1"})
		settle()
		if len(w.sets) != 2 || addrs(w.sets[1]) != "x:1 z:1 y:1" {
			t.Fatal(w.sets)
		}
		if len(w.errs) != 2 || !errors.Is(w.errs[1], lost) {
			t.Fatal("after the set nothing says that part of it is not known:", w.errs)
		}
		set(t, b, endpoint.Info{Addr: "y:1"})
		settle()
		if len(w.sets) != 3 || addrs(w.sets[2]) != "x:1 z:1 y:1" || len(w.errs) != 2 {
			t.Fatal("nothing says that all is known again:", w.sets, w.errs)
		}
	})
}

func TestMergeWhereAllFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(discovery.Manual), new(discovery.Manual)
		w := watch(t, discovery.Merge(a, b, nil), 0)
		defer w.cancel()
		a.Fail(errors.New("no a"))
		b.Fail(errors.New("no b"))
		settle()
		if len(w.sets) != 0 || len(w.errs) == 0 {
			t.Fatal(w.sets, w.errs)
		}
		if got := w.errs[len(w.errs)-1].Error(); got != "sources[0]: no a\nsources[1]: no b\nsources[2]: is nil" {
			t.Errorf("%q", got)
		}
	})
}

type ending struct{}

func (ending) Watch(context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) { yield([]endpoint.Info{{Addr: "x:1"}}, nil) }
}

// lingering takes a while to end.
type lingering struct{ ended *bool }

func (l lingering) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		if yield([]endpoint.Info{{Addr: "x:1"}}, nil) {
			<-ctx.Done()
		}
		time.Sleep(time.Second)
		*l.ended = true
	}
}

func TestMergeEndsAfterItsSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		for range discovery.Merge(lingering{&ended}).Watch(t.Context()) {
			break
		}
		if !ended {
			t.Error("a source goes on after the end of the merged sequence")
		}
	})
}

func TestMergeTakesAnEarlyEndForAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, discovery.Merge(ending{}, discovery.Addrs("y:1")), 0)
		defer w.cancel()
		settle()
		if len(w.sets) == 0 || addrs(w.sets[len(w.sets)-1]) != "x:1 y:1" {
			t.Error(w.sets)
		}
		if len(w.errs) == 0 || !strings.HasPrefix(w.errs[0].Error(), "sources[0]: ") {
			t.Error(w.errs)
		}
	})
}

func TestMergeEquality(t *testing.T) {
	m := new(discovery.Manual)
	var a, b discovery.Resolver = discovery.Merge(discovery.Addrs("x:1"), m), discovery.Merge(discovery.Addrs("x:1"), m)
	if a != b {
		t.Error("equal sources, yet not equal")
	}
	for _, other := range []discovery.Resolver{
		discovery.Merge(m, discovery.Addrs("x:1")), discovery.Merge(discovery.Addrs("x:1")), discovery.Merge(),
		discovery.Merge(discovery.Addrs("x:1"), m, nil), discovery.Merge(discovery.Addrs("x:1"), new(discovery.Manual)),
	} {
		if a == other {
			t.Errorf("equal to %v", other)
		}
	}
}

func TestMergeValidate(t *testing.T) {
	if err := discovery.Merge(discovery.Addrs("x:1"), new(discovery.Manual)).Validate(); err != nil {
		t.Error(err)
	}
	for want, m := range map[string]discovery.Merged{
		"sources: there is none": discovery.Merge(),
		"sources[1]: is nil":     discovery.Merge(discovery.Addrs("x:1"), nil),
		"sources[0].endpoints[0].addr: \":1\" has no host\nsources[1].sources[0].endpoints[1].addr: \"x:1\" is that of endpoints[0] too": discovery.Merge(
			discovery.Addrs(":1"), discovery.Merge(discovery.Addrs("x:1", "x:1"))),
	} {
		if err := m.Validate(); err == nil || err.Error() != want {
			t.Errorf("%v\nwant\n%v", err, want)
		}
	}
}

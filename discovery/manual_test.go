package discovery_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

func TestManualKnowsNothingAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(discovery.Manual)
		w := watch(t, m, 0)
		defer w.cancel()
		settle()
		if len(w.sets)+len(w.errs) > 0 || w.ended {
			t.Fatal(w.sets, w.errs, w.ended)
		}
		if err := m.Set(); err != nil {
			t.Fatal(err)
		}
		settle()
		if len(w.sets) != 1 || len(w.sets[0]) != 0 {
			t.Error("the empty set did not come:", w.sets)
		}
	})
}

func TestManualRefusesFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := manual(t)
		w := watch(t, m, 0)
		defer w.cancel()
		settle()
		err := m.Set(endpoint.Info{Addr: "a:1"}, endpoint.Info{Addr: "a:1"}, endpoint.Info{Addr: "b"})
		if err == nil || !strings.Contains(err.Error(), "endpoints[1].addr") || !strings.Contains(err.Error(), "endpoints[2].addr") {
			t.Error(err)
		}
		settle()
		if len(w.sets) != 1 || len(w.errs) != 0 {
			t.Error("a faulty set changed something:", w.sets, w.errs)
		}
	})
}

func TestManualFailAndRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, change := manual(t)
		w := watch(t, m, 0)
		defer w.cancel()
		settle()
		lost := errors.New("registry lost")
		m.Fail(lost)
		settle()
		if len(w.sets) != 1 || len(w.errs) != 1 || w.errs[0] != lost {
			t.Fatal(w.sets, w.errs)
		}
		late := watch(t, m, 0)
		defer late.cancel()
		settle()
		if len(late.sets) != 1 || len(late.errs) != 1 || late.errs[0] != lost {
			t.Error("a new watcher gets the last set and the error, not", late.sets, late.errs)
		}
		change(1) // the same set: it is known again
		settle()
		if len(w.sets) != 2 || len(w.errs) != 1 || !same(w.sets[1], numbered(1)) {
			t.Error(w.sets, w.errs)
		}
		m.Fail(nil)
		settle()
		if len(w.errs) != 2 || w.errs[1] == nil {
			t.Error(w.errs)
		}
	})
}

func TestManualSetIsACopy(t *testing.T) {
	m := new(discovery.Manual)
	infos := []endpoint.Info{{Addr: "a:1", Labels: map[string]string{"version": "v1"}}}
	if err := m.Set(infos...); err != nil {
		t.Fatal(err)
	}
	infos[0].Addr, infos[0].Labels["version"] = "b:1", "v2"
	if got := first(t, m); got[0].Addr != "a:1" || got[0].Labels["version"] != "v1" {
		t.Errorf("%+v", got)
	}
}

// However changes and watches overlap, each watcher gets to the last set and
// sees the sets in their order.
func TestManualConcurrent(t *testing.T) {
	const last = 300
	m := new(discovery.Manual)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			seen := 0
			for infos, err := range m.Watch(t.Context()) {
				n := len(infos) - 1
				if err != nil || n <= seen || infos[0].Labels["n"] != fmt.Sprint(n) {
					t.Errorf("set %d after %d, %v", n, seen, err)
				}
				if seen = n; n == last {
					return
				}
			}
		})
	}
	for n := 1; n <= last; n++ {
		if err := m.Set(numbered(n)...); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

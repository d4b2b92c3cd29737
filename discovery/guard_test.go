package discovery_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

func TestGuardResolver(t *testing.T) {
	testResolver(t, func() subject {
		m, change := manual(t)
		return subject{discovery.Guard{Source: m}, change, numbered}
	})
}

// some returns n endpoints, from the first-th on.
func some(first, n int) []endpoint.Info {
	var infos []endpoint.Info
	for i := range n {
		infos = append(infos, endpoint.Info{Addr: fmt.Sprintf("10.0.%d.1:80", first+i)})
	}
	return infos
}

var guardPromises = map[string]func(t *testing.T, m *discovery.Manual, w *watcher) error{
	"a sudden empty set is believed after the grace period": func(t *testing.T, m *discovery.Manual, w *watcher) error {
		set(t, m)
		time.Sleep(29 * time.Second)
		if sets, errs := w.said(); len(sets) != 1 || len(errs) != 1 {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		time.Sleep(time.Minute)
		if sets, errs := w.said(); len(sets) != 2 || len(sets[1]) != 0 || len(errs) != 1 {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		return nil
	},
	"one that passes is never seen": func(t *testing.T, m *discovery.Manual, w *watcher) error {
		set(t, m)
		time.Sleep(20 * time.Second)
		set(t, m, some(0, 10)...)
		time.Sleep(time.Minute)
		if sets, errs := w.said(); len(sets) != 2 || !same(sets[1], some(0, 10)) || len(errs) != 1 {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		return nil
	},
	"doubt does not begin anew with each set": func(t *testing.T, m *discovery.Manual, w *watcher) error {
		for n := range 3 {
			set(t, m, some(0, 2-n)...)
			time.Sleep(9 * time.Second)
		}
		time.Sleep(2 * time.Second)
		if sets, _ := w.said(); len(sets) != 1 {
			return fmt.Errorf("%v", sets)
		}
		time.Sleep(2 * time.Second)
		if sets, _ := w.said(); len(sets) != 2 || len(sets[1]) != 0 {
			return fmt.Errorf("%v", sets)
		}
		return nil
	},
	"what a source says that then fails is not believed": func(t *testing.T, m *discovery.Manual, w *watcher) error {
		set(t, m)
		time.Sleep(time.Second)
		lost := errors.New("registry lost")
		m.Fail(lost)
		time.Sleep(time.Minute)
		if sets, errs := w.said(); len(sets) != 1 || len(errs) != 2 || errs[1] != lost {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		set(t, m) // it says so again, and stays
		time.Sleep(29 * time.Second)
		if sets, errs := w.said(); len(sets) != 1 {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		time.Sleep(time.Minute)
		if sets, errs := w.said(); len(sets) != 2 {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		return nil
	},
}

func TestGuardPromises(t *testing.T) {
	for name, promise := range guardPromises {
		t.Run(name, func(t *testing.T) {
			run := func(guarded bool) (err error) {
				synctest.Test(t, func(t *testing.T) {
					m := new(discovery.Manual)
					set(t, m, some(0, 10)...)
					var r discovery.Resolver = m
					if guarded {
						r = discovery.Guard{Source: m}
					}
					w := watch(t, r, 0)
					defer w.cancel()
					settle()
					err = promise(t, m, w)
				})
				return err
			}
			if err := run(true); err != nil {
				t.Error(err)
			}
			if run(false) == nil {
				t.Error("negative control: passed without a guard")
			}
		})
	}
}

func TestGuardDoubts(t *testing.T) {
	away := some(0, 10)
	for i := range away {
		away[i].NotReady = true
	}
	cases := []struct {
		name   string
		guard  discovery.Guard
		before int
		after  []endpoint.Info
		doubt  bool
	}{
		{"none left", discovery.Guard{}, 1, nil, true},
		{"70 % lost", discovery.Guard{}, 10, some(0, 3), false},
		{"80 % lost", discovery.Guard{}, 10, some(0, 2), true},
		{"one of two lost", discovery.Guard{}, 2, some(0, 1), false},
		{"others instead", discovery.Guard{}, 10, some(100, 10), false},
		{"none ready", discovery.Guard{}, 10, away, false},
		{"more", discovery.Guard{MinEndpoints: 20}, 10, some(0, 12), false},
		{"as many, though few", discovery.Guard{MinEndpoints: 20}, 10, some(5, 10), false},
		{"fewer than few", discovery.Guard{MinEndpoints: 20}, 10, some(0, 9), true},
		{"11 % lost of 10 % allowed", discovery.Guard{MaxDrop: .1}, 9, some(0, 8), true},
		{"10 % lost of 10 % allowed", discovery.Guard{MaxDrop: .1}, 10, some(0, 9), false},
		{"any drop but to none", discovery.Guard{MaxDrop: 1}, 1000, some(0, 1), false},
		{"a drop to none", discovery.Guard{MaxDrop: 1}, 1000, nil, true},
		{"from none", discovery.Guard{}, 0, nil, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := new(discovery.Manual)
				set(t, m, some(0, c.before)...)
				c.guard.Source, c.guard.Grace = m, time.Hour
				w := watch(t, c.guard, 0)
				defer w.cancel()
				settle()
				if len(w.sets) != 1 || len(w.sets[0]) != c.before {
					t.Fatal("the first set is believed whatever it is, not", w.sets)
				}
				m.Fail(errors.New("so that even the same set is told"))
				set(t, m, c.after...)
				settle()
				if doubted := len(w.sets) == 1; doubted != c.doubt {
					t.Errorf("%v, %v", w.sets, w.errs)
				}
			})
		})
	}
}

func TestGuardValidate(t *testing.T) {
	err := discovery.Guard{MinEndpoints: -1, MaxDrop: math.NaN(), Grace: -1}.Validate()
	want := "source: is required\nmin endpoints: -1 is less than 0\nmax drop: NaN is not from 0 to 1\ngrace: -1ns is less than 10ms"
	if err == nil || err.Error() != want {
		t.Error(err)
	}
	if err := (discovery.Guard{Source: (*discovery.Manual)(nil)}).Validate(); err == nil {
		t.Error("a nil pointer passed")
	}
	err = discovery.Guard{Source: discovery.Guard{Source: discovery.Addrs("a", "b")}, MaxDrop: 1.5}.Validate()
	if err == nil || !strings.Contains(err.Error(), "source.source.endpoints[1].addr: ") || !strings.Contains(err.Error(), "max drop") {
		t.Error(err)
	}
	if err := (discovery.Guard{Source: discovery.Addrs("a:1")}).Validate(); err != nil {
		t.Error(err)
	}
}

package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

func TestLastKnownGoodResolver(t *testing.T) {
	testResolver(t, func() subject {
		m, change := manual(t)
		path := filepath.Join(t.TempDir(), "reviews.json")
		return subject{discovery.LastKnownGood{Source: m, Path: path}, change, numbered}
	})
}

var errAway = errors.New("registry away")

// goodPromises get a path at which [{"addr":"old:1"}] stands.
var goodPromises = map[string]func(t *testing.T, path string, m *discovery.Manual, r discovery.Resolver) error{
	"a source that is away at the start": func(t *testing.T, _ string, m *discovery.Manual, r discovery.Resolver) error {
		m.Fail(errAway)
		w := watch(t, r, 0)
		defer w.cancel()
		sets, errs := w.said()
		if len(sets) != 1 || addrs(sets[0]) != "old:1" || len(errs) != 1 || !errors.Is(errs[0], errAway) {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		set(t, m, endpoint.Info{Addr: "new:1"})
		sets, errs = w.said()
		if len(sets) != 2 || addrs(sets[1]) != "new:1" || len(errs) != 1 {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		return nil
	},
	"a source that is silent at the start": func(t *testing.T, _ string, m *discovery.Manual, r discovery.Resolver) error {
		w := watch(t, r, 0)
		defer w.cancel()
		time.Sleep(999 * time.Millisecond)
		if sets, errs := w.said(); len(sets)+len(errs) > 0 {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		time.Sleep(time.Millisecond)
		sets, errs := w.said()
		if len(sets) != 1 || addrs(sets[0]) != "old:1" || len(errs) != 1 || !strings.Contains(errs[0].Error(), "has not answered") {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		return nil
	},
	"the next process knows what this one knew": func(t *testing.T, path string, m *discovery.Manual, r discovery.Resolver) error {
		w := watch(t, r, 0)
		for n := 1; n < 5; n++ {
			set(t, m, numbered(n)...)
			w.said()
		}
		w.cancel()
		silent := new(discovery.Manual)
		silent.Fail(errAway)
		next := watch(t, discovery.LastKnownGood{Source: silent, Path: path}, 0)
		defer next.cancel()
		if sets, errs := next.said(); len(sets) != 1 || !same(sets[0], numbered(4)) {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		return nil
	},
	"the file is of its owner only, and alone": func(t *testing.T, path string, m *discovery.Manual, r discovery.Resolver) error {
		w := watch(t, r, 0)
		defer w.cancel()
		set(t, m, numbered(1)...)
		w.said()
		stat, err := os.Stat(path)
		if err != nil || stat.Mode() != 0o600 {
			return fmt.Errorf("%v, %v", stat.Mode(), err)
		}
		if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
			return fmt.Errorf("%v, %v", files, err)
		}
		return nil
	},
	"a file that is not understood is told and replaced": func(t *testing.T, path string, m *discovery.Manual, r discovery.Resolver) error {
		if err := os.WriteFile(path, []byte(`[{"addr":"old:1"`), 0o644); err != nil {
			return err
		}
		w := watch(t, r, 0)
		defer w.cancel()
		settle()
		sets, errs := w.said()
		if len(sets) != 0 || len(errs) != 1 || !strings.Contains(errs[0].Error(), path) {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		set(t, m, numbered(1)...)
		if sets, errs := w.said(); len(sets) != 1 || len(errs) != 1 {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		return holds(t, path, numbered(1))
	},
	"a set that cannot be kept is used": func(t *testing.T, path string, m *discovery.Manual, r discovery.Resolver) error {
		w := watch(t, r, 0)
		defer w.cancel()
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			return err
		}
		set(t, m, numbered(1)...)
		sets, errs := w.said()
		if len(sets) != 1 || !same(sets[0], numbered(1)) || len(errs) != 1 || !errors.Is(errs[0], fs.ErrNotExist) {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		return nil
	},
}

// holds checks what stands in a file.
func holds(t *testing.T, path string, want []endpoint.Info) error {
	t.Helper()
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if got, err := discovery.Parse(doc); err != nil || !same(got, want) {
		return fmt.Errorf("the file has %v, %v", got, err)
	}
	return nil
}

func TestLastKnownGoodPromises(t *testing.T) {
	for name, promise := range goodPromises {
		t.Run(name, func(t *testing.T) {
			run := func(keep bool) (err error) {
				synctest.Test(t, func(t *testing.T) {
					m := new(discovery.Manual)
					path := filepath.Join(t.TempDir(), "reviews.json")
					if err := os.WriteFile(path, []byte(`[{"addr":"old:1"}]`), 0o644); err != nil {
						t.Fatal(err)
					}
					var r discovery.Resolver = m
					if keep {
						r = discovery.LastKnownGood{Source: m, Path: path}
					}
					err = promise(t, path, m, r)
				})
				return err
			}
			if err := run(true); err != nil {
				t.Error(err)
			}
			if run(false) == nil {
				t.Error("negative control: the source by itself passed")
			}
		})
	}
}

// What Source says counts, even if it is less than the file has, but what
// would help nobody is not kept.
func TestLastKnownGoodKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "reviews.json")
		old := []endpoint.Info{{Addr: "old:1"}}
		if err := os.WriteFile(path, []byte(document(t, old)), 0o600); err != nil {
			t.Fatal(err)
		}
		faulty := []endpoint.Info{{Addr: "a:1"}, {Addr: "nonsense"}, {Addr: "a:1", Weight: 2}}
		steps := []struct{ says, keeps []endpoint.Info }{{nil, old}, {faulty, faulty[:1]}, {numbered(3), numbered(3)}, {nil, numbered(3)}}
		says := make(chan []endpoint.Info)
		w := watch(t, discovery.LastKnownGood{Source: spoken{says}, Path: path}, 0)
		defer w.cancel()
		for i, step := range steps {
			says <- step.says
			sets, errs := w.said()
			if len(sets) != i+1 || !same(sets[i], step.says) || len(errs) > 0 {
				t.Fatal(i, sets, errs)
			}
			if err := holds(t, path, step.keeps); err != nil {
				t.Error(i, err)
			}
		}
	})
}

// spoken is a source that says what it is sent, with all its faults.
type spoken struct{ sets chan []endpoint.Info }

func (s spoken) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case infos := <-s.sets:
				if !yield(infos, nil) {
					return
				}
			}
		}
	}
}

// What is in the file already is not written again.
func TestLastKnownGoodSparesTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "reviews.json")
		m, change := manual(t)
		for range 2 {
			w := watch(t, discovery.LastKnownGood{Source: m, Path: path}, 0)
			w.said()
			w.cancel()
			if err := os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		w := watch(t, discovery.LastKnownGood{Source: m, Path: path}, 0)
		defer w.cancel()
		w.said()
		if stat, err := os.Stat(path); err != nil || !stat.ModTime().Equal(time.Unix(1, 0)) {
			t.Error(stat.ModTime(), err)
		}
		change(2) // the negative control
		w.said()
		if stat, err := os.Stat(path); err != nil || stat.ModTime().Equal(time.Unix(1, 0)) {
			t.Error("not written:", err)
		}
	})
}

func TestLastKnownGoodValidate(t *testing.T) {
	err := discovery.LastKnownGood{}.Validate()
	if err == nil || err.Error() != "source: is required\npath: is required" {
		t.Error(err)
	}
	if err := (discovery.LastKnownGood{Source: new(discovery.Manual), Path: "x"}).Validate(); err != nil {
		t.Error(err)
	}
}

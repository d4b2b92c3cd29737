package discovery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// replace puts a document at path as one should, by renaming.
func replace(t *testing.T, path string, doc string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(doc), 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Error(err)
	}
}

func document(t *testing.T, infos []endpoint.Info) string {
	t.Helper()
	doc, err := discovery.Encode(infos)
	if err != nil {
		t.Error(err)
	}
	return string(doc)
}

func TestFileResolver(t *testing.T) {
	testResolver(t, func() subject {
		path := filepath.Join(t.TempDir(), "reviews.json")
		change := func(n int) { replace(t, path, document(t, numbered(n))) }
		change(1)
		return subject{discovery.File{Path: path}, change, numbered}
	})
}

// naiveFile is the negative control of what File promises.
type naiveFile struct{ path string }

func (n naiveFile) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		var last time.Time
		for ctx.Err() == nil {
			stat, err := os.Stat(n.path)
			if err != nil && !yield(nil, nil) {
				return
			}
			if err == nil && stat.ModTime().After(last) {
				last = stat.ModTime()
				doc, _ := os.ReadFile(n.path)
				var infos []endpoint.Info
				_ = json.Unmarshal(doc, &infos)
				if !yield(infos, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

// filePromises get a path at which [{"addr":"a:1"}] stands.
var filePromises = map[string]func(t *testing.T, path string, r discovery.Resolver) error{
	"a file that is missing from the start is an error": func(t *testing.T, path string, r discovery.Resolver) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		w := watch(t, r, 0)
		defer w.cancel()
		settle()
		if len(w.sets) != 0 || len(w.errs) != 1 || !errors.Is(w.errs[0], os.ErrNotExist) {
			return fmt.Errorf("%v, %v", w.sets, w.errs)
		}
		return nil
	},
	"a file that goes missing leaves the set": func(t *testing.T, path string, r discovery.Resolver) error {
		w := watch(t, r, 0)
		defer w.cancel()
		settle()
		if err := os.Remove(path); err != nil {
			return err
		}
		settle()
		if len(w.sets) != 1 || len(w.errs) != 1 {
			return fmt.Errorf("%v, %v", w.sets, w.errs)
		}
		replace(t, path, `[{"addr":"a:1"}]`)
		settle()
		if len(w.sets) != 2 || len(w.errs) != 1 {
			return fmt.Errorf("not said that it is known again: %v, %v", w.sets, w.errs)
		}
		return nil
	},
	"a file that was missing for long is found at once": func(t *testing.T, path string, r discovery.Resolver) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		w := watch(t, r, 0)
		defer w.cancel()
		time.Sleep(time.Hour)
		replace(t, path, `[{"addr":"a:1"}]`)
		time.Sleep(1200 * time.Millisecond)
		if sets, errs := w.said(); len(sets) != 1 || len(errs) != 1 {
			return fmt.Errorf("%v, %v", sets, errs)
		}
		return nil
	},
	"faults leave the set and are told once each": func(t *testing.T, path string, r discovery.Resolver) error {
		w := watch(t, r, 0)
		defer w.cancel()
		settle()
		for i, doc := range []string{`[{"addr":"b"}]`, `[{"addr":"b:1","wieght":1}]`, ``} {
			replace(t, path, doc)
			settle()
			if len(w.sets) != 1 || len(w.errs) != i+1 || !strings.HasPrefix(w.errs[i].Error(), path+": ") {
				return fmt.Errorf("%q: %v, %v", doc, w.sets, w.errs)
			}
		}
		return nil
	},
	"an older file of the same size is a change": func(t *testing.T, path string, r discovery.Resolver) error {
		w := watch(t, r, 0)
		defer w.cancel()
		settle()
		replace(t, path, `[{"addr":"b:1"}]`)
		if err := os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			return err
		}
		settle()
		if len(w.sets) != 2 || addrs(w.sets[1]) != "b:1" {
			return fmt.Errorf("%v, %v", w.sets, w.errs)
		}
		return nil
	},
	"no part of a file is taken for the whole": func(t *testing.T, path string, r discovery.Resolver) error {
		w := watch(t, r, 0)
		defer w.cancel()
		settle()
		const doc = `[{"addr":"a:1"},{"addr":"b:1"}]`
		for n := range len(doc) {
			if err := os.WriteFile(path, []byte(doc[:n]), 0o600); err != nil {
				return err
			}
			settle()
		}
		if len(w.sets) != 1 || len(w.errs) == 0 {
			return fmt.Errorf("%v", w.sets)
		}
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			return err
		}
		settle()
		if len(w.sets) != 2 || addrs(w.sets[1]) != "a:1 b:1" {
			return fmt.Errorf("%v", w.sets)
		}
		return nil
	},
	"another order is no change": func(t *testing.T, path string, r discovery.Resolver) error {
		replace(t, path, `[{"addr":"a:1"},{"addr":"b:1"}]`)
		w := watch(t, r, 0)
		defer w.cancel()
		settle()
		replace(t, path, `[{"addr":"b:1"},{"addr":"a:1"}]`)
		if err := os.Chtimes(path, time.Time{}, time.Now().AddDate(99, 0, 0)); err != nil {
			return err
		}
		settle()
		if len(w.sets) != 1 {
			return fmt.Errorf("%v", w.sets)
		}
		return nil
	},
}

func TestFilePromises(t *testing.T) {
	for name, promise := range filePromises {
		t.Run(name, func(t *testing.T) {
			run := func(r func(path string) discovery.Resolver) (err error) {
				synctest.Test(t, func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "reviews.json")
					replace(t, path, `[{"addr":"a:1"}]`)
					err = promise(t, path, r(path))
				})
				return err
			}
			if err := run(func(path string) discovery.Resolver { return discovery.File{Path: path} }); err != nil {
				t.Error(err)
			}
			if err := run(func(path string) discovery.Resolver { return naiveFile{path} }); err == nil {
				t.Error("negative control: a naive resolver passed")
			}
		})
	}
}

// As Kubernetes mounts a ConfigMap: the file is a link through a directory
// that is itself a link, which is replaced.
func TestFileThroughLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		link := func(from, to string) {
			t.Helper()
			if err := errors.Join(os.Symlink(to, from+".next"), os.Rename(from+".next", from)); err != nil {
				t.Fatal(err)
			}
		}
		for _, v := range []string{"a", "b"} {
			if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
				t.Fatal(err)
			}
			replace(t, filepath.Join(dir, v, "set.json"), `[{"addr":"`+v+`:1"}]`)
		}
		link(filepath.Join(dir, "data"), "a")
		link(filepath.Join(dir, "set.json"), filepath.Join("data", "set.json"))
		w := watch(t, discovery.File{Path: filepath.Join(dir, "set.json")}, 0)
		defer w.cancel()
		settle()
		link(filepath.Join(dir, "data"), "b")
		settle()
		if len(w.sets) != 2 || addrs(w.sets[0]) != "a:1" || addrs(w.sets[1]) != "b:1" || len(w.errs) > 0 {
			t.Error(w.sets, w.errs)
		}
	})
}

func TestFileThatIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		large := filepath.Join(dir, "large")
		if err := os.WriteFile(large, []byte("["+strings.Repeat(" ", 1<<20)+"]"), 0o600); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{dir: "is not a regular file", large: "is larger than 1048576 bytes"} {
			for infos, err := range (discovery.File{Path: path}).Watch(t.Context()) {
				if err == nil || err.Error() != path+": "+want {
					t.Error(infos, err)
				}
				break
			}
		}
	})
}

func TestFileValidate(t *testing.T) {
	err := discovery.File{Interval: time.Microsecond}.Validate()
	if err == nil || err.Error() != "path: is required\ninterval: 1µs is less than 10ms" {
		t.Error(err)
	}
	if err := (discovery.File{Path: "x"}).Validate(); err != nil {
		t.Error(err)
	}
}

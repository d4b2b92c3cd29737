package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// goodWait is how long a source may be silent at the start.
const goodWait = time.Second

// LastKnownGood is a Resolver that keeps what Source said in a file, so that
// a process which starts while the registry is away finds its dependencies.
//
// At the start it waits for Source. If that fails, or has said nothing for a
// second, the set in the file is used, with an error that says so, until
// Source knows a set; from then on only Source counts. Each set is written to
// the file as it is used, in the form that [File] describes: by renaming, so
// that the file is whole at any time, and for its owner's eyes only. Empty
// sets are not written, since nobody is helped by them; neither are endpoints
// with faults. A set that cannot be written is used all the same, with an
// error. A file that cannot be understood is an error and otherwise ignored,
// and one that does not exist is no error.
//
// The addresses in an old file may belong to others by now. Where that can
// do harm, let TLS tell who answers.
type LastKnownGood struct {
	// Source is what is kept. It is required.
	Source Resolver
	// Path is where the file is or will be, in a directory that exists and
	// can be written to. It is required, and is that of this service only.
	Path string
}

// Validate reports every fault of the configuration, that of Source included.
// It neither reads nor writes.
func (l LastKnownGood) Validate() error {
	return errors.Join(append(checked("source", l.Source), required("path", l.Path))...)
}

// Watch implements Resolver.
func (l LastKnownGood) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		if ctx.Err() != nil {
			return
		}
		k := &keeper{path: l.Path}
		kept, err := k.load()
		if err != nil && !yield(nil, err) {
			return
		}
		source := follow(ctx, l.Source)
		defer source.stop()
		var before said
		late := time.After(goodWait)
		for ctx.Err() == nil {
			silent := false
			select {
			case <-ctx.Done():
				return
			case <-late:
				silent = true
			case <-source.news:
			}
			s := source.said()
			set, failure := s.since(before)
			before = s
			switch {
			case set:
				kept = nil
				// What waits for the set need not wait for the disk.
				more := yield(s.infos, nil)
				if err := k.save(s.infos); err != nil && more {
					more = yield(nil, fmt.Errorf("last known good: not saved: %w", err))
				}
				if !more {
					return
				}
			case kept != nil && s.sets == 0 && (silent || failure):
				infos := kept
				kept = nil
				if !yield(infos, nil) || !yield(nil, k.stale(s.err)) {
					return
				}
				failure = false
			}
			if failure && !yield(nil, s.err) {
				return
			}
		}
	}
}

// keeper is the file of one watch.
type keeper struct {
	path string
	// doc is what is in it and since when, as far as this watch knows.
	doc   []byte
	saved time.Time
}

// load returns the set in the file, nil if there is none.
func (k *keeper) load() ([]endpoint.Info, error) {
	doc, err := readFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("last known good: %w", err)
	}
	infos, err := parse(doc)
	if err != nil {
		return nil, fmt.Errorf("last known good: %s: %w", k.path, err)
	}
	if len(infos) == 0 {
		return nil, nil
	}
	k.doc = doc
	if stat, err := os.Stat(k.path); err == nil {
		k.saved = stat.ModTime()
	}
	return infos, nil
}

// stale says why the set is the one in the file.
func (k *keeper) stale(err error) error {
	if err == nil {
		err = errors.New("the source has not answered yet")
	}
	return fmt.Errorf("in use is the last known good of %s: %w", k.saved.Format(time.RFC3339), err)
}

// save writes a set, unless the file has it already.
func (k *keeper) save(infos []endpoint.Info) error {
	var sound []endpoint.Info
	taken := map[string]bool{}
	for _, info := range infos {
		if info.Validate() == nil && !taken[info.Addr] {
			taken[info.Addr] = true
			sound = append(sound, info)
		}
	}
	if len(sound) == 0 {
		return nil
	}
	doc, err := encode(sound)
	if err != nil || bytes.Equal(doc, k.doc) {
		return err
	}
	if err := write(k.path, doc); err != nil {
		return err
	}
	k.doc = doc
	return nil
}

// write puts doc at path in one step: who reads sees the old or the new.
func write(path string, doc []byte) (err error) {
	// The file is made with the mode 0600.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(doc)
	if err == nil {
		// Otherwise the name could be on the disk before the content.
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

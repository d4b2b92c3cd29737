package retry

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

var (
	errSuperseded = errors.New("request body has gone to another attempt")
	errBodyGone   = errors.New("request body was read past what is kept of it and cannot be sent again")
)

// replay lets a request body be read by one attempt after another. It keeps
// what is read of it up to a limit, and the reader of each attempt begins
// with what is kept. Only the reader of the latest attempt gets anything: a
// transport may go on reading the body of an attempt that is over.
type replay struct {
	// limit and size: bytes kept at most, and the length if known.
	limit, size int64

	mu   sync.Mutex
	wake sync.Cond
	src  io.ReadCloser
	kept []byte
	// err is how src ended.
	err error
	// lost: something was read that is not in kept. From then on src goes to
	// one reader alone.
	lost bool
	// busy: a Read of src is under way; loose: what it gets is not kept.
	busy, loose bool
	current     *replayReader
	// settled: no other attempt will follow. closed: src has been closed.
	settled, closed bool
}

// newReplay takes over the body of in. A body known to exceed the limit is
// not kept at all; it can be sent again while nothing of it has been read.
func newReplay(in *http.Request, limit int64) *replay {
	r := &replay{src: in.Body, limit: max(0, limit), size: in.ContentLength}
	if r.size > r.limit {
		r.limit = 0
	}
	r.wake.L = &r.mu
	return r
}

// next returns a reader from the beginning, and cuts off the one before it.
func (r *replay) next() (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.whole() {
		return nil, errBodyGone
	}
	r.current = &replayReader{replay: r}
	r.wake.Broadcast()
	return r.current, nil
}

// replayable reports whether next would succeed.
func (r *replay) replayable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.whole()
}

// whole reports whether the body can be read from its beginning, and to its
// end as far as is known. It needs the lock.
func (r *replay) whole() bool {
	return !r.closed && !r.lost && !(r.busy && r.loose) && (r.err == nil || r.err == io.EOF)
}

// settle says that no other attempt follows. The source is closed when its
// last reader is, and at once if the call has failed.
func (r *replay) settle(failed bool) {
	r.mu.Lock()
	r.settled = true
	r.limit = int64(len(r.kept))
	end := r.ends(failed)
	r.mu.Unlock()
	if end {
		_ = r.src.Close()
	}
}

// ends reports whether the source is to be closed now, by the one who asks.
// It needs the lock.
func (r *replay) ends(failed bool) bool {
	if r.closed || !r.settled || !failed && r.current != nil && !r.current.closed {
		return false
	}
	r.closed = true
	return true
}

// read serves the reader rd.
func (r *replay) read(rd *replayReader, p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case rd.closed:
			return 0, http.ErrBodyReadAfterClose
		case rd != r.current:
			return 0, errSuperseded
		case rd.pos < len(r.kept):
			n := copy(p, r.kept[rd.pos:])
			rd.pos += n
			return n, nil
		case r.err != nil:
			return 0, r.err
		case !r.busy:
			return r.fill(rd, p)
		}
		r.wake.Wait()
	}
}

// fill reads from the source on behalf of rd. It is called with the lock,
// which it gives up meanwhile so that another attempt can begin.
func (r *replay) fill(rd *replayReader, p []byte) (n int, err error) {
	room := r.limit - int64(len(r.kept))
	r.busy, r.loose = true, r.lost || room <= 0
	if !r.loose && int64(len(p)) > room {
		p = p[:room]
	}
	r.mu.Unlock()
	err = errBodyGone // for a source that panics
	defer func() {
		r.mu.Lock()
		r.busy = false
		r.err = err
		switch {
		case n == 0:
		case r.loose:
			r.lost, r.kept = true, nil
		default:
			r.keep(p[:n])
		}
		r.wake.Broadcast()
		if rd != r.current {
			// What was read waits in kept for its new reader.
			n, err = 0, errSuperseded
		} else if !r.loose {
			rd.pos += n
		}
	}()
	return r.src.Read(p)
}

// keep appends without ever having room for more than the limit. It needs
// the lock.
func (r *replay) keep(p []byte) {
	if need := len(r.kept) + len(p); need > cap(r.kept) {
		room := min(int64(max(2*cap(r.kept), need, 512)), r.limit)
		if r.size > 0 && r.size <= r.limit {
			room = max(r.size, int64(need))
		}
		r.kept = append(make([]byte, 0, room), r.kept...)
	}
	r.kept = append(r.kept, p...)
}

// replayReader is the body of one attempt.
type replayReader struct {
	replay *replay
	pos    int
	closed bool
}

// Read implements io.Reader.
func (rd *replayReader) Read(p []byte) (int, error) { return rd.replay.read(rd, p) }

// Close implements io.Closer. The source stays open for an attempt to follow.
func (rd *replayReader) Close() error {
	r := rd.replay
	r.mu.Lock()
	rd.closed = true
	end := rd == r.current && r.ends(false)
	r.wake.Broadcast()
	r.mu.Unlock()
	if end {
		return r.src.Close()
	}
	return nil
}

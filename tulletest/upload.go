package tulletest

import (
	"errors"
	"io"
	"sync"
)

// upload is a request body that notices what is done with it.
type upload struct {
	mu       sync.Mutex
	content  io.Reader
	stuck    chan struct{} // not nil: after content, reads wait until Close
	atEOF    func()        // called before EOF is returned
	consumed int64
	reads    int
	closes   int
	late     int // reads that began after Close
}

var errUploadClosed = errors.New("tulletest: read of a closed request body")

func newUpload(content io.Reader) *upload { return &upload{content: content} }

// newStuckUpload returns a body that never ends by itself.
func newStuckUpload(content io.Reader) *upload {
	return &upload{content: content, stuck: make(chan struct{})}
}

func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	u.reads++
	if u.closes > 0 {
		u.late++
		u.mu.Unlock()
		return 0, errUploadClosed
	}
	n, err := u.content.Read(p)
	u.consumed += int64(n)
	u.mu.Unlock()
	if n > 0 || err == nil || !errors.Is(err, io.EOF) {
		return n, err
	}
	if u.stuck != nil {
		<-u.stuck
		return 0, errUploadClosed
	}
	if u.atEOF != nil {
		u.atEOF()
	}
	return 0, io.EOF
}

func (u *upload) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closes++
	if u.closes == 1 && u.stuck != nil {
		close(u.stuck)
	}
	return nil
}

// seen returns how many bytes were read and how often Read and Close were called.
func (u *upload) seen() (consumed int64, reads, closes, late int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.consumed, u.reads, u.closes, u.late
}

// endless yields the same byte for ever, up to n bytes.
func endless(n int64) io.Reader { return io.LimitReader(filler{}, n) }

type filler struct{}

func (filler) Read(p []byte) (int, error) {
	// By doubling: the race detector looks at each statement, and much is read.
	for n := copy(p, "x"); n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
	return len(p), nil
}

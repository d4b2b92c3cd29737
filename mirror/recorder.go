package mirror

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// recorder is a request body that is recorded on its way, up to a limit. At
// its end the copy is sent; a body that is not read to its end has none.
type recorder struct {
	source io.ReadCloser
	mirror *Mirror
	copy   *http.Request
	send   func(*http.Request) (*http.Response, error)

	// mu guards what follows: a transport may close while it reads.
	mu   sync.Mutex
	kept []byte
	done bool
}

// Read implements io.Reader.
func (b *recorder) Read(p []byte) (int, error) {
	n, err := b.source.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return n, err
	}
	if int64(len(b.kept)+n) > b.mirror.policy.MaxBody || err != nil && err != io.EOF {
		b.giveUp()
		return n, err
	}
	b.kept = append(b.kept, p[:n]...)
	if err == io.EOF {
		b.finish()
	}
	return n, err
}

// Close implements io.Closer.
func (b *recorder) Close() error {
	b.mu.Lock()
	if !b.done {
		// A transport need not read on to learn of the end.
		if n := b.copy.ContentLength; n > 0 && int64(len(b.kept)) == n {
			b.finish()
		} else {
			b.giveUp()
		}
	}
	b.mu.Unlock()
	return b.source.Close()
}

func (b *recorder) finish() {
	b.copy.ContentLength = int64(len(b.kept))
	b.mirror.launch(b.copy, io.NopCloser(bytes.NewReader(b.kept)), b.send)
	b.done, b.kept = true, nil
}

func (b *recorder) giveUp() {
	b.done, b.kept = true, nil
	b.mirror.unread.Add(1)
}

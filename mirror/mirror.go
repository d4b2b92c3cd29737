package mirror

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
)

// Mirror carries out a Policy. It is safe for concurrent use.
type Mirror struct {
	policy Policy // effective
	draw   func() uint64
	share  uint64 // of 2^32
	room   chan struct{}
	// copies counts those in flight. It is no WaitGroup: a transport may read on
	// of a body that has had its answer, and so launch a copy while somebody
	// waits already.
	mu     sync.Mutex
	idle   sync.Cond
	copies int

	sent, failed, full, unread atomic.Uint64
}

// Stats count what became of requests that were to be copied.
type Stats struct {
	// Sent counts copies sent, Failed those without a response or with one
	// of 500 and above.
	Sent   uint64 `json:"sent"`
	Failed uint64 `json:"failed"`
	// Full counts copies dropped because there were too many at once, Unread
	// those whose request body was too long or was not read to its end.
	Full   uint64 `json:"full"`
	Unread uint64 `json:"unread"`
}

// New returns a Mirror, or every fault of the policy. draw is the source of
// chance, called by many goroutines at once; nil is the generator of the Go
// runtime.
func New(p Policy, draw func() uint64) (*Mirror, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if draw == nil {
		draw = rand.Uint64
	}
	p = p.Effective()
	m := &Mirror{
		policy: p, draw: draw, share: max(1, uint64(p.Percent/100*(1<<32))), room: make(chan struct{}, p.MaxInFlight),
	}
	m.idle.L = &m.mu
	return m, nil
}

// Stats returns the counts so far.
func (m *Mirror) Stats() Stats {
	return Stats{Sent: m.sent.Load(), Failed: m.failed.Load(), Full: m.full.Load(), Unread: m.unread.Load()}
}

// Wait returns when no copy is in flight. Who wants it to stay so reflects no
// more requests, and waits for the bodies of those that were to end.
func (m *Mirror) Wait() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.copies > 0 {
		m.idle.Wait()
	}
}

// count counts a copy in, or out.
func (m *Mirror) count(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.copies += n; m.copies == 0 {
		m.idle.Broadcast()
	}
}

// Reflect decides whether r is copied and, if so, sees to it that send gets
// the copy on a goroutine of its own. It returns the request to go on with: r
// itself, or one that is the same but for a body which is recorded as it is
// read, and whose copy is sent once that has ended. Nothing of r is changed.
//
// The copy has a context with the values of r's, a time-out instead of its
// end, and a header of its own; its response is read to the end and closed.
func (m *Mirror) Reflect(r *http.Request, send func(*http.Request) (*http.Response, error)) *http.Request {
	if r.URL == nil || m.draw()>>32 >= m.share {
		return r
	}
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		m.launch(m.copy(r), r.Body, send)
	case r.ContentLength > m.policy.MaxBody || m.policy.MaxBody == 0:
		m.unread.Add(1)
	case r.GetBody != nil && r.ContentLength > 0:
		body, err := r.GetBody()
		if err != nil {
			m.unread.Add(1)
			break
		}
		m.launch(m.copy(r), body, send)
	default:
		out := r.WithContext(r.Context())
		out.Body = &recorder{source: r.Body, mirror: m, copy: m.copy(r), send: send}
		return out
	}
	return r
}

// launch sends out with the body, if there is room for one more copy.
func (m *Mirror) launch(out *http.Request, body io.ReadCloser, send func(*http.Request) (*http.Response, error)) {
	select {
	case m.room <- struct{}{}:
	default:
		m.full.Add(1)
		if body != nil {
			_ = body.Close() // nobody will read it
		}
		return
	}
	m.sent.Add(1)
	m.count(1)
	go func() {
		defer m.count(-1)
		ctx, cancel := context.WithTimeout(out.Context(), m.policy.Timeout)
		defer func() {
			cancel()
			<-m.room
		}()
		out = out.WithContext(ctx)
		out.Body = body
		resp, err := send(out)
		if err != nil || resp.StatusCode >= 500 {
			m.failed.Add(1)
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}()
}

// copy returns r without its body, with a URL and a header of its own, and
// without what is not to leave with it. The caller may change r later.
func (m *Mirror) copy(r *http.Request) *http.Request {
	out := r.WithContext(context.WithoutCancel(r.Context()))
	u := *r.URL
	out.URL, out.Header = &u, r.Header.Clone()
	if !m.policy.KeepCredentials {
		for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
			delete(out.Header, name)
		}
	}
	//lint:ignore SA1019 the caller may set it, and its end is not the copy's
	out.Cancel = nil
	out.Trailer, out.Body, out.GetBody = nil, nil, nil
	return out
}

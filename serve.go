package tulle

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Serve runs a server until ctx ends and then stops it without losing a
// request: it is ready from when it listens; when ctx ends it is not ready any
// more, tells callers on each response that it is leaving, and goes on serving
// for Inbound.Grace; then it accepts no more connections, gives requests
// Inbound.DrainTimeout to end, and returns. The error is nil if all of them
// did. A connection that a handler has taken over ends when the handler
// returns; http.Server.RegisterOnShutdown is how it learns that it should.
//
// Serve wraps the Handler of the server by Mesh.Handler, unless that has been
// done, and listens on its Addr, with TLS if its TLSConfig has certificates.
// The mesh goes on: its calls may be needed for the last requests. Shut it
// down when Serve has returned.
func (m *Mesh) Serve(ctx context.Context, s *http.Server) error {
	addr := s.Addr
	if addr == "" {
		if addr = ":http"; hasCertificates(s) {
			addr = ":https"
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return m.ServeListener(ctx, s, l)
}

// ServeListener is Serve on a listener, which it closes. A server may be served
// on several at once.
func (m *Mesh) ServeListener(ctx context.Context, s *http.Server, l net.Listener) error {
	secure := m.prepare(s)
	defer m.served(s)
	failed := make(chan error, 1)
	go func() {
		if secure {
			failed <- s.ServeTLS(l, "", "")
		} else {
			failed <- s.Serve(l)
		}
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	in := &m.plan.Load().guards.config
	m.leave()
	m.linger(context.WithoutCancel(ctx), in.grace(), failed)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.drainTimeout())
	defer cancel()
	err := s.Shutdown(last)
	if err == nil {
		// The server does not know of connections that handlers have taken over.
		err = m.await(last, &m.taken)
	}
	if err != nil {
		// What is left is cut off.
		err = errors.Join(&Error{Reason: outcome.ShuttingDown, Err: err}, s.Close())
	}
	<-failed
	return err
}

// served is a server that is served on so many listeners.
type served struct {
	listeners int
	secure    bool
}

// prepare wraps the handler of a server and reports whether it is to serve
// with TLS. Once it is served its configuration is net/http's.
func (m *Mesh) prepare(s *http.Server) (secure bool) {
	m.serving.mu.Lock()
	defer m.serving.mu.Unlock()
	now, ok := m.serving.servers[s]
	if !ok {
		if h, ok := s.Handler.(*inbound); !ok || h.mesh != m {
			s.Handler = m.Handler(s.Handler)
		}
		now.secure = hasCertificates(s)
	}
	now.listeners++
	if m.serving.servers == nil {
		m.serving.servers = map[*http.Server]served{}
	}
	m.serving.servers[s] = now
	return now.secure
}

// served forgets a server when its last listener is closed.
func (m *Mesh) served(s *http.Server) {
	m.serving.mu.Lock()
	defer m.serving.mu.Unlock()
	now := m.serving.servers[s]
	if now.listeners--; now.listeners == 0 {
		delete(m.serving.servers, s)
		return
	}
	m.serving.servers[s] = now
}

// serves reports whether there is a server.
func (m *Mesh) serves() bool {
	m.serving.mu.Lock()
	defer m.serving.mu.Unlock()
	return len(m.serving.servers) > 0
}

func hasCertificates(s *http.Server) bool {
	c := s.TLSConfig
	return c != nil && (len(c.Certificates) > 0 || c.GetCertificate != nil || c.GetConfigForClient != nil)
}

// linger lets the grace pass, or as much of it as the server lives.
func (m *Mesh) linger(ctx context.Context, grace time.Duration, failed chan error) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case err := <-failed:
		failed <- err
	}
}

// leave tells all who ask that the process is about to stop.
func (m *Mesh) leave() {
	m.leaving.Store(true)
	if g := m.plan.Load().guards.overload; g != nil {
		g.SetLeaving(true)
	}
}

// Drain is what Serve does when it is to stop, for servers that are run in
// another way: the process is not ready any more and tells callers that it is
// leaving; Drain waits for Inbound.Grace, and then until no request is in a
// handler of the mesh, or ctx ends. Stop the server after that. Drain may be
// called more than once.
func (m *Mesh) Drain(ctx context.Context) error {
	m.leave()
	timer := time.NewTimer(m.plan.Load().guards.config.grace())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return m.await(ctx, &m.visits.active)
}

// await waits until there are none of some requests.
func (m *Mesh) await(ctx context.Context, some *atomic.Int64) error {
	for {
		heard := m.quiet.heard()
		if some.Load() <= 0 {
			return nil
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// word is said to all who wait for it. The zero word is ready for use.
type word struct {
	mu sync.Mutex
	c  chan struct{}
}

// heard returns what is closed when the word is next said.
func (w *word) heard() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c == nil {
		w.c = make(chan struct{})
	}
	return w.c
}

func (w *word) say() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c != nil {
		close(w.c)
		w.c = nil
	}
}

// visited wakes those who wait for the last request.
func (m *Mesh) visited(last bool) {
	if last && m.leaving.Load() {
		m.quiet.say()
	}
}

// ReadyHandler answers whether the process wants requests: 200 until it is
// told to stop, then 503. It does not depend on any other service: if the one
// that all need is down, none of them is to be taken away for it.
func (m *Mesh) ReadyHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, !m.leaving.Load() && !m.closing.Load(), "ready", "leaving")
	})
}

// LiveHandler answers 200 as long as the process can answer at all.
func (m *Mesh) LiveHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, true, "live", "") })
}

func answer(w http.ResponseWriter, ok bool, yes, no string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	text := yes
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = no
	}
	// An error means that the caller has gone.
	_, _ = w.Write([]byte(text + "\n"))
}

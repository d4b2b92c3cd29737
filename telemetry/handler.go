package telemetry

import (
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/form"
	"github.com/tulle-mesh/tulle/internal/respwriter"
)

// Middleware returns a wrapper for a Handler that records its requests: a span
// of kind SERVER to the end of the response, http.server.request.duration,
// http.server.active_requests and a line of the access log. Trace context is
// accepted from those whom trust trusts, by their addresses and by principals
// in the contexts of requests. Next gets a writer that can do what the
// server's can. It is for servers without a mesh; a mesh records what comes
// through its own Handler.
func (s *Server) Middleware(trust identity.Trust) func(next http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if next == nil {
			next = http.DefaultServeMux
		}
		if s == nil {
			return next
		}
		return &handler{s, trust, next}
	}
}

type handler struct {
	server *Server
	trust  identity.Trust
	next   http.Handler
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	peer, _ := identity.FromContext(r.Context())
	// An address that is none is in no network.
	addr, _ := identity.PeerAddr(r.RemoteAddr)
	ctx := h.server.Start(r.Context(), r, h.trust.Trusts(addr, peer))
	// The copy keeps what the handler does to it from what is recorded.
	through := r.WithContext(ctx)
	writer := &respwriter.Writer{}
	v := Served{Request: r, Principal: peer.Kind, Panicked: true}
	defer func() {
		form.RemoveFiles(r, through)
		v.Pattern, v.Status, v.Bytes = through.Pattern, writer.Status(), writer.Bytes()
		if v.Status == 0 && writer.Hijacked() {
			v.Status = http.StatusSwitchingProtocols
		}
		v.Duration = time.Since(start)
		h.server.Done(ctx, v)
	}()
	h.next.ServeHTTP(writer.Wrap(w, nil), through)
	writer.Finish()
	v.Panicked = false
}

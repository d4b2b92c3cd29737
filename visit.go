package tulle

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/respwriter"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// Handler returns a handler that lets requests through to next as
// Config.Inbound says. Handlers of one mesh share its limits and counts; a
// request that comes to a second one on its way is not counted again.
//
// What it refuses it answers by WriteError, or what WithErrorWriter has put in
// its place. A panic of next is answered with 500, if nothing has been sent,
// and goes on. Next gets a writer that can do what the server's can.
func (m *Mesh) Handler(next http.Handler) http.Handler {
	if next == nil {
		next = http.DefaultServeMux
	}
	return &inbound{m, next}
}

type inbound struct {
	mesh *Mesh
	next http.Handler
}

// visit is one request on its way through the stages. It is the context of
// the request as the handler sees it.
type visit struct {
	context.Context
	mesh    *Mesh
	guards  *guards
	guard   *guard
	start   time.Time
	writer  respwriter.Writer
	slot    breaker.Slot
	ticket  overload.Ticket
	metrics overload.Metrics
	// limited and authorized are what is to be told how the request ended.
	limited    [2]ratelimit.Decision
	authorized authz.Decision
	// failed is why the mesh itself answered, nil if it did not.
	failed *Error
	// would says that a body limit that only observes would have refused.
	would bool
	// stop lets go of the deadline.
	stop context.CancelFunc
	// request is the copy that goes on, through what the handler gets of it.
	request http.Request
	through *http.Request
}

type visitKey struct{}

// Value implements context.Context.
func (v *visit) Value(key any) any {
	switch key {
	case visitKey{}:
		return v
	case overload.MetricsKey{}:
		return &v.metrics
	}
	return v.Context.Value(key)
}

// ServeHTTP implements http.Handler.
func (s *inbound) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := s.mesh
	if v, ok := r.Context().Value(visitKey{}).(*visit); ok && v.mesh == m {
		s.next.ServeHTTP(w, r)
		return
	}
	v := &visit{Context: r.Context(), mesh: m, guards: m.plan.Load().guards, start: time.Now()}
	m.visits.begin()
	rw := v.writer.Wrap(w, v)
	defer func() {
		p := recover()
		if p != nil {
			v.panicked(rw, r, p)
		}
		v.end(r, p != nil)
		if p != nil {
			panic(p)
		}
	}()
	v.watch(r)
	through, err := v.pass(rw, r)
	if err != nil {
		v.refuse(rw, r, err)
	} else {
		v.through = through
		s.next.ServeHTTP(rw, through)
	}
	v.writer.Finish()
}

// refuse answers in the place of the handler.
func (v *visit) refuse(w http.ResponseWriter, r *http.Request, err error) {
	v.failed = asInbound(err)
	v.mesh.options.writeError(w, r, v.failed)
}

// panicked answers for a handler that could not. What it panicked with is the
// server's to log.
func (v *visit) panicked(w http.ResponseWriter, r *http.Request, p any) {
	if p == any(http.ErrAbortHandler) || v.writer.Settled() || v.writer.Hijacked() {
		return
	}
	v.refuse(w, r, &Error{Reason: outcome.Internal})
	v.writer.Finish()
	// The server gives up the connection with what it has not sent.
	_ = http.NewResponseController(w).Flush()
}

// end counts the request out and gives back what it held.
func (v *visit) end(r *http.Request, panicked bool) {
	status := v.writer.Status()
	if v.writer.Hijacked() && status == 0 {
		status = http.StatusSwitchingProtocols
	}
	ok := !panicked && status < 500
	if v.stop != nil {
		v.stop()
	}
	if v.through != nil && v.through.MultipartForm != nil {
		// The server removes the files of the request that it knows.
		_ = v.through.MultipartForm.RemoveAll()
	}
	if v.writer.Hijacked() {
		v.ticket.Untimed()
	}
	v.ticket.Leave(ok && v.failed == nil)
	if ok && v.failed == nil {
		v.slot.Succeeded()
		for _, d := range v.limited {
			if d.WouldRefuse() {
				d.Succeeded()
			}
		}
	}
	v.authorized.Done(status)
	v.slot.Release()
	reason := outcome.NoReason
	if v.failed != nil {
		reason = v.failed.Reason
	}
	if v.would {
		v.mesh.bodies.would.Add(1)
		if ok {
			v.mesh.bodies.succeeded.Add(1)
		}
	}
	// Whoever waits for the last request finds all of it recorded.
	v.watched(r, status, reason, panicked)
	v.mesh.visited(v.mesh.visits.end(status, reason))
}

// BeforeHeader implements respwriter.Hook: it writes what callers are to know
// of this process.
func (v *visit) BeforeHeader(h http.Header, _ int) {
	leaving := v.mesh.leaving.Load()
	if g := v.guards.overload; g != nil {
		if leaving {
			g.SetLeaving(true)
		}
		g.WriteReport(h, &v.ticket, &v.metrics)
	} else if leaving {
		h.Set(endpoint.LoadReportHeader, string(endpoint.LoadReport{Leaving: true}.AppendText(nil)))
	}
	if leaving {
		// HTTP/2 has no such field; net/http makes of it a word that the
		// connection is not to be used again.
		h.Set("Connection", "close")
	}
	for _, d := range v.limited {
		d.SetFields(h)
	}
}

// pass takes the request through the stages. Each comes after all that is
// cheaper, and before all that relies on it. It returns the request for the
// handler.
func (v *visit) pass(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	if l := v.guards.inFlight; l != nil {
		slot, err := l.TryAcquire()
		if err != nil {
			return nil, &Error{Reason: outcome.LimitReached, RetryAfter: time.Second, Err: err}
		}
		v.slot = slot
	}
	peer := certificate(r)
	if !peer.IsZero() {
		v.Context = identity.NewContext(v.Context, peer)
	}
	r = v.own(r)
	v.strip(r, peer)
	v.guard, _ = v.guards.of(r)
	if err := v.limit(0, v.guard.before, r); err != nil {
		return nil, err
	}
	if err := v.body(w, r); err != nil {
		return nil, err
	}
	if err := v.deadline(r); err != nil {
		return nil, err
	}
	r, err := v.authenticate(r)
	if err != nil {
		return nil, err
	}
	if err := v.limit(1, v.guard.after, r); err != nil {
		return nil, err
	}
	if a := v.guard.authorizer; a != nil {
		v.authorized = a.Decide(r)
		if err := v.authorized.Err(); err != nil {
			return nil, err
		}
	}
	if g := v.guards.overload; g != nil && !g.Exempt(r) {
		ticket, err := g.Enter(r.Context())
		if v.ticket = ticket; err != nil {
			return nil, err
		}
	}
	return r, nil
}

// own returns a copy of the request with the visit as its context.
func (v *visit) own(r *http.Request) *http.Request {
	v.request = *r.WithContext(v)
	return &v.request
}

// certificate returns who the peer of a mutually authenticated connection is:
// the first URI that its verified certificate names, such as a SPIFFE ID, or
// the first DNS name.
func certificate(r *http.Request) identity.Principal {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
		return identity.Principal{}
	}
	c := r.TLS.VerifiedChains[0][0]
	p := identity.Principal{Kind: identity.Certificate, Issuer: c.Issuer.String()}
	switch {
	case len(c.URIs) > 0:
		p.Name = c.URIs[0].String()
	case len(c.DNSNames) > 0:
		p.Name = c.DNSNames[0]
	default:
		return identity.Principal{}
	}
	return p
}

// strip takes fields out of a request that its peer may not send. The header
// is copied only if there is one.
func (v *visit) strip(r *http.Request, peer identity.Principal) {
	var found []string
	for _, name := range v.guards.strip {
		if _, ok := r.Header[name]; ok {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return
	}
	addr, ok := identity.PeerAddr(r.RemoteAddr)
	if !ok {
		addr = netip.Addr{}
	}
	if v.guards.config.Trust.Trusts(addr, peer) {
		return
	}
	r.Header = r.Header.Clone()
	for _, name := range found {
		r.Header.Del(name)
	}
	v.mesh.stripped.Add(1)
}

// limit charges a request to a limiter.
func (v *visit) limit(i int, l *ratelimit.Limiter, r *http.Request) error {
	if l == nil {
		return nil
	}
	v.limited[i] = l.Take(r, 1, v.start)
	return v.limited[i].Err()
}

// body refuses a request whose body is larger than it may be, or bounds what
// can be read of it.
func (v *visit) body(w http.ResponseWriter, r *http.Request) error {
	b := v.guard.config.Body
	if b == nil {
		return nil
	}
	if r.ContentLength > b.MaxBytes {
		if b.observes() {
			v.would = true
			return nil
		}
		return &Error{Reason: outcome.TooLarge}
	}
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength < 0 && !b.observes() {
		r.Body = http.MaxBytesReader(w, r.Body, b.MaxBytes)
	}
	return nil
}

// deadline gives the request the time that its caller still waits, or that
// the handler may take. Expired work is not begun.
func (v *visit) deadline(r *http.Request) error {
	left, told, ok := hintedDeadline(r.Header[hintField])
	if !ok {
		v.mesh.badHints.Add(1)
	}
	if told && left <= 0 {
		return &Error{Reason: outcome.CallerDeadline}
	}
	if t := v.guard.timeout; t > 0 && (!told || t < left) {
		left, told = t, true
	}
	if told {
		v.Context, v.stop = context.WithDeadline(v.Context, v.start.Add(left))
	}
	return nil
}

// authenticate verifies the token of a request and returns the request with
// the principal in its context.
func (v *visit) authenticate(r *http.Request) (*http.Request, error) {
	a := v.guard.verifier
	if a == nil {
		return r, nil
	}
	token, err := a.Authenticate(r)
	if err != nil && v.guard.config.Authn.Mode == outcome.Enforce {
		refusal, ok := errors.AsType[*authn.Error](err)
		if !ok || refusal.Kind != authn.Missing || v.guard.config.Anonymous == nil {
			return nil, err
		}
	}
	return a.Attach(r, token), nil
}

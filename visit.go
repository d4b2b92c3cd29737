package tulle

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/form"
	"github.com/tulle-mesh/tulle/internal/hint"
	"github.com/tulle-mesh/tulle/internal/respwriter"
	"github.com/tulle-mesh/tulle/internal/token"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// Handler returns a handler that lets requests through to next as
// Config.Inbound says. Handlers of one mesh share its limits and counts; a
// request that comes to a second one on its way is not looked at again. It is
// known by its context: whoever makes requests out of one, such as a handler
// of batches, and wants each to be under its own rule, must give them another.
//
// What it refuses it answers by WriteError, or what WithErrorWriter has put in
// its place. A panic of next is answered with 500, if nothing has been sent,
// and goes on, so that the server logs it and gives up the connection, or over
// HTTP/2 the stream. Next gets a writer that can do what the server's can.
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
	guard   *guard // nil before the request has come to it
	start   time.Time
	writer  respwriter.Writer
	slot    breaker.Slot
	ticket  overload.Ticket
	metrics atomic.Pointer[overload.Metrics]
	// limited and authorized are what is to be told how the request ended.
	// Most decisions have nothing to be told, and are not kept.
	limited    [2]*ratelimit.Decision
	authorized authz.Decision
	// origin is where a script comes from whose browser asked for CORS.
	origin []string
	// failed is why the mesh itself answered, nil if it did not.
	failed *Error
	// stop lets go of the deadline.
	stop context.CancelFunc
	// finished is set when the handler has returned, in contrast to panics
	// and goroutines that end.
	finished bool
	// preflight says that a browser asks whether a script may.
	preflight bool
	// tokenless says that authentication would have refused, oversized that
	// the limit of the body would have: bodies are read by any goroutine.
	tokenless bool
	oversized atomic.Bool
	// request is the copy that goes on.
	request http.Request
}

// visitKey finds the visit to a mesh in the context of a request.
type visitKey struct{ mesh *Mesh }

// Value implements context.Context.
func (v *visit) Value(key any) any {
	switch k := key.(type) {
	case visitKey:
		if k.mesh == v.mesh {
			return v
		}
	case overload.MetricsKey:
		if v.guards.overload != nil {
			return v.figures()
		}
	}
	return v.Context.Value(key)
}

// figures returns what the handler adds to the load report.
func (v *visit) figures() *overload.Metrics {
	if m := v.metrics.Load(); m != nil {
		return m
	}
	v.metrics.CompareAndSwap(nil, new(overload.Metrics))
	return v.metrics.Load()
}

// ServeHTTP implements http.Handler.
func (s *inbound) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := s.mesh
	if r.Context().Value(visitKey{m}) != nil {
		s.next.ServeHTTP(w, r)
		return
	}
	v := &visit{Context: r.Context(), mesh: m, guards: m.plan.Load().guards, start: time.Now()}
	m.visits.begin()
	defer v.end(r)
	rw := v.writer.Wrap(w, v)
	defer v.panicked(rw, r)
	v.watch(r)
	switch served, err := v.pass(rw, r); {
	case err != nil:
		v.refuse(rw, r, err)
	case !served:
		s.next.ServeHTTP(rw, &v.request)
	}
	v.writer.Finish()
	v.trailer(r)
	v.finished = true
}

// refuse answers in the place of the handler. What writes errors may have
// left it at nothing, which must not be taken for success.
func (v *visit) refuse(w http.ResponseWriter, r *http.Request, err error) {
	v.failed = asInbound(err)
	if v.failed.Reason == outcome.SentBack {
		// It is for the mesh that asked, which knows it by its status.
		WriteError(w, r, v.failed)
		return
	}
	v.mesh.options.writeError(w, r, v.failed)
	if !v.writer.Settled() {
		w.WriteHeader(v.failed.Reason.Status())
	}
}

// panicked, which is deferred, answers for a handler that could not. What it
// panicked with is the server's to log.
func (v *visit) panicked(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p != any(http.ErrAbortHandler) && !v.writer.Settled() {
		if r.ProtoMajor == 1 {
			// Else the caller could send its next request into the end of the
			// connection, and would not know what has become of it.
			w.Header().Set("Connection", "close")
		}
		v.refuse(w, r, &Error{Reason: outcome.Internal})
		v.writer.Finish()
		// The server gives up the connection with what it has not sent.
		_ = http.NewResponseController(w).Flush()
	}
	panic(p)
}

// end counts the request out and gives back what it held.
func (v *visit) end(r *http.Request) {
	status := v.writer.Status()
	taken := v.writer.Hijacked()
	if taken {
		v.ticket.Untimed()
		if status == 0 {
			status = http.StatusSwitchingProtocols
		}
	}
	ok := v.finished && v.failed == nil && status < 500
	if v.stop != nil {
		v.stop()
	}
	form.RemoveFiles(r, &v.request)
	v.ticket.Leave(ok)
	if ok {
		v.slot.Succeeded()
		for _, d := range v.limited {
			if d != nil && d.WouldRefuse() {
				d.Succeeded()
			}
		}
	}
	if v.finished {
		v.authorized.Done(status)
	} else {
		v.authorized.Done(http.StatusInternalServerError)
	}
	v.slot.Release()
	if v.oversized.Load() {
		v.mesh.bodies.count(ok)
	}
	if v.tokenless {
		v.guard.doorman.observed.count(ok)
	}
	reason := outcome.NoReason
	if v.failed != nil {
		reason = v.failed.Reason
	}
	// Whoever waits for the last request finds all of it recorded, and does
	// not wait for what a log or an exporter has panicked over.
	defer func() {
		last := taken && v.mesh.taken.Add(-1) == 0
		v.mesh.visited(v.mesh.visits.end(status, reason) || last)
	}()
	v.watched(r, status, reason, !v.finished)
}

// TakenOver implements respwriter.Taker: the server does not know of the
// connection any more.
func (v *visit) TakenOver() { v.mesh.taken.Add(1) }

// BeforeHeader implements respwriter.Hook: it writes what callers are to know
// of this process.
func (v *visit) BeforeHeader(h http.Header, status int) {
	if strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") {
		v.ticket.Untimed()
	}
	leaving := v.mesh.leaving.Load()
	if g := v.guards.overload; g != nil {
		if leaving {
			g.SetLeaving(true)
		}
		g.WriteReport(h, &v.ticket, v.figures())
	} else if leaving {
		h.Set(endpoint.LoadReportHeader, string(endpoint.LoadReport{Leaving: true}.AppendText(nil)))
	}
	if leaving && status != http.StatusSwitchingProtocols {
		// HTTP/2 has no such field; net/http makes of it a word that the
		// connection is not to be used again.
		h.Set("Connection", "close")
	}
	setLimitFields(h, v.limited)
	if v.guard != nil && v.guard.cors != nil {
		v.guard.cors.setFields(h, v.origin, v.preflight)
	}
}

// trailer tells callers anew of the load of this process, if BeforeHeader has
// done so long ago. It comes after the handler, to whom r came as it is here.
func (v *visit) trailer(r *http.Request) {
	g := v.guards.overload
	if g == nil {
		return
	}
	if v.mesh.leaving.Load() {
		g.SetLeaving(true)
	}
	g.WriteTrailer(v.writer.Header(), r, v.writer.Status(), &v.ticket, v.figures())
}

// pass takes the request through the stages. Each comes after all that is
// cheaper, and before all that relies on it. It reports whether the request
// has got its answer; if not it is to go on.
func (v *visit) pass(w http.ResponseWriter, r *http.Request) (served bool, err error) {
	if l := v.guards.inFlight; l != nil {
		slot, err := l.TryAcquire()
		if err != nil {
			return false, &Error{Reason: outcome.LimitReached, RetryAfter: time.Second, Err: err}
		}
		v.slot = slot
	}
	peer := v.mesh.peers.of(r)
	if !peer.IsZero() {
		v.Context = identity.NewContext(v.Context, peer)
	}
	// The compiler sees that the copy WithContext makes is copied at once.
	v.request = *r.WithContext(v)
	r = &v.request
	v.strip(r, peer)
	if v.guard, err = v.guards.of(r); err != nil {
		return false, err
	}
	if v.guard.cors != nil {
		// Handlers may take the field out of the request.
		v.origin, v.preflight = r.Header["Origin"], isPreflight(r)
	}
	hints := v.hints(r)
	if v.goesBack(r, hints.Room) {
		return false, &Error{Reason: outcome.SentBack}
	}
	if hints.Room > 0 {
		r.Header = hint.Without(r.Header)
	}
	if err := v.limit(0, v.guard.before, r); err != nil {
		return false, err
	}
	if v.preflight {
		w.WriteHeader(http.StatusNoContent)
		return true, nil
	}
	if err := v.body(r); err != nil {
		return false, err
	}
	if err := v.deadline(r, hints); err != nil {
		return false, err
	}
	if err := v.authenticate(r); err != nil {
		return false, err
	}
	if err := v.limit(1, v.guard.after, r); err != nil {
		return false, err
	}
	if a := v.guard.authorizer; a != nil {
		v.authorized = a.Decide(r)
		if err := v.authorized.Err(); err != nil {
			return false, err
		}
	}
	if g := v.guards.overload; g != nil && !g.Exempt(r) {
		if v.ticket, err = g.Enter(r.Context()); err != nil {
			return false, err
		}
	}
	return false, nil
}

// strip takes fields out of a request that its peer may not send, or that
// nobody may. The header is copied only if there is one.
func (v *visit) strip(r *http.Request, peer identity.Principal) {
	g := v.guards
	if len(g.strip)+len(g.claimed) == 0 {
		return
	}
	var found, foreign bool
	for name := range r.Header {
		foreign = foreign || named(g.strip, name)
		found = found || named(g.claimed, name)
	}
	if foreign {
		addr, _ := identity.PeerAddr(r.RemoteAddr)
		foreign = !g.config.Trust.Trusts(addr, peer)
	}
	if !found && !foreign {
		return
	}
	r.Header = r.Header.Clone()
	for name := range r.Header {
		if named(g.claimed, name) || foreign && named(g.strip, name) {
			delete(r.Header, name)
		}
	}
	v.mesh.stripped.Add(1)
}

// limit charges a request to a limiter.
func (v *visit) limit(i int, l *ratelimit.Limiter, r *http.Request) error {
	if l == nil {
		return nil
	}
	d := l.Take(r, 1, v.start)
	if !d.Allowed || d.WouldRefuse() || v.guard.config.RateLimit.Fields != ratelimit.RefusalFields {
		v.limited[i] = new(d)
	}
	return d.Err()
}

// body refuses a request whose body is larger than it may be, or bounds what
// can be read of it.
func (v *visit) body(r *http.Request) error {
	b := v.guard.config.Body
	if b == nil {
		return nil
	}
	observes := b.Mode == outcome.Observe
	switch {
	case r.ContentLength > b.MaxBytes && !observes:
		return &Error{Reason: outcome.TooLarge}
	case r.ContentLength > b.MaxBytes:
		v.oversized.Store(true)
	case r.Body == nil || r.Body == http.NoBody:
	case observes:
		r.Body = &measured{r.Body, b.MaxBytes, &v.oversized}
	default:
		// Of whatever length it is said to be: what decompresses in front of us
		// may have left the length of what was sent. The server's own writer
		// closes the connection behind a body that is too large.
		r.Body = http.MaxBytesReader(v.writer.Unwrap(), r.Body, b.MaxBytes)
	}
	return nil
}

// measured notes whether more than left is read of a body.
type measured struct {
	io.ReadCloser
	left int64
	over *atomic.Bool
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if m.left -= int64(n); m.left < 0 {
		m.over.Store(true)
	}
	return n, err
}

// hints returns what the caller tells. It is told by whoever likes: all that
// anybody gets by it is less. Strip takes it from those who are to have no say.
func (v *visit) hints(r *http.Request) hint.Hints {
	hints, ok := hint.Of(r)
	if !ok {
		v.mesh.badHints.Add(1)
	}
	return hints
}

// goesBack reports whether the guard against overload sends the request back
// unworked. It comes before all that is charged for a request or done for it,
// as that is to happen where the request is worked on. For a stranger it is no
// way around a limit: he is turned away for less than a limit costs us, within
// the cap on requests at once, with a report that every answer has.
func (v *visit) goesBack(r *http.Request, room int) bool {
	g := v.guards.overload
	// The browser that asks whether a script may has no other server to ask.
	return g != nil && room > 0 && !v.preflight && !g.Exempt(r) && g.SendBack(&v.ticket, room)
}

// deadline gives the request the time that its caller still waits, or that
// the handler may take. Expired work is not begun.
func (v *visit) deadline(r *http.Request, hints hint.Hints) error {
	left, told := hints.Left, hints.Told
	if told && left <= 0 {
		return &Error{Reason: outcome.CallerDeadline}
	}
	if told && isUpgrade(r) {
		// The caller waits for another protocol to begin, not for its end.
		told = false
	}
	if t := v.guard.timeout; t > 0 && (!told || t < left) {
		left, told = t, true
	}
	if !told {
		return nil
	}
	at := v.start.Add(left)
	v.Context, v.stop = context.WithDeadline(v.Context, at)
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	// A handler that reads a body which does not come would not look at its
	// context. A deadline that the server has set and that is earlier stays.
	if s, ok := v.Context.Value(http.ServerContextKey).(*http.Server); !ok || s.ReadTimeout <= 0 || s.ReadTimeout > left {
		// Not every writer can; then the server's own time-out has to do.
		_ = http.NewResponseController(v.writer.Unwrap()).SetReadDeadline(at)
	}
	return nil
}

// isUpgrade reports whether a request is to become a connection of another
// protocol.
func isUpgrade(r *http.Request) bool {
	return r.ProtoMajor == 1 && len(r.Header["Upgrade"]) > 0 && token.In(r.Header["Connection"], "upgrade")
}

// authenticate verifies the token of a request and puts the principal into
// its context.
func (v *visit) authenticate(r *http.Request) error {
	a := v.guard.doorman
	if a == nil {
		return nil
	}
	verified, err := a.Authenticate(r)
	if err != nil && v.guard.config.Anonymous != nil {
		if refusal, ok := errors.AsType[*authn.Error](err); ok && refusal.Kind == authn.Missing {
			err = nil
		}
	}
	if v.guard.config.Authn.Mode == outcome.Observe {
		v.tokenless = err != nil
		return nil
	}
	if err == nil {
		*r = *a.Attach(r, verified)
	}
	return err
}

package overload

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/internal/form"
	"github.com/tulle-mesh/tulle/internal/hint"
	"github.com/tulle-mesh/tulle/internal/respwriter"
	"github.com/tulle-mesh/tulle/outcome"
)

// Middleware wraps a handler: requests wait for a place or are refused with
// 503, Retry-After and a problem (RFC 9457), and every response carries a load
// report. A response below 500 counts as served. A request whose deadline has
// passed is answered with 504, and one that its caller had rather have worked
// on elsewhere with 421, see SendBack.
func (g *Guard) Middleware(next http.Handler) http.Handler {
	return &handler{g, next}
}

// handler is a type for the sake of the compiler: in a closure that is inlined
// elsewhere it would not inline WithContext.
type handler struct {
	guard *Guard
	next  http.Handler
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Context: r.Context(), guard: h.guard}
	// The copy of the request is a part of the exchange, so both are one
	// allocation.
	x.request = *r.WithContext(x)
	defer form.RemoveFiles(r, &x.request)
	x.serve(h.next, w, r)
}

// exchange is one request. It is the context of the handler.
type exchange struct {
	context.Context
	guard   *Guard
	ticket  Ticket
	writer  respwriter.Writer
	metrics Metrics
	request http.Request
}

// Value implements context.Context.
func (x *exchange) Value(key any) any {
	if _, ok := key.(MetricsKey); ok {
		return &x.metrics
	}
	return x.Context.Value(key)
}

// BeforeHeader implements respwriter.Hook.
func (x *exchange) BeforeHeader(h http.Header, _ int) {
	if strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") {
		x.ticket.Untimed()
	}
	x.guard.WriteReport(h, &x.ticket, &x.metrics)
}

// serve has the request served. The handler may change it as it likes; as it
// came it is r.
func (x *exchange) serve(next http.Handler, below http.ResponseWriter, r *http.Request) {
	w := x.writer.Wrap(below, x)
	// A field that cannot be read says nothing.
	hints, _ := hint.Of(r)
	exempt := x.guard.Exempt(&x.request)
	if !exempt && x.guard.SendBack(&x.ticket, hints.Room) {
		answer(w, &x.request, outcome.SentBack)
		return
	}
	if hints.Room > 0 {
		x.request.Header = hint.Without(x.request.Header)
	}
	if !exempt {
		var err error
		if x.ticket, err = x.guard.Enter(x.Context); err != nil {
			refuse(w, &x.request, err)
			return
		}
	}
	served := false
	defer func() {
		if x.writer.Hijacked() {
			x.ticket.Untimed()
		}
		x.ticket.Leave(served)
	}()
	next.ServeHTTP(w, &x.request)
	x.writer.Finish()
	x.guard.WriteTrailer(x.writer.Header(), r, x.writer.Status(), &x.ticket, &x.metrics)
	served = x.writer.Status() < http.StatusInternalServerError
}

// problem is the body of a refusal, of RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// refuse answers a request that has got no place.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	reason := outcome.Cancelled
	if e, ok := errors.AsType[*Error](err); ok {
		reason = outcome.Overloaded
		w.Header().Set("Retry-After", strconv.FormatInt(int64(max(time.Second, e.RetryAfter)/time.Second), 10))
	} else if errors.Is(err, context.DeadlineExceeded) || errors.Is(r.Context().Err(), context.DeadlineExceeded) {
		reason = outcome.CallerDeadline
	}
	answer(w, r, reason)
}

// answer answers in the place of the handler. How busy the server is stands in
// the load report, for those who are to know.
func answer(w http.ResponseWriter, r *http.Request, reason outcome.Reason) {
	status := reason.Status()
	title := http.StatusText(status)
	if title == "" {
		title = reason.Text()
	}
	text, err := json.Marshal(problem{Type: "about:blank", Title: title, Status: status, Detail: reason.Text()})
	if err != nil {
		w.WriteHeader(status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // an error means that the client has gone
	}
}

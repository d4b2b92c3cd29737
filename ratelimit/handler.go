package ratelimit

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/tulle-mesh/tulle/internal/respwriter"
	"github.com/tulle-mesh/tulle/outcome"
)

// Handler wraps an http.Handler. What it refuses it answers with 429 Too Many
// Requests and a problem of the type that the RateLimit draft defines, or with
// 503 Service Unavailable if a Store has failed. It is for servers without a
// mesh.
func (l *Limiter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := l.Acquire(r, 1)
		if err != nil {
			refusal, ok := err.(*Error)
			if !ok {
				panic(http.ErrAbortHandler) // the client has gone
			}
			d.SetFields(w.Header())
			refusal.write(w, r)
			return
		}
		d.SetFields(w.Header())
		if !d.WouldRefuse() && !d.hushed() {
			next.ServeHTTP(w, r)
			return
		}
		a := &answered{hushed: d.hushed()}
		next.ServeHTTP(a.writer.Wrap(w, a), r)
		a.writer.Finish()
		if a.succeeded() {
			d.Succeeded()
		}
	})
}

// answered watches the answer to a request.
type answered struct {
	writer respwriter.Writer
	hushed bool
	status int // 0 if the handler has taken over the connection
}

// BeforeHeader implements respwriter.Hook.
func (a *answered) BeforeHeader(h http.Header, status int) {
	a.status = status
	if a.hushed && status >= 300 && status < 400 && status != http.StatusNotModified {
		dropFields(h)
	}
}

// succeeded judges the response by its status.
func (a *answered) succeeded() bool {
	return a.status == 0 || outcome.HTTP{}.Classify(&http.Response{StatusCode: a.status}, nil).Class == outcome.Success
}

// Problem types, of RFC 9457 and of section 5.1 of the draft.
const (
	typeQuotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	typeNone          = "about:blank"
)

// problem is the body of a refusal.
type problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail,omitempty"`
	Violated []string `json:"violated-policies,omitempty"`
}

// write answers a request that is refused. What is wrong with a Store is
// nobody's business out there.
func (e *Error) write(w http.ResponseWriter, r *http.Request) {
	p := problem{
		Type: typeQuotaExceeded, Status: http.StatusTooManyRequests,
		Title:    "Request cannot be satisfied as assigned quota has been exceeded",
		Detail:   "The request would be allowed in " + strconv.FormatInt(seconds(e.RetryAfter), 10) + " s.",
		Violated: e.Violated,
	}
	switch {
	case e.Err != nil && len(e.Violated) == 0:
		p = problem{Type: typeNone, Status: http.StatusServiceUnavailable, Title: http.StatusText(http.StatusServiceUnavailable)}
	case e.RetryAfter == 0:
		p.Detail = "The request costs more than is ever there at once."
	}
	h := w.Header()
	b, err := json.Marshal(p)
	if err != nil {
		b = nil // texts and a number are always JSON
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b) // an error means that the client has gone
	}
}

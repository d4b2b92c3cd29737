package tulle

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// WithErrorWriter sets what answers requests that the mesh refuses on their
// way to a handler. It gets an *Error whose Reason says why, whose cause may
// hold what is not for callers, and whose header fields are set already. By
// default it is WriteError. What is sent back unworked (outcome.SentBack) is
// always answered by WriteError, as its caller is a mesh.
func WithErrorWriter(write func(w http.ResponseWriter, r *http.Request, e *Error)) Option {
	return optionFunc(func(o *options) { o.errorWriter = write })
}

// WriteError answers a request with an error: with the status that its Reason
// stands for and a body of the form problem+json (RFC 9457), marked as an
// answer of the mesh by Proxy-Status (RFC 9209). An *Error that a call through
// a mesh returned becomes the answer of the handler that made the call; a
// context that has ended becomes 504 or 499, and any other error 500. The
// caller learns the reason and when to come back, never the cause.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	e := asInbound(err)
	h := w.Header()
	setRefusal(h, e)
	h.Set("Proxy-Status", proxyStatus(e.Reason))
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	// What the handler has said of an answer of its own is not true of this.
	for _, name := range [...]string{"Content-Encoding", "Etag", "Last-Modified", "Accept-Ranges", "Content-Range"} {
		h.Del(name)
	}
	status := e.Reason.Status()
	body, _ := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Reason string `json:"reason"`
	}{"about:blank", title(status), status, e.Reason.Text(), e.Reason.String()})
	body = append(body, '\n')
	// All of it is there, even if the connection ends behind it.
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// An error means that the caller has gone.
		_, _ = w.Write(body)
	}
}

// title returns the phrase of a status. RFC 9457, 4.2.1: about:blank has "the
// same as the recommended HTTP status phrase for that code".
func title(status int) string {
	if status == 499 {
		return "Client Closed Request"
	}
	return http.StatusText(status)
}

// setRefusal sets the fields that tell what a caller can do.
func setRefusal(h http.Header, e *Error) {
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	if a, ok := errors.AsType[*authn.Error](e.Err); ok && a.Challenge() != "" {
		h.Set("WWW-Authenticate", a.Challenge())
	}
}

// asInbound returns err as an *Error that says why.
func asInbound(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Reason.Status() < 400 {
			// No error has such a reason; it must not look like success.
			return &Error{Reason: outcome.Internal, Err: err}
		}
		return e
	}
	e := &Error{Reason: outcome.Internal, Err: err}
	if a, ok := errors.AsType[*authn.Error](err); ok {
		e.RetryAfter = a.RetryAfter
		switch a.Status() {
		case http.StatusBadRequest:
			e.Reason = outcome.BadRequest
		case http.StatusForbidden:
			e.Reason = outcome.Forbidden
		case http.StatusServiceUnavailable:
			e.Reason, e.RetryAfter = outcome.Undecided, max(e.RetryAfter, time.Second)
		default:
			e.Reason = outcome.Unauthenticated
		}
		return e
	}
	if l, ok := errors.AsType[*ratelimit.Error](err); ok {
		e.Reason, e.RetryAfter = outcome.RateLimited, l.RetryAfter
		if l.Err != nil && len(l.Violated) == 0 {
			e.Reason, e.RetryAfter = outcome.Undecided, time.Second
		}
		return e
	}
	if o, ok := errors.AsType[*overload.Error](err); ok {
		e.Reason, e.RetryAfter = outcome.Overloaded, o.RetryAfter
		return e
	}
	if _, ok := errors.AsType[*authz.DeniedError](err); ok {
		e.Reason = outcome.Forbidden
		return e
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		e.Reason = outcome.TooLarge
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason = outcome.CallerDeadline
	case errors.Is(err, context.Canceled):
		e.Reason = outcome.Cancelled
	}
	return e
}

// setLimitFields tells callers of their limits. Where there are limits before
// and after authentication both are told; of the fields that are not lists,
// those of the one that has less left.
func setLimitFields(h http.Header, decisions [2]*ratelimit.Decision) {
	first, second := decisions[0], decisions[1]
	if first == nil && second == nil {
		return
	}
	if first == nil || second == nil {
		cmp.Or(first, second).SetFields(h)
		return
	}
	if second.Allowed && first.Remaining < second.Remaining {
		first, second = second, first
	}
	first.SetFields(h)
	policies, limits := h[limitPolicies], h[limitLevels]
	delete(h, limitPolicies)
	delete(h, limitLevels)
	second.SetFields(h)
	h[limitPolicies] = append(policies, h[limitPolicies]...)
	h[limitLevels] = append(limits, h[limitLevels]...)
}

// The fields of ratelimit.StandardFields are lists of RFC 9651, which several
// fields of a name make up as well.
const (
	limitPolicies = "Ratelimit-Policy"
	limitLevels   = "Ratelimit"
)

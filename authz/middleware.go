package authz

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/tulle-mesh/tulle/internal/respwriter"
	"github.com/tulle-mesh/tulle/outcome"
)

// Middleware wraps a handler and answers what is denied in its place: with 403
// and a body of RFC 9457 that is the same for every denial. It is for servers
// without a mesh. The principal and claims must be in the request's context
// before.
func (a *Authorizer) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch d := a.Decide(r); {
		case !d.Allowed:
			refuse(w)
		case d.WouldDeny:
			observe(d, next, w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// observe serves a request that Enforce would refuse and notes how that ends.
// One that ends in a panic has not succeeded.
func observe(d Decision, next http.Handler, w http.ResponseWriter, r *http.Request) {
	var watched respwriter.Writer
	next.ServeHTTP(watched.Wrap(w, nil), r)
	watched.Finish()
	if watched.Hijacked() {
		d.Done(http.StatusSwitchingProtocols)
		return
	}
	d.Done(watched.Status())
}

// problem is the body of RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func refuse(w http.ResponseWriter) {
	status := outcome.Forbidden.Status()
	body, _ := json.Marshal(problem{"about:blank", http.StatusText(status), status, outcome.Forbidden.Text()}) // of texts and a number
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	// What was refused to one must not be served to another.
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

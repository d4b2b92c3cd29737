package retry

import (
	"context"
	"net/http"
)

type idempotentKey struct{}

// WithIdempotent returns a context that declares that a call made with it may
// be repeated, whatever its method: doing it twice does what doing it once
// does.
func WithIdempotent(ctx context.Context) context.Context {
	return context.WithValue(ctx, idempotentKey{}, true)
}

// idempotent reports whether a request that may have been acted upon may be
// sent again.
//
// "A request method is considered idempotent if the intended effect on the
// server of multiple identical requests with that method is the same as the
// effect for a single such request. Of the request methods defined by this
// specification, PUT, DELETE, and safe request methods are idempotent." -
// RFC 9110, 9.2.2
func idempotent(ctx context.Context, in *http.Request) bool {
	switch in.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		http.MethodPut, http.MethodDelete:
		return true
	}
	// As in net/http: the presence of the field counts, also without a value.
	if _, ok := in.Header["Idempotency-Key"]; ok {
		return true
	}
	if _, ok := in.Header["X-Idempotency-Key"]; ok {
		return true
	}
	declared, _ := ctx.Value(idempotentKey{}).(bool)
	return declared
}

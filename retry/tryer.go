package retry

import (
	"context"
	"io"
	"net/http"

	"github.com/tulle-mesh/tulle/outcome"
)

// Tryer makes the attempts of one call. Prepare is not called twice at once,
// but it may be called while an earlier Try is still being sent: what belongs
// to an attempt belongs into its Try.
type Tryer interface {
	// Prepare takes what attempt n needs before it can be sent: an endpoint
	// to send it to, permits. Attempts count from 1. It may wait until ctx
	// ends. Each Try it returns is either sent or released, once.
	Prepare(ctx context.Context, n int) (Try, error)
}

// Try is an attempt that is ready to be sent.
type Try interface {
	// Send makes the attempt and returns when its response headers have
	// come or can no longer come, with the judgement on it: either a
	// response, whose body the receiver closes, or an error, passed through
	// Cause. It owns b.Reader and closes it on every path, possibly after it
	// has returned, as http.RoundTripper demands. The context of the attempt
	// request is ctx or derived from it.
	Send(ctx context.Context, b Body) (*http.Response, outcome.Outcome, error)
	// Release gives back what Prepare took, in the place of Send.
	Release()
}

// Body is the request body of one attempt, in the place of that of the
// caller's request. The length of the caller's request holds for it.
type Body struct {
	// Reader is nil or http.NoBody where the caller's request has that.
	Reader io.ReadCloser
	// Get becomes http.Request.GetBody of the attempt request, so that
	// net/http itself can repeat a request that a stale connection or a
	// GOAWAY left unprocessed. It may be nil.
	Get func() (io.ReadCloser, error)
}

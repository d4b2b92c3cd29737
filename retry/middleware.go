package retry

import (
	"context"
	"net/http"

	"github.com/tulle-mesh/tulle/outcome"
)

// Middleware returns a wrapper for a RoundTripper that makes the attempts of
// each request by l, all through the RoundTripper it wraps; nil wraps
// http.DefaultTransport. c judges the attempts; nil is outcome.HTTP{}. It is
// for clients without a mesh, which has a loop of its own.
func (l *Loop) Middleware(c outcome.Classifier) func(http.RoundTripper) http.RoundTripper {
	if c == nil {
		c = outcome.HTTP{}
	}
	return func(next http.RoundTripper) http.RoundTripper {
		if next == nil {
			next = http.DefaultTransport
		}
		return &transport{loop: l, next: next, classifier: c}
	}
}

type transport struct {
	loop       *Loop
	next       http.RoundTripper
	classifier outcome.Classifier
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(in *http.Request) (*http.Response, error) {
	return t.loop.Do(in.Context(), in, &trip{transport: t, in: in})
}

// CloseIdleConnections is for http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// trip is the Tryer of one request, and the first Try of it: there is nothing
// to prepare.
type trip struct {
	*transport
	in    *http.Request
	again bool
}

func (t *trip) Prepare(_ context.Context, n int) (Try, error) {
	if n == 1 {
		return t, nil
	}
	return &trip{transport: t.transport, in: t.in, again: true}, nil
}

func (t *trip) Release() {}

func (t *trip) Send(ctx context.Context, b Body) (*http.Response, outcome.Outcome, error) {
	out := t.in
	_, limited := ctx.(*span)
	_, replayed := b.Reader.(*replayReader)
	if t.again || limited || replayed {
		// A copy of its own; the header and trailer maps are shared, since
		// nothing here writes to them and the caller fills in the trailers.
		out = t.in.WithContext(ctx)
		out.Body, out.GetBody = b.Reader, b.Get
	}
	resp, err := t.next.RoundTrip(out)
	if err != nil {
		if resp != nil {
			closeBody(resp.Body)
		}
		err = Cause(ctx, err)
		return nil, t.classifier.Classify(nil, err), err
	}
	if resp == nil {
		return nil, outcome.Outcome{}, errNoResponse
	}
	resp.Request = t.in
	return resp, t.classifier.Classify(resp, nil), nil
}

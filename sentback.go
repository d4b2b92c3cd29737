package tulle

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/internal/body"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// maxComesBack is the longest body that is worth being sent twice, and that a
// server reads to its end before it takes the next request on a connection.
const maxComesBack = 64 << 10

// expect notes how much the endpoint may have to do, if whoever picked it says
// so. It is for the first attempt of a call, and for one that nothing else
// depends on.
func (a *attempt) expect(g *generation) {
	c := a.call
	if g.wary == nil || a.prev != nil || c.mirrored {
		return
	}
	if c.in.Method == http.MethodConnect || len(c.in.Header["Upgrade"]) > 0 {
		return
	}
	if c.in.Trailer != nil {
		// It is one map for all attempts, and an HTTP/2 server of net/http takes
		// trailers that come after its answer for an error of the connection.
		return
	}
	a.room = int32(min(max(0, g.wary.Room(a.target.Endpoint, a.start)), math.MaxInt32))
}

// mayComeBack reports whether a request that comes back can be sent anew, with
// certainty: it must not get lost for having asked.
func (a *attempt) mayComeBack(b retry.Body) bool {
	in := a.call.in
	return !hasBody(in) || in.GetBody != nil && b.Get != nil && in.ContentLength > 0 && in.ContentLength <= maxComesBack
}

func hasBody(r *http.Request) bool { return r.Body != nil && r.Body != http.NoBody }

// again reports whether the attempt is made in the place of one that has come
// back.
func (a *attempt) again() bool { return a.prev != nil && a.prev.n == a.n }

// comesBack accounts for an attempt whose request has come back unworked, with
// whom it concerns: the balancer, which has a report of the endpoint, and the
// hooks. It says nothing about how the endpoint works.
func (a *attempt) comesBack(r *outcome.Result) {
	a.out = outcome.Outcome{Class: outcome.Neutral, Status: a.resp.StatusCode, Unsent: true}
	r.Outcome, r.SentBack = a.out, true
	a.call.dest.service.sentBack.Add(1)
	if a.observer != nil {
		a.observer.Observe(a.target.Endpoint, *r)
	}
	a.tell(a.resp, r, nil)
}

// elsewhere prepares the attempt that is made in the place of this one, which
// has come back and is over then, with what it had of the service. It goes to
// another endpoint if there is one, and asks for nothing. The body is had anew.
func (a *attempt) elsewhere(ctx context.Context, b *retry.Body) (again *attempt, err error) {
	defer a.over()
	c := a.call
	// The connection is to take the next request.
	body.Discard(a.resp.Body)
	if hasBody(c.in) {
		if b.Reader, err = b.Get(); err != nil {
			return nil, &outcome.RequestBodyError{Err: err}
		}
	}
	again = &attempt{call: c, n: a.n, prev: a, start: time.Now()}
	again.permit, a.permit = a.permit, breaker.Permit{}
	again.takeOver()
	prepared := false
	defer func() {
		if !prepared {
			// Code plugged into the mesh panicked.
			closeBody(&http.Request{Body: b.Reader})
			again.free()
		}
	}()
	if err := again.pick(ctx); err != nil {
		// There is nothing to pick any more; this endpoint has answered.
		again.target, again.feeds, again.observer = a.target, a.feeds, a.observer
	}
	prepared = true
	c.last = again
	c.avoid(again.target.Endpoint)
	again.target.control.Begin()
	return again, nil
}

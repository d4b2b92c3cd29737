package tulle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/internal/body"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/telemetry"
)

// attempt is one try of a call at one endpoint. The first lives in its Call.
type attempt struct {
	call   *Call
	prev   *attempt
	target *target
	// observer is the balancer that picked, if it wants to learn; feeds judge
	// the endpoint.
	observer balancer.Observer
	feeds    *feeds
	// permit and slot are of the service, own is of the endpoint. trial says
	// which holds of the endpoint the attempt tries.
	permit, own breaker.Permit
	slot        breaker.Slot
	trial       trial
	// lent says that the place is with the attempt that comes after, judged
	// that those who judge have had the result, undecided that they get it at
	// the end of the body.
	lent, judged, undecided bool
	// leaving says that the response told that the endpoint is leaving,
	// sentBack that the endpoint has not worked on the request.
	leaving, sentBack bool
	// room is how many requests the endpoint may have in flight for this one,
	// 0 for however many.
	room   int32
	n      int
	start  time.Time // when the endpoint was picked
	req    http.Request
	upload upload
	hint   [1]string // the values of the header that the mesh writes
	resp   *http.Response
	// out is the judgement at the headers, bodyErr what ended the body, class
	// the judgement as it then stands.
	out     outcome.Outcome
	bodyErr error
	class   outcome.Class
	span    telemetry.Span
	hook    body.Hook
	// state has ended, delivered or both; who adds the second ends the call.
	state atomic.Uint32
}

const (
	ended     = 1 << iota // the body of the response has
	delivered             // the response is what the caller gets
)

var errBadURL = errors.New("the URL has a control character")

var errNoResponse = errors.New("attempt middleware returned neither a response nor an error")

// Release implements retry.Try: the attempt is not made.
func (a *attempt) Release() {
	a.giveBack()
	a.free()
	a.target.end()
}

// free gives back the permits. What was judged has told them so already.
func (a *attempt) free() {
	a.slot.Release()
	a.slot = breaker.Slot{}
	if !a.judged {
		a.permit.Release()
		a.feeds.unclaim(a.trial, a.own, a.start)
	}
}

// Send implements retry.Try: it makes the attempt, and once more if the request
// comes back unworked. It comes after Prepare.
func (a *attempt) Send(ctx context.Context, b retry.Body) (*http.Response, outcome.Outcome, error) {
	if a.room > 0 && !a.mayComeBack(b) {
		a.room = 0
	}
	resp, o, err := a.send(ctx, b)
	if !a.sentBack {
		return resp, o, err
	}
	again, err := a.elsewhere(ctx, &b)
	if err != nil {
		return nil, o, err
	}
	return again.send(ctx, b)
}

// send makes the attempt and accounts for it at the headers. What belongs to
// the end of the body is in BodyEnd, and where the request came back, in
// elsewhere.
func (a *attempt) send(ctx context.Context, b retry.Body) (*http.Response, outcome.Outcome, error) {
	c := a.call
	c.sent++
	c.reached = a.target
	var connected *atomic.Bool
	if c.dest.traced && !repeatable(c.in.Method) {
		ctx, connected = noteConn(ctx)
	}
	a.req = *c.in.WithContext(ctx)
	a.body(b)
	a.address()
	ctx = a.watch(ctx)
	a.header(ctx)

	judged, followed := false, false
	defer func() {
		if followed {
			return
		}
		// There is no body to follow, or code plugged into the mesh panicked.
		if !judged {
			a.span.Panicked()
		}
		a.over()
	}()
	resp, err := a.carry(ctx)
	a.resp = resp
	switch {
	case err != nil:
		err = retry.Cause(ctx, err)
		if connected != nil && !connected.Load() && ctx.Err() != nil {
			// Cut off before it had a connection.
			err = &outcome.UnsentError{Err: err}
		}
	case resp == nil:
		err = errNoResponse
	}
	if err != nil {
		a.judge(nil, err)
		judged = true
		return nil, a.out, err
	}
	a.judge(resp, nil)
	judged, followed = true, true
	if a.sentBack {
		return nil, a.out, nil
	}
	a.hook.Follow(resp, a.req.Method, a)
	return resp, a.out, nil
}

// over gives back what the attempt held, where no body is followed.
func (a *attempt) over() {
	a.span.End()
	a.free()
	a.target.end()
	if a.resp != nil && a.resp.Body != nil {
		_ = a.resp.Body.Close()
	}
}

// carry takes the attempt's request to the endpoint, unless a fault for
// attempts comes between.
func (a *attempt) carry(ctx context.Context) (*http.Response, error) {
	if u := a.req.URL; strings.ContainsFunc(u.RawQuery, control) || strings.ContainsFunc(u.Opaque, control) {
		// Over HTTP/2 net/http would try for ever.
		closeBody(&a.req)
		return nil, errBadURL
	}
	f := a.call.dest.fault
	if f == nil || !f.PerAttempt() {
		return a.target.rt.RoundTrip(&a.req)
	}
	abort, err := f.Inject(ctx, a.call.in)
	if err == nil && abort == nil {
		return a.target.rt.RoundTrip(&a.req)
	}
	closeBody(&a.req)
	if err != nil {
		return nil, err
	}
	resp, err := abort.Response(&a.req)
	if err == nil {
		resp.Header.Set("Proxy-Status", proxyStatus(outcome.FaultInjected))
	}
	return resp, err
}

// repeatable reports whether a method may be repeated whatever became of it,
// so that nothing is gained by knowing more.
func repeatable(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// noteConn returns a context that notes whether a connection was had. An attempt
// that was cut off before that was never sent.
func noteConn(ctx context.Context) (context.Context, *atomic.Bool) {
	connected := new(atomic.Bool)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}), connected
}

// body gives the attempt's request its body, with the errors of the caller's
// reader marked as such: a broken upload is none of the endpoint's fault.
func (a *attempt) body(b retry.Body) {
	a.req.Body, a.req.GetBody = b.Reader, b.Get
	if b.Reader != nil && b.Reader != http.NoBody && !certain(b.Reader, a.req.ContentLength) {
		a.upload = upload{ReadCloser: b.Reader, left: -1}
		if a.req.ContentLength > 0 {
			a.upload.left = a.req.ContentLength
		}
		a.req.Body = &a.upload
	}
}

// certain reports whether a body cannot fail: that it is in memory, and all
// of it. net/http knows such bodies by their type and sends them together
// with the header. A file goes out by other means than Read.
func certain(b io.Reader, length int64) bool {
	if _, ok := b.(*os.File); ok {
		return true
	}
	v := reflect.ValueOf(b)
	if t := v.Type(); t != reflect.TypeOf(io.NopCloser(nil)) && t != reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{})) {
		return false
	}
	switch r := v.Field(0).Interface().(type) {
	case *bytes.Reader:
		return int64(r.Len()) == length
	case *bytes.Buffer:
		return int64(r.Len()) == length
	case *strings.Reader:
		return int64(r.Len()) == length
	}
	return false
}

// upload is the body of a request on its way out.
type upload struct {
	io.ReadCloser
	left int64 // of the length that was declared, -1 if none was
}

var (
	errBodyShort = errors.New("the request body is shorter than its declared length")
	errBodyLong  = errors.New("the request body is longer than its declared length")
)

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if u.left >= 0 {
		if int64(n) > u.left {
			// No byte too many goes out, lest the transport complain of another.
			n, err = int(u.left), errBodyLong
		}
		if u.left -= int64(n); err == io.EOF && u.left > 0 {
			err = errBodyShort
		}
	}
	if err != nil && err != io.EOF {
		err = &outcome.RequestBodyError{Err: err}
	}
	return n, err
}

// address gives the attempt's request the URL that it is sent with. Its host
// stays the name of the service: the endpoint is only what is dialled.
func (a *attempt) address() {
	c := a.call
	if scheme := a.target.wire.scheme(c.in.URL.Scheme); scheme != c.in.URL.Scheme {
		u := *c.in.URL
		u.Scheme = scheme
		a.req.URL = &u
	}
	if w := c.route.filters.Rewrite; w != nil {
		w.Apply(&a.req, c.prefix)
	}
}

// header gives the attempt's request a header of its own if something is to
// be changed in it.
func (a *attempt) header(ctx context.Context) {
	c := a.call
	hint := ""
	if !c.dest.external {
		hint = hintOf(ctx, a.n, int(a.room), c.mirrored, a.start)
	}
	edit := !c.route.filters.Request.IsZero()
	propagate := c.mesh.recorder.Propagates() && c.dest.propagate
	// What a handler passes on is what his caller told him of another call.
	foreign := len(c.in.Header[hintField]) > 0
	if hint == "" && !edit && !propagate && !foreign || c.in.Header == nil {
		return
	}
	a.req.Header = ownHeader(c.in.Header)
	if propagate {
		c.mesh.recorder.Inject(ctx, a.req.Header)
	}
	if hint != "" {
		a.hint[0] = hint
		a.req.Header[hintField] = a.hint[:]
	} else if foreign {
		delete(a.req.Header, hintField)
	}
	if edit {
		c.route.filters.Request.Apply(a.req.Header)
	}
}

// BodyEnd accounts for the end of the response, once: a late judgement where
// it differs, then the permits, then the call if this response is the one
// that the caller got.
func (a *attempt) BodyEnd(err error) {
	a.bodyErr = err
	defer func() {
		// Also when code plugged into the mesh panicked.
		a.span.End()
		if a.class == outcome.Success {
			a.slot.Succeeded()
		}
		a.free()
		a.target.end()
		a.settle(ended)
	}()
	a.judgeEnd()
}

// BodyError tells the reader of the body whose time was over, whatever the
// protocol makes of it.
func (a *attempt) BodyError(err error) error { return retry.Cause(a.req.Context(), err) }

// settle ends the call when both the body has ended and it is known that the
// caller got it.
func (a *attempt) settle(what uint32) {
	if was := a.state.Or(what); was|what == ended|delivered && was != ended|delivered {
		d := CallDone{Endpoint: a.target.Addr(), Status: a.resp.StatusCode, Class: a.class, Err: a.bodyErr}
		if a.bodyErr != nil {
			d.Reason = a.call.reason(a.bodyErr)
		}
		a.call.end(d)
	}
}

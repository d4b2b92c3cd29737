package tulletest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestRoundTripper tests whether wrapping a http.RoundTripper changes nothing a
// caller may rely on: the contract of http.RoundTripper, and what callers of
// http.Transport are used to. Each rule is a subtest in a synctest bubble of
// its own, run over HTTP/1.1 and over unencrypted HTTP/2.
//
// The wrap is called anew in each bubble, always with an *http.Transport that
// dials over a network in memory, whose only service is "service.test" (port
// 80). A wrap that brings transports of its own must take over that
// transport's DialContext and Protocols; the addresses service.test:80 and
// 192.0.2.1:80 lead to the same server. If what wrap returns is an io.Closer,
// it is closed before its bubble ends; goroutines that are left then are
// failures.
func TestRoundTripper(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) {
	t.Run("http1", func(t *testing.T) { runClient(subtests(t), clientWorld{wrap: wrap, witness: true, calls: 1000}) })
	t.Run("http2", func(t *testing.T) {
		runClient(subtests(t), clientWorld{wrap: wrap, witness: true, calls: 1000, http2: true})
	})
}

const (
	serviceAddr    = "service.test:80"
	serviceNumeric = "192.0.2.1:80"
	serviceURL     = "http://service.test"
)

func clientRows() []row[*clientWorld] {
	return concat(requestRows(), bodyRows(), repeatRows(), cancelRows(), responseRows(), connectionRows(), bytesRows())
}

func concat[T any](lists ...[]T) []T {
	var all []T
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func runClient(run runner, world clientWorld) {
	for _, row := range clientRows() {
		if row.only == http1 && world.http2 || row.only == http2 && !world.http2 {
			continue
		}
		run(row.name, func(t testing.TB) {
			w := world
			w.t = t
			row.test(t, &w)
		})
	}
}

// clientWorld is one server and one wrapped transport in one bubble.
type clientWorld struct {
	t       testing.TB
	wrap    func(http.RoundTripper) http.RoundTripper
	http2   bool
	calls   int  // how many calls make a row of them
	witness bool // read requests concurrently, so that the race detector sees writers

	network *Network
	base    *http.Transport
	wrapped http.RoundTripper
}

// serve starts the service and wraps a transport to it.
func (w *clientWorld) serve(h http.HandlerFunc) {
	w.t.Helper()
	w.listen(func(n *Network) {
		n.Serve(w.t, serviceAddr, h)
		n.Serve(w.t, serviceNumeric, h)
	})
}

// listen lets start populate a new network and wraps a transport to it.
func (w *clientWorld) listen(start func(n *Network)) {
	w.network = NewNetwork()
	start(w.network)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!w.http2)
	protocols.SetUnencryptedHTTP2(w.http2)
	w.base = &http.Transport{
		DialContext:           w.network.DialContext,
		Protocols:             protocols,
		MaxIdleConnsPerHost:   100,
		ExpectContinueTimeout: time.Hour,
	}
	w.wrapped = w.wrap(w.base)
	w.t.Cleanup(func() {
		if c, ok := w.wrapped.(io.Closer); ok {
			if err := c.Close(); err != nil {
				w.t.Errorf("Close: %v", err)
			}
		}
		w.base.CloseIdleConnections()
	})
}

// request makes a request to the service.
func (w *clientWorld) request(method, path string, body io.Reader) *http.Request {
	w.t.Helper()
	return w.requestContext(w.t.Context(), method, path, body)
}

func (w *clientWorld) requestContext(ctx context.Context, method, path string, body io.Reader) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, serviceURL+path, body)
	if err != nil {
		w.t.Fatalf("making a request: %v", err)
	}
	return r
}

// do makes one call, holds RoundTrip to its contract, and stops the row unless
// there is a response. The body is closed at the row's end at the latest.
func (w *clientWorld) do(r *http.Request) *http.Response {
	w.t.Helper()
	resp, err := w.roundTrip(r)
	if err != nil {
		w.t.Fatalf("RoundTrip: %v", err)
	}
	return resp
}

// fail makes one call that must fail.
func (w *clientWorld) fail(r *http.Request) error {
	w.t.Helper()
	resp, err := w.roundTrip(r)
	if err == nil {
		w.t.Fatalf("RoundTrip returned %s where an error was due", resp.Status)
	}
	return err
}

func (w *clientWorld) roundTrip(r *http.Request) (*http.Response, error) {
	w.t.Helper()
	resp, err := w.wrapped.RoundTrip(r)
	switch {
	case resp != nil && err != nil:
		w.t.Errorf("RoundTrip returned both a response and the error %v", err)
	case resp == nil && err == nil:
		err = errors.New("RoundTrip returned neither a response nor an error")
		w.t.Error(err)
	case err == nil && resp.Body == nil:
		resp, err = nil, errors.New("RoundTrip returned a response without a body")
		w.t.Error(err)
	}
	if resp != nil && resp.Body != nil {
		w.t.Cleanup(func() { resp.Body.Close() })
	}
	return resp, err
}

// refuse makes every dial to the service fail.
func (w *clientWorld) refuse() {
	w.network.Refuse(serviceAddr)
	w.network.Refuse(serviceNumeric)
}

// settle waits until nothing in the bubble moves without time passing.
func (w *clientWorld) settle() { synctest.Wait() }

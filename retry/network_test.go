package retry_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// fleet is a Tryer over real transports: attempt n goes to endpoint n-1.
type fleet struct {
	net       *tulletest.Network
	endpoints []*http.Transport
	in        *http.Request
}

func addr(i int) string { return fmt.Sprintf("10.0.0.%d:80", i+1) }

// newFleet serves each of handlers at an endpoint of its own.
func newFleet(t *testing.T, protocol string, handlers ...http.Handler) *fleet {
	f := &fleet{net: tulletest.NewNetwork()}
	for i, h := range handlers {
		f.net.Serve(t, addr(i), h)
		p := new(http.Protocols)
		p.SetHTTP1(protocol == "HTTP/1.1")
		p.SetUnencryptedHTTP2(protocol == "HTTP/2")
		tr := &http.Transport{Protocols: p, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return f.net.DialContext(ctx, network, addr(i))
		}}
		t.Cleanup(tr.CloseIdleConnections)
		f.endpoints = append(f.endpoints, tr)
	}
	return f
}

// do makes in by loop, a copy of the fleet being its Tryer.
func (f fleet) do(loop *retry.Loop, in *http.Request) (*http.Response, error) {
	f.in = in
	return loop.Do(in.Context(), in, &f)
}

func (f *fleet) Prepare(_ context.Context, n int) (retry.Try, error) {
	return &fleetTry{f, f.endpoints[(n-1)%len(f.endpoints)]}, nil
}

type fleetTry struct {
	*fleet
	endpoint *http.Transport
}

func (a *fleetTry) Release() {}

func (a *fleetTry) Send(ctx context.Context, b retry.Body) (*http.Response, outcome.Outcome, error) {
	out := a.in.WithContext(ctx)
	out.Body, out.GetBody = b.Reader, b.Get
	resp, err := a.endpoint.RoundTrip(out)
	err = retry.Cause(ctx, err)
	return resp, outcome.HTTP{}.Classify(resp, err), err
}

// overBoth runs f in a bubble for each protocol. What is left running when it
// ends fails the test.
func overBoth(t *testing.T, f func(t *testing.T, protocol string)) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Runs last: a server that was closed waits a little for its peers.
				t.Cleanup(func() { time.Sleep(time.Minute); synctest.Wait() })
				f(t, protocol)
			})
		})
	}
}

func requireTimeout(t *testing.T, err error, perTry bool, limit time.Duration) {
	t.Helper()
	var late *retry.TimeoutError
	require.ErrorAs(t, err, &late)
	require.Equal(t, retry.TimeoutError{PerTry: perTry, Limit: limit}, *late)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, context.Canceled)
	require.Equal(t, outcome.Timeout, outcome.HTTP{}.Classify(nil, err).Class)
}

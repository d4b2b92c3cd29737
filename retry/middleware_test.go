package retry_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// reuse makes 200 calls, each refused once with a body of the given size
// and then answered, and returns how many connections that took.
func reuse(t *testing.T, protocol string, size int) int {
	script := &tulletest.Script{}
	for range 200 {
		script.Steps = append(script.Steps, tulletest.Step{Status: 503, Body: strings.Repeat("x", size)}, tulletest.Step{Body: "hello"})
	}
	f := newFleet(t, protocol, script)
	client := &http.Client{Transport: newLoop(t, retry.Options{Policy: &retry.Policy{Budget: retry.BudgetPolicy{Ratio: -1}}}).Middleware(nil)(f.endpoints[0])}
	for range 200 {
		resp, err := client.Get("http://service.test/")
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		require.NoError(t, resp.Body.Close())
	}
	require.Equal(t, 400, script.Count())
	return f.net.Opened(addr(0))
}

func TestConnectionsAreReused(t *testing.T) {
	overBoth(t, func(t *testing.T, protocol string) {
		require.Equal(t, 1, reuse(t, protocol, 1000))
	})
	t.Run("negative control", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			require.Greater(t, reuse(t, "HTTP/1.1", 100_000), 200, "bodies too long to read cost their connections")
		})
	})
}

func TestValuesOfRetryablehttpFit(t *testing.T) {
	for name, p := range map[string]retry.Policy{
		"DefaultRetryPolicy":           {CheckRetry: retryablehttp.DefaultRetryPolicy},
		"ErrorPropagatedRetryPolicy":   {CheckRetry: retryablehttp.ErrorPropagatedRetryPolicy},
		"DefaultBackoff":               {CheckRetry: retryablehttp.DefaultRetryPolicy, Backoff: retry.Backoff{Func: retryablehttp.DefaultBackoff, Base: second, Max: second}},
		"LinearJitterBackoff":          {CheckRetry: retryablehttp.DefaultRetryPolicy, Backoff: retry.Backoff{Func: retryablehttp.LinearJitterBackoff, Base: second, Max: second}},
		"RateLimitLinearJitterBackoff": {CheckRetry: retryablehttp.DefaultRetryPolicy, Backoff: retry.Backoff{Func: retryablehttp.RateLimitLinearJitterBackoff, Base: second, Max: second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p.Attempts = 3
				for _, c := range []struct {
					results []result
					sent    int
					status  int
				}{
					{[]result{{status: 500}, {err: errReset}, {status: 200}}, 3, 200},
					{[]result{{status: 429}, {status: 200}}, 2, 200},
					{[]result{{status: 501}, {status: 200}}, 1, 501},
					{[]result{{status: 404}, {status: 200}}, 1, 404},
					{[]result{{status: 500}, {status: 502}, {status: 503}}, 3, 503},
				} {
					tr := &tryer{t: t, results: c.results}
					resp, err := newLoop(t, retry.Options{Policy: &p}).Do(t.Context(), newRequest(t, "GET", nil), tr)
					require.NoError(t, err, "a response stays a response")
					require.Equal(t, c.status, resp.StatusCode)
					require.Equal(t, c.sent, tr.calls())
					if c.sent == 3 && p.Backoff.Func != nil {
						if name == "DefaultBackoff" {
							require.Equal(t, second, tr.sent[1].Sub(tr.sent[0]))
							require.Equal(t, second, tr.sent[2].Sub(tr.sent[1]))
						} else {
							require.Equal(t, second, tr.sent[1].Sub(tr.sent[0]))
							require.Equal(t, 2*second, tr.sent[2].Sub(tr.sent[1]), "linear, from attempt 0 on")
						}
					}
				}
				tr := &tryer{t: t, results: []result{{status: 500}}}
				resp, err := newLoop(t, retry.Options{Policy: &p}).Do(t.Context(), newRequest(t, "POST", nil), tr)
				require.NoError(t, err)
				require.Equal(t, 500, resp.StatusCode, "only what is safe is repeated")
			})
		})
	}
}

func TestTheClassifierJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := &tulletest.Script{Steps: []tulletest.Step{{Header: http.Header{"Grpc-Status": {"14"}}}}}
		f := newFleet(t, "HTTP/2", script)
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{On: []outcome.Class{outcome.Gateway}, Idempotent: true}})
		resp, err := loop.Middleware(outcome.GRPC{})(f.endpoints[0]).RoundTrip(newRequest(t, "POST", nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 2, script.Count())
		resp, err = loop.Middleware(nil)(f.endpoints[0]).RoundTrip(newRequest(t, "POST", nil))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 3, script.Count())
	})
}

// counting counts what reaches a RoundTripper.
type counting struct {
	http.RoundTripper
	idle int
	seen []*http.Request
}

func (c *counting) CloseIdleConnections() { c.idle++ }

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.seen = append(c.seen, r)
	return &http.Response{StatusCode: 503, Body: http.NoBody, Request: r}, nil
}

func TestTheRequestOfAResponseIsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &counting{}
		rt := newLoop(t, retry.Options{Policy: &retry.Policy{}, Timeout: time.Minute}).Middleware(nil)(next)
		in := newRequest(t, "PUT", strings.NewReader("x"))
		in.Trailer = http.Header{"Checksum": nil}
		cancel := make(chan struct{})
		//lint:ignore SA1019 callers may set it
		in.Cancel = cancel
		resp, err := rt.RoundTrip(in)
		require.NoError(t, err)
		require.Same(t, in, resp.Request)
		require.Len(t, next.seen, 2)
		for _, r := range next.seen {
			require.NotSame(t, in, r)
			r.Trailer["Checksum"] = []string{"late"}
			require.Equal(t, "late", in.Trailer.Get("Checksum"), "the trailers are shared")
			//lint:ignore SA1019 callers may set it
			require.NotNil(t, r.Cancel)
		}
		client := http.Client{Transport: rt}
		client.CloseIdleConnections()
		require.Equal(t, 1, next.idle)
	})
}

func TestNilWrapsTheDefaultTransport(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: &tulletest.Script{}}
	go func() { _ = server.Serve(l) }()
	defer func() { _ = server.Close() }()
	in, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String(), nil)
	require.NoError(t, err)
	resp, err := newLoop(t, retry.Options{}).Middleware(nil)(nil).RoundTrip(in)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestABrokenRoundTripperIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, o := range []retry.Options{{}, {Policy: &retry.Policy{}}, {Timeout: time.Minute}} {
			resp, err := newLoop(t, o).Middleware(nil)(roundTripFunc(func(*http.Request) (*http.Response, error) {
				return nil, nil
			})).RoundTrip(newRequest(t, "GET", nil))
			require.Error(t, err)
			require.Nil(t, resp)
			body := &requestBody{Reader: strings.NewReader("")}
			resp, err = newLoop(t, o).Middleware(nil)(roundTripFunc(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: body}, context.Canceled
			})).RoundTrip(newRequest(t, "GET", nil))
			require.Equal(t, context.Canceled, err)
			require.Nil(t, resp)
			require.EqualValues(t, 1, body.closed.Load())
		}
	})
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

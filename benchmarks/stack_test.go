package benchmarks

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/discovery"
)

// Every stack that retries makes two attempts, waits 25 to 250 ms between
// them, and every one with a time-out has a minute.
const (
	retries   = 1
	minWait   = 25 * time.Millisecond
	maxWait   = 250 * time.Millisecond
	timeLimit = time.Minute
)

// placesInFlight is the limit of whatever bounds calls at once.
const placesInFlight = 1024

// service is the name that the balancing stacks are called by.
const service = "reviews"

// fleet is what a stack calls: endpoints, and the transport that reaches them.
type fleet struct {
	addrs     []string
	transport http.RoundTripper
}

// stack is one row: a way to make a client.
type stack struct {
	name string
	wrap func(testing.TB, fleet) http.RoundTripper
	// What the stack does; TestStacks holds it to each of these, and to the
	// absence of the others.
	balances, retries, repeatsPost, timeLimit, breaks, avoids, limits, traces bool
}

func stacks() []stack {
	return []stack{
		{
			name: "bare",
			wrap: func(_ testing.TB, f fleet) http.RoundTripper { return f.transport },
		},
		{
			name:     "tulle",
			wrap:     func(tb testing.TB, f fleet) http.RoundTripper { return mesh(tb, f, tulle.Policies{}) },
			balances: true, avoids: true,
		},
		{
			name:     "tulle+recommended",
			wrap:     func(tb testing.TB, f fleet) http.RoundTripper { return mesh(tb, f, tulle.Recommended()) },
			balances: true, retries: true, avoids: true,
		},
		{
			name: "tulle+recommended+timeout",
			wrap: func(tb testing.TB, f fleet) http.RoundTripper {
				p := tulle.Recommended()
				p.Timeout = timeLimit
				return mesh(tb, f, p)
			},
			balances: true, retries: true, timeLimit: true, avoids: true,
		},
		{
			name:     "tulle+everything",
			wrap:     func(tb testing.TB, f fleet) http.RoundTripper { return mesh(tb, f, everything()) },
			balances: true, retries: true, timeLimit: true, breaks: true, avoids: true, limits: true,
		},
		{
			name: "tulle+everything+otel",
			wrap: func(tb testing.TB, f fleet) http.RoundTripper {
				return mesh(tb, f, everything(),
					tulle.WithTracerProvider(nooptrace.NewTracerProvider()),
					tulle.WithMeterProvider(noopmetric.NewMeterProvider()))
			},
			balances: true, retries: true, timeLimit: true, breaks: true, avoids: true, limits: true, traces: true,
		},
		{
			name: "failsafehttp+retry",
			wrap: func(_ testing.TB, f fleet) http.RoundTripper {
				return failsafehttp.NewRoundTripper(f.transport, retryPolicy())
			},
			retries: true, repeatsPost: true,
		},
		{
			name: "failsafehttp+retry+breaker+timeout",
			wrap: func(_ testing.TB, f fleet) http.RoundTripper {
				return failsafehttp.NewRoundTripper(f.transport, retryPolicy(), breakerPolicy(), timeoutPolicy())
			},
			retries: true, repeatsPost: true, timeLimit: true, breaks: true,
		},
		{
			name: "retryablehttp",
			wrap: func(_ testing.TB, f fleet) http.RoundTripper {
				c := retryablehttp.NewClient()
				c.HTTPClient = &http.Client{Transport: f.transport}
				c.Logger = nil
				c.RetryMax, c.RetryWaitMin, c.RetryWaitMax = retries, minWait, maxWait
				return &retryablehttp.RoundTripper{Client: c}
			},
			retries: true, repeatsPost: true,
		},
		{
			name:   "otelhttp",
			wrap:   func(_ testing.TB, f fleet) http.RoundTripper { return traced(f.transport) },
			traces: true,
		},
		{
			// What is nearest to tulle+recommended+timeout in what it does.
			name: "roundrobin+failsafehttp+retry+timeout",
			wrap: func(_ testing.TB, f fleet) http.RoundTripper {
				return failsafehttp.NewRoundTripper(newRoundRobin(f), retryPolicy(), timeoutPolicy())
			},
			balances: true, retries: true, repeatsPost: true, timeLimit: true,
		},
		{
			// What services are commonly put together of.
			name: "roundrobin+failsafehttp+retry+breaker+timeout+otelhttp",
			wrap: func(_ testing.TB, f fleet) http.RoundTripper {
				return traced(failsafehttp.NewRoundTripper(newRoundRobin(f), retryPolicy(), breakerPolicy(), timeoutPolicy()))
			},
			balances: true, retries: true, repeatsPost: true, timeLimit: true, breaks: true, traces: true,
		},
	}
}

// everything returns all the policies that watch, bound or repeat calls. The
// defaults of both breakers are those of breakerPolicy.
func everything() tulle.Policies {
	p := tulle.Recommended()
	p.Timeout = timeLimit
	p.Breaker, p.EndpointBreaker = &breaker.Policy{}, &breaker.Policy{}
	p.Limit = &breaker.Limit{InFlight: placesInFlight}
	return p
}

// mesh returns a mesh of one service at the addresses of f. A transport that
// is no *http.Transport stands in for those that the mesh makes for endpoints.
func mesh(tb testing.TB, f fleet, p tulle.Policies, opts ...tulle.Option) http.RoundTripper {
	tb.Helper()
	opts = append(opts, tulle.WithTransport(f.transport))
	if _, dials := f.transport.(*http.Transport); !dials {
		opts = append(opts, tulle.WithAttemptMiddleware(func(http.RoundTripper) http.RoundTripper { return f.transport }))
	}
	m, err := tulle.New(tulle.Config{
		Services: []tulle.Service{{
			Name:       service,
			Resolver:   discovery.Addrs(f.addrs...),
			Connection: tulle.Connection{MaxIdle: maxIdle},
		}},
		Policies: p,
	}, opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() {
		m.Transport().(interface{ CloseIdleConnections() }).CloseIdleConnections()
		_ = m.Shutdown(context.Background())
	})
	require.NoError(tb, m.Ready(tb.Context()))
	return m.Transport()
}

func retryPolicy() failsafe.Policy[*http.Response] {
	return failsafehttp.NewRetryPolicyBuilder().WithMaxRetries(retries).WithBackoff(minWait, maxWait).Build()
}

// breakerPolicy opens when half of at least 20 attempts within 10 s failed.
func breakerPolicy() failsafe.Policy[*http.Response] {
	return circuitbreaker.NewBuilder[*http.Response]().
		HandleIf(func(resp *http.Response, err error) bool { return err != nil || resp != nil && resp.StatusCode >= 500 }).
		WithFailureRateThreshold(.5, 20, 10*time.Second).
		Build()
}

// timeoutPolicy bounds each attempt, being innermost; around the retries it
// costs the same.
func timeoutPolicy() failsafe.Policy[*http.Response] {
	return timeout.New[*http.Response](timeLimit)
}

func traced(rt http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(rt,
		otelhttp.WithTracerProvider(nooptrace.NewTracerProvider()),
		otelhttp.WithMeterProvider(noopmetric.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.TraceContext{}))
}

// hosts returns the hosts that calls through the stack name: that of the
// service, or for one that does not balance those of the endpoints in turn.
func (s stack) hosts(f fleet) []string {
	if s.balances {
		return []string{service}
	}
	return slices.Clone(f.addrs)
}

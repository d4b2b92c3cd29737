package fetch

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	retries   = 2
	retryMax  = 200 * time.Millisecond
	redirects = 3
	// maxPause bounds what a server can ask for with Retry-After.
	maxPause = 5 * time.Minute
)

var errRedirect = errors.New("redirects to another scheme or host, or again and again")

// Client returns a client over a transport: a request has the timeout for each
// of its three tries, with about wait between them and then twice that. What
// final reports is not tried again; nil reports nothing. It is no *http.Client, so that what repeats requests can
// close idle connections of nobody else's.
func Client(transport http.RoundTripper, timeout, wait time.Duration, final func(error) bool) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			// The wrapper hides CloseIdleConnections: after each failure it
			// would be called, for all hosts.
			Transport: struct{ http.RoundTripper }{transport},
			Timeout:   timeout,
			CheckRedirect: func(next *http.Request, via []*http.Request) error {
				first := via[0].URL
				if next.URL.Scheme != first.Scheme || next.URL.Host != first.Host || len(via) > redirects {
					return errRedirect
				}
				return nil
			},
		},
		RetryMax:     retries,
		RetryWaitMin: wait,
		RetryWaitMax: retryMax,
		CheckRetry: func(ctx context.Context, resp *http.Response, err error) (bool, error) {
			return passing(ctx, resp, err) && (err == nil || final == nil || !final(err)), nil
		},
		Backoff: func(least, most time.Duration, n int, _ *http.Response) time.Duration {
			d := min(least<<n, most)
			return d - time.Duration(rand.Float64()*float64(d)/2)
		},
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// passing tells failures that a moment later may be over.
func passing(ctx context.Context, resp *http.Response, err error) bool {
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		return !errors.Is(err, errRedirect)
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return RetryAfter(resp.Header, time.Now()) == 0
	}
	return false
}

// RetryAfter returns for how long a server wants to be left alone, at most 5
// minutes, 0 if it does not say. RFC 9110: "Retry-After = HTTP-date /
// delay-seconds".
func RetryAfter(h http.Header, now time.Time) time.Duration {
	field := h.Get("Retry-After")
	if n, err := strconv.ParseUint(field, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, maxPause)
	}
	if at, err := http.ParseTime(field); err == nil {
		return min(max(0, at.Sub(now)), maxPause)
	}
	return 0
}

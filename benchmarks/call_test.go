package benchmarks

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// kib is the length of uploads, and of responses on loopback.
const kib = 1024

// caller makes calls one after the other, as a handler of a server would: each
// with a context that is cancelled when the call is over. It is what every
// stack does the same work through, for one goroutine.
type caller struct {
	rt       http.RoundTripper
	requests []*http.Request // in turn, one for each host
	next     int
	conn     context.Context // outlives the calls, as that of a connection does
	upload   []byte
	buf      []byte
}

type connKey struct{}

func newCaller(tb testing.TB, rt http.RoundTripper, hosts []string) *caller {
	tb.Helper()
	conn, cancel := context.WithCancel(context.WithValue(context.Background(), connKey{}, "a value"))
	tb.Cleanup(cancel)
	c := &caller{rt: rt, conn: conn, upload: bytes.Repeat([]byte("x"), kib), buf: make([]byte, 2*kib)}
	for _, host := range hosts {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+host+"/a/path", nil)
		require.NoError(tb, err)
		req.Header.Set("Accept", "text/plain")
		c.requests = append(c.requests, req)
	}
	return c
}

func (c *caller) request() *http.Request {
	r := c.requests[c.next]
	c.next++
	if c.next == len(c.requests) {
		c.next = 0
	}
	return r
}

// shared gets with a request that all calls have in common.
func (c *caller) shared() error {
	_, err := c.do(c.request())
	return err
}

// get gets with a request-scoped context.
func (c *caller) get() error {
	ctx, cancel := context.WithCancel(c.conn)
	defer cancel()
	_, err := c.do(c.request().WithContext(ctx))
	return err
}

// post uploads 1 KiB that can be read again, with a request-scoped context.
func (c *caller) post() error {
	ctx, cancel := context.WithCancel(c.conn)
	defer cancel()
	_, err := c.send(ctx, http.MethodPost)
	return err
}

// send returns the status of an upload.
func (c *caller) send(ctx context.Context, method string) (int, error) {
	r := c.request().WithContext(ctx)
	r.Method = method
	r.ContentLength = int64(len(c.upload))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.upload)), nil }
	r.Body, _ = r.GetBody()
	return c.do(r)
}

// do reads the response to its end and closes it.
func (c *caller) do(r *http.Request) (int, error) {
	resp, err := c.rt.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for {
		if _, err := resp.Body.Read(c.buf); err == io.EOF {
			return resp.StatusCode, nil
		} else if err != nil {
			return 0, err
		}
	}
}

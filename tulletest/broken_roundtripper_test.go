//go:build !race

// Wrappers that break rules may also race, which is not what is tested here.

package tulletest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// breaker makes a RoundTripper that does call, and is well-behaved in all else.
func breaker(call func(next http.RoundTripper, r *http.Request) (*http.Response, error)) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper { return brokenTripper{next, call} }
}

type brokenTripper struct {
	next http.RoundTripper
	call func(next http.RoundTripper, r *http.Request) (*http.Response, error)
}

func (b brokenTripper) RoundTrip(r *http.Request) (*http.Response, error) { return b.call(b.next, r) }
func (b brokenTripper) CloseIdleConnections() {
	(&http.Client{Transport: b.next}).CloseIdleConnections()
}

// onCopy lets change spoil a copy of the request and hides the copy from the
// caller.
func onCopy(change func(r *http.Request)) func(http.RoundTripper) http.RoundTripper {
	return breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		c := r.WithContext(r.Context())
		if r.URL != nil {
			u := *r.URL
			c.URL = &u
		}
		c.Header = r.Header.Clone()
		change(c)
		resp, err := next.RoundTrip(c)
		if resp != nil {
			resp.Request = r
		}
		return resp, err
	})
}

// onBody lets change replace the bodies of responses, except for http.NoBody
// and those of switched protocols.
func onBody(change func(r *http.Request, body io.ReadCloser) io.ReadCloser) func(http.RoundTripper) http.RoundTripper {
	return breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && resp.Body != http.NoBody && resp.StatusCode != http.StatusSwitchingProtocols {
			resp.Body = change(r, resp.Body)
		}
		return resp, err
	})
}

type readCloser struct {
	io.Reader
	close func() error
}

func (r readCloser) Close() error { return r.close() }

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func hasBody(r *http.Request) bool { return r.Body != nil && r.Body != http.NoBody }

// endsOnError makes every error of r its end.
func endsOnError(r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if err != nil {
			err = io.EOF
		}
		return n, err
	})
}

// again sends r a second time.
func again(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	c := r.WithContext(r.Context())
	if r.GetBody != nil {
		c.Body, _ = r.GetBody()
	}
	resp, err := next.RoundTrip(c)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// cutValues cuts values after 8 KiB.
func cutValues(h http.Header) {
	for name, values := range h {
		for i, v := range values {
			h[name][i] = v[:min(len(v), 8<<10)]
		}
	}
}

var brokenTrippers = []struct {
	name string
	wrap func(http.RoundTripper) http.RoundTripper
}{
	{"adds a header to the caller's request", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if r.Header != nil {
			r.Header.Set("X-Added", "1")
		}
		return next.RoundTrip(r)
	})},
	{"changes the caller's request for the time of the call", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		host := r.Host
		r.Host = strings.ToUpper(host)
		defer func() { r.Host = host }()
		return next.RoundTrip(r)
	})},
	{"changes the caller's request when the body closes", onBody(func(r *http.Request, body io.ReadCloser) io.ReadCloser {
		return readCloser{body, func() error { r.Header.Set("X-Done", "1"); return body.Close() }}
	})},
	{"returns its clone of the request", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		return next.RoundTrip(r.WithContext(r.Context()))
	})},
	{"clones the trailer", onCopy(func(r *http.Request) { r.Trailer = r.Trailer.Clone() })},
	{"touches the URL before looking at it", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		_ = r.URL.Host
		return next.RoundTrip(r)
	})},
	{"sends the URL's host", onCopy(func(r *http.Request) { r.Host = "" })},
	{"cleans the path", onCopy(func(r *http.Request) {
		if r.URL != nil {
			r.URL.RawPath = ""
		}
	})},
	{"canonicalises header names", onCopy(func(r *http.Request) {
		for name, values := range r.Header {
			if c := http.CanonicalHeaderKey(name); c != name {
				delete(r.Header, name)
				r.Header[c] = values
			}
		}
	})},
	{"keeps one value of each header", onCopy(func(r *http.Request) {
		for name, values := range r.Header {
			if len(values) > 1 {
				r.Header[name] = values[:1]
			}
		}
	})},
	{"adds a cookie", onCopy(func(r *http.Request) {
		if r.Header != nil {
			r.AddCookie(&http.Cookie{Name: "jar", Value: "1"})
		}
	})},
	{"loses the context's values", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithCancelCause(context.Background())
		if err := r.Context().Err(); err != nil {
			cancel(err)
		}
		stop := context.AfterFunc(r.Context(), func() { cancel(r.Context().Err()) })
		defer stop()
		c := r.WithContext(ctx)
		resp, err := next.RoundTrip(c)
		if resp != nil {
			resp.Request = r
		}
		return resp, err
	})},
	{"swallows the closing of the body", onCopy(func(r *http.Request) {
		if hasBody(r) {
			r.Body = readCloser{r.Body, func() error { return nil }}
		}
	})},
	{"refuses without closing the body", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		return next.RoundTrip(r)
	})},
	{"reads the body into memory", onCopy(func(r *http.Request) {
		if hasBody(r) {
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			r.Body = io.NopCloser(bytes.NewReader(b))
		}
	})},
	{"forgets the length", onCopy(func(r *http.Request) {
		if hasBody(r) {
			r.ContentLength = -1
		}
	})},
	{"finds out the length", onCopy(func(r *http.Request) {
		if hasBody(r) && r.ContentLength <= 0 {
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		}
	})},
	{"wraps absent bodies", onCopy(func(r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			r.Body = io.NopCloser(strings.NewReader(""))
			r.ContentLength = -1
		}
	})},
	{"truncates large bodies", onCopy(func(r *http.Request) {
		if hasBody(r) {
			r.Body = readCloser{io.LimitReader(r.Body, 1<<20), r.Body.Close}
		}
	})},
	{"drops the expectation", onCopy(func(r *http.Request) { r.Header.Del("Expect") })},
	{"looks into the body", onCopy(func(r *http.Request) {
		if hasBody(r) {
			b := make([]byte, 1)
			n, _ := r.Body.Read(b)
			r.Body = readCloser{io.MultiReader(bytes.NewReader(b[:n]), r.Body), r.Body.Close}
		}
	})},
	{"takes a failing body for its end", onCopy(func(r *http.Request) {
		if hasBody(r) {
			r.Body = readCloser{endsOnError(r.Body), r.Body.Close}
		}
	})},
	{"parses the form", onCopy(func(r *http.Request) { r.ParseForm() })},
	{"drops GetBody", onCopy(func(r *http.Request) { r.GetBody = nil })},
	{"gives an empty body the second time", onCopy(func(r *http.Request) {
		if r.GetBody != nil {
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }
		}
	})},
	{"repeats a POST answered with 500", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && r.Method == "POST" && resp.StatusCode == 500 && (!hasBody(r) || r.GetBody != nil) {
			resp.Body.Close()
			return again(next, r)
		}
		return resp, err
	})},
	{"repeats a lost POST", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil && r.GetBody != nil && r.Context().Err() == nil {
			return again(next, r)
		}
		return resp, err
	})},
	{"forgets the port", onCopy(func(r *http.Request) {
		if r.URL != nil {
			r.URL.Host = strings.TrimSuffix(r.URL.Host, ":80")
			r.Host = strings.TrimSuffix(r.Host, ":80")
		}
	})},
	{"cuts large header values", onCopy(func(r *http.Request) { cutValues(r.Header) })},
	{"cuts large header values of responses", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil {
			cutValues(resp.Header)
		}
		return resp, err
	})},
	{"closes after reading", onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		turn := make(chan struct{}, 1)
		return readCloser{readerFunc(func(p []byte) (int, error) {
			turn <- struct{}{}
			defer func() { <-turn }()
			return body.Read(p)
		}), func() error {
			turn <- struct{}{}
			defer func() { <-turn }()
			return body.Close()
		}}
	})},
	{"locks the response's body", onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		var mu sync.Mutex
		return readCloser{readerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return body.Read(p)
		}), func() error {
			mu.Lock()
			defer mu.Unlock()
			return body.Close()
		}}
	})},
	{"starts ended calls", onCopy(func(r *http.Request) {
		if r.Context().Err() != nil {
			*r = *r.WithContext(context.Background())
		}
	})},
	{"gives the context's error a new face", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if r.Context().Err() != nil && err != nil {
			err = errors.New("the call failed")
		}
		return resp, err
	})},
	{"hides what failed", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil && r.Context().Err() == nil {
			err = errors.New("the call failed")
		}
		return resp, err
	})},
	{"cancels when RoundTrip returns", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithCancel(r.Context())
		resp, err := next.RoundTrip(r.WithContext(ctx))
		cancel()
		if resp != nil {
			<-time.After(time.Nanosecond) // lets the transport notice before the caller reads
			resp.Request = r
		}
		return resp, err
	})},
	{"gives the whole call five minutes", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Minute)
		context.AfterFunc(ctx, cancel)
		resp, err := next.RoundTrip(r.WithContext(ctx))
		if resp != nil {
			resp.Request = r
		}
		return resp, err
	})},
	{"detaches the body from the context", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		if r.Context().Err() != nil {
			cancel()
		}
		stop := context.AfterFunc(r.Context(), cancel)
		resp, err := next.RoundTrip(r.WithContext(ctx))
		stop()
		if resp != nil {
			resp.Request = r
		} else {
			cancel()
			if r.Context().Err() != nil {
				err = r.Context().Err()
			}
		}
		return resp, err
	})},
	{"drops the cancel channel", onCopy(func(r *http.Request) { setCancel(r, nil) })},
	{"closes the connection when cancelled after the end", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		context.AfterFunc(r.Context(), next.(*http.Transport).CloseIdleConnections)
		return resp, err
	})},
	{"does one call after the other", func(next http.RoundTripper) http.RoundTripper {
		turn := make(chan struct{}, 1)
		return breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			turn <- struct{}{}
			var once sync.Once
			done := func() { once.Do(func() { <-turn }) }
			resp, err := next.RoundTrip(r)
			if err != nil || resp.Body == http.NoBody || resp.StatusCode == http.StatusSwitchingProtocols {
				done()
				return resp, err
			}
			body := resp.Body
			resp.Body = readCloser{readerFunc(func(p []byte) (int, error) {
				n, err := body.Read(p)
				if err != nil {
					done()
				}
				return n, err
			}), func() error { done(); return body.Close() }}
			return resp, err
		})(next)
	}},
	{"makes errors of statuses", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && resp.StatusCode >= 500 {
			resp.Body.Close()
			return nil, errors.New(resp.Status)
		}
		return resp, err
	})},
	{"returns a response with its error", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil {
			resp = &http.Response{StatusCode: 503, Body: http.NoBody, Request: r}
		}
		return resp, err
	})},
	{"answers in place of an error", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil {
			return &http.Response{Status: "503 ", StatusCode: 503, Body: http.NoBody, Request: r}, nil
		}
		return resp, err
	})},
	{"follows redirects", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && resp.Header.Get("Location") != "" && resp.StatusCode/100 == 3 {
			resp.Body.Close()
			resp, err = next.RoundTrip(r)
		}
		return resp, err
	})},
	{"adds a response header", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil {
			resp.Header.Set("X-Order", "mine")
		}
		return resp, err
	})},
	{"drops the length of responses without a body", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && (r.Method == "HEAD" || resp.StatusCode == 304) {
			resp.ContentLength = 0
			resp.Header.Del("X-Kept")
		}
		return resp, err
	})},
	{"wraps http.NoBody", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && resp.Body == http.NoBody {
			resp.Body = io.NopCloser(http.NoBody)
		}
		return resp, err
	})},
	{"hides the writer of a 101", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
			resp.Body = struct{ io.ReadCloser }{resp.Body}
		}
		return resp, err
	})},
	{"asks for gzip", onCopy(func(r *http.Request) {
		if r.Header != nil && r.Header.Get("Accept-Encoding") == "" {
			r.Header.Set("Accept-Encoding", "gzip")
		}
	})},
	{"takes the caller's encoding away", onCopy(func(r *http.Request) { r.Header.Del("Accept-Encoding") })},
	{"copies the response's trailer", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil {
			c := *resp
			c.Trailer = resp.Trailer.Clone()
			return &c, nil
		}
		return resp, err
	})},
	{"reads the response into memory", onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		b, err := io.ReadAll(body)
		body.Close()
		return readCloser{io.MultiReader(bytes.NewReader(b), readerFunc(func([]byte) (int, error) {
			if err == nil {
				err = io.EOF
			}
			return 0, err
		})), func() error { return nil }}
	})},
	{"caps the response", onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		return readCloser{io.LimitReader(body, 1<<20), body.Close}
	})},
	{"takes a broken body for its end", onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		return readCloser{endsOnError(body), body.Close}
	})},
	{"closes once", func(next http.RoundTripper) http.RoundTripper {
		return onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
			closed := false
			return readCloser{body, func() error {
				if closed {
					return errors.New("already closed")
				}
				closed = true
				return body.Close()
			}}
		})(next)
	}},
	{"does not close", onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		return readCloser{body, func() error { return nil }}
	})},
	{"opens a connection for each call", onCopy(func(r *http.Request) { r.Close = true })},
	{"hides CloseIdleConnections", func(next http.RoundTripper) http.RoundTripper {
		return struct{ http.RoundTripper }{next}
	}},
	{"leaves a goroutine behind when cancelled", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if errors.Is(err, context.DeadlineExceeded) {
			go func() { select {} }()
		}
		return resp, err
	})},
	{"sends everything twice", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if resp, err := next.RoundTrip(r); err == nil && r.Body == nil && r.Header.Get("Upgrade") == "" {
			resp.Body.Close()
			return next.RoundTrip(r)
		} else {
			return resp, err
		}
	})},
}

func TestBrokenRoundTrippers(t *testing.T) {
	unfailed := protocolsOf(clientRows())
	for _, b := range brokenTrippers {
		t.Run(b.name, func(t *testing.T) {
			judgeRoundTripper(t, b.wrap).check(t, brokenTripperRows[b.name], protocolsOf(clientRows()), unfailed)
		})
	}
	// A row that no broken wrapper fails has not shown that it can fail.
	assert.Empty(t, slices.Sorted(maps.Keys(unfailed)), "rows that nothing fails")
	assert.Len(t, brokenTripperRows, len(brokenTrippers))
}

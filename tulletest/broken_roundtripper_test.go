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

var brokenTrippers = []struct {
	name  string
	wrap  func(http.RoundTripper) http.RoundTripper
	fails []string
}{
	{"adds a header to the caller's request", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if r.Header != nil {
			r.Header.Set("X-Added", "1")
		}
		return next.RoundTrip(r)
	}), nil},
	{"changes the caller's request for the time of the call", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		host := r.Host
		r.Host = strings.ToUpper(host)
		defer func() { r.Host = host }()
		return next.RoundTrip(r)
	}), nil},
	{"changes the caller's request when the body closes", onBody(func(r *http.Request, body io.ReadCloser) io.ReadCloser {
		return readCloser{body, func() error { r.Header.Set("X-Done", "1"); return body.Close() }}
	}), nil},
	{"returns its clone of the request", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		return next.RoundTrip(r.WithContext(r.Context()))
	}), nil},
	{"clones the trailer", onCopy(func(r *http.Request) { r.Trailer = r.Trailer.Clone() }), nil},
	{"touches the URL before looking at it", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		_ = r.URL.Host
		return next.RoundTrip(r)
	}), nil},
	{"sends the URL's host", onCopy(func(r *http.Request) { r.Host = "" }), nil},
	{"cleans the path", onCopy(func(r *http.Request) {
		if r.URL != nil {
			r.URL.RawPath = ""
		}
	}), nil},
	{"canonicalises header names", onCopy(func(r *http.Request) {
		for name, values := range r.Header {
			if c := http.CanonicalHeaderKey(name); c != name {
				delete(r.Header, name)
				r.Header[c] = values
			}
		}
	}), nil},
	{"keeps one value of each header", onCopy(func(r *http.Request) {
		for name, values := range r.Header {
			if len(values) > 1 {
				r.Header[name] = values[:1]
			}
		}
	}), nil},
	{"adds a cookie", onCopy(func(r *http.Request) {
		if r.Header != nil {
			r.AddCookie(&http.Cookie{Name: "jar", Value: "1"})
		}
	}), nil},
	{"loses the context's values", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithCancelCause(context.Background())
		stop := context.AfterFunc(r.Context(), func() { cancel(r.Context().Err()) })
		defer stop()
		c := r.WithContext(ctx)
		resp, err := next.RoundTrip(c)
		if resp != nil {
			resp.Request = r
		}
		return resp, err
	}), nil},
	{"swallows the closing of the body", onCopy(func(r *http.Request) {
		if hasBody(r) {
			r.Body = readCloser{r.Body, func() error { return nil }}
		}
	}), nil},
	{"refuses without closing the body", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		return next.RoundTrip(r)
	}), nil},
	{"reads the body into memory", onCopy(func(r *http.Request) {
		if hasBody(r) {
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			r.Body = io.NopCloser(bytes.NewReader(b))
		}
	}), nil},
	{"forgets the length", onCopy(func(r *http.Request) {
		if hasBody(r) {
			r.ContentLength = -1
		}
	}), nil},
	{"finds out the length", onCopy(func(r *http.Request) {
		if hasBody(r) && r.ContentLength <= 0 {
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		}
	}), nil},
	{"wraps absent bodies", onCopy(func(r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			r.Body = io.NopCloser(strings.NewReader(""))
			r.ContentLength = -1
		}
	}), nil},
	{"truncates large bodies", onCopy(func(r *http.Request) {
		if hasBody(r) {
			r.Body = readCloser{io.LimitReader(r.Body, 1<<20), r.Body.Close}
		}
	}), nil},
	{"drops the expectation", onCopy(func(r *http.Request) { r.Header.Del("Expect") }), nil},
	{"looks into the body", onCopy(func(r *http.Request) {
		if hasBody(r) {
			b := make([]byte, 1)
			n, _ := r.Body.Read(b)
			r.Body = readCloser{io.MultiReader(bytes.NewReader(b[:n]), r.Body), r.Body.Close}
		}
	}), nil},
	{"starts ended calls", onCopy(func(r *http.Request) {
		if r.Context().Err() != nil {
			*r = *r.WithContext(context.Background())
		}
	}), nil},
	{"gives the context's error a new face", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if r.Context().Err() != nil && err != nil {
			err = errors.New("the call failed")
		}
		return resp, err
	}), nil},
	{"hides what failed", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil && r.Context().Err() == nil {
			err = errors.New("the call failed")
		}
		return resp, err
	}), nil},
	{"cancels when RoundTrip returns", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		resp, err := next.RoundTrip(r.WithContext(ctx))
		if resp != nil {
			resp.Request = r
		}
		return resp, err
	}), nil},
	{"gives the whole call a minute", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		context.AfterFunc(ctx, cancel)
		resp, err := next.RoundTrip(r.WithContext(ctx))
		if resp != nil {
			resp.Request = r
		}
		return resp, err
	}), nil},
	{"detaches the body from the context", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
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
	}), nil},
	{"drops the cancel channel", onCopy(func(r *http.Request) { r.Cancel = nil }), nil},
	{"closes the connection when cancelled after the end", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		context.AfterFunc(r.Context(), next.(*http.Transport).CloseIdleConnections)
		return resp, err
	}), nil},
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
	}, nil},
	{"makes errors of statuses", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && resp.StatusCode >= 500 {
			resp.Body.Close()
			return nil, errors.New(resp.Status)
		}
		return resp, err
	}), nil},
	{"returns a response with its error", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil {
			resp = &http.Response{StatusCode: 503, Body: http.NoBody, Request: r}
		}
		return resp, err
	}), nil},
	{"answers in place of an error", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil {
			return &http.Response{Status: "503 ", StatusCode: 503, Body: http.NoBody, Request: r}, nil
		}
		return resp, err
	}), nil},
	{"follows redirects", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && resp.Header.Get("Location") != "" && resp.StatusCode/100 == 3 {
			resp.Body.Close()
			resp, err = next.RoundTrip(r)
		}
		return resp, err
	}), nil},
	{"adds a response header", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil {
			resp.Header.Set("X-Order", "mine")
		}
		return resp, err
	}), nil},
	{"drops the length of responses without a body", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && (r.Method == "HEAD" || resp.StatusCode == 304) {
			resp.ContentLength = 0
			resp.Header.Del("X-Kept")
		}
		return resp, err
	}), nil},
	{"wraps http.NoBody", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && resp.Body == http.NoBody {
			resp.Body = io.NopCloser(http.NoBody)
		}
		return resp, err
	}), nil},
	{"hides the writer of a 101", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
			resp.Body = struct{ io.ReadCloser }{resp.Body}
		}
		return resp, err
	}), nil},
	{"asks for gzip", onCopy(func(r *http.Request) {
		if r.Header != nil && r.Header.Get("Accept-Encoding") == "" {
			r.Header.Set("Accept-Encoding", "gzip")
		}
	}), nil},
	{"takes the caller's encoding away", onCopy(func(r *http.Request) { r.Header.Del("Accept-Encoding") }), nil},
	{"copies the response's trailer", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil {
			c := *resp
			c.Trailer = resp.Trailer.Clone()
			return &c, nil
		}
		return resp, err
	}), nil},
	{"reads the response into memory", onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		b, err := io.ReadAll(body)
		body.Close()
		return readCloser{io.MultiReader(bytes.NewReader(b), readerFunc(func([]byte) (int, error) {
			if err == nil {
				err = io.EOF
			}
			return 0, err
		})), func() error { return nil }}
	}), nil},
	{"caps the response", onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		return readCloser{io.LimitReader(body, 1<<20), body.Close}
	}), nil},
	{"takes a broken body for its end", onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		return readCloser{readerFunc(func(p []byte) (int, error) {
			n, err := body.Read(p)
			if err != nil {
				err = io.EOF
			}
			return n, err
		}), body.Close}
	}), nil},
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
	}, nil},
	{"does not close", onBody(func(_ *http.Request, body io.ReadCloser) io.ReadCloser {
		return readCloser{body, func() error { return nil }}
	}), nil},
	{"opens a connection for each call", onCopy(func(r *http.Request) { r.Close = true }), nil},
	{"hides CloseIdleConnections", func(next http.RoundTripper) http.RoundTripper {
		return struct{ http.RoundTripper }{next}
	}, nil},
	{"leaves a goroutine behind when cancelled", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if errors.Is(err, context.DeadlineExceeded) {
			go func() { select {} }()
		}
		return resp, err
	}), nil},
	{"sends everything twice", breaker(func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if resp, err := next.RoundTrip(r); err == nil && r.Body == nil && r.Header.Get("Upgrade") == "" {
			resp.Body.Close()
			return next.RoundTrip(r)
		} else {
			return resp, err
		}
	}), nil},
}

func TestBrokenRoundTrippers(t *testing.T) {
	unfailed := protocolsOf(clientRows)
	for _, b := range brokenTrippers {
		t.Run(b.name, func(t *testing.T) {
			v := judgeRoundTripper(t, b.wrap)
			failed := v.failed(protocolsOf(clientRows))
			if !assert.Equal(t, b.fails, failed) {
				for _, row := range slices.Sorted(maps.Keys(v)) {
					t.Logf("%s: %s", row, v[row])
				}
			}
			for _, row := range failed {
				row = strings.TrimPrefix(strings.TrimPrefix(row, "http1/"), "http2/")
				delete(unfailed, row)
			}
		})
	}
	// A row that no broken wrapper fails has not shown that it can fail.
	assert.Empty(t, slices.Sorted(maps.Keys(unfailed)), "rows that nothing fails")
}

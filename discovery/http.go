package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/fetch"
)

const (
	httpInterval = 5 * time.Second
	waitInterval = time.Second
	httpTimeout  = 5 * time.Second
	minWait      = time.Second

	// A request that fails in passing is repeated at once, so that a server
	// that restarts is not an error to be told.
	httpRetryMin   = 100 * time.Millisecond
	maxHTTPHeaders = 64 << 10
)

// HTTP is a Resolver of a set that a server lists, as the JSON document that
// [File] describes.
//
// It asks with GET again and again, and with If-None-Match where the server
// has given an ETag; 200 with a document and 304 are answers, everything else
// is an error, and so is a document with faults or of more than 1 MiB. While
// there is an error, the set stays what it was. Requests that fail in passing
// (no response, 429, 502, 503, 504) are repeated twice in a moment; after an
// error it is asked again within a second, and then ever more seldom, at
// least every 30 seconds or every Interval, whichever is longer, unless the
// server says Retry-After, which is heeded up to 5 minutes. An error is told
// once, and again when it has become another. Redirects are followed only
// where they lead to the same scheme and host.
//
// With Wait a server that gives ETags and knows the preference "wait" of RFC
// 7240 is asked to answer only when there is something new, so that a change
// is known at once and asking costs next to nothing. One that does not know
// it answers at once, and is polled.
type HTTP struct {
	// URL is where the document is, http or https. It is required.
	URL string
	// Interval is the least time between the starts of two requests, give or
	// take a fifth. Zero means 5 seconds, or 1 second with Wait.
	Interval time.Duration
	// Wait is how long the server may hold a request back until the document
	// has changed: the header "Prefer: wait=30" says so, in whole seconds.
	// Zero means that it is not asked to.
	Wait time.Duration
	// Timeout is how long a request may take, beyond Wait. Zero means 5
	// seconds.
	Timeout time.Duration
	// Transport sends the requests: for certificates, credentials, or
	// sockets of one's own. Its idle connections are left alone. Nil means
	// one that each watch has for itself, with proxies from the environment.
	Transport http.RoundTripper
}

// Validate reports every fault of the configuration. It requests nothing.
func (h HTTP) Validate() error {
	errs := []error{required("url", h.URL)}
	if u, err := url.Parse(h.URL); err != nil {
		// The error quotes the URL, and that may hold a password.
		errs = append(errs, errors.New("url: is no URL"))
	} else if h.URL != "" && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "") {
		errs = append(errs, fmt.Errorf("url: %s is not of the form http://host/path", bare(u)))
	}
	errs = append(errs, interval("interval", h.Interval), interval("timeout", h.Timeout))
	if h.Wait != 0 && h.Wait < minWait {
		errs = append(errs, fmt.Errorf("wait: %v is less than %v", h.Wait, minWait))
	}
	if v := reflect.ValueOf(h.Transport); v.Kind() == reflect.Pointer && v.IsNil() {
		errs = append(errs, fmt.Errorf("transport: is a nil %T", h.Transport))
	} else if v.IsValid() && !v.Comparable() {
		errs = append(errs, fmt.Errorf("transport: a %T cannot be compared, use a pointer to it", h.Transport))
	}
	return errors.Join(errs...)
}

// Watch implements Resolver.
func (h HTTP) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		transport := h.Transport
		if transport == nil {
			own := ownTransport()
			defer own.CloseIdleConnections()
			transport = own
		}
		every := httpInterval
		if h.Wait > 0 {
			every = waitInterval
		}
		f := &httpWatch{HTTP: h, client: h.client(transport)}
		poll{interval: cmp.Or(h.Interval, every), look: f.look}.run(ctx, yield)
	}
}

func ownTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: httpTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    httpTimeout,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHTTPHeaders,
		ForceAttemptHTTP2:      true,
	}
}

// client returns a client for one watch.
func (h HTTP) client(transport http.RoundTripper) *retryablehttp.Client {
	timeout := cmp.Or(h.Timeout, httpTimeout) + h.Wait.Truncate(time.Second)
	return fetch.Client(transport, timeout, httpRetryMin, nil)
}

// pauseError is an error of who wants to be left alone for a while.
type pauseError struct {
	error
	pause time.Duration
}

func (e pauseError) Unwrap() error { return e.error }

// httpWatch is one watch of an HTTP.
type httpWatch struct {
	HTTP
	client *retryablehttp.Client
	// infos is what the document with the tag, if it has one, lists.
	infos []endpoint.Info
	tag   string
}

func (f *httpWatch) look(ctx context.Context) ([]endpoint.Info, error) {
	infos, err := f.get(ctx)
	if err != nil {
		// A *url.Error would quote the query, where there may be a key.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		u, _ := url.Parse(f.URL)
		return nil, fmt.Errorf("GET %s: %w", bare(u), err)
	}
	return infos, nil
}

func (f *httpWatch) get(ctx context.Context) ([]endpoint.Info, error) {
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if f.tag != "" {
		req.Header.Set("If-None-Match", f.tag)
	}
	// Nothing is known yet, so there is nothing to wait for.
	if f.Wait > 0 && f.tag != "" {
		req.Header.Set("Prefer", "wait="+strconv.Itoa(int(f.Wait/time.Second)))
	}
	resp, err := f.client.Do(req)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusNotModified && f.tag != "":
		return f.infos, nil
	case resp.StatusCode != http.StatusOK:
		// What is left of a small body is read, so that the connection stays.
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
		err := fmt.Errorf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
		return nil, pauseError{err, fetch.RetryAfter(resp.Header, time.Now())}
	}
	doc, err := readDocument(resp.Body)
	if err != nil {
		return nil, err
	}
	infos, err := parse(doc)
	if err != nil {
		return nil, err
	}
	f.infos, f.tag = infos, resp.Header.Get("Etag")
	return infos, nil
}

// bare is u without what may be secret.
func bare(u *url.URL) string {
	if u == nil {
		return "(no URL)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

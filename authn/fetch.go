package authn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/tulle-mesh/tulle/internal/fetch"
)

// How a key set is fetched.
const (
	fetchTimeout    = 5 * time.Second
	fetchRetryMin   = 50 * time.Millisecond
	maxHeaderBytes  = 64 << 10
	defaultRefresh  = 10 * time.Minute
	shortestRefresh = time.Minute
	longestRefresh  = time.Hour
)

var errOutside = errors.New("without TLS it must be on this machine, and is not")

// fetcher fetches one key set. It is for one goroutine.
type fetcher struct {
	url    string
	client *retryablehttp.Client
	// tag is the ETag of set.
	tag string
	set *keySet
}

// newFetcher returns a fetcher, and what is to be closed with it, if anything.
func newFetcher(s source) (*fetcher, func()) {
	transport, done := s.transport, func() {}
	if transport == nil {
		own := ownTransport(s.plain)
		transport, done = own, own.CloseIdleConnections
	}
	outside := func(err error) bool { return errors.Is(err, errOutside) }
	return &fetcher{url: s.url, client: fetch.Client(transport, fetchTimeout, fetchRetryMin, outside)}, done
}

func ownTransport(plain bool) *http.Transport {
	dialer := &net.Dialer{Timeout: fetchTimeout, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSHandshakeTimeout:    fetchTimeout,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ForceAttemptHTTP2:      true,
	}
	if plain {
		// The name may be localhost; what counts is where that leads.
		t.Proxy = nil
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			if a, err := netip.ParseAddrPort(address); err != nil || !a.Addr().Unmap().IsLoopback() {
				return errOutside
			}
			return nil
		}
	}
	t.DialContext = dialer.DialContext
	return t
}

// answer is what a fetch has brought.
type answer struct {
	// set is the same as before if nothing has changed.
	set *keySet
	err error
	// next is after how long the set is to be fetched again; after an error,
	// for how long at least it must not be.
	next time.Duration
}

// fetch gets the set, in at most a few times fetchTimeout.
func (f *fetcher) fetch(ctx context.Context) answer {
	a := f.get(ctx)
	// A *url.Error would quote the query, where there may be a key.
	if e, ok := errors.AsType[*url.Error](a.err); ok {
		a.err = e.Err
	}
	return a
}

func (f *fetcher) get(ctx context.Context) answer {
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	if f.tag != "" {
		req.Header.Set("If-None-Match", f.tag)
	}
	resp, err := f.client.Do(req)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		return answer{err: err}
	}
	next := refreshAfter(resp.Header)
	switch {
	case resp.StatusCode == http.StatusNotModified && f.tag != "":
		return answer{set: f.set, next: next}
	case resp.StatusCode != http.StatusOK:
		// What is left of a small body is read, so that the connection stays.
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
		return answer{
			err:  fmt.Errorf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)),
			next: fetch.RetryAfter(resp.Header, time.Now()),
		}
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSetBytes+1))
	if err != nil {
		return answer{err: err}
	}
	set, err := parseKeySet(string(text))
	if err != nil {
		return answer{err: fmt.Errorf("the key set is refused: %w", err)}
	}
	f.tag = resp.Header.Get("Etag")
	if f.set != nil {
		set.adopt(f.set)
	}
	if f.set == nil || !set.equal(f.set) {
		f.set = set
	}
	return answer{set: f.set, next: next}
}

// equal tells whether both sets have the same keys, after adopt.
func (s *keySet) equal(o *keySet) bool {
	if len(s.keys) != len(o.keys) || len(s.leftOut) != len(o.leftOut) {
		return false
	}
	for i, k := range s.keys {
		if k != o.keys[i] {
			return false
		}
	}
	for i, why := range s.leftOut {
		if why != o.leftOut[i] {
			return false
		}
	}
	return true
}

// refreshAfter returns for how long a response is good: its max-age of RFC
// 9111, less its Age, within bounds. A set that may not be stored is fetched
// as often as one can be.
func refreshAfter(h http.Header) time.Duration {
	d := defaultRefresh
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return shortestRefresh
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil {
				return shortestRefresh
			}
			d = time.Duration(seconds) * time.Second
			if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
				d -= time.Duration(age) * time.Second
			}
		}
	}
	return min(max(d, shortestRefresh), longestRefresh)
}

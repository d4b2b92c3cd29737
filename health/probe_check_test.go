package health_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/internal/memnet"
)

// first returns the first verdict on a subject.
func first(t *testing.T, s health.Subject) (healthy bool, cause string, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := health.NewProber(health.ProberOptions{Draw: half})
		defer p.Close()
		begin := time.Now()
		done := make(chan struct{})
		s.Changed = func() { close(done) }
		c := p.Watch(s)
		<-done
		took = time.Since(begin)
		var known bool
		healthy, known, cause, _ = c.Verdict()
		require.True(t, known)
		require.Equal(t, took, c.Stats().Latency)
		c.Stop()
	})
	return healthy, cause, took
}

// content is a response body.
type content struct {
	io.Reader
	closed bool
}

func (c *content) Close() error {
	c.closed = true
	return nil
}

func TestHTTPProbes(t *testing.T) {
	with := func(status int, r io.Reader) tripper {
		return func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: &content{Reader: r}}, nil
		}
	}
	fails := func(err error) tripper {
		return func(*http.Request) (*http.Response, error) { return nil, err }
	}
	broken := iotest.ErrReader(io.ErrUnexpectedEOF)
	for name, row := range map[string]struct {
		probe health.Probe
		rt    http.RoundTripper
		cause string // empty: healthy
	}{
		"200":                     {rt: with(200, strings.NewReader("fine"))},
		"204":                     {rt: with(204, strings.NewReader(""))},
		"299":                     {rt: with(299, strings.NewReader(""))},
		"300":                     {rt: with(300, strings.NewReader("")), cause: "probe: status 300"},
		"a redirect is no answer": {rt: with(302, strings.NewReader("")), cause: "probe: status 302"},
		"404":                     {rt: with(404, strings.NewReader("not found")), cause: "probe: status 404"},
		"503":                     {rt: with(503, strings.NewReader("")), cause: "probe: status 503"},
		"503 with a broken body":  {rt: with(503, broken), cause: "probe: status 503"},
		"another than expected": {
			health.Probe{Statuses: []health.StatusRange{{From: 401}}}, with(200, strings.NewReader("")), "probe: status 200",
		},
		"expected, in the second range": {
			health.Probe{Statuses: []health.StatusRange{{From: 200, To: 204}, {From: 401, To: 403}}}, with(403, strings.NewReader("")), "",
		},
		"between ranges": {
			health.Probe{Statuses: []health.StatusRange{{From: 200, To: 204}, {From: 401, To: 403}}}, with(205, strings.NewReader("")), "probe: status 205",
		},
		"switching protocols": {rt: with(101, neverEnds{}), cause: "probe: status 101"},
		"a switched connection that is silent": {rt: tripper(func(r *http.Request) (*http.Response, error) {
			silence := reader(func([]byte) (int, error) {
				<-r.Context().Done()
				return 0, r.Context().Err()
			})
			return &http.Response{StatusCode: 101, Body: &content{Reader: silence}}, nil
		}), cause: "probe: status 101"},
		"endless body":           {rt: with(200, neverEnds{})},
		"broken body":            {rt: with(200, broken), cause: "probe: body: unexpected EOF"},
		"no body":                {rt: tripper(func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil })},
		"error":                  {rt: fails(errors.New("connection reset by peer")), cause: "probe: connection reset by peer"},
		"error of several lines": {rt: fails(errors.New("a\r\nb")), cause: "probe: a  b"},
		"very long error":        {rt: fails(errors.New(strings.Repeat("ä", 1000))), cause: "probe: " + strings.Repeat("ä", 128) + "…"},
		"not UTF-8":              {rt: fails(errors.New("a\xffb")), cause: "probe: a\uFFFDb"},
		"panic":                  {rt: tripper(func(*http.Request) (*http.Response, error) { panic("at the disco") }), cause: "probe: panic: at the disco"},
		"nothing":                {rt: fails(nil), cause: "probe: no response and no error"},
		"panic in the body":      {rt: with(200, panics{}), cause: "probe: panic: in a body"},
	} {
		t.Run(name, func(t *testing.T) {
			row.probe.Path = "/"
			healthy, cause, took := first(t, health.Subject{Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: row.probe, RoundTripper: row.rt})
			assert.Equal(t, row.cause, cause)
			assert.Equal(t, row.cause == "", healthy)
			assert.Zero(t, took)
		})
	}
}

type neverEnds struct{}

func (neverEnds) Read(b []byte) (int, error) { return len(b), nil }

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("in a body") }

func TestTheContextOfAProbeEndsWithIt(t *testing.T) {
	var ctx context.Context
	healthy, _, took := first(t, health.Subject{
		Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: health.Probe{Path: "/"},
		RoundTripper: tripper(func(r *http.Request) (*http.Response, error) {
			ctx = r.Context()
			return answer(200), ctx.Err()
		}),
		Dial: noDial,
	})
	assert.True(t, healthy)
	assert.Zero(t, took)
	assert.Equal(t, context.Canceled, ctx.Err(), "it keeps no timer")
}

func TestBodiesAreReadALittleAndClosed(t *testing.T) {
	for size, all := range map[int]bool{0: true, 4 << 10: true, 4<<10 + 1: false, 1 << 20: false} {
		r := strings.NewReader(strings.Repeat("x", size))
		body := &content{Reader: r}
		healthy, _, _ := first(t, health.Subject{
			Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: health.Probe{Path: "/"},
			RoundTripper: tripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: body}, nil
			}),
		})
		assert.True(t, healthy)
		assert.True(t, body.closed)
		assert.LessOrEqual(t, size-r.Len(), 4<<10+1)
		if all {
			assert.Zero(t, r.Len())
		}
	}
}

func TestTheTimeoutIsForEverything(t *testing.T) {
	hang := func(r *http.Request) error {
		<-r.Context().Done()
		return r.Context().Err()
	}
	for name, rt := range map[string]tripper{
		"no headers": func(r *http.Request) (*http.Response, error) { return nil, hang(r) },
		"no end of the body": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: &content{Reader: reader(func([]byte) (int, error) { return 0, hang(r) })}}, nil
		},
		"a slow body": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: &content{Reader: reader(func(b []byte) (int, error) {
				select {
				case <-time.After(100 * time.Millisecond):
					return 1, nil
				case <-r.Context().Done():
					return 0, r.Context().Err()
				}
			})}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			healthy, cause, took := first(t, health.Subject{
				Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: health.Probe{Path: "/", Timeout: 3 * time.Second}, RoundTripper: rt,
			})
			assert.False(t, healthy)
			assert.Equal(t, "probe: no answer within 3s", cause)
			assert.Equal(t, 3*time.Second, took)
		})
	}
	healthy, cause, took := first(t, health.Subject{
		Endpoint: newEndpoint("a:80"),
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	assert.False(t, healthy)
	assert.Equal(t, "probe: no connection within 1s", cause)
	assert.Equal(t, time.Second, took)
}

type reader func([]byte) (int, error)

func (f reader) Read(b []byte) (int, error) { return f(b) }

func TestTCPProbes(t *testing.T) {
	dial := func(s health.Subject) (healthy bool, cause string) {
		if s.Endpoint == nil {
			s.Endpoint = newEndpoint("a:80")
		}
		healthy, cause, _ = first(t, s)
		return healthy, cause
	}
	healthy, cause := dial(health.Subject{Dial: func(context.Context, string, string) (net.Conn, error) { panic("at the disco") }})
	assert.False(t, healthy)
	assert.Equal(t, "probe: panic: at the disco", cause)
	healthy, cause = dial(health.Subject{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, nil }})
	assert.False(t, healthy)
	assert.Equal(t, "probe: dial: no connection and no error", cause)

	var got string
	a, b := net.Pipe()
	healthy, cause = dial(health.Subject{
		Probe: health.Probe{Port: 8081},
		Dial: func(_ context.Context, network, addr string) (net.Conn, error) {
			got = network + " " + addr
			return a, nil
		},
	})
	assert.True(t, healthy)
	assert.Empty(t, cause)
	assert.Equal(t, "tcp a:8081", got)
	_, err := b.Read(make([]byte, 1))
	assert.Equal(t, io.EOF, err, "the connection is closed")
}

// A service over a network that fails and heals, with the transport of
// net/http.
func TestProbesOverANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l, err := n.Listen("10.0.0.1:80")
		require.NoError(t, err)
		var mu sync.Mutex
		var last *http.Request
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			last = r
			switch r.URL.Path {
			case "/long":
				_, _ = w.Write(make([]byte, 100_000))
			case "/redirect":
				http.Redirect(w, r, "/short", http.StatusFound)
			default:
				_, _ = w.Write([]byte("fine"))
			}
		})}
		go func() { _ = server.Serve(l) }()
		defer server.Close()
		rt := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return n.DialContext(ctx, "tcp", "10.0.0.1:80")
		}}
		defer rt.CloseIdleConnections()
		p := health.NewProber(health.ProberOptions{Draw: half})
		defer p.Close()
		watch := func(probe health.Probe) *health.Checked {
			return p.Watch(health.Subject{
				Name: "reviews.example", Endpoint: newEndpoint("10.0.0.1:80"), Probe: probe, RoundTripper: rt, Dial: n.DialContext,
			})
		}
		verdict := func(c *health.Checked) string {
			synctest.Wait()
			healthy, known, cause, _ := c.Verdict()
			require.True(t, known)
			require.Equal(t, healthy, cause == "")
			return cause
		}

		c := watch(health.Probe{Path: "/short?a=b", Host: "shop.example", Interval: time.Second, UnhealthyThreshold: 2, HealthyThreshold: 1})
		require.Empty(t, verdict(c))
		mu.Lock()
		assert.Equal(t, "/short?a=b", last.RequestURI)
		assert.Equal(t, "shop.example", last.Host)
		assert.Equal(t, http.Header{"User-Agent": {"tulle-probe"}, "Accept-Encoding": {"gzip"}}, last.Header, "nothing but what net/http adds")
		mu.Unlock()
		time.Sleep(9750 * time.Millisecond)
		require.Empty(t, verdict(c))
		assert.EqualValues(t, 11, c.Stats().Probes)
		assert.Equal(t, 1, n.Opened("10.0.0.1:80"), "one connection for all")

		n.Blackhole("10.0.0.1:80")
		time.Sleep(3 * time.Second)
		assert.Equal(t, "probe: no answer within 1s", verdict(c))
		n.Heal("10.0.0.1:80")
		time.Sleep(2 * time.Second)
		require.Empty(t, verdict(c))
		n.Refuse("10.0.0.1:80")
		n.Reset("10.0.0.1:80")
		time.Sleep(3 * time.Second)
		assert.Equal(t, "probe: dial tcp 10.0.0.1:80: connect: connection refused", verdict(c))
		tcp := watch(health.Probe{})
		time.Sleep(time.Millisecond)
		assert.Equal(t, "probe: dial tcp 10.0.0.1:80: connect: connection refused", verdict(tcp))
		n.Heal("10.0.0.1:80")
		c.Stop()

		time.Sleep(20 * time.Second)
		assert.Empty(t, verdict(tcp))
		tcp.Stop()
		synctest.Wait()
		rt.CloseIdleConnections()
		synctest.Wait()
		assert.Zero(t, n.Open("10.0.0.1:80"), "none is left")

		before := n.Opened("10.0.0.1:80")
		c = watch(health.Probe{Path: "/long", Interval: time.Second})
		time.Sleep(4 * time.Second)
		require.Empty(t, verdict(c))
		c.Stop()
		synctest.Wait()
		assert.EqualValues(t, n.Opened("10.0.0.1:80")-before, c.Stats().Probes, "a long answer costs its connection")
		assert.Zero(t, n.Open("10.0.0.1:80"))

		c = watch(health.Probe{Path: "/redirect"})
		assert.Equal(t, "probe: status 302", verdict(c))
		c.Stop()
	})
}

func TestProbesOverLoopback(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "example.com" || r.URL.Path != "/healthz" {
			http.NotFound(w, r)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	socket, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer socket.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	addr := server.Listener.Addr().String()
	client := server.Client().Transport.(*http.Transport)
	client.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	p := health.NewProber(health.ProberOptions{})
	defer p.Close()
	for name, row := range map[string]struct {
		subject health.Subject
		want    string
	}{
		"https":       {health.Subject{Name: "example.com", Endpoint: newEndpoint(addr), Probe: health.Probe{Path: "/healthz"}, RoundTripper: client, Scheme: "https"}, ""},
		"certificate": {health.Subject{Name: "elsewhere.test", Endpoint: newEndpoint(addr), Probe: health.Probe{Path: "/healthz", Host: "example.com"}, RoundTripper: client, Scheme: "https"}, "elsewhere.test"},
		"not found":   {health.Subject{Name: "example.com", Endpoint: newEndpoint(addr), Probe: health.Probe{Path: "/"}, RoundTripper: client, Scheme: "https"}, "probe: status 404"},
		"tcp":         {health.Subject{Endpoint: newEndpoint(addr)}, ""},
		"unix":        {health.Subject{Endpoint: newEndpoint("unix:" + socket.Addr().String())}, ""},
		"refused":     {health.Subject{Endpoint: newEndpoint(gone.Addr().String())}, "probe: dial tcp " + gone.Addr().String()},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			row.subject.Changed = func() { close(done) }
			c := p.Watch(row.subject)
			<-done
			healthy, known, cause, _ := c.Verdict()
			require.True(t, known)
			assert.Equal(t, row.want == "", healthy)
			assert.Contains(t, cause, row.want)
			if row.want == "" {
				assert.Empty(t, cause)
			}
			c.Stop()
		})
	}
}

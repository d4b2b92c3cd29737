package tulle_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// Tests in this file run over real sockets.

// realMesh returns a mesh that is shut down, in order, with the test.
func realMesh(t *testing.T, c tulle.Config, opts ...tulle.Option) *tulle.Mesh {
	t.Helper()
	m, err := tulle.New(c, opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, m.Shutdown(ctx))
	})
	return m
}

// reach makes n calls of a method, eight at a time, and returns the errors.
func reach(t *testing.T, m *tulle.Mesh, method, url string, n int) []error {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	var next atomic.Int64
	for range 8 {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				body := ""
				if method == "POST" {
					body = "some words"
				}
				a, err := do(t.Context(), m, method, url, body)
				if err == nil && a.status != 200 {
					err = fmt.Errorf("status %d", a.status)
				}
				if err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errs
}

// One endpoint of three refuses connections: nothing was sent, so every
// method may go elsewhere, and no caller notices.
func TestRefusedConnectionsHurtNobody(t *testing.T) {
	run := func(p *retry.Policy) []error {
		gone, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, gone.Close())
		c := one(server(t, ok), gone.Addr().String(), server(t, ok))
		c.Policies.Retry = p
		return reach(t, realMesh(t, c), "POST", "http://reviews/", 1000)
	}
	assert.Empty(t, run(&retry.Policy{Budget: retry.BudgetPolicy{Ratio: 1}}))
	errs := run(nil)
	require.NotEmpty(t, errs, "without retries callers do notice")
	assert.Equal(t, outcome.ConnectFailed, asError(t, errs[0]).Reason)
}

// One endpoint accepts and then resets. What may be repeated is; what may not
// is delivered at most once.
func TestResetsAreRetriedWhereSafe(t *testing.T) {
	var seen atomic.Int64
	reset := raw(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			seen.Add(1)
		}
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	c := one(server(t, ok), reset)
	c.Services[0].Balancer = balancer.RoundRobin{} // which does not keep away from the one
	c.Policies.Retry = &retry.Policy{Budget: retry.BudgetPolicy{Ratio: -1}}
	m := realMesh(t, c)
	assert.Empty(t, reach(t, m, "GET", "http://reviews/", 300))
	seen.Store(0)
	errs := reach(t, m, "POST", "http://reviews/", 100)
	assert.NotEmpty(t, errs)
	assert.LessOrEqual(t, seen.Load(), int64(len(errs)), "no POST came twice to the one that resets")
}

// A body that is cut short is an error to its reader, never a short body, and
// it is held against the endpoint.
func TestTruncatedBodyIsAnError(t *testing.T) {
	addr := raw(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
		}
	})
	m := realMesh(t, one(addr))
	_, err := get(t.Context(), m, "http://reviews/")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	s := service(t, m, "reviews")
	assert.EqualValues(t, 1, s.Endpoints[0].Failed)
	assert.Zero(t, s.Endpoints[0].InFlight)
}

// A server that closes idle connections at once races with calls on them.
func TestIdleConnectionsMayClose(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(ok))
	srv.Config.IdleTimeout = 2 * time.Millisecond
	srv.Start()
	t.Cleanup(srv.Close)
	c := one(srv.Listener.Addr().String())
	c.Policies = tulle.Recommended()
	m := realMesh(t, c)
	assert.Empty(t, reach(t, m, "GET", "http://reviews/", 2000))
}

// A server that goes away in good order under load sends GOAWAY: calls that
// it has not begun go elsewhere, and those with a body come at most once.
func TestGracefulStopUnderLoadLosesNothing(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			var got atomic.Int64
			busy := make(chan struct{})
			handler := func(w http.ResponseWriter, r *http.Request) {
				if got.Add(1) == 200 {
					close(busy)
				}
				ok(w, r)
			}
			stopping, addr := h2cServer(t, handler)
			_, other := h2cServer(t, handler)
			c := one(addr, other)
			c.Services[0].Protocol = tulle.H2C
			c.Policies.Retry = &retry.Policy{Budget: retry.BudgetPolicy{Ratio: -1}}
			m := realMesh(t, c)
			var wg sync.WaitGroup
			var errs []error
			wg.Go(func() { errs = reach(t, m, method, "http://reviews/", 2000) })
			<-busy
			require.NoError(t, stopping.Shutdown(t.Context()))
			wg.Wait()
			assert.Empty(t, errs)
			assert.EqualValues(t, 2000, got.Load(), "each call came once")
		})
	}
}

// All endpoints down and up again: errors while they are down, none after.
func TestAllDownAndBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	c := one(addr)
	c.Policies = tulle.Recommended()
	m := realMesh(t, c)
	_, err = get(t.Context(), m, "http://reviews/")
	assert.Equal(t, outcome.ConnectFailed, asError(t, err).Reason)
	l, err = net.Listen("tcp", addr)
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(ok)}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	assert.Empty(t, reach(t, m, "POST", "http://reviews/", 100))
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(ok)}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	assert.Empty(t, reach(t, realMesh(t, one("unix:"+path)), "GET", "http://reviews/", 20))
}

// Certificates are verified for the name of the service, whatever address the
// endpoint has, and the mesh proves itself where it is asked to.
func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	client := ca.issue(t, "client")
	start := func(name string, auth tls.ClientAuthType) string {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who := "nobody"
			if len(r.TLS.PeerCertificates) > 0 {
				who = r.TLS.PeerCertificates[0].Subject.CommonName
			}
			fmt.Fprintf(w, "%s %s %s", r.Proto, r.TLS.ServerName, who)
		}))
		srv.EnableHTTP2 = name != "old"
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, name)}, ClientAuth: auth, ClientCAs: ca.pool}
		if name == "old" {
			srv.TLS.MaxVersion = tls.VersionTLS12
		}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
	old := start("old", 0)
	right, wrong, asks := start("reviews", 0), start("someone.else", 0), start("reviews", tls.RequireAndVerifyClientCert)
	for name, row := range map[string]struct {
		addr, url string
		tls       *tulle.TLS
		protocol  tulle.Protocol
		want      string
		fails     bool
	}{
		"originated":           {right, "http://reviews/", &tulle.TLS{RootCAs: ca.pool}, tulle.Auto, "HTTP/2.0 reviews nobody", false},
		"by the caller's URL":  {right, "https://reviews/", &tulle.TLS{RootCAs: ca.pool}, tulle.HTTP1, "HTTP/1.1 reviews nobody", false},
		"http2 only":           {right, "https://reviews/", &tulle.TLS{RootCAs: ca.pool}, tulle.HTTP2, "HTTP/2.0 reviews nobody", false},
		"another name":         {wrong, "http://reviews/", &tulle.TLS{RootCAs: ca.pool, ServerName: "someone.else"}, tulle.Auto, "HTTP/2.0 someone.else nobody", false},
		"client certificate":   {asks, "http://reviews/", &tulle.TLS{RootCAs: ca.pool, Certificates: []tls.Certificate{client}}, tulle.Auto, "HTTP/2.0 reviews client", false},
		"wrong name":           {wrong, "http://reviews/", &tulle.TLS{RootCAs: ca.pool}, tulle.Auto, "", true},
		"unknown authority":    {right, "http://reviews/", &tulle.TLS{RootCAs: x509.NewCertPool()}, tulle.Auto, "", true},
		"system's authorities": {right, "https://reviews/", nil, tulle.Auto, "", true},
		"no certificate shown": {asks, "http://reviews/", &tulle.TLS{RootCAs: ca.pool}, tulle.HTTP1, "", true},
		"no HTTP/2 there":      {old, "http://reviews/", &tulle.TLS{RootCAs: ca.pool, ServerName: "old"}, tulle.HTTP2, "", true},
		"negotiated":           {old, "http://reviews/", &tulle.TLS{RootCAs: ca.pool, ServerName: "old"}, tulle.Auto, "HTTP/1.1 old nobody", false},
		"h2c over TLS":         {right, "https://reviews/", nil, tulle.H2C, "", true},
		"too old":              {old, "http://reviews/", &tulle.TLS{RootCAs: ca.pool, ServerName: "old", MinVersion: tls.VersionTLS13}, tulle.Auto, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			c := one(row.addr)
			c.Services[0].TLS, c.Services[0].Protocol = row.tls, row.protocol
			m := realMesh(t, c)
			req, err := http.NewRequestWithContext(t.Context(), "GET", row.url, nil)
			require.NoError(t, err)
			resp, err := m.Transport().RoundTrip(req)
			if row.fails {
				require.Error(t, err)
				reason := asError(t, err).Reason
				assert.Contains(t, []outcome.Reason{outcome.ConnectFailed, outcome.ConnectionLost}, reason)
				return
			}
			a, err := read(resp, err)
			require.NoError(t, err)
			assert.Equal(t, row.want, a.body)
			assert.Equal(t, row.url, resp.Request.URL.String(), "the caller's request is as it was")
			assert.NotNil(t, resp.TLS)
		})
	}
}

// A redirect within a service is resolved against its name, so that the next
// call goes through the mesh again.
func TestRedirectsStayInTheMesh(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/old", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/new", http.StatusFound) })
	mux.HandleFunc("/new", ok)
	m := realMesh(t, one(server(t, mux.ServeHTTP), server(t, mux.ServeHTTP)))
	resp, err := m.Client().Get("http://reviews/old")
	require.NoError(t, err)
	_, err = read(resp, nil)
	require.NoError(t, err)
	assert.Equal(t, "http://reviews/new", resp.Request.URL.String())
	assert.EqualValues(t, 2, service(t, m, "reviews").Calls.Calls)
}

// An answer that comes before the upload has ended does not break the call
// that is made again with the same body.
func TestEarlyRefusalDuringUpload(t *testing.T) {
	var whole atomic.Int64
	refuse := server(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	accept := server(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		whole.Store(n)
	})
	for _, known := range []bool{true, false} {
		c := one(refuse, accept)
		c.Policies.Retry = &retry.Policy{Idempotent: true, BufferBody: 1 << 20, Budget: retry.BudgetPolicy{Ratio: -1}, Backoff: retry.Backoff{Base: 1, Max: 1}}
		m := realMesh(t, c)
		const size = 512 << 10
		for range 30 {
			var body io.Reader = strings.NewReader(strings.Repeat("x", size))
			if !known {
				body = io.LimitReader(body, size)
			}
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://reviews/", body)
			require.NoError(t, err)
			a, err := read(m.Transport().RoundTrip(req))
			if err != nil {
				// The server may close before the whole upload was written.
				continue
			}
			require.Equal(t, 200, a.status)
			require.EqualValues(t, size, whole.Load())
		}
	}
}

func ok(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "ok")
}

func server(t *testing.T, h http.HandlerFunc) (addr string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// tlsServer speaks TLS with a certificate for "reviews".
func tlsServer(t *testing.T, ca *authority, h http.HandlerFunc) (addr string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "reviews")}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func h2cServer(t *testing.T, h http.HandlerFunc) (*http.Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return srv, l.Addr().String()
}

// raw serves each connection with f and then closes it.
func raw(t *testing.T, f func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f(c); _ = c.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

// authority issues certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

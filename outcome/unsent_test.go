package outcome_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// listen serves every connection to a port of the loopback with handle, until
// the test ends.
func listen(t *testing.T, handle func(*net.TCPConn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// closedPort returns an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// attempt makes one attempt and returns its judgement.
func attempt(t *testing.T, rt http.RoundTripper, method, url string, body io.Reader) outcome.Outcome {
	t.Helper()
	o, err := attemptErr(t, rt, method, url, body)
	if err == nil {
		t.Fatal("no error")
	}
	return o
}

func attemptErr(t *testing.T, rt http.RoundTripper, method, url string, body io.Reader) (outcome.Outcome, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if resp != nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	t.Logf("%T: %v", err, err)
	return outcome.HTTP{}.Classify(resp, err), err
}

var (
	connectFailed = outcome.Outcome{Class: outcome.Connect, Unsent: true}
	mayBeSent     = outcome.Outcome{Class: outcome.Reset}
)

func check(t *testing.T, got, want outcome.Outcome) {
	t.Helper()
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestUnsentDial(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		check(t, attempt(t, &http.Transport{}, "GET", "http://"+closedPort(t), nil), connectFailed)
	})
	t.Run("no socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "none.sock")
		tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}
		check(t, attempt(t, tr, "GET", "http://a", nil), connectFailed)
	})
	t.Run("time-out", func(t *testing.T) {
		tr := &http.Transport{DialContext: (&net.Dialer{Deadline: time.Unix(1, 0)}).DialContext}
		check(t, attempt(t, tr, "GET", "http://"+closedPort(t), nil), connectFailed)
	})
	t.Run("proxy refused", func(t *testing.T) {
		tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: closedPort(t)})}
		check(t, attempt(t, tr, "GET", "http://a.test", nil), connectFailed)
		check(t, attempt(t, tr, "GET", "https://a.test", nil), connectFailed)
	})
	t.Run("socks proxy cannot connect", func(t *testing.T) {
		addr := listen(t, func(c *net.TCPConn) {
			// RFC 1928: no authentication; "Connection refused".
			_, _ = io.ReadFull(c, make([]byte, 3))
			_, _ = c.Write([]byte{5, 0})
			_, _ = io.ReadFull(c, make([]byte, 4+1+len("a.test")+2))
			_, _ = c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		})
		tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5h", Host: addr})}
		check(t, attempt(t, tr, "GET", "http://a.test", nil), connectFailed)
	})
}

func TestUnsentTLS(t *testing.T) {
	var handled atomic.Int64
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { handled.Add(1) })
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = quiet()
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()

	t.Run("certificate refused", func(t *testing.T) {
		check(t, attempt(t, &http.Transport{}, "POST", server.URL, strings.NewReader("x")), connectFailed)
	})
	t.Run("no TLS", func(t *testing.T) {
		addr := listen(t, func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		})
		check(t, attempt(t, &http.Transport{}, "POST", "https://"+addr, strings.NewReader("x")), connectFailed)
	})
	// From here on nothing was sent either, or nothing was acted on, but the
	// error does not prove it.
	t.Run("own certificate missing", func(t *testing.T) {
		// With TLS 1.3 a client learns this after its handshake is over.
		tr := server.Client().Transport.(*http.Transport).Clone()
		o, err := attemptErr(t, tr, "POST", server.URL, strings.NewReader("x"))
		if err == nil || o.Unsent {
			t.Errorf("%+v, %v", o, err)
		}
	})
	t.Run("connection closed", func(t *testing.T) {
		addr := listen(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)) })
		if o := attempt(t, &http.Transport{}, "GET", "https://"+addr, nil); o.Unsent {
			t.Errorf("%+v", o)
		}
	})
	if n := handled.Load(); n != 0 {
		t.Errorf("%d requests handled", n)
	}
}

func TestSentRequestIsNotUnsent(t *testing.T) {
	for name, end := range map[string]func(*net.TCPConn) error{
		"reset":  func(c *net.TCPConn) error { return c.SetLinger(0) },
		"closed": func(*net.TCPConn) error { return nil },
		"half a response": func(c *net.TCPConn) error {
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			addr := listen(t, func(c *net.TCPConn) {
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				if _, err := io.Copy(io.Discard, req.Body); err != nil {
					return
				}
				requests.Add(1)
				if err := end(c); err != nil {
					t.Error(err)
				}
			})
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			check(t, attempt(t, tr, "POST", "http://"+addr, strings.NewReader("an order")), mayBeSent)
			if n := requests.Load(); n != 1 {
				t.Errorf("the endpoint has seen %d requests", n)
			}
		})
	}
}

func h2cProtocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// A single connection returns the error of the stream as it is.
func TestUnsentStream(t *testing.T) {
	for name, c := range map[string]struct {
		code uint32
		want outcome.Outcome
	}{
		"refused":        {h2Refused, connectFailed},
		"cancelled":      {h2Cancel, mayBeSent},
		"internal error": {h2InternalError, mayBeSent},
	} {
		t.Run(name, func(t *testing.T) {
			addr := listen(t, func(conn *net.TCPConn) {
				if err := (h2Conn{conn}).serve(c.code, func() {}); err != nil {
					t.Error(err)
				}
			})
			tr := &http.Transport{Protocols: h2cProtocols()}
			conn, err := tr.NewClientConn(t.Context(), "http", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			check(t, attempt(t, conn, "POST", "http://"+addr, strings.NewReader("an order")), c.want)
		})
	}
}

// A Transport tries a refused stream again by itself before it returns the
// error, and loses its type where it cannot.
func TestUnsentStreamThroughTransport(t *testing.T) {
	for name, c := range map[string]struct {
		body    func() io.Reader
		streams int64
		want    outcome.Outcome
	}{
		"no body":      {func() io.Reader { return nil }, 8, connectFailed},
		"body again":   {func() io.Reader { return strings.NewReader("an order") }, 8, connectFailed},
		"body at once": {func() io.Reader { return io.MultiReader(strings.NewReader("an order")) }, 1, mayBeSent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var streams atomic.Int64
				tr := &http.Transport{
					Protocols: h2cProtocols(),
					DialContext: func(context.Context, string, string) (net.Conn, error) {
						client, server := net.Pipe()
						go func() {
							defer server.Close()
							if err := (h2Conn{server}).serve(h2Refused, func() { streams.Add(1) }); err != nil {
								t.Error(err)
							}
						}()
						return client, nil
					},
				}
				defer tr.CloseIdleConnections()
				check(t, attempt(t, tr, "POST", "http://a.test", c.body()), c.want)
				if n := streams.Load(); n != c.streams {
					t.Errorf("%d streams, want %d", n, c.streams)
				}
			})
		})
	}
}

func TestNoHeadersInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &http.Transport{
			ResponseHeaderTimeout: time.Second,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go func() {
					_, _ = io.Copy(io.Discard, server)
					_ = server.Close()
				}()
				return client, nil
			},
		}
		check(t, attempt(t, tr, "GET", "http://a.test", nil), outcome.Outcome{Class: outcome.Timeout})
	})
}

type failingBody struct{ err error }

func (b failingBody) Read([]byte) (int, error) { return 0, b.err }

// A body may itself come over a network. What its failure looks like must
// not be taken for a failure to reach the endpoint, which has part of the
// request by then.
func TestRequestBodyErrorProvesNothing(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}
	addr := listen(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	if o := attempt(t, tr, "POST", "http://"+addr, failingBody{dial}); !o.Unsent {
		t.Errorf("%+v: net/http hides the error of a body now, so nothing needs to be marked", o)
	}
	marked := failingBody{&outcome.RequestBodyError{Err: dial}}
	check(t, attempt(t, tr, "POST", "http://"+addr, marked), outcome.Outcome{Class: outcome.Neutral})
}

func TestUnsentErrors(t *testing.T) {
	cause := errors.New("no route")
	unsent := &outcome.UnsentError{Err: cause}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{unsent, true},
		{fmt.Errorf("attempt 1: %w", unsent), true},
		{errors.Join(io.EOF, unsent), true},
		{&url.Error{Op: "Get", URL: "http://a", Err: unsent}, true},
		{&outcome.RequestBodyError{Err: unsent}, false},
		{errors.New("dial tcp: connection refused"), false},
		{&net.OpError{Op: "read", Err: cause}, false},
		{&net.OpError{Op: "write", Err: cause}, false},
		{&net.OpError{Op: "remote error", Err: cause}, false},
		{tls.RecordHeaderError{Msg: "after the handshake"}, false},
		{io.EOF, false},
		{context.Canceled, false},
	} {
		if got := outcome.Unsent(c.err); got != c.want {
			t.Errorf("%T %v: %v", c.err, c.err, got)
		}
	}
	if !errors.Is(unsent, cause) || unsent.Error() != "no route" || unsent.Timeout() {
		t.Error(unsent)
	}
	if !(&outcome.UnsentError{Err: context.DeadlineExceeded}).Timeout() {
		t.Error("a time-out is none any more")
	}
	if body := (&outcome.RequestBodyError{Err: cause}); !errors.Is(body, cause) || body.Error() != "no route" {
		t.Error(body)
	}
}

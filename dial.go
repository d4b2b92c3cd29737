package tulle

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// wire is what decides how connections to a service's endpoints are made.
type wire struct {
	protocol   Protocol
	tls        *TLS
	connection Connection
}

func (w *wire) equal(o *wire) bool {
	return w.protocol == o.protocol && w.connection == o.connection && w.tls.equal(o.tls)
}

// scheme returns the scheme that a call with the given one is sent with.
func (w *wire) scheme(asked string) string {
	if w.tls != nil {
		return "https"
	}
	return asked
}

// withDefaults returns the connection settings in force.
func (c Connection) withDefaults() Connection {
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.ConnectTimeout, time.Second)
	def(&c.TLSTimeout, 5*time.Second)
	def(&c.IdleTimeout, 90*time.Second)
	if c.MaxIdle == 0 {
		c.MaxIdle = 64
	}
	return c
}

// newTransport returns the transport of one endpoint. URLs, Host, SNI and
// certificates go by the name of the service; only the dialling knows the
// endpoint.
func newTransport(o *options, w *wire, e *endpoint.Endpoint) *http.Transport {
	t, protocol := &http.Transport{}, w.protocol
	if base, ok := o.base.(*http.Transport); ok {
		t = base.Clone()
		if protocol == Auto && withoutHTTP2(base) {
			protocol = HTTP1
		}
	}
	c := w.connection.withDefaults()
	t.Proxy, t.OnProxyConnectResponse, t.GetProxyConnectHeader = nil, nil, nil
	//lint:ignore SA1019 a template may still have them
	t.DialTLS, t.Dial = nil, nil
	t.TLSNextProto = nil
	// The transport counts by the host of URLs, of which one endpoint may have
	// any number. The bound on all of them is no tight one: to keep to it the
	// transport may close a connection whose response is still on its way.
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 4*c.MaxIdle, c.MaxIdle
	t.IdleConnTimeout = c.IdleTimeout
	t.Protocols = protocol.protocols()
	d := &dialer{dial: o.dial, info: e.Info(), protocol: w.protocol, timeout: c.ConnectTimeout, tlsTimeout: c.TLSTimeout}
	d.tls = w.tls.config(t.TLSClientConfig, protocol)
	t.DialContext, t.DialTLSContext = d.plain, d.secure
	return t
}

// withoutHTTP2 reports whether HTTP/2 has been switched off in a transport, in
// the new way or the old.
func withoutHTTP2(t *http.Transport) bool {
	if t.Protocols != nil {
		return !t.Protocols.HTTP2()
	}
	return t.TLSNextProto != nil && len(t.TLSNextProto) == 0 && !t.ForceAttemptHTTP2
}

func (p Protocol) protocols() *http.Protocols {
	ps := new(http.Protocols)
	switch p {
	case HTTP1:
		ps.SetHTTP1(true)
	case HTTP2:
		ps.SetHTTP2(true)
	case H2C:
		ps.SetUnencryptedHTTP2(true)
	default:
		ps.SetHTTP1(true)
		ps.SetHTTP2(true)
	}
	return ps
}

// dialer makes connections to one endpoint. Every error it returns is an
// outcome.UnsentError: no byte of a request was on its way yet.
type dialer struct {
	dial       func(ctx context.Context, network, addr string) (net.Conn, error)
	info       endpoint.Info
	protocol   Protocol
	timeout    time.Duration
	tlsTimeout time.Duration
	tls        *tls.Config
}

var (
	errConnectTimeout = &timeoutError{"no connection in the time allowed"}
	errTLSTimeout     = &timeoutError{"no TLS handshake in the time allowed"}

	// net/http would fall back to HTTP/1.1 in these cases, silently.
	errNeedsTLS = errors.New("protocol http2 is spoken over TLS only; without it there is h2c")
	errNoTLS    = errors.New("protocol h2c is spoken without TLS only")
	errNotHTTP2 = errors.New("the endpoint does not speak HTTP/2")
)

// plain connects for a call that is sent without TLS.
func (d *dialer) plain(ctx context.Context, _, _ string) (net.Conn, error) {
	if d.protocol == HTTP2 {
		return nil, &outcome.UnsentError{Err: errNeedsTLS}
	}
	return d.connect(ctx)
}

func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, errConnectTimeout)
	defer cancel()
	network, addr := d.info.Network()
	conn, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, unsent(ctx, errConnectTimeout, err)
	}
	return conn, nil
}

// secure connects for a call that is sent over TLS. It gets the host and port
// of the URL; the host is the name that the certificate must be for unless
// the service names another.
func (d *dialer) secure(ctx context.Context, _, addr string) (net.Conn, error) {
	if d.protocol == H2C {
		return nil, &outcome.UnsentError{Err: errNoTLS}
	}
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	config := d.tls
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		config = config.Clone()
		config.ServerName = host
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.tlsTimeout, errTLSTimeout)
	defer cancel()
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, unsent(ctx, errTLSTimeout, fmt.Errorf("TLS handshake: %w", err))
	}
	if d.protocol == HTTP2 && secured.ConnectionState().NegotiatedProtocol != "h2" {
		_ = secured.Close()
		return nil, &outcome.UnsentError{Err: errNotHTTP2}
	}
	return secured, nil
}

// unsent wraps err, and says so where it is our own limit that was reached.
func unsent(ctx context.Context, limit error, err error) error {
	if context.Cause(ctx) == limit {
		err = fmt.Errorf("%w: %w", limit, err)
	}
	return &outcome.UnsentError{Err: err}
}

// timeoutError is the expiry of a limit that the mesh set.
type timeoutError struct{ text string }

func (e *timeoutError) Error() string        { return e.text }
func (e *timeoutError) Timeout() bool        { return true }
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

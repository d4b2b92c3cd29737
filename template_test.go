package tulle_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

// Tests in this file are about the transport that a mesh is given, which is
// the template of those to its endpoints.

// serveTLS answers at addr over TLS, HTTP/1.1 or HTTP/2, with a certificate of
// ca for "reviews" and with the version of HTTP that was spoken.
func (w *world) serveTLS(addr string, ca *authority, configure ...func(*tls.Config)) {
	w.Helper()
	l, err := w.net.Listen(addr)
	require.NoError(w, err)
	srv := &http.Server{
		Handler:   http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, r.Proto) }),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.issue(w.T, "reviews")}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	for _, f := range configure {
		f(srv.TLSConfig)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeTLS(l, "", "") }()
	w.Cleanup(func() {
		srv.Close()
		<-ended
	})
}

// What the transport given says of connections holds for endpoints as well,
// as far as the service does not say otherwise.
func TestTransportIsTheTemplate(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Minute})
		base := &http.Transport{
			DialContext:           w.net.DialContext,
			ResponseHeaderTimeout: time.Second,
			Proxy:                 func(*http.Request) (*url.URL, error) { panic("no proxy is between here and an endpoint") },
			MaxConnsPerHost:       1,
		}
		m := w.mesh(one("10.0.0.1:80"), tulle.WithTransport(base))
		begin := time.Now()
		_, err := get(w.Context(), m, "http://reviews/")
		assert.Equal(w, outcome.AttemptTimeout, asError(w, err).Reason)
		assert.Equal(w, time.Second, time.Since(begin))
		assert.EqualValues(w, 1, service(w, m, "reviews").Endpoints[0].Failed, "a time-out is held against the endpoint")
	})
}

func TestDialerIsUsedForEndpoints(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "here"})
		base := &http.Transport{}
		m := w.mesh(one("10.0.0.1:80"), tulle.WithTransport(base), tulle.WithDialer(w.net.DialContext))
		assert.Equal(w, "here", w.get(m, "http://reviews/").body)
	})
}

// A service of another's gets a certificate for the name that the caller
// used, also through the template's own TLS settings.
func TestTemplateTLSSettingsHold(t *testing.T) {
	ca := newAuthority(t)
	var names atomic.Value
	l := tlsServer(t, ca, func(w http.ResponseWriter, r *http.Request) { names.Store(r.TLS.ServerName) })
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool}}
	m := realMesh(t, one(l), tulle.WithTransport(base))
	resp, err := m.Client().Get("https://reviews/")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, "reviews", names.Load())
}

// The certificate of an endpoint is verified where the service says how,
// although the transport given would not.
func TestServiceWithTLSVerifiesWhateverTheTransportSays(t *testing.T) {
	inBubble(t, func(w *world) {
		ca, other := newAuthority(w.T), newAuthority(w.T)
		w.serveTLS("10.0.0.1:443", other)
		lax := tulle.WithTransport(&http.Transport{DialContext: w.net.DialContext, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true,
			VerifyConnection:   func(tls.ConnectionState) error { return nil },
		}})
		c := one("10.0.0.1:443")
		assert.Equal(w, "HTTP/2.0", w.get(w.mesh(c, lax), "https://reviews/").body, "the transport decides where the service does not")
		c.Services[0].TLS = &tulle.TLS{RootCAs: ca.pool}
		_, err := get(w.Context(), w.mesh(c, lax), "https://reviews/")
		assert.Equal(w, outcome.ConnectFailed, asError(w, err).Reason)
		var untrusted *tls.CertificateVerificationError
		assert.ErrorAs(w, err, &untrusted)
	})
}

// The transport's lowest version of TLS is not lowered by a service.
func TestLowestVersionOfTLSIsTheHigher(t *testing.T) {
	inBubble(t, func(w *world) {
		ca := newAuthority(w.T)
		w.serveTLS("10.0.0.1:443", ca, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
		c := one("10.0.0.1:443")
		c.Services[0].TLS = &tulle.TLS{RootCAs: ca.pool}
		for version, works := range map[uint16]bool{0: true, tls.VersionTLS12: true, tls.VersionTLS13: false} {
			m := w.mesh(c, tulle.WithTransport(&http.Transport{DialContext: w.net.DialContext, TLSClientConfig: &tls.Config{MinVersion: version}}))
			_, err := get(w.Context(), m, "https://reviews/")
			assert.Equal(w, works, err == nil, "%#x: %v", version, err)
		}
	})
	for version, works := range map[uint16]bool{0: true, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true, 9999: false} {
		c := one("10.0.0.1:443")
		c.Services[0].TLS = &tulle.TLS{MinVersion: version}
		err := c.Validate()
		if works {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, "services[0] (reviews): tls.minVersion: ")
		}
	}
}

// HTTP/2 that is switched off in the transport, in the new way or the old, is
// off to endpoints too, unless the service asks for it.
func TestHTTP2SwitchedOffInTheTransportStaysOff(t *testing.T) {
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	for name, row := range map[string]struct {
		template func(*http.Transport)
		protocol tulle.Protocol
		want     string
	}{
		"on":                       {func(*http.Transport) {}, tulle.Auto, "HTTP/2.0"},
		"protocols":                {func(t *http.Transport) { t.Protocols = http1 }, tulle.Auto, "HTTP/1.1"},
		"next protocols":           {func(t *http.Transport) { t.TLSNextProto = noNextProto() }, tulle.Auto, "HTTP/1.1"},
		"next protocols, overrule": {func(t *http.Transport) { t.TLSNextProto = noNextProto(); t.ForceAttemptHTTP2 = true }, tulle.Auto, "HTTP/2.0"},
		"asked for":                {func(t *http.Transport) { t.Protocols = http1 }, tulle.HTTP2, "HTTP/2.0"},
		"not asked for":            {func(*http.Transport) {}, tulle.HTTP1, "HTTP/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				ca := newAuthority(w.T)
				w.serveTLS("10.0.0.1:443", ca)
				base := &http.Transport{DialContext: w.net.DialContext, TLSClientConfig: &tls.Config{RootCAs: ca.pool}}
				row.template(base)
				c := one("10.0.0.1:443")
				c.Services[0].Protocol = row.protocol
				assert.Equal(w, row.want, w.get(w.mesh(c, tulle.WithTransport(base)), "https://reviews/").body)
			})
		})
	}
}

func noNextProto() map[string]func(string, *tls.Conn) http.RoundTripper {
	return map[string]func(string, *tls.Conn) http.RoundTripper{}
}

// A transport that makes TLS connections in a way of its own cannot be used
// for endpoints; services are refused rather than reached in another way.
func TestTransportThatDialsTLSItselfIsRefused(t *testing.T) {
	pinned := func() (net.Conn, error) { return nil, errors.New("pinned") }
	for name, base := range map[string]*http.Transport{
		"DialTLSContext": {DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return pinned() }},
		"DialTLS":        {DialTLS: func(string, string) (net.Conn, error) { return pinned() }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				_, err := tulle.New(one("10.0.0.1:443"), tulle.WithTransport(base))
				assert.ErrorContains(w, err, "DialTLSContext")
				_, err = tulle.New(tulle.Config{Services: []tulle.Service{{}}}, tulle.WithTransport(base))
				assert.ErrorContains(w, err, "DialTLSContext")
				assert.ErrorContains(w, err, "name: is empty", "beside every other fault")

				m := w.mesh(tulle.Config{}, tulle.WithTransport(base))
				assert.ErrorContains(w, m.Apply(one("10.0.0.1:443")), "DialTLSContext")
				assert.Empty(w, m.State().Services)
				_, err = get(w.Context(), m, "https://elsewhere/")
				assert.ErrorContains(w, err, "pinned", "unknown hosts are reached as ever")
			})
		})
	}
}

// What a caller does to its pool of authorities after New changes nothing.
func TestAuthoritiesAreCopied(t *testing.T) {
	inBubble(t, func(w *world) {
		ca, pool := newAuthority(w.T), x509.NewCertPool()
		w.serveTLS("10.0.0.1:443", ca)
		c := one("10.0.0.1:443")
		c.Services[0].TLS = &tulle.TLS{RootCAs: pool}
		m := w.mesh(c)
		_, err := get(w.Context(), m, "https://reviews/")
		require.Error(w, err)
		pool.AddCert(ca.cert)
		_, err = get(w.Context(), m, "https://reviews/")
		require.Error(w, err)
		require.NoError(w, m.Apply(c))
		assert.Equal(w, "HTTP/2.0", w.get(m, "https://reviews/").body, "Apply takes it over")
	})
}

// Idle connections are bounded for each endpoint, by however many names it is
// called.
func TestIdleConnectionsAreBoundedPerEndpoint(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "ok"})
		c := one("10.0.0.1:80")
		c.Services[0].Hosts = []string{"*.reviews.test"}
		c.Services[0].Connection.MaxIdle = 3
		m := w.mesh(c)
		for i := range 50 {
			w.get(m, fmt.Sprintf("http://h%d.reviews.test/", i))
		}
		synctest.Wait()
		assert.Equal(w, 4*3, w.net.Open("10.0.0.1:80"))
	})
}

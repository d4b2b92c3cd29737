package tulle

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
)

// TLS says how the endpoints of a service prove who they are, and how the
// mesh does. Verification cannot be turned off: give the authority instead.
type TLS struct {
	// ServerName is the name that the certificate must be for and that is
	// sent as SNI. Empty means the host of the call's URL.
	ServerName string
	// RootCAs are the authorities trusted. Nil means those of the system.
	RootCAs *x509.CertPool
	// Certificates are those that the mesh shows when it is asked for one.
	Certificates []tls.Certificate
	// MinVersion is the lowest version of TLS spoken: tls.VersionTLS12, which
	// zero means, or tls.VersionTLS13.
	MinVersion uint16
}

// config returns a configuration for the protocol, built on base, which
// holds what the template transport was given and may be nil.
func (t *TLS) config(base *tls.Config, p Protocol) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		c = base.Clone()
	}
	switch p {
	case HTTP1:
		c.NextProtos = []string{"http/1.1"}
	case HTTP2:
		c.NextProtos = []string{"h2"}
	default:
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	if t == nil {
		return c
	}
	c.InsecureSkipVerify, c.VerifyConnection = false, nil
	if t.ServerName != "" {
		c.ServerName = t.ServerName
	}
	if t.RootCAs != nil {
		c.RootCAs = t.RootCAs
	}
	if len(t.Certificates) > 0 {
		c.Certificates = slices.Clone(t.Certificates)
	}
	c.MinVersion = max(c.MinVersion, t.MinVersion, tls.VersionTLS12)
	return c
}

// equal reports whether connections made for t serve o as well.
func (t *TLS) equal(o *TLS) bool {
	if t == nil || o == nil {
		return t == o
	}
	return t.ServerName == o.ServerName && t.MinVersion == o.MinVersion &&
		(t.RootCAs == o.RootCAs || t.RootCAs != nil && o.RootCAs != nil && t.RootCAs.Equal(o.RootCAs)) &&
		slices.EqualFunc(t.Certificates, o.Certificates, func(a, b tls.Certificate) bool {
			// The certificate names its key.
			return slices.EqualFunc(a.Certificate, b.Certificate, slices.Equal)
		})
}

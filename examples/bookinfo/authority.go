package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority issues certificates, each in files of its own. One goroutine at a
// time may use it.
type authority struct {
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	// pem is what those who trust it are given.
	pem    string
	issued int64
}

// newAuthority returns an authority that keeps its files in a new directory.
func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Bookinfo"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 30),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bookinfo-")
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &authority{dir: dir, key: key, cert: cert, pem: string(text), issued: 1}, nil
}

// close removes all files.
func (a *authority) close() { _ = os.RemoveAll(a.dir) }

// files are where the certificate of a service and its key are.
func (a *authority) files(service string) (cert, key string) {
	return filepath.Join(a.dir, service+".crt"), filepath.Join(a.dir, service+".key")
}

// certify writes a certificate for a service that ends at a time, with a new
// key, in the place of the one before. It returns its number.
func (a *authority) certify(service string, ends time.Time) (number int64, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return 0, err
	}
	a.issued++
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(a.issued), DNSNames: []string{service}, NotBefore: time.Now().Add(-time.Minute), NotAfter: ends,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		return 0, err
	}
	certFile, keyFile := a.files(service)
	if err := replace(certFile, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return 0, err
	}
	return a.issued, replace(keyFile, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// replace writes a file that nobody sees half written.
func replace(name string, block *pem.Block) error {
	if err := os.WriteFile(name+".new", pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// shown returns when the server at each address shows the certificate of that
// number, which may just have ended.
func (a *authority) shown(ctx context.Context, service string, number int64, addrs ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, addr := range addrs {
		for {
			// All certificates were good half a minute ago, see certify.
			c := &tls.Config{RootCAs: roots, ServerName: service, Time: func() time.Time { return time.Now().Add(-time.Minute / 2) }}
			is, err := numberAt(ctx, addr, c)
			if err != nil {
				return err
			}
			if is == number {
				break
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("%s at %s shows certificate %d, not %d", service, addr, is, number)
			}
		}
	}
	return nil
}

// numberAt returns the number of the certificate that a server shows.
func numberAt(ctx context.Context, addr string, c *tls.Config) (int64, error) {
	conn, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: c}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

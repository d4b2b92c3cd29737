package tulle

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// CertificateFiles are a certificate and its key in two PEM files that
// somebody renews. GetCertificate is for tls.Config: it reads them anew when
// they have changed, and goes on with what it has while they cannot be read.
type CertificateFiles struct {
	cert, key string

	loaded atomic.Pointer[tls.Certificate]
	err    atomic.Pointer[error]
	// mu is only ever tried: who looks at the files holds up nobody else, be
	// it for ever.
	mu      sync.Mutex
	stamp   [2]stamp
	checked time.Time
}

// stamp tells one version of a file from another.
type stamp struct {
	size     int64
	modified time.Time
}

// checkEvery is how often the files are looked at, at most.
const checkEvery = time.Second

// LoadCertificateFiles reads the two files. That they cannot be read, or do
// not fit together, is an error now and never again.
func LoadCertificateFiles(cert, key string) (*CertificateFiles, error) {
	f := &CertificateFiles{cert: cert, key: key}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(time.Now()); err != nil {
		return nil, err
	}
	return f, nil
}

// GetCertificate returns the certificate as the files have it now. It is safe
// for concurrent use and looks at the files at most once in a second. While one
// handshake does so, which takes as long as the files take to be read, others
// go on with the certificate there is.
func (f *CertificateFiles) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if f.mu.TryLock() {
		defer f.mu.Unlock()
		if now := time.Now(); now.Sub(f.checked) >= checkEvery {
			// What cannot be used now leaves the one before in use.
			err := f.load(now)
			f.err.Store(&err)
		}
	}
	return f.loaded.Load(), nil
}

// Err returns why the files could not be read when they were last looked at,
// nil if they could.
func (f *CertificateFiles) Err() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// load reads the files if they are others than before. It is called with mu
// held.
func (f *CertificateFiles) load(now time.Time) error {
	f.checked = now
	var is [2]stamp
	for i, name := range [...]string{f.cert, f.key} {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("tulle: certificate: %w", err)
		}
		is[i] = stamp{info.Size(), info.ModTime()}
	}
	if f.loaded.Load() != nil && is == f.stamp && f.Err() == nil {
		return nil
	}
	c, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("tulle: certificate: %w", err)
	}
	f.stamp = is
	f.loaded.Store(&c)
	return nil
}

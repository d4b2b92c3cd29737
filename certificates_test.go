package tulle_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
)

// writeCertificate writes a certificate of the name and its key.
func writeCertificate(t *testing.T, cert, key, name string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
}

// Files that have changed are read anew; what cannot be read leaves the
// certificate before in use, and says so.
func TestCertificateFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		_, err := tulle.LoadCertificateFiles(cert, key)
		require.ErrorIs(t, err, os.ErrNotExist)
		writeCertificate(t, cert, key, "first")
		f, err := tulle.LoadCertificateFiles(cert, key)
		require.NoError(t, err)
		name := func() string {
			c, err := f.GetCertificate(nil)
			require.NoError(t, err)
			return c.Leaf.Subject.CommonName
		}
		require.Equal(t, "first", name())

		writeCertificate(t, cert, key, "second certificate")
		assert.Equal(t, "first", name(), "looked at a moment ago")
		time.Sleep(time.Second)
		assert.Equal(t, "second certificate", name())

		require.NoError(t, os.WriteFile(cert, []byte("half of a"), 0o600))
		time.Sleep(time.Second)
		assert.Equal(t, "second certificate", name())
		assert.Error(t, f.Err())
		writeCertificate(t, cert, key, "third")
		time.Sleep(time.Second)
		assert.Equal(t, "third", name())
		assert.NoError(t, f.Err())
	})
}

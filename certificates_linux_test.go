package tulle_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
)

// A file that does not come, as from a file system over a network that is
// gone, holds up the handshake that reads it and no other.
func TestCertificateFilesThatDoNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		writeCertificate(t, cert, key, "first")
		f, err := tulle.LoadCertificateFiles(cert, key)
		require.NoError(t, err)
		require.NoError(t, os.Remove(cert))
		require.NoError(t, syscall.Mkfifo(cert, 0o600))
		time.Sleep(2 * time.Second)
		held := make(chan struct{})
		go func() {
			defer close(held)
			_, err := f.GetCertificate(nil)
			assert.NoError(t, err)
		}()
		// Opening waits for who reads.
		pipe, err := os.OpenFile(cert, os.O_WRONLY, 0)
		require.NoError(t, err)
		for range 3 {
			c, err := f.GetCertificate(nil)
			require.NoError(t, err)
			require.Equal(t, "first", c.Leaf.Subject.CommonName)
			require.NoError(t, f.Err())
		}
		require.NoError(t, pipe.Close())
		<-held
		require.Error(t, f.Err(), "there was nothing in it")
	})
}

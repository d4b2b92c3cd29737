package authn

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Without TLS no connection leaves this machine, whatever a name resolves to.
func TestPlainHTTPStaysHere(t *testing.T) {
	plain := ownTransport(true)
	for _, outside := range []string{"192.0.2.1:80", "[2001:db8::1]:80", "169.254.169.254:80", "0.0.0.0:80"} {
		_, err := plain.DialContext(t.Context(), "tcp", outside)
		assert.ErrorIs(t, err, errOutside, outside)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := plain.DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	// The control: what is not plain may go anywhere, and this goes nowhere.
	conn, err = ownTransport(false).DialContext(t.Context(), "tcp", "0.0.0.0:"+port(l))
	assert.NotErrorIs(t, err, errOutside)
	if err == nil {
		require.NoError(t, conn.Close())
	}
}

func port(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

package authn

import (
	"net"
	"net/http"
	"testing"
	"time"

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

func TestRetryAfterField(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for field, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "1.5": 0, "99999": maxPause, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
		now.Add(time.Hour).Format(http.TimeFormat):    maxPause,
	} {
		assert.Equal(t, want, retryAfter(field, now), "%q", field)
	}
}

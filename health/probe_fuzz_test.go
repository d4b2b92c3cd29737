package health_test

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/health"
)

// Whatever is valid makes a request to the service that is read as it was
// written.
func FuzzProbe(f *testing.F) {
	f.Add("/healthz", "GET", "")
	f.Add("//other/?a=b&c", "OPTIONS", "shop.example:81")
	f.Add("/%0d%0aX: y", "HEAD", "[::1]:80")
	f.Add("/a b?c d", "G", "ä.example")
	f.Add("/\x7f", "GET /", "a@b")
	f.Fuzz(func(t *testing.T, path, method, host string) {
		p := health.Probe{Path: path, Method: method, Host: host}
		if p.Validate() != nil || path == "" {
			return
		}
		var wire bytes.Buffer
		var sent *http.Request
		synctest.Test(t, func(t *testing.T) {
			prober := health.NewProber(health.ProberOptions{})
			defer prober.Close()
			c := prober.Watch(health.Subject{
				Name: "reviews", Endpoint: newEndpoint("10.0.0.1:80"), Probe: p,
				RoundTripper: tripper(func(r *http.Request) (*http.Response, error) {
					sent = r
					return answer(200), r.Write(&wire)
				}),
			})
			synctest.Wait()
			_, known, cause, _ := c.Verdict()
			require.True(t, known)
			require.Empty(t, cause)
		})
		require.Equal(t, "reviews", sent.URL.Host)
		got, err := http.ReadRequest(bufio.NewReader(&wire))
		require.NoError(t, err)
		require.Equal(t, sent.URL.RequestURI(), got.RequestURI)
		require.Equal(t, p.Effective().Method, got.Method)
		if host == "" {
			require.Equal(t, "reviews", got.Host)
		}
		require.Equal(t, http.Header{"User-Agent": {"tulle-probe"}}, got.Header)
	})
}

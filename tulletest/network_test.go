package tulletest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A handler with two scripted dependencies, one of which takes an hour.
func TestFleetInOneBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		details := &Script{Default: Step{Body: "200 pages"}}
		reviews := &Script{Default: Step{Body: "good", Delay: time.Hour}}
		n.Serve(t, "details:9080", details)
		n.Serve(t, "reviews:9080", reviews)
		client := &http.Client{Transport: &http.Transport{DialContext: n.DialContext}}
		page := n.Serve(t, ":0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, service := range []string{"details", "reviews"} {
				resp, err := client.Get("http://" + service + ":9080/")
				if err != nil {
					http.Error(w, err.Error(), http.StatusBadGateway)
					return
				}
				defer resp.Body.Close()
				fmt.Fprint(w, service, ": ")
				io.Copy(w, resp.Body)
				fmt.Fprintln(w)
			}
		}))
		start := time.Now()
		resp, err := client.Get("http://" + page.Addr)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, "details: 200 pages\nreviews: good\n", string(body))
		assert.Equal(t, time.Hour, time.Since(start))
		assert.Equal(t, 1, reviews.Count())
	})
}

// Serve leaves nothing behind, even of calls that never end: the bubble would
// notice.
func TestServeStopsHangingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		n.Serve(t, "stuck:80", &Script{Default: Step{Fault: Hang, KeepBody: true}})
		n.Serve(t, "dark:80", &Script{})
		n.Blackhole("dark:80")
		transport := &http.Transport{DialContext: n.DialContext}
		for _, host := range []string{"stuck", "dark"} {
			go func() {
				resp, err := transport.RoundTrip(&http.Request{
					Method: "POST", URL: &url.URL{Scheme: "http", Host: host}, Header: http.Header{}, Body: io.NopCloser(endless(1 << 30)),
				})
				if err == nil {
					resp.Body.Close()
				}
			}()
		}
		synctest.Wait()
		assert.Equal(t, 1, n.Open("stuck:80"))
	})
}

package retry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/retry"
)

// A server that is just being restarted answers the first request with 503.
func Example() {
	var started atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !started.Swap(true) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()

	loop, err := retry.New(retry.Options{
		Policy:  &retry.Policy{Attempts: 3, PerTry: 2 * time.Second},
		Timeout: 5 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: loop.Middleware(nil)(http.DefaultTransport)}

	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	stats := loop.Counters().Stats()
	fmt.Println(resp.Status)
	fmt.Println("attempts:", stats.Attempts, "because of:", stats.Causes)
	// Output:
	// 200 OK
	// attempts: 2 because of: map[gateway:1]
}

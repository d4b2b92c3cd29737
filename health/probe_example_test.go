package health_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
)

// The verdict on an endpoint is there as soon as its first probe has ended.
func ExampleProber() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "the database is gone", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	reviews, _ := endpoint.New(endpoint.Info{Addr: server.Listener.Addr().String()}, time.Now())

	prober := health.NewProber(health.ProberOptions{})
	defer prober.Close()
	changed := make(chan struct{}, 1)
	checked := prober.Watch(health.Subject{
		Name:         reviews.Addr(), // a mesh has the name of the service here
		Endpoint:     reviews,
		Probe:        health.Probe{Path: "/healthz", Interval: 5 * time.Second},
		RoundTripper: http.DefaultTransport,
		Changed:      func() { changed <- struct{}{} },
	})
	defer checked.Stop()
	<-changed
	healthy, _, cause, _ := checked.Verdict()
	fmt.Println(healthy, cause)
	// Output: false probe: status 503
}

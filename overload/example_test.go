package overload_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/overload"
)

// A server that works on one request at a time and lets nobody wait. A probe
// gets through all the same.
func Example() {
	guard, err := overload.New(overload.Policy{
		MaxInFlight: 1, Waiting: -1,
		Exempt: []match.Request{{Path: match.Path{Exact: "/healthz"}}},
	}, overload.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	entered, finish := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(guard.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-finish
		}
		overload.AddMetric(r.Context(), "queue_depth", 3)
	})))
	defer server.Close()
	get := func(path string) {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		load, err := endpoint.ParseLoadReport(resp.Header.Get(endpoint.LoadReportHeader))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s %d, beside it %v of %v, %v\n", path, resp.StatusCode, load.InFlight, load.Limit, load.Named)
		if after := resp.Header.Get("Retry-After"); after != "" {
			fmt.Println("retry after", after)
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); get("/slow") }()
	<-entered
	get("/books")
	get("/healthz")
	close(finish)
	<-done
	// Output:
	// /books 503, beside it 1 of 1, []
	// retry after 1
	// /healthz 200, beside it 1 of 1, [{named_metrics.queue_depth 3}]
	// /slow 200, beside it 0 of 1, [{named_metrics.queue_depth 3}]
}

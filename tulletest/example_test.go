package tulletest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/tulle-mesh/tulle/tulletest"
)

// A client, a server and a network between them, without a socket. Inside a
// test, Network.Serve starts and stops the server.
func ExampleNetwork() {
	network := tulletest.NewNetwork()
	listener, err := network.Listen("reviews:9080")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s says hello", r.Host)
	})}
	go server.Serve(listener)
	defer server.Close()

	client := &http.Client{Transport: &http.Transport{DialContext: network.DialContext}}
	for range 2 {
		resp, err := client.Get("http://reviews:9080/")
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(string(body))
	}
	fmt.Println("connections:", network.Opened("reviews:9080"))
	// Output:
	// reviews:9080 says hello
	// reviews:9080 says hello
	// connections: 1
}

// An endpoint that is busy once and then answers.
func ExampleScript() {
	ratings := &tulletest.Script{
		Steps:   []tulletest.Step{{Status: 503, Header: http.Header{"Retry-After": {"1"}}}},
		Default: tulletest.Step{Body: "five stars"},
	}
	for range 2 {
		w := httptest.NewRecorder()
		ratings.ServeHTTP(w, httptest.NewRequest("GET", "/ratings/1", nil))
		fmt.Printf("%d, Retry-After %q, body %q\n", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
	fmt.Println(ratings.Count(), ratings.Received()[1].URL.Path)
	// Output:
	// 503, Retry-After "1", body ""
	// 200, Retry-After "", body "five stars"
	// 2 /ratings/1
}

package fault_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/match"
)

// Every checkout fails, and nothing else does.
func Example() {
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer shop.Close()
	faults, err := fault.New(fault.Policy{
		Match: []match.Request{{Path: match.Path{Prefix: "/checkout"}}},
		Abort: &fault.Abort{Percent: 100, Status: http.StatusServiceUnavailable},
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: faults.Middleware(http.DefaultTransport)}
	for _, path := range []string{"/", "/checkout/7"} {
		resp, err := client.Get(shop.URL + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(path, resp.Status)
	}
	fmt.Println("aborted:", faults.Stats().Aborted)
	// Output:
	// / 200 OK
	// /checkout/7 503 Service Unavailable
	// aborted: 1
}

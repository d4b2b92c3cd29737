package tulle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// start serves text on loopback and returns its address.
func start(text string) (addr string, stop func()) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, text)
	}))
	return srv.Listener.Addr().String(), srv.Close
}

func Example() {
	a, stopA := start("hello")
	defer stopA()
	b, stopB := start("hello")
	stopB() // nobody is there

	mesh, err := tulle.New(tulle.Config{
		Services: []tulle.Service{{Name: "reviews", Resolver: discovery.Addrs(a, b)}},
		Policies: tulle.Recommended(),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Shutdown(context.Background())

	client := mesh.Client()
	for range 3 {
		resp, err := client.Get("http://reviews/api/7")
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.Request.URL, string(body))
	}
	// Output:
	// http://reviews/api/7 hello
	// http://reviews/api/7 hello
	// http://reviews/api/7 hello
}

// A route sends one user to the new version and everybody else to the old.
func ExampleRoute() {
	v1, stop1 := start("v1")
	defer stop1()
	v2, stop2 := start("v2")
	defer stop2()

	mesh, err := tulle.New(tulle.Config{
		Services: []tulle.Service{{
			Name: "reviews",
			Resolver: discovery.NewStatic(
				endpoint.Info{Addr: v1, Labels: map[string]string{"version": "v1"}},
				endpoint.Info{Addr: v2, Labels: map[string]string{"version": "v2"}},
			),
			Subsets: []tulle.Subset{
				{Name: "v1", Labels: map[string]string{"version": "v1"}},
				{Name: "v2", Labels: map[string]string{"version": "v2"}},
			},
		}},
		Routes: []tulle.Route{{
			Name:  "testers",
			Match: []match.Request{{Hosts: []string{"reviews"}, Headers: []match.Value{{Name: "end-user", Exact: "jason"}}}},
			Split: []tulle.Destination{{Service: "reviews", Subset: "v2"}},
		}, {
			Name:  "everybody",
			Match: []match.Request{{Hosts: []string{"reviews"}}},
			Split: []tulle.Destination{{Service: "reviews", Subset: "v1"}},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Shutdown(context.Background())

	for _, user := range []string{"jason", "ann"} {
		req, _ := http.NewRequest("GET", "http://reviews/", nil)
		req.Header.Set("end-user", user)
		resp, err := mesh.Client().Do(req)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(user, string(body))
	}
	// Output:
	// jason v2
	// ann v1
}

// Every fault of a configuration is reported at once, and nothing is applied.
func ExampleConfig_Validate() {
	err := tulle.Config{
		Services: []tulle.Service{{Name: "checkout", Resolver: discovery.Addrs("10.0.0.1:80")}},
		Routes: []tulle.Route{{
			Name:     "pay",
			Split:    []tulle.Destination{{Service: "checkout", Subset: "v2"}},
			Policies: tulle.Policies{Timeout: 2 * time.Second, Retry: &retry.Policy{PerTry: 3 * time.Second}},
		}},
	}.Validate()
	fmt.Println(err)
	// Output:
	// routes[0] (pay): split[0] (checkout): subset: service checkout has no subset "v2"
	// routes[0] (pay): split[0] (checkout): retry.perTry: 3s exceeds timeout 2s
}

// An Error says who failed and why.
func ExampleError() {
	mesh, err := tulle.New(tulle.Config{Services: []tulle.Service{{
		Name:     "reviews",
		Resolver: discovery.NewStatic(endpoint.Info{Addr: "10.0.0.1:80", NotReady: true}),
		MaxWait:  -1, // fail at once
	}}})
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Shutdown(context.Background())
	_ = mesh.Ready(context.Background())

	_, err = mesh.Client().Get("http://reviews/")
	if e, ok := errors.AsType[*tulle.Error](err); ok {
		fmt.Println(e)
		fmt.Println(e.Reason == outcome.NoEndpoint, e.Reason.Status())
	}
	// Output:
	// tulle: service reviews: no endpoint is available: 1 known, 1 held back
	// true 503
}

// Mode Observe shows what a policy would do before it does it.
func ExampleMesh_State() {
	addr, stop := start("hello")
	defer stop()
	mesh, err := tulle.New(tulle.Config{
		Services: []tulle.Service{{Name: "reviews", Resolver: discovery.Addrs(addr)}},
		Policies: tulle.Policies{Retry: &retry.Policy{Mode: outcome.Observe, Statuses: []int{http.StatusOK}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Shutdown(context.Background())
	resp, err := mesh.Client().Get("http://reviews/")
	if err != nil {
		log.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()

	s := mesh.State().Services[0]
	fmt.Println("calls:", s.Calls)
	fmt.Println("retries:", s.Retries.Retries, "would have been:", s.Retries.WouldRetry)
	// Output:
	// calls: 1, 0 active, 1 2xx
	// retries: 0 would have been: 1
}

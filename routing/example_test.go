package routing_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

func Example() {
	table, err := routing.Compile([]routing.Rule[string]{
		{Name: "everyone", Action: "v1"},
		{Name: "jason", Action: "v2", Match: []match.Request{{
			Path:    match.Path{Prefix: "/reviews"},
			Headers: []match.Value{{Name: "end-user", Exact: "jason"}},
		}}},
	})
	if err != nil {
		panic(err)
	}
	for _, user := range []string{"", "jason"} {
		r, _ := http.NewRequest("GET", "http://reviews:9080/reviews/0", nil)
		r.Header.Set("End-User", user)
		hit, _ := table.Match(r)
		fmt.Printf("%s by rule %q, prefix %s\n", hit.Action, hit.Name, hit.Prefix)
	}
	// Output:
	// v1 by rule "everyone", prefix /
	// v2 by rule "jason", prefix /reviews
}

func ExampleCompile_faults() {
	_, err := routing.Compile([]routing.Rule[routing.Filters]{
		{Name: "old", Match: []match.Request{{Path: match.Path{Prefix: "/old"}}}},
		{Name: "older", Match: []match.Request{{Path: match.Path{Prefix: "/old/"}}}},
		{Name: "checkout", Action: routing.Filters{
			Request: routing.HeaderEdit{Set: []routing.Field{{Name: "Host", Value: "cart"}}},
		}},
	})
	fmt.Println(err)
	// Output:
	// routes[1] (older): matches[0]: identical to routes[0] (old): matches[0]
	// routes[2] (checkout): request.set[0].name: Host is not an ordinary field; use rewrite.host
}

func ExampleSplit() {
	split, err := routing.NewSplit([]uint32{90, 10})
	if err != nil {
		panic(err)
	}
	// The hash of a key as draw keeps each user on one side.
	key := match.Key{Header: "user"}
	sides := make([]int, 2)
	for i := range 1000 {
		r, _ := http.NewRequest("GET", "http://reviews/", nil)
		r.Header.Set("User", fmt.Sprint("user-", i))
		draw, _ := key.Hash(r)
		sides[split.Pick(draw)]++
	}
	fmt.Println(sides)
	// Output: [907 93]
}

func ExampleMiddleware() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s for %s", r.URL.Path, r.Header.Get("Tenant"))
	}))
	defer server.Close()

	table, err := routing.Compile([]routing.Rule[routing.Filters]{{
		Match: []match.Request{{Path: match.Path{Prefix: "/api/v1"}}},
		Action: routing.Filters{
			Request: routing.HeaderEdit{Set: []routing.Field{{Name: "Tenant", Value: "blue"}}},
			Rewrite: &routing.Rewrite{Prefix: "/"},
		},
	}})
	if err != nil {
		panic(err)
	}
	client := &http.Client{Transport: routing.Middleware(table)(http.DefaultTransport)}
	resp, err := client.Get(server.URL + "/api/v1/orders/7")
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output: /orders/7 for blue <nil>
}

func ExampleHandler() {
	table, err := routing.Compile([]routing.Rule[routing.Filters]{{
		Match:  []match.Request{{Path: match.Path{Prefix: "/old"}}},
		Action: routing.Filters{Redirect: &routing.Redirect{Prefix: "/new", Status: 308}},
	}})
	if err != nil {
		panic(err)
	}
	handler := routing.Handler(table)(http.NotFoundHandler())

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/old/page?n=1", nil))
	fmt.Println(w.Code, w.Header().Get("Location"))
	// Output: 308 /new/page?n=1
}

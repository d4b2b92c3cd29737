// Quickstart calls three servers by the name of their service. One of them stops in between; no call fails.
package main

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/discovery"
)

func main() {
	servers, addrs := make([]*httptest.Server, 3), make([]string, 3)
	for i := range servers {
		answer := func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", fmt.Sprint(i+1)) }
		servers[i] = httptest.NewServer(http.HandlerFunc(answer))
		addrs[i] = servers[i].Listener.Addr().String()
	}
	reviews := tulle.Service{Name: "reviews", Resolver: discovery.Addrs(addrs...)}
	mesh, err := tulle.New(tulle.Config{Services: []tulle.Service{reviews}, Policies: tulle.Recommended()})
	if err != nil {
		log.Fatal(err)
	}
	client := http.Client{Transport: mesh.Transport()}
	for i := range 20 {
		if i == 10 {
			fmt.Println("-- server 2 stops")
			servers[1].Close()
		}
		resp, err := client.Get(fmt.Sprintf("http://reviews/products/%d", i))
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(resp.Request.URL, resp.Status, "from server", resp.Header.Get("Server"))
	}
}

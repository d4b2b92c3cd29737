package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

// A set that the program finds out by itself, beside one that is written
// down.
func Example() {
	var own discovery.Manual
	if err := own.Set(endpoint.Info{Addr: "10.0.0.7:8080", Labels: map[string]string{"version": "v2"}}); err != nil {
		fmt.Println(err)
	}
	reviews := discovery.Merge(&own, discovery.Addrs("10.0.0.1:8080"))

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sets := 0
	for infos, err := range reviews.Watch(ctx) {
		if err != nil {
			fmt.Println("not known at present:", err)
			continue
		}
		for _, info := range infos {
			fmt.Println(info.Addr, info.Labels)
		}
		if sets++; sets == 2 {
			break
		}
		if err := own.Set(); err != nil {
			fmt.Println(err)
		}
		fmt.Println("then")
	}

	fmt.Println(discovery.Addrs("10.0.0.1").Validate())
	// Output:
	// 10.0.0.7:8080 map[version:v2]
	// 10.0.0.1:8080 map[]
	// then
	// 10.0.0.1:8080 map[]
	// endpoints[0].addr: "10.0.0.1" is neither host:port nor unix:path
}

// The addresses of a name, asked for again and again. An address is a name
// for itself, so that this needs no server.
func ExampleDNS() {
	reviews := discovery.DNS{Host: "127.0.0.1", Port: 8080}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for infos, err := range reviews.Watch(ctx) {
		if err != nil {
			fmt.Println("what was known stays in use:", err)
			continue
		}
		fmt.Println(infos[0].Addr)
		break
	}

	fmt.Println(discovery.DNS{Host: "_http._tcp.reviews.example", SRV: true, Port: 80}.Validate())
	// Output:
	// 127.0.0.1:8080
	// port: 80, but SRV records have ports of their own
}

// A file that someone, or something, writes.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "discovery")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "reviews.json")
	write := func(doc string) {
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			fmt.Println(err)
		}
	}
	write(`[{"addr": "10.0.0.1:8080", "labels": {"version": "v2"}}]`)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for infos, err := range (discovery.File{Path: path, Interval: 10 * time.Millisecond}).Watch(ctx) {
		if err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), dir, "..."))
			break
		}
		fmt.Println(infos[0].Addr, infos[0].Labels)
		write(`[{"addr": "10.0.0.1", "wieght": 3}]`)
	}
	// Output:
	// 10.0.0.1:8080 map[version:v2]
	// .../reviews.json: endpoints[0].wieght: is no field of an endpoint
	// endpoints[0].addr: "10.0.0.1" is neither host:port nor unix:path
}

// A server that lists the endpoints, and says so when nothing has changed.
func ExampleHTTP() {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "reviews.json", time.Time{}, strings.NewReader(`[{"addr": "10.0.0.1:8080", "zone": "b"}]`))
	}))
	defer registry.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for infos, err := range (discovery.HTTP{URL: registry.URL, Wait: 30 * time.Second}).Watch(ctx) {
		if err != nil {
			fmt.Println("what was known stays in use:", err)
			continue
		}
		fmt.Println(infos[0].Addr, infos[0].Zone)
		break
	}
	// Output:
	// 10.0.0.1:8080 b
}

// A registry that is away when the process starts, and one that has lost its
// memory: neither takes the endpoints away.
func ExampleLastKnownGood() {
	dir, err := os.MkdirTemp("", "discovery")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "reviews.json")
	// As an earlier process has left it.
	if err := os.WriteFile(path, []byte(`[{"addr": "10.0.0.1:8080"}]`), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	var registry discovery.Manual
	registry.Fail(errors.New("connection refused"))
	reviews := discovery.Guard{Source: discovery.LastKnownGood{Source: &registry, Path: path}}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	errs := 0
	for infos, err := range reviews.Watch(ctx) {
		if err == nil {
			fmt.Println(infos[0].Addr)
			continue
		}
		if errs++; errs == 2 {
			fmt.Println(err)
			break
		}
		fmt.Println(errors.Unwrap(err))
		if err := registry.Set(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// 10.0.0.1:8080
	// connection refused
	// a sudden drop of endpoints from 1 to 0 is held back for 30s
}

// Names where there is no registry.
func ExampleFallback() {
	reviews := discovery.Fallback{
		Primary:   new(discovery.Manual), // as if of a registry that is silent
		Secondary: discovery.DNS{Host: "127.0.0.1", Port: 8080},
		After:     100 * time.Millisecond,
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for infos, err := range reviews.Watch(ctx) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(infos[0].Addr)
		break
	}
	// Output:
	// primary: knows no endpoint
	// 127.0.0.1:8080
}

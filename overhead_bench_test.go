//go:build !race

package tulle_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/retry"
)

// BenchmarkOverhead is what the mesh adds to a transport that does nothing.
// The module benchmarks compares the same with other libraries.
func BenchmarkOverhead(b *testing.B) {
	plain := one("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	armed := plain
	armed.Policies = tulle.Policies{Retry: &retry.Policy{}}
	timed := armed
	timed.Policies.Timeout = time.Minute
	for _, row := range []struct {
		name string
		rt   http.RoundTripper
	}{
		{"bare", null{}},
		{"unknown_host", nullMesh(b, tulle.Config{})},
		{"service", nullMesh(b, plain)},
		{"retry", nullMesh(b, armed)},
		{"retry+timeout", nullMesh(b, timed)},
	} {
		b.Run(row.name, func(b *testing.B) {
			req := newRequest(context.Background(), false, 0)
			b.ReportAllocs()
			for b.Loop() {
				consume(b, row.rt, req)
			}
		})
		b.Run(row.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				req := newRequest(context.Background(), false, 0)
				for pb.Next() {
					consume(b, row.rt, req)
				}
			})
		})
	}
}

// BenchmarkLoopback is a whole call to one of three servers on loopback, of
// 1 KiB, beside the same transport without the mesh.
func BenchmarkLoopback(b *testing.B) {
	payload := make([]byte, 1024)
	var infos []endpoint.Info
	for range 3 {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(payload) }))
		defer srv.Close()
		infos = append(infos, endpoint.Info{Addr: srv.Listener.Addr().String()})
	}
	base := &http.Transport{MaxIdleConnsPerHost: 64}
	defer base.CloseIdleConnections()
	m, err := tulle.New(tulle.Config{
		Services: []tulle.Service{{Name: "reviews", Resolver: discovery.NewStatic(infos...)}},
		Policies: tulle.Recommended(),
	}, tulle.WithTransport(base))
	require.NoError(b, err)
	defer m.Shutdown(context.Background())
	for _, row := range []struct {
		name, url string
		rt        http.RoundTripper
	}{
		{"bare", "http://" + infos[0].Addr + "/", base},
		{"mesh", "http://reviews/", m.Transport()},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, _ := http.NewRequest("GET", row.url, nil)
					resp, err := row.rt.RoundTrip(req)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		})
	}
}

package benchmarks

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// maxIdle is how many idle connections every stack keeps to an endpoint.
const maxIdle = 64

// BenchmarkLoopback is a whole call of HTTP/1.1 to one of three servers on
// loopback that answer with 1 KiB. The servers run in this process: their work
// and their allocations are in every row alike, bare included.
func BenchmarkLoopback(b *testing.B) {
	b.Run("case=serial", func(b *testing.B) {
		for _, s := range stacks() {
			b.Run("stack="+s.name, func(b *testing.B) {
				f := newServers(b).fleet
				serial(b, newCaller(b, s.wrap(b, f), s.hosts(f)), (*caller).get)
			})
		}
	})
	b.Run("case=parallel", func(b *testing.B) {
		for _, s := range stacks() {
			b.Run("stack="+s.name, func(b *testing.B) {
				f := newServers(b).fleet
				b.SetParallelism(8)
				parallel(b, s.wrap(b, f), s.hosts(f), (*caller).get)
			})
		}
	})
}

// servers are three endpoints on loopback that count.
type servers struct {
	fleet
	requests    [3]atomic.Int64
	connections atomic.Int64
}

// newServers starts the servers, with a transport that no other row has used.
func newServers(tb testing.TB) *servers {
	tb.Helper()
	s := &servers{}
	payload := bytes.Repeat([]byte("x"), kib)
	for i := range s.requests {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.requests[i].Add(1)
			_, _ = w.Write(payload)
		}))
		srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.connections.Add(1)
			}
		}
		srv.Start()
		tb.Cleanup(srv.Close)
		s.addrs = append(s.addrs, srv.Listener.Addr().String())
	}
	transport := &http.Transport{MaxIdleConnsPerHost: maxIdle}
	tb.Cleanup(transport.CloseIdleConnections)
	s.transport = transport
	return s
}

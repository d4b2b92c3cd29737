package tulletest

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/internal/memnet"
)

// Network is a network inside the test whose connections behave as TCP
// connections do: buffered, with deadlines, half close and resets. An address
// is a "host:port" whose host may be any name; there is no resolver to ask.
//
// In a testing/synctest bubble create it inside the bubble; its latency is then
// virtual time. Its methods may be called from any goroutine.
type Network struct {
	net *memnet.Network
}

// NewNetwork returns a network without listeners: every dial is refused.
func NewNetwork() *Network {
	return &Network{net: memnet.New()}
}

// Listen listens on addr. An empty host is 127.0.0.1; port 0 takes a free port,
// which the listener's Addr tells. An address that is taken gives an error that
// is syscall.EADDRINUSE.
func (n *Network) Listen(addr string) (net.Listener, error) {
	l, err := n.net.Listen(addr)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// DialContext connects to the listener on addr; it is what to give to
// http.Transport.DialContext. Without a listener the error is
// syscall.ECONNREFUSED, as *net.OpError. Callers come from 127.0.0.1.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.net.DialContext(ctx, network, addr)
}

// Serve starts an http.Server with handler on addr, which speaks HTTP/1.1 and
// unencrypted HTTP/2, and stops it when the test ends: the contexts of requests
// are cancelled and the connections closed, at which an http.Transport's
// goroutines end as well. Each configure may change the server before it
// starts. The server's Addr is the address listened on.
func (n *Network) Serve(t testing.TB, addr string, handler http.Handler, configure ...func(*http.Server)) *http.Server {
	t.Helper()
	l, err := n.Listen(addr)
	if err != nil {
		t.Fatalf("tulletest: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Addr:        l.Addr().String(),
		Handler:     handler,
		Protocols:   protocols,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(t.Output(), "tulletest: "+addr+": ", 0),
	}
	for _, f := range configure {
		f(server)
	}
	var connections sync.WaitGroup
	told := server.ConnState
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if told != nil {
			told(c, state)
		}
		switch state {
		case http.StateNew:
			connections.Add(1)
		case http.StateClosed, http.StateHijacked:
			connections.Done()
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		cancel()
		server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("tulletest: serving %s: %v", addr, err)
		}
		// Dials that wait in a blackhole outlive their callers.
		n.net.Heal(server.Addr)
		n.net.Reset(server.Addr)
		// A connection that is closed lingers a moment for its peer, half a
		// second in net/http. A handler that does not end is waited for no
		// longer than that.
		gone := make(chan struct{})
		go func() {
			connections.Wait()
			close(gone)
		}()
		select {
		case <-gone:
		case <-time.After(time.Second):
		}
	})
	return server
}

// Refuse makes dials to addr fail with syscall.ECONNREFUSED although somebody
// listens there. Open connections are left alone.
func (n *Network) Refuse(addr string) { n.net.Refuse(addr) }

// Blackhole swallows everything on the way to addr and back, as a partition or
// a stopped process does: dials wait until their context ends, and open
// connections stay silent. What was under way arrives after Heal.
func (n *Network) Blackhole(addr string) { n.net.Blackhole(addr) }

// Latency makes a round trip to addr take d, on open connections too: a dial
// takes d, and data d/2 in each direction.
func (n *Network) Latency(addr string, d time.Duration) { n.net.Latency(addr, d) }

// Heal undoes Refuse, Blackhole and Latency.
func (n *Network) Heal(addr string) { n.net.Heal(addr) }

// Reset resets the connections that are open to addr: at both ends reads, after
// what has already arrived, and writes fail with syscall.ECONNRESET.
func (n *Network) Reset(addr string) { n.net.Reset(addr) }

// Opened returns how many connections to addr were ever opened.
func (n *Network) Opened(addr string) int { return n.net.Opened(addr) }

// Open returns how many connections to addr are open now, that is, not yet
// closed at both ends.
func (n *Network) Open(addr string) int { return n.net.Open(addr) }

package memnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Network is a set of listeners and the links to them. Its methods may be
// called from any goroutine. Create it inside the bubble that uses it.
type Network struct {
	mu    sync.Mutex
	links map[string]*link
	port  uint16 // the last ephemeral port given out
}

// New returns a network without listeners: every dial is refused.
func New() *Network {
	return &Network{links: make(map[string]*link), port: 49151}
}

// link is everything between dialers and one address. Except for latency its
// fields are guarded by Network.mu.
type link struct {
	listener  *Listener
	refuse    bool
	blackhole bool
	latency   atomic.Int64 // of a round trip
	conns     map[*connection]struct{}
	opened    int
	changed   chan struct{} // closed and replaced when a waiting dial should look again
}

// connection is a pair of ends; it is open until both are closed.
type connection struct {
	client, server *Conn
	ends           atomic.Int32
}

func (l *link) oneWay() time.Duration { return time.Duration(l.latency.Load()) / 2 }

// wake makes waiting dials look again.
func (l *link) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// link returns the link to addr; n.mu is held.
func (n *Network) link(addr string) *link {
	l := n.links[addr]
	if l == nil {
		l = &link{conns: make(map[*connection]struct{}), changed: make(chan struct{})}
		n.links[addr] = l
	}
	return l
}

// Listen listens on addr, a "host:port" whose host may be any name. An empty
// host is 127.0.0.1, and port 0 takes a free port. An address already listened
// on gives an error that is syscall.EADDRINUSE.
func (n *Network) Listen(addr string) (*Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: name(addr), Err: err}
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "0" {
		port = strconv.Itoa(int(n.ephemeral()))
	}
	addr = net.JoinHostPort(host, port)
	link := n.link(addr)
	if link.listener != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: parseAddr(addr),
			Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	var l *Listener
	l = newListener(parseAddr(addr), func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if link.listener == l {
			link.listener = nil
			link.wake()
		}
	})
	link.listener = l
	return l, nil
}

// ephemeral returns a port no listener or dial was given before; n.mu is held.
func (n *Network) ephemeral() uint16 {
	n.port++
	if n.port == 0 {
		n.port = 49152
	}
	return n.port
}

// DialContext connects to the listener on addr. It fails with an error that is
// syscall.ECONNREFUSED when there is none, and with ctx's error when ctx ends
// first. Only TCP networks are known.
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	failed := func(err error) error {
		return &net.OpError{Op: "dial", Net: network, Addr: parseAddr(addr), Err: err}
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, failed(net.UnknownNetworkError(network))
	}
	if err := ctx.Err(); err != nil {
		return nil, failed(err)
	}
	n.mu.Lock()
	delay := time.Duration(n.link(addr).latency.Load())
	n.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, failed(ctx.Err())
		}
	}
	for {
		n.mu.Lock()
		link := n.link(addr)
		listener, changed := link.listener, link.changed
		refuse, blackhole := link.refuse, link.blackhole
		n.mu.Unlock()
		switch {
		case refuse, listener == nil && !blackhole:
			return nil, failed(os.NewSyscallError("connect", syscall.ECONNREFUSED))
		case blackhole:
			select {
			case <-changed:
			case <-ctx.Done():
				return nil, failed(ctx.Err())
			}
		default:
			c := n.connect(link, listener)
			select {
			case listener.pending <- c.server:
				if listener.isClosed() { // perhaps after Close had emptied the queue
					c.client.reset()
				}
				return c.client, nil
			case <-listener.done:
				c.abandon()
			case <-ctx.Done():
				c.abandon()
				return nil, failed(ctx.Err())
			}
		}
	}
}

// connect makes a connection and counts it as open.
func (n *Network) connect(l *link, listener *Listener) *connection {
	n.mu.Lock()
	defer n.mu.Unlock()
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), n.ephemeral())
	c := &connection{}
	c.ends.Store(2)
	c.client, c.server = pair(net.TCPAddrFromAddrPort(from), listener.addr, l, func() {
		if c.ends.Add(-1) == 0 {
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(l.conns, c)
		}
	})
	l.conns[c] = struct{}{}
	l.opened++
	if l.blackhole {
		c.client.hold(true)
	}
	return c
}

// abandon closes both ends of a connection nobody has seen.
func (c *connection) abandon() {
	c.client.Close()
	c.server.Close()
}

// Refuse makes dials to addr fail with syscall.ECONNREFUSED although somebody
// listens. Open connections are left alone.
func (n *Network) Refuse(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(addr)
	l.refuse = true
	l.wake()
}

// Blackhole swallows everything between dialers and addr, as a partition does:
// dials wait until their context ends, and open connections stay silent. What
// was under way arrives after Heal.
func (n *Network) Blackhole(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(addr)
	l.blackhole = true
	for c := range l.conns {
		c.client.hold(true)
	}
}

// Latency makes a round trip to addr take d: a dial takes d, and data d/2 in
// each direction, on open connections too.
func (n *Network) Latency(addr string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.link(addr).latency.Store(int64(max(d, 0)))
}

// Heal undoes Refuse, Blackhole and Latency.
func (n *Network) Heal(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(addr)
	l.refuse, l.blackhole = false, false
	l.latency.Store(0)
	for c := range l.conns {
		c.client.hold(false)
	}
	l.wake()
}

// Reset resets every open connection to addr: after what has already arrived,
// reads at both ends fail with syscall.ECONNRESET, and so do writes.
func (n *Network) Reset(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.link(addr).conns {
		c.client.reset()
	}
}

// Opened returns how many connections to addr were ever opened.
func (n *Network) Opened(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.link(addr).opened
}

// Open returns how many connections to addr are open: at least one end is not
// closed.
func (n *Network) Open(addr string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.link(addr).conns)
}

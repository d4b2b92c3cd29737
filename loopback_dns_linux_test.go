package tulle_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/outcome"
)

// nameServer answers every question for an IPv4 address with the same one.
type nameServer struct {
	*testing.T
	addr string

	mu     sync.Mutex
	conn   net.PacketConn
	answer netip.Addr // none, and it hears questions and says nothing
	wg     sync.WaitGroup
}

func newNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	n := &nameServer{T: t, addr: conn.LocalAddr().String()}
	n.serve(conn)
	t.Cleanup(n.stop)
	return n
}

// start has it listen, again at the same address.
func (n *nameServer) start() {
	conn, err := net.ListenPacket("udp", n.addr)
	require.NoError(n, err)
	n.serve(conn)
}

func (n *nameServer) serve(conn net.PacketConn) {
	n.mu.Lock()
	n.conn = conn
	n.mu.Unlock()
	n.wg.Go(func() {
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			n.mu.Lock()
			answer := n.answer
			n.mu.Unlock()
			if answer.IsValid() && size > 12 {
				_, _ = conn.WriteTo(dnsReply(buf[:size], answer), from)
			}
		}
	})
}

// stop leaves nobody at its address.
func (n *nameServer) stop() {
	n.mu.Lock()
	_ = n.conn.Close()
	n.mu.Unlock()
	n.wg.Wait()
}

func (n *nameServer) say(answer string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer = netip.Addr{}
	if answer != "" {
		n.answer = netip.MustParseAddr(answer)
	}
}

// lookup is how long a look-up may take.
const lookup = 300 * time.Millisecond

func (n *nameServer) resolver(port uint16) discovery.DNS {
	return discovery.DNS{
		Host: "reviews.test.", Port: port, Interval: 20 * time.Millisecond, Timeout: lookup,
		Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "udp", n.addr)
			if err != nil {
				return nil, err
			}
			return briefConn{conn.(*net.UDPConn)}, nil
		}},
	}
}

// briefConn is a connection of a net.Resolver, which goes on with a look-up
// that was given up for the five seconds that the system's configuration says.
type briefConn struct{ *net.UDPConn }

func (c briefConn) SetDeadline(time.Time) error { return c.UDPConn.SetDeadline(time.Now().Add(lookup)) }

// dnsReply answers the question of a message: with the address if it is for
// IPv4, else with nothing. See RFC 1035, section 4.
func dnsReply(question []byte, answer netip.Addr) []byte {
	end := 12
	for question[end] != 0 {
		end += 1 + int(question[end])
	}
	end += 5 // the root, type and class
	reply := append([]byte(nil), question[:end]...)
	binary.BigEndian.PutUint16(reply[2:], 0x8180)
	copy(reply[4:], []byte{0, 1, 0, 0, 0, 0, 0, 0})
	if kind := binary.BigEndian.Uint16(question[end-4:]); kind == 1 {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, answer.AsSlice()...)
	}
	return reply
}

// The name server dies, by leaving its address or by falling silent. What is
// known stays in use for as long as it takes, and what the server says when it
// is back is heard.
func TestNameServerThatDies(t *testing.T) {
	for name, die := range map[string]struct{ away, back func(*nameServer) }{
		"gone":   {(*nameServer).stop, (*nameServer).start},
		"silent": {func(n *nameServer) { n.say("") }, func(*nameServer) {}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			addr, err := netip.ParseAddrPort(server(t, ok))
			require.NoError(t, err)
			other, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), addr.Port()).String())
			require.NoError(t, err)
			srv := &http.Server{Handler: http.HandlerFunc(ok)}
			go func() { _ = srv.Serve(other) }()
			t.Cleanup(func() { _ = srv.Close() })
			names := newNameServer(t)
			names.say("127.0.0.1")
			c := tulle.Config{Services: []tulle.Service{{Name: "reviews", Resolver: names.resolver(addr.Port())}}}
			c.Policies = tulle.Recommended()
			m := s.mesh(c)
			require.NoError(t, m.Ready(t.Context()))
			require.Empty(t, reach(t, m, "GET", "http://reviews/", 50))

			die.away(names)
			until(t, "State tells of it", func() bool { return service(t, m, "reviews").Discovery.Error != "" })
			assert.Empty(t, reach(t, m, "POST", "http://reviews/", 200))
			endpoints := service(t, m, "reviews").Endpoints
			require.Len(t, endpoints, 1)
			assert.True(t, endpoints[0].Available)

			names.say("127.0.0.2")
			die.back(names)
			until(t, "the new address is known", func() bool {
				e := service(t, m, "reviews").Endpoints
				return len(e) == 1 && e[0].Addr == other.Addr().String()
			})
			assert.Empty(t, service(t, m, "reviews").Discovery.Error)
			assert.Empty(t, reach(t, m, "POST", "http://reviews/", 50))
		})
	}
}

// Where nothing was ever known a call waits for as long as it may and no
// longer, and learns what the name server's trouble is. The mesh is there all
// the time: the first answer is enough.
func TestNameServerThatWasNeverThere(t *testing.T) {
	for name, away := range map[string]func(*nameServer){
		"gone": (*nameServer).stop, "silent": func(*nameServer) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			addr, err := netip.ParseAddrPort(server(t, ok))
			require.NoError(t, err)
			names := newNameServer(t)
			away(names)
			c := tulle.Config{Services: []tulle.Service{{Name: "reviews", Resolver: names.resolver(addr.Port())}}}
			c.Policies = tulle.Recommended()
			m := s.mesh(c)
			until(t, "State tells of it", func() bool { return service(t, m, "reviews").Discovery.Error != "" })

			fails := func(ctx context.Context, m *tulle.Mesh) *tulle.Error {
				_, err := get(ctx, m, "http://reviews/")
				e := asError(t, err)
				assert.Equal(t, outcome.NoEndpoint, e.Reason)
				assert.Zero(t, e.Attempts)
				_, dns := errors.AsType[*net.DNSError](err)
				assert.True(t, dns, err)
				return e
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			assert.ErrorIs(t, fails(ctx, m), context.DeadlineExceeded)
			c.Services[0].MaxWait = 50 * time.Millisecond
			require.NoError(t, m.Apply(c))
			until(t, "State tells of it", func() bool { return service(t, m, "reviews").Discovery.Error != "" })
			fails(t.Context(), m)

			c.Services[0].MaxWait = 0
			require.NoError(t, m.Apply(c))
			waits := make(chan error, 1)
			go func() {
				_, err := get(t.Context(), m, "http://reviews/")
				waits <- err
			}()
			until(t, "a call waits", func() bool { return service(t, m, "reviews").Calls.Active == 1 })
			if name == "gone" {
				names.start()
			}
			names.say("127.0.0.1")
			assert.NoError(t, <-waits)
			assert.Empty(t, reach(t, m, "GET", "http://reviews/", 50))
		})
	}
}

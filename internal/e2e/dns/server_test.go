package dns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// zone is what a name server answers with.
type zone struct {
	// records are in the form of zone files.
	records []string
	// rcode is that of every answer.
	rcode int
	// silent servers receive and do not answer, garbled ones answer nonsense.
	silent, garbled bool
	// rotating servers give the records in another order each time.
	rotating bool
	// truncated servers say over UDP that the answer needs TCP.
	truncated bool
}

// nameServer serves a zone over UDP and TCP on one port of loopback.
type nameServer struct {
	addr string
	mu   sync.Mutex
	zone zone
	rrs  []dns.RR
	// udp and tcp count queries; each is told to asked, if there is room.
	udp, tcp int
	asked    chan struct{}
	servers  []*dns.Server
}

func newNameServer(t *testing.T, z zone) *nameServer {
	t.Helper()
	s := &nameServer{asked: make(chan struct{}, 1000)}
	s.serve(t, z)
	s.start(t, "127.0.0.1:0")
	t.Cleanup(s.stop)
	return s
}

// serve makes z what is answered with.
func (s *nameServer) serve(t *testing.T, z zone) {
	t.Helper()
	var rrs []dns.RR
	for _, text := range z.records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone, s.rrs = z, rrs
}

func (s *nameServer) start(t *testing.T, addr string) {
	t.Helper()
	var err error
	// The port that UDP is given may be taken for TCP.
	for range 20 {
		var packets net.PacketConn
		if packets, err = net.ListenPacket("udp", addr); err != nil {
			continue
		}
		var conns net.Listener
		if conns, err = net.Listen("tcp", packets.LocalAddr().String()); err != nil {
			packets.Close()
			continue
		}
		if s.addr == "" { // one that is started again has its address
			s.addr = packets.LocalAddr().String()
		}
		for _, server := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: conns, Handler: s}} {
			started := make(chan struct{})
			server.NotifyStartedFunc = func() { close(started) }
			go func() {
				if err := server.ActivateAndServe(); err != nil {
					t.Error(err)
				}
			}()
			<-started
			s.servers = append(s.servers, server)
		}
		return
	}
	t.Fatal(err)
}

// stop ends the server; nobody listens on its port then.
func (s *nameServer) stop() {
	for _, server := range s.servers {
		_ = server.Shutdown()
	}
	s.servers = nil
}

// ServeDNS implements dns.Handler.
func (s *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	z := s.zone
	_, overTCP := w.RemoteAddr().(*net.TCPAddr)
	turn := s.udp
	if overTCP {
		s.tcp++
	} else {
		s.udp++
	}
	answer := new(dns.Msg)
	answer.SetRcode(q, z.rcode)
	answer.Authoritative, answer.RecursionAvailable, answer.Compress = true, true, true
	for _, rr := range s.rrs {
		h := rr.Header()
		if h.Name == q.Question[0].Name && (h.Rrtype == q.Question[0].Qtype || h.Rrtype == dns.TypeCNAME) {
			answer.Answer = append(answer.Answer, dns.Copy(rr))
			if c, ok := rr.(*dns.CNAME); ok {
				for _, rr := range s.rrs {
					if rr.Header().Name == c.Target && rr.Header().Rrtype == q.Question[0].Qtype {
						answer.Answer = append(answer.Answer, dns.Copy(rr))
					}
				}
			}
		}
	}
	s.mu.Unlock()
	select {
	case s.asked <- struct{}{}:
	default:
	}
	switch {
	case z.silent:
		return
	case z.garbled:
		_, _ = w.Write([]byte("nonsense, and too short for a header"))
		return
	case z.truncated && !overTCP:
		answer.Truncated, answer.Answer = true, nil
	}
	if n := len(answer.Answer); z.rotating && n > 0 {
		answer.Answer = slices.Concat(answer.Answer[turn%n:], answer.Answer[:turn%n])
	}
	_ = w.WriteMsg(answer)
}

func (s *nameServer) counts() (udp, tcp int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.udp, s.tcp
}

// queries returns when n more have come.
func (s *nameServer) queries(ctx context.Context, n int) error {
	for len(s.asked) > 0 {
		<-s.asked
	}
	for range n {
		select {
		case <-s.asked:
		case <-ctx.Done():
			return fmt.Errorf("no query: %w", ctx.Err())
		}
	}
	return nil
}

// resolver asks the server, and nobody else.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.addr)
	}}
}

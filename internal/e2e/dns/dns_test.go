package dns

import (
	"context"
	"fmt"
	"iter"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

// reviews asks the server often, and is not patient.
func reviews(s *nameServer) discovery.DNS {
	return discovery.DNS{
		Host: "reviews.test.", Port: 80, Interval: 10 * time.Millisecond, Timeout: time.Second,
		Resolver: s.resolver(),
	}
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func addrs(infos []endpoint.Info) string {
	var out []string
	for _, info := range infos {
		out = append(out, info.Addr)
	}
	return strings.Join(out, " ")
}

// naive is the negative control: what a look-up gives is the set.
type naive struct{ s *nameServer }

func (n naive) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		r := n.s.resolver()
		for ctx.Err() == nil {
			ask, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			found, _ := r.LookupNetIP(ask, "ip", "reviews.test.")
			cancel()
			var infos []endpoint.Info
			for _, a := range found {
				infos = append(infos, endpoint.Info{Addr: net.JoinHostPort(a.String(), "80")})
			}
			if ctx.Err() != nil || !yield(infos, nil) {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

var good = zone{records: []string{"reviews.test. 60 A 10.0.0.1", "reviews.test. 60 A 10.0.0.2"}}

// TestTrouble: through each kind of trouble the set stays, the trouble is
// told, and so is its end.
func TestTrouble(t *testing.T) {
	troubles := map[string]func(*testing.T, *nameServer){
		"NXDOMAIN":  func(t *testing.T, s *nameServer) { s.serve(t, zone{rcode: dns.RcodeNameError}) },
		"SERVFAIL":  func(t *testing.T, s *nameServer) { s.serve(t, zone{rcode: dns.RcodeServerFailure}) },
		"REFUSED":   func(t *testing.T, s *nameServer) { s.serve(t, zone{rcode: dns.RcodeRefused}) },
		"empty":     func(t *testing.T, s *nameServer) { s.serve(t, zone{}) },
		"silence":   func(t *testing.T, s *nameServer) { s.serve(t, zone{silent: true}) },
		"nonsense":  func(t *testing.T, s *nameServer) { s.serve(t, zone{garbled: true}) },
		"no server": func(_ *testing.T, s *nameServer) { s.stop() },
	}
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			check := func(of func(*nameServer) discovery.Resolver) error {
				s := newNameServer(t, good)
				step := 0
				for infos, err := range of(s).Watch(patient(t)) {
					switch step++; step {
					case 1:
						if err != nil || addrs(infos) != "10.0.0.1:80 10.0.0.2:80" {
							return fmt.Errorf("first %v, %v", infos, err)
						}
						trouble(t, s)
					case 2:
						if err == nil {
							return fmt.Errorf("in trouble %v", infos)
						}
						s.serve(t, good)
						if s.servers == nil {
							s.start(t, s.addr)
						}
					default:
						if err != nil { // of another kind while the server comes back
							continue
						}
						if addrs(infos) != "10.0.0.1:80 10.0.0.2:80" {
							return fmt.Errorf("afterwards %v", infos)
						}
						return nil
					}
				}
				return fmt.Errorf("ended after %d", step)
			}
			if err := check(func(s *nameServer) discovery.Resolver { return reviews(s) }); err != nil {
				t.Error(err)
			}
			if check(func(s *nameServer) discovery.Resolver { return naive{s} }) == nil {
				t.Error("negative control: a naive resolver passed")
			}
		})
	}
}

// TestSame: a set in another order, with another time to live, is the same.
func TestSame(t *testing.T) {
	check := func(of func(*nameServer) discovery.Resolver) error {
		s := newNameServer(t, zone{rotating: true, records: []string{
			"reviews.test. 0 A 10.0.0.1", "reviews.test. 0 A 10.0.0.2", "reviews.test. 0 A 10.0.0.3",
		}})
		ctx, cancel := context.WithCancel(patient(t))
		var sets []string
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for infos, err := range of(s).Watch(ctx) {
				sets = append(sets, fmt.Sprint(addrs(infos), err))
			}
		}()
		err := s.queries(ctx, 20)
		s.serve(t, zone{records: []string{
			"reviews.test. 86400 A 10.0.0.1", "reviews.test. 1 A 10.0.0.3", "reviews.test. 86400 A 10.0.0.2",
		}})
		if err == nil {
			err = s.queries(ctx, 20)
		}
		cancel()
		<-ended
		if err == nil && len(sets) != 1 {
			err = fmt.Errorf("%q", sets)
		}
		return err
	}
	if err := check(func(s *nameServer) discovery.Resolver { return reviews(s) }); err != nil {
		t.Error(err)
	}
	if check(func(s *nameServer) discovery.Resolver { return naive{s} }) == nil {
		t.Error("negative control: a naive resolver passed")
	}
}

// TestAnswers: what the records say is the set.
func TestAnswers(t *testing.T) {
	var many, manyAddrs []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("reviews.test. 5 A 10.0.1.%d", i))
		manyAddrs = append(manyAddrs, fmt.Sprintf("10.0.1.%d:80", i))
	}
	slices.Sort(manyAddrs)
	both := []string{"reviews.test. 5 A 10.0.0.1", "reviews.test. 5 AAAA 2001:db8::1"}
	cases := []struct {
		name   string
		zone   zone
		family discovery.Family
		want   string
	}{
		{"AAAA only", zone{records: both[1:]}, discovery.PreferIPv4, "[2001:db8::1]:80"},
		{"both, one of a kind", zone{records: both}, discovery.PreferIPv4, "10.0.0.1:80"},
		{"both, the other kind", zone{records: both}, discovery.PreferIPv6, "[2001:db8::1]:80"},
		{"both, all", zone{records: both}, discovery.BothFamilies, "10.0.0.1:80 [2001:db8::1]:80"},
		{"another name", zone{records: []string{"reviews.test. 5 CNAME v2.test.", "v2.test. 5 A 10.0.0.9"}}, 0, "10.0.0.9:80"},
		{"an answer that needs TCP", zone{records: many, truncated: true}, 0, strings.Join(manyAddrs, " ")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newNameServer(t, c.zone)
			d := reviews(s)
			d.Family, d.Timeout = c.family, 10*time.Second
			for infos, err := range d.Watch(patient(t)) {
				if err != nil || addrs(infos) != c.want {
					t.Errorf("%v, %v", addrs(infos), err)
				}
				break
			}
			if _, tcp := s.counts(); (tcp > 0) != c.zone.truncated {
				t.Errorf("%d queries over TCP", tcp)
			}
		})
	}
}

// TestSRV: targets with their priorities, weights and ports, and how they
// change.
func TestSRV(t *testing.T) {
	records := []string{
		"_http._tcp.reviews.test. 5 SRV 10 3 8080 a.test.", "_http._tcp.reviews.test. 5 SRV 20 1 8081 b.test.",
		"a.test. 5 A 10.0.0.1", "b.test. 5 A 10.0.0.2", "b.test. 5 A 10.0.0.3", "b.test. 5 AAAA 2001:db8::2",
	}
	s := newNameServer(t, zone{records: records, rotating: true})
	d := reviews(s)
	d.Host, d.Port, d.SRV, d.Timeout = "_http._tcp.reviews.test.", 0, true, 10*time.Second
	want := [][]endpoint.Info{
		{{Addr: "10.0.0.1:8080", Priority: 10, Weight: 6}, {Addr: "10.0.0.2:8081", Priority: 20, Weight: 1}, {Addr: "10.0.0.3:8081", Priority: 20, Weight: 1}},
		{{Addr: "10.0.0.1:8080", Priority: 10, Weight: 3}},
		{},
	}
	n := 0
	for infos, err := range d.Watch(patient(t)) {
		if err != nil || !slices.EqualFunc(infos, want[n], endpoint.Info.Equal) {
			t.Fatalf("%+v, %v, want %+v", infos, err, want[n])
		}
		switch n++; n {
		case 1:
			s.serve(t, zone{records: records[:3]}) // b has no address any more
		case 2:
			s.serve(t, zone{records: []string{"_http._tcp.reviews.test. 5 SRV 0 0 0 ."}})
		default:
			return
		}
	}
	t.Error("ended")
}

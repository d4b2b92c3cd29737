package dns

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/discovery"
)

// serve starts a server that answers with its name.
func serve(t *testing.T, name string) (port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	t.Cleanup(s.Close)
	return s.URL[strings.LastIndex(s.URL, ":")+1:]
}

func srv(ports ...string) zone {
	z := zone{records: []string{"localhost.test. 0 A 127.0.0.1"}}
	for _, port := range ports {
		z.records = append(z.records, "_http._tcp.reviews.test. 0 SRV 0 1 "+port+" localhost.test.")
	}
	return z
}

func newMesh(t *testing.T, r discovery.Resolver) *tulle.Mesh {
	t.Helper()
	m, err := tulle.New(tulle.Config{Services: []tulle.Service{{Name: "reviews", Resolver: r}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return m
}

// call returns who answered.
func call(ctx context.Context, m *tulle.Mesh) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://reviews/", nil)
	if err != nil {
		return "", err
	}
	resp, err := m.Client().Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	who, err := io.ReadAll(resp.Body)
	return string(who), err
}

// answers calls until the last 20 calls were answered by exactly those. No
// call may fail.
func answers(ctx context.Context, m *tulle.Mesh, names ...string) error {
	for seen := map[string]bool{}; ; clear(seen) {
		for range 20 {
			who, err := call(ctx, m)
			if err != nil {
				return err
			}
			seen[who] = true
		}
		all := len(seen) == len(names)
		for _, name := range names {
			all = all && seen[name]
		}
		if all {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("answers from %v, want %v", seen, names)
		}
	}
}

// until waits for what a goroutine of the mesh does some time.
func until(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// told waits until the state says that discovery fails, or that it does not.
func told(ctx context.Context, m *tulle.Mesh, failing bool) error {
	return until(ctx, func() bool { return (m.State().Services[0].Discovery.Error != "") == failing })
}

// TestNamesMove: calls follow the names, and none fails on the way.
func TestNamesMove(t *testing.T) {
	a, b, c := serve(t, "a"), serve(t, "b"), serve(t, "c")
	s := newNameServer(t, srv(a))
	d := reviews(s)
	d.Host, d.Port, d.SRV, d.Timeout = "_http._tcp.reviews.test.", 0, true, 10*time.Second
	m, ctx := newMesh(t, d), patient(t)
	for _, step := range []struct {
		zone zone
		want []string
	}{{srv(a), []string{"a"}}, {srv(a, b), []string{"a", "b"}}, {srv(c, b), []string{"b", "c"}}, {srv(c), []string{"c"}}} {
		s.serve(t, step.zone)
		if err := answers(ctx, m, step.want...); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNameServerDies: whatever becomes of the name server, calls go on, the
// state tells, and when it is back its names count again.
func TestNameServerDies(t *testing.T) {
	a, b := serve(t, "a"), serve(t, "b")
	troubles := map[string]func(*nameServer){
		"dead":     func(s *nameServer) { s.stop() },
		"silent":   func(s *nameServer) { s.serve(t, zone{silent: true}) },
		"SERVFAIL": func(s *nameServer) { s.serve(t, zone{rcode: dns.RcodeServerFailure}) },
		"NXDOMAIN": func(s *nameServer) { s.serve(t, zone{rcode: dns.RcodeNameError}) },
		"empty":    func(s *nameServer) { s.serve(t, zone{}) },
	}
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			s := newNameServer(t, srv(a))
			d := reviews(s)
			d.Host, d.Port, d.SRV = "_http._tcp.reviews.test.", 0, true
			m, ctx := newMesh(t, d), patient(t)
			if err := answers(ctx, m, "a"); err != nil {
				t.Fatal(err)
			}
			trouble(s)
			if err := told(ctx, m, true); err != nil {
				t.Error(err)
			}
			for range 5 {
				if err := answers(ctx, m, "a"); err != nil {
					t.Fatal(err)
				}
			}
			s.serve(t, srv(b))
			if s.servers == nil {
				s.start(t, s.addr)
			}
			if err := answers(ctx, m, "b"); err != nil {
				t.Fatal(err)
			}
			if err := told(ctx, m, false); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNaiveDiscovery is the negative control: where trouble is taken for an
// empty set, the endpoints are lost and calls fail.
func TestNaiveDiscovery(t *testing.T) {
	s := newNameServer(t, good)
	m := newMesh(t, naive{s})
	if err := m.Ready(patient(t)); err != nil {
		t.Fatal(err)
	}
	s.serve(t, zone{rcode: dns.RcodeServerFailure})
	if err := s.queries(patient(t), 50); err != nil {
		t.Fatal(err)
	}
	if n := len(m.State().Services[0].Endpoints); n != 0 {
		t.Errorf("%d endpoints are left", n)
	}
}

// TestNameServerIsAwayAtTheStart: New does not wait for it, calls do, and are
// answered when it comes; with what an earlier process kept, at once.
func TestNameServerIsAwayAtTheStart(t *testing.T) {
	a := serve(t, "a")
	path := filepath.Join(t.TempDir(), "reviews.json")
	s := newNameServer(t, srv(a))
	d := reviews(s)
	d.Host, d.Port, d.SRV = "_http._tcp.reviews.test.", 0, true
	kept := discovery.LastKnownGood{Source: d, Path: path}

	s.stop()
	m, ctx := newMesh(t, kept), patient(t)
	if err := told(ctx, m, true); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- answers(ctx, m, "a") }()
	s.start(t, s.addr)
	if err := <-answered; err != nil {
		t.Fatal(err)
	}

	if err := until(ctx, func() bool { _, err := os.Stat(path); return err == nil }); err != nil {
		t.Fatal("nothing is kept:", err)
	}
	s.stop()
	if err := answers(ctx, newMesh(t, kept), "a"); err != nil {
		t.Error(err)
	}
}

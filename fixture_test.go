package tulle_test

import (
	"context"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/tulletest"
)

// world is a bubble with a network in it.
type world struct {
	*testing.T
	net *tulletest.Network
}

func inBubble(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(&world{t, tulletest.NewNetwork()}) })
}

// serve answers at addr with steps and then with the last of them.
func (w *world) serve(addr string, steps ...tulletest.Step) *tulletest.Script {
	w.Helper()
	s := &tulletest.Script{Steps: steps}
	if len(steps) > 0 {
		s.Default = steps[len(steps)-1]
	}
	w.net.Serve(w.T, addr, s)
	return s
}

// mesh returns a mesh over the network that is shut down with the test.
func (w *world) mesh(c tulle.Config, opts ...tulle.Option) *tulle.Mesh {
	w.Helper()
	base := &http.Transport{DialContext: w.net.DialContext}
	opts = append([]tulle.Option{tulle.WithTransport(base), tulle.WithRand(seeded(1))}, opts...)
	m, err := tulle.New(c, opts...)
	require.NoError(w, err)
	w.Cleanup(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		_ = m.Shutdown(gone)
		base.CloseIdleConnections()
	})
	return m
}

// seeded returns a source of chance for tulle.WithRand.
func seeded(seed uint64) func() uint64 {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0))
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return rng.Uint64()
	}
}

// one returns a Config of one service, "reviews", at the addresses.
func one(addrs ...string) tulle.Config {
	return tulle.Config{Services: []tulle.Service{{Name: "reviews", Resolver: at(addrs...)}}}
}

func at(addrs ...string) discovery.Resolver { return discovery.Addrs(addrs...) }

// source is a resolver that says what the test lets it say, one thing after
// the other; each watch hears all of it.
type source struct {
	mu      sync.Mutex
	said    []said
	changed chan struct{}
	watches int
}

type said struct {
	infos []endpoint.Info
	err   error
}

func newSource() *source { return &source{changed: make(chan struct{})} }

func (s *source) set(infos ...endpoint.Info) { s.say(said{infos: infos}) }
func (s *source) fail(err error)             { s.say(said{err: err}) }

func (s *source) say(what said) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, what)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *source) watched() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches
}

func (s *source) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		s.mu.Lock()
		s.watches++
		s.mu.Unlock()
		for next := 0; ; {
			s.mu.Lock()
			said, changed := s.said, s.changed
			s.mu.Unlock()
			if next < len(said) {
				if !yield(said[next].infos, said[next].err) {
					return
				}
				next++
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}
}

// answer is a response read to its end.
type answer struct {
	status int
	body   string
	header http.Header
}

func do(ctx context.Context, m *tulle.Mesh, method, url, body string) (answer, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		return answer{}, err
	}
	return read(m.Transport().RoundTrip(req))
}

func read(resp *http.Response, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(b), resp.Header}, err
}

func get(ctx context.Context, m *tulle.Mesh, url string) (answer, error) {
	return do(ctx, m, "GET", url, "")
}

func (w *world) get(m *tulle.Mesh, url string) answer {
	w.Helper()
	a, err := get(w.Context(), m, url)
	require.NoError(w, err)
	return a
}

// asError returns the *tulle.Error that err must be.
func asError(t testing.TB, err error) *tulle.Error {
	t.Helper()
	var e *tulle.Error
	require.ErrorAs(t, err, &e)
	return e
}

func service(t testing.TB, m *tulle.Mesh, name string) tulle.ServiceState {
	t.Helper()
	for _, s := range m.State().Services {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no service %s", name)
	return tulle.ServiceState{}
}

func endpointAt(t testing.TB, s tulle.ServiceState, addr string) tulle.EndpointState {
	t.Helper()
	for _, e := range s.Endpoints {
		if e.Addr == addr {
			return e
		}
	}
	t.Fatalf("no endpoint %s", addr)
	return tulle.EndpointState{}
}

// roundTripperFunc is a RoundTripper made of a function.
type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

package tulle_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/outcome"
)

// patience bounds every wait for what must come. No test waits that long
// unless it fails.
const patience = 30 * time.Second

// scene is a test over real sockets that must leave nothing behind: no call
// that still counts as active, no attempt in flight, no connection of the mesh,
// no goroutine and no file descriptor, those of its servers included.
type scene struct {
	*testing.T
	// open counts the mesh's connections that are, dialled those that were.
	open, dialled atomic.Int64

	mu sync.Mutex
	// ends counts the calls that have ended, by why the mesh gave them up.
	ends map[outcome.Reason]int
	// cut counts the attempts that ran out of their own time.
	cut atomic.Int64
}

// newScene begins a scene. It comes before the servers of the test, so that
// they have ended when it looks for what is left.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, ends: map[outcome.Reason]int{}}
	// The first listener of a process makes descriptors that stay.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	goroutines, files := runtime.NumGoroutine(), openFiles()
	t.Cleanup(func() {
		until(t, "no connection of the mesh is open", func() bool { return s.open.Load() == 0 })
		if !until(t, "no more goroutines than before", func() bool { return runtime.NumGoroutine() <= goroutines }) {
			buf := make([]byte, 1<<20)
			t.Logf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), goroutines, buf[:runtime.Stack(buf, true)])
		}
		until(t, "no more descriptors than before", func() bool { return openFiles() <= files })
	})
	return s
}

// openFiles counts the descriptors of the process, where the system tells.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// until waits for a condition, and fails the test if it does not come.
func until(t testing.TB, what string, holds func() bool) bool {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if holds() {
			return true
		}
	}
	return assert.Fail(t, "waited in vain until "+what)
}

// mesh returns a mesh whose connections are counted. Before it is shut down,
// with the test, nothing may be under way in it any more.
func (s *scene) mesh(c tulle.Config, opts ...tulle.Option) *tulle.Mesh {
	s.Helper()
	base := &http.Transport{DialContext: s.dial}
	m := realMesh(s.T, c, append(opts, tulle.WithTransport(base), tulle.WithHooks(tulle.Hooks{
		AttemptDone: func(d tulle.AttemptDone) {
			if d.Result.Class == outcome.Timeout {
				s.cut.Add(1)
			}
		},
		CallDone: func(d tulle.CallDone) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ends[d.Reason]++
		},
	}))...)
	s.Cleanup(func() { s.idle(m) })
	return m
}

// idle waits until nothing is under way in a mesh: all its permits are back.
func (s *scene) idle(m *tulle.Mesh) {
	s.Helper()
	until(s.T, "nothing is in flight", func() bool {
		for _, service := range m.State().Services {
			if service.Calls.Active != 0 {
				return false
			}
			for _, e := range service.Endpoints {
				if e.InFlight != 0 {
					return false
				}
			}
		}
		return true
	})
}

// ended returns how many calls the mesh gave up for a reason.
func (s *scene) ended(r outcome.Reason) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends[r]
}

func (s *scene) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	s.open.Add(1)
	s.dialled.Add(1)
	return &countedConn{Conn: conn, open: &s.open}, nil
}

// countedConn is a connection that is counted until it is closed.
type countedConn struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

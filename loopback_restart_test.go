package tulle_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
)

// restartable is a server at an address that can be stopped and started anew.
type restartable struct {
	t     *testing.T
	addr  string
	h2    bool
	grace time.Duration
	stop  context.CancelFunc
	done  chan error
	posts *atomic.Int64
}

func (r *restartable) start() {
	r.t.Helper()
	l, err := net.Listen("tcp", r.addr)
	require.NoError(r.t, err)
	r.addr = l.Addr().String()
	m, err := tulle.New(tulle.Config{Inbound: tulle.Inbound{Grace: r.grace, DrainTimeout: 10 * time.Second}})
	require.NoError(r.t, err)
	ctx, stop := context.WithCancel(r.t.Context())
	r.stop, r.done = stop, make(chan error, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost {
			r.posts.Add(1)
		}
		_, _ = io.Copy(w, req.Body)
	})
	go func() {
		s := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
		s.Protocols.SetHTTP1(!r.h2)
		s.Protocols.SetUnencryptedHTTP2(r.h2)
		err := m.ServeListener(ctx, s, l)
		r.done <- err
		_ = m.Shutdown(context.WithoutCancel(ctx))
	}()
}

func (r *restartable) end() {
	r.stop()
	assert.NoError(r.t, <-r.done)
}

// Three endpoints are started anew, one after the other, under load of which
// half are POSTs: no call fails, and no POST is made twice. Without the grace,
// in which callers learn that an endpoint is leaving, calls can fail; how many
// is a matter of luck, so that is not held here but by TestLeavingIsHonouredAtOnce.
func TestRollingRestartLosesNoCall(t *testing.T) {
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(protocol, func(t *testing.T) { rollingRestart(t, h2) })
	}
}

func rollingRestart(t *testing.T, h2 bool) {
	var posts atomic.Int64
	fleet := make([]*restartable, 3)
	addrs := make([]string, 3)
	for i := range fleet {
		fleet[i] = &restartable{t: t, addr: "127.0.0.1:0", h2: h2, grace: 300 * time.Millisecond, posts: &posts}
		fleet[i].start()
		addrs[i] = fleet[i].addr
	}
	c := one(addrs...)
	if h2 {
		c.Services[0].Protocol = tulle.H2C
	}
	c.Policies = tulle.Recommended()
	m := realMesh(t, c)
	var made, sent atomic.Int64
	ctx, finish := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for worker := range 8 {
		load.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				method, body := http.MethodGet, ""
				if n%2 == worker%2 {
					method, body = http.MethodPost, fmt.Sprintf("worker %d, post %d", worker, n)
					sent.Add(1)
				}
				a, err := do(t.Context(), m, method, "http://reviews/", body)
				if assert.NoError(t, err) {
					assert.Equal(t, 200, a.status)
					assert.Equal(t, body, strings.TrimSpace(a.body))
				}
				made.Add(1)
			}
		})
	}
	for _, r := range fleet {
		before := made.Load()
		r.end()
		r.start()
		require.Greater(t, made.Load(), before, "calls went on")
		// The next one has to wait, as it would for a readiness probe.
		require.Eventually(t, func() bool {
			return len(endpointAt(t, service(t, m, "reviews"), r.addr).Holds) == 0
		}, time.Minute, 10*time.Millisecond)
	}
	finish()
	load.Wait()
	for _, r := range fleet {
		r.end()
	}
	assert.Equal(t, sent.Load(), posts.Load(), "POSTs")
	t.Logf("%d calls, %d of them POSTs", made.Load(), sent.Load())
}

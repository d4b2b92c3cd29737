package tulle_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/retry"
)

// Servers in processes of their own report their load, and callers that know
// nothing of each other balance by it. Counts tell, for on a busy machine times
// do not: nine of ten picks use up a token, and a server that is slow, one that
// fails at once and one that is stopped get less than half of their share.
// Turns give the slow and the stopped one theirs, and without aversion to
// errors the failing one draws calls. Where the reports are lost on the way, or
// never written, no pick has a token and all else is as it was: in no case does
// a caller notice anything.
func TestLoadFedProcesses(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		serveReporting(t)
		return
	}
	s := newScene(t)
	f := newReportingFleet(t)
	const most = 1.0 / fleetSize / 2
	for i, trouble := range []struct {
		name       string
		begin, end func()
		control    balancer.Policy
	}{
		{"slow", func() { f.order(0, "slow") }, func() { f.order(0, "well") }, balancer.RoundRobin{}},
		{"failing", func() { f.order(1, "failing") }, func() { f.order(1, "well") }, balancer.LoadFed{FailurePenalty: -1}},
		{"stopped", func() { f.signals[2](syscall.SIGSTOP) }, func() { f.signals[2](syscall.SIGCONT) }, balancer.RoundRobin{}},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			// share is that of the one in trouble, for callers who knew it well.
			share := func(p balancer.Policy, calls int) (_ float64, picks map[string]uint64) {
				all := f.callers(s, p)
				all.call(t, 200)
				trouble.begin()
				defer trouble.end()
				at, total := all.attempts(f.addrs[i]), all.attempts(f.addrs...)
				all.call(t, calls)
				return float64(all.attempts(f.addrs[i])-at) / float64(all.attempts(f.addrs...)-total), all.picks()
			}
			got, picks := share(balancer.LoadFed{}, 600)
			assert.Less(t, got, most)
			assert.Greater(t, byToken(picks), 0.9, "%v", picks)

			control, _ := share(trouble.control, 200)
			assert.Greater(t, control, most, "%T", trouble.control)
		})
	}
	t.Run("reports lost on the way", func(t *testing.T) {
		all := f.callers(s, balancer.LoadFed{}, tulle.WithAttemptMiddleware(loseReports))
		all.call(t, 200)
		f.fallenBack(t, all)
	})
	t.Run("reports never written", func(t *testing.T) {
		for i := range f.addrs {
			f.order(i, "mute")
		}
		all := f.callers(s, balancer.LoadFed{})
		all.call(t, 200)
		f.fallenBack(t, all)
		for i := range f.addrs {
			f.order(i, "well")
		}
		// They come back as soon as somebody hears of them.
		all.call(t, 400)
		assert.Greater(t, byToken(all.picks()), 0.5, "%v", all.picks())
	})
}

// fallenBack asserts that no pick had a token and everybody had calls.
func (f *reportingFleet) fallenBack(t *testing.T, all *reportedTo) {
	t.Helper()
	picks := all.picks()
	assert.Zero(t, picks[balancer.PickToken], "%v", picks)
	assert.NotEmpty(t, picks)
	for _, addr := range f.addrs {
		assert.NotZero(t, all.attempts(addr))
	}
}

// loseReports takes load reports out of responses, as a proxy might.
func loseReports(next http.RoundTripper) http.RoundTripper {
	return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil {
			resp.Header.Del(endpoint.LoadReportHeader)
		}
		return resp, err
	})
}

// byToken is the part of the picks that used one.
func byToken(picks map[string]uint64) float64 {
	var total uint64
	for _, n := range picks {
		total += n
	}
	return float64(picks[balancer.PickToken]) / float64(max(1, total))
}

const fleetSize = 6

// reportingFleet is servers in other processes.
type reportingFleet struct {
	*testing.T
	addrs   []string
	signals []func(syscall.Signal)
	client  http.Client
}

func newReportingFleet(t *testing.T) *reportingFleet {
	f := &reportingFleet{T: t, client: http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	for range fleetSize {
		addr, signal := startChild(t)
		f.addrs, f.signals = append(f.addrs, addr), append(f.signals, signal)
	}
	return f
}

// order tells a server how it is to be from now on.
func (f *reportingFleet) order(i int, how string) {
	f.Helper()
	resp, err := f.client.Post("http://"+f.addrs[i]+"/order?"+how, "", nil)
	require.NoError(f, err)
	require.NoError(f, resp.Body.Close())
	require.Equal(f, http.StatusOK, resp.StatusCode)
}

// reportedTo is callers of a fleet, each with a mesh of its own.
type reportedTo struct {
	meshes []*tulle.Mesh
	ids    atomic.Int64
}

// callers returns callers that repeat what fails, so that nobody notices.
func (f *reportingFleet) callers(s *scene, p balancer.Policy, opts ...tulle.Option) *reportedTo {
	f.Helper()
	all := new(reportedTo)
	for range 4 {
		c := one(f.addrs...)
		c.Services[0].Balancer = p
		c.Policies.Retry = &retry.Policy{Attempts: 5, PerTry: 300 * time.Millisecond, Budget: retry.BudgetPolicy{Ratio: -1}}
		m := s.mesh(c, opts...)
		require.NoError(f, m.Ready(f.Context()))
		all.meshes = append(all.meshes, m)
	}
	return all
}

// call makes n calls, four at a time in each mesh, of which none may fail.
func (all *reportedTo) call(t *testing.T, n int) {
	t.Helper()
	var wg sync.WaitGroup
	last := all.ids.Load() + int64(n)
	for _, m := range all.meshes {
		for range 4 {
			wg.Go(func() {
				for id := all.ids.Add(1); id <= last; id = all.ids.Add(1) {
					assert.NoError(t, askEcho(t, m, strconv.FormatInt(id, 10)))
				}
			})
		}
	}
	wg.Wait()
	all.ids.Store(last)
}

// attempts counts those that were begun at servers.
func (all *reportedTo) attempts(addrs ...string) (n uint64) {
	for _, m := range all.meshes {
		for _, e := range m.State().Services[0].Endpoints {
			for _, addr := range addrs {
				if e.Addr == addr {
					n += e.Started
				}
			}
		}
	}
	return n
}

// picks counts them by reason.
func (all *reportedTo) picks() map[string]uint64 {
	picks := map[string]uint64{}
	for _, m := range all.meshes {
		for _, c := range m.State().Services[0].Picks {
			picks[c.Reason] += c.Picks
		}
	}
	return picks
}

// serveReporting is the other process: an endpoint with few workers that
// reports its load, and is as it was told to be. It ends with its standard
// input.
func serveReporting(t *testing.T) {
	inbound := func(p overload.Policy) tulle.Config {
		p.MaxInFlight, p.MaxWait = 4, 10*time.Second
		return tulle.Config{Inbound: tulle.Inbound{Overload: &p}}
	}
	reporting, err := tulle.New(inbound(overload.Policy{}))
	require.NoError(t, err)
	var how atomic.Value
	how.Store("well")
	work := reporting.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		took := 5 * time.Millisecond
		switch how.Load() {
		case "slow":
			took *= 20
		case "failing":
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		timer := time.NewTimer(took)
		defer timer.Stop()
		select {
		case <-timer.C:
			echo(w, r)
		case <-r.Context().Done():
		}
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/order" {
			work.ServeHTTP(w, r)
			return
		}
		how.Store(r.URL.RawQuery)
		if reporting.Apply(inbound(overload.Policy{NoReport: r.URL.RawQuery == "mute"})) != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})}
	go func() { _ = srv.Serve(l) }()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	require.NoError(t, srv.Close())
}

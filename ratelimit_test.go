package tulle_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// No more calls go to a service than the rate allows: others are refused with
// the time to come back, or wait for their turn. Observed, all go.
func TestRateLimitOfCalls(t *testing.T) {
	for name, row := range map[string]struct {
		config  *ratelimit.Config
		refused int
		took    time.Duration
	}{
		"without":  {nil, 0, 0},
		"refused":  {&ratelimit.Config{Policies: []ratelimit.Policy{{Name: "p", Requests: 10, Period: time.Second, Burst: 4}}}, 6, 0},
		"waiting":  {&ratelimit.Config{Policies: []ratelimit.Policy{{Name: "p", Requests: 10, Period: time.Second, Burst: 4}}, MaxWait: time.Minute}, 0, 600 * time.Millisecond},
		"observed": {&ratelimit.Config{Policies: []ratelimit.Policy{{Name: "p", Requests: 10, Period: time.Second, Burst: 4, Mode: outcome.Observe}}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(1)
				c := one(addrs...)
				c.Policies.RateLimit = row.config
				m := w.mesh(c)
				begin, refused := time.Now(), 0
				for range 10 {
					_, err := get(w.Context(), m, "http://reviews/")
					if err == nil {
						continue
					}
					e := asError(w, err)
					require.Equal(w, outcome.RateLimited, e.Reason)
					require.Equal(w, 100*time.Millisecond, e.RetryAfter)
					refused++
				}
				assert.Equal(w, row.refused, refused)
				assert.Equal(w, row.took, time.Since(begin))
				assert.EqualValues(w, 10-row.refused, all[0].served.Load())
				if row.config != nil {
					require.Len(w, service(w, m, "reviews").RateLimits, 1)
				}
				if name == "observed" {
					r := policyReport(w, m, "rateLimit p")
					assert.EqualValues(w, 6, r.Would)
					assert.EqualValues(w, 6, r.Succeeded)
				}
			})
		})
	}
}

// Buckets are kept over Apply where the policy is equal, and shared by those
// who have the same one.
func TestRateLimitsAreKeptAndShared(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(1)
		config := func() tulle.Config {
			c := one(addrs...)
			shared := &ratelimit.Config{Policies: []ratelimit.Policy{{Name: "p", Requests: 1, Period: time.Hour, Burst: 2}}}
			c.Services[0].Policies.RateLimit = shared
			c.Routes = []tulle.Route{
				{Name: "same", Match: prefix("/same"), Policies: tulle.Policies{RateLimit: shared}},
				{Name: "own", Match: prefix("/own"), Policies: tulle.Policies{RateLimit: &ratelimit.Config{
					Policies: []ratelimit.Policy{{Name: "q", Requests: 1, Period: time.Hour}}}}},
			}
			return c
		}
		m := w.mesh(config())
		w.get(m, "http://reviews/")
		w.get(m, "http://reviews/same")
		require.NoError(w, m.Apply(config()))
		for _, path := range []string{"", "same"} {
			_, err := get(w.Context(), m, "http://reviews/"+path)
			require.Equal(w, outcome.RateLimited, asError(w, err).Reason)
		}
		w.get(m, "http://reviews/own")
	})
}

// slow returns a configuration under which a call has so much time, of which
// its turn may take as much; there is one in a second.
func slow(timeout time.Duration, addrs ...string) tulle.Config {
	c := one(addrs...)
	c.Policies.Timeout = timeout
	c.Policies.RateLimit = &ratelimit.Config{Policies: []ratelimit.Policy{{Name: "p", Requests: 1}}, MaxWait: time.Minute}
	return c
}

// The wait for a turn is a part of the call's time: it ends with that, and a
// call whose turn would come too late does not wait at all.
func TestTheTimeOfACallBoundsItsWaitForATurn(t *testing.T) {
	for name, row := range map[string]struct {
		timeout time.Duration
		// caller is the caller's own limit.
		caller time.Duration
		// before is how many calls wait already.
		before int
		took   time.Duration
		fails  bool
		ours   bool // the limit that has passed
		retry  time.Duration
	}{
		"no limit":             {took: 2 * time.Second, before: 1},
		"none":                 {timeout: -1, took: 2 * time.Second, before: 1},
		"enough":               {timeout: 2001 * time.Millisecond, took: 2 * time.Second, before: 1},
		"too late in any case": {timeout: 999 * time.Millisecond, fails: true, retry: time.Second},
		"behind others":        {timeout: 1500 * time.Millisecond, before: 1, took: 1500 * time.Millisecond, fails: true, ours: true},
		"the caller's":         {timeout: 1500 * time.Millisecond, caller: 1200 * time.Millisecond, before: 1, took: 1200 * time.Millisecond, fails: true},
		"later than the wait":  {timeout: time.Hour, caller: 1200 * time.Millisecond, before: 1, took: 1200 * time.Millisecond, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(1)
				m := w.mesh(slow(row.timeout, addrs...))
				w.get(m, "http://reviews/")
				for range row.before {
					go w.get(m, "http://reviews/")
					synctest.Wait()
				}
				ctx, stop := w.Context(), context.CancelFunc(func() {})
				if row.caller > 0 {
					ctx, stop = context.WithTimeout(ctx, row.caller)
				}
				defer stop()
				begin := time.Now()
				_, err := get(ctx, m, "http://reviews/")
				assert.Equal(w, row.took, time.Since(begin))
				synctest.Wait()
				if !row.fails {
					require.NoError(w, err)
					assert.EqualValues(w, row.before+2, all[0].served.Load())
					return
				}
				e := asError(w, err)
				assert.Equal(w, outcome.RateLimited, e.Reason)
				assert.Equal(w, row.retry, e.RetryAfter)
				late, ours := errors.AsType[*retry.TimeoutError](err)
				assert.Equal(w, row.ours, ours)
				if ours {
					assert.Equal(w, retry.TimeoutError{Limit: row.timeout}, *late)
				}
				assert.Equal(w, row.retry == 0, e.Timeout())
				assert.EqualValues(w, row.before+1, all[0].served.Load())
			})
		})
	}
}

// A call that has waited goes on with what is left of its time, and so does
// its endpoint, which is at fault only if that was enough.
func TestACallThatHasWaitedHasLessTime(t *testing.T) {
	for name, row := range map[string]struct {
		timeout time.Duration
		failed  uint64
	}{
		"enough left": {1600 * time.Millisecond, 1},
		"too little":  {1050 * time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				script := &tulletest.Script{Default: tulletest.Step{Fault: tulletest.Hang}, Steps: []tulletest.Step{{}}}
				told := make(chan string, 2)
				w.net.Serve(w.T, "10.0.0.1:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					told <- r.Header.Get("Tulle-Call")
					script.ServeHTTP(rw, r)
				}))
				var latencies []time.Duration
				m := w.mesh(slow(row.timeout, "10.0.0.1:80"), tulle.WithHooks(tulle.Hooks{AttemptDone: func(d tulle.AttemptDone) {
					latencies = append(latencies, d.Result.Latency)
				}}))
				w.get(m, "http://reviews/")
				<-told
				begin := time.Now()
				_, err := get(w.Context(), m, "http://reviews/")
				assert.Equal(w, row.timeout, time.Since(begin))
				assert.Equal(w, outcome.CallTimeout, asError(w, err).Reason)
				assert.Equal(w, "d="+strconv.FormatInt((row.timeout-time.Second).Milliseconds(), 10), <-told)
				assert.Equal(w, row.failed, service(w, m, "reviews").Endpoints[0].Failed)
				assert.Equal(w, []time.Duration{0, row.timeout - time.Second}, latencies, "the wait is not the endpoint's")
			})
		})
	}
}

// The time goes on to the end of the body, and ends nothing before that.
func TestACallThatHasWaitedIsBoundedToItsEnd(t *testing.T) {
	inBubble(t, func(w *world) {
		release := make(chan struct{})
		w.net.Serve(w.T, "10.0.0.1:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, "one ")
			_ = http.NewResponseController(rw).Flush()
			if r.URL.Path == "/stuck" {
				<-r.Context().Done()
			}
			<-release
			_, _ = io.WriteString(rw, "two")
		}))
		var last context.Context
		m := w.mesh(slow(1500*time.Millisecond, "10.0.0.1:80"), tulle.WithAttemptMiddleware(func(next http.RoundTripper) http.RoundTripper {
			return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
				last = r.Context()
				return next.RoundTrip(r)
			})
		}))
		time.AfterFunc(1400*time.Millisecond, func() { close(release) })
		read := func(path string) (string, error) {
			r, err := http.NewRequestWithContext(w.Context(), http.MethodGet, "http://reviews"+path, nil)
			require.NoError(w, err)
			resp, err := m.Transport().RoundTrip(r)
			require.NoError(w, err)
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			return string(b), err
		}
		go func() { _, _ = read("/") }()
		synctest.Wait()
		text, err := read("/") // from 1 s to 1.4 s
		require.NoError(w, err)
		assert.Equal(w, "one two", text)
		assert.ErrorIs(w, last.Err(), context.Canceled, "nothing of the call is left")

		begin := time.Now()
		text, err = read("/stuck")
		assert.Equal(w, "one ", text)
		assert.Equal(w, 1500*time.Millisecond, time.Since(begin))
		_, ours := errors.AsType[*retry.TimeoutError](err)
		assert.True(w, ours, "%v", err)
	})
}

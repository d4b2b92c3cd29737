package tulle_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

func TestCallKeepsTheNameOfTheService(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80", tulletest.Step{Body: "hello"})
		m := w.mesh(one("10.0.0.1:80"))
		req, err := http.NewRequestWithContext(w.Context(), "GET", "http://reviews:9080/a?b=c", nil)
		require.NoError(w, err)
		resp, err := m.Transport().RoundTrip(req)
		require.NoError(w, err)
		defer resp.Body.Close()
		assert.Same(w, req, resp.Request)
		got := s.Received()[0]
		assert.Equal(w, "reviews:9080", got.Host)
		assert.Equal(w, "/a?b=c", got.URL.String())
		assert.NotContains(w, got.Header, "Tulle-Call", "nothing to say, nothing said")
	})
}

// What the caller and the attempt have to say travels to services of one's
// own only.
func TestHintsTravelInsideOnly(t *testing.T) {
	for _, external := range []bool{false, true} {
		inBubble(t, func(w *world) {
			s := w.serve("10.0.0.1:80", tulletest.Step{Status: 503}, tulletest.Step{})
			c := one("10.0.0.1:80")
			c.Services[0].External = external
			c.Policies.Retry = &retry.Policy{Backoff: retry.Backoff{Base: time.Nanosecond}}
			m := w.mesh(c)
			ctx, cancel := context.WithTimeout(w.Context(), 850*time.Millisecond)
			defer cancel()
			a, err := get(ctx, m, "http://reviews/")
			require.NoError(w, err)
			require.Equal(w, 200, a.status)
			got := s.Received()
			require.Len(w, got, 2)
			if external {
				assert.NotContains(w, got[0].Header, "Tulle-Call")
				assert.NotContains(w, got[1].Header, "Tulle-Call")
				return
			}
			assert.Equal(w, "d=850", got[0].Header.Get("Tulle-Call"))
			assert.Regexp(w, `^d=(850|849), a=2$`, got[1].Header.Get("Tulle-Call"))
		})
	}
}

// Whatever happens to a call, its permits come back, and it is counted once.
func TestEveryCallIsCountedOut(t *testing.T) {
	for name, row := range map[string]struct {
		step   tulletest.Step
		call   func(context.Context, *tulle.Mesh) error
		reason outcome.Reason
	}{
		"read to the end": {tulletest.Step{Body: "abc"}, func(ctx context.Context, m *tulle.Mesh) error {
			_, err := get(ctx, m, "http://reviews/")
			return err
		}, outcome.NoReason},
		"no body": {tulletest.Step{Status: 204}, func(ctx context.Context, m *tulle.Mesh) error {
			resp, err := m.Client().Get("http://reviews/")
			if err == nil {
				_ = resp // a 204 has ended already
			}
			return err
		}, outcome.NoReason},
		"head": {tulletest.Step{Body: "abc"}, func(ctx context.Context, m *tulle.Mesh) error {
			_, err := m.Client().Head("http://reviews/")
			return err
		}, outcome.NoReason},
		"closed early, twice": {tulletest.Step{Body: "abcdef", BodyDelay: time.Hour}, func(ctx context.Context, m *tulle.Mesh) error {
			resp, err := m.Client().Get("http://reviews/")
			if err == nil {
				resp.Body.Close()
				resp.Body.Close()
			}
			return err
		}, outcome.NoReason},
		"reset before headers": {tulletest.Step{Fault: tulletest.ResetHeader}, func(ctx context.Context, m *tulle.Mesh) error {
			_, err := do(ctx, m, "POST", "http://reviews/", "x")
			return err
		}, outcome.ConnectionLost},
		"reset in the body": {tulletest.Step{Body: "abcdef", Fault: tulletest.ResetBody}, func(ctx context.Context, m *tulle.Mesh) error {
			_, err := get(ctx, m, "http://reviews/")
			return err
		}, outcome.ConnectionLost},
		"truncated body": {tulletest.Step{Body: "abcdef", Fault: tulletest.Truncate}, func(ctx context.Context, m *tulle.Mesh) error {
			_, err := get(ctx, m, "http://reviews/")
			return err
		}, outcome.ConnectionLost},
		"cancelled before": {tulletest.Step{}, func(ctx context.Context, m *tulle.Mesh) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			_, err := get(ctx, m, "http://reviews/")
			return err
		}, outcome.Cancelled},
		"cancelled while waiting": {tulletest.Step{Fault: tulletest.Hang}, func(ctx context.Context, m *tulle.Mesh) error {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			_, err := get(ctx, m, "http://reviews/")
			return err
		}, outcome.Cancelled},
		"client time-out": {tulletest.Step{Fault: tulletest.Hang}, func(ctx context.Context, m *tulle.Mesh) error {
			c := m.Client()
			c.Timeout = time.Second
			_, err := c.Get("http://reviews/")
			return err
		}, outcome.CallerDeadline},
		"deadline in the body": {tulletest.Step{Body: "abcdef", BodyDelay: time.Hour}, func(ctx context.Context, m *tulle.Mesh) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := get(ctx, m, "http://reviews/")
			return err
		}, outcome.CallerDeadline},
		"malformed": {tulletest.Step{}, func(ctx context.Context, m *tulle.Mesh) error {
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://reviews/", nil)
			req.Header["bad name"] = []string{"x"}
			_, err := m.Transport().RoundTrip(req)
			return err
		}, outcome.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", row.step)
				var done []tulle.CallDone
				m := w.mesh(one("10.0.0.1:80"), tulle.WithHooks(tulle.Hooks{CallDone: func(d tulle.CallDone) { done = append(done, d) }}))
				err := row.call(w.Context(), m)
				synctest.Wait()
				require.Equal(w, row.reason != outcome.NoReason, err != nil, "error: %v", err)
				require.Len(w, done, 1, "the end is told once")
				assert.Equal(w, row.reason, done[0].Reason)
				s := service(w, m, "reviews")
				assert.Zero(w, s.Calls.Active)
				assert.EqualValues(w, 1, s.Calls.Calls)
				assert.Zero(w, s.Endpoints[0].InFlight)
				if row.reason != outcome.NoReason {
					assert.EqualValues(w, 1, s.Calls.Reasons[row.reason])
				}
				neutral := row.reason == outcome.Cancelled || row.reason == outcome.BadRequest
				if neutral {
					assert.Zero(w, s.Endpoints[0].Failed, "none of the endpoint's fault")
				}
			})
		})
	}
}

func TestErrorsSayWhatWhereAndWhy(t *testing.T) {
	for name, row := range map[string]struct {
		step    tulletest.Step
		fault   func(*tulletest.Network)
		timeout time.Duration
		perTry  time.Duration
		reason  outcome.Reason
		is      error
		text    string
		late    bool
	}{
		"refused": {fault: func(n *tulletest.Network) { n.Refuse("10.0.0.1:80") }, reason: outcome.ConnectFailed, is: syscall.ECONNREFUSED,
			text: "tulle: service reviews at 10.0.0.1:80: no connection to the endpoint: "},
		"black hole": {fault: func(n *tulletest.Network) { n.Blackhole("10.0.0.1:80") }, reason: outcome.ConnectTimeout, is: context.DeadlineExceeded,
			text: "tulle: service reviews at 10.0.0.1:80: no connection to the endpoint in time: ", late: true},
		"reset": {step: tulletest.Step{Fault: tulletest.ResetHeader}, reason: outcome.ConnectionLost,
			text: "tulle: service reviews at 10.0.0.1:80: the connection ended before a response: "},
		"per try": {step: tulletest.Step{Fault: tulletest.Hang}, perTry: time.Second, reason: outcome.AttemptTimeout, is: context.DeadlineExceeded,
			text: "tulle: service reviews at 10.0.0.1:80: the attempt had no response in time after 2 attempts: ", late: true},
		"time-out": {step: tulletest.Step{Fault: tulletest.Hang}, timeout: time.Second, reason: outcome.CallTimeout, is: context.DeadlineExceeded,
			text: "tulle: service reviews at 10.0.0.1:80: the call took longer than it may: ", late: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", row.step)
				if row.fault != nil {
					row.fault(w.net)
				}
				c := one("10.0.0.1:80")
				c.Policies.Timeout = row.timeout
				if row.perTry > 0 {
					c.Policies.Retry = &retry.Policy{PerTry: row.perTry}
				}
				m := w.mesh(c)
				_, err := m.Client().Get("http://reviews/")
				e := asError(w, err)
				assert.Equal(w, row.reason, e.Reason)
				assert.Contains(w, e.Error(), row.text)
				if row.is != nil {
					assert.ErrorIs(w, err, row.is)
				}
				assert.Equal(w, row.late, e.Timeout())
				assert.Equal(w, row.late, os.IsTimeout(err))
			})
		})
	}
}

// The endpoint of an error is one where the call has been, not one that was
// picked for an attempt that could not be made.
func TestErrorsNameAnEndpointThatWasTried(t *testing.T) {
	inBubble(t, func(w *world) {
		c := one("10.0.0.1:80", "10.0.0.2:80")
		c.Policies = tulle.Recommended()
		var tried []string
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{AttemptDone: func(d tulle.AttemptDone) { tried = append(tried, d.Endpoint) }}))
		for range 10 {
			req, err := http.NewRequestWithContext(w.Context(), "PUT", "http://reviews/", strings.NewReader("x"))
			require.NoError(w, err)
			req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
			tried = nil
			_, err = m.Transport().RoundTrip(req)
			require.Len(w, tried, 1)
			assert.Equal(w, tried[0], asError(w, err).Endpoint)
			assert.Equal(w, 1, asError(w, err).Attempts)
		}
		for _, e := range service(w, m, "reviews").Endpoints {
			assert.Zero(w, e.InFlight)
		}
	})
}

func TestLoadReportsAreTakenOverFromOwnEndpointsOnly(t *testing.T) {
	for _, external := range []bool{false, true} {
		inBubble(t, func(w *world) {
			report := http.Header{endpoint.LoadReportHeader: {"TEXT cpu_utilization=0.25"}}
			garbage := http.Header{endpoint.LoadReportHeader: {"TEXT cpu_utilization=NaN"}}
			w.serve("10.0.0.1:80", tulletest.Step{Header: report}, tulletest.Step{Header: garbage})
			c := one("10.0.0.1:80")
			c.Services[0].External = external
			m := w.mesh(c)
			w.get(m, "http://reviews/")
			w.get(m, "http://reviews/")
			load := service(w, m, "reviews").Endpoints[0].Load
			if external {
				assert.Nil(w, load)
				return
			}
			require.NotNil(w, load)
			assert.InDelta(w, .25, load.CPU, 1e-9, "garbage changes nothing")
		})
	}
}

func TestHooksTellOfAttempts(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 503, Delay: time.Second}, tulletest.Step{Delay: 2 * time.Second})
		var tries []tulle.AttemptDone
		var calls []tulle.CallDone
		c := one("10.0.0.1:80")
		c.Policies = tulle.Recommended()
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{
			AttemptDone: func(d tulle.AttemptDone) { tries = append(tries, d) },
			CallDone:    func(d tulle.CallDone) { calls = append(calls, d) },
		}))
		resp, err := m.Client().Get("http://reviews/")
		require.NoError(w, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		require.Len(w, tries, 2)
		assert.Equal(w, outcome.Gateway, tries[0].Result.Class)
		assert.Equal(w, time.Second, tries[0].Result.Latency)
		assert.Equal(w, outcome.Success, tries[1].Result.Class)
		assert.Equal(w, 2*time.Second, tries[1].Result.Latency)
		require.Len(w, calls, 1)
		assert.Equal(w, 2, calls[0].Attempts)
		assert.Equal(w, 200, calls[0].Status)
		assert.Equal(w, "reviews", calls[0].Call.Service())
		assert.GreaterOrEqual(w, calls[0].Duration, 3*time.Second)
	})
}

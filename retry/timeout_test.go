package retry_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

const second = time.Second

func TestPerTryEndsAnAttemptAndNotTheCall(t *testing.T) {
	overBoth(t, func(t *testing.T, protocol string) {
		hangs := &tulletest.Script{Default: tulletest.Step{Fault: tulletest.Hang}}
		answers := &tulletest.Script{Default: tulletest.Step{Body: "hello", Delay: second / 2}}
		f := newFleet(t, protocol, hangs, answers)
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{PerTry: second}})
		begin := time.Now()
		resp, err := f.do(loop, newRequest(t, "GET", nil))
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(begin), 3*second/2)
		require.LessOrEqual(t, time.Since(begin), 3*second/2+25*time.Millisecond)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		require.Equal(t, map[outcome.Class]uint64{outcome.Timeout: 1}, loop.Counters().Stats().Causes)
	})
}

func TestPerTryIsTheErrorOfTheLastAttempt(t *testing.T) {
	overBoth(t, func(t *testing.T, protocol string) {
		hangs := &tulletest.Script{Default: tulletest.Step{Fault: tulletest.Hang}}
		f := newFleet(t, protocol, hangs)
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{PerTry: second, Attempts: 3}, Timeout: time.Hour})
		begin := time.Now()
		_, err := f.do(loop, newRequest(t, "GET", nil))
		requireTimeout(t, err, true, second)
		require.GreaterOrEqual(t, time.Since(begin), 3*second)
		require.LessOrEqual(t, time.Since(begin), 3*second+75*time.Millisecond)
		require.Equal(t, 3, hangs.Count())
	})
}

func TestPerTryEndsAtTheHeaders(t *testing.T) {
	overBoth(t, func(t *testing.T, protocol string) {
		slow := &tulletest.Script{Default: tulletest.Step{Body: strings.Repeat("x", 1000), Delay: second / 2, BodyDelay: time.Hour}}
		f := newFleet(t, protocol, slow)
		for _, o := range []retry.Options{
			{Policy: &retry.Policy{PerTry: second}},
			{Policy: &retry.Policy{PerTry: second}, Timeout: 2 * time.Hour},
		} {
			resp, err := f.do(newLoop(t, o), newRequest(t, "GET", nil))
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Len(t, got, 1000)
		}
	})
}

func TestTimeoutEndsTheCall(t *testing.T) {
	overBoth(t, func(t *testing.T, protocol string) {
		for name, c := range map[string]struct {
			policy *retry.Policy
			step   tulletest.Step
		}{
			"before the headers":          {step: tulletest.Step{Fault: tulletest.Hang}},
			"before the headers, retries": {policy: &retry.Policy{}, step: tulletest.Step{Fault: tulletest.Hang}},
			"in a later attempt":          {policy: &retry.Policy{PerTry: 600 * time.Millisecond, Attempts: 5}, step: tulletest.Step{Fault: tulletest.Hang}},
			"in the body":                 {step: tulletest.Step{Body: "0123456789", BodyDelay: time.Hour}},
			"in the body, limited before": {policy: &retry.Policy{PerTry: second / 2}, step: tulletest.Step{Body: "0123456789", BodyDelay: time.Hour}},
		} {
			f := newFleet(t, protocol, &tulletest.Script{Default: c.step})
			loop := newLoop(t, retry.Options{Policy: c.policy, Timeout: second})
			begin := time.Now()
			resp, err := f.do(loop, newRequest(t, "GET", nil))
			if c.step.Body != "" {
				require.NoError(t, err, name)
				var got []byte
				got, err = io.ReadAll(resp.Body)
				require.Equal(t, "01234", string(got), name)
				require.NoError(t, resp.Body.Close())
				require.ErrorIs(t, err, context.DeadlineExceeded, name)
			} else {
				requireTimeout(t, err, false, second)
			}
			require.Equal(t, second, time.Since(begin), name)
			f.net.Reset(addr(0))
			f.endpoints[0].CloseIdleConnections()
			synctest.Wait()
			// The next fleet listens at the same address of another network.
		}
	})
}

func TestTheCallersEndIsTheCallers(t *testing.T) {
	overBoth(t, func(t *testing.T, protocol string) {
		hangs := &tulletest.Script{Default: tulletest.Step{Fault: tulletest.Hang}}
		f := newFleet(t, protocol, hangs)
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{PerTry: time.Hour}, Timeout: 2 * time.Hour})
		in := newRequest(t, "GET", nil)

		ctx, cancel := context.WithTimeout(t.Context(), second)
		defer cancel()
		begin := time.Now()
		_, err := f.do(loop, in.WithContext(ctx))
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, second, time.Since(begin))

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(second, cancel)
		_, err = f.do(loop, in.WithContext(ctx))
		require.Equal(t, context.Canceled, err)
		require.Equal(t, 2, hangs.Count())
		require.Zero(t, loop.Counters().Stats().Retries)
	})
}

func TestTheContextOfAnAttempt(t *testing.T) {
	type key struct{}
	for name, c := range map[string]struct {
		options  retry.Options
		caller   time.Duration
		same     bool
		deadline time.Duration
	}{
		"nothing armed":               {same: true},
		"retries armed":               {options: retry.Options{Policy: &retry.Policy{}}, same: true},
		"timeout":                     {options: retry.Options{Timeout: second}, deadline: second},
		"timeout before the caller's": {options: retry.Options{Timeout: second}, caller: 2 * second, deadline: second},
		"timeout after the caller's":  {options: retry.Options{Timeout: 2 * second}, caller: second, deadline: second, same: true},
		"per try":                     {options: retry.Options{Policy: &retry.Policy{PerTry: second}}},
		"per try after the caller's":  {options: retry.Options{Policy: &retry.Policy{PerTry: 2 * second}}, caller: second, deadline: second, same: true},
		"both":                        {options: retry.Options{Policy: &retry.Policy{PerTry: second}, Timeout: 2 * second}, deadline: 2 * second},
		"per try under observe":       {options: retry.Options{Policy: &retry.Policy{PerTry: second, Mode: outcome.Observe}}, same: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := context.WithValue(t.Context(), key{}, "value")
				if c.caller > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.caller)
					defer cancel()
				}
				var got context.Context
				loop := newLoop(t, c.options)
				resp, err := loop.Do(ctx, newRequest(t, "GET", nil), tryFunc(func(ctx context.Context, b retry.Body) (*http.Response, error) {
					got = ctx
					return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("x"))}, nil
				}))
				require.NoError(t, err)
				require.Equal(t, c.same, got == ctx)
				require.Equal(t, "value", got.Value(key{}))
				deadline, ok := got.Deadline()
				require.Equal(t, c.deadline > 0, ok)
				if ok {
					require.Equal(t, c.deadline, time.Until(deadline))
				}
				require.NoError(t, got.Err())
				_, err = io.ReadAll(resp.Body)
				require.NoError(t, err)
				if !c.same {
					require.Equal(t, context.Canceled, got.Err(), "over with the body")
				}
				require.NoError(t, resp.Body.Close())
			})
		})
	}
}

// tryFunc is a Tryer whose every attempt is a call of it.
type tryFunc func(context.Context, retry.Body) (*http.Response, error)

func (f tryFunc) Prepare(context.Context, int) (retry.Try, error) { return f, nil }
func (f tryFunc) Release()                                        {}
func (f tryFunc) Send(ctx context.Context, b retry.Body) (*http.Response, outcome.Outcome, error) {
	resp, err := f(ctx, b)
	return resp, outcome.HTTP{}.Classify(resp, err), err
}

func TestATransportThatKnowsNoCausesIsUnderstood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{PerTry: second}})
		n := 0
		resp, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tryFunc(func(ctx context.Context, _ retry.Body) (*http.Response, error) {
			if n++; n == 2 {
				return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
			}
			// A child of the attempt's context says "canceled", and so does what
			// such a transport returns; that is no caller who went away.
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			return nil, child.Err()
		}))
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, map[outcome.Class]uint64{outcome.Timeout: 1}, loop.Counters().Stats().Causes)
	})
}

func TestSwitchedProtocolsHaveNoLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			w.Header().Set("Upgrade", "echo")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.Copy(conn, rw)
		})
		f := newFleet(t, "HTTP/1.1", echo)
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{PerTry: second}, Timeout: 2 * second})
		in := newRequest(t, "GET", nil)
		in.Header.Set("Upgrade", "echo")
		in.Header.Set("Connection", "Upgrade")
		resp, err := f.do(loop, in)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		rwc, ok := resp.Body.(io.ReadWriteCloser)
		require.True(t, ok)
		time.Sleep(time.Hour)
		_, err = rwc.Write([]byte("hello"))
		require.NoError(t, err)
		got := make([]byte, 5)
		_, err = io.ReadFull(rwc, got)
		require.NoError(t, err)
		require.Equal(t, "hello", string(got))
		require.NoError(t, rwc.Close())
		time.Sleep(time.Minute)
	})
}

func TestTheContextOfASwitchedConnectionEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got context.Context
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{PerTry: second}, Timeout: 2 * second})
		ours, theirs := net.Pipe()
		resp, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tryFunc(func(ctx context.Context, _ retry.Body) (*http.Response, error) {
			got = ctx
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: ours}, nil
		}))
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.NoError(t, got.Err(), "no limit holds")
		require.NoError(t, resp.Body.Close())
		require.Equal(t, context.Canceled, got.Err())
		require.NoError(t, theirs.Close())
	})
}

func TestTimeoutWhilePreparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := newLoop(t, retry.Options{Timeout: second})
		_, err := loop.Do(t.Context(), newRequest(t, "GET", nil), prepareFunc(func(ctx context.Context, _ int) (retry.Try, error) {
			<-ctx.Done()
			return nil, retry.Cause(ctx, ctx.Err())
		}))
		requireTimeout(t, err, false, second)
	})
}

func TestTimeoutWhilePreparingARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{}, Timeout: second})
		tr := &tryer{t: t, results: []result{{status: 503}}}
		resp, err := loop.Do(t.Context(), newRequest(t, "GET", nil), prepareFunc(func(ctx context.Context, n int) (retry.Try, error) {
			if n == 1 {
				return tr.Prepare(ctx, n)
			}
			<-ctx.Done()
			return nil, errReset
		}))
		require.Nil(t, resp)
		requireTimeout(t, err, false, second)
		require.Zero(t, tr.open.Load())
		require.Zero(t, loop.Budget().Stats().Granted)
		require.EqualValues(t, 1, loop.Counters().Stats().NoTime)
	})
}

type prepareFunc func(context.Context, int) (retry.Try, error)

func (f prepareFunc) Prepare(ctx context.Context, n int) (retry.Try, error) { return f(ctx, n) }

// TestHeadersAndLimitAtTheSameMoment lets a response come at the very moment
// of its limit, many times: there is either a whole response or the error.
func TestHeadersAndLimitAtTheSameMoment(t *testing.T) {
	for _, timeout := range []time.Duration{0, second, 2 * second} {
		both := [2]int{}
		for range 500 {
			synctest.Test(t, func(t *testing.T) {
				loop := newLoop(t, retry.Options{Policy: &retry.Policy{PerTry: second, Attempts: 1}, Timeout: timeout})
				var open atomic.Int32
				resp, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tryFunc(func(ctx context.Context, _ retry.Body) (*http.Response, error) {
					time.Sleep(second)
					open.Add(1)
					return &http.Response{StatusCode: 200, Body: &responseBody{Reader: strings.NewReader("body"), open: &open}}, nil
				}))
				if err != nil {
					both[0]++
					require.Nil(t, resp)
					require.Zero(t, open.Load())
					require.ErrorIs(t, err, context.DeadlineExceeded)
					return
				}
				both[1]++
				got, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "body", string(got))
				require.NoError(t, resp.Body.Close())
			})
		}
		t.Logf("timeout %v: %d errors, %d responses", timeout, both[0], both[1])
	}
}

func TestTimeoutErrorIsANetError(t *testing.T) {
	for _, err := range []error{
		&retry.TimeoutError{Limit: second},
		&retry.TimeoutError{Limit: second, PerTry: true},
		&url.Error{Op: "Get", URL: "/", Err: &retry.TimeoutError{}},
	} {
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		require.True(t, ne.Timeout())
		require.True(t, os.IsTimeout(err))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, context.Canceled)
	}
	require.EqualError(t, &retry.TimeoutError{Limit: second}, "not finished within 1s, the time of the whole call")
	require.EqualError(t, &retry.TimeoutError{Limit: second, PerTry: true}, "no response headers within 1s, the time of one attempt")
}

func TestCause(t *testing.T) {
	ended, cancel := context.WithCancelCause(t.Context())
	late := &retry.TimeoutError{Limit: second}
	cancel(late)
	byCaller, cancel := context.WithCancelCause(t.Context())
	cancel(errReset)
	require.NoError(t, retry.Cause(ended, nil))
	require.Equal(t, late, retry.Cause(ended, context.Canceled))
	require.Equal(t, late, retry.Cause(ended, &url.Error{Err: context.DeadlineExceeded}))
	require.Equal(t, errReset, retry.Cause(ended, errReset), "another error is another error")
	require.Equal(t, context.Canceled, retry.Cause(byCaller, context.Canceled), "the caller's stays the caller's")
	require.Equal(t, context.Canceled, retry.Cause(t.Context(), context.Canceled))
	err := retry.Cause(ended, &outcome.UnsentError{Err: context.Canceled})
	require.ErrorIs(t, err, late)
	require.True(t, outcome.Unsent(err))
}

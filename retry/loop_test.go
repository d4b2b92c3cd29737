package retry_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

func TestWhatIsAttemptedAgain(t *testing.T) {
	ok := result{status: 200}
	yes := func(r ...result) []result { return append(r, ok) }
	for name, c := range map[string]struct {
		policy  retry.Policy
		method  string
		header  http.Header
		declare bool // by the context
		results []result
		sent    int
		status  int // 0: an error
		stats   func(*retry.Stats)
	}{
		"success":                  {results: yes(), sent: 1, status: 200},
		"404 is an answer":         {results: yes(result{status: 404}), sent: 1, status: 404},
		"500 is not among them":    {results: yes(result{status: 500}), sent: 1, status: 500},
		"429 is not among them":    {results: yes(result{status: 429}), sent: 1, status: 429},
		"502":                      {results: yes(result{status: 502}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"503":                      {results: yes(result{status: 503}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"504":                      {results: yes(result{status: 504}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"reset":                    {results: yes(result{err: errReset}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"connect":                  {results: yes(result{err: errReset, unsent: true}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"a transport's own limit":  {results: yes(result{err: &retry.TimeoutError{}}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"last response stands":     {results: []result{{status: 502}, {status: 503}}, sent: 2, status: 503, stats: func(s *retry.Stats) { s.Exhausted = 1 }},
		"last error stands":        {results: []result{{status: 502}, {err: errReset}}, sent: 2, stats: func(s *retry.Stats) { s.Exhausted = 1 }},
		"no more than asked for":   {policy: retry.Policy{Attempts: 3}, results: []result{{status: 502}, {err: errReset}, {status: 504}}, sent: 3, status: 504, stats: func(s *retry.Stats) { s.Exhausted = 1 }},
		"one attempt":              {policy: retry.Policy{Attempts: 1}, results: yes(result{status: 503}), sent: 1, status: 503},
		"other statuses":           {policy: retry.Policy{Statuses: []int{409}}, results: yes(result{status: 409}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"not the default statuses": {policy: retry.Policy{Statuses: []int{409}}, results: yes(result{status: 503}), sent: 1, status: 503},
		"no statuses":              {policy: retry.Policy{Statuses: []int{}}, results: yes(result{status: 503}), sent: 1, status: 503},
		"other classes":            {policy: retry.Policy{On: []outcome.Class{outcome.Overload, outcome.ServerError}, Attempts: 3}, results: yes(result{status: 429}, result{status: 500}), sent: 3, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"not the default classes":  {policy: retry.Policy{On: []outcome.Class{outcome.Overload}}, results: yes(result{err: errReset}), sent: 1},
		"caller went away":         {results: yes(result{err: context.Canceled}), sent: 1},
		"101 is final":             {policy: retry.Policy{CheckRetry: always}, results: yes(result{status: 101}), sent: 1, status: 101},

		"POST":                          {method: "POST", results: yes(result{status: 503}), sent: 1, status: 503, stats: func(s *retry.Stats) { s.NotSafe = 1 }},
		"POST after a reset":            {method: "POST", results: yes(result{err: errReset}), sent: 1, stats: func(s *retry.Stats) { s.NotSafe = 1 }},
		"POST that was never sent":      {method: "POST", results: yes(result{err: errReset, unsent: true}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"PATCH":                         {method: "PATCH", results: yes(result{status: 503}), sent: 1, status: 503, stats: func(s *retry.Stats) { s.NotSafe = 1 }},
		"an unknown method":             {method: "get", results: yes(result{status: 503}), sent: 1, status: 503, stats: func(s *retry.Stats) { s.NotSafe = 1 }},
		"PUT":                           {method: "PUT", results: yes(result{status: 503}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"DELETE":                        {method: "DELETE", results: yes(result{status: 503}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"HEAD":                          {method: "HEAD", results: yes(result{status: 503}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"OPTIONS":                       {method: "OPTIONS", results: yes(result{status: 503}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"TRACE":                         {method: "TRACE", results: yes(result{status: 503}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"POST with Idempotency-Key":     {method: "POST", header: http.Header{"Idempotency-Key": {"1"}}, results: yes(result{status: 503}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"POST with X-Idempotency-Key":   {method: "POST", header: http.Header{"X-Idempotency-Key": {"1"}}, results: yes(result{status: 503}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"POST declared by policy":       {method: "POST", policy: retry.Policy{Idempotent: true}, results: yes(result{status: 503}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"POST declared by context":      {method: "POST", declare: true, results: yes(result{status: 503}), sent: 2, status: 200, stats: func(s *retry.Stats) { s.Recovered = 1 }},
		"CheckRetry chooses":            {policy: retry.Policy{CheckRetry: always}, results: []result{{status: 404}, {status: 200}}, sent: 2, status: 200, stats: func(s *retry.Stats) { s.Exhausted = 1 }},
		"CheckRetry refuses":            {policy: retry.Policy{CheckRetry: never}, results: yes(result{status: 503}), sent: 1, status: 503},
		"CheckRetry among safe ones":    {method: "POST", policy: retry.Policy{CheckRetry: always}, results: yes(result{status: 503}), sent: 1, status: 503, stats: func(s *retry.Stats) { s.NotSafe = 1 }},
		"nothing to prepare":            {results: []result{{status: 503}, {prepare: errReset}}, sent: 1, status: 503, stats: func(s *retry.Stats) { s.Unprepared = 1 }},
		"nothing to prepare, an error":  {results: []result{{err: errReset}, {prepare: context.Canceled}}, sent: 1, stats: func(s *retry.Stats) { s.Unprepared = 1 }},
		"observe":                       {policy: retry.Policy{Mode: outcome.Observe}, results: yes(result{status: 503}), sent: 1, status: 503, stats: func(s *retry.Stats) { s.WouldRetry = 1 }},
		"observe, not safe":             {method: "POST", policy: retry.Policy{Mode: outcome.Observe}, results: yes(result{status: 503}), sent: 1, status: 503, stats: func(s *retry.Stats) { s.NotSafe = 1 }},
		"observe an attempt too long":   {policy: retry.Policy{Mode: outcome.Observe, PerTry: time.Second}, results: yes(result{status: 200, delay: time.Minute}), sent: 1, status: 200, stats: func(s *retry.Stats) { s.WouldRetry = 1 }},
		"observe one just short enough": {policy: retry.Policy{Mode: outcome.Observe, PerTry: time.Second}, results: yes(result{status: 200, delay: time.Second}), sent: 1, status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newRequest(t, c.method, nil)
				if c.header != nil {
					in.Header = c.header
				}
				ctx := t.Context()
				if c.declare {
					ctx = retry.WithIdempotent(ctx)
				}
				loop := newLoop(t, retry.Options{Policy: &c.policy})
				tr := &tryer{t: t, results: c.results}
				resp, err := loop.Do(ctx, in, tr)
				require.Equal(t, c.sent, tr.calls())
				if c.status == 0 {
					require.Error(t, err)
					require.Nil(t, resp)
					require.ErrorIs(t, err, c.results[c.sent-1].err)
				} else {
					require.NoError(t, err)
					require.Equal(t, c.status, resp.StatusCode)
					require.EqualValues(t, 1, tr.open.Load(), "only the last response is open")
					got, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.Equal(t, "body", string(got))
				}
				want := retry.Stats{}
				if c.policy.Attempts != 1 {
					want = retry.Stats{Calls: 1, Attempts: uint64(c.sent), Retries: uint64(c.sent - 1)}
				}
				if c.stats != nil {
					c.stats(&want)
				}
				got := loop.Counters().Stats()
				var causes uint64
				for _, n := range got.Causes {
					causes += n
				}
				require.Equal(t, got.Retries+got.WouldRetry, causes, "each has a cause")
				got.Causes = nil
				require.Equal(t, want, got)
			})
		})
	}
}

func always(context.Context, *http.Response, error) (bool, error) { return true, nil }

// never has an error too, which does not take the place of a result.
func never(context.Context, *http.Response, error) (bool, error) {
	return false, errors.New("not the error of the call")
}

func TestCausesAreTheClassesAnsweredByARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{Attempts: 4}})
		tr := &tryer{t: t, results: []result{{status: 503}, {err: errReset}, {status: 502}, {status: 200}}}
		_, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tr)
		require.NoError(t, err)
		require.Equal(t, map[outcome.Class]uint64{outcome.Gateway: 2, outcome.Reset: 1}, loop.Counters().Stats().Causes)
	})
}

func TestAResponseIsKeptUntilTheNextAttemptIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{}})
		tr := &tryer{t: t, results: []result{{status: 503}, {status: 200}}}
		_, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tr)
		require.NoError(t, err)
		require.Equal(t, []int32{0, 1}, tr.openAt, "still open in Prepare")
	})
}

func TestWithoutPolicyThereIsOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := newLoop(t, retry.Options{})
		tr := &tryer{t: t, results: []result{{err: errReset, unsent: true}}}
		_, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tr)
		require.ErrorIs(t, err, errReset)
		require.Zero(t, loop.Counters().Stats())
	})
}

func TestFirstPrepareFails(t *testing.T) {
	for _, o := range []retry.Options{{}, {Policy: &retry.Policy{}}, {Policy: &retry.Policy{}, Timeout: time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			loop := newLoop(t, o)
			tr := &tryer{t: t, results: []result{{prepare: errReset}}}
			body := &requestBody{Reader: strings.NewReader("x")}
			resp, err := loop.Do(t.Context(), newRequest(t, "PUT", body), tr)
			require.Nil(t, resp)
			require.Equal(t, errReset, err, "as it is")
			require.EqualValues(t, 1, body.closed.Load())
			require.Zero(t, tr.released, "there was nothing to release")
			require.Zero(t, loop.Counters().Stats().Attempts)
		})
	}
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits [4]time.Duration
		for range 300 {
			loop := newLoop(t, retry.Options{Policy: &retry.Policy{Attempts: 5, Backoff: retry.Backoff{Base: 100 * time.Millisecond, Max: 300 * time.Millisecond}}})
			tr := &tryer{t: t, results: []result{{status: 503}, {status: 503}, {status: 503}, {status: 503}, {status: 200}}}
			_, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tr)
			require.NoError(t, err)
			for i := range waits {
				waits[i] = max(waits[i], tr.sent[i+1].Sub(tr.sent[i]))
			}
		}
		for i, ceiling := range []time.Duration{100, 200, 300, 300} {
			ceiling *= time.Millisecond
			require.LessOrEqual(t, waits[i], ceiling, "retry %d", i+1)
			// 300 draws all below 90 % have a probability of 10^-14.
			require.Greater(t, waits[i], ceiling*9/10, "retry %d", i+1)
		}
	})
}

func TestARequestNeverSentGoesElsewhereAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{Attempts: 3, Backoff: retry.Backoff{Func: nil, Base: time.Hour, Max: time.Hour}}})
		tr := &tryer{t: t, results: []result{{err: errReset, unsent: true}, {err: errReset, unsent: true}, {status: 200}}}
		_, err := loop.Do(t.Context(), newRequest(t, "POST", nil), tr)
		require.NoError(t, err)
		require.Equal(t, tr.sent[0], tr.sent[1], "the first time")
		require.Greater(t, tr.sent[2].Sub(tr.sent[1]), time.Millisecond, "and only the first time")
	})
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	const never = -1
	for name, c := range map[string]struct {
		policy   retry.Policy
		header   http.Header
		min, max time.Duration
	}{
		"seconds":                {header: http.Header{"Retry-After": {"1"}}, min: time.Second, max: time.Second + 25*time.Millisecond},
		"at once":                {header: http.Header{"Retry-After": {"0"}}, max: 25 * time.Millisecond},
		"none":                   {max: 25 * time.Millisecond},
		"not understood":         {header: http.Header{"Retry-After": {"1s"}}, max: 25 * time.Millisecond},
		"longer than the limit":  {header: http.Header{"Retry-After": {"2"}}, min: never},
		"longer than time":       {header: http.Header{"Retry-After": {"999999999999999999999"}}, min: never},
		"limit raised":           {policy: retry.Policy{MaxRetryAfter: time.Minute}, header: http.Header{"Retry-After": {"60"}}, min: time.Minute, max: time.Minute + 25*time.Millisecond},
		"ignored":                {policy: retry.Policy{MaxRetryAfter: -1}, header: http.Header{"Retry-After": {"60"}}, max: 25 * time.Millisecond},
		"date":                   {header: http.Header{"Date": {"Sun, 06 Nov 1994 08:49:37 GMT"}, "Retry-After": {"Sun, 06 Nov 1994 08:49:38 GMT"}}, min: time.Second, max: time.Second + 25*time.Millisecond},
		"date too late":          {header: http.Header{"Date": {"Sun, 06 Nov 1994 08:49:37 GMT"}, "Retry-After": {"Sun, 06 Nov 1994 08:49:39 GMT"}}, min: never},
		"date past":              {header: http.Header{"Retry-After": {"Sun, 06 Nov 1994 08:49:38 GMT"}}, max: 25 * time.Millisecond},
		"date by our own clock":  {header: http.Header{"Retry-After": {"Sat, 01 Jan 2000 00:00:01 GMT"}}, min: time.Second, max: time.Second + 25*time.Millisecond},
		"more than Func":         {policy: retry.Policy{Backoff: retry.Backoff{Func: constant(0)}}, header: http.Header{"Retry-After": {"1"}}, min: time.Second, max: time.Second},
		"less than Func":         {policy: retry.Policy{Backoff: retry.Backoff{Func: constant(time.Hour)}}, header: http.Header{"Retry-After": {"1"}}, min: time.Hour, max: time.Hour},
		"ignored, Func not told": {policy: retry.Policy{MaxRetryAfter: -1, Backoff: retry.Backoff{Func: obedient}}, header: http.Header{"Retry-After": {"60"}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				loop := newLoop(t, retry.Options{Policy: &c.policy})
				tr := &tryer{t: t, results: []result{{status: 503, header: c.header}, {status: 200}}}
				resp, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tr)
				require.NoError(t, err)
				if c.min == never {
					require.Equal(t, 503, resp.StatusCode)
					require.EqualValues(t, 1, loop.Counters().Stats().AskedToWait)
					require.Equal(t, 1, tr.calls())
					return
				}
				require.Equal(t, 200, resp.StatusCode)
				waited := tr.sent[1].Sub(tr.sent[0])
				require.GreaterOrEqual(t, waited, c.min)
				require.LessOrEqual(t, waited, c.max)
			})
		})
	}
}

func constant(d time.Duration) func(_, _ time.Duration, _ int, _ *http.Response) time.Duration {
	return func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return d }
}

// obedient waits an hour for whoever sends a Retry-After.
func obedient(_, _ time.Duration, _ int, resp *http.Response) time.Duration {
	if resp != nil && resp.Header.Get("Retry-After") != "" {
		return time.Hour
	}
	return 0
}

func TestNoAttemptBeginsWithoutTimeForIt(t *testing.T) {
	wait := func(d time.Duration) *retry.Policy {
		return &retry.Policy{Backoff: retry.Backoff{Func: constant(d)}}
	}
	for name, c := range map[string]struct {
		deadline, timeout, wait time.Duration
		sent                    int
	}{
		"time enough":                {deadline: time.Second, wait: 900 * time.Millisecond, sent: 2},
		"the wait takes it all":      {deadline: time.Second, wait: time.Second, sent: 1},
		"next to nothing left":       {deadline: time.Second, wait: 999 * time.Millisecond, sent: 1},
		"timeout, time enough":       {timeout: time.Second, wait: 900 * time.Millisecond, sent: 2},
		"timeout, wait too long":     {timeout: time.Second, wait: time.Second, sent: 1},
		"timeout, next to nothing":   {timeout: time.Second, wait: 999 * time.Millisecond, sent: 1},
		"the caller's deadline wins": {deadline: time.Second, timeout: time.Minute, wait: time.Second, sent: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.deadline)
					defer cancel()
				}
				loop := newLoop(t, retry.Options{Policy: wait(c.wait), Timeout: c.timeout})
				tr := &tryer{t: t, results: []result{{status: 503}, {status: 200}}}
				begin := time.Now()
				resp, err := loop.Do(ctx, newRequest(t, "GET", nil), tr)
				require.NoError(t, err)
				require.Equal(t, c.sent, tr.calls())
				if c.sent == 1 {
					require.Equal(t, 503, resp.StatusCode)
					require.Zero(t, time.Since(begin), "no wait in vain")
					require.EqualValues(t, 1, loop.Counters().Stats().NoTime)
				}
				require.NoError(t, resp.Body.Close())
			})
		})
	}
}

func TestCallerGoesAwayDuringTheWait(t *testing.T) {
	errLeft := errors.New("left")
	for name, leave := range map[string]func(context.CancelCauseFunc, chan struct{}){
		"cancel": func(cancel context.CancelCauseFunc, _ chan struct{}) { cancel(nil) },
		"cause":  func(cancel context.CancelCauseFunc, _ chan struct{}) { cancel(errLeft) },
		"Cancel": func(_ context.CancelCauseFunc, legacy chan struct{}) { close(legacy) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				loop := newLoop(t, retry.Options{Timeout: 2 * time.Hour, Policy: &retry.Policy{Backoff: retry.Backoff{Func: constant(time.Hour)}}})
				tr := &tryer{t: t, results: []result{{status: 503}, {status: 200}}}
				in := newRequest(t, "GET", nil)
				legacy := make(chan struct{})
				//lint:ignore SA1019 callers may set it
				in.Cancel = legacy
				time.AfterFunc(time.Second, func() { leave(cancel, legacy) })
				begin := time.Now()
				resp, err := loop.Do(ctx, in, tr)
				require.Nil(t, resp)
				if name == "cause" {
					require.Equal(t, errLeft, err)
				} else {
					require.ErrorIs(t, err, context.Canceled)
				}
				require.Equal(t, time.Second, time.Since(begin))
				require.Zero(t, tr.open.Load(), "the kept response is closed")
				require.Equal(t, 1, tr.calls())
				stats := loop.Counters().Stats()
				require.EqualValues(t, 1, stats.Cancelled)
				require.Zero(t, stats.Retries)
				require.Zero(t, loop.Budget().Stats().Granted, "refunded")
				synctest.Wait()
				require.EqualValues(t, 1, tr.ended.Load(), "the context of the attempt")
			})
		})
	}
}

func TestFailingToPrepareGivesEverythingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{}})
		full := loop.Budget().Stats().Balance
		tr := &tryer{t: t, results: []result{{status: 503}, {prepare: errReset}}}
		resp, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tr)
		require.NoError(t, err)
		require.Equal(t, 503, resp.StatusCode)
		require.EqualValues(t, 1, tr.open.Load(), "the response is the caller's")
		require.Equal(t, retry.BudgetStats{Balance: full}, loop.Budget().Stats())
	})
}

func TestPanicsOfPluggedInCodeFreeEverything(t *testing.T) {
	boom := func() { panic("boom") }
	for name, p := range map[string]retry.Policy{
		"CheckRetry": {CheckRetry: func(context.Context, *http.Response, error) (bool, error) { boom(); return false, nil }},
		"Backoff":    {Backoff: retry.Backoff{Func: func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { boom(); return 0 }}},
		"GetBody":    {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				loop := newLoop(t, retry.Options{Policy: &p, Timeout: time.Hour})
				tr := &tryer{t: t, results: []result{{status: 503}, {status: 200}}}
				body := &requestBody{Reader: strings.NewReader("x")}
				in := newRequest(t, "PUT", body)
				released := 0
				if name == "GetBody" {
					in.GetBody = func() (io.ReadCloser, error) { boom(); return nil, nil }
					released = 1
				}
				require.PanicsWithValue(t, "boom", func() { _, _ = loop.Do(t.Context(), in, tr) })
				require.Zero(t, tr.open.Load(), "the response")
				require.EqualValues(t, 1, body.closed.Load(), "the request body")
				require.Equal(t, released, tr.released)
				require.Zero(t, loop.Budget().Stats().Granted)
				synctest.Wait()
				require.EqualValues(t, 1, tr.ended.Load(), "the context of the attempt")
			})
		})
	}
}

func TestLoopsMayShareBudgetAndCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget, counters := retry.NewBudget(retry.BudgetPolicy{Ratio: 0.1, MinPerSecond: -1}), new(retry.Counters)
		for range 12 {
			loop := newLoop(t, retry.Options{Policy: &retry.Policy{}, Budget: budget, Counters: counters})
			tr := &tryer{t: t, results: []result{{status: 503}, {status: 503}}}
			_, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tr)
			require.NoError(t, err)
		}
		// Ten were saved up; the first call finds the budget full, each of the
		// others brings 0.1.
		require.EqualValues(t, 11, counters.Stats().Retries)
		require.EqualValues(t, 1, counters.Stats().OverBudget)
		require.EqualValues(t, 12, counters.Stats().Calls)
		require.EqualValues(t, 23, counters.Stats().Attempts)
	})
}

func TestNothingOverflows(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for name, c := range map[string]struct {
		policy retry.Policy
		header http.Header
		sent   int
	}{
		"back-off":    {policy: retry.Policy{Backoff: retry.Backoff{Base: forever, Max: forever}}, sent: 1},
		"Func":        {policy: retry.Policy{Backoff: retry.Backoff{Func: constant(forever)}}, sent: 1},
		"Func, less":  {policy: retry.Policy{Backoff: retry.Backoff{Func: constant(-forever)}}, sent: 2},
		"Retry-After": {policy: retry.Policy{MaxRetryAfter: forever}, header: http.Header{"Retry-After": {"99999999999999"}}, sent: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				loop := newLoop(t, retry.Options{Policy: &c.policy, Timeout: time.Minute})
				tr := &tryer{t: t, results: []result{{status: 503, header: c.header}, {status: 200}}}
				resp, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tr)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, c.sent, tr.calls())
			})
		})
	}
}

func TestTheContextOfEveryAttemptEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{Attempts: 3, PerTry: time.Minute}, Timeout: time.Hour})
		tr := &tryer{t: t, results: []result{{err: errReset}, {status: 503}, {status: 200}}}
		resp, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tr)
		require.NoError(t, err)
		synctest.Wait()
		require.EqualValues(t, 2, tr.ended.Load(), "of an error at once, of a response with its body")
		require.NoError(t, resp.Body.Close())
		synctest.Wait()
		require.EqualValues(t, 3, tr.ended.Load())
	})
}

func TestCallerGoneMeansNoOtherAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{}})
		prepared := 0
		_, err := loop.Do(ctx, newRequest(t, "GET", nil), prepareFunc(func(context.Context, int) (retry.Try, error) {
			prepared++
			return tryFunc(func(context.Context, retry.Body) (*http.Response, error) {
				cancel()
				return nil, &outcome.UnsentError{Err: errReset}
			}), nil
		}))
		require.ErrorIs(t, err, errReset)
		require.Equal(t, 1, prepared)
		require.EqualValues(t, 1, loop.Counters().Stats().Cancelled)
	})
}

func TestCallerGoesAwayWhilePreparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{}})
		tr := &tryer{t: t, results: []result{{status: 503}}}
		resp, err := loop.Do(ctx, newRequest(t, "GET", nil), prepareFunc(func(ctx context.Context, n int) (retry.Try, error) {
			if n == 1 {
				return tr.Prepare(ctx, n)
			}
			cancel()
			return nil, errReset
		}))
		require.Nil(t, resp)
		require.Equal(t, context.Canceled, err)
		require.Zero(t, tr.open.Load())
		require.EqualValues(t, 1, loop.Counters().Stats().Cancelled)
	})
}

func TestNothingIsLeftWhenTheFirstPrepareFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got context.Context
		_, err := newLoop(t, retry.Options{Timeout: time.Hour}).Do(t.Context(), newRequest(t, "GET", nil),
			prepareFunc(func(ctx context.Context, _ int) (retry.Try, error) {
				got = ctx
				return nil, errReset
			}))
		require.Equal(t, errReset, err)
		require.Error(t, got.Err())
	})
}

func TestObserveSendsTheCallersOwnBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for size, would := range map[int]uint64{10: 1, 100: 0} {
			body := &requestBody{Reader: strings.NewReader("x")}
			in := newRequest(t, "PUT", body)
			in.ContentLength = int64(size)
			loop := newLoop(t, retry.Options{Policy: &retry.Policy{Mode: outcome.Observe, BufferBody: 50}})
			_, err := loop.Do(t.Context(), in, tryFunc(func(_ context.Context, b retry.Body) (*http.Response, error) {
				require.Same(t, body, b.Reader)
				return &http.Response{StatusCode: 503, Body: http.NoBody}, b.Reader.Close()
			}))
			require.NoError(t, err)
			require.Equal(t, would, loop.Counters().Stats().WouldRetry)
			require.Equal(t, 1-would, loop.Counters().Stats().Unreplayable)
		}
	})
}

package retry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/retry"
)

// amplification has calls arrive at random for a minute while every attempt
// fails, and returns calls and attempts.
func amplification(t *testing.T, seed uint64, budget retry.BudgetPolicy) (calls, attempts int) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var sent atomic.Int64
		loop := newLoop(t, retry.Options{Policy: &retry.Policy{Attempts: 4, Budget: budget}})
		fail := tryFunc(func(context.Context, retry.Body) (*http.Response, error) {
			if sent.Add(1)%2 == 0 {
				return nil, errReset
			}
			return &http.Response{StatusCode: 503, Body: http.NoBody}, nil
		})
		in := newRequest(t, "GET", nil)
		rate := time.Second / time.Duration(1+rng.IntN(200))
		var wg sync.WaitGroup
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
			calls++
			wg.Go(func() { _, _ = loop.Do(t.Context(), in, fail) })
			time.Sleep(time.Duration(rng.Int64N(int64(2 * rate))))
		}
		wg.Wait()
		attempts = int(sent.Load())
		stats := loop.Counters().Stats()
		require.EqualValues(t, calls, stats.Calls)
		require.EqualValues(t, attempts, stats.Attempts)
		require.Equal(t, stats.Retries, loop.Budget().Stats().Granted)
	})
	return calls, attempts
}

func TestRetriesAddNoMoreThanTheBudget(t *testing.T) { retriesAddNoMoreThanTheBudget(t, 6) }

func retriesAddNoMoreThanTheBudget(t *testing.T, seeds uint64) {
	const most = 10*time.Second + time.Minute + time.Second // of the floor: saved up, and earned
	exceeded := 0
	for seed := range seeds {
		bound := func(calls int) int { return calls + calls/5 + 10*int(most/time.Second) }
		calls, attempts := amplification(t, seed, retry.BudgetPolicy{})
		require.LessOrEqual(t, attempts, bound(calls), "seed %d", seed)
		require.Greater(t, attempts, calls, "seed %d: some", seed)

		// Without a floor the proportion is all there is.
		calls, attempts = amplification(t, seed, retry.BudgetPolicy{MinPerSecond: -1})
		require.LessOrEqual(t, attempts, calls+calls/5+10, "seed %d", seed)

		if calls, attempts := amplification(t, seed, retry.BudgetPolicy{Ratio: -1}); attempts > bound(calls) {
			exceeded++
		}
	}
	require.Greater(t, exceeded, int(seeds)/2, "negative control: without a budget attempts multiply")
}

// storm is a fleet in which everything goes wrong at random: dials are
// refused, endpoints answer, refuse, reset, hang.
type storm struct {
	mu   sync.Mutex
	rng  *rand.Rand
	hits map[string]int    // by call, how often an endpoint saw it
	body map[string][]byte // by call, what the last one read
}

func (s *storm) draw(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

func (s *storm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("Call")
	s.mu.Lock()
	s.hits[id]++
	s.mu.Unlock()
	early := s.draw(4) == 0
	if !early {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.body[id] = body
		s.mu.Unlock()
	}
	time.Sleep(time.Duration(s.draw(100)) * time.Millisecond)
	switch s.draw(5) {
	case 0:
		panic(http.ErrAbortHandler)
	case 1:
		<-r.Context().Done()
	case 2:
		w.WriteHeader(503)
		_, _ = w.Write(bytes.Repeat([]byte("x"), s.draw(100_000)))
	default:
		if early {
			w.WriteHeader(500)
			return
		}
		_, _ = w.Write(bytes.Repeat([]byte("y"), s.draw(10_000)))
	}
}

// run makes calls with the given method through the storm, under a policy
// that says of each whether it may be repeated, and checks what holds for
// every call. It returns how often each was seen.
func (s *storm) run(t *testing.T, protocol, method string, idempotent bool) map[string]int {
	s.hits, s.body = map[string]int{}, map[string][]byte{}
	f := newFleet(t, protocol, s, s, s)
	for _, tr := range f.endpoints {
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if s.draw(4) == 0 {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			return dial(ctx, network, address)
		}
		tr.MaxIdleConnsPerHost = 1
	}
	loop := newLoop(t, retry.Options{Timeout: 2 * time.Second, Policy: &retry.Policy{
		Attempts: 4, PerTry: 300 * time.Millisecond, Idempotent: idempotent, BufferBody: 4000,
		Budget: retry.BudgetPolicy{Ratio: -1}}})
	type ending struct {
		body     *requestBody
		response *http.Response
		id       string
		sent     []byte
	}
	var all []ending
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 60 {
		id, sent := strconv.Itoa(i), bytes.Repeat([]byte{byte(i)}, s.draw(6000))
		body := &requestBody{Reader: bytes.NewReader(sent)}
		in := newRequest(t, method, body)
		in.Header.Set("Call", id)
		in.ContentLength = int64(len(sent))
		if len(sent) == 0 || s.draw(3) == 0 {
			in.ContentLength = -1
		}
		if s.draw(2) == 0 {
			in.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(sent)), nil }
		}
		ctx, cancel := context.WithCancel(t.Context())
		if s.draw(10) == 0 {
			time.AfterFunc(time.Duration(s.draw(500))*time.Millisecond, cancel)
		}
		wg.Go(func() {
			defer cancel()
			resp, err := f.do(loop, in.WithContext(ctx))
			if (resp == nil) == (err == nil) {
				t.Errorf("response %v and error %v", resp, err)
			}
			if resp != nil {
				if _, err := io.Copy(io.Discard, resp.Body); err != nil && resp.StatusCode == 200 &&
					!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("call %s: %v", id, err)
				}
				_ = resp.Body.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, ending{body, resp, id, sent})
		})
	}
	wg.Wait()
	f.close()
	for _, e := range all {
		require.EqualValues(t, 1, e.body.closed.Load(), "call %s: its body", e.id)
		if e.response != nil && e.response.StatusCode == 200 {
			require.True(t, bytes.Equal(e.sent, s.body[e.id]), "call %s: %d bytes sent, %d came", e.id, len(e.sent), len(s.body[e.id]))
		}
	}
	return s.hits
}

func TestWhatMayNotBeRepeatedArrivesAtMostOnce(t *testing.T) { arrivesAtMostOnce(t, 3) }

func arrivesAtMostOnce(t *testing.T, seeds uint64) {
	overBoth(t, func(t *testing.T, protocol string) {
		repeated, again := 0, 0
		for seed := range seeds {
			s := &storm{rng: rand.New(rand.NewPCG(seed, 4))}
			for id, n := range s.run(t, protocol, "POST", false) {
				require.Equal(t, 1, n, "seed %d, call %s", seed, id)
			}
			for _, n := range s.run(t, protocol, "POST", true) {
				if n > 1 {
					repeated++
				}
			}
			for _, n := range s.run(t, protocol, "PUT", false) {
				if n > 1 {
					again++
				}
			}
		}
		require.Greater(t, repeated, 10*int(seeds), "negative control: declared idempotent, calls arrive again")
		require.Greater(t, again, 10*int(seeds), "and those with PUT by themselves")
	})
}

// TestProofProperties: both hold for many more seeds.
func TestProofProperties(t *testing.T) {
	seeds := uint64(1)
	if os.Getenv("TULLE_PROOF") != "" {
		seeds = 100
	}
	t.Run("budget", func(t *testing.T) { retriesAddNoMoreThanTheBudget(t, seeds) })
	t.Run("at most once", func(t *testing.T) { arrivesAtMostOnce(t, seeds) })
}

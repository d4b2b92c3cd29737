package breaker_test

import (
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
)

// However many calls an incident meets and however often its trials fail, it
// has two events.
func TestOneEventForEachEndOfAnIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var events []breaker.Event
		b := newBreaker(t, breaker.Policy{}, breaker.Options{Service: "reviews", Endpoint: "10.0.0.1:80", OnEvent: func(e breaker.Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		}})
		// The same history for a core that tells of its transitions.
		changes := 0
		control := circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(.5, 20, 10*time.Second).WithSuccessThreshold(3).
			WithDelay(5 * time.Second).OnStateChanged(func(circuitbreaker.StateChangedEvent) { changes++ }).Build()

		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() { calls(b, 5, outcome.ServerError) })
		}
		wg.Wait()
		opened := time.Now()
		fail(bare{control}, 1000, outcome.ServerError)
		for range 4 {
			time.Sleep(openTime)
			call(b, outcome.Gateway)
			fail(bare{control}, 1, outcome.Gateway)
		}
		time.Sleep(openTime)
		calls(b, 5, outcome.Success)
		fail(bare{control}, 5, outcome.Success)

		require.Len(t, events, 2)
		first, last := events[0], events[1]
		assert.True(t, first.Open)
		assert.Equal(t, "reviews", first.Service)
		assert.Equal(t, "10.0.0.1:80", first.Endpoint)
		assert.Equal(t, opened, first.At)
		assert.Equal(t, opened, first.Since)
		assert.Equal(t, 20, first.Calls)
		assert.Equal(t, 20, first.Failures)
		assert.Equal(t, "20 of 20 calls in 10s failed", first.Cause)
		assert.GreaterOrEqual(t, first.HalfOpenAt.Sub(opened), 5*time.Second)
		assert.Len(t, first.Last, 8)

		assert.False(t, last.Open)
		assert.Equal(t, opened, last.Since)
		assert.Equal(t, time.Now(), last.At)
		assert.Equal(t, 5*openTime, last.Duration)
		assert.Equal(t, 4, last.Reopened)
		assert.Equal(t, "3 trials succeeded", last.Cause)
		assert.EqualValues(t, b.Stats().Refused, last.Refused)
		assert.GreaterOrEqual(t, last.Refused, uint64(1), "those while it was open")
		assert.Zero(t, last.HalfOpenAt)
		assert.Greater(t, changes, 2, "negative control: transitions are more than incidents")
	})
}

func TestListenerMayUseTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *breaker.Breaker
		var told []bool
		b = newBreaker(t, breaker.Policy{}, breaker.Options{OnEvent: func(e breaker.Event) {
			told = append(told, e.Open)
			b.Stats()
			b.RetryAfter(time.Now())
			call(b, outcome.Success)
			if len(told) < 5 && e.Open {
				b.Reset() // whose event comes after this one
				assert.False(t, told[len(told)-1] != e.Open, "no event within another")
			} else if len(told) < 5 {
				trip(t, b)
			}
		}})
		tripAway(b)
		assert.Equal(t, []bool{true, false, true, false, true}, told)
		assert.Equal(t, breaker.Open, b.State())
	})
}

// tripAway is trip where a listener undoes it.
func tripAway(b *breaker.Breaker) { calls(b, 20, outcome.ServerError) }

func TestListenerThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		b := newBreaker(t, breaker.Policy{}, breaker.Options{OnEvent: func(e breaker.Event) {
			told++
			panic("listener")
		}})
		calls(b, 19, outcome.Reset)
		assert.PanicsWithValue(t, "listener", func() { call(b, outcome.Reset) })
		assert.Equal(t, breaker.Open, b.State())
		time.Sleep(openTime)
		calls(b, 2, outcome.Success)
		assert.PanicsWithValue(t, "listener", func() { call(b, outcome.Success) })
		assert.Equal(t, breaker.Closed, b.State())
		assert.Equal(t, 2, told, "the next event is told all the same")
	})
}

// A listener that hangs holds up one caller, no more, and no memory.
func TestListenerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []bool
		var incidents []time.Time
		release := make(chan struct{})
		b := newBreaker(t, breaker.Policy{}, breaker.Options{OnEvent: func(e breaker.Event) {
			told = append(told, e.Open)
			incidents = append(incidents, e.Since)
			<-release
		}})
		var wg sync.WaitGroup
		wg.Go(func() { tripAway(b) })
		synctest.Wait()
		for range 100 {
			b.Reset()
			trip(t, b)
		}
		last := time.Now()
		close(release)
		wg.Wait()
		assert.LessOrEqual(t, len(told), 17)
		for i, open := range told {
			assert.Equal(t, i%2 == 0, open, "they still take turns")
		}
		assert.Equal(t, last, incidents[len(incidents)-1], "the newest is not lost")
	})
}

func TestEventIsReadableJSON(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	e := breaker.Event{
		Service: "reviews", Endpoint: "10.0.0.1:80", Open: true, Mode: outcome.Observe, At: at, Since: at,
		Cause: "20 of 30 calls in 10s failed", Calls: 30, Failures: 20, Slow: 1, HalfOpenAt: at.Add(5 * time.Second),
		Last: []breaker.Sample{
			{At: at, Class: outcome.Gateway, Status: 503, Latency: 12 * time.Millisecond, TraceID: "0af7651916cd43dd8448eb211c80319c"},
			{At: at, Class: outcome.Timeout, Latency: 2 * time.Second},
		},
		Reopened: 2, Refused: 7, Duration: 90 * time.Second,
	}
	text, err := json.Marshal(e)
	require.NoError(t, err)
	assert.JSONEq(t, `{
		"service": "reviews", "endpoint": "10.0.0.1:80", "open": true, "mode": "observe",
		"at": "2026-11-22T10:00:00Z", "since": "2026-11-22T10:00:00Z", "halfOpenAt": "2026-11-22T10:00:05Z",
		"cause": "20 of 30 calls in 10s failed", "calls": 30, "failures": 20, "slow": 1,
		"last": [
			{"at": "2026-11-22T10:00:00Z", "class": "gateway", "status": 503, "latency": "12ms", "traceId": "0af7651916cd43dd8448eb211c80319c"},
			{"at": "2026-11-22T10:00:00Z", "class": "timeout", "latency": "2s"}
		],
		"reopened": 2, "refused": 7, "duration": "1m30s"
	}`, string(text))
	var got breaker.Event
	require.NoError(t, json.Unmarshal(text, &got))
	assert.Equal(t, e, got)
	assert.Error(t, json.Unmarshal([]byte(`{"duration": "soon"}`), &got))
	assert.Error(t, json.Unmarshal([]byte(`{"last": [{"latency": "soon"}]}`), &got))
}

// The samples are the latest eight results, in order, as they were.
func TestSamples(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var event breaker.Event
		b := newBreaker(t, breaker.Policy{Consecutive: 9}, breaker.Options{OnEvent: func(e breaker.Event) { event = e }})
		call(b, outcome.Success)
		for i := range 9 {
			time.Sleep(time.Second)
			p, err := b.Allow(time.Now())
			require.NoError(t, err)
			r := result(outcome.ServerError)
			r.Status, r.Latency, r.TraceID = 500+i, time.Duration(i)*time.Millisecond, [16]byte{15: byte(i)}
			p.Done(r)
			call(b, outcome.Neutral)
		}
		require.Len(t, event.Last, 8)
		for i, s := range event.Last {
			n := i + 1
			assert.Equal(t, 500+n, s.Status)
			assert.Equal(t, outcome.ServerError, s.Class)
			assert.Equal(t, time.Duration(n)*time.Millisecond, s.Latency)
			assert.Equal(t, "0000000000000000000000000000000"+string('0'+rune(n)), s.TraceID)
			assert.Equal(t, event.At.Add(time.Duration(n-8)*time.Second), s.At)
		}
	})
}

package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/internal/sim"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// expects sends each call to server 0, as long as that has room, and else to
// server 1.
type expects struct {
	room int
	seen func(c *sim.Caller, server int, r outcome.Result)
}

func (e expects) New(c *sim.Caller) sim.Picker { return &expecting{e, c} }

type expecting struct {
	expects
	caller *sim.Caller
}

func (e *expecting) Pick(time.Time, uint64) int             { return 0 }
func (e *expecting) Room(int, time.Time) int                { return e.room }
func (e *expecting) Again(_ time.Time, _ uint64, _ int) int { return 1 }
func (e *expecting) Observe(server int, r outcome.Result)   { e.seen(e.caller, server, r) }

// What a server has no room for goes back at once, unworked, and is let in
// wherever it goes then.
func TestSentBack(t *testing.T) {
	for name, c := range map[string]struct {
		server sim.Server
		room   int
		most   float64 // in flight when the first goes back, 0 if none does
	}{
		"more than there is room for": {sim.Server{Workers: 2}, 5, 5},
		"a worker is free":            {sim.Server{Workers: 4}, 1, 4},
		"a guard that enforces":       {sim.Server{Workers: 2, Guard: &overload.Policy{MaxInFlight: 3, MaxWait: time.Minute}}, 6, 6},
		"a guard that adapts":         {sim.Server{Workers: 2, Guard: &overload.Policy{}}, 4, 4},
		"reports of the model":        {sim.Server{Workers: 2, Reports: sim.True}, 5, 5},
		"nobody says":                 {sim.Server{Workers: 2}, 0, 0},
		"who knows nothing of it":     {sim.Server{Workers: 2, Keeps: true}, 5, 0},
		"who reports nothing":         {sim.Server{Workers: 2, Reports: sim.Silent}, 5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var back, answered [2]int
			fastest := [2]time.Duration{time.Hour, time.Hour}
			s := sim.Scenario{
				Seed: 1, Servers: []sim.Server{c.server, {Workers: 1}}, Load: .9, Work: sim.Work{Constant: true}, Measure: 4 * second, Warm: -1,
				Timeout: time.Minute, Callers: 3,
				Chooser: expects{c.room, func(c1 *sim.Caller, server int, r outcome.Result) {
					if !r.SentBack {
						answered[server]++
						assert.Equal(t, outcome.Success, r.Class)
						fastest[server] = min(fastest[server], r.Latency)
						return
					}
					back[server]++
					assert.Equal(t, outcome.Neutral, r.Class)
					assert.False(t, r.Cut)
					assert.True(t, r.Reported)
					assert.Equal(t, 500*time.Microsecond, r.Latency, "the way there and back")
					assert.GreaterOrEqual(t, c1.Endpoint(server).Load().InFlight, c.most)
				}},
			}
			s.Servers[0].Sharing = true
			r := s.Run(t)
			assert.Equal(t, r.Calls, answered[0]+answered[1])
			assert.Equal(t, r.SentBack, back[0])
			assert.Zero(t, back[1], "it has as much to do, and is asked last")
			assert.Equal(t, []int{answered[0], answered[1]}, r.Picks)
			assert.Equal(t, back[0], answered[1])
			if c.most == 0 {
				assert.Zero(t, back[0])
			} else {
				assert.Greater(t, back[0], 20)
				assert.Equal(t, 10500*time.Microsecond, fastest[1], "of this attempt alone")
			}
		})
	}
}

// Whatever happens to servers and callers, a call that was sent back ends once.
func TestEachCallEndsOnceThoughSentBack(t *testing.T) {
	back := 0
	for seed := range uint64(4) {
		s := chaos(seed)
		s.Abandon, s.Chooser = seed%2 == 0, sim.Balanced{Policy: balancer.LoadFed{}}
		r := s.Run(t)
		require.Equal(t, r.All, r.Calls)
		picks := 0
		for _, n := range r.Picks {
			picks += n
		}
		require.Equal(t, r.Calls, picks)
		back += r.SentBack
		s.Chooser = sim.Balanced{Policy: balancer.LoadFed{SendBack: -1}}
		require.Zero(t, s.Run(t).SentBack)
	}
	require.Greater(t, back, 100)
}

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
)

func TestJudge(t *testing.T) {
	s := step{calls: 400, expect: map[string]float64{"v1": 0.5, "v3": 0.5}}
	require.NoError(t, s.judge(sight{pages: map[string]int{"v1": 190, "v3": 210}}))
	require.ErrorContains(t, s.judge(sight{pages: map[string]int{"v1": 100, "v3": 300}}), "v1: 100 of 400 calls, expected 136 to 264")
	require.ErrorContains(t, s.judge(sight{pages: map[string]int{"v1": 200, "v3": 199, "v2": 1}}), "v2: 1 of 400 calls, expected none")
	require.Error(t, s.judge(sight{}))

	numbers := func(n map[string]int) sight { return sight{tally: tally{numbers: n}} }
	s = step{counted: map[string]span{"copies": exactly(7), "alerts": exactly(0), "requests": {10, 12}}}
	require.NoError(t, s.judge(numbers(map[string]int{"copies": 7, "alerts": 0, "requests": 12})))
	require.ErrorContains(t, s.judge(numbers(map[string]int{"copies": 8, "alerts": 0, "requests": 10})), "copies: 8, expected 7")
	require.ErrorContains(t, s.judge(numbers(map[string]int{"copies": 7, "requests": 10})), "alerts: 0, expected 0")
	for _, n := range []int{9, 13} {
		require.ErrorContains(t, s.judge(numbers(map[string]int{"copies": 7, "alerts": 0, "requests": n})), "expected 10 to 12")
	}

	// What may be seen besides is not held against the shares of the rest.
	s = step{calls: 400, expect: map[string]float64{"v1": 0.5, "v3": 0.5}, besides: map[string]int{"none": 200}}
	require.NoError(t, s.judge(sight{pages: map[string]int{"v1": 100, "v3": 100, "none": 200}}))
	require.NoError(t, s.judge(sight{pages: map[string]int{"v1": 200, "v3": 200}}))
	require.ErrorContains(t, s.judge(sight{pages: map[string]int{"v1": 160, "v3": 39, "none": 201}}), "none: 201 of 400 calls, expected at most 200")
	require.ErrorContains(t, s.judge(sight{pages: map[string]int{"v1": 190, "v3": 10, "none": 200}}), "v3: 10 of 200 calls, expected ")
	require.Equal(t, []string{"v1 50 %", "v3 50 %", "besides none: at most 200"}, s.expected())
}

// TestEveryStepSumsUp guards the tasks: shares of a whole, and what the
// policy of a step is must be missing without.
func TestEveryStepSumsUp(t *testing.T) {
	for _, task := range tasks() {
		require.NotEmpty(t, task.steps)
		for _, s := range task.steps {
			sum := 0.0
			for _, share := range s.expect {
				sum += share
			}
			require.InDelta(t, 1, sum, 1e-9, s.about)
			for what, most := range s.besides {
				require.NotContains(t, s.expect, what, s.about)
				require.Less(t, most, s.calls, s.about)
			}
			require.Equal(t, s.count == nil, s.counted == nil, s.about)
			if len(s.users) > 0 {
				require.Zero(t, s.calls%len(s.users), s.about)
			}
			if s.without == nil {
				require.NotEqual(t, describe(s.rules), describe(task.without), s.about)
			}
		}
	}
}

func TestSpan(t *testing.T) {
	require.Equal(t, "7", exactly(7).String())
	require.Equal(t, "0", exactly(0).String())
	require.Equal(t, "at most 7", atMost(7).String())
	require.Equal(t, "3 to 7", span{3, 7}.String())
}

// TestWalk takes a step that is right, one that expects what does not come,
// and one whose policy makes no difference: only the first may pass.
func TestWalk(t *testing.T) {
	f := newFleet(t)
	v1 := rules{routes: []tulle.Route{toReviews("all", map[string]uint32{"v1": 1})}}
	right := step{rules: v1, calls: 50, see: versionOfReviews, expect: map[string]float64{"v1": 1}}
	wrong := right
	wrong.expect = map[string]float64{"v3": 1}

	for _, c := range []struct {
		name    string
		step    step
		without rules
		want    string
	}{
		{"right", right, rules{}, ""},
		{"wrong", wrong, rules{}, "v3: 0 of 50 calls, expected 50 to 50"},
		{"idle", right, v1, "meets its expectation without the policy as well"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			w := walker{fleet: f, out: &out}
			err := w.walk(t.Context(), task{name: c.name, steps: []step{c.step}, without: c.without})
			if c.want == "" {
				require.NoError(t, err)
				require.Contains(t, out.String(), "fails, as it must")
				return
			}
			require.ErrorContains(t, err, c.name+", step 1: ")
			require.ErrorContains(t, err, c.want)
			require.Contains(t, out.String(), " NOT ")
		})
	}
}

// TestCrowd: many call at once for as long as something takes, until there
// are enough; what goes wrong ends it and is told.
func TestCrowd(t *testing.T) {
	f := newFleet(t)
	w := walker{fleet: f, out: io.Discard}
	calls := 0
	s := step{calls: 50, see: versionOfReviews, during: func(context.Context, *fleet) error { calls++; return nil }}
	require.NoError(t, f.apply(t.Context(), rules{routes: []tulle.Route{toReviews("all", map[string]uint32{"v1": 1})}}))
	seen, _, err := w.crowd(t.Context(), "", s)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"v1": 50}, seen)
	require.Equal(t, 1, calls)

	s.during = func(ctx context.Context, f *fleet) error { return f.roll(ctx, "nonesuch", nil, false) }
	s.request = func(*fleet, int) request { return request{user: "jason"} }
	s.see = func(p page) string { return p.User }
	seen, _, err = w.crowd(t.Context(), "", s)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"jason": 50}, seen)

	s.during = func(context.Context, *fleet) error { return errors.New("it went wrong") }
	_, _, err = w.crowd(t.Context(), "", s)
	require.ErrorContains(t, err, "it went wrong")
	f.processes[0].kill()
	_, _, err = w.crowd(t.Context(), "", s)
	require.ErrorContains(t, err, f.processes[0].addr)
}

// TestTroubleEnds: what a step breaks is whole after it.
func TestTroubleEnds(t *testing.T) {
	f := newFleet(t)
	for _, task := range tasks() {
		for _, s := range task.steps {
			if s.trouble == nil {
				continue
			}
			name := task.name + ": " + s.about
			var before []string
			for _, p := range f.processes {
				before = append(before, p.addr)
			}
			end, err := s.trouble(t.Context(), f)
			require.NoError(t, err, name)
			require.NoError(t, end(t.Context()), name)
			for i, p := range f.processes {
				require.True(t, p.running(), name)
				require.Equal(t, before[i], p.addr, name)
				_, err := p.requests(t.Context())
				require.NoError(t, err, name)
			}
			for _, p := range f.of("ratings") {
				// A slow one never answers in time, a busy machine does in the end.
				for deadline, late := time.Now().Add(patience), true; late; {
					begin := time.Now()
					require.Equal(t, http.StatusOK, status(t, p), name)
					late = time.Since(begin) >= slowness
					require.True(t, !late || begin.Before(deadline), name)
				}
			}
			for _, version := range []string{"v2", "v3"} {
				only := toReviews(version, map[string]uint32{version: 1})
				require.NoError(t, f.apply(t.Context(), rules{routes: []tulle.Route{only}}))
				for range 20 {
					p, err := f.look(t.Context(), "")
					require.NoError(t, err)
					require.Equal(t, "stars", starsOfReviews(p), name)
				}
			}
		}
	}
}

// TestCheck: one task that is as expected passes, one that is not fails, and
// the report says which.
func TestCheck(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	wrong := shiftingTask()
	wrong.steps = wrong.steps[1:2]
	wrong.steps[0].expect = map[string]float64{"v1": 0.5, "v3": 0.5}

	var out bytes.Buffer
	require.NoError(t, check(t.Context(), &out, []task{routingTask()}, 1))
	require.Contains(t, out.String(), "bookinfo: ok: 1 tasks as expected")
	out.Reset()
	err := check(t.Context(), &out, []task{routingTask(), wrong}, 1)
	require.ErrorContains(t, err, "shifting, step 1: v1: ")
	require.NotContains(t, err.Error(), "routing")
	require.Contains(t, out.String(), "NOT as expected")
}

package health_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

// The headers of a response that breaks off look like a success.
func TestLateFailures(t *testing.T) {
	t.Run("each is one", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		for i := range 4 {
			require.False(t, o.late(reset), i)
		}
		require.True(t, o.late(reset))
		o.accused("5 consecutive connect failures, resets or time-outs")
	})
	t.Run("among others", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.times(4, broken)
		require.True(t, o.late(reset))
		o.accused("5 consecutive 5xx")
	})
	t.Run("after a success that stands", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.times(4, broken)
		o.get(success)
		require.False(t, o.late(reset))
		require.False(t, o.times(3, broken))
		require.True(t, o.get(broken))
	})
	t.Run("with another success between", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.times(4, broken)
		opened := o.now
		o.get(success, success)
		res := o.result(reset, o.now.Sub(opened)-time.Millisecond/2)
		res.Late, res.Was = true, success
		require.False(t, o.Observe(res, false))
		require.False(t, o.times(3, broken))
		require.True(t, o.get(broken))
	})
	t.Run("of an older attempt", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		opened := o.now
		o.get(success)
		o.times(4, broken)
		o.get(success)
		res := o.result(reset, o.now.Sub(opened)-time.Millisecond/2)
		res.Late, res.Was = true, success
		require.False(t, o.Observe(res, false))
		require.False(t, o.times(3, broken))
		require.True(t, o.get(broken))
	})
	t.Run("of what was no success", func(t *testing.T) {
		o := newOne(t, health.Outliers{Mode: outcome.Observe})
		broken429 := func() {
			o.get(full)
			res := o.result(reset, time.Millisecond/2)
			res.Late, res.Was = true, full
			o.Observe(res, false)
		}
		o.times(4, broken)
		o.get(success)
		broken429()
		require.False(t, o.times(3, broken), "the success still ends the run")
		o.after(time.Millisecond)
		for _, c := range []outcome.Class{success, full} { // both began at once
			o.Observe(o.result(c, time.Millisecond/2), false)
		}
		res := o.result(reset, time.Millisecond/2)
		res.Late, res.Was = true, full
		require.False(t, o.Observe(res, false), "nor does the end of another")
		o.eject()
		o.get(success)
		broken429()
		require.EqualValues(t, 1, o.Stats().WouldAvoidSucceeded, "nothing is taken back")
	})
	t.Run("other late results say nothing", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.times(4, broken)
		for _, c := range []outcome.Class{success, full, neutral} {
			res := o.result(c, 0)
			res.Late, res.Was = true, success
			require.False(t, o.Observe(res, false))
		}
		require.True(t, o.get(broken))
	})
}

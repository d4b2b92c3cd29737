package tulle_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

// Calls stay in the zone of their process as long as that can carry them,
// spill into the region when endpoints of it fail, and come back without a
// herd. Without the preference they go everywhere.
func TestCallsStayInTheZone(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(6)
		zones := [...]string{"a", "a", "a", "b", "b", "c"}
		regions := [...]string{"north", "north", "north", "north", "north", "south"}
		infos := make([]endpoint.Info, 6)
		for i, addr := range addrs {
			infos[i] = endpoint.Info{Addr: addr, Zone: zones[i], Region: regions[i]}
		}
		src := newSource()
		src.set(infos...)
		c := from(src)
		c.Region, c.Zone = "north", "a"
		c.Services[0].Spread.Zones = balancer.NearestZone
		c.Policies.Outliers = &health.Outliers{}
		m := w.mesh(c)
		share := func(n int) (zone map[string]int) {
			before := make([]int64, 6)
			for i, f := range all {
				before[i] = f.served.Load()
			}
			w.calls(m, n)
			zone = map[string]int{}
			for i, f := range all {
				zone[zones[i]] += int(f.served.Load() - before[i])
			}
			return zone
		}
		require.Equal(w, map[string]int{"a": 300, "b": 0, "c": 0}, share(300))
		parts := service(w, m, "reviews").Parts
		require.NotEmpty(w, parts)
		assert.InDelta(w, 1, parts[0].Load, 1e-9)

		gone := append([]endpoint.Info(nil), infos...)
		for i := range 3 {
			gone[i].NotReady = true
		}
		src.set(gone...)
		synctest.Wait()
		require.Equal(w, map[string]int{"a": 0, "b": 300, "c": 0}, share(300), "the zone is gone")
		src.set(infos...)
		synctest.Wait()
		require.Equal(w, map[string]int{"a": 300, "b": 0, "c": 0}, share(300), "and back")

		c.Services[0].Spread.Zones = balancer.AnyZone
		require.NoError(w, m.Apply(c))
		for zone, n := range share(600) {
			assert.NotZero(w, n, zone)
		}

		// Nothing else than the Config says where the process is.
		c.Zone = "c"
		c.Region = "south"
		c.Services[0].Spread.Zones = balancer.NearestZone
		require.NoError(w, m.Apply(c))
		require.Equal(w, map[string]int{"a": 0, "b": 0, "c": 30}, share(30))
		c.Zone = "d"
		c.Region = "north"
		require.NoError(w, m.Apply(c))
		require.Zero(w, share(30)["c"], "the same region comes before another")
	})
}

// A newcomer grows into its share, if that is wanted.
func TestSlowStartOfNewcomers(t *testing.T) {
	for _, window := range []time.Duration{0, time.Minute} {
		inBubble(t, func(w *world) {
			addrs, all := w.fleet(3)
			src := newSource()
			src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]})
			c := fair(from(src))
			c.Services[0].Spread.SlowStart.Window = window
			m := w.mesh(c)
			w.calls(m, 10)
			time.Sleep(2 * time.Minute)
			src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]}, endpoint.Info{Addr: addrs[2]})
			synctest.Wait()
			w.calls(m, 300)
			if window == 0 {
				assert.EqualValues(w, 100, all[2].served.Load())
				return
			}
			assert.Less(w, all[2].served.Load(), int64(40))
			time.Sleep(window)
			before := all[2].served.Load()
			w.calls(m, 300)
			assert.EqualValues(w, 100, all[2].served.Load()-before)
		})
	}
}

// Whatever may leave endpoints out, a newcomer has its share at once: it was
// never away.
func TestPoliciesMakeNoRampForNewcomers(t *testing.T) {
	for name, p := range map[string]tulle.Policies{
		"without":         {},
		"outliers":        {Outliers: &health.Outliers{Mode: outcome.Observe}},
		"endpointBreaker": {EndpointBreaker: &breaker.Policy{Mode: outcome.Observe}},
		"enforced":        {Outliers: &health.Outliers{}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(3)
				src := newSource()
				src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]})
				c := fair(from(src))
				c.Policies = p
				m := w.mesh(c)
				w.calls(m, 10)
				time.Sleep(time.Minute)
				src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]}, endpoint.Info{Addr: addrs[2]})
				synctest.Wait()
				w.calls(m, 300)
				assert.InDelta(w, 100, all[2].served.Load(), 5)
			})
		})
	}
}

package tulle_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// Only endpoints of the best priority of which any is available are picked:
// the next ones when these are gone, and these again when they are back. A
// subset has a best of its own.
func TestTheBestPriorityIsPicked(t *testing.T) {
	inBubble(t, func(w *world) {
		src := newSource()
		infos := []endpoint.Info{
			{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"},
			{Addr: "10.0.0.3:80", Priority: 1, Labels: map[string]string{"v": "2"}},
			{Addr: "10.0.0.4:80", Priority: 7, Labels: map[string]string{"v": "2"}},
		}
		for _, info := range infos {
			w.serve(info.Addr, tulletest.Step{Body: info.Addr[:8]})
		}
		c := from(src)
		c.Services[0].Subsets = []tulle.Subset{{Name: "v2", Labels: map[string]string{"v": "2"}}}
		c.Routes = []tulle.Route{{Name: "v2", Match: []match.Request{{Path: match.Path{Exact: "/v2"}}}, Split: to(tulle.Destination{Service: "reviews", Subset: "v2"})}}
		m := w.mesh(c)
		for _, step := range []struct {
			ready       [4]bool
			whole, part []string
		}{
			{[4]bool{true, true, true, true}, []string{"10.0.0.1", "10.0.0.2"}, []string{"10.0.0.3"}},
			{[4]bool{false, true, true, true}, []string{"10.0.0.2"}, []string{"10.0.0.3"}},
			{[4]bool{false, false, true, true}, []string{"10.0.0.3"}, []string{"10.0.0.3"}},
			{[4]bool{false, false, false, true}, []string{"10.0.0.4"}, []string{"10.0.0.4"}},
			{[4]bool{true, false, false, true}, []string{"10.0.0.1"}, []string{"10.0.0.4"}},
			{[4]bool{true, true, true, true}, []string{"10.0.0.1", "10.0.0.2"}, []string{"10.0.0.3"}},
		} {
			next := append([]endpoint.Info(nil), infos...)
			for i := range next {
				next[i].NotReady = !step.ready[i]
			}
			src.set(next...)
			synctest.Wait()
			for path, want := range map[string][]string{"/": step.whole, "/v2": step.part} {
				seen := map[string]bool{}
				for range 40 {
					seen[w.get(m, "http://reviews"+path).body] = true
				}
				got := make([]string, 0, len(seen))
				for addr := range seen {
					got = append(got, addr)
				}
				assert.ElementsMatch(w, want, got, "%v %s", step.ready, path)
			}
		}
		assert.EqualValues(w, 7, endpointAt(w, service(w, m, "reviews"), "10.0.0.4:80").Priority)
	})
}

// A retry goes to the next priority where the best one has no other endpoint,
// unless that is strict.
func TestRetriesLeaveThePriorityUnlessStrict(t *testing.T) {
	for strict, want := range map[bool]int{false: 200, true: 503} {
		inBubble(t, func(w *world) {
			best := w.serve("10.0.0.1:80", tulletest.Step{Status: 503})
			next := w.serve("10.0.0.2:80", tulletest.Step{})
			src := newSource()
			src.set(endpoint.Info{Addr: "10.0.0.1:80"}, endpoint.Info{Addr: "10.0.0.2:80", Priority: 1})
			c := from(src)
			c.Services[0].Spread.Strict = strict
			c.Policies.Retry = &retry.Policy{}
			m := w.mesh(c)
			require.Equal(w, want, w.get(m, "http://reviews/").status)
			assert.Equal(w, 2, best.Count()+next.Count())
			assert.Equal(w, strict, next.Count() == 0)
		})
	}
}

// One endpoint of a priority that is left out does not open the next priority.
func TestAnEjectionDoesNotLeaveThePriority(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		src := newSource()
		src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]}, endpoint.Info{Addr: addrs[2], Priority: 1})
		c := fair(from(src))
		c.Services[0].Spread.Strict = true
		c.Policies.Outliers = &health.Outliers{}
		m := w.mesh(c)
		synctest.Wait()
		all[0].status.Store(500)
		w.calls(m, 20)
		require.Zero(w, all[2].served.Load())
	})
}

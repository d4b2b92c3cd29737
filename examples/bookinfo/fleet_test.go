package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/retry"
)

// TestRulesReachWhoCalls: a process is told of the calls that it makes, and of
// no other.
func TestRulesReachWhoCalls(t *testing.T) {
	ratings := tulle.Route{Name: "ratings", Match: []match.Request{{Hosts: []string{"nonesuch"}}, {Hosts: []string{"ratings"}}}}
	reviews := toReviews("reviews", map[string]uint32{"v1": 1})
	r := rules{routes: []tulle.Route{ratings, reviews}}
	require.Equal(t, []tulle.Route{reviews}, r.of("productpage"))
	require.Equal(t, []tulle.Route{ratings}, r.of("reviews"))
	require.Empty(t, r.of("ratings"))
}

// TestZones: endpoints near to the caller get all calls until their zone is
// gone, and get them again when it is back.
func TestZones(t *testing.T) {
	f := newFleet(t)
	zones := map[string]string{}
	for _, p := range f.of("ratings") {
		zones[p.addr] = p.zone
	}
	seen := func() map[string]bool {
		got := map[string]bool{}
		for range 60 {
			p, err := f.look(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, "stars", starsOfReviews(p))
			got[zones[p.Reviews.Ratings.Endpoint]] = true
		}
		return got
	}
	v3 := []tulle.Route{toReviews("all", map[string]uint32{"v3": 1})}
	require.NoError(t, f.apply(t.Context(), rules{routes: v3}))
	require.Equal(t, map[string]bool{"a": true, "b": true}, seen())
	require.NoError(t, f.apply(t.Context(), rules{routes: v3, nearest: true}))
	require.Equal(t, map[string]bool{"a": true}, seen())

	near := f.in("a", "ratings")
	require.Len(t, near, 2)
	end := f.strike(near)
	for _, p := range f.processes {
		require.Equal(t, p.service != "ratings" || p.zone != "a", p.running(), p)
	}
	require.NoError(t, end(t.Context()))
	require.Equal(t, map[string]bool{"a": true}, seen())
}

// TestOutAndBack: who is killed is left out, and nobody else, until it is back;
// without rules for that it is only killed and back.
func TestOutAndBack(t *testing.T) {
	f := newFleet(t)
	victims := f.in("a", "ratings")
	addrs := func() (out []string) {
		ratings, err := f.ratings(t.Context())
		require.NoError(t, err)
		for _, e := range ratings.out() {
			out = append(out, e.Addr)
		}
		return out
	}
	require.NoError(t, f.apply(t.Context(), failoverTask().steps[0].rules))
	end := f.strike(victims)
	require.NoError(t, f.untilLeftOut(t.Context(), victims))
	require.ElementsMatch(t, []string{victims[0].addr, victims[1].addr}, addrs())
	require.NoError(t, f.outAndBack(t.Context(), victims, end))
	require.Empty(t, addrs())
	require.NoError(t, f.apply(t.Context(), failoverTask().without))
	require.NoError(t, f.outAndBack(t.Context(), victims, f.strike(victims)))
	require.Empty(t, addrs())
	for _, p := range victims {
		require.True(t, p.running())
	}
}

// TestCopiesAreCounted from when the count begins, and those on their way are
// waited for.
func TestCopiesAreCounted(t *testing.T) {
	f := newFleet(t)
	s := mirroringTask().steps[0]
	require.NoError(t, f.apply(t.Context(), s.rules))
	for n := range 3 {
		tell, err := countVersion2(t.Context(), f)
		require.NoError(t, err)
		for range n {
			p, err := f.look(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, f.version("reviews", "v1")[0].addr, p.Review.Endpoint, "the call, and not its copy")
		}
		counted, err := tell(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]int{atVersion2: n}, counted.numbers)
	}
}

func TestDescribe(t *testing.T) {
	jason := toReviews("jason", map[string]uint32{"v1": 1}, match.Value{Name: userHeader, Exact: "jason"})
	jason.Mirrors = []tulle.Mirror{{Service: "reviews", Subset: "v2"}}
	jason.Policies = tulle.Policies{Timeout: time.Second, Retry: &retry.Policy{PerTry: time.Minute}, Breaker: &breaker.Policy{Consecutive: 3}, Fault: &fault.Policy{
		Delay: &fault.Delay{Percent: 100, Duration: time.Second}, Abort: &fault.Abort{Percent: 2.5, Status: 500},
	}}
	halves := toReviews("halves", map[string]uint32{"v1": 1, "v3": 2})
	require.Equal(t, []string{
		"reviews with End-User: jason goes to reviews v1",
		"reviews with End-User: jason is copied to reviews v2",
		"reviews with End-User: jason must be over in 1s",
		"reviews with End-User: jason is tried once more elsewhere if it fails, or has no answer within 1m0s",
		"reviews with End-User: jason is refused for 5s after 3 failures in a row, or when 50 % of at least 20 calls have failed, and then tried",
		"reviews with End-User: jason waits for 1s first",
		"reviews with End-User: jason is answered 500 Internal Server Error in the place of the service, in 2.5 % of the cases",
		"reviews goes to reviews v1 (weight 1), reviews v3 (weight 2)",
		"what failed, and can be repeated, is tried once more elsewhere",
		"an endpoint that fails 5 calls in a row is left out, for 10s at first; then one call tries it",
		"from its return it grows into its share in 10s",
		"details is called over TLS, by http URLs",
		"connections to details are used once, so that each call sees its certificate",
		"a process that is told to stop goes on for 1s and says so",
		"endpoints in the caller's own zone come first",
	}, describe(rules{routes: []tulle.Route{jason, halves}, retry: true, outliers: &health.Outliers{}, fresh: true, grace: time.Second, nearest: true}))
}

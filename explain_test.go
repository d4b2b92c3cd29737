package tulle_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/routing"
)

// What Explain says is what happens: for every request, the share of calls
// that go somewhere is the one foretold.
func TestExplainForetells(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.versions("v1", "v2", "v3")
		c.Services = append(c.Services, tulle.Service{Name: "empty", Resolver: newSource()})
		c.Policies = tulle.Recommended()
		c.Routes = []tulle.Route{
			{Name: "split", Match: prefix("/split"), Split: to(
				tulle.Destination{Service: "reviews", Subset: "v1", Weight: 3}, tulle.Destination{Service: "reviews", Subset: "v2", Weight: 1})},
			{Name: "bound", Match: prefix("/bound"), Sticky: &match.Key{Header: "X-User"}, Split: to(
				tulle.Destination{Service: "reviews", Subset: "v1"}, tulle.Destination{Service: "reviews", Subset: "v2"})},
			{Name: "policies", Match: prefix("/policies"), Policies: tulle.Policies{Timeout: 1e9}},
			{Name: "away", Match: prefix("/away"), Filters: routing.Filters{Redirect: &routing.Redirect{Path: "/"}}},
			{Name: "pot", Match: prefix("/pot"), Filters: routing.Filters{Direct: &routing.Direct{Status: 418}}},
		}
		m := w.mesh(c)
		synctest.Wait()
		ask := func(url, user string) (*http.Request, tulle.Explanation) {
			req, err := http.NewRequestWithContext(w.Context(), "GET", url, nil)
			require.NoError(w, err)
			req.Header.Set("X-User", user)
			return req, m.Explain(req)
		}
		for _, url := range []string{"http://reviews/split", "http://reviews/bound", "http://reviews/"} {
			for _, user := range []string{"", "a", "b", "c", "d"} {
				req, e := ask(url, user)
				foretold := map[string]float64{}
				for _, d := range e.Destinations {
					for _, addr := range d.Endpoints {
						foretold[addr] += d.Share / float64(len(d.Endpoints))
					}
				}
				seen := map[string]float64{}
				const n = 400
				for range n {
					a, err := read(m.Transport().RoundTrip(req))
					require.NoError(w, err)
					seen["10.0.0."+a.body[1:]+":80"] += 1. / n
				}
				for addr := range seen {
					assert.InDelta(w, foretold[addr], seen[addr], .15, "%s of %s as %q", addr, url, user)
				}
				for addr, share := range foretold {
					assert.Equal(w, share > 0, seen[addr] > 0, addr)
				}
			}
		}
		_, e := ask("http://reviews/policies", "")
		assert.Equal(w, "policies", e.Route)
		assert.EqualValues(w, 1e9, e.Destinations[0].Policies.Timeout)
		assert.Equal(w, 2, e.Destinations[0].Policies.Retry.Attempts)
		_, e = ask("http://reviews/away", "")
		assert.Equal(w, outcome.Redirected, e.Answer)
		_, e = ask("http://elsewhere/pot/1", "")
		assert.Equal(w, outcome.DirectResponse, e.Answer)
		_, e = ask("http://empty/", "")
		assert.Equal(w, "none is known", e.Destinations[0].Why)
		_, e = ask("http://elsewhere/", "")
		assert.True(w, e.Unknown)
		assert.Equal(w, outcome.NoReason, e.Answer)
		assert.Equal(w, "elsewhere: passes through, no service has this host", e.String())
		c.RefuseUnknownHosts = &tulle.RefuseUnknownHosts{}
		require.NoError(w, m.Apply(c))
		_, e = ask("http://elsewhere/", "")
		assert.Equal(w, outcome.UnknownHost, e.Answer)
		_, e = ask("http://reviews/split", "")
		assert.Equal(w, "reviews: route split (match 0)\n"+
			"  75 % to reviews (v1), policies: 2 attempts (enforce), outliers (enforce)\n    one of 10.0.0.1:80\n"+
			"  25 % to reviews (v2), policies: 2 attempts (enforce), outliers (enforce)\n    one of 10.0.0.2:80", e.String())
	})
}

// Explain counts nothing.
func TestExplainCountsNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.versions("v1", "v2")
		c.Routes = []tulle.Route{{Name: "all", Split: to(tulle.Destination{Service: "reviews"})}}
		m := w.mesh(c)
		synctest.Wait()
		before := m.State()
		req, _ := http.NewRequestWithContext(w.Context(), "GET", "http://reviews/", nil)
		for range 10 {
			m.Explain(req)
		}
		m.Explain(&http.Request{})
		after := m.State()
		assert.Equal(w, before.Routes, after.Routes)
		assert.Equal(w, before.Services[0].Calls, after.Services[0].Calls)
		assert.Equal(w, before.Services[0].Endpoints, after.Services[0].Endpoints)
	})
}

// What Explain says would become of a request is what becomes of it.
func TestExplainKnowsThatATrialIsDue(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 3)
		all[0].status.Store(200)
		time.Sleep(time.Minute)
		req := httpGet(w, "http://reviews/")
		assert.Empty(w, m.Explain(req).Destinations[0].Why)
		require.Equal(w, 200, w.get(m, "http://reviews/").status)
	})
}

func httpGet(w *world, url string) *http.Request {
	req, err := http.NewRequestWithContext(w.Context(), "GET", url, nil)
	require.NoError(w, err)
	return req
}

// Explain tells that a breaker refuses, while it does: not under Observe, and
// not when a trial is due.
func TestExplainKnowsTheBreaker(t *testing.T) {
	for _, mode := range []outcome.Mode{outcome.Enforce, outcome.Observe} {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(1)
				c := one(addrs...)
				c.Policies.Breaker = &breaker.Policy{Mode: mode, Consecutive: 3}
				m := w.mesh(c)
				req := httpGet(w, "http://reviews/")
				all[0].status.Store(500)
				w.calls(m, 2)
				require.Empty(w, m.Explain(req).Destinations[0].Why)
				w.calls(m, 1)
				want := ""
				if mode == outcome.Enforce {
					want = "the breaker is open"
					require.Contains(w, m.Explain(req).String(), "refused: the breaker is open")
				}
				require.Equal(w, want, m.Explain(req).Destinations[0].Why)
				time.Sleep(time.Minute)
				require.Empty(w, m.Explain(req).Destinations[0].Why)
				require.Zero(w, service(w, m, "reviews").Breakers[0].Refused, "it asks for nothing")
			})
		})
	}
}

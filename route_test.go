package tulle_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/routing"
	"github.com/tulle-mesh/tulle/tulletest"
)

// versions is a Config of a service with an endpoint of each version, that
// answers with its version, in subsets of that name.
func (w *world) versions(names ...string) tulle.Config {
	src := newSource()
	var infos []endpoint.Info
	s := tulle.Service{Name: "reviews", Resolver: src}
	for i, v := range names {
		addr := fmt.Sprintf("10.0.0.%d:80", i+1)
		w.serve(addr, tulletest.Step{Body: v})
		infos = append(infos, endpoint.Info{Addr: addr, Labels: map[string]string{"version": v}})
		s.Subsets = append(s.Subsets, tulle.Subset{Name: v, Labels: map[string]string{"version": v}})
	}
	src.set(infos...)
	return tulle.Config{Services: []tulle.Service{s}}
}

func to(parts ...tulle.Destination) []tulle.Destination { return parts }

func prefix(p string) []match.Request { return []match.Request{{Path: match.Path{Prefix: p}}} }

func TestRequestRouting(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.versions("v1", "v2")
		c.Routes = []tulle.Route{
			{Name: "all", Match: []match.Request{{Hosts: []string{"reviews"}}}, Split: to(tulle.Destination{Service: "reviews", Subset: "v1"})},
			{Name: "jason", Match: []match.Request{{Hosts: []string{"reviews"}, Headers: []match.Value{{Name: "end-user", Exact: "jason"}}}},
				Split: to(tulle.Destination{Service: "reviews", Subset: "v2"})},
		}
		m := w.mesh(c)
		for range 20 {
			assert.Equal(w, "v1", w.get(m, "http://reviews/").body)
			req, _ := http.NewRequestWithContext(w.Context(), "GET", "http://reviews/", nil)
			req.Header.Set("End-User", "jason")
			a, err := read(m.Transport().RoundTrip(req))
			require.NoError(w, err)
			assert.Equal(w, "v2", a.body)
		}
		s := m.State()
		assert.EqualValues(w, 20, s.Routes[0].Calls.Calls)
		assert.EqualValues(w, 20, s.Routes[1].Calls.Calls)
		assert.EqualValues(w, 20, s.Routes[1].Split[0].Calls)

		c.Routes = nil
		require.NoError(w, m.Apply(c))
		seen := map[string]bool{}
		for range 100 {
			seen[w.get(m, "http://reviews/").body] = true
		}
		assert.Len(w, seen, 2, "without the routes both versions answer")
	})
}

func TestTrafficIsSplitByWeight(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.versions("v1", "v2", "v3")
		split := to(tulle.Destination{Service: "reviews", Subset: "v1", Weight: 75}, tulle.Destination{Service: "reviews", Subset: "v2", Weight: 25},
			tulle.Destination{Service: "reviews", Subset: "v3"})
		c.Routes = []tulle.Route{{Name: "split", Split: split}}
		m := w.mesh(c)
		const n = 4000
		count := map[string]int{}
		for range n {
			count[w.get(m, "http://reviews/").body]++
		}
		// Six standard deviations: once in 10^9 runs by chance.
		assert.InDelta(w, .25*n, count["v2"], 6*math.Sqrt(n*.25*.75))
		assert.Zero(w, count["v3"])
	})
}

func TestSplitIsStickyByKey(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.versions("v1", "v2")
		route := tulle.Route{Name: "split", Sticky: &match.Key{Header: "X-User"},
			Split: to(tulle.Destination{Service: "reviews", Subset: "v1"}, tulle.Destination{Service: "reviews", Subset: "v2"})}
		c.Routes = []tulle.Route{route}
		m := w.mesh(c)
		sticks := func() bool {
			for user := range 30 {
				seen := map[string]bool{}
				for range 10 {
					req, _ := http.NewRequestWithContext(w.Context(), "GET", "http://reviews/", nil)
					req.Header.Set("X-User", fmt.Sprint(user))
					a, err := read(m.Transport().RoundTrip(req))
					require.NoError(w, err)
					seen[a.body] = true
				}
				if len(seen) > 1 {
					return false
				}
			}
			return true
		}
		assert.True(w, sticks())
		c.Routes[0].Sticky = nil
		require.NoError(w, m.Apply(c))
		assert.False(w, sticks(), "without the key nobody sticks")
	})
}

func TestFiltersOnTheWay(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80", tulletest.Step{Header: http.Header{"Server": {"x"}, "X-Keep": {"1"}}})
		other := w.serve("elsewhere:80", tulletest.Step{})
		c := one("10.0.0.1:80")
		filters := routing.Filters{
			Request:  routing.HeaderEdit{Set: []routing.Field{{Name: "X-Env", Value: "prod"}}, Add: []routing.Field{{Name: "X-Tag", Value: "b"}}, Remove: []string{"Cookie"}},
			Response: routing.HeaderEdit{Set: []routing.Field{{Name: "X-Via", Value: "mesh"}}, Remove: []string{"Server"}},
			Rewrite:  &routing.Rewrite{Host: "inner", Prefix: "/v2"},
		}
		c.Routes = []tulle.Route{{Name: "api", Filters: filters,
			Match: []match.Request{{Hosts: []string{"reviews", "elsewhere"}, Path: match.Path{Prefix: "/api"}}}}}
		m := w.mesh(c)
		for host, script := range map[string]*tulletest.Script{"reviews": s, "elsewhere": other} {
			req, _ := http.NewRequestWithContext(w.Context(), "GET", "http://"+host+"/api/7?q=1", nil)
			req.Header = http.Header{"X-Tag": append(make([]string, 0, 4), "a"), "Cookie": {"c"}}
			before := req.Clone(w.Context())
			a, err := read(m.Transport().RoundTrip(req))
			require.NoError(w, err)
			assert.Equal(w, before.Header, req.Header, "the caller's header stays as it is")
			assert.Equal(w, before.URL, req.URL)
			assert.Equal(w, "", req.Header["X-Tag"][:2][1], "and what is behind it")
			got := script.Received()[0]
			assert.Equal(w, "inner", got.Host)
			assert.Equal(w, "/v2/7?q=1", got.URL.String())
			assert.Equal(w, []string{"a", "b"}, got.Header["X-Tag"])
			assert.Equal(w, "prod", got.Header.Get("X-Env"))
			assert.NotContains(w, got.Header, "Cookie")
			assert.Equal(w, "mesh", a.header.Get("X-Via"))
			assert.NotContains(w, a.header, "Server")
		}
	})
}

func TestAnswersOfTheMesh(t *testing.T) {
	inBubble(t, func(w *world) {
		c := tulle.Config{Routes: []tulle.Route{
			{Name: "old", Match: prefix("/old"), Filters: routing.Filters{Redirect: &routing.Redirect{Prefix: "/new", Status: 308}}},
			{Name: "new", Match: prefix("/new"), Filters: routing.Filters{Direct: &routing.Direct{Status: 418, Body: "short and stout"},
				Response: routing.HeaderEdit{Set: []routing.Field{{Name: "X-Pot", Value: "tea"}}}}},
		}}
		var done []tulle.CallDone
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{CallDone: func(d tulle.CallDone) { done = append(done, d) }}))
		body := &closing{Reader: strings.NewReader("x")}
		req, _ := http.NewRequestWithContext(w.Context(), "POST", "http://shop/old/7", body)
		a, err := read(m.Transport().RoundTrip(req))
		require.NoError(w, err)
		assert.Equal(w, 308, a.status)
		assert.Equal(w, "/new/7", a.header.Get("Location"))
		assert.Equal(w, `tulle; error=proxy_internal_response; details="redirected"`, a.header.Get("Proxy-Status"))
		assert.Equal(w, 1, body.closed)

		resp, err := m.Client().Get("http://shop/old/7")
		require.NoError(w, err)
		a, err = read(resp, nil)
		require.NoError(w, err)
		assert.Equal(w, answer{418, "short and stout", a.header}, a)
		assert.Equal(w, "tea", a.header.Get("X-Pot"))
		require.Len(w, done, 3)
		assert.Equal(w, outcome.Redirected, done[0].Reason)
		assert.Equal(w, outcome.DirectResponse, done[2].Reason)
		s := m.State()
		assert.EqualValues(w, 2, s.Routes[0].Calls.Reasons[outcome.Redirected])
		assert.EqualValues(w, 1, s.Routes[1].Calls.Reasons[outcome.DirectResponse])
		assert.Zero(w, s.Routes[1].Calls.Active)
	})
}

func TestPoliciesAreInheritedFieldByField(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80", tulletest.Step{Status: 503})
		c := one("10.0.0.1:80")
		fast := retry.Backoff{Base: 1, Max: 1}
		c.Policies = tulle.Policies{Retry: &retry.Policy{Attempts: 3, Backoff: fast}}
		c.Services[0].Policies = tulle.Policies{Retry: &retry.Policy{Attempts: 2, Backoff: fast}}
		c.Routes = []tulle.Route{
			{Name: "service", Match: prefix("/service")},
			{Name: "route", Match: prefix("/route"), Policies: tulle.Policies{Retry: &retry.Policy{Attempts: 4, Backoff: fast}}},
			{Name: "off", Match: prefix("/off"), Policies: tulle.Policies{Retry: &retry.Policy{Attempts: 1}}, Split: to(tulle.Destination{Service: "reviews"})},
		}
		m := w.mesh(c)
		for path, want := range map[string]int{"/service": 2, "/route": 4, "/off": 1, "/": 2} {
			before := s.Count()
			w.get(m, "http://reviews"+path)
			assert.Equal(w, want, s.Count()-before, path)
		}
		c.Services[0].Policies = tulle.Policies{}
		require.NoError(w, m.Apply(c))
		before := s.Count()
		w.get(m, "http://reviews/")
		assert.Equal(w, 3, s.Count()-before, "of the Config")
	})
}

// Under Observe the retry is decided and counted, and not made.
func TestRetryObservedRepeatsNothing(t *testing.T) {
	for _, mode := range []outcome.Mode{outcome.Observe, outcome.Enforce} {
		inBubble(t, func(w *world) {
			s := w.serve("10.0.0.1:80", tulletest.Step{Status: 503})
			c := one("10.0.0.1:80")
			c.Policies.Retry = &retry.Policy{Mode: mode}
			m := w.mesh(c)
			w.get(m, "http://reviews/")
			r := service(w, m, "reviews").Retries
			if mode == outcome.Enforce {
				assert.Equal(w, 2, s.Count())
				assert.EqualValues(w, 1, r.Retries)
				return
			}
			assert.Equal(w, 1, s.Count())
			assert.Zero(w, r.Retries)
			assert.EqualValues(w, 1, r.WouldRetry)
		})
	}
}

// What is only observed costs the retries of others nothing: it has a budget
// of its own.
func TestObservedRetriesHaveTheirOwnBudget(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 503})
		c := one("10.0.0.1:80")
		budget := retry.BudgetPolicy{MinPerSecond: -1, Ratio: .001}
		c.Policies.Retry = &retry.Policy{Budget: budget, Backoff: retry.Backoff{Base: 1, Max: 1}}
		c.Routes = []tulle.Route{{Name: "trial", Match: prefix("/trial"),
			Policies: tulle.Policies{Retry: &retry.Policy{Mode: outcome.Observe, Budget: budget}}}}
		m := w.mesh(c)
		for range 100 {
			w.get(m, "http://reviews/trial")
		}
		require.NotZero(w, service(w, m, "reviews").Retries.WouldRetry)
		for range 5 {
			w.get(m, "http://reviews/")
		}
		assert.EqualValues(w, 5, service(w, m, "reviews").Retries.Retries)
	})
}

func TestASplitNamesADestinationOnce(t *testing.T) {
	c := one("10.0.0.1:80")
	c.Routes = []tulle.Route{{Name: "twice", Split: to(tulle.Destination{Service: "reviews"}, tulle.Destination{Service: "reviews"})}}
	assert.ErrorContains(t, c.Validate(), "routes[0] (twice): split[1] (reviews): is split[0] again")
}

func TestHostsOfAService(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "any"})
		w.serve("10.0.0.2:80", tulletest.Step{Body: "port"})
		w.serve("10.0.0.3:80", tulletest.Step{Body: "below"})
		w.serve("unknown.test:80", tulletest.Step{Body: "unknown"})
		m := w.mesh(tulle.Config{Services: []tulle.Service{
			{Name: "any", Hosts: []string{"reviews", "reviews.prod.svc"}, Resolver: at("10.0.0.1:80")},
			{Name: "port", Hosts: []string{"reviews:9080"}, Resolver: at("10.0.0.2:80")},
			{Name: "below", Hosts: []string{"*.test.internal"}, Resolver: at("10.0.0.3:80")},
			{Name: "plain", Hosts: []string{"scheme:80"}, Resolver: at("10.0.0.2:80")},
			{Name: "scheme", Hosts: []string{"scheme"}, Resolver: at("10.0.0.1:80")},
		}})
		for url, want := range map[string]string{
			"http://reviews/": "any", "http://REVIEWS.:1234/": "any", "http://reviews.prod.svc/": "any",
			"http://reviews:9080/": "port", "http://scheme/": "port", "http://scheme:80/": "port", "http://scheme:81/": "any", "http://a.b.test.internal/": "below", "http://unknown.test/": "unknown",
		} {
			assert.Equal(w, want, w.get(m, url).body, url)
		}
		assert.EqualValues(w, 1, m.State().Unknown.Passed)
	})
}

// A route that names no host knows none: it neither changes calls to unknown
// hosts nor lets them out.
func TestRoutesWithoutHostsKnowNone(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("elsewhere:80", tulletest.Step{})
		c := tulle.Config{Routes: []tulle.Route{{Name: "all", Match: []match.Request{{Methods: []string{"GET"}}},
			Filters: routing.Filters{Request: routing.HeaderEdit{Set: []routing.Field{{Name: "X-Internal-Token", Value: "hush"}}}}}}}
		m := w.mesh(c)
		w.get(m, "http://elsewhere/")
		assert.NotContains(w, s.Received()[0].Header, "X-Internal-Token")
		c.RefuseUnknownHosts = &tulle.RefuseUnknownHosts{}
		require.NoError(w, m.Apply(c))
		_, err := get(w.Context(), m, "http://elsewhere/")
		assert.Equal(w, outcome.UnknownHost, asError(w, err).Reason)
		c.Routes[0].Match[0].Hosts = []string{"elsewhere"}
		require.NoError(w, m.Apply(c))
		w.get(m, "http://elsewhere/")
		assert.Equal(w, "hush", s.Received()[1].Header.Get("X-Internal-Token"), "one that names it does")

		c.Routes[0].Policies.Timeout = time.Second
		assert.ErrorContains(w, c.Validate(), "no service has a host of the route")
	})
}

func TestUnknownHostsAreRefusedOrCounted(t *testing.T) {
	for _, mode := range []outcome.Mode{outcome.Enforce, outcome.Observe} {
		inBubble(t, func(w *world) {
			w.serve("elsewhere:80", tulletest.Step{Body: "reached"})
			m := w.mesh(tulle.Config{RefuseUnknownHosts: &tulle.RefuseUnknownHosts{Mode: mode}})
			body := &closing{Reader: strings.NewReader("x")}
			req, _ := http.NewRequestWithContext(w.Context(), "POST", "http://elsewhere/", body)
			a, err := read(m.Transport().RoundTrip(req))
			u := m.State().Unknown
			assert.EqualValues(w, 1, u.Refused)
			if mode == outcome.Observe {
				require.NoError(w, err)
				assert.Equal(w, "reached", a.body)
				assert.EqualValues(w, 1, u.Passed)
				return
			}
			e := asError(w, err)
			assert.Equal(w, outcome.UnknownHost, e.Reason)
			assert.Equal(w, "tulle: no service has this host: host elsewhere", e.Error())
			assert.Equal(w, 1, body.closed)
			assert.Zero(w, u.Passed)
		})
	}
}

// A route may lead to a host that no service has: the call is the route's, so
// it is counted there.
func TestCallsOfARouteToUnknownHostsAreCounted(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("elsewhere:80", tulletest.Step{Status: 404})
		m := w.mesh(tulle.Config{
			Routes: []tulle.Route{{Name: "all", Match: []match.Request{{Hosts: []string{"elsewhere", "nowhere"}}},
				Filters: routing.Filters{Request: routing.HeaderEdit{Remove: []string{"X-A"}}}}},
			// A route knows the host, so this is for others.
			RefuseUnknownHosts: &tulle.RefuseUnknownHosts{},
		})
		for range 3 {
			assert.Equal(w, 404, w.get(m, "http://elsewhere/").status)
		}
		_, err := get(w.Context(), m, "http://nowhere/")
		require.Error(w, err)
		s := m.State()
		assert.EqualValues(w, 4, s.Routes[0].Calls.Calls)
		assert.Equal(w, map[string]uint64{"4xx": 3}, s.Routes[0].Calls.Status)
		assert.Zero(w, s.Routes[0].Calls.Active)
		assert.EqualValues(w, 4, s.Unknown.Passed)
		assert.Zero(w, s.Unknown.Refused)
	})
}

// closing counts how often it is closed.
type closing struct {
	*strings.Reader
	closed int
}

func (c *closing) Close() error { c.closed++; return nil }

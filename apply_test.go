package tulle_test

import (
	"crypto/x509"
	"encoding/json"
	"math"
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
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/routing"
	"github.com/tulle-mesh/tulle/tulletest"
)

// bad is a balancing policy that cannot be compared.
type bad struct {
	balancer.RoundRobin
	_ []int
}

// Every fault is found at once, with its path, and nothing is applied.
func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	c := tulle.Config{
		Services: []tulle.Service{
			{Name: "", Resolver: at("a:1")},
			{Name: "reviews", Hosts: []string{"reviews", "bad host", "ratings"}},
			{Name: "reviews", Hosts: []string{"other"}, Resolver: at("a:1"), Balancer: bad{}, Protocol: 9},
			{Name: "ratings", Resolver: at("a:1"), Protocol: tulle.H2C, TLS: &tulle.TLS{},
				Connection: tulle.Connection{ConnectTimeout: -1, MaxIdle: -1},
				Subsets:    []tulle.Subset{{Name: "v1", Labels: map[string]string{"v": "1"}}, {Name: "v1", Labels: map[string]string{"v": "2"}}, {Name: "", Labels: nil}},
				Policies: tulle.Policies{Timeout: time.Second, Retry: &retry.Policy{Attempts: -1, PerTry: 2 * time.Second,
					Budget: retry.BudgetPolicy{Ratio: math.Inf(-1)}}}},
			{Name: "a service", Hosts: []string{"*.details.test"}, Resolver: at("a:1"), Spread: balancer.Spread{OverProvisioning: .5},
				Policies: tulle.Policies{
					Breaker: &breaker.Policy{FailureRate: 2}, Limit: &breaker.Limit{InFlight: -1}, Outliers: &health.Outliers{MaxEjectionPercent: 101},
					EndpointBreaker: &breaker.Policy{OpenFor: -1}, Probe: &health.Probe{Path: "/healthz", Interval: -1},
				}},
		},
		Routes: []tulle.Route{
			{Name: "a", Match: []match.Request{{Path: match.Path{Regex: "("}}}, Split: []tulle.Destination{{Service: "nobody"}, {Service: "ratings", Subset: "v9"}}},
			{Name: "a", Match: []match.Request{{Path: match.Path{Exact: "/x"}}}, Sticky: &match.Key{}},
			{Name: "", Match: []match.Request{{Path: match.Path{Exact: "/x"}}},
				Split: []tulle.Destination{{Service: "ratings"}}, Filters: routing.Filters{Redirect: &routing.Redirect{Status: 200}},
				Policies: tulle.Policies{Timeout: time.Millisecond, Retry: &retry.Policy{PerTry: time.Second}}},
			{Name: "b", Split: []tulle.Destination{{Service: "ratings"}}, Policies: tulle.Policies{
				Outliers: &health.Outliers{}, EndpointBreaker: &breaker.Policy{}, Probe: &health.Probe{}}},
		},
		RefuseUnknownHosts: &tulle.RefuseUnknownHosts{Mode: 7},
	}
	err := c.Validate()
	require.Error(t, err)
	for _, want := range []string{
		"services[0]: name: is empty",
		"services[1] (reviews): hosts[1]: ",
		"services[1] (reviews): resolver: is missing",
		"services[2] (reviews): name: services[1] has it already",
		"services[2] (reviews): balancer: a tulle_test.bad cannot be compared",
		"services[2] (reviews): protocol: 9 is unknown",
		"services[3] (ratings): hosts[0]: \"ratings\" belongs to service reviews already",
		"services[3] (ratings): protocol: h2c is without TLS",
		"services[3] (ratings): connection.connectTimeout: -1ns is negative",
		"services[3] (ratings): connection.maxIdle: -1 is negative",
		"services[3] (ratings): subsets[1] (v1): name: subsets[0] has it already",
		"services[3] (ratings): subsets[2]: name: is empty",
		"services[3] (ratings): subsets[2]: labels: are empty",
		"services[3] (ratings): retry.attempts: -1",
		"services[3] (ratings): retry.budget.ratio: -Inf",
		"services[3] (ratings): retry.perTry: 2s exceeds timeout 1s",
		"services[4] (a service): spread.overProvisioning: ",
		"services[4] (a service): breaker.failureRate: ",
		"services[4] (a service): limit.inFlight: ",
		"services[4] (a service): outliers.maxEjectionPercent: ",
		"services[4] (a service): endpointBreaker.openFor: ",
		"services[4] (a service): probe.interval: ",
		"services[4] (a service): probe: \"a service\", the first host",
		"routes[3] (b): outliers: is of a service",
		"routes[3] (b): endpointBreaker: is of a service",
		"routes[3] (b): probe: is of a service",
		"routes[0] (a): matches[0].path.regex: ",
		"routes[0] (a): split[0] (nobody): service: there is no service \"nobody\"",
		"routes[0] (a): split[1] (ratings): subset: service ratings has no subset \"v9\"",
		"routes[1] (a): name: routes[0] has it already",
		"routes[1] (a): sticky: exactly one",
		"routes[2]: matches[0]: identical to routes[1] (a): matches[0]",
		"routes[2]: name: is empty",
		"routes[2]: filters.redirect.status",
		"routes[2]: split: is never used",
		"routes[2]: split[0] (ratings): retry.perTry: 1s exceeds timeout 1ms",
		"refuseUnknownHosts.mode: 7",
	} {
		assert.Contains(t, err.Error(), want)
	}
	_, err = tulle.New(c)
	assert.ErrorContains(t, err, "services[0]: name: is empty")

	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		m := w.mesh(one("10.0.0.1:80"))
		require.Error(w, m.Apply(c))
		assert.Equal(w, 200, w.get(m, "http://reviews/").status)
		assert.EqualValues(w, 1, m.State().Applied)
	})
}

func TestValidConfigsHaveNoFaults(t *testing.T) {
	require.NoError(t, tulle.Config{}.Validate())
	require.NoError(t, one("a:1").Validate())
	c := one("a:1")
	c.Policies = tulle.Recommended()
	require.NoError(t, c.Validate())
}

// Apply restarts nothing that is equal and keeps what was counted.
func TestApplyKeepsWhatIsEqual(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 503}, tulletest.Step{})
		src := newSource()
		src.set(endpoint.Info{Addr: "10.0.0.1:80"})
		c := from(src)
		c.Routes = []tulle.Route{{Name: "r", Match: []match.Request{{Path: match.Path{Prefix: "/r"}}}, Split: []tulle.Destination{{Service: "reviews"}}}}
		c.Policies = tulle.Policies{Retry: &retry.Policy{Budget: retry.BudgetPolicy{MinPerSecond: -1, Ratio: 1}}}
		m := w.mesh(c)
		for range 3 {
			w.get(m, "http://reviews/r")
		}
		before := m.State()
		c.Policies.Timeout = time.Minute
		c.Services[0].MaxWait = time.Hour
		require.NoError(w, m.Apply(c))
		synctest.Wait()
		after := m.State()
		assert.Equal(w, 1, src.watched(), "the resolver goes on")
		assert.Equal(w, before.Services[0].Endpoints, after.Services[0].Endpoints)
		assert.Equal(w, before.Services[0].Calls, after.Services[0].Calls)
		assert.Equal(w, before.Services[0].Retries, after.Services[0].Retries)
		assert.Equal(w, before.Services[0].Budgets, after.Services[0].Budgets)
		assert.Equal(w, before.Routes[0].Calls, after.Routes[0].Calls)
		assert.Equal(w, before.Routes[0].Split[0].Calls, after.Routes[0].Split[0].Calls)
		assert.Equal(w, time.Minute, after.Services[0].Policies.Timeout)
		assert.EqualValues(w, 2, after.Applied)
		w.get(m, "http://reviews/r")
		assert.Equal(w, 1, w.net.Opened("10.0.0.1:80"), "and so do connections")

		c.Services[0].Protocol = tulle.H2C
		require.NoError(w, m.Apply(c))
		w.get(m, "http://reviews/r")
		assert.Equal(w, 2, w.net.Opened("10.0.0.1:80"), "another wire needs another connection")
		assert.EqualValues(w, 5, service(w, m, "reviews").Endpoints[0].OK+service(w, m, "reviews").Endpoints[0].Failed-1+0, "on the same endpoint")

		c.Services[0].Resolver = at("10.0.0.1:80")
		require.NoError(w, m.Apply(c))
		synctest.Wait()
		assert.Greater(w, service(w, m, "reviews").Endpoints[0].OK, uint64(3), "by address, whoever tells it")
	})
}

// What a caller does to its Config after New or Apply changes nothing.
func TestConfigIsCopied(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 503}, tulletest.Step{})
		c := one("10.0.0.1:80")
		c.Services[0].Hosts = []string{"reviews"}
		c.Policies = tulle.Policies{Retry: &retry.Policy{Attempts: 2, Statuses: []int{503}}}
		c.Routes = []tulle.Route{{Name: "r", Match: []match.Request{{Path: match.Path{Prefix: "/"}}},
			Filters: routing.Filters{Request: routing.HeaderEdit{Set: []routing.Field{{Name: "X-A", Value: "1"}}}},
			Split:   []tulle.Destination{{Service: "reviews"}}}}
		m := w.mesh(c)
		c.Services[0].Hosts[0] = "elsewhere"
		c.Policies.Retry.Attempts = 1
		c.Policies.Retry.Statuses[0] = 500
		c.Routes[0].Filters.Request.Set[0].Value = "2"
		c.Routes[0].Split[0].Service = "x"
		a := w.get(m, "http://reviews/")
		assert.Equal(w, 200, a.status)
		s := m.State()
		assert.Equal(w, "1", s.Routes[0].Filters.Request.Set[0].Value)
		assert.Equal(w, "reviews", s.Routes[0].Split[0].Service)
		assert.Equal(w, 2, s.Services[0].Policies.Retry.Attempts)
	})
}

func TestTLSIsEqualByWhatItHolds(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		c := one("10.0.0.1:80")
		m := w.mesh(c)
		w.get(m, "http://reviews/")
		c.Services[0].TLS = &tulle.TLS{RootCAs: x509.NewCertPool()}
		require.NoError(w, m.Apply(c))
		_, err := get(w.Context(), m, "http://reviews/")
		require.Error(w, err, "TLS is spoken now")
		c.Services[0].TLS = nil
		require.NoError(w, m.Apply(c))
		w.get(m, "http://reviews/")
	})
}

// What of a Config is plain data survives JSON, so that it can be sent and
// kept.
func TestPlainDataSurvivesJSON(t *testing.T) {
	for _, want := range []tulle.Policies{
		tulle.Recommended(),
		{Timeout: time.Second, Retry: &retry.Policy{Mode: outcome.Observe, On: []outcome.Class{outcome.Gateway}, Statuses: []int{500}, Budget: retry.BudgetPolicy{Ratio: .5}}},
	} {
		text, err := json.Marshal(want)
		require.NoError(t, err)
		var got tulle.Policies
		require.NoError(t, json.Unmarshal(text, &got))
		assert.Equal(t, want, got)
	}
	var route tulle.Route
	require.NoError(t, json.Unmarshal([]byte(`{"name":"x","match":[{"path":{"prefix":"/a"}}],"split":[{"service":"s","weight":3}]}`), &route))
	assert.Equal(t, tulle.Route{Name: "x", Match: prefix("/a"), Split: to(tulle.Destination{Service: "s", Weight: 3})}, route)
	var p tulle.Protocol
	require.NoError(t, json.Unmarshal([]byte(`"h2c"`), &p))
	assert.Equal(t, tulle.H2C, p)
	assert.Error(t, json.Unmarshal([]byte(`"h3"`), &p))
}

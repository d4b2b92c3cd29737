package tulle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/routing"
	"github.com/tulle-mesh/tulle/tulletest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// The defaults in force are part of the API: a change shows here.
func TestEffectiveDefaults(t *testing.T) {
	inBubble(t, func(w *world) {
		c := tulle.Config{
			Services: []tulle.Service{{Name: "reviews", Resolver: newSource()}},
			Routes:   []tulle.Route{{Name: "all", Match: []match.Request{{}}, Split: to(tulle.Destination{Service: "reviews"})}},
			Policies: tulle.Recommended(),
		}
		m := w.mesh(c)
		synctest.Wait()
		got, err := json.MarshalIndent(m.State(), "", "  ")
		require.NoError(w, err)
		got = regexp.MustCompile(`(?m)^.*"(at|started|version|appliedAt|since|p50|p95)":.*\n`).ReplaceAll(got, nil)
		const golden = "testdata/defaults.json"
		if *update {
			require.NoError(w, os.MkdirAll("testdata", 0o755))
			require.NoError(w, os.WriteFile(golden, got, 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(w, err)
		assert.Equal(w, string(want), string(got), "run go test . -run Defaults -update if this is meant")
	})
}

func TestDebugServesStateToReadOnly(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		src := newSource()
		src.set(endpoint.Info{Addr: "10.0.0.1:80", Labels: map[string]string{"version": "v1"}}, endpoint.Info{Addr: "10.0.0.2:80", NotReady: true})
		c := from(src)
		c.Services[0].Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"version": "v1"}}}
		c.Routes = []tulle.Route{{Name: "all", Split: to(tulle.Destination{Service: "reviews", Subset: "v1"})}}
		c.Policies = tulle.Recommended()
		m := w.mesh(c)
		w.get(m, "http://reviews/")
		src.fail(errors.New("registry is down"))
		synctest.Wait()
		ask := func(method, target, accept string) *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			req := httptest.NewRequest(method, target, nil)
			req.Header.Set("Accept", accept)
			m.Debug().ServeHTTP(rec, req)
			return rec
		}
		text := ask("GET", "/", "text/html, */*").Body.String()
		for _, want := range []string{
			"service reviews (reviews), auto, balancer.LoadFed", "10.0.0.2:80  not_ready (discovery)", "registry is down",
			"subset v1", "1 of 1 available", "route all: 1, 0 active, 1 2xx", "2 attempts (enforce)",
		} {
			assert.Contains(w, text, want)
		}
		for _, rec := range []*httptest.ResponseRecorder{ask("GET", "/?format=json", ""), ask("GET", "/", "application/json")} {
			var raw map[string]any
			require.NoError(w, json.Unmarshal(rec.Body.Bytes(), &raw))
			assert.Equal(w, "application/json", rec.Header().Get("Content-Type"))
			assert.Len(w, raw["services"], 1)
		}
		rec := ask("POST", "/", "")
		assert.Equal(w, http.StatusMethodNotAllowed, rec.Code)
		assert.Equal(w, "GET, HEAD", rec.Header().Get("Allow"))
	})
}

// What State returns belongs to its caller.
func TestStateIsACopy(t *testing.T) {
	inBubble(t, func(w *world) {
		src := newSource()
		src.set(endpoint.Info{Addr: "10.0.0.1:80", Labels: map[string]string{"version": "v1"}})
		c := from(src)
		c.Services[0].Hosts = []string{"reviews"}
		c.Policies = tulle.Recommended()
		m := w.mesh(c)
		synctest.Wait()
		s := m.State()
		s.Services[0].Hosts[0] = "x"
		s.Services[0].Endpoints[0].Labels["version"] = "x"
		s.Services[0].Policies.Retry.Attempts = 9
		again := m.State()
		assert.Equal(w, "reviews", again.Services[0].Hosts[0])
		assert.Equal(w, "v1", again.Services[0].Endpoints[0].Labels["version"])
		assert.Equal(w, 2, again.Services[0].Policies.Retry.Attempts)
	})
}

// State shows what is configured, but no keys.
func TestStateKeepsSecrets(t *testing.T) {
	inBubble(t, func(w *world) {
		m := w.mesh(tulle.Config{Routes: []tulle.Route{{
			Name:  "partner",
			Match: []match.Request{{Hosts: []string{"elsewhere"}, Headers: []match.Value{{Name: "X-Api-Key", Exact: "hush-1"}, {Name: "X-Env", Exact: "prod"}}}},
			Filters: routing.Filters{
				Request: routing.HeaderEdit{Set: []routing.Field{{Name: "Authorization", Value: "Bearer hush-2"}, {Name: "X-Team", Value: "blue"}}},
			},
		}}})
		out, err := json.Marshal(m.State())
		require.NoError(w, err)
		assert.NotContains(w, string(out), "hush")
		assert.Contains(w, string(out), "blue")
		assert.Contains(w, string(out), "prod")
		req := httptest.NewRequest("GET", "http://elsewhere/", nil)
		req.Header.Set("X-Api-Key", "hush-1")
		req.Header.Set("X-Env", "prod")
		s := w.serve("elsewhere:80", tulletest.Step{})
		req.RequestURI = ""
		_, err = read(m.Transport().RoundTrip(req.WithContext(w.Context())))
		require.NoError(w, err)
		assert.Equal(w, "Bearer hush-2", s.Received()[0].Header.Get("Authorization"), "the mesh itself keeps them")
	})
}

// The state of a busy mesh can be read back from its JSON as it was.
func TestStateRoundTripsThroughJSON(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(4)
		w.serve("10.0.0.9:80", tulletest.Step{Header: http.Header{
			endpoint.LoadReportHeader: {string(endpoint.LoadReport{Leaving: true, CPU: .5}.AppendText(nil))},
		}})
		src := newSource()
		infos := []endpoint.Info{{Addr: "10.0.0.9:80"}, {Addr: "10.0.0.8:80", NotReady: true, Zone: "a", Region: "north"}}
		for _, addr := range addrs {
			infos = append(infos, endpoint.Info{Addr: addr, Labels: map[string]string{"v": "1"}})
		}
		src.set(infos...)
		c := fair(from(src))
		c.Region, c.Zone = "north", "a"
		s := &c.Services[0]
		s.Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"v": "1"}}}
		s.Key = &match.Key{Header: "X-User"}
		s.Spread.Zones = balancer.NearestZone
		s.Protocol = tulle.HTTP1
		c.Services = append(c.Services, tulle.Service{Name: "next", Resolver: at(addrs[3]), Protocol: tulle.H2C, External: true})
		c.Routes = []tulle.Route{
			{Name: "v1", Match: prefix("/v1"), Sticky: &match.Key{Header: "X-User"}, Mirrors: []tulle.Mirror{{Service: "next"}},
				Split: to(tulle.Destination{Service: "reviews", Subset: "v1"}, tulle.Destination{Service: "next", Weight: 2})},
			{Name: "away", Match: prefix("/away"), Filters: routing.Filters{Redirect: &routing.Redirect{Path: "/"}}},
		}
		c.Policies = tulle.Policies{
			Timeout: time.Minute, Retry: &retry.Policy{}, Limit: &breaker.Limit{Mode: outcome.Observe}, Outliers: &health.Outliers{},
			Breaker: &breaker.Policy{Consecutive: 30}, EndpointBreaker: &breaker.Policy{Consecutive: 5},
			Probe:     &health.Probe{Path: "/healthz", Interval: time.Second, Statuses: []health.StatusRange{{From: 200, To: 500}}},
			RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{{Requests: 1000, Key: ratelimit.Key{Header: "X-User"}}}},
			Fault:     &fault.Policy{Delay: &fault.Delay{Duration: time.Millisecond, Percent: 50}},
		}
		c.RefuseUnknownHosts = &tulle.RefuseUnknownHosts{}
		m := w.mesh(c)
		time.Sleep(3 * time.Second)
		all[0].status.Store(500)
		w.calls(m, 50)
		for range 10 {
			_, _ = get(w.Context(), m, "http://reviews/v1")
			_, _ = get(w.Context(), m, "http://reviews/away")
			_, _ = get(w.Context(), m, "http://nobody/")
		}
		for _, f := range all {
			f.status.Store(503)
		}
		w.calls(m, 50)
		was := m.State()
		require.Equal(w, []endpoint.Hold{endpoint.Ejected, endpoint.BreakerOpen}, holds(endpointAt(w, was.Services[1], addrs[0])))
		require.Equal(w, []endpoint.Hold{endpoint.Leaving}, holds(endpointAt(w, was.Services[1], "10.0.0.9:80")))
		require.NotEmpty(w, was.Services[1].Calls.Reasons)

		text, err := json.Marshal(was)
		require.NoError(w, err)
		var is tulle.State
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		require.NoError(w, decoder.Decode(&is))
		again, err := json.Marshal(is)
		require.NoError(w, err)
		require.JSONEq(w, string(text), string(again))
		require.Equal(w, holds(endpointAt(w, was.Services[1], addrs[0])), holds(endpointAt(w, is.Services[1], addrs[0])))
		require.Equal(w, was.Services[1].Calls.Reasons, is.Services[1].Calls.Reasons)
	})
}

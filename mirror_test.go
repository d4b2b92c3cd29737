package tulle_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/mirror"
	"github.com/tulle-mesh/tulle/routing"
	"github.com/tulle-mesh/tulle/tulletest"
)

// mirrored is a Config whose calls to reviews are mirrored to its v2.
func (w *world) mirrored(p mirror.Policy, shadow ...tulletest.Step) (tulle.Config, *tulletest.Script, *tulletest.Script) {
	live := w.serve("10.0.0.1:80", tulletest.Step{Body: "live"})
	s := w.serve("10.0.0.2:80", shadow...)
	c := tulle.Config{
		Services: []tulle.Service{{Name: "reviews", Resolver: at("10.0.0.1:80")}, {Name: "next", Resolver: at("10.0.0.2:80")}},
		Routes: []tulle.Route{{
			Name: "all", Split: to(tulle.Destination{Service: "reviews"}),
			Filters: routing.Filters{Rewrite: &routing.Rewrite{Prefix: "/v1"}, Response: routing.HeaderEdit{Remove: []string{"Server"}}},
			Mirrors: []tulle.Mirror{{Service: "next", Policy: p}},
		}},
		Policies: tulle.Recommended(),
	}
	return c, live, s
}

func TestCallsAreMirrored(t *testing.T) {
	inBubble(t, func(w *world) {
		c, live, shadow := w.mirrored(mirror.Policy{}, tulletest.Step{Status: 503, Delay: time.Second})
		var copies []*tulle.Call
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{CallDone: func(d tulle.CallDone) {
			if d.Call.Mirrored() {
				copies = append(copies, d.Call)
			}
		}}))
		require.NoError(w, m.Ready(w.Context()))
		ctx, cancel := context.WithCancel(w.Context())
		begin := time.Now()
		req, err := http.NewRequestWithContext(ctx, "POST", "http://reviews/a", strings.NewReader("some words"))
		require.NoError(w, err)
		req.Header.Set("Authorization", "Bearer hush")
		a, err := read(m.Transport().RoundTrip(req))
		require.NoError(w, err)
		cancel()
		assert.Equal(w, "live", a.body)
		assert.Zero(w, time.Since(begin), "the copy holds nobody up")
		time.Sleep(2 * time.Second)
		synctest.Wait()

		got := shadow.Received()
		require.Len(w, got, 1, "a copy is not repeated")
		assert.Equal(w, "/v1/a", got[0].URL.Path)
		assert.Equal(w, "some words", string(got[0].Body))
		assert.NotContains(w, got[0].Header, "Authorization")
		assert.Regexp(w, `^d=\d+, m$`, got[0].Header.Get("Tulle-Call"))
		assert.Equal(w, "Bearer hush", live.Received()[0].Header.Get("Authorization"))

		s := m.State()
		assert.EqualValues(w, 1, s.Routes[0].Mirrors[0].Sent)
		assert.EqualValues(w, 1, s.Routes[0].Mirrors[0].Failed)
		assert.EqualValues(w, 1, s.Routes[0].Calls.Calls, "a copy is no call by the route")
		next := service(w, m, "next")
		assert.Zero(w, next.Endpoints[0].Failed, "nor does it count against an endpoint")
		assert.EqualValues(w, 1, next.Endpoints[0].Started)
		assert.Zero(w, next.Retries.Retries)
		require.Len(w, copies, 1)
		assert.Equal(w, "next", copies[0].Service())
	})
}

// Copies that hang fail no call, and are over after their time.
func TestMirrorsHurtNobody(t *testing.T) {
	inBubble(t, func(w *world) {
		c, _, shadow := w.mirrored(mirror.Policy{MaxInFlight: 3, Timeout: time.Minute}, tulletest.Step{Fault: tulletest.Hang})
		m := w.mesh(c)
		require.NoError(w, m.Ready(w.Context()))
		begin := time.Now()
		for range 50 {
			require.Equal(w, "live", w.get(m, "http://reviews/").body)
		}
		assert.Zero(w, time.Since(begin))
		synctest.Wait()
		assert.Equal(w, 3, shadow.Count())
		s := m.State()
		assert.EqualValues(w, 47, s.Routes[0].Mirrors[0].Full)
		require.NoError(w, m.Shutdown(w.Context()))
		assert.Equal(w, time.Minute, time.Since(begin), "Shutdown waits for them, as long as they have")
		assert.Zero(w, service(w, m, "next").Endpoints[0].InFlight)
	})
}

// A service that is only a shadow may be without endpoints.
func TestMirrorWithoutEndpoints(t *testing.T) {
	inBubble(t, func(w *world) {
		c, _, _ := w.mirrored(mirror.Policy{Timeout: time.Second})
		c.Services[1].Resolver = newSource()
		m := w.mesh(c)
		assert.Equal(w, "live", w.get(m, "http://reviews/").body)
		time.Sleep(2 * time.Second)
		assert.EqualValues(w, 1, m.State().Routes[0].Mirrors[0].Failed)
		c.Routes[0].Policies.Timeout = time.Hour
		require.NoError(w, m.Apply(c))
		assert.EqualValues(w, 1, m.State().Routes[0].Mirrors[0].Failed, "an equal mirror keeps its counts")
	})
}

func TestMirrorToASubset(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.versions("v1", "v2", "v3")
		c.Routes = []tulle.Route{{
			Name: "all", Split: to(tulle.Destination{Service: "reviews", Subset: "v1"}),
			Mirrors: []tulle.Mirror{{Service: "reviews", Subset: "v2"}},
		}}
		m := w.mesh(c)
		for range 20 {
			require.Equal(w, "v1", w.get(m, "http://reviews/").body)
		}
		synctest.Wait()
		for i, want := range []uint64{20, 20, 0} {
			assert.Equal(w, want, service(w, m, "reviews").Endpoints[i].Started)
		}
		c.Routes[0].Mirrors[0].Subset = "v9"
		c.Routes[0].Mirrors = append(c.Routes[0].Mirrors, tulle.Mirror{Service: "nobody", Policy: mirror.Policy{Percent: -1}})
		err := c.Validate()
		assert.ErrorContains(w, err, `routes[0] (all): mirrors[0] (reviews): subset: service reviews has no subset "v9"`)
		assert.ErrorContains(w, err, `routes[0] (all): mirrors[1] (nobody): service: there is no service "nobody"`)
		assert.ErrorContains(w, err, `routes[0] (all): mirrors[1] (nobody): policy.percent: -1`)
	})
}

package tulle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// Every fault is told, each with where it is.
func TestInboundFaults(t *testing.T) {
	bad := tulle.Guard{
		Body:      &tulle.BodyLimit{Mode: 7},
		RateLimit: &ratelimit.Config{MaxWait: time.Second, Policies: []ratelimit.Policy{{Requests: 1, Key: ratelimit.Key{Route: true}}, {}}},
		CORS: &tulle.CORS{
			AllowOrigins: []string{"*", "https://shop.test/", "https://Shop.test", "https://shop.test:443", "null", "shop.test", "https://*.shop.test", "https://a.test", "https://a.test"},
			AllowMethods: []string{"GET,PUT"}, AllowHeaders: []string{""}, ExposeHeaders: []string{"*", "X"}, AllowCredentials: true, MaxAge: -1,
		},
		Authn: &authn.Policy{},
		Authz: &authz.Policy{},
	}
	c := tulle.Config{Inbound: tulle.Inbound{
		Trust:        identity.Trust{Networks: []netip.Prefix{{}}},
		Strip:        []string{"X-User", "X User"},
		InFlight:     &breaker.Limit{InFlight: -1, Waiting: 3},
		Overload:     &overload.Policy{MaxInFlight: -1},
		DrainTimeout: -1,
		Guard:        bad,
		Rules: []tulle.Rule{
			{Name: "x", Match: []match.Request{{Path: match.Path{Regex: "("}}}, Guard: bad},
			{Name: "x", Guard: tulle.Guard{}},
			{Match: []match.Request{{Methods: []string{"GET"}}}},
			{Name: "y", Match: []match.Request{{Methods: []string{"GET"}}}},
		},
	}}
	err := c.Validate()
	require.Error(t, err)
	text := err.Error()
	for _, want := range []string{
		"inbound: trust.networks[0]: ",
		`inbound: strip[1]: "X User" is no name of a field`,
		"inbound: inFlight.inFlight: ",
		"inbound: inFlight.waiting: none of them waits",
		"inbound: overload.maxInFlight: ",
		"inbound: drainTimeout: ",
		"inbound: guard: body.mode: 7 ",
		"inbound: rules[0] (x): match[0].path.regex: ",
		"inbound: rules[0] (x): guard: body.mode: 7 is neither Enforce nor Observe",
		"inbound: rules[0] (x): guard: body.maxBytes: 0 is not positive",
		"inbound: rules[0] (x): guard: rateLimit.policies[1].requests: ",
		"inbound: rules[0] (x): guard: rateLimit.policies[0].key.route: is not known before the handler",
		"inbound: rules[0] (x): guard: rateLimit.maxWait: is for clients",
		"inbound: rules[0] (x): guard: authn.issuers: ",
		"inbound: rules[0] (x): guard: authz.rules: ",
		"inbound: rules[0] (x): guard: cors.allowOrigins[0]: * excludes allowCredentials",
		`inbound: rules[0] (x): guard: cors.allowOrigins[1]: "https://shop.test/" is no origin`,
		"cors.allowOrigins[2]: ", "cors.allowOrigins[3]: ", "cors.allowOrigins[4]: ", "cors.allowOrigins[5]: ", "cors.allowOrigins[6]: ",
		"cors.allowOrigins[8]: https://a.test is listed twice",
		"cors.allowMethods[0]: ", "cors.allowHeaders[0]: ", "cors.exposeHeaders[0]: * excludes", "cors.maxAge: -1ns is negative",
		"inbound: rules[1] (x): name: rules[0] has it already",
		"inbound: rules[1] (x): match: is empty, which every request fits",
		"inbound: rules[2]: name: is empty",
		"inbound: rules[3] (y): match: is that of rules[2]",
	} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "allowOrigins[7]")
	for name, in := range map[string]tulle.Inbound{
		"guard.anonymous: is never used": {Guard: tulle.Guard{Anonymous: &tulle.Anonymous{}}},
		"rules[0] (r): guard: anonymous": {Rules: []tulle.Rule{{Name: "r", Guard: tulle.Guard{Anonymous: &tulle.Anonymous{}}}}},
		"cors.allowOrigins: there is":    {Guard: tulle.Guard{CORS: &tulle.CORS{}}},
		"* stands alone":                 {Guard: tulle.Guard{CORS: &tulle.CORS{AllowOrigins: []string{"*", "https://a.test"}}}},
		"is not a number of seconds":     {Guard: tulle.Guard{CORS: &tulle.CORS{AllowOrigins: []string{"*"}, MaxAge: 1500 * time.Millisecond}}},
	} {
		assert.ErrorContains(t, tulle.Config{Inbound: in}.Validate(), strings.Replace(name, "guard: anonymous", "guard.anonymous", 1))
	}

	// Nothing of it is applied.
	m := inbound(t, tulle.Inbound{Guard: tulle.Guard{Body: &tulle.BodyLimit{MaxBytes: 1}}})
	require.Error(t, m.Apply(c))
	s := m.State().Inbound
	assert.EqualValues(t, 1, s.Guard.Policies.Body.MaxBytes)
	assert.Empty(t, s.Rules)
	assert.Equal(t, 413, visit(m.Handler(&handled{}), "POST /", "too long").Code)
	_, err = tulle.New(c)
	require.Error(t, err)
}

// What is equal in two configurations goes on: buckets, verified tokens,
// counts. What is not begins anew, and with it only that.
func TestInboundApplyKeepsWhatIsEqual(t *testing.T) {
	config := func() tulle.Config {
		return tulle.Config{Inbound: tulle.Inbound{
			InFlight: &breaker.Limit{InFlight: 9}, Overload: &overload.Policy{MaxInFlight: 9},
			Guard: tulle.Guard{
				RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{never(ratelimit.Key{Source: true})}},
				Authn:     tokens(), Authz: &authz.Policy{Rules: []authz.Rule{{Name: "all", Action: authz.Allow}}},
			},
			Rules: []tulle.Rule{{Name: "own", Match: []match.Request{{Path: match.Path{Prefix: "/own"}}}, Guard: tulle.Guard{
				RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{never(ratelimit.Key{Source: true})}},
			}}},
		}}
	}
	m := inbound(t, config().Inbound)
	h := m.Handler(&handled{})
	alice := bearer(tokenOf("alice", nil))
	require.Equal(t, 200, visit(h, "GET /", "", alice).Code)
	require.Equal(t, 200, visit(h, "GET /own", "", alice).Code)

	// In another order, with another rule before it, the policies are equal.
	c := config()
	c.Inbound.Rules = append([]tulle.Rule{{Name: "more", Match: []match.Request{{Path: match.Path{Prefix: "/more"}}}}}, c.Inbound.Rules...)
	require.NoError(t, m.Apply(c))
	require.Equal(t, 429, visit(h, "GET /", "", alice).Code)
	require.Equal(t, 429, visit(h, "GET /more", "", alice).Code)
	require.Equal(t, 429, visit(h, "GET /own", "", alice).Code)
	s := m.State().Inbound
	assert.EqualValues(t, 1, s.Guard.Authn.Verified)
	assert.EqualValues(t, 1, s.Guard.Authn.Cached)
	assert.EqualValues(t, 2, s.Guard.Authz.Rules[0].Matched)
	assert.EqualValues(t, 1, s.InFlight.Peak)
	assert.EqualValues(t, 1, s.Overload.Peak)

	c = config()
	c.Inbound.Guard.RateLimit.Policies[0].Burst = 2
	c.Inbound.InFlight.InFlight++
	c.Inbound.Overload.MaxInFlight++
	c.Inbound.Guard.Authn.Realm = "another"
	c.Inbound.Guard.Authz.Rules[0].Name = "another"
	require.NoError(t, m.Apply(c))
	s = m.State().Inbound
	assert.Zero(t, s.Guard.RateLimits[0].Allowed)
	assert.Zero(t, s.Guard.Authn.Verified)
	assert.Zero(t, s.Guard.Authz.Rules[0].Matched)
	assert.Zero(t, s.InFlight.Peak)
	assert.Zero(t, s.Overload.Peak)
	assert.EqualValues(t, 1, s.Rules[0].Guard.RateLimits[0].Allowed, "that of the rule is equal")
	require.Equal(t, 200, visit(h, "GET /", "", alice).Code)
	require.Equal(t, 429, visit(h, "GET /own", "", alice).Code)
}

// Keys are fetched while a policy needs them: an equal one does not fetch
// anew, one that is gone fetches no more, and nothing is left of a mesh that
// was shut down or refused its configuration.
func TestInboundKeysAreFetchedWhileNeeded(t *testing.T) {
	inBubble(t, func(w *world) {
		fetches := 0
		var mu sync.Mutex
		fetched := func() int { mu.Lock(); defer mu.Unlock(); return fetches }
		keys := roundTripperPointer(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			fetches++
			mu.Unlock()
			return nil, errors.New("no answer")
		})
		policy := func(realm string) *authn.Policy {
			return &authn.Policy{Realm: realm, Issuers: []authn.Issuer{{
				Issuer: tokenIssuer, Audiences: []string{"reviews"}, JWKSURL: "https://issuer.test/jwks", Transport: keys,
			}}}
		}
		m := inbound(w, tulle.Inbound{})
		refused := tulle.Config{Inbound: tulle.Inbound{Guard: tulle.Guard{Authn: policy(""), Timeout: 1}, DrainTimeout: -1}}
		require.Error(w, m.Apply(refused))
		time.Sleep(time.Hour)
		require.Zero(w, fetched())

		in := tulle.Inbound{Guard: tulle.Guard{Authn: policy("")}, Rules: []tulle.Rule{
			{Name: "own", Match: []match.Request{{Path: match.Path{Prefix: "/own"}}}, Guard: tulle.Guard{Authn: policy("own")}},
		}}
		require.NoError(w, m.Apply(tulle.Config{Inbound: in}))
		time.Sleep(time.Hour)
		require.NotZero(w, fetched())
		in.Guard.Timeout = time.Second
		was := m.State().Inbound.Guard.Authn.KeySets[tokenIssuer].Fetches
		require.NotZero(w, was)
		require.NoError(w, m.Apply(tulle.Config{Inbound: in}))
		require.GreaterOrEqual(w, m.State().Inbound.Guard.Authn.KeySets[tokenIssuer].Fetches, was)

		in.Rules = nil
		require.NoError(w, m.Apply(tulle.Config{Inbound: in}))
		n := fetched()
		time.Sleep(time.Hour)
		require.Greater(w, fetched(), n, "still needed by one")
		require.NoError(w, m.Apply(tulle.Config{}))
		n = fetched()
		time.Sleep(time.Hour)
		require.Equal(w, n, fetched(), "needed by nobody")

		in.Guard.Authn = policy("again")
		require.NoError(w, m.Apply(tulle.Config{Inbound: in}))
		synctest.Wait()
		require.NoError(w, m.Shutdown(w.Context()))
		n = fetched()
		time.Sleep(time.Hour)
		require.Equal(w, n, fetched())
		// The bubble fails if a goroutine is left.
	})
}

// roundTripperPointer makes a RoundTripper of a function that is equal to
// itself alone.
func roundTripperPointer(f roundTripperFunc) http.RoundTripper { return &pointed{f} }

type pointed struct{ f roundTripperFunc }

func (p *pointed) RoundTrip(r *http.Request) (*http.Response, error) { return p.f(r) }

// Configurations may come while requests do: each request is under one of
// them from its beginning to its end.
func TestInboundApplyWhileServing(t *testing.T) {
	config := func(i int) tulle.Inbound {
		in := everything(outcome.Mode(i % 2))
		in.Strip = []string{fmt.Sprint("X-Mine-", i%3)}
		in.Guard.Timeout = time.Duration(1+i%5) * time.Hour
		if i%4 == 0 {
			in.Overload, in.InFlight, in.Rules, in.Guard.RateLimit = nil, nil, nil, nil
		}
		return in
	}
	m := inbound(t, config(0))
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("fine"))
	}))
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 150 {
				switch w := visit(h, "POST /some", "body", toHost("service.test"), with("X-Token", tokenOf("alice", nil)), with("X-Mine-1", "x")); {
				case w.Code != 200 || w.Body.String() != "fine":
					t.Errorf("%d.%d: %d %s", g, i, w.Code, w.Body)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 60 {
			if err := m.Apply(tulle.Config{Inbound: config(i)}); err != nil {
				t.Error(err)
			}
			_, _ = m.State(), m.Report()
		}
	})
	wg.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = m.Drain(ctx)
	})
	wg.Wait()
	idle(t, m)
	assert.EqualValues(t, 600, m.State().Inbound.Calls.Calls)
	assert.EqualValues(t, 600, m.State().Inbound.Calls.Status["2xx"])
}

// State tells what is in force, without what may be secret, and nobody changes
// the mesh through it.
func TestInboundState(t *testing.T) {
	in := tulle.Inbound{
		Strip: []string{"X-User"}, InFlight: &breaker.Limit{}, Grace: -1,
		Overload: &overload.Policy{Exempt: []match.Request{{Headers: []match.Value{{Name: "Authorization", Exact: "hush"}}}}},
		Guard: tulle.Guard{
			Authn: &authn.Policy{Issuers: []authn.Issuer{{
				Issuer: tokenIssuer, Audiences: []string{"a"}, JWKSURL: "https://hush:hush@issuer.test/jwks?key=hush",
				Transport: roundTripperPointer(func(*http.Request) (*http.Response, error) { return nil, errors.New("none") }),
			}}},
			Authz: &authz.Policy{Rules: []authz.Rule{{Name: "key", Action: authz.Allow, When: []authz.Condition{{Header: "X-Api-Key", Values: []string{"hush"}}, {Header: "X-Plain", Values: []string{"shown"}}}}}},
		},
		Rules: []tulle.Rule{{Name: "r", Match: []match.Request{{Headers: []match.Value{{Name: "X-Api-Key", Exact: "hush"}}}}}},
	}
	m := inbound(t, in)
	s := m.State().Inbound
	text, err := json.Marshal(s)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "hush")
	assert.Contains(t, string(text), "shown")
	assert.Contains(t, string(text), "@issuer.test/jwks?")
	assert.Equal(t, []string{"X-User"}, s.Strip)
	assert.Equal(t, 1024, s.InFlight.Limit.InFlight)
	assert.Equal(t, 30*time.Second, s.DrainTimeout)
	assert.Zero(t, s.Grace)
	s.Strip[0], s.Guard.Policies.Authz.Rules[0].Name, s.Overload.Policy.Exempt[0].Headers[0].Name = "changed", "changed", "changed"
	in.Strip[0], in.Guard.Authz.Rules[0].Name = "changed", "changed"
	s = m.State().Inbound
	assert.Equal(t, "X-User", s.Strip[0])
	assert.Equal(t, "key", s.Guard.Policies.Authz.Rules[0].Name)
	assert.Equal(t, "Authorization", s.Overload.Policy.Exempt[0].Headers[0].Name)
}

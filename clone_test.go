package tulle

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/ratelimit"
)

func filledInbound() Inbound {
	return Inbound{
		Strip: []string{"X-User"},
		Rules: []Rule{{Name: "r", Match: []match.Request{{Hosts: []string{"a"}, Headers: []match.Value{{Name: "X", Exact: "y"}}}}, Guard: Guard{
			Body:      &BodyLimit{MaxBytes: 1},
			RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{{Requests: 1}}},
			Authn: &authn.Policy{
				ClaimHeaders: map[string]string{"X-Tenant": "tenant"},
				Issuers:      []authn.Issuer{{Issuer: "i", Audiences: []string{"a"}, Transport: &http.Transport{}}},
			},
			Authz: &authz.Policy{Rules: []authz.Rule{{Name: "n", From: []authz.Source{{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}}}},
			CORS:  &CORS{AllowOrigins: []string{"*"}},
		}}},
	}
}

// A copy shares nothing that can change, but what is plugged in.
func TestDeepCopy(t *testing.T) {
	for name, change := range map[string]func(*Inbound){
		"slice":            func(in *Inbound) { in.Strip[0] = "changed" },
		"slice of structs": func(in *Inbound) { in.Rules[0].Name = "changed" },
		"slice within":     func(in *Inbound) { in.Rules[0].Match[0].Hosts[0] = "changed" },
		"pointer":          func(in *Inbound) { in.Rules[0].Guard.Body.MaxBytes = 2 },
		"slice behind one": func(in *Inbound) { in.Rules[0].Guard.RateLimit.Policies[0].Requests = 2 },
		"map":              func(in *Inbound) { in.Rules[0].Guard.Authn.ClaimHeaders["X-Tenant"] = "changed" },
		"more in a map":    func(in *Inbound) { in.Rules[0].Guard.Authn.ClaimHeaders["X-More"] = "changed" },
		"prefix": func(in *Inbound) {
			in.Rules[0].Guard.Authz.Rules[0].From[0].Networks[0] = netip.MustParsePrefix("192.0.2.0/24")
		},
		"origin":    func(in *Inbound) { in.Rules[0].Guard.CORS.AllowOrigins[0] = "changed" },
		"transport": func(in *Inbound) { in.Rules[0].Guard.Authn.Issuers[0].Transport = &http.Transport{} },
		"nothing":   func(*Inbound) {},
	} {
		t.Run(name, func(t *testing.T) {
			in := filledInbound()
			was, kept := deepCopy(in), deepCopy(in)
			assert.True(t, equalData(in, was))
			assert.Same(t, in.Rules[0].Guard.Authn.Issuers[0].Transport, was.Rules[0].Guard.Authn.Issuers[0].Transport)
			change(&in)
			assert.True(t, equalData(was, kept), "the change shows in a copy")
			assert.Equal(t, name == "nothing", equalData(in, was))
		})
	}
	assert.True(t, equalData(nil, nil))
	assert.False(t, equalData(nil, 1))
	assert.False(t, equalData([]string(nil), []string{}))
	assert.False(t, equalData([]string{"a"}, []string{"a", "b"}))
	assert.False(t, equalData(map[string]int{"a": 0}, map[string]int{"b": 0}))
	f := func() {}
	assert.False(t, equalData(f, f), "functions cannot be told apart")
}

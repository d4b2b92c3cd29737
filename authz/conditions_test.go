package authz_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/identity"
)

func TestSources(t *testing.T) {
	alice, elsewhere := token("alice", "https://idp"), token("alice", "https://other")
	nobody, whole := identity.Principal{}, identity.Principal{Kind: identity.Certificate, Name: "spiffe://td/a"}
	for _, c := range []struct {
		name   string
		source authz.Source
		caller identity.Principal
		remote string
		want   answers
	}{
		{"listed", authz.Source{Principals: []string{"bob", "alice"}}, alice, "", holds},
		{"not listed", authz.Source{Principals: []string{"bob"}}, alice, "", fails},
		{"anonymous", authz.Source{Principals: []string{"alice"}}, nobody, "", fails},
		{"whole, no prefix", authz.Source{Principals: []string{"spiffe://td/"}}, whole, "", fails},
		{"no wildcard", authz.Source{Principals: []string{"spiffe://td/*"}}, whole, "", fails},
		{"case", authz.Source{Principals: []string{"Alice"}}, alice, "", fails},
		{"any", authz.Source{Principals: []string{"*"}}, whole, "", holds},
		{"any, anonymous", authz.Source{Principals: []string{"*"}}, nobody, "", fails},
		{"any, without kind", authz.Source{Principals: []string{"*"}}, identity.Principal{Name: "alice"}, "", inDoubt},
		{"listed, without kind", authz.Source{Principals: []string{"alice"}}, identity.Principal{Name: "alice"}, "", inDoubt},
		{"any, without name", authz.Source{Principals: []string{"*"}}, identity.Principal{Kind: identity.Certificate}, "", inDoubt},
		{"excluded", authz.Source{NotPrincipals: []string{"alice"}}, alice, "", fails},
		{"not excluded", authz.Source{NotPrincipals: []string{"bob"}}, alice, "", holds},
		{"excluding, anonymous", authz.Source{NotPrincipals: []string{"bob"}}, nobody, "", inDoubt},
		{"excluding, without kind", authz.Source{NotPrincipals: []string{"bob"}}, identity.Principal{Name: "alice"}, "", inDoubt},
		{"excluding all, anonymous", authz.Source{NotPrincipals: []string{"*"}}, nobody, "", inDoubt},
		{"excluding all", authz.Source{NotPrincipals: []string{"*"}}, alice, "", fails},
		{"issuer", authz.Source{Issuers: []string{"https://idp"}}, alice, "", holds},
		{"other issuer", authz.Source{Principals: []string{"alice"}, Issuers: []string{"https://idp"}}, elsewhere, "", fails},
		{"issuer, anonymous", authz.Source{Issuers: []string{"https://idp"}}, nobody, "", fails},
		{"no issuer", authz.Source{Issuers: []string{"https://idp"}}, whole, "", fails},

		{"network", authz.Source{Networks: prefixes("198.51.100.0/24", "192.0.2.0/24")}, nobody, "192.0.2.7:1", holds},
		{"other network", authz.Source{Networks: prefixes("198.51.100.0/24")}, nobody, "192.0.2.7:1", fails},
		{"mapped address", authz.Source{Networks: prefixes("192.0.2.0/24")}, nobody, "[::ffff:192.0.2.7]:1", holds},
		{"mapped network", authz.Source{Networks: prefixes("::ffff:192.0.2.0/120")}, nobody, "192.0.2.7:1", holds},
		{"IPv6", authz.Source{Networks: prefixes("2001:db8::/32")}, nobody, "[2001:db8::1%eth0]:1", holds},
		{"IPv6 is not all IPv4", authz.Source{Networks: prefixes("0.0.0.0/0")}, nobody, "[2001:db8::1]:1", fails},
		{"socket", authz.Source{Networks: prefixes("0.0.0.0/0", "::/0")}, nobody, "@", fails},
		{"network excluded", authz.Source{NotNetworks: prefixes("192.0.2.0/24")}, nobody, "192.0.2.7:1", fails},
		{"network not excluded", authz.Source{NotNetworks: prefixes("192.0.2.0/24")}, nobody, "198.51.100.7:1", holds},
		{"excluding networks, socket", authz.Source{NotNetworks: prefixes("192.0.2.0/24")}, nobody, "@", inDoubt},
		{"both, one holds", authz.Source{Principals: []string{"alice"}, Networks: prefixes("198.51.100.0/24")}, alice, "192.0.2.7:1", fails},
		{"both hold", authz.Source{Principals: []string{"alice"}, Networks: prefixes("192.0.2.0/24")}, alice, "192.0.2.7:1", holds},
	} {
		r := as(parse(t, "GET /"), c.caller)
		r.RemoteAddr = c.remote
		if got := ask(t, authz.Rule{From: []authz.Source{c.source}}, r); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// A header never says where a request comes from.
func TestNetworksDisregardHeaders(t *testing.T) {
	rule := authz.Rule{From: []authz.Source{{Networks: prefixes("10.0.0.0/8")}}}
	r := parse(t, "GET /", "X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1")
	if got := ask(t, rule, r); got != fails {
		t.Errorf("headers count: %+v", got)
	}
	r.RemoteAddr = netip.MustParseAddrPort("10.0.0.1:1").String()
	if got := ask(t, rule, r); got != holds {
		t.Errorf("the connection does not count: %+v", got)
	}
}

func TestMethods(t *testing.T) {
	for _, c := range []struct {
		operation authz.Operation
		method    string
		want      answers
	}{
		{authz.Operation{Methods: []string{"PUT", "POST"}}, "POST", holds},
		{authz.Operation{Methods: []string{"PUT", "POST"}}, "GET", fails},
		{authz.Operation{Methods: []string{"POST"}}, "post", inDoubt},
		{authz.Operation{Methods: []string{"POST"}}, "Post", inDoubt},
		{authz.Operation{Methods: []string{"POST"}}, "POSTS", fails},
		{authz.Operation{Methods: []string{"GET"}}, "HEAD", inDoubt},
		{authz.Operation{Methods: []string{"GET"}}, "head", inDoubt},
		{authz.Operation{Methods: []string{"GET", "HEAD"}}, "HEAD", holds},
		{authz.Operation{Methods: []string{"HEAD"}}, "GET", fails},
		{authz.Operation{Methods: []string{"GET"}}, "", holds},
		{authz.Operation{NotMethods: []string{"GET"}}, "GET", fails},
		{authz.Operation{NotMethods: []string{"GET"}}, "DELETE", holds},
		{authz.Operation{NotMethods: []string{"GET"}}, "HEAD", inDoubt},
		{authz.Operation{NotMethods: []string{"DELETE"}}, "delete", inDoubt},
		{authz.Operation{NotMethods: []string{"GET", "HEAD"}}, "HEAD", fails},
		{authz.Operation{Methods: []string{"PURGE"}}, "PURGE", holds},
	} {
		r := parse(t, "GET /")
		r.Method = c.method
		if got := ask(t, authz.Rule{To: []authz.Operation{c.operation}}, r); got != c.want {
			t.Errorf("%+v, %q: %+v, want %+v", c.operation, c.method, got, c.want)
		}
	}
}

func TestHosts(t *testing.T) {
	for _, c := range []struct {
		operation authz.Operation
		host      string
		want      answers
	}{
		{authz.Operation{Hosts: []string{"admin.example"}}, "admin.example", holds},
		{authz.Operation{Hosts: []string{"Admin.Example."}}, "admin.example", holds},
		{authz.Operation{Hosts: []string{"admin.example"}}, "aDMIN.eXAMPLE", inDoubt},
		{authz.Operation{Hosts: []string{"admin.example"}}, "admin.example.:8443", inDoubt},
		{authz.Operation{Hosts: []string{"admin.example"}}, "ADMINS.example.:8443", fails},
		{authz.Operation{Hosts: []string{"admin.example"}}, "[admin.example]:80", inDoubt},
		{authz.Operation{Hosts: []string{"admin.example"}}, "admin.example:http", inDoubt},
		{authz.Operation{Hosts: []string{"admin.example"}}, "admin.example:", holds},
		{authz.Operation{Hosts: []string{"admin.example"}}, "admin.example:1", holds},
		{authz.Operation{Hosts: []string{"admin.example"}}, "shop.example", fails},
		{authz.Operation{Hosts: []string{"admin.example"}}, "admin.example.evil", fails},
		{authz.Operation{Hosts: []string{"*.example"}}, "a.b.example", holds},
		{authz.Operation{Hosts: []string{"*.example"}}, "example", fails},
		{authz.Operation{Hosts: []string{"*.example"}}, "evilexample", fails},
		{authz.Operation{Hosts: []string{"*.example"}}, ".example", fails},
		{authz.Operation{Hosts: []string{"2001:DB8::1"}}, "[2001:db8::1]:80", holds},
		{authz.Operation{Hosts: []string{"2001:DB8::1"}}, "[2001:db8::1]", holds},
		{authz.Operation{Hosts: []string{"2001:DB8::1"}}, "[2001:db8:0::1]:80", inDoubt},
		{authz.Operation{Hosts: []string{"admin.example"}}, "", inDoubt},
		{authz.Operation{Hosts: []string{"admin.example"}}, "a:b:c", inDoubt},
		{authz.Operation{NotHosts: []string{"admin.example"}}, "", inDoubt},
		{authz.Operation{NotHosts: []string{"admin.example"}}, "admin.example:99", fails},
		{authz.Operation{NotHosts: []string{"admin.example"}}, "ADMIN.example:99", inDoubt},
		{authz.Operation{NotHosts: []string{"admin.example"}}, "shop.example", holds},
	} {
		r := parse(t, "GET /")
		r.Host = c.host
		if got := ask(t, authz.Rule{To: []authz.Operation{c.operation}}, r); got != c.want {
			t.Errorf("%+v, %q: %+v, want %+v", c.operation, c.host, got, c.want)
		}
	}
	// net/http disregards the field where the target names the host; others who
	// make requests may not.
	admin := authz.Rule{To: []authz.Operation{{Hosts: []string{"admin.example"}}}}
	r := parse(t, "GET http://admin.example/")
	if got := ask(t, admin, r); got != holds {
		t.Errorf("absolute form: %+v", got)
	}
	if r.Host = "shop.example"; ask(t, admin, r) != inDoubt {
		t.Error("two hosts are not in doubt")
	}
}

func TestHeaders(t *testing.T) {
	is := func(values ...string) authz.Condition { return authz.Condition{Header: "x-team", Values: values} }
	isNot := func(values ...string) authz.Condition { return authz.Condition{Header: "x-team", NotValues: values} }
	for _, c := range []struct {
		condition authz.Condition
		fields    []string
		want      answers
	}{
		{is("a", "b"), []string{"b"}, holds},
		{is("a"), []string{"A"}, fails},
		{is("a"), []string{"ab"}, fails},
		{is("a"), nil, fails},
		{is("*"), nil, fails},
		{is("*"), []string{""}, holds},
		{is("*"), []string{"x", "y"}, holds},
		{is("a"), []string{"b", "a"}, inDoubt},
		{is("a"), []string{"a", "b"}, inDoubt},
		{is("a"), []string{"a", "a"}, inDoubt},
		{is("a"), []string{"b, a ,c"}, inDoubt},
		{is("a"), []string{"b", "c"}, fails},
		{is("a,b"), []string{"a,b"}, holds},
		{is("a,b"), []string{"a", "b"}, inDoubt},
		{is("a,b"), []string{"a"}, fails},
		{isNot("a"), nil, holds},
		{isNot("a"), []string{"b"}, holds},
		{isNot("a"), []string{"a"}, fails},
		{isNot("a"), []string{"b", "a"}, inDoubt},
		{isNot("a"), []string{"b,a"}, inDoubt},
		{isNot("*"), nil, holds},
		{isNot("*"), []string{"a"}, fails},
		{authz.Condition{Header: "X-Team", Values: []string{"*"}, NotValues: []string{"a"}}, nil, fails},
		{authz.Condition{Header: "X-Team", Values: []string{"*"}, NotValues: []string{"a"}}, []string{"b"}, holds},
	} {
		r := parse(t, "GET /")
		if c.fields != nil {
			r.Header["X-Team"] = c.fields
		}
		if got := ask(t, authz.Rule{When: []authz.Condition{c.condition}}, r); got != c.want {
			t.Errorf("%+v, %q: %+v, want %+v", c.condition, c.fields, got, c.want)
		}
	}
}

func TestClaims(t *testing.T) {
	var claims identity.Claims
	if err := json.Unmarshal([]byte(`{
		"tier": "gold", "groups": ["staff", "night"], "scope": "read write", "realm_access": {"roles": ["admin"]},
		"https://x.example/org": "o1", "verified": true, "none": [], "object": {}, "level": 3
	}`), &claims); err != nil {
		t.Fatal(err)
	}
	is := func(name string, values ...string) authz.Condition {
		return authz.Condition{Claim: name, Values: values}
	}
	isNot := func(name string, values ...string) authz.Condition {
		return authz.Condition{Claim: name, NotValues: values}
	}
	for _, c := range []struct {
		condition authz.Condition
		claims    identity.Claims
		want      answers
	}{
		{is("tier", "silver", "gold"), claims, holds},
		{is("tier", "gol"), claims, fails},
		{is("tier", "Gold"), claims, fails},
		{is("groups", "night"), claims, holds},
		{is("groups", "*"), claims, holds},
		{is("groups", "day"), claims, fails},
		{is("scope", "write"), claims, holds},
		{is("scope", "read write"), claims, fails},
		{is("realm_access.roles", "admin"), claims, holds},
		{is("realm_access.roles", "user"), claims, fails},
		{is("https://x.example/org", "o1"), claims, holds},
		{is("verified", "true"), claims, holds},
		{is("level", "3"), claims, holds},
		{is("none", "*"), claims, fails},
		{is("object", "*"), claims, fails},
		{is("absent", "*"), claims, fails},
		{is("tier", "gold"), nil, fails},
		{isNot("tier", "gold"), claims, fails},
		{isNot("tier", "silver"), claims, holds},
		{isNot("groups", "staff"), claims, fails},
		{isNot("groups", "day"), claims, holds},
		{isNot("absent", "x"), claims, inDoubt},
		{isNot("tier", "gold"), nil, inDoubt},
		{isNot("tier", "*"), nil, inDoubt},
		{isNot("tier", "*"), claims, fails},
	} {
		r := bearing(parse(t, "GET /"), c.claims)
		if got := ask(t, authz.Rule{When: []authz.Condition{c.condition}}, r); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.condition, got, c.want)
		}
	}
	// A claim is no header and a header no claim.
	r := parse(t, "GET /", "tier: gold")
	if got := ask(t, authz.Rule{When: []authz.Condition{is("tier", "gold")}}, r); got != fails {
		t.Errorf("a header counts as a claim: %+v", got)
	}
}

// TestRuleParts: alternatives within From and To, all of From, To and When.
func TestRuleParts(t *testing.T) {
	rule := authz.Rule{
		From: []authz.Source{{Principals: []string{"alice"}}, {Networks: prefixes("10.0.0.0/8")}},
		To: []authz.Operation{
			{Methods: []string{"GET"}, Paths: []authz.Path{{Prefix: "/a"}}},
			{Methods: []string{"PUT"}, Paths: []authz.Path{{Prefix: "/b"}}},
		},
		When: []authz.Condition{{Header: "X-A", Values: []string{"1"}}, {Header: "X-B", Values: []string{"2"}}},
	}
	make := func(method, path, caller, remote string, fields ...string) *http.Request {
		r := parse(t, method+" "+path, fields...)
		r.RemoteAddr = remote
		if caller != "" {
			r = as(r, token(caller, ""))
		}
		return r
	}
	const a, b, outside, inside = "X-A: 1", "X-B: 2", "192.0.2.1:1", "10.1.1.1:1"
	for name, c := range map[string]struct {
		r    *http.Request
		want answers
	}{
		"first source":       {make("GET", "/a", "alice", outside, a, b), holds},
		"second source":      {make("GET", "/a", "", inside, a, b), holds},
		"no source":          {make("GET", "/a", "bob", outside, a, b), fails},
		"second operation":   {make("PUT", "/b", "alice", outside, a, b), holds},
		"crossed operations": {make("PUT", "/a", "alice", outside, a, b), fails},
		"one condition":      {make("GET", "/a", "alice", outside, a), fails},
		"other condition":    {make("GET", "/a", "alice", outside, b), fails},
		"path in doubt":      {make("GET", "//a", "alice", outside, a, b), inDoubt},
		"and surely not him": {make("GET", "//a", "bob", outside, a, b), fails},
	} {
		if got := ask(t, rule, c.r); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

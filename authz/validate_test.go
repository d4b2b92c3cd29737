package authz_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/outcome"
)

func TestValidate(t *testing.T) {
	source := func(s authz.Source) authz.Rule {
		return authz.Rule{Name: "r", Action: authz.Deny, From: []authz.Source{s}}
	}
	to := func(o authz.Operation) authz.Rule {
		return authz.Rule{Name: "r", Action: authz.Deny, To: []authz.Operation{o}}
	}
	when := func(c authz.Condition) authz.Rule {
		return authz.Rule{Name: "r", Action: authz.Deny, When: []authz.Condition{c}}
	}
	allow := func(r authz.Rule) authz.Rule { r.Action = authz.Allow; return r }
	paths := func(p ...authz.Path) authz.Rule { return to(authz.Operation{Paths: p}) }
	for _, c := range []struct {
		rule authz.Rule
		want string
	}{
		{authz.Rule{Action: authz.Allow}, `rules[0].name: is empty`},
		{authz.Rule{Name: "a\nb", Action: authz.Allow}, `rules[0].name: "a\nb" is longer`},
		{authz.Rule{Name: strings.Repeat("x", 129), Action: authz.Allow}, `rules[0].name: "xxx`},
		{authz.Rule{Name: "r"}, `rules[0] (r): action: is neither`},
		{authz.Rule{Name: "r", Action: 3}, `rules[0] (r): action: is neither`},
		{authz.Rule{Name: "r", Action: authz.Allow, From: []authz.Source{}}, `rules[0] (r): from: is an empty list`},
		{authz.Rule{Name: "r", Action: authz.Allow, To: []authz.Operation{}}, `rules[0] (r): to: is an empty list`},
		{authz.Rule{Name: "r", Action: authz.Allow, When: []authz.Condition{}}, `rules[0] (r): when: is an empty list`},

		{source(authz.Source{}), `rules[0] (r): from[0]: has no condition`},
		{source(authz.Source{Principals: []string{}}), `rules[0] (r): from[0].principals: is an empty list`},
		{source(authz.Source{NotPrincipals: []string{}}), `rules[0] (r): from[0].notPrincipals: is an empty list`},
		{source(authz.Source{Issuers: []string{}}), `rules[0] (r): from[0].issuers: is an empty list`},
		{source(authz.Source{Networks: []netip.Prefix{}}), `rules[0] (r): from[0].networks: is an empty list`},
		{source(authz.Source{NotNetworks: []netip.Prefix{}}), `rules[0] (r): from[0].notNetworks: is an empty list`},
		{source(authz.Source{Principals: []string{"a", ""}}), `rules[0] (r): from[0].principals[1]: is empty`},
		{source(authz.Source{Principals: []string{"a", "b", "a"}}), `rules[0] (r): from[0].principals[2]: is listed twice, first in [0]`},
		{source(authz.Source{Principals: []string{"a", "*"}}), `rules[0] (r): from[0].principals[1]: "*" stands alone`},
		{source(authz.Source{Principals: []string{"a"}, NotPrincipals: []string{"a"}}), `rules[0] (r): from[0].principals[0]: "a" is excluded too`},
		{source(authz.Source{Principals: []string{"a"}, NotPrincipals: []string{"*"}}), `rules[0] (r): from[0].notPrincipals: "*" leaves nobody`},
		{allow(source(authz.Source{NotPrincipals: []string{"*"}})), `rules[0] (r): from[0].notPrincipals: "*" leaves nobody`},
		{source(authz.Source{Issuers: []string{"*"}}), `rules[0] (r): from[0].issuers[0]: "*" is not a form`},
		{source(authz.Source{Networks: make([]netip.Prefix, 1)}), `rules[0] (r): from[0].networks[0]: invalid prefix`},
		{source(authz.Source{Networks: prefixes("192.0.2.7/24")}), `rules[0] (r): from[0].networks[0]: 192.0.2.7/24 has host bits set; write 192.0.2.0/24`},
		{source(authz.Source{NotNetworks: prefixes("::ffff:0:0/95")}), `rules[0] (r): from[0].notNetworks[0]: ::ffff:0.0.0.0/95 mixes`},
		{source(authz.Source{Networks: prefixes("10.0.0.0/8", "::ffff:10.0.0.0/104")}), `rules[0] (r): from[0].networks[1]: is listed twice`},

		{to(authz.Operation{}), `rules[0] (r): to[0]: has no condition`},
		{to(authz.Operation{Methods: []string{}}), `rules[0] (r): to[0].methods: is an empty list`},
		{to(authz.Operation{Hosts: []string{}}), `rules[0] (r): to[0].hosts: is an empty list`},
		{to(authz.Operation{NotPaths: []authz.Path{}}), `rules[0] (r): to[0].notPaths: is an empty list`},
		{to(authz.Operation{Methods: []string{"GET", "get"}}), `rules[0] (r): to[0].methods[1]: "get": methods have a case; write "GET"`},
		{to(authz.Operation{NotMethods: []string{"G T"}}), `rules[0] (r): to[0].notMethods[0]: "G T" is not a method`},
		{to(authz.Operation{Methods: []string{"GET"}, NotMethods: []string{"GET"}}), `rules[0] (r): to[0].methods[0]: "GET" is excluded too`},
		{to(authz.Operation{Hosts: []string{"a..b"}}), `rules[0] (r): to[0].hosts[0]: `},
		{to(authz.Operation{Hosts: []string{"a:80"}}), `rules[0] (r): to[0].hosts[0]: "a:80": the caller chooses the port`},
		{to(authz.Operation{NotHosts: []string{"a", "A."}}), `rules[0] (r): to[0].notHosts[1]: is listed twice`},
		{paths(authz.Path{}), `rules[0] (r): to[0].paths[0]: exactly one of exact and prefix`},
		{paths(authz.Path{Exact: "/a", Prefix: "/b"}), `rules[0] (r): to[0].paths[0]: exactly one of exact and prefix`},
		{paths(authz.Path{Exact: "a"}), `rules[0] (r): to[0].paths[0].exact: "a" has more than one reading, so no request surely matches it: it has no slash`},
		{paths(authz.Path{Prefix: "/a"}, authz.Path{Prefix: "/b//c"}), `rules[0] (r): to[0].paths[1].prefix: "/b//c" has more than one reading, so no request surely matches it: it has an empty segment`},
		{paths(authz.Path{Prefix: "/a/%2e%2e/b"}), `rules[0] (r): to[0].paths[0].prefix: "/a/%2e%2e/b" has more`},
		{paths(authz.Path{Prefix: "/a%2Fb"}), `rules[0] (r): to[0].paths[0].prefix: "/a%2Fb" has more`},
		{paths(authz.Path{Prefix: "/a;b"}), `rules[0] (r): to[0].paths[0].prefix: "/a;b" has more`},
		{paths(authz.Path{Prefix: "/a*?"}), `rules[0] (r): to[0].paths[0].prefix: "/a*?" has more`},
		{paths(authz.Path{Prefix: "/%zz"}), `rules[0] (r): to[0].paths[0].prefix: invalid URL escape`},
		{paths(authz.Path{Prefix: "/a"}, authz.Path{Prefix: "/%61/"}), `rules[0] (r): to[0].paths[1]: is listed twice`},

		{when(authz.Condition{Values: []string{"x"}}), `rules[0] (r): when[0]: exactly one of claim and header`},
		{when(authz.Condition{Claim: "a", Header: "b", Values: []string{"x"}}), `rules[0] (r): when[0]: exactly one of claim and header`},
		{when(authz.Condition{Header: "a b", Values: []string{"x"}}), `rules[0] (r): when[0].header: "a b" is not the name`},
		{when(authz.Condition{Header: "host", Values: []string{"x"}}), `rules[0] (r): when[0].header: the host is not a header`},
		{when(authz.Condition{Claim: "a"}), `rules[0] (r): when[0]: neither values nor notValues`},
		{when(authz.Condition{Claim: "a", Values: []string{}}), `rules[0] (r): when[0].values: is an empty list`},
		{when(authz.Condition{Claim: "a", NotValues: []string{"x", "x"}}), `rules[0] (r): when[0].notValues[1]: is listed twice`},
		{when(authz.Condition{Claim: "a", Values: []string{"x"}, NotValues: []string{"x"}}), `rules[0] (r): when[0].values[0]: "x" is excluded too`},
		{when(authz.Condition{Header: "a", Values: []string{"x"}, NotValues: []string{"*"}}), `rules[0] (r): when[0].notValues: "*" leaves no request`},
		{allow(when(authz.Condition{Claim: "a", NotValues: []string{"*"}})), `rules[0] (r): when[0].notValues: "*" leaves no request`},
	} {
		p := authz.Policy{Rules: []authz.Rule{c.rule}}
		err := p.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v:\n got %v\nwant %s", c.rule, err, c.want)
		} else if n := strings.Count(err.Error(), "\n"); n > 0 {
			t.Errorf("%+v: one fault is reported as %d: %v", c.rule, n+1, err)
		}
		if a, newErr := authz.New(p); a != nil || newErr == nil {
			t.Errorf("%+v: New accepts it", c.rule)
		}
	}
}

func TestValidateTogether(t *testing.T) {
	op := []authz.Operation{{Methods: []string{"GET", "PUT"}, Paths: []authz.Path{{Prefix: "/a"}}}, {Methods: []string{"POST"}}}
	turned := []authz.Operation{{Methods: []string{"POST"}}, {Methods: []string{"PUT", "GET"}, Paths: []authz.Path{{Prefix: "/%61/"}}}}
	err := authz.Policy{Mode: 2, Rules: []authz.Rule{
		{Name: "a", Action: authz.Allow, To: op},
		{Name: "b", Action: authz.Allow, To: turned},
		{Name: "a", Action: authz.Deny, To: turned},
		{Name: "c", Action: 9},
	}}.Validate()
	want := []string{
		`mode: 2 is neither Enforce nor Observe`,
		`rules[1] (b): never decides: rules[0] (a) has the same action and conditions`,
		`rules[2].name: rules[0] is called "a" already`,
		`rules[3] (c): action: is neither Allow nor Deny`,
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
	if err := (authz.Policy{}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "rules: none") {
		t.Errorf("no rules: %v", err)
	}
	if err := (authz.Policy{Rules: []authz.Rule{}}).Validate(); err == nil {
		t.Error("an empty list of rules is accepted")
	}
	// Alike in all but one thing, rules are not the same.
	if err := (authz.Policy{Rules: []authz.Rule{
		{Name: "a", Action: authz.Allow, To: op},
		{Name: "b", Action: authz.Deny, To: op},
		{Name: "c", Action: authz.Allow, To: op, When: []authz.Condition{{Claim: "x", Values: []string{"y"}}}},
		{Name: "d", Action: authz.Allow, To: op, When: []authz.Condition{{Header: "x", Values: []string{"y"}}}},
		{Name: "e", Action: authz.Allow, To: op, When: []authz.Condition{{Claim: "x", NotValues: []string{"y"}}}},
		{Name: "f", Action: authz.Allow, To: op, When: []authz.Condition{{Claim: "x", Values: []string{"y", "z"}}}},
		{Name: "g", Action: authz.Allow, To: op, When: []authz.Condition{{Claim: "x", Values: []string{"y\" \"z"}}}},
		{Name: "h", Action: authz.Allow, To: op[:1]},
		{Name: "i", Action: authz.Allow, From: []authz.Source{{Networks: prefixes("10.0.0.0/8")}}},
		{Name: "j", Action: authz.Allow, From: []authz.Source{{Networks: prefixes("10.0.0.0/9")}}},
		{Name: "k", Action: authz.Allow, From: []authz.Source{{NotNetworks: prefixes("10.0.0.0/9")}}},
		{Name: "l", Action: authz.Allow},
	}}).Validate(); err != nil {
		t.Error(err)
	}
}

// A configuration survives JSON, and what is not one is an error.
func TestPolicyJSON(t *testing.T) {
	p := authz.Policy{Mode: outcome.Observe, Rules: []authz.Rule{
		{
			Name: "a", Action: authz.Allow,
			From: []authz.Source{{Principals: []string{"*"}, Issuers: []string{"i"}, Networks: prefixes("10.0.0.0/8")}},
			To:   []authz.Operation{{Methods: []string{"GET"}, NotPaths: []authz.Path{{Prefix: "/x"}}, Hosts: []string{"*.example"}}},
			When: []authz.Condition{{Claim: "c", Values: []string{"v"}}, {Header: "X-A", NotValues: []string{"*"}}},
		},
		{Name: "b", Action: authz.Deny},
	}}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back authz.Policy
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(p, back) {
		t.Errorf("%v: %s became %+v", err, text, back)
	}
	for _, bad := range []string{`{"rules":[{"action":"permit"}]}`, `{"rules":[{"action":"Allow"}]}`, `{"rules":[{"action":""}]}`, `{"rules":[{"action":1}]}`} {
		if json.Unmarshal([]byte(bad), &back) == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// Neither New nor Effective keeps the caller's slices.
func TestPolicyIsCopied(t *testing.T) {
	p := authz.Policy{Rules: []authz.Rule{{
		Name: "a", Action: authz.Deny,
		From: []authz.Source{{Principals: []string{"eve"}, Networks: prefixes("192.0.2.0/24")}},
		To:   []authz.Operation{{Methods: []string{"GET"}, Paths: []authz.Path{{Prefix: "/a"}}, Hosts: []string{"shop.example"}}},
		When: []authz.Condition{{Header: "x-a", Values: []string{"1"}}},
	}}}
	before, err := authz.New(p)
	if err != nil {
		t.Fatal(err)
	}
	effective := p.Effective()
	want := p.Effective()
	r := &p.Rules[0]
	r.From[0].Principals[0], r.From[0].Networks[0] = "bob", netip.MustParsePrefix("10.0.0.0/8")
	r.To[0].Methods[0], r.To[0].Paths[0], r.To[0].Hosts[0] = "PUT", authz.Path{Prefix: "/b"}, "other.example"
	r.When[0].Values[0] = "2"
	if !reflect.DeepEqual(effective, want) {
		t.Error("Effective shares what it was made of")
	}
	if d := before.Decide(as(parse(t, "GET /a/x", "X-A: 1"), token("eve", ""))); d.Allowed {
		t.Error("the Authorizer has changed with the configuration")
	}
	r.Name = ""
	if before.Stats().Rules[0].Name != "a" {
		t.Error("the name has changed")
	}
}

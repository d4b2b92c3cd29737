package authz_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/identity"
)

// chance makes rules and requests from few words, so that they often meet.
type chance struct{ *rand.Rand }

func newChance(seed uint64) chance { return chance{rand.New(rand.NewPCG(seed, 19))} }

func (c chance) one(list ...string) string { return list[c.IntN(len(list))] }

// some returns nil or up to three of list, each once.
func some[T any](c chance, odds float64, list ...T) []T {
	if c.Float64() >= odds {
		return nil
	}
	list = slices.Clone(list)
	c.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:1+c.IntN(min(3, len(list)))]
}

func (c chance) paths(odds float64) []authz.Path {
	return some(c, odds,
		authz.Path{Prefix: "/"}, authz.Path{Prefix: "/a"}, authz.Path{Prefix: "/a/b"}, authz.Path{Prefix: "/b"}, authz.Path{Prefix: "/a/b/c"},
		authz.Path{Exact: "/a"}, authz.Path{Exact: "/a/"}, authz.Path{Exact: "/a/b"}, authz.Path{Exact: "/"}, authz.Path{Exact: "/b/c/"})
}

func (c chance) rule(i int) authz.Rule {
	r := authz.Rule{Name: fmt.Sprintf("r%d", i), Action: authz.Allow}
	if c.IntN(3) == 0 {
		r.Action = authz.Deny
	}
	wildcard := func(list []string) []string {
		if c.IntN(8) == 0 {
			return []string{"*"}
		}
		return list
	}
	networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for range c.IntN(3) {
		r.From = append(r.From, authz.Source{
			Principals: wildcard(some(c, 0.4, "alice", "bob", "eve")), NotPrincipals: some(c, 0.2, "alice", "bob", "mallory"),
			Issuers: some(c, 0.1, "idp", "other"), Networks: some(c, 0.2, networks...), NotNetworks: some(c, 0.2, networks...),
		})
	}
	for range c.IntN(3) {
		r.To = append(r.To, authz.Operation{
			Methods: some(c, 0.3, "GET", "HEAD", "POST"), NotMethods: some(c, 0.1, "GET", "PUT", "POST"),
			Hosts: some(c, 0.1, "shop.example", "*.example"), NotHosts: some(c, 0.1, "shop.example", "admin.example"),
			Paths: c.paths(0.7), NotPaths: c.paths(0.2),
		})
	}
	for range max(0, c.IntN(4)-2) {
		w := authz.Condition{Values: wildcard(some(c, 0.6, "x", "y", "x,y")), NotValues: wildcard(some(c, 0.4, "z", "y"))}
		if c.IntN(2) == 0 {
			w.Claim = "team"
		} else {
			w.Header = "X-Team"
		}
		r.When = append(r.When, w)
	}
	return r
}

// rules returns a valid set of rules.
func (c chance) rules() []authz.Rule {
	var rules []authz.Rule
	for i := range 1 + c.IntN(12) {
		for {
			if rule := c.rule(i); (authz.Policy{Rules: append(slices.Clone(rules), rule)}).Validate() == nil {
				rules = append(rules, rule)
				break
			}
		}
	}
	return rules
}

func (c chance) request(t testing.TB) *http.Request {
	target := c.one("/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/d", "/b", "/b/c", "/c", "/ab", "//a", "/a/../b", "/a/%2e%2e/b", "/%61", "/a;x", "/a%2Fb", "http://admin.example/a")
	var fields []string
	for range c.IntN(3) {
		fields = append(fields, "X-Team: "+c.one("x", "y", "z", "x,y", "q, y"))
	}
	r := parse(t, c.one("GET", "HEAD", "POST", "PUT", "post", "get")+" "+target, fields...)
	r.RemoteAddr = c.one("192.0.2.9:1", "10.1.1.1:1", "[2001:db8::9]:1", "[::1]:1", "@")
	switch c.IntN(8) {
	case 0, 1:
	case 2:
		r = as(r, identity.Principal{Name: c.one("alice", "bob"), Issuer: "idp"})
	default:
		r = as(r, token(c.one("alice", "bob", "mallory"), c.one("idp", "other")))
	}
	if c.IntN(3) > 0 {
		r = bearing(r, identity.Claims{"team": []any{c.one("x", "y"), c.one("x", "z")}})
	}
	return r
}

// each runs f on as many policies, each by a seed, with many requests.
func each(t testing.TB, policies int, f func(c chance, rules []authz.Rule, requests []*http.Request)) {
	for seed := range uint64(policies) {
		c := newChance(seed)
		rules := c.rules()
		requests := make([]*http.Request, 40)
		for i := range requests {
			requests[i] = c.request(t)
		}
		f(c, rules, requests)
	}
}

func shuffled(c chance, rules []authz.Rule) []authz.Rule {
	rules = slices.Clone(rules)
	c.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
	return rules
}

// firstMatch decides as many other rule tables do: by the first rule that
// matches, and else no. It is the negative control of the properties below.
func firstMatch(rules []authz.Rule, r *http.Request) bool {
	for _, rule := range rules {
		if c := ruleNaively(rule, r); c.hold && !c.fail {
			return rule.Action == authz.Allow
		}
	}
	return false
}

// few is how many policies are enough in passing.
const few = 120

// TestProofProperties: all of them hold for many more policies. In passing only
// the reference is taken again.
func TestProofProperties(t *testing.T) {
	policies, properties := few/4, map[string]func(*testing.T, int){"reference": reference}
	if os.Getenv("TULLE_PROOF") != "" {
		policies = 2000
		properties["order"], properties["deny wins"], properties["adding"], properties["anonymous"] = order, denyWins, adding, anonymous
	}
	for name, property := range properties {
		t.Run(name, func(t *testing.T) { property(t, policies) })
	}
}

// TestReference: the compiled rules decide as the model does, and how often each
// decision comes up shows that the comparison means something.
func TestReference(t *testing.T) { reference(t, few) }

func reference(t *testing.T, policies int) {
	count := map[bool]int{}
	each(t, policies, func(_ chance, rules []authz.Rule, requests []*http.Request) {
		a := newAuthorizer(t, rules...)
		for _, r := range requests {
			got := a.Decide(r)
			if allowed, rule, doubt := decideNaively(rules, r); got.Allowed != allowed || got.Rule != rule || got.InDoubt != doubt {
				t.Fatalf("%s %s %v: %+v, want %t by %q, doubt %t\n%+v", r.Method, r.RequestURI, r.Header, got, allowed, rule, doubt, rules)
			}
			count[got.Allowed]++
		}
	})
	if least := policies * 5 / 2; count[true] < least || count[false] < least {
		t.Errorf("the requests are one-sided: %v", count)
	}
}

// TestOrder: the order of rules changes no decision.
func TestOrder(t *testing.T) { order(t, few) }

func order(t *testing.T, policies int) {
	broken := 0
	each(t, policies, func(c chance, rules []authz.Rule, requests []*http.Request) {
		other := shuffled(c, rules)
		a, b := newAuthorizer(t, rules...), newAuthorizer(t, other...)
		for _, r := range requests {
			if a.Decide(r).Allowed != b.Decide(r).Allowed {
				t.Fatalf("the order counts for %s %s: %+v", r.Method, r.RequestURI, rules)
			}
			if firstMatch(rules, r) != firstMatch(other, r) {
				broken++
			}
		}
	})
	if broken == 0 {
		t.Error("control: the first match decides, and nothing has noticed")
	}
}

// TestDenyWins: what a Deny rule forbids no further Allow rule allows, wherever
// it stands.
func TestDenyWins(t *testing.T) { denyWins(t, few) }

func denyWins(t *testing.T, policies int) {
	denied, broken := 0, 0
	each(t, policies, func(c chance, rules []authz.Rule, requests []*http.Request) {
		everybody := authz.Rule{Name: "everybody", Action: authz.Allow}
		rules = slices.DeleteFunc(rules, func(r authz.Rule) bool { return r.From == nil && r.To == nil && r.When == nil })
		more := slices.Insert(slices.Clone(rules), c.IntN(len(rules)+1), everybody)
		all := newAuthorizer(t, more...)
		denying := slices.DeleteFunc(slices.Clone(rules), func(r authz.Rule) bool { return r.Action != authz.Deny })
		if len(denying) == 0 {
			return
		}
		alone := newAuthorizer(t, denying...)
		for _, r := range requests {
			if alone.Decide(r).Allowed {
				continue
			}
			denied++
			if d := all.Decide(r); d.Allowed || d.Action != authz.Deny {
				t.Fatalf("%s %s: %+v", r.Method, r.RequestURI, d)
			}
			if firstMatch(more, r) {
				broken++
			}
		}
	})
	if denied < policies*5/2 || broken == 0 {
		t.Errorf("denied %d; control: the first match decides, and %d noticed", denied, broken)
	}
}

// TestAdding: a further Deny rule never lets anything through, and a further
// Allow rule never forbids anything where there is an Allow rule already.
func TestAdding(t *testing.T) { adding(t, few) }

func adding(t *testing.T, policies int) {
	first := 0
	each(t, policies, func(c chance, rules []authz.Rule, requests []*http.Request) {
		extra := c.rule(len(rules))
		more := append(slices.Clone(rules), extra)
		if (authz.Policy{Rules: more}).Validate() != nil {
			return
		}
		before, after := newAuthorizer(t, rules...), newAuthorizer(t, more...)
		allowing := slices.ContainsFunc(rules, func(r authz.Rule) bool { return r.Action == authz.Allow })
		for _, r := range requests {
			b, a := before.Decide(r).Allowed, after.Decide(r).Allowed
			switch {
			case extra.Action == authz.Deny && a && !b:
				t.Fatalf("a Deny rule lets %s %s through: %+v", r.Method, r.RequestURI, extra)
			case extra.Action == authz.Allow && allowing && b && !a:
				t.Fatalf("an Allow rule forbids %s %s: %+v", r.Method, r.RequestURI, extra)
			case extra.Action == authz.Allow && !allowing && b && !a:
				first++
			}
		}
	})
	// The control: the first Allow rule turns "allowed by default" round.
	if first == 0 {
		t.Error("the first Allow rule forbids nothing")
	}
}

// TestAnonymous: without a principal no Allow rule on principals matches, and
// every Deny rule that excludes principals does.
func TestAnonymous(t *testing.T) { anonymous(t, few) }

func anonymous(t *testing.T, policies int) {
	named := 0
	each(t, policies, func(_ chance, rules []authz.Rule, requests []*http.Request) {
		var about, excluding []*authz.Authorizer
		add := func(to *[]*authz.Authorizer, action authz.Action, from []authz.Source) {
			policy := authz.Policy{Rules: []authz.Rule{{Name: "it", Action: action, From: from}}}
			if a, err := authz.New(policy); err == nil {
				*to = append(*to, a)
			}
		}
		for _, rule := range rules {
			var on, not []authz.Source
			for _, s := range rule.From {
				if s.Principals != nil || s.NotPrincipals != nil {
					on = append(on, s)
				}
				if s.NotPrincipals != nil {
					not = append(not, authz.Source{NotPrincipals: s.NotPrincipals})
				}
			}
			if on != nil {
				add(&about, authz.Allow, on)
			}
			if not != nil {
				add(&excluding, authz.Deny, not)
			}
		}
		for _, r := range requests {
			bare := as(r, identity.Principal{})
			for _, a := range about {
				if a.Decide(bare).Allowed {
					t.Fatalf("an anonymous request is allowed by one of %+v", rules)
				}
				if a.Decide(r).Allowed {
					named++ // the control: with a principal it is
				}
			}
			for _, a := range excluding {
				if a.Decide(bare).Allowed {
					t.Fatalf("an anonymous request is not denied by one of %+v", rules)
				}
			}
		}
	})
	if named == 0 {
		t.Error("control: nobody is allowed at all")
	}
}

// TestDefaults has the four sentences of the package's documentation.
func TestDefaults(t *testing.T) {
	r := parse(t, "GET /a")
	deny := authz.Rule{Name: "deny", Action: authz.Deny, To: []authz.Operation{{Paths: []authz.Path{{Prefix: "/a"}}}}}
	elsewhere := authz.Rule{Name: "elsewhere", Action: authz.Deny, To: []authz.Operation{{Paths: []authz.Path{{Prefix: "/b"}}}}}
	allow := authz.Rule{Name: "allow", Action: authz.Allow, To: deny.To}
	other := authz.Rule{Name: "other", Action: authz.Allow, To: elsewhere.To}
	everybody, nobody := authz.Rule{Name: "everybody", Action: authz.Allow}, authz.Rule{Name: "nobody", Action: authz.Deny}
	for _, c := range []struct {
		rules  []authz.Rule
		want   bool
		decide string
	}{
		{[]authz.Rule{elsewhere}, true, ""},
		{[]authz.Rule{deny}, false, "deny"},
		{[]authz.Rule{allow}, true, "allow"},
		{[]authz.Rule{other}, false, ""},
		{[]authz.Rule{other, allow}, true, "allow"},
		{[]authz.Rule{allow, deny}, false, "deny"},
		{[]authz.Rule{everybody}, true, "everybody"},
		{[]authz.Rule{everybody, deny}, false, "deny"},
		{[]authz.Rule{everybody, nobody}, false, "nobody"},
		{[]authz.Rule{nobody}, false, "nobody"},
	} {
		if d := newAuthorizer(t, c.rules...).Decide(r); d.Allowed != c.want || d.Rule != c.decide || d.InDoubt {
			t.Errorf("%+v: %+v", c.rules, d)
		}
	}
	if _, err := authz.New(authz.Policy{}); err == nil {
		t.Error("a policy without rules says nothing and is accepted")
	}
}

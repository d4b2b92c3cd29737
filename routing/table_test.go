package routing_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

type (
	rule  = routing.Rule[string]
	mreq  = match.Request
	value = match.Value
)

// to returns a rule whose name and action are both name.
func to(name string, matches ...mreq) rule { return rule{Name: name, Action: name, Match: matches} }

func compile[A any](t testing.TB, rules ...routing.Rule[A]) *routing.Table[A] {
	t.Helper()
	table, err := routing.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func request(t testing.TB, method, url string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// TestGatewayAPI has the situations of the conformance tests of HTTPRoute.
func TestGatewayAPI(t *testing.T) {
	prefix := func(p string) mreq { return mreq{Path: match.Path{Prefix: p}} }
	exact := func(p string) mreq { return mreq{Path: match.Path{Exact: p}} }
	header := func(m mreq, name, value string) mreq {
		m.Headers = append(m.Headers, match.Value{Name: name, Exact: value})
		return m
	}
	query := func(m mreq, name, value string) mreq {
		m.Query = append(m.Query, match.Value{Name: name, Exact: value})
		return m
	}
	method := func(m mreq, method string) mreq {
		m.Methods = []string{method}
		return m
	}
	type c struct {
		request, want string // "METHOD url [header: value]..."; want "" is no rule
	}
	for _, group := range []struct {
		name  string
		rules []rule
		cases []c
	}{
		{"matching", []rule{
			to("v1", prefix("/"), header(mreq{}, "version", "one")),
			to("v2", prefix("/v2"), header(mreq{}, "version", "two")),
		}, []c{
			{"GET /", "v1"}, {"GET /example", "v1"}, {"GET / version:one", "v1"},
			{"GET /v2", "v2"}, {"GET /v2/", "v2"}, {"GET /v2/example", "v2"}, {"GET / version:two", "v2"},
			{"GET /v2example", "v1"}, {"GET /foo/v2/example", "v1"},
		}},
		{"exact paths", []rule{to("one", exact("/one")), to("two", exact("/two"))}, []c{
			{"GET /one", "one"}, {"GET /two", "two"},
			{"GET /", ""}, {"GET /one/example", ""}, {"GET /two/", ""}, {"GET /Two", ""},
		}},
		{"order of paths", []rule{
			to("any", prefix("/match")), to("longer", prefix("/match/prefix/one")), to("prefix", prefix("/match/prefix/")),
			to("exact", exact("/match/exact")), to("exact one", exact("/match/exact/one")),
			to("regex", mreq{Path: match.Path{Regex: "/match.*|/other.*"}}), to("none"),
		}, []c{
			{"GET /match/exact/one", "exact one"}, {"GET /match/exact", "exact"}, {"GET /match/exact/", "any"},
			{"GET /match", "any"}, {"GET /match/prefix/one/any", "longer"}, {"GET /match/prefix/any", "prefix"},
			{"GET /match/prefix", "prefix"}, {"GET /matches", "regex"}, {"GET /other", "regex"}, {"GET /no", "none"},
		}},
		{"headers", []rule{
			to("one", header(mreq{}, "version", "one")),
			to("two", header(mreq{}, "version", "two")),
			to("more", header(header(mreq{}, "version", "two"), "color", "orange")),
			to("colors", header(mreq{}, "color", "blue"), header(mreq{}, "color", "green")),
		}, []c{
			{"GET / version:one", "one"}, {"GET / Version:two", "two"}, {"GET / version:two color:orange", "more"},
			{"GET / version:two color:blue", "two"}, {"GET / color:green", "colors"},
			{"GET / color:red", ""}, {"GET / color:orange", ""}, {"GET /", ""},
		}},
		{"query", []rule{
			to("whale", query(mreq{}, "animal", "whale")),
			to("dolphin", query(mreq{}, "animal", "dolphin")),
			to("blue", query(query(mreq{}, "animal", "dolphin"), "color", "blue")),
			to("path", prefix("/path5")),
			to("header", header(mreq{}, "version", "one")),
		}, []c{
			{"GET /?animal=whale", "whale"}, {"GET /?animal=dolphin", "dolphin"}, {"GET /?animal=whale&animal=dolphin", "whale"},
			{"GET /?animal=dolphin&color=blue", "blue"}, {"GET /?animal=dolphin&color=red", "dolphin"},
			{"GET /?animal=Whale", ""}, {"GET /?Animal=whale", ""}, {"GET /path5?animal=whale", "path"},
			{"GET /?animal=whale version:one", "header"}, {"GET /?a=b", ""},
		}},
		{"methods", []rule{
			to("post", method(mreq{}, "POST")),
			to("get", method(mreq{}, "GET")),
			to("path", method(prefix("/path1"), "GET"), prefix("/path2")),
			to("header", header(prefix("/path1"), "version", "one")),
			to("header without path", header(mreq{}, "version", "two")),
		}, []c{
			{"POST /", "post"}, {"GET /", "get"}, {"HEAD /", ""}, {"GET /path1", "path"}, {"POST /path1", "post"},
			{"POST /path2", "path"}, {"GET /path1 version:one", "path"}, {"PUT /path1 version:one", "header"},
			{"GET / version:two", "get"}, {"PUT / version:two", "header without path"},
		}},
		{"hosts", []rule{
			to("none"),
			to("wildcard", mreq{Hosts: []string{"*.bar.com"}}),
			to("longer wildcard", mreq{Hosts: []string{"*.foo.bar.com"}}),
			to("exact", mreq{Hosts: []string{"very.bar.com", "bar.com"}}),
			to("port", mreq{Hosts: []string{"bar.com:8080"}}),
			to("path", mreq{Path: match.Path{Exact: "/exact"}, Methods: []string{"GET"}}),
			to("wildcard port", mreq{Hosts: []string{"*.bar.com:8080"}, Path: match.Path{Prefix: "/p"}}),
		}, []c{
			{"GET http://foo.com/", "none"}, {"GET http://foo.bar.com/", "wildcard"}, {"GET http://a.b.bar.com/", "wildcard"},
			{"GET http://a.foo.bar.com/", "longer wildcard"}, {"GET http://very.bar.com/", "exact"},
			{"GET http://BAR.com.:80/", "exact"}, {"GET http://bar.com:8080/", "port"},
			{"GET http://foo.com/exact", "path"}, {"GET http://foo.bar.com/exact", "wildcard"},
			{"GET http://foo.bar.com:8080/p", "wildcard port"}, {"GET http://foo.bar.com:8080/", "wildcard"},
		}},
		{"root prefix says nothing", []rule{
			to("root", prefix("/")), to("regex", mreq{Path: match.Path{Regex: "/a.*"}}), to("header", header(mreq{}, "version", "one")),
		}, []c{
			{"GET /b", "root"}, {"GET /a", "regex"}, {"GET /b version:one", "header"}, {"GET /a version:one", "regex"},
		}},
		{"list order", []rule{
			to("first", header(mreq{}, "version", "one")), to("second", header(mreq{}, "color", "blue")),
		}, []c{{"GET / version:one color:blue", "first"}}},
	} {
		table := compile(t, group.rules...)
		for _, c := range group.cases {
			words := strings.Fields(c.request)
			if words[1][0] == '/' {
				words[1] = "http://example.com" + words[1]
			}
			r := request(t, words[0], words[1])
			for _, field := range words[2:] {
				name, value, _ := strings.Cut(field, ":")
				r.Header.Set(name, value)
			}
			hit, ok := table.Match(r)
			if ok != (c.want != "") || hit.Action != c.want {
				t.Errorf("%s: %s: %q, want %q", group.name, c.request, hit.Action, c.want)
			}
		}
	}
}

func TestHit(t *testing.T) {
	table := compile(t,
		to("other", mreq{Path: match.Path{Exact: "/other"}}),
		to("all",
			mreq{Path: match.Path{Exact: "/exact/"}},
			mreq{Path: match.Path{Prefix: "/caf%C3%A9/"}},
			mreq{Path: match.Path{Regex: "/r.*"}},
			mreq{Path: match.Path{Prefix: "/"}},
		),
	)
	for path, want := range map[string]routing.Hit[string]{
		"/exact/":    {Match: 0, Prefix: "/exact/"},
		"/café/x":    {Match: 1, Prefix: "/café"},
		"/regex":     {Match: 2, Prefix: "/"},
		"/something": {Match: 3, Prefix: "/"},
	} {
		want.Name, want.Action, want.Rule = "all", "all", 1
		if hit, ok := table.Match(request(t, "GET", "http://h"+path)); !ok || hit != want {
			t.Errorf("%s: %+v, want %+v", path, hit, want)
		}
	}
}

func TestNoRules(t *testing.T) {
	r := request(t, "GET", "http://h/")
	if _, ok := (*routing.Table[int])(nil).Match(r); ok {
		t.Error("a nil table has a rule")
	}
	if _, ok := compile[int](t).Match(r); ok {
		t.Error("an empty table has a rule")
	}
	if _, ok := compile(t, to("all")).Match(&http.Request{}); ok {
		t.Error("a request without a URL has a rule")
	}
}

// countingContext counts how often it is asked for a value, which a condition on
// the principal does.
type countingContext struct {
	context.Context
	asked int
}

func (c *countingContext) Value(key any) any {
	c.asked++
	return c.Context.Value(key)
}

// TestOnlyCandidatesAreAsked is why the cost does not grow with the rules.
func TestOnlyCandidatesAreAsked(t *testing.T) {
	var rules []rule
	for i := range 10_000 {
		m := mreq{Principals: []string{"nobody"}}
		switch i % 4 {
		case 0:
			m.Hosts = []string{fmt.Sprintf("host-%d", i)}
		case 1:
			m.Hosts = []string{fmt.Sprintf("*.zone-%d", i)}
		case 2:
			m.Path.Exact = fmt.Sprintf("/exact/%d", i)
		case 3:
			m.Path.Prefix = fmt.Sprintf("/prefix/%d", i)
		}
		rules = append(rules, to("", m))
	}
	// These are the candidates.
	for i := range 3 {
		rules = append(rules, to("", mreq{
			Path: match.Path{Prefix: "/prefix/7"}, Principals: []string{"nobody", fmt.Sprint(i)},
		}))
	}
	table := compile(t, rules...)
	// The count notices it when all rules are candidates.
	for i := range rules {
		rules[i].Match[0] = mreq{Principals: []string{"nobody", fmt.Sprint(i)}}
	}
	all := &countingContext{Context: t.Context()}
	compile(t, rules...).Match(request(t, "GET", "http://h/").WithContext(all))
	if all.asked != len(rules) {
		t.Fatalf("%d rules asked where all %d are candidates", all.asked, len(rules))
	}
	for url, want := range map[string]int{
		"http://host-4/":        1,
		"http://a.b.zone-1/x/y": 1,
		"http://h/exact/2":      1,
		"http://h/prefix/7/x":   4,
		"http://h/":             0,
	} {
		ctx := &countingContext{Context: t.Context()}
		if _, ok := table.Match(request(t, "GET", url).WithContext(ctx)); ok || ctx.asked != want {
			t.Errorf("%s: %d rules asked, want %d; found %t", url, ctx.asked, want, ok)
		}
	}
}

func TestPrincipal(t *testing.T) {
	table := compile(t, to("all"), to("reviews", mreq{Principals: []string{"spiffe://td/reviews"}}))
	r := request(t, "GET", "http://h/")
	if hit, _ := table.Match(r); hit.Name != "all" {
		t.Errorf("nobody: %s", hit.Name)
	}
	ctx := identity.NewContext(t.Context(), identity.Principal{Kind: identity.Certificate, Name: "spiffe://td/reviews"})
	if hit, _ := table.Match(r.WithContext(ctx)); hit.Name != "reviews" {
		t.Errorf("reviews: %s", hit.Name)
	}
}

type faultyAction struct{ err error }

func (f *faultyAction) Validate() error { return f.err }

func TestCompileFaults(t *testing.T) {
	_, err := routing.Compile([]routing.Rule[*faultyAction]{
		{Match: []mreq{{Methods: []string{"GET", "PUT"}, Hosts: []string{"A.", "b:80"}}, {}}},
		{Name: "checkout", Match: []mreq{{Path: match.Path{Regex: "("}}, {Hosts: []string{"*"}, Methods: []string{""}}}},
		{Name: "twin", Match: []mreq{{Methods: []string{"PUT", "GET"}, Hosts: []string{"b:80", "a"}}}},
		{Name: "root", Match: []mreq{{Path: match.Path{Prefix: "/"}}}},
		{Name: "own twin", Match: []mreq{
			{Path: match.Path{Prefix: "/v1"}, Headers: []value{{Name: "a"}, {Name: "b", Not: true}}},
			{Path: match.Path{Prefix: "/v1/"}, Headers: []value{{Name: "B", Not: true}, {Name: "A"}}},
			{Path: match.Path{Prefix: "/v1/"}, Headers: []value{{Name: "B"}, {Name: "A"}}},
			{Path: match.Path{Exact: "/v1"}, Headers: []value{{Name: "B"}, {Name: "A"}}},
		}},
		{Name: "action", Match: []mreq{{Principals: []string{"p"}}}, Action: &faultyAction{errors.Join(errors.New("a: 1"), errors.New("b: 2"))}},
		{Name: "empty twin", Action: &faultyAction{}},
	})
	if err == nil {
		t.Fatal("no fault found")
	}
	want := []string{
		"routes[1] (checkout): matches[0].path.regex: error parsing regexp",
		`routes[1] (checkout): matches[1].hosts[0]: "*" alone`,
		"routes[1] (checkout): matches[1].methods[0]: ",
		"routes[2] (twin): matches[0]: identical to routes[0]: matches[0]",
		"routes[3] (root): matches[0]: identical to routes[0]: matches[1]",
		"routes[4] (own twin): matches[1]: identical to routes[4] (own twin): matches[0]",
		"routes[5] (action): a: 1",
		"routes[5] (action): b: 2",
		"routes[6] (empty twin): matches[0]: identical to routes[0]: matches[1]",
	}
	lines := strings.Split(err.Error(), "\n")
	for i := range max(len(lines), len(want)) {
		if i >= len(lines) || i >= len(want) || !strings.HasPrefix(lines[i], want[i]) {
			t.Fatalf("fault %d of\n%s\ndoes not begin with %q", i, err, want[min(i, len(want)-1)])
		}
	}
}

//go:build !race

package routing_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

// candidate is a match that holds for a request, under one host that holds.
type candidate struct {
	rule, number int
	host         string
	m            match.Request
}

// criterion gives the better of two candidates the greater number.
type criterion struct {
	name string
	rate func(candidate) int
}

// precedence is the one that the package documents, word by word.
var precedence = []criterion{
	{"exact host", func(c candidate) int { return b2i(c.host != "" && !strings.HasPrefix(c.host, "*")) }},
	{"longest host", func(c candidate) int { name, _, _ := strings.Cut(c.host, ":"); return len(name) }},
	{"port", func(c candidate) int { return b2i(strings.Contains(c.host, ":")) }},
	{"exact path", func(c candidate) int { return b2i(c.m.Path.Exact != "") }},
	{"longest prefix", func(c candidate) int { return len(strings.TrimSuffix(c.m.Path.Prefix, "/")) }},
	{"expression", func(c candidate) int { return b2i(c.m.Path.Regex != "") }},
	{"method", func(c candidate) int { return b2i(len(c.m.Methods) > 0) }},
	{"headers", func(c candidate) int { return len(c.m.Headers) }},
	{"query", func(c candidate) int { return len(c.m.Query) }},
	{"order of rules", func(c candidate) int { return -c.rule }},
	{"order of matches", func(c candidate) int { return -c.number }},
}

// linear is a table that asks every match of every rule.
type linear []struct {
	candidate
	*match.Matcher
}

func newLinear(t *testing.T, rules []rule) linear {
	var l linear
	for i, rule := range rules {
		for j, m := range rule.Match {
			hosts := m.Hosts
			if len(hosts) == 0 {
				hosts = []string{""}
			}
			for _, host := range hosts {
				single := m
				if host != "" {
					single.Hosts = []string{host}
				}
				matcher, err := match.Compile(single)
				if err != nil {
					t.Fatal(err)
				}
				l = append(l, struct {
					candidate
					*match.Matcher
				}{candidate{i, j, host, m}, matcher})
			}
		}
	}
	return l
}

// match returns the best by order of what holds for r, with rule -1 for nothing.
func (l linear) match(order []criterion, r *http.Request) candidate {
	best := candidate{rule: -1}
	for _, c := range l {
		if c.Matches(r) && (best.rule < 0 || better(c.candidate, best, order)) {
			best = c.candidate
		}
	}
	return best
}

func better(a, b candidate, order []criterion) bool {
	for _, criterion := range order {
		if x, y := criterion.rate(a), criterion.rate(b); x != y {
			return x > y
		}
	}
	return false
}

func randomRules(rng *rand.Rand) []rule {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	values := func(names ...string) (out []value) {
		for range max(0, rng.IntN(5)-2) {
			out = append(out, value{Name: pick(names...), Prefix: pick("", "x")})
		}
		return out
	}
	rules := make([]rule, 1+rng.IntN(10))
	for i := range rules {
		rules[i].Action = fmt.Sprint(i)
		for range 1 + rng.IntN(3) {
			m := mreq{Headers: values("a", "b", "c"), Query: values("a", "b", "c")}
			for _, host := range []string{"a.com", "a.com:80", "*.com", "*.com:80", "*.a.com", "*.a.com:80", "b.a.com"} {
				if rng.IntN(6) == 0 {
					m.Hosts = append(m.Hosts, host)
				}
			}
			if rng.IntN(3) == 0 {
				m.Methods = []string{pick("GET", "PUT")}
			}
			switch rng.IntN(6) {
			case 0:
				m.Path.Exact = pick("/", "/a", "/a/", "/a/b", "/a%2Fb")
			case 1, 2:
				m.Path.Prefix = pick("/", "/a", "/a/b", "/a/b/c", "/a%2Fb")
			case 3:
				m.Path.Regex = pick("/a.*", "/a/b", ".*")
			}
			rules[i].Match = append(rules[i].Match, m)
		}
	}
	return rules
}

func randomRequest(t *testing.T, rng *rand.Rand) *http.Request {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	r := request(t, pick("GET", "PUT", "HEAD"), "http://"+pick("a.com", "A.com.", "a.com:81", "b.a.com", "c.b.a.com", "c.com", "net")+
		pick("", "/a", "/a/", "/a/b", "//a/./b", "/a/b/c/d", "/a%2Fb/c", "/ab")+pick("", "?a=x", "?b=x&a=y", "?a=%78&b&c=x"))
	for _, name := range []string{"A", "B", "C"} {
		if rng.IntN(2) == 0 {
			r.Header.Set(name, pick("x", "y"))
		}
	}
	return r
}

// difference looks for random rules and a request for which the table and the
// linear matcher find different rules. It also returns how often both found one.
func difference(t *testing.T, order []criterion) (found string, hits int) {
	rng := rand.New(rand.NewPCG(3, 5))
	tables := 0
	for tables < 1500 {
		rules := randomRules(rng)
		table, err := routing.Compile(rules)
		if err != nil {
			if !strings.Contains(err.Error(), "identical to") {
				t.Fatal(err)
			}
			continue
		}
		tables++
		naive := newLinear(t, rules)
		for range 20 {
			r := randomRequest(t, rng)
			want := naive.match(order, r)
			hit, ok := table.Match(r)
			if ok != (want.rule >= 0) || ok && (hit.Rule != want.rule || hit.Match != want.number) {
				return fmt.Sprintf("%+v\nfor %s %s %v: %+v, want rule %d, match %d",
					rules, r.Method, r.URL, r.Header, hit, want.rule, want.number), hits
			}
			if ok {
				hits++
			}
		}
	}
	return "", hits
}

// TestPrecedence compares the table with a linear search that applies the
// documented precedence literally.
func TestPrecedence(t *testing.T) {
	found, hits := difference(t, precedence)
	if found != "" {
		t.Fatal(found)
	}
	if hits < 10_000 || hits == 30_000 {
		t.Fatalf("%d of 30000 requests hit a rule; the comparison says too little", hits)
	}
}

// TestPrecedenceNoticesFaults leaves each criterion out, turns each around and
// exchanges each with the next: all these precedences must be told from the right
// one.
func TestPrecedenceNoticesFaults(t *testing.T) {
	notice := func(name string, order []criterion) {
		if found, _ := difference(t, order); found == "" {
			t.Errorf("%s: not noticed", name)
		}
	}
	for i, c := range precedence {
		// The last criterion is also the order in which matches are asked.
		if i < len(precedence)-2 {
			notice("without "+c.name, slices.Delete(slices.Clone(precedence), i, i+1))
		}
		turned := slices.Clone(precedence)
		turned[i].rate = func(x candidate) int { return -c.rate(x) }
		notice("turned "+c.name, turned)
		// A wildcard that holds is never longer than the exact name, so these two
		// may stand in either order.
		if i+1 < len(precedence) && c.name != "exact host" {
			exchanged := slices.Clone(precedence)
			exchanged[i], exchanged[i+1] = exchanged[i+1], exchanged[i]
			notice("exchanged "+c.name, exchanged)
		}
	}
}

package routing

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/match"
)

// Table finds the rule for a request. It is immutable and safe for concurrent
// use; a nil Table has no rules.
//
// Hosts and paths are looked up, so rules of other hosts and paths cost nothing.
// Rules of one host and one path are asked in turn, and so are all the path
// expressions of one host, where no exact path or prefix was found.
type Table[A any] struct {
	rules []Rule[A] // without their matches
	index hostIndex
}

// Compile makes a table of rules, or reports every fault in them at once, each
// with its path, such as
//
//	routes[2] (checkout): matches[0].path.regex: ...
//
// Besides the faults that [match.Request.Validate] and the actions themselves
// report, it is one if two matches are identical: the later one would never be
// found. The order in which a match lists its hosts, methods, conditions and
// principals makes no difference to that. The table keeps nothing of the rules'
// slices; actions are copied as they are.
func Compile[A any](rules []Rule[A]) (*Table[A], error) {
	var faults faults
	t := &Table[A]{rules: slices.Clone(rules)}
	seen := make(map[string]string)
	for i, rule := range rules {
		t.rules[i].Match = nil
		where := fmt.Sprintf("routes[%d]", i)
		if rule.Name != "" {
			where += " (" + rule.Name + ")"
		}
		faults.under(where+": ", validate(rule.Action))
		matches := rule.Match
		if len(matches) == 0 {
			matches = []match.Request{{}}
		}
		for j, m := range matches {
			here := fmt.Sprintf("%s: matches[%d]", where, j)
			if err := m.Validate(); err != nil {
				faults.under(here+".", err)
				continue
			}
			key := identityOf(m)
			if other, ok := seen[key]; ok {
				faults.add(here, "identical to %s", other)
				continue
			}
			seen[key] = here
			t.index.add(i, j, m)
		}
	}
	if err := faults.err(); err != nil {
		return nil, err
	}
	t.index.sort()
	return t, nil
}

// validate calls the Validate method of an action, if it has one and is not nil.
func validate(action any) error {
	v, ok := action.(interface{ Validate() error })
	if !ok {
		return nil
	}
	if p := reflect.ValueOf(action); p.Kind() == reflect.Pointer && p.IsNil() {
		return nil
	}
	return v.Validate()
}

// add indexes a match without faults, once for each of its hosts.
func (x *hostIndex) add(rule, number int, m match.Request) {
	path, _ := m.Path.Canonical()
	e := &entry{
		rule: rule, match: number,
		prefix:    "/",
		method:    len(m.Methods) > 0,
		headers:   len(m.Headers),
		query:     len(m.Query),
		principal: len(m.Principals) > 0,
	}
	switch {
	case path.Exact != "":
		e.prefix = path.Exact
	case path.Prefix != "":
		e.prefix = path.Prefix
	}
	rest := m
	rest.Hosts = nil
	switch {
	case path.Exact != "", path.Prefix != "" && path.Prefix != "/":
		rest.Path = match.Path{}
	}
	if e.method || e.principal || e.headers > 0 || e.query > 0 || rest.Path != (match.Path{}) {
		e.rest, _ = match.Compile(rest)
	}
	if len(m.Hosts) == 0 {
		x.paths(nil).add(path, e)
	}
	for _, pattern := range m.Hosts {
		host, _ := match.ParseHost(pattern)
		x.paths(&host).add(path, e)
	}
}

// identityOf returns a text that two matches have in common exactly if they are
// made of the same conditions.
func identityOf(m match.Request) string {
	path, _ := m.Path.Canonical()
	if path.Prefix == "/" {
		path.Prefix = ""
	}
	hosts := make([]string, len(m.Hosts))
	for i, pattern := range m.Hosts {
		host, _ := match.ParseHost(pattern)
		hosts[i] = fmt.Sprintf("%#v", host)
	}
	headers := make([]string, len(m.Headers))
	for i, v := range m.Headers {
		v.Name = http.CanonicalHeaderKey(v.Name)
		headers[i] = fmt.Sprintf("%#v", v)
	}
	query := make([]string, len(m.Query))
	for i, v := range m.Query {
		query[i] = fmt.Sprintf("%#v", v)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q", path)
	for _, list := range [][]string{hosts, m.Methods, headers, query, m.Principals} {
		fmt.Fprintf(&b, "%q", slices.Compact(slices.Sorted(slices.Values(list))))
	}
	return b.String()
}

// Match returns the rule for r and whether there is one. If r's host and path
// are canonical it allocates only where [match.Matcher.Matches] would. It asks
// the conditions on headers, query and principals of those rules only whose host
// and path hold for r, in order of precedence.
func (t *Table[A]) Match(r *http.Request) (Hit[A], bool) {
	rule, e := t.find(r)
	if e == nil {
		return Hit[A]{}, false
	}
	return Hit[A]{Name: rule.Name, Action: rule.Action, Rule: e.rule, Match: e.match, Prefix: e.prefix}, true
}

// find is Match without copies.
func (t *Table[A]) find(r *http.Request) (*Rule[A], *entry) {
	if t == nil || r.URL == nil {
		return nil, nil
	}
	e := t.index.find(r)
	if e == nil {
		return nil, nil
	}
	return &t.rules[e.rule], e
}

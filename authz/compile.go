package authz

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/match"
)

// rule is a compiled Rule.
type rule struct {
	name   string
	from   []source
	to     []operation
	when   []condition
	counts *counters
}

type source struct {
	principals, notPrincipals, issuers names
	networks, notNetworks              []netip.Prefix
}

type operation struct {
	methods, notMethods []string
	hosts, notHosts     []match.Host
	paths, notPaths     []Path
}

type condition struct {
	Condition
	values, notValues names
}

// compile compiles a rule that is valid and effective, and notes what it needs.
func compile(r Rule, n *needs) rule {
	c := rule{name: r.Name, counts: new(counters)}
	for _, s := range r.From {
		n.caller = n.caller || s.Principals != nil || s.NotPrincipals != nil || s.Issuers != nil
		n.addr = n.addr || s.Networks != nil || s.NotNetworks != nil
		c.from = append(c.from, source{
			principals: newNames(s.Principals), notPrincipals: newNames(s.NotPrincipals), issuers: newNames(s.Issuers),
			networks: s.Networks, notNetworks: s.NotNetworks,
		})
	}
	for _, o := range r.To {
		n.host = n.host || o.Hosts != nil || o.NotHosts != nil
		n.path = n.path || o.Paths != nil || o.NotPaths != nil
		c.to = append(c.to, operation{
			methods: o.Methods, notMethods: o.NotMethods, hosts: parseHosts(o.Hosts), notHosts: parseHosts(o.NotHosts),
			paths: o.Paths, notPaths: o.NotPaths,
		})
	}
	for _, w := range r.When {
		n.claims = n.claims || w.Claim != ""
		c.when = append(c.when, condition{w, newNames(w.Values), newNames(w.NotValues)})
	}
	return c
}

func parseHosts(patterns []string) []match.Host {
	var hosts []match.Host
	for _, p := range patterns {
		if h, err := match.ParseHost(p); err == nil { // Validate has seen to that
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// fewNames are found faster one by one than by hashing.
const fewNames = 8

// names is a set of texts, or all of them. The zero value is no condition.
type names struct {
	any  bool
	list []string
	set  map[string]struct{} // nil if they are few
	// commas says that one of them could be several fields joined.
	commas bool
}

func newNames(list []string) names {
	if len(list) == 1 && list[0] == "*" {
		return names{any: true}
	}
	n := names{list: list}
	for _, s := range list {
		n.commas = n.commas || strings.Contains(s, ",")
	}
	if len(list) > fewNames {
		n.set = make(map[string]struct{}, len(list))
		for _, s := range list {
			n.set[s] = struct{}{}
		}
	}
	return n
}

// given reports whether there is a condition at all.
func (n *names) given() bool { return n.any || n.list != nil }

func (n *names) has(s string) bool {
	switch {
	case n.any:
		return true
	case n.set != nil:
		_, ok := n.set[s]
		return ok
	}
	return slices.Contains(n.list, s)
}

// judge judges a request by all conditions of the rule.
func (r *rule) judge(f *facts) verdict {
	v := yes
	if r.to != nil {
		v = no
		for i := 0; i < len(r.to) && v != yes; i++ {
			v = max(v, r.to[i].judge(f))
		}
	}
	if v != no && r.from != nil {
		from := no
		for i := 0; i < len(r.from) && from != yes; i++ {
			from = max(from, r.from[i].judge(f))
		}
		v = min(v, from)
	}
	for i := 0; i < len(r.when) && v != no; i++ {
		v = min(v, r.when[i].judge(f))
	}
	return v
}

func (s *source) judge(f *facts) verdict {
	v := yes
	if s.principals.given() {
		v = min(v, f.known, surely(f.known != yes || s.principals.has(f.caller.Name)))
	}
	if s.notPrincipals.given() {
		v = min(v, excludes(f.known == yes, s.notPrincipals.has(f.caller.Name)))
	}
	if s.issuers.given() {
		v = min(v, f.known, surely(f.known != yes || s.issuers.has(f.caller.Issuer)))
	}
	if s.networks != nil {
		v = min(v, surely(contain(s.networks, f.addr)))
	}
	if s.notNetworks != nil {
		v = min(v, excludes(f.addr.IsValid(), contain(s.notNetworks, f.addr)))
	}
	return v
}

// excludes is the verdict of a condition that excludes what is listed: nobody can
// say that of what is not there.
func excludes(there, listed bool) verdict {
	if !there {
		return doubt
	}
	return surely(!listed)
}

func contain(networks []netip.Prefix, addr netip.Addr) bool {
	for i := range networks {
		if networks[i].Contains(addr) {
			return true
		}
	}
	return false
}

func (o *operation) judge(f *facts) verdict {
	v := yes
	if o.paths != nil {
		v = judgePath(o.paths, f)
	}
	if v != no && o.notPaths != nil {
		v = min(v, judgePath(o.notPaths, f).not())
	}
	if v != no && o.methods != nil {
		v = min(v, judgeMethod(o.methods, f.method))
	}
	if v != no && o.notMethods != nil {
		v = min(v, judgeMethod(o.notMethods, f.method).not())
	}
	if v != no && o.hosts != nil {
		v = min(v, judgeHost(o.hosts, f))
	}
	if v != no && o.notHosts != nil {
		v = min(v, judgeHost(o.notHosts, f).not())
	}
	return v
}

func judgePath(list []Path, f *facts) verdict {
	if !f.pathSure {
		return doubt
	}
	v := no
	for i := 0; i < len(list) && v != yes; i++ {
		v = max(v, list[i].judge(f.path))
	}
	return v
}

// judge judges a path that has one reading, but for a slash at its end.
func (p *Path) judge(path string) verdict {
	switch {
	case p.Prefix == "/":
		return yes
	case p.Prefix != "":
		return surely(strings.HasPrefix(path, p.Prefix) && (len(path) == len(p.Prefix) || path[len(p.Prefix)] == '/'))
	case path == p.Exact:
		return yes
	case strings.TrimSuffix(path, "/") == strings.TrimSuffix(p.Exact, "/"):
		return doubt
	}
	return no
}

func judgeMethod(list []string, method string) verdict {
	v := no
	for _, m := range list {
		switch {
		case m == method:
			return yes
		case strings.EqualFold(m, method), m == http.MethodGet && strings.EqualFold(method, http.MethodHead):
			v = doubt
		}
	}
	return v
}

func judgeHost(list []match.Host, f *facts) verdict {
	if !f.hostSure {
		return doubt
	}
	found := yes
	if !f.hostPlain {
		found = doubt
	}
	for i := range list {
		if h := &list[i]; !h.Wildcard {
			if f.host == h.Name {
				return found
			}
		} else if lead, ok := strings.CutSuffix(f.host, h.Name); ok && len(lead) > 1 && lead[len(lead)-1] == '.' {
			return found
		}
	}
	return no
}

package routing

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/match"
)

// entry is one match of one rule, under one of its hosts.
type entry struct {
	rule, match int
	prefix      string         // what Hit.Prefix says, except for exact paths
	rest        *match.Matcher // what the index has not judged; nil if it is nothing

	method, principal bool // whether there are such conditions
	headers, query    int  // how many such conditions there are
}

// compare orders entries of equal host and path by precedence.
func (e *entry) compare(other *entry) int {
	return cmp.Or(
		before(e.method, other.method),
		cmp.Compare(other.headers, e.headers),
		cmp.Compare(other.query, e.query),
		before(e.principal, other.principal),
		cmp.Compare(e.rule, other.rule),
		cmp.Compare(e.match, other.match),
	)
}

func before(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// first returns the first of entries that holds for r, whose canonical path is
// path.
func first(entries []*entry, path string, r *http.Request) *entry {
	for _, e := range entries {
		if e.rest == nil || e.rest.MatchesPath(path, r) {
			return e
		}
	}
	return nil
}

// hostIndex finds entries by host. Host being the first difference that decides,
// each host has its own index of paths, and they are asked one after the other.
type hostIndex struct {
	exact    map[string]*portIndex
	wildcard map[string]*portIndex // by the name after "*."
	any      pathIndex
}

// portIndex finds entries by port, for one host name.
type portIndex struct {
	port map[uint16]*pathIndex
	any  pathIndex
}

func (x *hostIndex) find(r *http.Request) *entry {
	name, port := match.CanonicalHost(r)
	path := match.CanonicalPath(r.URL)
	if p := x.exact[name]; p != nil {
		if e := p.find(port, path, r); e != nil {
			return e
		}
	}
	if len(x.wildcard) > 0 {
		// From the left, so that the longest wildcard comes first. At least one
		// byte stands before the dot.
		for i := 1; i < len(name); i++ {
			if name[i] != '.' {
				continue
			}
			if p := x.wildcard[name[i+1:]]; p != nil {
				if e := p.find(port, path, r); e != nil {
					return e
				}
			}
		}
	}
	return x.any.find(path, r)
}

func (x *portIndex) find(port uint16, path string, r *http.Request) *entry {
	if p := x.port[port]; p != nil {
		if e := p.find(path, r); e != nil {
			return e
		}
	}
	return x.any.find(path, r)
}

// paths returns the index of paths for h, which it makes if need be. A nil h is
// every host.
func (x *hostIndex) paths(h *match.Host) *pathIndex {
	if h == nil {
		return &x.any
	}
	names := &x.exact
	if h.Wildcard {
		names = &x.wildcard
	}
	p := make1(names, h.Name)
	if h.Port == 0 {
		return &p.any
	}
	return make1(&p.port, h.Port)
}

// make1 returns the element at key, and makes it and the map if need be.
func make1[K comparable, V any](m *map[K]*V, key K) *V {
	if *m == nil {
		*m = make(map[K]*V)
	}
	v := (*m)[key]
	if v == nil {
		v = new(V)
		(*m)[key] = v
	}
	return v
}

// sort puts all entries in order of precedence and links the tries.
func (x *hostIndex) sort() {
	x.any.sort()
	for _, names := range []map[string]*portIndex{x.exact, x.wildcard} {
		for _, p := range names {
			p.any.sort()
			for _, paths := range p.port {
				paths.sort()
			}
		}
	}
}

// pathIndex finds entries by path, for one host.
type pathIndex struct {
	exact  map[string]*[]*entry
	prefix node
	regex  []*entry
	rest   []*entry // no condition on the path, or the prefix "/"
}

// node is a node of a trie of path segments. It stands for the prefix made of
// the segments that lead to it.
type node struct {
	children map[string]*node
	entries  []*entry
	// up is the nearest node with entries among this node's ancestors.
	up *node
}

func (x *pathIndex) find(path string, r *http.Request) *entry {
	if entries := x.exact[path]; entries != nil {
		if e := first(*entries, path, r); e != nil {
			return e
		}
	}
	for n := x.prefix.deepest(path); n != nil; n = n.up {
		if e := first(n.entries, path, r); e != nil {
			return e
		}
	}
	if e := first(x.regex, path, r); e != nil {
		return e
	}
	return first(x.rest, path, r)
}

// deepest returns the node of the longest prefix of path that leads to one. It
// looks at no more of path than the longest prefix there is, once.
func (n *node) deepest(path string) *node {
	for more := true; more && n.children != nil; {
		var segment string
		// path is at the slash before a segment.
		segment, path, more = cutSegment(path)
		child := n.children[segment]
		if child == nil {
			break
		}
		n = child
	}
	return n
}

// cutSegment cuts the first segment off path, which begins with a slash. What
// remains begins with one too, if there is more.
func cutSegment(path string) (segment, rest string, more bool) {
	path = path[1:]
	i := strings.IndexByte(path, '/')
	if i < 0 {
		return path, "", false
	}
	return path[:i], path[i:], true
}

func (x *pathIndex) add(p match.Path, e *entry) {
	switch {
	case p.Exact != "":
		entries := make1(&x.exact, p.Exact)
		*entries = append(*entries, e)
	case p.Regex != "":
		x.regex = append(x.regex, e)
	case p.Prefix != "" && p.Prefix != "/":
		n := &x.prefix
		for path, more := p.Prefix, true; more; {
			var segment string
			segment, path, more = cutSegment(path)
			n = make1(&n.children, segment)
		}
		n.entries = append(n.entries, e)
	default:
		x.rest = append(x.rest, e)
	}
}

func (x *pathIndex) sort() {
	for _, entries := range x.exact {
		slices.SortFunc(*entries, (*entry).compare)
	}
	slices.SortFunc(x.regex, (*entry).compare)
	slices.SortFunc(x.rest, (*entry).compare)
	x.prefix.sort(nil)
}

func (n *node) sort(up *node) {
	n.up = up
	slices.SortFunc(n.entries, (*entry).compare)
	if len(n.entries) > 0 {
		up = n
	}
	for _, child := range n.children {
		child.sort(up)
	}
}

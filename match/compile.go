package match

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/internal/token"
)

// compiler turns a Request into a Matcher and collects the faults on the way.
type compiler struct{ faults faults }

func (c *compiler) err() error { return c.faults.err() }

func (c *compiler) request(m Request) *Matcher {
	matcher := &Matcher{
		path:       c.path("path", m.Path),
		methods:    slices.Clone(m.Methods),
		principals: slices.Clone(m.Principals),
	}
	for i, pattern := range m.Hosts {
		host, err := ParseHost(pattern)
		switch {
		case err != nil:
			c.faults.add(fmt.Sprintf("hosts[%d]", i), "%w", err)
		case slices.Contains(matcher.hosts, host):
			c.faults.add(fmt.Sprintf("hosts[%d]", i), "%q is listed twice", pattern)
		}
		matcher.hosts = append(matcher.hosts, host)
	}
	for i, method := range m.Methods {
		switch {
		case !token.Is(method):
			c.faults.add(fmt.Sprintf("methods[%d]", i), "%q is not a method", method)
		case slices.Contains(m.Methods[:i], method):
			c.faults.add(fmt.Sprintf("methods[%d]", i), "%q is listed twice", method)
		}
	}
	for i, v := range m.Headers {
		path := fmt.Sprintf("headers[%d]", i)
		v.Name = c.headerName(path+".name", v.Name)
		matcher.headers = append(matcher.headers, c.value(path, v))
	}
	for i, v := range m.Query {
		path := fmt.Sprintf("query[%d]", i)
		if v.Name == "" {
			c.faults.add(path+".name", "empty")
		}
		matcher.query = append(matcher.query, c.value(path, v))
	}
	for i, name := range m.Principals {
		switch {
		case name == "":
			c.faults.add(fmt.Sprintf("principals[%d]", i), "empty name")
		case slices.Contains(m.Principals[:i], name):
			c.faults.add(fmt.Sprintf("principals[%d]", i), "%q is listed twice", name)
		}
	}
	return matcher
}

// headerName returns the canonical form of the name of a header field.
func (c *compiler) headerName(path, name string) string {
	switch {
	case name == "":
		c.faults.add(path, "empty")
	case !token.Is(name):
		c.faults.add(path, "%q is not the name of a header field", name)
	case strings.EqualFold(name, "Host"):
		c.faults.add(path, "the host is not a header here; use hosts")
	}
	return http.CanonicalHeaderKey(name)
}

func (c *compiler) value(path string, v Value) valueMatcher {
	m := valueMatcher{Value: v}
	if several(v.Exact, v.Prefix, v.Regex) {
		c.faults.add(path, "%w", errSeveral)
	}
	m.regex = c.regex(path+".regex", v.Regex)
	return m
}

func (c *compiler) path(path string, p Path) pathMatcher {
	p = c.canonicalPath(path+".", p)
	return pathMatcher{Path: p, regex: c.regex(path+".regex", p.Regex)}
}

// canonicalPath returns p with its paths in canonical form; prefix leads the
// paths of its faults.
func (c *compiler) canonicalPath(prefix string, p Path) Path {
	if several(p.Exact, p.Prefix, p.Regex) {
		c.faults.add(strings.TrimSuffix(prefix, "."), "%w", errSeveral)
	}
	if p.Exact != "" {
		exact, err := parsePath(p.Exact)
		if err != nil {
			c.faults.add(prefix+"exact", "%w", err)
		}
		p.Exact = exact
	}
	if p.Prefix != "" {
		path, err := parsePath(p.Prefix)
		if err != nil {
			c.faults.add(prefix+"prefix", "%w", err)
		} else if path != "/" {
			path = strings.TrimSuffix(path, "/")
		}
		p.Prefix = path
	}
	return p
}

func (c *compiler) regex(path, expr string) *regexp.Regexp {
	if expr == "" {
		return nil
	}
	regex, err := compileRegex(expr)
	if err != nil {
		c.faults.add(path, "%w", err)
	}
	return regex
}

// several reports whether more than one text is not empty.
func several(texts ...string) bool {
	n := 0
	for _, text := range texts {
		if text != "" {
			n++
		}
	}
	return n > 1
}

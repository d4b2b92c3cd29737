package archtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// neverLinks names modules a package must not link even through others, whatever ownLibraries comes to allow:
// a program that only balances must not carry a signature library.
var neverLinks = map[string][]string{
	"breaker":   {jwx, retryablehttp},
	"retry":     {jwx, failsafe, retryablehttp},
	"balancer":  {jwx, failsafe, retryablehttp},
	"discovery": {jwx, failsafe},
	"ratelimit": {jwx, failsafe, retryablehttp},
	"overload":  {jwx, retryablehttp},
}

// linked returns the modules outside the standard library that the package in dir names in its link: those its
// sources import, and those of every package of ours they import, on and on.
func (t *tree) linked(dir string) []string {
	modules, seen, queue := map[string]bool{}, map[string]bool{dir: true}, []string{dir}
	for len(queue) > 0 {
		p := t.packages[queue[0]]
		queue = queue[1:]
		if p == nil {
			continue
		}
		for _, f := range p.sources() {
			for _, imp := range f.imports() {
				if to, ours := local(imp); ours && !seen[to] {
					seen[to] = true
					queue = append(queue, to)
				} else if thirdParty(imp) {
					modules[moduleNamed(imp)] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(modules))
}

// mayLink tells whether the package in dir may link the module m. What composes the leaves links what they do;
// nothing links a test library.
func mayLink(dir, m string) bool {
	if floorOf(dir) >= root {
		return slices.Contains([]string{failsafe, retryablehttp, otel, otelMetric, otelTrace, jwx}, m)
	}
	return slices.Contains(libraries(dir), m) && !slices.Contains(neverLinks[dir], m)
}

func linkFaults(t *tree) []string {
	var faults []string
	for _, p := range t.core() {
		for _, m := range t.linked(p.dir) {
			if !mayLink(p.dir, m) {
				faults = append(faults, fmt.Sprintf("%s must not link %s", p.dir, m))
			}
		}
	}
	return faults
}

// linkList names, for each package of the core that links any, the modules it links.
func linkList(t *tree) string {
	var b strings.Builder
	for _, p := range t.core() {
		if modules := t.linked(p.dir); len(modules) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", p.dir, strings.Join(modules, " "))
		}
	}
	return b.String()
}

func TestLinkedModules(t *testing.T) {
	check(t, linkFaults)
	tr, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/linked.txt", linkList(tr))
}

func TestLinkedModulesFinds(t *testing.T) {
	planted(t, linkFaults, map[string]string{
		"balancer/b.go":        "package balancer\nimport _ \"" + module + "/internal/body\"\n",
		"internal/body/b.go":   "package body\nimport _ \"" + module + "/endpoint\"\n",
		"endpoint/e.go":        "package endpoint\nimport _ \"" + jwx + "/jwk\"\n",
		"breaker/b.go":         "package breaker\nimport _ \"" + failsafe + "/circuitbreaker\"\n",
		"tulle.go":             "package tulle\nimport _ \"" + module + "/breaker\"\n",
		"tulletest/t.go":       "package tulletest\nimport (\n_ \"" + module + "\"\n_ \"" + testify + "/assert\"\n)\n",
		"tulletest/t_test.go":  "package tulletest\nimport _ \"" + testify + "/require\"\n",
		"discovery/xds/go.mod": "module " + module + "/discovery/xds\n",
		"discovery/xds/x.go":   "package xds\nimport _ \"" + jwx + "/jwk\"\n",
	},
		"balancer must not link "+jwx,
		"endpoint must not link "+jwx,
		"internal/body must not link "+jwx,
		"tulletest must not link "+testify,
	)
}

func TestNeverLinksOverrules(t *testing.T) {
	for dir, modules := range neverLinks {
		for _, m := range modules {
			if mayLink(dir, m) {
				t.Errorf("%s may link %s", dir, m)
			}
		}
	}
}

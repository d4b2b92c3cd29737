package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// floor is where a package stands; docs/adr/0002-three-floors.md gives the reasons.
type floor int

const (
	vocabulary floor = iota + 1 // data and pure functions, on the standard library alone
	inner                       // internal mechanisms that leaves share
	leaf                        // one mechanism each, blind to one another
	root                        // composes
	above                       // stands on the root
)

// floors places every package. One that is missing here is a fault: whoever adds it says where it stands.
var floors = map[string]floor{
	"endpoint": vocabulary,
	"outcome":  vocabulary,
	"identity": vocabulary,
	"match":    vocabulary,
	// A pure function, what identity.PeerAddr is made of.
	"internal/peeraddr": vocabulary,
	// Pure functions, part of what a match.Key promises.
	"internal/token": vocabulary,
	"internal/xxh64": vocabulary,

	"internal/archtest":   inner,
	"internal/body":       inner,
	"internal/fetch":      inner,
	"internal/form":       inner,
	"internal/hint":       inner,
	"internal/histogram":  inner,
	"internal/memnet":     inner,
	"internal/respwriter": inner,
	"internal/secret":     inner,

	"discovery": leaf,
	"balancer":  leaf,
	"health":    leaf,
	"breaker":   leaf,
	"retry":     leaf,
	"overload":  leaf,
	"routing":   leaf,
	"fault":     leaf,
	"mirror":    leaf,
	"rollout":   leaf,
	"ratelimit": leaf,
	"authn":     leaf,
	"authz":     leaf,
	"telemetry": leaf,

	".": root,

	"gateway":      above,
	"admin":        above,
	"tulletest":    above,
	"internal/sim": above,
	// Fakes of OpenTelemetry for tests of the core, which has no SDK.
	"internal/oteltest": above,
}

// examples are programs and stand above all; a new one needs no place of its own.
func floorOf(dir string) floor {
	if strings.HasPrefix(dir, "examples/") {
		return above
	}
	return floors[dir]
}

// within lists the only imports inside the vocabulary: a match can ask who the caller is, and hash; an identity reads
// the peer's address.
var within = map[string][]string{
	"identity": {"internal/peeraddr"},
	"match":    {"identity", "internal/token", "internal/xxh64"},
}

// mayImport tells whether the package from may import the package to of this module.
func mayImport(from, to string) bool {
	switch floorOf(to) {
	case vocabulary:
		return floorOf(from) != vocabulary || slices.Contains(within[from], to)
	case inner:
		return floorOf(from) >= inner
	case leaf:
		return floorOf(from) >= root
	case root:
		return floorOf(from) == above
	case above:
		return floorOf(from) == above && !strings.HasPrefix(to, "examples/") || sameExample(from, to)
	}
	return false
}

// sameExample tells two packages of one example.
func sameExample(from, to string) bool {
	f, t := strings.SplitN(from, "/", 3), strings.SplitN(to, "/", 3)
	return len(f) > 1 && len(t) > 1 && f[0] == "examples" && t[0] == "examples" && f[1] == t[1]
}

// Module paths of the libraries the design chose; see docs/adr/0006-dependencies.md.
const (
	failsafe      = "github.com/failsafe-go/failsafe-go"
	retryablehttp = "github.com/hashicorp/go-retryablehttp"
	otel          = "go.opentelemetry.io/otel"
	otelMetric    = "go.opentelemetry.io/otel/metric"
	otelTrace     = "go.opentelemetry.io/otel/trace"
	jwx           = "github.com/lestrrat-go/jwx/v2"
	testify       = "github.com/stretchr/testify"
)

// ownLibraries lists the modules a package of the lower floors may import itself.
var ownLibraries = map[string][]string{
	"breaker":        {failsafe},
	"overload":       {failsafe},
	"internal/fetch": {retryablehttp},
	"discovery":      {retryablehttp},
	"authn":          {jwx, retryablehttp},
	"telemetry":      {otel, otelMetric, otelTrace},
}

// libraries lists the modules that dir may import outside its tests. The root and what stands on it see
// OpenTelemetry's types in their options; every other library stays behind its leaf.
func libraries(dir string) []string {
	if floorOf(dir) >= root {
		return []string{otel, otelMetric, otelTrace}
	}
	return ownLibraries[dir]
}

// moduleNamed returns the module that provides the import path imp, or imp if it is of no module named here.
func moduleNamed(imp string) string {
	best := ""
	for _, m := range []string{failsafe, retryablehttp, otel, otelMetric, otelTrace, otel + "/sdk", otel + "/exporters", jwx, testify} {
		if (imp == m || strings.HasPrefix(imp, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	if best == "" {
		return imp
	}
	return best
}

// layerFaults holds every import of the core, tests apart, to the floors. Tests of a package may stand on more, to
// drive it as the root does.
func layerFaults(t *tree) []string {
	var faults []string
	for _, p := range t.core() {
		if floorOf(p.dir) == 0 {
			faults = append(faults, fmt.Sprintf("%s: package has no place in floors: say where it stands", p.dir))
			continue
		}
		for _, f := range p.sources() {
			for _, imp := range f.imports() {
				to, ours := local(imp)
				switch {
				case ours && t.moduleOf(to) != ".":
					faults = append(faults, fmt.Sprintf("%s: the core must not import the nested module of %s", f.path, to))
				case ours && !mayImport(p.dir, to):
					faults = append(faults, fmt.Sprintf("%s: %s must not import %s", f.path, p.dir, to))
				case thirdParty(imp) && !slices.Contains(libraries(p.dir), moduleNamed(imp)):
					faults = append(faults, fmt.Sprintf("%s: %s must not import %s", f.path, p.dir, imp))
				}
			}
		}
	}
	return faults
}

func TestLayers(t *testing.T) { check(t, layerFaults) }

func TestLayersFinds(t *testing.T) {
	importing := func(dir string, imps ...string) map[string]string {
		name := path.Base(dir)
		if dir == "." {
			name = "tulle"
		}
		var src strings.Builder
		src.WriteString("package " + name + "\n")
		for _, imp := range imps {
			src.WriteString("import _ \"" + imp + "\"\n")
		}
		return map[string]string{path.Join(dir, "x.go"): src.String()}
	}
	cases := []struct {
		name, dir string
		imports   []string
		fault     string // "" for none
	}{
		{"vocabulary on std", "endpoint", []string{"net/http"}, ""},
		{"vocabulary on vocabulary", "endpoint", []string{module + "/outcome"}, "endpoint must not import outcome"},
		{"match on identity", "match", []string{module + "/identity"}, ""},
		{"identity on match", "identity", []string{module + "/match"}, "identity must not import match"},
		{"vocabulary on internal", "match", []string{module + "/internal/body"}, "match must not import internal/body"},
		{"leaf on vocabulary and internal", "retry", []string{module + "/outcome", module + "/internal/body"}, ""},
		{"leaf on leaf", "retry", []string{module + "/balancer"}, "retry must not import balancer"},
		{"leaf on root", "retry", []string{module}, "retry must not import ."},
		{"leaf on its library", "breaker", []string{failsafe + "/circuitbreaker"}, ""},
		{"leaf on another's library", "retry", []string{failsafe + "/retrypolicy"}, "retry must not import " + failsafe},
		{"leaf on an unknown library", "breaker", []string{"example.com/x"}, "breaker must not import example.com/x"},
		{"internal on vocabulary", "internal/body", []string{module + "/endpoint"}, ""},
		{"internal on leaf", "internal/body", []string{module + "/retry"}, "internal/body must not import retry"},
		{"root on leaves", ".", []string{module + "/retry", module + "/balancer"}, ""},
		{"root on what stands on it", ".", []string{module + "/gateway"}, ". must not import gateway"},
		{"root on a test library", ".", []string{testify + "/assert"}, ". must not import " + testify},
		{"above on all", "tulletest", []string{module, module + "/retry", module + "/endpoint"}, ""},
		{"above on an example", "tulletest", []string{module + "/examples/bookinfo"}, "tulletest must not import examples"},
		{"example on its own part", "examples/bookinfo", []string{module + "/examples/bookinfo/pages", module}, ""},
		{"unplaced package", "surprise", nil, "surprise: package has no place"},
		{"unplaced import", ".", []string{module + "/surprise"}, ". must not import surprise"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var want []string
			if c.fault != "" {
				want = append(want, c.fault)
			}
			planted(t, layerFaults, importing(c.dir, c.imports...), want...)
		})
	}
	t.Run("nested module", func(t *testing.T) {
		planted(t, layerFaults, map[string]string{
			"discovery/xds/go.mod": "module " + module + "/discovery/xds\n",
			"discovery/xds/xds.go": "package xds\nimport _ \"example.com/x\"\n",
			"discovery/d.go":       "package discovery\nimport _ \"" + module + "/discovery/xds\"\n",
		}, "the core must not import the nested module")
	})
	t.Run("test file", func(t *testing.T) {
		planted(t, layerFaults, map[string]string{
			"retry/x_test.go": "package retry\nimport _ \"" + module + "/balancer\"\n",
		})
	})
}

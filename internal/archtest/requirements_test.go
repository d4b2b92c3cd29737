package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// requirements are the modules the core may require directly, five projects in seven lines, with the versions the
// design was measured against; testify, seen by tests alone, may take patches. One more needs an ADR.
var requirements = map[string]string{
	failsafe:      "v0.9.8",
	retryablehttp: "v0.7.8",
	otel:          "v1.47.0",
	otelMetric:    "v1.47.0",
	otelTrace:     "v1.47.0",
	jwx:           "v2.1.7",
	testify:       "v1.12.",
}

// nestedModules are the directories that hold a module of their own, so that what they require stays out of the
// core's graph; a pattern stands for one path element.
var nestedModules = []string{
	"discovery/xds", "authn/spiffe", "ratelimit/redis", "transcode", "benchmarks", "tools", "internal/e2e/*",
}

// directive is one line of a go.mod, its block's verb put before it.
type directive struct {
	verb     string
	args     []string
	indirect bool
}

// parseGoMod reads the directives of a go.mod as the go command writes it: unquoted, one to a line.
func parseGoMod(src string) []directive {
	var out []directive
	block := ""
	for line := range strings.Lines(src) {
		code, comment, _ := strings.Cut(line, "//")
		fields := strings.Fields(code)
		switch {
		case len(fields) == 0:
		case fields[0] == ")":
			block = ""
		case block == "" && len(fields) == 2 && fields[1] == "(":
			block = fields[0]
		default:
			if block != "" {
				fields = slices.Insert(fields, 0, block)
			}
			out = append(out, directive{fields[0], fields[1:], strings.TrimSpace(comment) == "indirect"})
		}
	}
	return out
}

func requirementFaults(t *tree) []string {
	var faults []string
	report := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, d := range parseGoMod(string(t.texts["go.mod"])) {
		switch d.verb {
		case "module":
			if d.args[0] != module {
				report("go.mod: module %s, want %s", d.args[0], module)
			}
		case "go":
			if d.args[0] != "1.26" && !strings.HasPrefix(d.args[0], "1.26.") {
				report("go.mod: go %s, want 1.26", d.args[0])
			}
		case "require":
			if d.indirect {
				continue
			}
			name, version := d.args[0], d.args[1]
			pinned, ok := requirements[name]
			switch {
			case !ok:
				report("go.mod: %s is none of the libraries of docs/adr/0006-dependencies.md", name)
			case version != pinned && !(strings.HasSuffix(pinned, ".") && strings.HasPrefix(version, pinned)):
				report("go.mod: %s %s, want %s", name, version, pinned)
			}
		case "replace", "tool", "exclude", "toolchain":
			report("go.mod: a %s directive does not reach, or does not suit, those who import the core", d.verb)
		}
	}
	for _, dir := range t.nested {
		faults = append(faults, nestedFaults(t, dir)...)
	}
	return faults
}

// nestedFaults holds a nested module to its place, its sums, and a replace that ties it to the core beside it.
func nestedFaults(t *tree, dir string) []string {
	var faults []string
	if !slices.ContainsFunc(nestedModules, func(pattern string) bool { ok, _ := path.Match(pattern, dir); return ok }) {
		faults = append(faults, fmt.Sprintf("%s/go.mod: no module belongs here", dir))
	}
	directives := parseGoMod(string(t.texts[dir+"/go.mod"]))
	needs := func(verb string, args ...string) bool {
		return slices.ContainsFunc(directives, func(d directive) bool {
			return d.verb == verb && len(d.args) >= len(args) && slices.Equal(d.args[:len(args)], args)
		})
	}
	if !needs("module", module+"/"+dir) {
		faults = append(faults, fmt.Sprintf("%s/go.mod: module is not %s/%s", dir, module, dir))
	}
	up := strings.TrimSuffix(strings.Repeat("../", strings.Count(dir, "/")+1), "/")
	if needs("require", module) && !needs("replace", module, "=>", up) {
		faults = append(faults, fmt.Sprintf("%s/go.mod: no replace %s => %s", dir, module, up))
	}
	foreign := slices.ContainsFunc(directives, func(d directive) bool { return d.verb == "require" && d.args[0] != module })
	if foreign && t.texts[dir+"/go.sum"] == nil {
		faults = append(faults, fmt.Sprintf("%s/go.sum: missing", dir))
	}
	return faults
}

func TestRequirements(t *testing.T) { check(t, requirementFaults) }

func TestRequirementsFinds(t *testing.T) {
	planted(t, requirementFaults, map[string]string{
		"go.mod": `module github.com/tulle-mesh/tulle

go 1.26

require github.com/stretchr/testify v1.12.3

require (
	example.com/x v1.0.0
	github.com/failsafe-go/failsafe-go v0.9.9
	example.com/y v1.0.0 // indirect
	go.opentelemetry.io/otel v1.47.0
)

replace example.com/x => ../x
`,
		"tools/go.mod":          "module " + module + "/tools\n\nrequire example.com/tool v1.0.0 // indirect\n",
		"elsewhere/go.mod":      "module " + module + "/elsewhere\n",
		"internal/e2e/a/go.mod": "module " + module + "/internal/e2e/a\nrequire " + module + " v0.0.0\nreplace " + module + " => ../../..\n",
		"internal/e2e/b/go.mod": "module " + module + "/internal/e2e/c\nrequire " + module + " v0.0.0\nreplace " + module + " => ../..\n",
	},
		"example.com/x is none of the libraries",
		"failsafe-go v0.9.9, want v0.9.8",
		"a replace directive",
		"tools/go.sum: missing",
		"elsewhere/go.mod: no module belongs here",
		"internal/e2e/b/go.mod: module is not",
		"internal/e2e/b/go.mod: no replace "+module+" => ../../..",
	)
}

package archtest

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert/yaml"
)

// fence is a block of code in a Markdown text.
type fence struct {
	language, code string
	line           int
}

func fences(text string) []fence {
	var out []fence
	var open *fence
	n := 0
	for line := range strings.Lines(text) {
		n++
		marker, found := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "```")
		switch {
		case found && open == nil:
			open = &fence{language: marker, line: n}
		case found && marker == "":
			out, open = append(out, *open), nil
		case open != nil:
			open.code += line
		}
	}
	return out
}

// guides returns the Markdown texts that tell users what to do.
func (t *tree) guides() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(t.texts)), func(name string) bool {
		return name != "README.md" && (path.Dir(name) != "docs" || path.Ext(name) != ".md")
	})
}

// snippetFaults finds Go in a guide that stands in no Go file, and so is neither compiled nor run.
func snippetFaults(t *tree) []string {
	var faults []string
	for _, name := range t.guides() {
		for _, f := range fences(string(t.texts[name])) {
			if f.language == "go" && !t.compiles(f.code) {
				faults = append(faults, fmt.Sprintf("%s:%d: stands in no Go file, or not like this", name, f.line))
			}
		}
	}
	return faults
}

// compiles reports whether code stands in a Go file, whole lines of it, with one indentation.
func (t *tree) compiles(code string) bool {
	for range 4 {
		for name, text := range t.texts {
			if path.Ext(name) == ".go" && strings.Contains("\n"+string(text), "\n"+code) {
				return true
			}
		}
		var deeper strings.Builder
		for line := range strings.Lines(code) {
			if line != "\n" {
				deeper.WriteByte('\t')
			}
			deeper.WriteString(line)
		}
		code = deeper.String()
	}
	return false
}

// yamlFaults finds YAML in a guide that does not parse or is no object of Kubernetes.
func yamlFaults(t *tree) []string {
	var faults []string
	for _, name := range t.guides() {
		for _, f := range fences(string(t.texts[name])) {
			if f.language != "yaml" {
				continue
			}
			for i, doc := range strings.Split(f.code, "\n---\n") {
				var object map[string]any
				switch err := yaml.Unmarshal([]byte(doc), &object); {
				case err != nil:
					faults = append(faults, fmt.Sprintf("%s:%d: document %d: %v", name, f.line, i, err))
				case object["apiVersion"] == nil || object["kind"] == nil || object["metadata"] == nil || object["spec"] == nil:
					faults = append(faults, fmt.Sprintf("%s:%d: document %d: apiVersion, kind, metadata or spec is missing", name, f.line, i))
				}
			}
		}
	}
	return faults
}

// guideLinkFaults finds links of a guide to files that are not there.
func guideLinkFaults(t *tree) []string {
	link := regexp.MustCompile(`\]\(([^)#: ]+)(#[^)]*)?\)`)
	var faults []string
	for _, name := range t.guides() {
		for _, m := range link.FindAllStringSubmatch(string(t.texts[name]), -1) {
			to := path.Join(path.Dir(name), m[1])
			known := func(text string) bool { return text == to || strings.HasPrefix(text, to+"/") }
			if !slices.ContainsFunc(slices.Collect(maps.Keys(t.texts)), known) {
				faults = append(faults, fmt.Sprintf("%s: %s is not there", name, m[1]))
			}
		}
	}
	return faults
}

// foreign are types of net/http that guides name without their package.
var foreign = []string{"Client", "Request", "Response", "Server", "Transport", "URL"}

// nameFaults finds names of our own in the code spans of a guide that are not exported: pkg.Name, pkg.Type.Member,
// Type.Member and longer paths of the root's fields, of which the first two names are looked up.
func nameFaults(t *tree) []string {
	exported := map[string]string{}
	for _, p := range t.public() {
		exported[p.name()] = strings.Join(api(p), "\n")
	}
	span := regexp.MustCompile("`([a-z][a-z0-9]*\\.)?([A-Z][A-Za-z0-9]*)((?:\\.[A-Z][A-Za-z0-9]*)*)")
	var faults []string
	for _, name := range t.guides() {
		for _, m := range span.FindAllStringSubmatch(prose(string(t.texts[name])), -1) {
			pkg := strings.TrimSuffix(m[1], ".")
			if pkg == "" {
				pkg = "tulle"
			}
			member, _, _ := strings.Cut(strings.TrimPrefix(m[3], "."), ".")
			lines, ours := exported[pkg]
			if !ours || m[1] == "" && (member == "" || slices.Contains(foreign, m[2])) {
				continue
			}
			if !exports(lines, m[2], member) {
				faults = append(faults, fmt.Sprintf("%s: %s is not exported", name, strings.TrimPrefix(m[0], "`")))
			}
		}
	}
	return faults
}

// prose is a text without its blocks of code.
func prose(text string) string {
	var b strings.Builder
	for i, part := range strings.Split("\n"+text, "\n```") {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

// exports reports whether the lines of a rendered API have a name, and a field or method of it unless that is empty.
func exports(lines, name, member string) bool {
	if member == "" {
		return regexp.MustCompile(`(?m)^(?:const|func|type|var) ` + name + `\b`).MatchString(lines)
	}
	return regexp.MustCompile(`(?m)^type ` + name + `: (?:field (?:embeds )?|(?:interface )?method (?:\([^)]*\) )?)` + member + `\b`).MatchString(lines)
}

func TestProseSnippets(t *testing.T) { check(t, snippetFaults) }

func TestProseYAML(t *testing.T) { check(t, yamlFaults) }

func TestProseLinks(t *testing.T) { check(t, guideLinkFaults) }

func TestProseNames(t *testing.T) { check(t, nameFaults) }

func TestProseFinds(t *testing.T) {
	const block = "```go\nx := 1\n\nfmt.Println(x)\n```\n"
	planted(t, snippetFaults, map[string]string{
		"README.md":         block,
		"docs/a.md":         "```go\nx := 2\n```\n```sh\nx := 3\n```\n",
		"docs/adr/a.md":     "```go\nx := 4\n```\n",
		"p/example_test.go": "package p\n\nfunc Example() {\n\tx := 1\n\n\tfmt.Println(x)\n}\n",
	}, "docs/a.md:1: stands in no Go file")
	planted(t, yamlFaults, map[string]string{
		"docs/a.md": "```yaml\napiVersion: v1\nkind: Service\nmetadata: {}\nspec: {}\n---\nkind: Service\n```\n```yaml\na: [\n```\n",
	}, "docs/a.md:1: document 1: apiVersion", "docs/a.md:9: document 0: yaml")
	planted(t, guideLinkFaults, map[string]string{
		"docs/a.md": "[a](a.md#x) [b](../p/) [c](b.md) [d](https://example.com/b.md)\n",
		"p/p.go":    "package p\n",
	}, "docs/a.md: b.md is not there")
	planted(t, nameFaults, map[string]string{
		"mesh.go": "package tulle\ntype Config struct{ Zone string }\nfunc New() *Mesh { return nil }\n" +
			"type Mesh struct{}\nfunc (*Mesh) Serve() error { return nil }\n",
		"retry/policy.go": "package retry\ntype Policy struct{ On []int }\n",
		"docs/a.md": "`Config.Zone`, `Mesh.Serve(ctx)`, `tulle.New`, `URL.Host`, `retry.Policy.On`, `http.Nothing`\n```go\n`tulle.Gone`\n```\n" +
			"`Config.Zones`, `tulle.Old(x)`, `retry.Policy.Off`\n",
	}, "Config.Zones is not exported", "tulle.Old is not exported", "retry.Policy.Off is not exported")
}

package match_test

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/match"
)

func TestValidate(t *testing.T) {
	faulty := match.Request{
		Hosts:   []string{"ok", "*", "OK."},
		Path:    match.Path{Exact: "v1", Prefix: "/a/../b", Regex: "("},
		Methods: []string{"GET", "", "a b", "GET"},
		Headers: []match.Value{
			{Name: "x"}, {Exact: "v"}, {Name: "a:b"}, {Name: "hOst"}, {Name: "y", Exact: "a", Prefix: "b"}, {Name: "z", Regex: "["},
		},
		Query:      []match.Value{{Name: "x"}, {Regex: strings.Repeat("a", match.MaxRegex+1)}},
		Principals: []string{"", "p", "p"},
	}
	want := []string{
		"path: at most one of", "path.exact: ", "path.prefix: ", "path.regex: ",
		"hosts[1]: ", "hosts[2]: ", "methods[1]: ", "methods[2]: ", "methods[3]: ",
		"headers[1].name: ", "headers[2].name: ", "headers[3].name: ", "headers[4]: at most one of", "headers[5].regex: ",
		"query[1].name: ", "query[1].regex: ", "principals[0]: ", "principals[2]: ",
	}
	err := faulty.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	lines := strings.Split(err.Error(), "\n")
	for i := range max(len(lines), len(want)) {
		if i >= len(lines) || i >= len(want) || !strings.HasPrefix(lines[i], want[i]) {
			t.Fatalf("fault %d of\n%s\ndoes not begin with %q", i, err, want[min(i, len(want)-1)])
		}
	}
	if m, err := match.Compile(faulty); m != nil || err == nil {
		t.Error("a faulty match compiles")
	}
	if err := (match.Request{}).Validate(); err != nil {
		t.Errorf("the zero Request: %v", err)
	}
}

func TestValidatePath(t *testing.T) {
	for _, path := range []string{
		"a", "//", "/a//b", "/.", "/a/./b", "/a/..", "/%2e%2e/a", "/100%", "/a%zz", "/a?b=c", "/a#b", "*", "http://h/a",
	} {
		for _, p := range []match.Path{{Exact: path}, {Prefix: path}} {
			if err := (match.Request{Path: p}).Validate(); err == nil {
				t.Errorf("%+v is let through", p)
			}
		}
	}
	for path, want := range map[string]string{
		"/": "/", "/a": "/a", "/a/": "/a", "/caf%c3%a9": "/café", "/a b%2f%25%3F": "/a b%2F%25?", "/...": "/...",
	} {
		p, err := match.Path{Prefix: path}.Canonical()
		if err != nil || p.Prefix != want {
			t.Errorf("%q: %q, %v; want %q", path, p.Prefix, err, want)
		}
	}
}

// TestCompileKeepsNothing changes a Request after it was compiled.
func TestCompileKeepsNothing(t *testing.T) {
	m := match.Request{
		Hosts: []string{"h"}, Methods: []string{"GET"},
		Headers: []match.Value{{Name: "a"}}, Query: []match.Value{{Name: "q"}},
	}
	matcher := compile(t, m)
	m.Hosts[0], m.Methods[0], m.Headers[0].Name, m.Query[0].Name = "x", "X", "X", "x"
	if !matcher.Matches(outbound(t, "GET", "http://h/?q", "A", "")) {
		t.Error("the matcher changed with what it was made of")
	}
	if m.Headers[0].Name != "X" {
		t.Error("compiling changed the Request")
	}
}

package match_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/tulle-mesh/tulle/match"
)

// FuzzQuery compares the scan of a query with net/url's parser.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"", "a", "a=", "a=x", "a=y&a=x", "b=1&a=%78", "a=1;b=2", "a;b&a=x", "a=%zz&a=x", "%zz=1&a", "a=%", "a=%2",
		"a+b=x+y", "%61=%2B", "&&a=x&", "=x", "a==x", "a=x%00",
	} {
		f.Add(query, "a", "x")
		f.Add(query, "a b", "x y")
	}
	f.Fuzz(func(t *testing.T, query, name, want string) {
		if name == "" {
			return
		}
		r := &http.Request{URL: &url.URL{RawQuery: query}}
		values, _ := url.ParseQuery(query)
		for _, v := range []match.Value{
			{Name: name},
			{Name: name, Exact: want},
			{Name: name, Prefix: want},
			{Name: name, Not: true},
			{Name: name, Exact: want, Not: true},
			{Name: name, Regex: "(?i)[a-x ]*"},
		} {
			got := compile(t, match.Request{Query: []match.Value{v}}).Matches(r)
			if want := valueNaively(v, values.Get(name), values.Has(name)) != v.Not; got != want {
				t.Fatalf("%+v on %q: %t, want %t", v, query, got, want)
			}
		}
		hash, ok := match.Key{Query: name}.Hash(r)
		if ok != (values.Get(name) != "") {
			t.Fatalf("%q has no value of %q: %t", query, name, !ok)
		}
		plain := &http.Request{URL: &url.URL{RawQuery: url.Values{name: values[name]}.Encode()}}
		if again, _ := (match.Key{Query: name}).Hash(plain); again != hash {
			t.Fatalf("the hash of %q depends on how the query is written: %q", name, query)
		}
	})
}

// FuzzHeader compares the scan of several fields with one that joins them.
func FuzzHeader(f *testing.F) {
	for _, seed := range [][4]string{
		{"x", "y", "", "x,y"}, {"", "", "", ","}, {"x,y", "", "", "x"}, {"x", "y", "z", "x,y,"}, {"", "x", "", ",x"}, {"a", "b", "c", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], uint8(3))
	}
	f.Fuzz(func(t *testing.T, a, b, c, want string, n uint8) {
		fields := []string{a, b, c}[:n%4]
		r := &http.Request{URL: &url.URL{}, Header: http.Header{"X-Name": fields}}
		for _, v := range []match.Value{
			{Name: "x-name"},
			{Name: "x-name", Exact: want},
			{Name: "x-name", Prefix: want},
			{Name: "x-name", Exact: want, Not: true},
			{Name: "x-name", Regex: "[a-x,]*"},
		} {
			m := match.Request{Headers: []match.Value{v}}
			if got := compile(t, m).Matches(r); got != matchesNaively(m, r) {
				t.Fatalf("%+v on %q: %t", v, fields, got)
			}
		}
	})
}

// FuzzRegex: an expression matches the whole text or not at all.
func FuzzRegex(f *testing.F) {
	for _, expr := range []string{"a", "a|b", "a)|(b", `\Qa`, `\Qa\E`, `\Q)`, "(?i)a", "^a$", `\Aa\z`, "a*?", "(?U)a+", "[", "(?m)^a$", `a\`} {
		f.Add(expr, "a")
		f.Add(expr, "ab\n")
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		if expr == "" {
			return
		}
		v := match.Value{Name: "a", Regex: expr}
		m, err := match.Compile(match.Request{Headers: []match.Value{v}})
		if err != nil {
			return
		}
		r := &http.Request{URL: &url.URL{}, Header: http.Header{"A": {text}}}
		if got := m.Matches(r); got != regexNaively(expr, text) {
			t.Fatalf("%q on %q: %t", expr, text, got)
		}
	})
}

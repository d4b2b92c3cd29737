package tulle

import (
	"maps"
	"reflect"
	"slices"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/routing"
)

// deepCopy returns a copy of plain data: structs, pointers, slices and maps
// are copied as deep as they go. What has fields of its own that nobody else
// sees is a value and copied as it is; so are functions and what is plugged in
// behind an interface.
func deepCopy[T any](v T) T {
	var out T
	copyInto(reflect.ValueOf(&out).Elem(), reflect.ValueOf(&v).Elem())
	return out
}

func copyInto(dst, src reflect.Value) {
	dst.Set(src)
	switch src.Kind() {
	case reflect.Pointer:
		if !src.IsNil() && plain(src.Type().Elem()) {
			p := reflect.New(src.Type().Elem())
			copyInto(p.Elem(), src.Elem())
			dst.Set(p)
		}
	case reflect.Slice:
		if !src.IsNil() {
			dst.Set(reflect.MakeSlice(src.Type(), src.Len(), src.Len()))
			for i := range src.Len() {
				copyInto(dst.Index(i), src.Index(i))
			}
		}
	case reflect.Map:
		if !src.IsNil() {
			dst.Set(reflect.MakeMapWithSize(src.Type(), src.Len()))
			for it := src.MapRange(); it.Next(); {
				v := reflect.New(src.Type().Elem()).Elem()
				copyInto(v, it.Value())
				dst.SetMapIndex(it.Key(), v)
			}
		}
	case reflect.Struct:
		if plain(src.Type()) {
			for i := range src.NumField() {
				copyInto(dst.Field(i), src.Field(i))
			}
		}
	}
}

// plain reports whether all fields of a struct are exported; other types are
// plain.
func plain(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return true
	}
	for field := range t.Fields() {
		if !field.IsExported() {
			return false
		}
	}
	return true
}

// equalData reports whether plain data is equal. What is plugged in behind an
// interface is the same or not; it lives, and is not looked into.
func equalData(a, b any) bool { return sameValue(reflect.ValueOf(a), reflect.ValueOf(b)) }

func sameValue(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() || !plain(a.Type().Elem()) {
			return a.Equal(b)
		}
		return sameValue(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !sameValue(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for it := a.MapRange(); it.Next(); {
			if v := b.MapIndex(it.Key()); !v.IsValid() || !sameValue(it.Value(), v) {
				return false
			}
		}
		return true
	case reflect.Struct:
		if !plain(a.Type()) {
			break
		}
		for i := range a.NumField() {
			if !sameValue(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	}
	return a.Comparable() && b.Comparable() && a.Equal(b)
}

// clone copies what a caller could still change.
func (c Config) clone() Config {
	policies := policyClones{}
	c.Services = slices.Clone(c.Services)
	for i := range c.Services {
		s := &c.Services[i]
		s.Hosts = slices.Clone(s.Hosts)
		s.Subsets = slices.Clone(s.Subsets)
		for j := range s.Subsets {
			s.Subsets[j].Labels = maps.Clone(s.Subsets[j].Labels)
		}
		if s.TLS != nil {
			t := *s.TLS
			t.Certificates = slices.Clone(t.Certificates)
			if t.RootCAs != nil {
				t.RootCAs = t.RootCAs.Clone()
			}
			s.TLS = &t
		}
		s.Key = clonePtr(s.Key)
		s.Spread.ZoneWeights = slices.Clone(s.Spread.ZoneWeights)
		s.Policies = policies.of(s.Policies)
	}
	c.Routes = slices.Clone(c.Routes)
	for i := range c.Routes {
		r := &c.Routes[i]
		r.Match = cloneMatches(r.Match)
		r.Split, r.Mirrors = slices.Clone(r.Split), slices.Clone(r.Mirrors)
		r.Sticky = clonePtr(r.Sticky)
		r.Filters = cloneFilters(r.Filters)
		r.Policies = policies.of(r.Policies)
	}
	c.Policies = policies.of(c.Policies)
	c.Inbound = deepCopy(c.Inbound)
	c.RefuseUnknownHosts = clonePtr(c.RefuseUnknownHosts)
	return c
}

func cloneFilters(f routing.Filters) routing.Filters {
	for _, e := range []*routing.HeaderEdit{&f.Request, &f.Response} {
		e.Set, e.Add, e.Remove = slices.Clone(e.Set), slices.Clone(e.Add), slices.Clone(e.Remove)
	}
	f.Rewrite, f.Redirect = clonePtr(f.Rewrite), clonePtr(f.Redirect)
	if f.Direct = clonePtr(f.Direct); f.Direct != nil {
		f.Direct.Header = slices.Clone(f.Direct.Header)
	}
	return f
}

func cloneMatches(matches []match.Request) []match.Request {
	matches = slices.Clone(matches)
	for i := range matches {
		m := &matches[i]
		m.Hosts, m.Methods, m.Principals = slices.Clone(m.Hosts), slices.Clone(m.Methods), slices.Clone(m.Principals)
		m.Headers, m.Query = slices.Clone(m.Headers), slices.Clone(m.Query)
	}
	return matches
}

func clonePtr[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

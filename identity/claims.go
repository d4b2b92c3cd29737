package identity

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Claims are what a verified token says of its subject: the members of a JSON
// object, decoded as encoding/json decodes them into any. Numbers may be of
// type json.Number, so that long ones stay exact.
//
// Claims are shared by everyone who reads them and must not be changed.
type Claims map[string]any

// Strings returns the values of the claim called name: of a string that
// string, of an array its strings, and of "scope" and "scp" the words of them,
// as RFC 8693 and others write lists of scopes. Numbers and booleans count as
// their JSON text, so that {"email_verified": true} has the value "true";
// null, objects, and what is nested in an array have no value.
//
// A name that no claim has is tried with its dots as steps into objects:
// "realm_access.roles" are the roles in realm_access. At each step the whole
// rest of the name comes first, so names that contain dots, such as
// "https://example.com/roles", are found as they are.
//
// The result may share memory with c and must not be changed. It is nil if
// there is no such claim.
func (c Claims) Strings(name string) []string {
	v, ok := find(c, name)
	if !ok {
		return nil
	}
	switch v := v.(type) {
	case []string:
		if !scopes(name) {
			return slices.Clip(v)
		}
		var out []string
		for _, s := range v {
			out = append(out, strings.Fields(s)...)
		}
		return out
	case []any:
		out := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := text(e)
			switch {
			case ok && scopes(name):
				out = append(out, strings.Fields(s)...)
			case ok:
				out = append(out, s)
			}
		}
		return out
	}
	s, ok := text(v)
	switch {
	case !ok:
		return nil
	case scopes(name):
		return strings.Fields(s)
	}
	return []string{s}
}

// Has reports whether one of c.Strings(name) is among values, or, without
// values, whether there is any. It does not allocate, except to write numbers
// of type float64.
func (c Claims) Has(name string, values ...string) bool {
	v, ok := find(c, name)
	if !ok {
		return false
	}
	switch v := v.(type) {
	case []string:
		for _, s := range v {
			if among(name, s, values) {
				return true
			}
		}
		return false
	case []any:
		for _, e := range v {
			if s, ok := text(e); ok && among(name, s, values) {
				return true
			}
		}
		return false
	}
	s, ok := text(v)
	return ok && among(name, s, values)
}

// among reports whether s, or a word of it if the claim holds words, is one of
// values, or whether there is such a thing if there are no values.
func among(name, s string, values []string) bool {
	if !scopes(name) {
		return len(values) == 0 || slices.Contains(values, s)
	}
	for word := range strings.FieldsSeq(s) {
		if len(values) == 0 || slices.Contains(values, word) {
			return true
		}
	}
	return false
}

// scopes tells the claims whose strings are lists of words.
func scopes(name string) bool { return name == "scope" || name == "scp" }

// find looks a name up in an object and, by its dots, in the objects within.
// No object is looked into twice, so its cost is bounded by the claims.
func find(object map[string]any, name string) (any, bool) {
	if v, ok := object[name]; ok {
		return v, true
	}
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		within, ok := object[name[:i]].(map[string]any)
		if !ok {
			continue
		}
		if v, ok := find(within, name[i+1:]); ok {
			return v, true
		}
	}
	return nil, false
}

func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

type claimsKey struct{}

// WithClaims returns a copy of ctx that carries c. Nil Claims hide those that
// ctx carried before.
func WithClaims(ctx context.Context, c Claims) context.Context {
	return context.WithValue(ctx, claimsKey{}, c)
}

// ClaimsFrom returns the claims ctx carries and whether there are any.
func ClaimsFrom(ctx context.Context) (Claims, bool) {
	c, _ := ctx.Value(claimsKey{}).(Claims)
	return c, c != nil
}

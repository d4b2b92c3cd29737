package authz

import (
	"slices"
	"strings"
)

func (c *condition) judge(f *facts) verdict {
	if c.Claim != "" {
		return c.judgeClaim(f)
	}
	fields := f.header[c.Header]
	v := yes
	if c.values.given() {
		v = judgeFields(&c.values, fields)
	}
	if c.notValues.given() {
		// All fields of a request are there, so that none is surely none.
		v = min(v, judgeFields(&c.notValues, fields).not())
	}
	return v
}

func (c *condition) judgeClaim(f *facts) verdict {
	v := yes
	if c.values.given() {
		v = surely(f.claims.Has(c.Claim, c.values.list...))
	}
	if v != no && c.notValues.given() {
		v = min(v, excludes(f.claims.Has(c.Claim), f.claims.Has(c.Claim, c.notValues.list...)))
	}
	return v
}

// judgeFields judges whether the fields of one name have a value of n. Handlers
// take the first of several fields, the last, each, or all joined to one list:
// only where these agree is there an answer.
func judgeFields(n *names, fields []string) verdict {
	switch {
	case len(fields) == 0:
		return no
	case n.any:
		return yes
	}
	listed, strange := false, false
	for _, field := range fields {
		if n.has(field) {
			listed = true
			continue
		}
		strange = true
		for element := range strings.SplitSeq(field, ",") {
			listed = listed || n.has(strings.Trim(element, " \t"))
		}
	}
	switch {
	case listed && !strange && len(fields) == 1:
		return yes
	case listed, len(fields) > 1 && n.hasJoined(fields):
		return doubt
	}
	return no
}

// hasJoined reports whether n has the fields joined with "," or ", ".
func (n *names) hasJoined(fields []string) bool {
	return n.commas && slices.ContainsFunc(n.list, func(s string) bool {
		return isJoined(s, fields, ",") || isJoined(s, fields, ", ")
	})
}

// isJoined reports whether s is the fields joined with separator.
func isJoined(s string, fields []string, separator string) bool {
	for i, field := range fields {
		ok := true
		if i > 0 {
			s, ok = strings.CutPrefix(s, separator)
		}
		if ok {
			s, ok = strings.CutPrefix(s, field)
		}
		if !ok {
			return false
		}
	}
	return s == ""
}

package authz

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// key is the same for rules without fault that have the same action and match
// the same requests because their lists hold the same, in whatever order.
func (r Rule) key() string {
	r = r.effective()
	r.Name = ""
	for i := range r.From {
		s := &r.From[i]
		slices.Sort(s.Principals)
		slices.Sort(s.NotPrincipals)
		slices.Sort(s.Issuers)
		slices.SortFunc(s.Networks, netip.Prefix.Compare)
		slices.SortFunc(s.NotNetworks, netip.Prefix.Compare)
	}
	for i := range r.To {
		o := &r.To[i]
		slices.Sort(o.Methods)
		slices.Sort(o.NotMethods)
		slices.Sort(o.Hosts)
		slices.Sort(o.NotHosts)
		slices.SortFunc(o.Paths, comparePaths)
		slices.SortFunc(o.NotPaths, comparePaths)
	}
	for i := range r.When {
		slices.Sort(r.When[i].Values)
		slices.Sort(r.When[i].NotValues)
	}
	return fmt.Sprintf("%v %q %q %q", r.Action, texts(r.From), texts(r.To), texts(r.When))
}

func comparePaths(a, b Path) int {
	if c := strings.Compare(a.Exact, b.Exact); c != 0 {
		return c
	}
	return strings.Compare(a.Prefix, b.Prefix)
}

// texts returns each element as text, in order and once.
func texts[T any](list []T) []string {
	var out []string
	for _, v := range list {
		out = append(out, fmt.Sprintf("%q", any(v))) // quotes each text within
	}
	slices.Sort(out)
	return slices.Compact(out)
}

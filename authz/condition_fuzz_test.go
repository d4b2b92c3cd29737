package authz

import (
	"slices"
	"strings"
	"testing"
)

// FuzzFields: a header that any reader takes for listed is not surely unlisted,
// and one that any reader takes for something else is not surely listed.
func FuzzFields(f *testing.F) {
	f.Add("a\nb", "a")
	f.Add("a,b", "b")
	f.Add("a", "a,b\na")
	f.Add("a, b", "a\nb")
	f.Add("", "\n")
	f.Add(", ", "\n")
	f.Add("a", " a\t")
	f.Add(",", ",,\n")
	f.Fuzz(func(t *testing.T, listed, sent string) {
		list, fields := strings.Split(listed, "\n"), strings.Split(sent, "\n")
		if slices.Contains(list, "*") || len(list) > 64 || len(fields) > 64 {
			return
		}
		n := newNames(list)
		got := judgeFields(&n, fields)
		readers := []string{fields[0], fields[len(fields)-1], strings.Join(fields, ","), strings.Join(fields, ", ")}
		readers = append(readers, fields...)
		elements := strings.Split(strings.Join(fields, ","), ",")
		if !(len(fields) == 1 && n.has(fields[0])) { // said as a whole, it is meant as a whole
			for _, e := range elements {
				readers = append(readers, strings.Trim(e, " \t"))
			}
		}
		for _, value := range readers {
			if slices.Contains(list, value) && got == no {
				t.Fatalf("%q is listed in %q and surely not", value, list)
			}
			// Both ways of joining are one way for one field.
			if !slices.Contains(list, value) && got == yes {
				t.Fatalf("%q is not listed in %q and surely is", value, list)
			}
		}
		if got == doubt && len(fields) == 1 && !strings.Contains(sent, ",") && strings.Trim(sent, " \t") == sent {
			t.Fatalf("%q alone in %q is in doubt", sent, list)
		}
	})
}

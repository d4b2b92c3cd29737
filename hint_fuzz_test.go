package tulle

import (
	"strings"
	"testing"
)

// Whatever a caller tells, the time is within bounds; what cannot be read says
// nothing; and members that are not known change nothing, wherever they are.
func FuzzHintedDeadline(f *testing.F) {
	for _, seed := range []string{
		"", "d=850", "d=850, a=2", "d=0", "d=-1", "d=1.5", `x="a, d=1", d=2`, `x="\\", d=2`, "d;x", "d=1,", ",", "=", `"`, `x="\`,
		"d=999999999999999", "d=1000000000000000", "*=1, d=3;q", "x=(a b), d=1", "d=1\r\nd=2", strings.Repeat("d=1,", 1000) + "d=2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		left, told, ok := hintedDeadline([]string{value})
		switch {
		case !ok && (told || left != 0):
			t.Fatalf("%q cannot be read, and tells %v", value, left)
		case !told && left != 0:
			t.Fatalf("%q does not tell, and tells %v", value, left)
		case left < 0 || left > maxHinted:
			t.Fatalf("%q tells %v", value, left)
		}
		if !ok || strings.Trim(value, " ") == "" {
			return
		}
		for _, more := range [][]string{
			{`x="a, \"d=1", ` + value}, {`x="a, \"d=1"`, value}, {value, "later;q=1"},
		} {
			if l, to, o := hintedDeadline(more); l != left || to != told || !o {
				t.Fatalf("%q tells %v, %v, %v; %q tells %v, %v", more, l, to, o, value, left, told)
			}
		}
	})
}

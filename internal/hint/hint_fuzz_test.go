package hint_test

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/internal/hint"
)

// Whatever a caller tells, the figures are within bounds; what cannot be read
// says nothing; and members that are not known change nothing, wherever they
// are.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "d=850", "d=850, a=2", "d=0", "d=-1", "d=1.5", `x="a, d=1", d=2`, `x="\\", d=2`, "d;x", "d=1,", ",", "=", `"`, `x="\`,
		"d=999999999999999", "d=1000000000000000", "*=1, d=3;q", "x=(a b), d=1", "d=1\r\nd=2", strings.Repeat("d=1,", 1000) + "d=2",
		"r=5", "d=850, r=5", "r=0", "r=-1", "r=1, r=2", "r=999999999999999", `x="r=1", r=2`, "r", "r=5;d=7", "d=1, r=(",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		h, ok := hint.Read([]string{value})
		switch {
		case !ok && h != hint.Hints{}:
			t.Fatalf("%q cannot be read, and tells %v", value, h)
		case !h.Told && h.Left != 0:
			t.Fatalf("%q does not tell, and tells %v", value, h.Left)
		case h.Left < 0 || h.Left > hint.MostLeft || h.Room < 0 || h.Room > hint.MostRoom:
			t.Fatalf("%q tells %v", value, h)
		}
		if !ok || strings.Trim(value, " ") == "" {
			return
		}
		for _, more := range [][]string{
			{`x="a, \"d=1, r=1", ` + value}, {`x="a, \"d=1, r=1"`, value}, {value, "later;q=1"},
		} {
			if other, o := hint.Read(more); other != h || !o {
				t.Fatalf("%q tells %v, %v; %q tells %v", more, other, o, value, h)
			}
		}
		// What a member says does not depend on another.
		if other, o := hint.Read([]string{value, "r=3"}); !o || other.Room != 3 || other.Left != h.Left || other.Told != h.Told {
			t.Fatalf("%q and r=3 tell %v, %v", value, other, o)
		}
	})
}

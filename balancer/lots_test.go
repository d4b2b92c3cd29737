package balancer

import (
	"math/rand/v2"
	"testing"
)

// Two lots are those that are drawn one after the other, of chance as much as
// of members: what a pick draws next is the same as well.
func TestTwoLotsAreOneAndAnother(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var same int
	for range 20_000 {
		ms := make([]member, 2+rnd.IntN(9))
		for i := range ms {
			ms[i].weight = 1 + rnd.Uint32N(1+3*rnd.Uint32N(2))
		}
		l := newLots(ms)
		one := random{rnd.Uint64()}
		two := one
		a, drawn := l.another(&one, nil)
		if r := one; l.draw(&r) == a {
			same++
		}
		b, _ := l.another(&one, drawn)
		if i, j := l.two(&two); i != a || j != b || two != one {
			t.Fatalf("%v: %d and %d, not %d and %d", ms, i, j, a, b)
		}
	}
	if same == 0 {
		t.Fatal("never drew the same twice")
	}
}

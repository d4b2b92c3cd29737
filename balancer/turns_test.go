package balancer

import (
	"math"
	"slices"
	"testing"
)

func TestTurnsTakeLittleMemory(t *testing.T) {
	for _, c := range []struct {
		weights []uint32
		turns   int
	}{
		{[]uint32{1}, 0},
		{[]uint32{9, 9, 9}, 0},
		{[]uint32{2, 1}, 3},
		{[]uint32{2_000_000, 1_000_000}, 3}, // lowest terms
		{[]uint32{65535, 1}, 1 << 16},
		{slices.Repeat([]uint32{1, 2}, 5000), 15000},
	} {
		if got := len(turns(c.weights)); got != c.turns {
			t.Errorf("%.20v: %d turns, want %d", c.weights, got, c.turns)
		}
	}
	huge := make([]uint32, 10000)
	for i := range huge {
		huge[i] = math.MaxUint32 - uint32(i)*1000
	}
	// Each share is rounded by half a turn at most, or raised to one.
	if got := len(turns(huge)); got > 8*len(huge)+len(huge)/2 {
		t.Errorf("%d turns for %d endpoints", got, len(huge))
	}
}

package tulle

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestHintedDeadline(t *testing.T) {
	ms := time.Millisecond
	for _, row := range []struct {
		values []string
		left   time.Duration
		told   bool
		ok     bool
	}{
		{nil, 0, false, true},
		{[]string{""}, 0, false, true},
		{[]string{"  "}, 0, false, true},
		{[]string{"d=850"}, 850 * ms, true, true},
		{[]string{" d=850 "}, 850 * ms, true, true},
		{[]string{"d=850;x=y"}, 850 * ms, true, true},
		{[]string{"a=2, d=850"}, 850 * ms, true, true},
		{[]string{"a=2,\td=850\t, m"}, 850 * ms, true, true},
		{[]string{"a=2", "d=850"}, 850 * ms, true, true},
		{[]string{"d=9", "d=850"}, 850 * ms, true, true}, // the last counts
		{[]string{"d=0"}, 0, true, true},
		{[]string{"d=-5"}, 0, true, true},
		{[]string{"d=999999999999999"}, maxHinted, true, true},
		{[]string{`x="a, d=1", d=2`}, 2 * ms, true, true},
		{[]string{`x="a\", d=1", d=2`}, 2 * ms, true, true},
		{[]string{`x="a\\", d=2`}, 2 * ms, true, true},
		{[]string{`x="a\\", y="d=1", d=2`}, 2 * ms, true, true},
		{[]string{"*x=1, d-d=3, dd=4"}, 0, false, true},
		{[]string{"x=(a b);q, d=2"}, 2 * ms, true, true},
		{[]string{"d"}, 0, false, false},
		{[]string{"d=850 ;x"}, 0, false, false},
		{[]string{"d=850,"}, 0, false, false},
		{[]string{"d=850", "d=("}, 0, false, false}, // all of it is void
		{[]string{"D=850"}, 0, false, false},
		{[]string{"d=+1"}, 0, false, false},
		{[]string{"d=--1"}, 0, false, false},
		{[]string{"d=-"}, 0, false, false},
		{[]string{"d=0x10"}, 0, false, false},
		{[]string{"d=1_0"}, 0, false, false},
		{[]string{"d=1000000000000000"}, 0, false, false},
		{[]string{"d=99999999999999999999999999"}, 0, false, false},
		{[]string{"d=850\r\nX: y"}, 0, false, false},
	} {
		left, told, ok := hintedDeadline(row.values)
		assert.Equal(t, row.ok, ok, "%q", row.values)
		assert.Equal(t, row.told, told, "%q", row.values)
		assert.Equal(t, row.left, left, "%q", row.values)
	}
}

// What we write we read.
func TestHintsAreRead(t *testing.T) {
	now := time.Now()
	for _, left := range []time.Duration{-time.Hour, 0, time.Millisecond, 850 * time.Millisecond, time.Hour} {
		for n := 1; n < 3; n++ {
			for _, mirrored := range []bool{false, true} {
				ctx, cancel := context.WithDeadline(t.Context(), now.Add(left))
				got, told, ok := hintedDeadline([]string{hintOf(ctx, n, mirrored, now)})
				cancel()
				assert.True(t, told && ok)
				assert.Equal(t, max(0, left), got)
			}
		}
	}
	assert.Empty(t, hintOf(t.Context(), 1, false, now))
}

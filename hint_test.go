package tulle

import (
	"context"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/internal/hint"
)

// What we write we read.
func TestHintsAreRead(t *testing.T) {
	now := time.Now()
	read := func(value string) hint.Hints {
		h, ok := hint.Read([]string{value})
		assert.True(t, ok, "%q", value)
		return h
	}
	for _, left := range []time.Duration{-time.Hour, 0, time.Millisecond, 850 * time.Millisecond, time.Hour} {
		for n := 1; n < 3; n++ {
			for _, mirrored := range []bool{false, true} {
				for _, room := range []int{0, 1, 17} {
					ctx, cancel := context.WithDeadline(t.Context(), now.Add(left))
					assert.Equal(t, hint.Hints{Left: max(0, left), Told: true, Room: room}, read(hintOf(ctx, n, room, mirrored, now)))
					cancel()
					assert.Equal(t, hint.Hints{Room: room}, read(hintOf(t.Context(), n, room, mirrored, now)))
				}
			}
		}
	}
	assert.Empty(t, hintOf(t.Context(), 1, 0, false, now))
	assert.Empty(t, hintOf(t.Context(), 1, -1, false, now))
	assert.Equal(t, "r=3", hintOf(t.Context(), 1, 3, false, now))
	assert.Equal(t, hint.Hints{Room: hint.MostRoom}, read(hintOf(t.Context(), 1, math.MaxInt, false, now)))
}

// The short way writes what the long one does.
func TestHintOfARoom(t *testing.T) {
	for room := 1; room < 200; room++ {
		assert.Equal(t, "r="+strconv.Itoa(room), hintOf(t.Context(), 1, room, false, time.Now()))
	}
}

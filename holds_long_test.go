//go:build !race

package tulle_test

import "testing"

// Under the race detector a history takes seven times as long, and there are
// some of them there too.
func TestNothingIsHeldForEverInManyHistories(t *testing.T) { wanders(t, 12, 60) }

//go:build !race

package authn_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAllocations(t *testing.T) {
	v := verifier(t, static(named(edKey(), "k")))
	for name, more := range map[string]object{
		"usual": userClaims(), "short": nil, "3 KiB": {"x": strings.Repeat("x", 2<<10)}, "nearly 8 KiB": {"x": strings.Repeat("x", 5<<10)},
	} {
		r := request("Authorization", "Bearer "+token(edKey(), "EdDSA", "k", more))
		_, err := v.Authenticate(r)
		require.NoError(t, err)
		before := v.Stats()
		assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = v.Authenticate(r) }), name)
		after := v.Stats()
		assert.EqualValues(t, 101, after.Cached-before.Cached, "what was counted was no hit")
	}
	// A token that is new costs what its signature and its claims do: there is
	// no budget for it but this, which a JOSE library of its own exceeds fivefold.
	p := static(named(edKey(), "k"))
	p.CacheEntries = -1
	v = verifier(t, p)
	text := token(edKey(), "EdDSA", "k", userClaims())
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = v.Verify(t.Context(), text) }), 50.0)
}

package authn

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// remember puts an entry of n claims into c, and returns it.
func remember(c *cache, token string, claims map[string]any, size int, until time.Time) *entry {
	e := &entry{
		sum: c.sum(token), token: Token{Claims: claims}, until: until,
		issuer: &issuer{static: &keySet{}}, size: int64(size + entryBytes),
	}
	c.put(e, time.Unix(0, 0))
	return e
}

func TestCacheRemembers(t *testing.T) {
	c := newCache(64, 1<<20)
	now := time.Unix(1000, 0)
	e := remember(c, "a", nil, 0, now.Add(time.Second))
	assert.Same(t, e, c.get(c.sum("a"), now))
	assert.Nil(t, c.get(c.sum("b"), now))
	assert.EqualValues(t, 1, c.entries.Load())
	assert.Nil(t, c.get(c.sum("a"), now.Add(time.Second)), "its time is over")
	assert.Zero(t, c.entries.Load())
	assert.Zero(t, c.bytes.Load())
	// Once more is still once.
	for range 10 {
		e = remember(c, "a", nil, 0, now.Add(time.Second))
	}
	assert.Same(t, e, c.get(c.sum("a"), now))
	assert.EqualValues(t, 1, c.entries.Load())
	assert.Nil(t, newCache(-1, 1<<20))
}

// Two caches remember one token by different names, and long tokens by all of
// their text.
func TestSums(t *testing.T) {
	a, b := newCache(8, 1), newCache(8, 1)
	seen := map[sum]string{}
	for _, n := range []int{0, 1, 100, 2<<10 - 33, 2<<10 - 32, 2<<10 - 31, 8<<10 - 1, 8 << 10, 8<<10 + 1, 64 << 10} {
		for _, last := range []string{"x", "y"} {
			token := strings.Repeat("t", n) + last
			assert.Equal(t, a.sum(token), a.sum(token))
			assert.NotEqual(t, a.sum(token), b.sum(token))
			other, ok := seen[a.sum(token)]
			assert.False(t, ok, "%d and %d bytes", len(token), len(other))
			seen[a.sum(token)] = token
		}
	}
}

// Whatever is done to it, the cache keeps to its bounds, and its sums add up.
func TestCacheIsBounded(t *testing.T) {
	const entries, limit = 256, 200 << 10
	now := time.Unix(1000, 0)
	c := newCache(entries, limit)
	rng := rand.New(rand.NewPCG(1, 2))
	most := int64(0)
	for range 50_000 {
		switch rng.IntN(10) {
		case 0:
			now = now.Add(time.Second)
		case 1, 2, 3:
			c.get(c.sum(fmt.Sprint(rng.IntN(1000))), now)
		default:
			remember(c, fmt.Sprint(rng.IntN(1000)), nil, rng.IntN(30<<10), now.Add(time.Duration(rng.IntN(100))*time.Second))
		}
		most = max(most, c.bytes.Load())
		require.LessOrEqual(t, c.bytes.Load(), int64(limit))
	}
	assert.Greater(t, most, int64(limit/2), "the bound was not put to the test")
	held, bytes := int64(0), int64(0)
	for i := range c.slots {
		if e := c.slots[i].Load(); e != nil {
			held++
			bytes += e.size
		}
	}
	assert.Equal(t, held, c.entries.Load())
	assert.Equal(t, bytes, c.bytes.Load())
	assert.LessOrEqual(t, len(c.slots), entries)
}

func TestCacheConcurrently(t *testing.T) {
	c := newCache(64, 100<<10)
	now := time.Unix(1000, 0)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 5000 {
				token := fmt.Sprint(rng.IntN(200))
				if e := c.get(c.sum(token), now); e != nil {
					assert.Equal(t, token, e.token.Principal.Name)
					continue
				}
				e := &entry{sum: c.sum(token), until: now.Add(time.Second), issuer: &issuer{static: &keySet{}}, size: int64(rng.IntN(8 << 10))}
				e.token.Principal.Name = token
				c.put(e, now)
			}
		})
	}
	wg.Wait()
	held, bytes := int64(0), int64(0)
	for i := range c.slots {
		if e := c.slots[i].Load(); e != nil {
			held++
			bytes += e.size
		}
	}
	assert.Equal(t, held, c.entries.Load())
	assert.Equal(t, bytes, c.bytes.Load())
	assert.LessOrEqual(t, bytes, int64(100<<10))
}

// What is used stays: a token that comes again and again outlives many that
// come once.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	run := func(use bool) int {
		c := newCache(256, 1<<30)
		now := time.Unix(1000, 0)
		c.secret = sum{} // so that the places are the same in each run
		kept := 0
		for i := range 20_000 {
			if i%20 == 0 {
				if s := c.sum("often"); !use || c.get(s, now) == nil {
					remember(c, "often", nil, 0, now.Add(time.Second))
				} else {
					kept++
				}
			}
			remember(c, fmt.Sprint(i), nil, 0, now.Add(time.Second))
		}
		return kept
	}
	assert.Greater(t, run(true), 950)
	assert.Zero(t, run(false), "nobody asks: the control")
}

// The sizes that bound the cache are not less than what the heap gives out.
func TestSizesAreHonest(t *testing.T) {
	flat := map[string]any{}
	for i := range 30 {
		flat[fmt.Sprintf("claim-%d", i)] = strings.Repeat("v", i)
	}
	for name, v := range map[string]any{
		"flat":    flat,
		"empty":   map[string]any{},
		"numbers": map[string]any{"a": make([]int, 1000)},
		"objects": map[string]any{"a": slicesOf(200, map[string]any{"b": 1})},
		"nulls":   map[string]any{"a": make([]any, 500)},
		"strings": map[string]any{"a": slicesOf(300, "x")},
		"escapes": map[string]any{"a": slicesOf(300, "\n\n\n")},
		"arrays":  map[string]any{"a": slicesOf(300, []any{})},
		"text":    map[string]any{"a": strings.Repeat("x", 5000)},
	} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		const n = 200
		keep := make([]map[string]any, n)
		sizes := 0
		before := heap()
		for i := range keep {
			object, size, err := decodeObject(string(text))
			require.NoError(t, err)
			keep[i] = object
			sizes += size + entryBytes
		}
		used := int(heap() - before)
		runtime.KeepAlive(keep)
		assert.LessOrEqual(t, used, sizes, "%s: %d bytes are taken for %d", name, used/n, sizes/n)
	}
}

func slicesOf(n int, v any) []any {
	all := make([]any, n)
	for i := range all {
		all[i] = v
	}
	return all
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A million tokens that are refused leave nothing behind, however they are
// made: forms, issuers, keys and signatures that nobody has seen before.
func TestMillionBadTokens(t *testing.T) {
	n := 1_000_000
	if raceEnabled {
		n /= 20
	}
	v, err := New(Policy{Issuers: []Issuer{{
		Issuer: "i", Audiences: []string{"a"}, JWKS: `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
	}}}, Options{})
	require.NoError(t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	bad := func(i int) string {
		switch i % 100 {
		case 0: // the only ones that cost a verification
			return b64([]byte(`{"alg":"EdDSA","kid":"k"}`)) + "." + b64(fmt.Appendf(nil, `{"iss":"i","n":%d}`, i)) + "." + b64(make([]byte, 64))
		case 1:
			return b64(fmt.Appendf(nil, `{"alg":"EdDSA","kid":"%d"}`, i)) + "." + b64([]byte(`{"iss":"i"}`)) + ".AAAA"
		case 2:
			return b64([]byte(`{"alg":"EdDSA","kid":"k"}`)) + "." + b64(fmt.Appendf(nil, `{"iss":"%d"}`, i)) + ".AAAA"
		}
		return fmt.Sprintf("%d.a.b", i)
	}
	before := heap()
	for i := range n {
		if _, err := v.Verify(t.Context(), bad(i)); err == nil {
			t.Fatalf("%s is accepted", bad(i))
		}
	}
	assert.Less(t, heap()-before, int64(1<<20))
	s := v.Stats()
	assert.Zero(t, s.Entries)
	sum := uint64(0)
	for _, n := range s.Refused {
		sum += n
	}
	assert.EqualValues(t, n, sum)
	assert.Len(t, s.Refused, 4)
}

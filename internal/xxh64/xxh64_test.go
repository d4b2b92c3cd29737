package xxh64

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// sanityBuffer is the input of the vectors in tests/sanity_test_vectors.h of the
// xxHash project.
func sanityBuffer(n int) []byte {
	b := make([]byte, n)
	generator := uint64(2654435761)
	for i := range b {
		b[i] = byte(generator >> 56)
		generator *= 11400714785074694797
	}
	return b
}

var vectors = []struct {
	n    int
	seed uint64
	want uint64
}{
	{0, 0, 0xEF46DB3751D8E999}, {0, 0x9E3779B1, 0xAC75FDA2929B17EF},
	{1, 0, 0xE934A84ADB052768}, {1, 0x9E3779B1, 0x5014607643A9B4C3},
	{2, 0, 0x5D48CD60A77E23FF}, {2, 0x9E3779B1, 0x9E93152232D54A39},
	{3, 0, 0xFF7E1959CB50794A}, {3, 0x9E3779B1, 0xAA8584E83660F7D1},
	{4, 0, 0x9136A0DCA57457EE}, {4, 0x9E3779B1, 0xCAAB286BD8E9FDB5},
	{8, 0, 0xCDBCF538E71D1348}, {8, 0x9E3779B1, 0xFE0C047A5353CDAC},
	{9, 0, 0x554B1AE991EDA6B6}, {16, 0, 0x98C90B57FDFCB55C},
	{14, 0, 0x8282DCC4994E35C8}, {14, 0x9E3779B1, 0xC3BD6BF63DEB6DF0},
	{31, 0, 0x299B39A290E6D783}, {64, 0, 0xEF558F8ACAC2B5CD},
	{32, 0, 0x18B216492BB44B70}, {32, 0x9E3779B1, 0xB3F33BDF93ADE409},
	{33, 0, 0x55C8DC3E578F5B59}, {33, 0x9E3779B1, 0xE92C292F64BC3071},
	{100, 0, 0x4BFE019CD91D9EA4}, {100, 0x9E3779B1, 0x4853706DC9625CAE},
	{222, 0, 0xB641AE8CB691C174}, {222, 0x9E3779B1, 0x20CB8AB7AE10C14A},
	{4096, 0, 0xAB77F4AF85F4E70B}, {4160, 0, 0xEEE6A4E2AC952A5E},
}

func TestPublishedVectors(t *testing.T) {
	for _, v := range vectors {
		data := sanityBuffer(v.n)
		if got := Sum(data, v.seed); got != v.want {
			t.Errorf("Sum of %d bytes, seed %#x: %#x, want %#x", v.n, v.seed, got, v.want)
		}
		if got := Sum(string(data), v.seed); got != v.want {
			t.Errorf("Sum of a string of %d bytes, seed %#x: %#x, want %#x", v.n, v.seed, got, v.want)
		}
		if v.seed != 0 {
			continue
		}
		var d Digest
		d.WriteString(string(data))
		if got := d.Sum(); got != v.want {
			t.Errorf("Digest of %d bytes: %#x, want %#x", v.n, got, v.want)
		}
	}
}

// TestDigestEqualsSum writes random data in random pieces.
func TestDigestEqualsSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		data := make([]byte, rng.IntN(200))
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		var d Digest
		for rest := data; len(rest) > 0; {
			n := 1 + rng.IntN(len(rest))
			d.WriteString(string(rest[:n]))
			rest = rest[n:]
			d.Sum() // must not disturb what follows
		}
		if got, want := d.Sum(), Sum(data, 0); got != want {
			t.Fatalf("Digest of %x: %#x, Sum says %#x", data, got, want)
		}
	}
}

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{8, 36, 256} {
		s := string(sanityBuffer(n))
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Sum(s, 0)
			}
		})
		b.Run(fmt.Sprintf("digest/bytes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var d Digest
				d.WriteString(s)
				d.Sum()
			}
		})
	}
}

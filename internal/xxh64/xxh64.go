// Package xxh64 is the 64-bit xxHash of Yann Collet (XXH64), written from its
// specification (doc/xxhash_spec.md of the xxHash project). It is fast, well
// distributed and the same on every machine and in every version, so its sums
// may be stored and compared between processes. It is not cryptographic: who
// chooses the input can choose collisions.
package xxh64

import "math/bits"

const (
	prime1 uint64 = 0x9E3779B185EBCA87
	prime2 uint64 = 0xC2B2AE3D27D4EB4F
	prime3 uint64 = 0x165667B19E3779F9
	prime4 uint64 = 0x85EBCA77C2B2AE63
	prime5 uint64 = 0x27D4EB2F165667C5

	stripe = 32 // bytes consumed per step of the four lanes
)

// Sum returns the XXH64 of data with the given seed. It does not allocate.
func Sum[T ~string | ~[]byte](data T, seed uint64) uint64 {
	n := len(data)
	var sum uint64
	if n >= stripe {
		lanes := start(seed)
		for ; len(data) >= stripe; data = data[stripe:] {
			lanes[0] = round(lanes[0], load64(data))
			lanes[1] = round(lanes[1], load64(data[8:]))
			lanes[2] = round(lanes[2], load64(data[16:]))
			lanes[3] = round(lanes[3], load64(data[24:]))
		}
		sum = converge(lanes)
	} else {
		sum = seed + prime5
	}
	return finish(sum+uint64(n), data)
}

// Digest computes an XXH64 piece by piece: the sum of the bytes written is that
// of [Sum] over all of them. The zero Digest is ready and has seed 0. It is a
// value to keep on the stack, for one goroutine.
type Digest struct {
	lanes [4]uint64
	rest  [stripe]byte // the last n%stripe bytes written
	n     uint64       // bytes written
}

// WriteByte adds one byte. Its error is always nil.
func (d *Digest) WriteByte(c byte) error {
	d.rest[d.n%stripe] = c
	d.n++
	if d.n%stripe == 0 {
		if d.n == stripe {
			d.lanes = start(0)
		}
		for i := range d.lanes {
			d.lanes[i] = round(d.lanes[i], load64(d.rest[8*i:]))
		}
	}
	return nil
}

// WriteString adds the bytes of s. Its error is always nil.
func (d *Digest) WriteString(s string) (int, error) {
	for i := range len(s) {
		d.WriteByte(s[i])
	}
	return len(s), nil
}

// Sum returns the hash of what was written; more may be written after it.
func (d *Digest) Sum() uint64 {
	sum := prime5
	if d.n >= stripe {
		sum = converge(d.lanes)
	}
	return finish(sum+d.n, d.rest[:d.n%stripe])
}

func start(seed uint64) [4]uint64 {
	return [4]uint64{seed + prime1 + prime2, seed + prime2, seed, seed - prime1}
}

func round(lane, input uint64) uint64 {
	return bits.RotateLeft64(lane+input*prime2, 31) * prime1
}

func converge(lanes [4]uint64) uint64 {
	sum := bits.RotateLeft64(lanes[0], 1) + bits.RotateLeft64(lanes[1], 7) +
		bits.RotateLeft64(lanes[2], 12) + bits.RotateLeft64(lanes[3], 18)
	for _, lane := range lanes {
		sum = (sum^round(0, lane))*prime1 + prime4
	}
	return sum
}

// finish takes in the fewer than stripe bytes left and mixes the result.
func finish[T ~string | ~[]byte](sum uint64, data T) uint64 {
	for ; len(data) >= 8; data = data[8:] {
		sum = bits.RotateLeft64(sum^round(0, load64(data)), 27)*prime1 + prime4
	}
	if len(data) >= 4 {
		sum = bits.RotateLeft64(sum^uint64(load32(data))*prime1, 23)*prime2 + prime3
		data = data[4:]
	}
	for i := range len(data) {
		sum = bits.RotateLeft64(sum^uint64(data[i])*prime5, 11) * prime1
	}
	sum = (sum ^ sum>>33) * prime2
	sum = (sum ^ sum>>29) * prime3
	return sum ^ sum>>32
}

// The compiler joins these into one load where the machine allows it.

func load32[T ~string | ~[]byte](b T) uint32 {
	_ = b[3]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func load64[T ~string | ~[]byte](b T) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

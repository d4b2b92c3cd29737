package routing

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

// maxArms is the greatest number of arms of a split.
const maxArms = 1 << 16

// Split divides draws among arms in fixed proportions. It is immutable and safe
// for concurrent use. The zero Split has one arm.
type Split struct {
	bounds []uint64 // bounds[i] is the sum of the weights up to and with arm i
}

// NewSplit returns a split with one arm per weight, which gets draws in
// proportion to its share of their sum. If all weights are zero the arms are
// equal; otherwise an arm of weight zero gets none. There are at most 65,536
// arms.
func NewSplit(weights []uint32) (Split, error) {
	switch {
	case len(weights) == 0:
		return Split{}, errors.New("weights: empty")
	case len(weights) > maxArms:
		return Split{}, fmt.Errorf("weights: %d exceed the limit of %d", len(weights), maxArms)
	}
	equal := !slices.ContainsFunc(weights, func(w uint32) bool { return w > 0 })
	s := Split{bounds: make([]uint64, len(weights))}
	var sum uint64 // at most 2^16 weights of 32 bits: below 2^48
	for i, w := range weights {
		if equal {
			w = 1
		}
		sum += uint64(w)
		s.bounds[i] = sum
	}
	return s, nil
}

// Pick returns the arm that draw falls to. Every value of draw counts the same:
// over all of them, each arm gets its share to within 2^-16 of one unit of
// weight. A random draw divides requests at random; the hash of a key
// ([match.Key]) as draw keeps what has the same key on the same arm, in every
// process and version. The draw is mixed, so it may be of any quality, a counter
// included, and may serve a hash policy too without the two choices being tied.
// Splits that are given the same draw do choose alike; to set them apart, combine
// the draw with a constant of the split by exclusive or.
//
// Of two arms, raising the weight of one only adds keys to those it has.
// Pick takes time logarithmic in the number of arms and does not allocate.
func (s Split) Pick(draw uint64) int {
	if len(s.bounds) == 0 {
		return 0
	}
	point, _ := bits.Mul64(mix(draw), s.bounds[len(s.bounds)-1])
	arm, found := slices.BinarySearch(s.bounds, point)
	if !found {
		return arm
	}
	// A point on a bound belongs to the next arm of some weight.
	for s.bounds[arm] == point {
		arm++
	}
	return arm
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable
// pseudorandom number generators, 2014), a bijection in which every bit of the
// input changes every bit of the output with a probability of about one half.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

package balancer

import "math/bits"

// turns returns the order in which members of the given weights have their
// turns, each as often as its weight says, or nil if the weights are equal.
//
// The k-th turn of a member whose share of the L turns is w falls into the
// slots from ⌊kL/w⌋ to ⌈(k+1)L/w⌉-1. That such an order always exists is a
// theorem of Tijdeman ("The chairman assignment problem", 1980); to give each
// slot, among the turns that may be had, to the one that must be had first
// finds it, as shown for Pfair scheduling by Baruah et al. ("Proportionate
// progress", 1996). Up to any slot each member has then had its share to
// within one turn.
func turns(weights []uint32) []uint32 {
	shares, total := proportions(weights)
	if total == uint64(len(weights)) {
		return nil
	}
	// begins[t] is the first member whose next turn may be had from slot t
	// on, and after[i] the member that follows i in that list.
	begins := make([]uint32, total)
	after := make([]uint32, len(shares))
	const none = 0 // members are counted from 1 in both
	had := make([]uint64, len(shares))
	var ready deadlines
	add := func(i uint64) {
		deadline := ((had[i]+1)*total + shares[i] - 1) / shares[i]
		ready.push(deadline<<32 | i)
	}
	for i := range shares {
		add(uint64(i))
	}
	order := make([]uint32, total)
	for t := range total {
		for i := begins[t]; i != none; i = after[i-1] {
			add(uint64(i - 1))
		}
		i := ready.pop() & (1<<32 - 1)
		order[t] = uint32(i)
		if had[i]++; had[i] == shares[i] {
			continue
		}
		if from := had[i] * total / shares[i]; from > t {
			after[i], begins[from] = begins[from], uint32(i+1)
		} else {
			add(i)
		}
	}
	return order
}

// proportions returns the weights in lowest terms and their sum, rounded where the
// sum would be larger than the limit.
func proportions(weights []uint32) (shares []uint64, total uint64) {
	var divisor, sum uint64
	for _, w := range weights {
		divisor = gcd(divisor, uint64(w))
		sum += uint64(w)
	}
	limit := max(1<<16, 8*uint64(len(weights)))
	shares = make([]uint64, len(weights))
	for i, w := range weights {
		shares[i] = uint64(w) / divisor
		if sum/divisor > limit {
			hi, lo := bits.Mul64(uint64(w), limit)
			lo, carry := bits.Add64(lo, sum/2, 0)
			quotient, _ := bits.Div64(hi+carry, lo, sum)
			shares[i] = max(1, quotient)
		}
		total += shares[i]
	}
	return shares, total
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// deadlines is a heap, the least first.
type deadlines []uint64

func (d *deadlines) push(v uint64) {
	h := append(*d, v)
	i := len(h) - 1
	for i > 0 && h[(i-1)/2] > v {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = v
	*d = h
}

func (d *deadlines) pop() uint64 {
	h := *d
	least, v := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	*d = h
	for i := 0; len(h) > 0; {
		child := 2*i + 1
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if child >= len(h) || h[child] >= v {
			h[i] = v
			break
		}
		h[i] = h[child]
		i = child
	}
	return least
}

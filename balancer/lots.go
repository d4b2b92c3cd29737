package balancer

import "math/bits"

// lots draws members in proportion to their weights, at the same cost for any
// number of them: the alias method of Walker (1977), in the form of Vose
// (1991), in whole numbers.
type lots struct {
	n uint64
	// alias is nil if the weights are equal.
	alias []lot
}

// lot is one of n equal parts of the whole: up to keep, in parts of 2⁶⁴, it
// belongs to the member of the same index, the rest of it to other.
type lot struct {
	keep  uint64
	other uint32
}

func newLots(ms []member) lots {
	l := lots{n: uint64(len(ms))}
	var total uint64
	equal := true
	for i := range ms {
		total += uint64(ms[i].weight)
		equal = equal && ms[i].weight == ms[0].weight
	}
	if equal {
		return l
	}
	// A lot holds total, a member brings its weight times n.
	l.alias = make([]lot, len(ms))
	left := make([]uint64, len(ms))
	var small, large []uint32
	for i := range ms {
		left[i] = uint64(ms[i].weight) * l.n
		if left[i] < total {
			small = append(small, uint32(i))
		} else {
			large = append(large, uint32(i))
		}
	}
	for len(small) > 0 {
		s, g := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		keep, _ := bits.Div64(left[s], 0, total)
		l.alias[s] = lot{keep, g}
		if left[g] -= total - left[s]; left[g] < total {
			large = large[:len(large)-1]
			small = append(small, g)
		}
	}
	for _, g := range large {
		l.alias[g] = lot{^uint64(0), g}
	}
	return l
}

func (l *lots) draw(r *random) uint32 {
	i, part := bits.Mul64(r.word(), l.n)
	if l.alias != nil {
		if a := &l.alias[i]; part >= a.keep {
			return a.other
		}
	}
	return uint32(i)
}

// two returns two different members, the same that another would.
func (l *lots) two(r *random) (i, j uint32) {
	i, j = l.draw(r), l.draw(r)
	if i == j {
		if j = uint32(r.below(l.n - 1)); j >= i {
			j++
		}
	}
	return i, j
}

// another returns a member that is not among those drawn before, which are
// sorted, and adds it to them. Who was drawn already is replaced by any of
// the others, each as likely: with equal weights every draw is then uniform
// among those that are left.
func (l *lots) another(r *random, drawn []uint32) (uint32, []uint32) {
	i := l.draw(r)
	at, again := place(drawn, i)
	if again {
		i = uint32(r.below(l.n - uint64(len(drawn))))
		for at = 0; at < len(drawn) && drawn[at] <= i; at++ {
			i++
		}
	}
	drawn = append(drawn, 0)
	copy(drawn[at+1:], drawn[at:])
	drawn[at] = i
	return i, drawn
}

func place(sorted []uint32, v uint32) (at int, found bool) {
	for at < len(sorted) && sorted[at] < v {
		at++
	}
	return at, at < len(sorted) && sorted[at] == v
}

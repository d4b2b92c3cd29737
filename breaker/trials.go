package breaker

import "slices"

// trials are those of a half-open breaker, by their numbers. It is guarded by
// the mutex of its Breaker.
type trials struct {
	issued uint64
	// out are those that hold a place, lost those that held one for too long.
	out, lost []uint64
}

func (t *trials) take() uint64 {
	t.issued++
	t.out = append(t.out, t.issued)
	return t.issued
}

// settle removes a trial and reports whether it was known: a trial counts
// once, whatever else is said about it.
func (t *trials) settle(number uint64) bool {
	for _, of := range []*[]uint64{&t.out, &t.lost} {
		if i := slices.Index(*of, number); i >= 0 {
			*of = slices.Delete(*of, i, i+1)
			return true
		}
	}
	return false
}

// recall takes back the places of all trials that hold one. Their results
// still count: a service that takes longer than its trials may take would
// otherwise never be found healthy. Only the latest are remembered.
func (t *trials) recall(places int) {
	t.lost = append(t.lost, t.out...)
	t.out = t.out[:0]
	if surplus := len(t.lost) - 8*places; surplus > 0 {
		t.lost = slices.Delete(t.lost, 0, surplus)
	}
}

// clear ends all trials. Numbers are not used again.
func (t *trials) clear() { t.out, t.lost = t.out[:0], t.lost[:0] }

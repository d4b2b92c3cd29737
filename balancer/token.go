package balancer

import (
	"math"
	"sync/atomic"
)

// token is the right to one pick of an endpoint at the cost that its last
// report said. Its word has the cost as a float32 in the upper half, which is
// more than 0, and the tick of the report in the lower; 0 is no token. Whoever
// swaps it for 0 has the token, and nobody else.
type token struct {
	word atomic.Uint64
	// used is the token of the pick made at usedAt, for when it is put back.
	used   atomic.Uint64
	usedAt atomic.Int64
	// due is when the endpoint may be picked by a token again, in reports of
	// all endpoints times turnUnit; see turnOf.
	due atomic.Int64
	// slot is where tokens names it, and maxTokens; 0 is nowhere.
	slot atomic.Uint32
}

// revoke takes the token back.
func (t *token) revoke() {
	if t.word.Load() != 0 {
		t.word.Store(0)
	}
}

// A tick is about a millisecond. Ticks begin anew after 52 days.
const tickBits = 20

func tick(at int64) uint32 { return uint32(at >> tickBits) }

// age returns how many ticks lie between; what seems to be of the future is of
// now.
func age(now, then uint32) int32 { return max(0, int32(now-then)) }

const (
	// maxTokens is how many of the newest tokens a pick looks at, as in
	// Prequal.
	maxTokens = 16
	// maxShare is how many times its share of the picks an endpoint has by
	// tokens at most, and maxBurst how many picks it may be ahead of that.
	// Where weights differ, which somebody wants, it is maxWeighted times.
	maxShare    = 5
	maxWeighted = 2
	maxBurst    = 32
	turnUnit    = 1 << 10
	// ties are the bits of a cost that make no difference: a part in 32,768.
	ties = 1<<8 - 1
)

// tokens names the endpoints with the newest tokens. A slot has the cost of a
// token in the upper half and the number of its endpoint in the lower; 0 is
// none. It is a hint: the truth is the word of the token.
type tokens struct {
	_      [cacheLine]byte
	issued atomic.Uint64 // how many there have been
	slots  [maxTokens]atomic.Uint64
	_      [cacheLine]byte
}

// put makes a token in the place of the one that the endpoint has.
func (t *tokens) put(f *fed, cost float64, at int64) {
	// The last bits are left to chance, so that of equals not always the same is
	// the first.
	r := random{t.issued.Load()<<32 | uint64(f.number)}
	bits := uint64(math.Float32bits(float32(min(max(cost, 1), mostCost)))&^ties|uint32(r.word())&ties) << 32
	f.token.word.Store(bits | uint64(tick(at)))
	t.name(bits, f)
}

// name writes a token into the slot that the endpoint has, else into an empty
// one, and where there is none in the place of another.
func (t *tokens) name(cost uint64, f *fed) {
	n := t.issued.Add(1) - 1
	s := cost | uint64(f.number)
	if own := &t.slots[f.slot.Load()%maxTokens]; f.slot.Load() > 0 {
		if old := own.Load(); old != 0 && uint32(old) == f.number && own.CompareAndSwap(old, s) {
			return
		}
	}
	for i := range uint64(maxTokens) {
		at := (n + i) % maxTokens
		if t.slots[at].Load() == 0 && t.slots[at].CompareAndSwap(0, s) {
			f.slot.Store(uint32(at + maxTokens))
			return
		}
	}
	t.slots[n%maxTokens].Store(s)
	f.slot.Store(uint32(n%maxTokens + maxTokens))
}

// least returns the least slot of those beyond one, 0 if there is none.
func (t *tokens) least(beyond uint64) uint64 {
	// By how much they are; what is not wraps around to more than any that is.
	// Four at a time wait less for one another.
	none := math.MaxUint64 - beyond
	a, b, c, d := none, none, none, none
	for i := 0; i < maxTokens; i += 4 {
		a = min(a, t.slots[i].Load()-beyond-1)
		b = min(b, t.slots[i+1].Load()-beyond-1)
		c = min(c, t.slots[i+2].Load()-beyond-1)
		d = min(d, t.slots[i+3].Load()-beyond-1)
	}
	return min(min(a, b), min(c, d)) + beyond + 1
}

// drop empties the slot that holds s, which is hint if nothing has changed.
func (t *tokens) drop(s uint64, hint uint32) {
	if t.slots[hint%maxTokens].CompareAndSwap(s, 0) {
		return
	}
	for i := range t.slots {
		if t.slots[i].Load() == s && t.slots[i].CompareAndSwap(s, 0) {
			return
		}
	}
}

// back makes a token anew that was used for nothing, unless there is a newer
// one.
func (t *tokens) back(f *fed, turn int64) {
	word := f.used.Swap(0)
	if word == 0 {
		return
	}
	f.due.Add(-turn)
	if f.token.word.CompareAndSwap(0, word) {
		t.name(word&^math.MaxUint32, f)
	}
}

// turnOf returns after how many reports of n endpoints, times turnUnit, one of
// mean weight may be picked by a token again. It is counted in reports, and not
// in picks, because each pick by a token needs one. Of few endpoints each may
// have less than maxShare times its share, for that would be all.
func turnOf(n int, equal bool) float64 {
	most := float64(maxShare)
	if !equal {
		most = maxWeighted
	}
	return turnUnit * float64(n) / min(most, float64(n+1)/2)
}

// may reports whether an endpoint whose turns are so far apart may be picked,
// where those of one of mean weight are mean apart.
func (t *token) may(reports uint64, turn, mean int64) bool {
	return t.due.Load() <= int64(reports)*turnUnit+maxBurst*min(turn, mean)
}

// charge counts a pick.
func (t *token) charge(reports uint64, turn int64) {
	t.due.Store(max(t.due.Load(), int64(reports)*turnUnit) + turn)
}

package sim

// kind is what an event does when its time has come.
type kind uint8

const (
	arrival  kind = iota // the next call comes
	request              // a call's request reaches its server
	answer               // a response, or what there is in its place, reaches the caller
	given                // the news that the caller has given up reaches the server
	progress             // work at a server may be done
	failure              // a server that fails fast does so
	action               // something else is to be done
)

// event is something that happens at a time, in ns since the beginning.
// Events of one time happen in the order in which they were made.
type event struct {
	at     int64
	order  uint64
	kind   kind
	server int32
	call   *call
	life   uint64 // of the call, which may have ended before
	do     func()
}

// events is a heap of four branches: shallower than one of two, and what
// belongs together lies together.
type events struct {
	heap  []event
	order uint64
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}

func (q *events) push(e event) {
	q.order++
	e.order = q.order
	q.heap = append(q.heap, e)
	h := q.heap
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
}

func (q *events) pop() event {
	h := q.heap
	top, last := h[0], h[len(h)-1]
	h[len(h)-1] = event{}
	h = h[:len(h)-1]
	q.heap = h
	if len(h) == 0 {
		return top
	}
	i := 0
	for {
		child := 4*i + 1
		if child >= len(h) {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, len(h)); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&last) {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = last
	return top
}

// patience is a call and when its caller gives it up. All calls have the same
// time-out, so they stand in line.
type patience struct {
	at   int64
	call *call
	life uint64
}

// line is a queue of which the first comes out first.
type line[T any] struct {
	items []T
	head  int
}

func (l *line[T]) len() int { return len(l.items) - l.head }

func (l *line[T]) push(v T) { l.items = append(l.items, v) }

func (l *line[T]) first() *T { return &l.items[l.head] }

func (l *line[T]) pop() T {
	v := l.items[l.head]
	var none T
	l.items[l.head] = none
	if l.head++; l.head > 64 && 2*l.head > len(l.items) {
		n := copy(l.items, l.items[l.head:])
		clear(l.items[n:])
		l.items, l.head = l.items[:n], 0
	}
	return v
}

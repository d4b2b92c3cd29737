package health

import (
	"container/heap"
	"math"
	"time"
)

const (
	// forever is a time that does not come.
	forever time.Duration = math.MaxInt64
	// jitter is how far an interval is off at most, as a part of it.
	jitter = 0.1
	// pace is the time between the first probes of endpoints that join at
	// the same time.
	pace = time.Millisecond
	// lookout is how often the schedule is looked at while probes are under
	// way, so that a process that stood still is noticed.
	lookout = 500 * time.Millisecond
	// stall is how late a look at the schedule has to be to say that the
	// process stood still. A busy processor is not often that late.
	stall = 500 * time.Millisecond
	// idle is the index of a Checked that is not in the heap.
	idle = -1
)

// schedule says which probe comes next. It is a queue by time that knows
// neither clock nor goroutines: it is told the time by advance, which comes
// before everything else, and tells by arm when it wants to be told again.
type schedule struct {
	queue   queue
	limit   int // of probes under way
	running int
	joining int // endpoints that wait for their first probe

	// Plans are made in a time that leaves out what the process stood still,
	// in all shift; now is in it.
	now, shift time.Duration
	stalls     uint32
	armed      time.Duration // in the time that advance is told
}

// advance tells the time, and finds out whether the process stood still.
func (s *schedule) advance(now time.Duration) {
	if s.armed != forever && now-s.armed > stall {
		s.shift += now - s.armed
		s.stalls++
		s.armed = now
	}
	s.now = now - s.shift
}

// arm returns until when advance is to be called, at the latest.
func (s *schedule) arm() time.Duration {
	s.armed = forever
	if s.running > 0 {
		s.armed = s.now + s.shift + lookout
	}
	if len(s.queue) > 0 && s.running < s.limit {
		// What is overdue because there was no place says nothing of a stop.
		s.armed = min(s.armed, max(s.queue[0].due, s.now)+s.shift)
	}
	return s.armed
}

// join plans the first probe of c: at once if it is alone, else so that those
// that join at the same time come one after the other, in about the order in
// which they came, within one interval.
func (s *schedule) join(c *Checked, chance uint64) {
	wait := min(time.Duration(s.joining)*pace, c.subject.Probe.Interval)
	c.due = s.now + part(wait, (1+fraction(chance))/2)
	s.joining++
	heap.Push(&s.queue, c)
}

// claim takes out a probe that is due and has a place, nil if there is none.
func (s *schedule) claim() *Checked {
	if len(s.queue) == 0 || s.running >= s.limit || s.queue[0].due > s.now {
		return nil
	}
	c := heap.Pop(&s.queue).(*Checked)
	s.running++
	c.stalls = s.stalls
	return c
}

// stalled reports whether the process stood still since c was claimed.
func (s *schedule) stalled(c *Checked) bool { return c.stalls != s.stalls }

// finish gives the place of c back and plans its next probe.
func (s *schedule) finish(c *Checked, chance uint64) {
	s.running--
	if c.stopped {
		return
	}
	interval := c.subject.Probe.Interval
	switch {
	case c.again:
		c.due, c.again = s.now, false
		heap.Push(&s.queue, c)
		return
	case !c.probed:
		// Those that joined together part here.
		c.due = s.now + part(interval, fraction(chance))
		c.probed = true
		s.joining--
	default:
		c.due += part(interval, 1+jitter*(2*fraction(chance)-1))
	}
	if behind := s.now - c.due; behind >= interval {
		// What was missed is left out, not made up for.
		c.due += behind / interval * interval
	}
	heap.Push(&s.queue, c)
}

// leave takes c out, whether it waits or is under way. It comes once.
func (s *schedule) leave(c *Checked) {
	if !c.probed {
		c.probed = true
		s.joining--
	}
	if c.index != idle {
		heap.Remove(&s.queue, int(c.index))
	}
}

// clear takes everything out.
func (s *schedule) clear() {
	for _, c := range s.queue {
		c.index = idle
	}
	s.queue = nil
}

// fraction returns chance as a number from 0 up to but not including 1.
func fraction(chance uint64) float64 { return float64(chance>>11) / (1 << 53) }

func part(d time.Duration, of float64) time.Duration { return time.Duration(float64(d) * of) }

// queue is a heap by due time that knows where each of its elements is.
type queue []*Checked

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = int32(i), int32(j)
}

func (q *queue) Push(x any) {
	c := x.(*Checked)
	c.index = int32(len(*q))
	*q = append(*q, c)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	c.index = idle
	return c
}

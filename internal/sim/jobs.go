package sim

import "math"

// jobs are what a server works on. All jobs that are being worked on get on at
// the same rate, so it is enough to know how much each of them has had that
// has been there from the beginning, and a job ends when that reaches a mark
// which was known when it came. A change of the rate moves no marks: whatever
// happens costs O(log n).
type jobs struct {
	workers int
	// sharing says that all jobs share the workers and none waits.
	sharing bool
	speed   float64
	done    float64 // ns of work that a job has had that was always there
	at      int64   // when that was
	running []*call // a heap by mark
	waiting line[*call]
	// busy is how long workers have been, all together, in ns.
	busy float64
}

// rate is how many ns of work each running job gets in one.
func (j *jobs) rate() float64 {
	if n := len(j.running); n > j.workers {
		return j.speed * float64(j.workers) / float64(n)
	}
	return j.speed
}

// advance brings the work up to now.
func (j *jobs) advance(now int64) {
	passed := float64(now - j.at)
	j.at = now
	if passed == 0 || len(j.running) == 0 || j.speed == 0 {
		return
	}
	j.done += passed * j.rate()
	j.busy += passed * float64(min(len(j.running), j.workers))
}

// add begins a job or lets it wait. It comes after advance, as all that
// follows.
func (j *jobs) add(c *call) {
	if !j.sharing && len(j.running) >= j.workers {
		c.place = queued
		j.waiting.push(c)
		return
	}
	j.begin(c)
}

func (j *jobs) begin(c *call) {
	if len(j.running) == 0 {
		j.done = 0 // keeps marks small, and so exact
	}
	c.place, c.mark = running, j.done+c.work
	j.running = append(j.running, c)
	c.index = len(j.running) - 1
	j.up(c.index)
}

// due returns when the next job is done, as things are, in whole steps.
func (j *jobs) due(step int64) (at int64, ok bool) {
	if len(j.running) == 0 || j.speed == 0 {
		return 0, false
	}
	left := (j.running[0].mark - j.done) / j.rate()
	return j.at + int64(math.Round(max(0, left)/float64(step)))*step, true
}

// next takes out a job that is done, nil if none is.
func (j *jobs) next(step int64) *call {
	if at, ok := j.due(step); !ok || at > j.at {
		return nil
	}
	c := j.running[0]
	j.remove(c)
	return c
}

// remove takes a running job out, and a waiting one in for it.
func (j *jobs) remove(c *call) {
	i, last := c.index, len(j.running)-1
	j.swap(i, last)
	j.running[last] = nil
	j.running = j.running[:last]
	if i < last {
		j.down(i)
		j.up(i)
	}
	for !j.sharing && len(j.running) < j.workers && j.waiting.len() > 0 {
		// Those that were given up while they waited are not in their place
		// any more.
		if w := j.waiting.pop(); w != nil {
			j.begin(w)
		}
	}
}

// forget takes a waiting job out. It is called for few of them.
func (j *jobs) forget(c *call) {
	for i := j.waiting.head; i < len(j.waiting.items); i++ {
		if j.waiting.items[i] == c {
			j.waiting.items[i] = nil
			return
		}
	}
}

func (j *jobs) swap(a, b int) {
	h := j.running
	h[a], h[b] = h[b], h[a]
	h[a].index, h[b].index = a, b
}

func (j *jobs) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if j.running[parent].mark <= j.running[i].mark {
			return
		}
		j.swap(i, parent)
		i = parent
	}
}

func (j *jobs) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(j.running) {
			return
		}
		if r := least + 1; r < len(j.running) && j.running[r].mark < j.running[least].mark {
			least = r
		}
		if j.running[i].mark <= j.running[least].mark {
			return
		}
		j.swap(i, least)
		i = least
	}
}

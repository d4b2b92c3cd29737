package overload

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// beat is how often figures are taken, memory how long they are
	// remembered: long enough that a busy moment is none, short enough that
	// callers do not balance on what was.
	beat   = 250 * time.Millisecond
	memory = 2 * time.Second
	// few is how many requests say half of what there is to say about the
	// time they take.
	few = 8
)

// figures are what a meter has last found.
type figures struct {
	cpu, rps, eps float64
	service       time.Duration
	processors    int64 // at least 1
}

// meter finds figures at the requests it is told of, without a goroutine: who
// comes when a beat is due takes them.
type meter struct {
	epoch time.Time
	// due is when, in nanoseconds since epoch.
	due               atomic.Int64
	requests, errors  atomic.Uint64
	services, serving atomic.Int64 // how many, and how long together
	found             atomic.Pointer[figures]

	// mu is only ever tried, so that nobody waits for who takes the figures, and
	// cpu may call the guard.
	mu  sync.Mutex
	cpu func() float64
	// processors is asked unless it is said how many there are.
	processors processors
	said       bool
	last       struct {
		at                 time.Duration
		requests, errors   uint64
		services, serving  int64
		metered, processor bool // there are rates, there is a use of processors
	}
}

func (m *meter) init(o Options) {
	m.epoch, m.cpu, m.said = time.Now(), o.CPU, o.Processors > 0
	if m.cpu == nil {
		m.cpu = processCPU(&m.processors)
	}
	m.due.Store(int64(beat))
	f := &figures{processors: int64(o.Processors)}
	if !m.said {
		f.processors = m.whole(m.epoch)
	}
	m.found.Store(f)
}

// whole returns how many requests have a processor each.
func (m *meter) whole(now time.Time) int64 { return max(1, int64(m.processors.count(now))) }

// answered counts a request that has had its answer.
func (m *meter) answered(ok bool) {
	m.requests.Add(1)
	if !ok {
		m.errors.Add(1)
	}
}

// took counts the time of one.
func (m *meter) took(d time.Duration) {
	m.services.Add(1)
	m.serving.Add(int64(d))
}

func (m *meter) serviceTime() time.Duration { return m.found.Load().service }

// tick takes the figures if they are due.
func (m *meter) tick(now time.Time) {
	at := now.Sub(m.epoch)
	if int64(at) < m.due.Load() || !m.mu.TryLock() {
		return
	}
	defer m.mu.Unlock()
	if int64(at) < m.due.Load() {
		return
	}
	m.due.Store(int64(at + beat))
	m.take(at)
}

func (m *meter) take(at time.Duration) {
	f := *m.found.Load()
	l := &m.last
	requests, errors := m.requests.Load(), m.errors.Load()
	services, serving := m.services.Load(), m.serving.Load()
	passed := at - l.at
	// What is forgotten of the figures before.
	fade := 1 - math.Exp(-float64(passed)/float64(memory))
	weight := fade
	if !l.metered {
		l.metered, weight = true, 1
	}
	f.rps = mix(f.rps, float64(requests-l.requests)/passed.Seconds(), weight)
	f.eps = mix(f.eps, float64(errors-l.errors)/passed.Seconds(), weight)
	if n := services - l.services; n > 0 {
		weight = fade * float64(n) / float64(n+few)
		if f.service == 0 {
			weight = 1
		}
		f.service = time.Duration(mix(float64(f.service), float64(serving-l.serving)/float64(n), weight))
	}
	if cpu := m.cpu(); cpu >= 0 && cpu <= 1000 {
		weight = fade
		if !l.processor {
			l.processor, weight = true, 1
		}
		f.cpu = mix(f.cpu, cpu, weight)
	}
	if !m.said {
		f.processors = m.whole(m.epoch.Add(at))
	}
	l.at, l.requests, l.errors, l.services, l.serving = at, requests, errors, services, serving
	m.found.Store(&f)
}

func mix(before, now, weight float64) float64 { return before + (now-before)*weight }

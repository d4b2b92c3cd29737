package memnet

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// bufferSize is how many bytes one direction holds before its writer waits:
// of the order of a kernel's default socket buffer.
const bufferSize = 64 << 10

// A segment is data on its way: readable from at on.
type segment struct {
	data []byte
	at   time.Time
}

// pipe is one direction of a connection. Its errors are bare; Conn dresses
// them as *net.OpError.
type pipe struct {
	mu       sync.Mutex
	changed  sync.Cond
	segments []segment
	buffered int
	last     time.Time // when the newest segment arrives: order is kept when latency falls
	held     bool      // nothing arrives until released

	end   error     // what follows the last segment: nil while open, io.EOF, ECONNRESET
	endAt time.Time // when end arrives

	readClosed  error // what local reads return once the reading end is closed
	writeClosed error // what local writes return once the writing end is closed
	broken      error // what the next write returns: the peer has reset
	swallowed   bool  // one write went to a peer that had closed

	readDeadline  time.Time
	writeDeadline time.Time
}

func newPipe() *pipe {
	p := &pipe{}
	p.changed.L = &p.mu
	return p
}

// wait blocks until something changes or, if t is set, until t.
func (p *pipe) wait(t time.Time) {
	if !t.IsZero() {
		timer := time.AfterFunc(time.Until(t), func() {
			// The lock orders the wake-up after the Wait below.
			p.mu.Lock()
			defer p.mu.Unlock()
			p.changed.Broadcast()
		})
		defer timer.Stop()
	}
	p.changed.Wait()
}

func passed(deadline, now time.Time) bool {
	return !deadline.IsZero() && !now.Before(deadline)
}

// earlier returns the earlier of two times, of which zero ones are never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case p.readClosed != nil:
			return 0, p.readClosed
		case passed(p.readDeadline, now):
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		}
		wake := p.readDeadline
		if !p.held {
			switch {
			case len(p.segments) > 0:
				if !p.segments[0].at.After(now) {
					return p.take(b, now), nil
				}
				wake = earlier(wake, p.segments[0].at)
			case p.end != nil:
				if !p.endAt.After(now) {
					return 0, p.end
				}
				wake = earlier(wake, p.endAt)
			}
		}
		p.wait(wake)
	}
}

// take copies what has arrived by now into b and makes room for writers.
func (p *pipe) take(b []byte, now time.Time) int {
	n := 0
	for n < len(b) && len(p.segments) > 0 && !p.segments[0].at.After(now) {
		s := &p.segments[0]
		m := copy(b[n:], s.data)
		n += m
		s.data = s.data[m:]
		if len(s.data) == 0 {
			*s = segment{}
			p.segments = p.segments[1:]
		}
	}
	p.buffered -= n
	p.changed.Broadcast()
	return n
}

func (p *pipe) write(b []byte, latency time.Duration) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, waited := 0, false; ; {
		now := time.Now()
		switch {
		case p.writeClosed != nil:
			return n, p.writeClosed
		case passed(p.writeDeadline, now):
			return n, os.ErrDeadlineExceeded
		case p.broken != nil:
			err := p.broken
			p.broken = syscall.EPIPE
			return n, err
		case p.readClosed != nil:
			// A kernel takes the first write after the peer's close, and
			// hears of the reset only afterwards.
			if p.swallowed || waited {
				p.broken = syscall.EPIPE
				if waited {
					return n, syscall.ECONNRESET
				}
				return n, syscall.EPIPE
			}
			p.swallowed = true
			return len(b), nil
		case n == len(b):
			return n, nil
		}
		if room := bufferSize - p.buffered; room > 0 {
			m := min(room, len(b)-n)
			p.append(b[n:n+m], now.Add(latency))
			n += m
			continue
		}
		waited = true
		p.wait(p.writeDeadline)
	}
}

func (p *pipe) append(b []byte, at time.Time) {
	if at.Before(p.last) {
		at = p.last
	}
	p.last = at
	p.segments = append(p.segments, segment{append([]byte(nil), b...), at})
	p.buffered += len(b)
	p.changed.Broadcast()
}

// finish ends the stream after what is already written: with io.EOF, or with
// ECONNRESET when the writing end resets. Local writes return local from now on.
func (p *pipe) finish(end, local error, latency time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writeClosed = local
	if p.end == nil {
		p.end = end
		p.endAt = time.Now().Add(latency)
		if p.endAt.Before(p.last) {
			p.endAt = p.last
		}
	}
	p.changed.Broadcast()
}

// closeRead discards what was not read and reports whether there was any.
func (p *pipe) closeRead() (unread bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	unread = p.buffered > 0
	p.readClosed = net.ErrClosed
	p.segments, p.buffered = nil, 0
	p.changed.Broadcast()
	return unread
}

// breakWrites makes the writing end fail: its peer has reset the connection.
func (p *pipe) breakWrites() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = syscall.ECONNRESET
	}
	p.changed.Broadcast()
}

// reset cuts the pipe in the middle: what has arrived stays readable, what is
// under way is lost.
func (p *pipe) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	arrived := 0
	for arrived < len(p.segments) && !p.held && !p.segments[arrived].at.After(now) {
		arrived++
	}
	for _, s := range p.segments[arrived:] {
		p.buffered -= len(s.data)
	}
	p.segments = p.segments[:arrived]
	if p.end == nil || p.endAt.After(now) || p.held {
		p.end, p.endAt = syscall.ECONNRESET, now
	}
	p.held = false
	if p.broken == nil {
		p.broken = syscall.ECONNRESET
	}
	p.changed.Broadcast()
}

// hold keeps everything from arriving until it is called with false.
func (p *pipe) hold(held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
	p.changed.Broadcast()
}

func (p *pipe) setReadDeadline(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readDeadline = t
	p.changed.Broadcast()
}

func (p *pipe) setWriteDeadline(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writeDeadline = t
	p.changed.Broadcast()
}

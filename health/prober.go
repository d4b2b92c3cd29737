package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// defaultConcurrent is how many probes are under way at once unless told
// otherwise.
const defaultConcurrent = 64

// ProberOptions are what a Prober needs to know. The zero value is ready to
// use.
type ProberOptions struct {
	// MaxConcurrent is how many probes are under way at once; 0 or less is
	// 64. A probe beyond that waits for one to end, the one that is due for
	// longest first. Endpoints that do not answer take a place for the whole
	// time-out: for verdicts in time it takes about as many places as
	// endpoints may fall silent at once, times Timeout over Interval.
	MaxConcurrent int
	// Draw is the source of chance, called by many goroutines at once; nil is
	// the generator of the Go runtime.
	Draw func() uint64
}

// Prober probes endpoints, any number of them with one scheduler. Its methods
// and those of what it returns are safe for concurrent use.
//
// The first probe of an endpoint comes at once, or with many that join at the
// same time, one after the other by chance, a thousand in a second. Those that
// follow are spread over the interval by chance. They are planned from one
// plan to the next and not from the end of the last probe, so that a slow
// answer shifts nothing; and where the process stood still, it goes on as if
// the time had not passed: no probe is made up for, and none that failed
// meanwhile is counted.
type Prober struct {
	draw   func() uint64
	begin  time.Time // what times of the schedule count from
	base   context.Context
	cancel context.CancelFunc
	wake   chan struct{} // the scheduler is to look again
	wg     sync.WaitGroup

	// mu guards what follows, and the unexported fields of every Checked.
	mu       sync.Mutex
	schedule schedule
	asleep   time.Duration // until when the scheduler sleeps
	started  bool
	closed   bool
}

// NewProber returns a Prober. It starts nothing until the first Watch.
func NewProber(o ProberOptions) *Prober {
	p := &Prober{draw: o.Draw, begin: time.Now(), wake: make(chan struct{}, 1)}
	if p.draw == nil {
		p.draw = rand.Uint64
	}
	p.schedule.limit = o.MaxConcurrent
	if p.schedule.limit <= 0 {
		p.schedule.limit = defaultConcurrent
	}
	p.schedule.armed = forever
	p.base, p.cancel = context.WithCancel(context.Background())
	return p
}

// Subject is an endpoint that is to be probed, and the means to do so.
type Subject struct {
	// Name is the name of the service: the host of the URL of HTTP probes.
	Name string
	// Endpoint is the endpoint.
	Endpoint *endpoint.Endpoint
	// Probe says how it is probed.
	Probe Probe
	// RoundTripper carries HTTP probes to this very endpoint, at the address
	// that Probe.Addr tells. It has to heed the context of requests: while
	// it does not return, its place under way is taken. A panic in it is a
	// probe that failed.
	RoundTripper http.RoundTripper
	// Scheme is that of the URL of HTTP probes; empty is "http".
	Scheme string
	// Dial connects for TCP probes; nil is that of a net.Dialer. What is said
	// of RoundTripper holds for it too.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Changed, if set, is called when the verdict has changed, the first one
	// included: outside every lock, by one of the Prober's goroutines, never
	// twice at once for one subject. It has to return soon, may call
	// Checked.Stop and must not call Prober.Close.
	Changed func()
}

// fault tells why the subject cannot be probed.
func (s *Subject) fault() error {
	faults := []error{s.Probe.Validate()}
	if s.Endpoint == nil {
		faults = append(faults, errors.New("endpoint: is nil"))
	}
	if s.Probe.Path == "" {
		return errors.Join(faults...)
	}
	if s.RoundTripper == nil {
		faults = append(faults, errors.New("roundTripper: is nil"))
	}
	if !isHost(s.Name) {
		faults = append(faults, fmt.Errorf("name: %q is not a host", s.Name))
	}
	if s.Scheme != "" && s.Scheme != "http" && s.Scheme != "https" {
		faults = append(faults, fmt.Errorf("scheme: %q is neither http nor https", s.Scheme))
	}
	return errors.Join(faults...)
}

// Watch probes an endpoint until the returned Checked is stopped. A subject
// that cannot be probed, because its Probe is not valid, a field is missing
// or the Prober is closed, is left alone: its verdict stays unknown, and
// ProbeStats.LastError tells why.
func (p *Prober) Watch(s Subject) *Checked {
	c := &Checked{prober: p, subject: s, index: idle}
	err := s.fault()
	c.subject.Probe = s.Probe.Effective()
	chance := p.draw()

	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		c.stopped, c.stats.LastError = true, cause(err)
	case p.closed:
		c.stopped, c.stats.LastError = true, "probe: the prober is closed"
	default:
		p.schedule.advance(p.now())
		p.schedule.join(c, chance)
		if !p.started {
			p.started, p.asleep = true, forever
			p.wg.Go(p.run)
		}
		p.arm()
	}
	return c
}

// Close stops all probing, cancels the probes under way and waits for them.
func (p *Prober) Close() {
	p.mu.Lock()
	p.closed = true
	p.schedule.clear()
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
}

// now returns the time as the schedule counts it.
func (p *Prober) now() time.Duration { return time.Since(p.begin) }

// arm sees to it that the scheduler looks when it has to. p.mu is held.
func (p *Prober) arm() {
	if p.schedule.arm() < p.asleep {
		p.asleep = p.schedule.armed
		select {
		case p.wake <- struct{}{}:
		default: // it is about to look
		}
	}
}

// run is the scheduler: it sleeps until a probe is due and starts it.
func (p *Prober) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return
		}
		now := p.now()
		p.schedule.advance(now)
		for c := p.schedule.claim(); c != nil; c = p.schedule.claim() {
			ctx := p.begins(c)
			p.wg.Go(func() { p.work(c, ctx) })
		}
		p.asleep = p.schedule.arm()
		timer.Reset(p.asleep - now)
		p.mu.Unlock()
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.base.Done():
			return
		}
	}
}

// begins returns the context of a probe that has been claimed. p.mu is held.
func (p *Prober) begins(c *Checked) context.Context {
	ctx, cancel := context.WithTimeoutCause(p.base, c.subject.Probe.Timeout, errTimeout)
	c.cancel = cancel
	return ctx
}

// work carries out a probe, and then those that wait for a place.
func (p *Prober) work(c *Checked, ctx context.Context) {
	for c != nil {
		begin := time.Now()
		err := c.subject.check(ctx)
		c.cancel()
		if p.judge(c, begin, err) && c.subject.Changed != nil {
			c.subject.Changed()
		}
		c, ctx = p.next(c)
	}
}

// judge takes in the result of a probe and reports whether the verdict has
// changed.
func (p *Prober) judge(c *Checked, begin time.Time, err error) (changed bool) {
	end := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	c.cancel = nil
	if c.stopped || p.closed {
		return false
	}
	p.schedule.advance(p.now())
	c.stats.Probes++
	c.stats.LastAt, c.stats.Latency, c.stats.LastError = begin, end.Sub(begin), ""
	if err != nil {
		c.stats.LastError = cause(err)
		if p.schedule.stalled(c) {
			// Who does not run hears no answer: it is no fault of the endpoint.
			c.stats.Disregarded++
			c.again = true
			return false
		}
		c.stats.Failures++
	}
	return c.count(err == nil, c.stats.LastError, end)
}

// next ends the part of a probe in the schedule and claims the next one, if
// one is due.
func (p *Prober) next(c *Checked) (*Checked, context.Context) {
	chance := p.draw()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil
	}
	p.schedule.advance(p.now())
	p.schedule.finish(c, chance)
	c = p.schedule.claim()
	p.arm()
	if c == nil {
		return nil, nil
	}
	return c, p.begins(c)
}

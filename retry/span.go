package retry

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/internal/body"
)

// Phases of a span: which limit its timer stands for.
const (
	idle        = iota // none
	whole              // the end of the whole call
	perTry             // the headers of this attempt
	wholePassed        // that limit has passed
	perTryPassed
)

// span is the context of an attempt that has a limit of its own. It ends with
// its parent, when a limit passes, or when the attempt is over: with its
// error, or with the end of its response body.
type span struct {
	context.Context // derived from the parent
	cancel          context.CancelCauseFunc
	loop            *Loop
	// deadline is that of the whole call; zero if the parent's is earlier or
	// there is none.
	deadline time.Time
	timer    *time.Timer
	phase    atomic.Int32
	hook     body.Hook
}

// arm returns a span that ends with the call's own deadline, nil without one.
func (l *Loop) arm(ctx context.Context, deadline time.Time) *span {
	if deadline.IsZero() {
		return nil
	}
	s := &span{loop: l, deadline: deadline}
	s.Context, s.cancel = context.WithCancelCause(ctx)
	s.phase.Store(whole)
	s.timer = time.AfterFunc(time.Until(deadline), s.expire)
	return s
}

// armTry limits the time to the headers as well, if that comes before what
// limits s or ctx already. It returns s, or a new span where s is nil.
func (l *Loop) armTry(ctx context.Context, s *span) *span {
	if l.perTry == 0 {
		return s
	}
	at := time.Now().Add(l.perTry)
	if s == nil {
		if d, ok := ctx.Deadline(); ok && !d.After(at) {
			return nil
		}
		s = &span{loop: l}
		s.Context, s.cancel = context.WithCancelCause(ctx)
		s.phase.Store(perTry)
		s.timer = time.AfterFunc(l.perTry, s.expire)
		return s
	}
	if s.deadline.After(at) && s.phase.CompareAndSwap(whole, perTry) {
		s.timer.Reset(l.perTry)
	}
	return s
}

// or returns the context of an attempt: s, or ctx where there is no span.
func (s *span) or(ctx context.Context) context.Context {
	if s == nil {
		return ctx
	}
	return s
}

// Deadline implements context.Context. The limit of the attempt is not among
// what it tells, since it ends with the headers.
func (s *span) Deadline() (time.Time, bool) {
	if s.deadline.IsZero() {
		return s.Context.Deadline()
	}
	return s.deadline, true
}

// Err implements context.Context: a limit that has passed is a deadline that
// was exceeded, not a caller who went away.
func (s *span) Err() error {
	err := s.Context.Err()
	if err != nil && s.passed() != nil {
		return context.DeadlineExceeded
	}
	return err
}

// passed returns the limit that has passed, nil if none has.
func (s *span) passed() error {
	switch s.phase.Load() {
	case perTryPassed:
		return &s.loop.errTry
	case wholePassed:
		return &s.loop.errCall
	}
	return nil
}

// expire is called by the timer.
func (s *span) expire() {
	switch s.phase.Load() {
	case perTry:
		if s.phase.CompareAndSwap(perTry, perTryPassed) {
			s.cancel(&s.loop.errTry)
		}
	case whole:
		// A timer that had fired for the headers when they came is early here;
		// it has been set anew.
		if time.Until(s.deadline) <= 0 && s.phase.CompareAndSwap(whole, wholePassed) {
			s.cancel(&s.loop.errCall)
		}
	}
}

// headers says that the response has come. It reports false if a limit passed
// before. Once the protocol has been switched there are no limits.
func (s *span) headers(resp *http.Response) bool {
	next := int32(whole)
	if s.deadline.IsZero() || resp.StatusCode == http.StatusSwitchingProtocols {
		next = idle
	}
	for {
		p := s.phase.Load()
		if p >= wholePassed {
			return false
		}
		if !s.phase.CompareAndSwap(p, next) {
			continue
		}
		if next == idle {
			s.timer.Stop()
		} else if p == perTry {
			s.timer.Reset(time.Until(s.deadline))
		}
		return true
	}
}

// BodyEnd implements body.Ender.
func (s *span) BodyEnd(error) { s.end() }

// BodyError implements body.Explainer.
func (s *span) BodyError(err error) error { return Cause(s, err) }

// end lets go of the timer and of the parent. A nil span has nothing to end.
func (s *span) end() {
	if s != nil {
		s.timer.Stop()
		s.cancel(nil)
	}
}

package retry

import (
	"io"
	"net/http"
)

// source is where the attempts of one call have their body from: nowhere,
// the GetBody of the request, or a replay of its Body. It lives on the stack.
type source struct {
	in     *http.Request
	replay *replay
	// given: the caller's own body has gone to an attempt, which closes it.
	given bool
}

func hasBody(in *http.Request) bool { return in.Body != nil && in.Body != http.NoBody }

// first returns the body of attempt 1.
func (s *source) first() Body {
	s.given = true
	if s.replay == nil {
		return Body{Reader: s.in.Body, Get: s.in.GetBody}
	}
	rd, _ := s.replay.next() // nothing has been read yet
	return Body{Reader: rd, Get: s.replay.next}
}

// replayable reports whether another attempt can have the body.
func (s *source) replayable() bool {
	if s.replay != nil {
		return s.replay.replayable()
	}
	return !hasBody(s.in) || s.in.GetBody != nil
}

// next returns the body of an attempt after the first.
func (s *source) next() (Body, error) {
	switch {
	case s.replay != nil:
		rd, err := s.replay.next()
		return Body{Reader: rd, Get: s.replay.next}, err
	case !hasBody(s.in):
		return Body{Reader: s.in.Body, Get: s.in.GetBody}, nil
	case s.in.GetBody == nil:
		return Body{}, errBodyGone
	}
	rd, err := s.in.GetBody()
	return Body{Reader: rd, Get: s.in.GetBody}, err
}

// settle says that there will be no other attempt.
func (s *source) settle(failed bool) {
	switch {
	case s.replay != nil:
		s.replay.settle(failed)
	case !s.given:
		s.given = true
		closeBody(s.in.Body)
	}
}

func closeBody(rc io.Closer) {
	if rc != nil {
		_ = rc.Close()
	}
}

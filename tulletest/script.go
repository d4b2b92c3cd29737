package tulletest

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// A Fault is the way a [Step] goes wrong.
type Fault int

// Over HTTP/1.1 a reset is that of the connection; over HTTP/2 it is that of
// the stream, as it is for every handler that aborts.
const (
	// NoFault answers as written.
	NoFault Fault = iota
	// Hang never answers; it ends when the caller goes away.
	Hang
	// ResetHeader resets instead of answering.
	ResetHeader
	// ResetBody resets in the middle of the body.
	ResetBody
	// Truncate declares the whole body's length, sends half of it and ends.
	Truncate
)

// Step is one answer of a [Script]. The zero Step is an empty 200.
type Step struct {
	Status  int         // 0 is 200
	Header  http.Header // added to the response: Retry-After, endpoint-load-metrics, ...
	Body    string
	Trailer http.Header

	Delay     time.Duration // before the headers
	BodyDelay time.Duration // between the headers with half of the body, which are flushed, and the rest
	Fault     Fault

	// KeepBody answers without having read the request's body, as a server
	// does that refuses early. Otherwise the body is read first. Over HTTP/1.1
	// net/http notices that a caller has gone only once the body was read.
	KeepBody bool
}

// Received is a request as it arrived at a [Script].
type Received struct {
	Method   string
	URL      *url.URL
	Host     string
	Proto    string
	Header   http.Header
	Trailer  http.Header // complete once the body was read
	Length   int64       // the declared length, -1 if unknown
	Body     []byte      // at most the first MiB
	BodySize int64       // how much was read of the body
	At       time.Time   // when the headers arrived
}

// recordLimit is how much of each request's body a Script keeps.
const recordLimit = 1 << 20

// Script is an endpoint whose answers are written down beforehand: the first
// request to arrive gets the first of Steps, the next one the second, and any
// later one Default. It records what it receives, in order of arrival.
//
// Delays end when the caller goes away, and in a testing/synctest bubble they
// are virtual time. A Script may be used by any number of goroutines; its
// fields must not be changed once it serves.
type Script struct {
	Steps   []Step
	Default Step

	mu       sync.Mutex
	received []*Received
}

// Received returns copies of the requests so far, in order of arrival. A
// request is there as soon as its headers are; its body follows when read.
func (s *Script) Received() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Received, len(s.received))
	for i, r := range s.received {
		all[i] = *r
	}
	return all
}

// Count returns how many requests have arrived.
func (s *Script) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.received)
}

// next records the arrival of r and returns its record and its answer.
func (s *Script) next(r *http.Request) (*Received, Step) {
	u := *r.URL
	rec := &Received{
		Method: r.Method,
		URL:    &u,
		Host:   r.Host,
		Proto:  r.Proto,
		Header: r.Header.Clone(),
		Length: r.ContentLength,
		At:     time.Now(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = append(s.received, rec)
	if n := len(s.received); n <= len(s.Steps) {
		return rec, s.Steps[n-1]
	}
	return rec, s.Default
}

// readBody reads r's body to its end and records it.
func (s *Script) readBody(rec *Received, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, recordLimit))
	rest, _ := io.Copy(io.Discard, r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	rec.Body = body
	rec.BodySize = int64(len(body)) + rest
	rec.Trailer = r.Trailer.Clone()
}

// ServeHTTP answers with the next step.
func (s *Script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec, step := s.next(r)
	if !step.KeepBody {
		s.readBody(rec, r)
	}
	if !pause(r, step.Delay) {
		return
	}
	switch step.Fault {
	case Hang:
		<-r.Context().Done()
		return
	case ResetHeader:
		reset(w)
	}
	step.writeHeader(w)
	half := len(step.Body)
	if step.BodyDelay > 0 || step.Fault != NoFault {
		half /= 2
	}
	if !write(w, step.Body[:half]) {
		return
	}
	if step.BodyDelay > 0 || step.Fault != NoFault {
		if http.NewResponseController(w).Flush() != nil || !pause(r, step.BodyDelay) {
			return
		}
	}
	switch step.Fault {
	case ResetBody:
		reset(w)
	case Truncate:
		// Returning short of the declared length ends the connection.
		return
	}
	if !write(w, step.Body[half:]) {
		return
	}
	maps.Copy(w.Header(), step.Trailer.Clone())
}

func (step Step) writeHeader(w http.ResponseWriter) {
	maps.Copy(w.Header(), step.Header.Clone())
	if step.Fault == Truncate {
		w.Header().Set("Content-Length", strconv.Itoa(len(step.Body)))
	}
	for name := range step.Trailer {
		w.Header().Add("Trailer", name)
	}
	status := step.Status
	if status == 0 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
}

func write(w http.ResponseWriter, s string) bool {
	if s == "" {
		return true
	}
	_, err := io.WriteString(w, s)
	return err == nil
}

// pause waits for d and reports whether the caller is still there.
func pause(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return r.Context().Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// reset ends the exchange without a further byte.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // HTTP/2, or a recorder
		panic(http.ErrAbortHandler)
	}
	if c, ok := conn.(interface{ SetLinger(int) error }); ok {
		c.SetLinger(0)
	}
	conn.Close()
	panic(http.ErrAbortHandler)
}

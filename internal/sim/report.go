package sim

import (
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/overload"
)

// Reports is what a server says of its load on its responses.
type Reports uint8

const (
	// Guarded reports come from the server's guard.
	Guarded Reports = iota
	// True reports come from the model: the requests that are in, the workers,
	// and the mean time of a request at the present speed. They show what a
	// policy makes of what it is told, whatever a guard makes of a server.
	True
	// Silent servers send none.
	Silent
	// Garbage is text that is no report.
	Garbage
	// Idle reports claim, whatever there is to do, that there is nothing.
	Idle
)

// saying is the text of a report and when it was true.
type saying struct {
	at   int64
	text string
}

// report returns the text of the report that an answer carries, "" for none.
func (s *server) report(c *call) string {
	text := s.aged(s.say(&c.ticket))
	f := s.fleet
	if f.loss > 0 && f.losses.Float64() < f.loss {
		return ""
	}
	return text
}

// aged returns what the server has said in the place of text, if reports are
// old.
func (s *server) aged(text string) string {
	f := s.fleet
	if f.staleness == 0 {
		return text
	}
	s.said.push(saying{f.now, text})
	for s.said.len() > 1 && s.said.items[s.said.head+1].at <= f.now-f.staleness {
		s.said.pop()
	}
	if first := s.said.first(); first.at <= f.now-f.staleness {
		return first.text
	}
	return ""
}

func (s *server) say(t *overload.Ticket) string {
	switch s.Reports {
	case Silent:
		return ""
	case Garbage:
		return "TEXT cpu_utilization=a lot,named_metrics.rif"
	case Idle:
		return s.encode(endpoint.LoadReport{CPU: .01, Limit: 1000, ServiceTime: time.Microsecond})
	case True:
		r := endpoint.LoadReport{
			InFlight: float64(s.inside - 1), Limit: float64(s.workers()),
			ServiceTime: time.Duration(s.fleet.work.mean() / s.currentSpeed()),
		}
		return s.encode(r)
	}
	s.guard.WriteReport(s.header, t, nil)
	if v := s.header[endpoint.LoadReportHeader]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (s *server) encode(r endpoint.LoadReport) string {
	var room [192]byte
	return string(r.AppendText(room[:0]))
}

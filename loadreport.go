package tulle

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// report takes the load report out of the header or the trailers of a response
// and reports whether it is now the endpoint's: it has to be a valid one, of an
// endpoint whose word counts. It comes before the caller has the response, and
// after all that may look at it as it was sent.
func (a *attempt) report(fields http.Header, now time.Time) bool {
	values, ok := fields[endpoint.LoadReportHeader]
	if !ok || a.call.dest.external {
		return false
	}
	if !a.call.dest.keepReports {
		delete(fields, endpoint.LoadReportHeader)
	}
	if len(values) == 0 {
		return false // no more than announced
	}
	if len(values) > 1 {
		a.feeds.notes.refused.add(&endpoint.LoadReportError{Fault: "comes more than once"}, now)
		return false
	}
	r, err := endpoint.ParseLoadReport(values[0])
	if err != nil {
		a.feeds.notes.refused.add(err, now)
		return false
	}
	a.sentBack = r.SentBack && a.room > 0 && a.resp.StatusCode == http.StatusMisdirectedRequest
	r.SentBack = false // it says nothing of the endpoint
	a.target.control.Report(r, now)
	if a.leaving = r.Leaving; r.Leaving && !a.call.mirrored && a.feeds.leaving.announce(now) {
		a.call.dest.service.look()
	}
	return true
}

// reported looks for load reports in all that has come of the response.
func (a *attempt) reported(now time.Time) bool {
	header := a.report(a.resp.Header, now)
	return a.reportInTrailer(now) || header
}

// reportedAtEnd looks for one in the trailers. They have come if the body was
// read to its end; who closes it before may do so while they come.
func (a *attempt) reportedAtEnd() bool {
	if !a.hook.Whole() || !a.trailerReports() {
		return false // as nearly always, without a look at the clock
	}
	return a.reportInTrailer(time.Now())
}

func (a *attempt) trailerReports() bool {
	_, ok := a.resp.Trailer[endpoint.LoadReportHeader]
	return ok
}

func (a *attempt) reportInTrailer(now time.Time) bool {
	if !a.trailerReports() {
		return false
	}
	reported := a.report(a.resp.Trailer, now)
	if len(a.resp.Trailer) == 0 {
		// As it would be without the report. What comes, net/http puts into a
		// new map.
		a.resp.Trailer = nil
	}
	return reported
}

// refusals are the load reports of an endpoint that were not believed.
type refusals struct {
	count atomic.Uint64
	last  atomic.Pointer[refusedReport]
}

type refusedReport struct {
	err error
	at  time.Time
}

// RefusedReports are load reports of an endpoint that were not believed.
type RefusedReports struct {
	// Count is how many there were.
	Count uint64 `json:"count"`
	// Reason says what was wrong with the last of them, At is when it came.
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

func (r *refusals) add(err error, now time.Time) {
	r.last.Store(&refusedReport{err, now})
	r.count.Add(1)
}

// state returns nil if there were none.
func (r *refusals) state() *RefusedReports {
	last := r.last.Load()
	if last == nil {
		return nil
	}
	return &RefusedReports{Count: max(1, r.count.Load()), Reason: last.err.Error(), At: last.at}
}

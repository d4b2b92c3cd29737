package overload

import (
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// Report returns what the server says of its load now. Its InFlight are the
// requests that are in and those that wait for a place, which is what the next
// one finds before it, without the one with ticket t, if that has a place; nil
// is none. Under Observe nobody waits, and all are in. SentBack is what
// Guard.SendBack has said of t.
func (g *Guard) Report(t *Ticket) endpoint.LoadReport {
	f := g.meter.found.Load()
	n := g.present()
	if t != nil && t.guard == g {
		n--
	}
	return endpoint.LoadReport{
		CPU: f.cpu, RPS: f.rps, EPS: f.eps, ServiceTime: f.service,
		InFlight: float64(max(0, n)), Limit: float64(g.places.limit.Load()),
		Leaving: g.leaving.Load(), SentBack: t != nil && t.sentBack,
	}
}

// WriteReport sets the header of a load report in h, together with what the
// handler has added to m, unless the policy wants none. One that is there, such
// as that of a server behind this one, is replaced, and none is announced for
// the trailers. It is called when the header is about to be sent, once for each
// m; nil is none. The value has at most 160 bytes where nothing is added, and
// is all that is allocated.
func (g *Guard) WriteReport(h http.Header, t *Ticket, m *Metrics) {
	if m == nil {
		m = new(Metrics)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if g.policy.NoReport {
		m.sent = noMore
		return
	}
	if announced := h["Trailer"]; announced != nil {
		unannounce(h, announced)
	}
	if m.value[0] = g.text(t, m); m.value[0] != "" {
		h[endpoint.LoadReportHeader] = m.value[:]
	}
	m.sent = time.Since(g.meter.epoch)
}

// text returns the report with what is in m, which is locked.
func (g *Guard) text(t *Ticket, m *Metrics) string {
	r, added := g.Report(t), &m.report
	r.Application, r.Memory, r.Named = added.Application, added.Memory, added.Named
	var room [192]byte
	return string(r.AppendText(room[:0]))
}

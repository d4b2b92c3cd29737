package overload

import (
	"net/http"

	"github.com/tulle-mesh/tulle/endpoint"
)

// Report returns what the server says of its load now. Of the requests in
// flight it leaves out the one with ticket t, if that has a place; nil is
// none.
func (g *Guard) Report(t *Ticket) endpoint.LoadReport {
	f := g.meter.found.Load()
	n := g.inFlight.Load()
	if t != nil && t.guard == g {
		n--
	}
	return endpoint.LoadReport{
		CPU: f.cpu, RPS: f.rps, EPS: f.eps, ServiceTime: f.service,
		InFlight: float64(max(0, n)), Limit: float64(g.places.limit.Load()),
		Leaving: g.leaving.Load(),
	}
}

// WriteReport sets the header of a load report in h, together with what the
// handler has added to m, unless the policy wants none. One that is there, such
// as that of a server behind this one, is replaced. It is called when the
// header is about to be sent, once for each m; nil is none. The value has at
// most 160 bytes where nothing is added, and is all that is allocated.
func (g *Guard) WriteReport(h http.Header, t *Ticket, m *Metrics) {
	if m == nil {
		m = new(Metrics)
	}
	m.mu.Lock()
	m.sent = true
	added := m.report
	m.mu.Unlock()
	if g.policy.NoReport {
		return
	}
	r := g.Report(t)
	r.Application, r.Memory, r.Named = added.Application, added.Memory, added.Named
	var room [192]byte
	if text := r.AppendText(room[:0]); len(text) > 0 {
		m.value[0] = string(text)
		h[endpoint.LoadReportHeader] = m.value[:]
	}
}

package tulle

import (
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Transport returns the mesh as an http.RoundTripper. All that it returns
// are the same.
func (m *Mesh) Transport() http.RoundTripper { return (*transport)(m) }

// Client returns an http.Client that calls through the mesh. It sets no
// Timeout: a time-out of the Config costs less and says who set it.
func (m *Mesh) Client() *http.Client { return &http.Client{Transport: m.Transport()} }

// transport is the outward face of a Mesh.
type transport Mesh

// RoundTrip carries a call. It returns the error of the transport for what is
// no request, an *Error for what fails on its way to a service.
func (t *transport) RoundTrip(in *http.Request) (*http.Response, error) {
	m := (*Mesh)(t)
	if m.around == nil {
		return m.carry(nil, in)
	}
	c := &Call{mesh: m, parent: in.Context(), in: in, start: time.Now()}
	resp, err := m.around.RoundTrip(in.WithContext(c))
	if resp != nil {
		resp.Request = in
	}
	return resp, err
}

// CloseIdleConnections closes the idle connections to endpoints and those of
// the transport for unknown hosts, and tells call middleware to do the same.
func (t *transport) CloseIdleConnections() {
	closeIdle(t.around)
	spine{(*Mesh)(t)}.CloseIdleConnections()
}

func closeIdle(rt http.RoundTripper) {
	if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// spine is the inner end of the call middleware.
type spine struct{ m *Mesh }

func (s spine) RoundTrip(in *http.Request) (*http.Response, error) {
	c := CallFrom(in.Context())
	if c == nil || c.mesh != s.m || !c.entered.CompareAndSwap(false, true) {
		// A middleware dropped the context, or comes a second time.
		return s.m.carry(nil, in)
	}
	return s.m.carry(c, in)
}

func (s spine) CloseIdleConnections() {
	for _, service := range s.m.plan.Load().services {
		service.closeIdle()
	}
	closeIdle(s.m.options.base)
}

// carry takes a request to where the plan says. c is its call if call
// middleware made one; a call that only passes through needs none.
func (m *Mesh) carry(c *Call, in *http.Request) (*http.Response, error) {
	p := m.plan.Load()
	to := p.aim(in, m.options.draw)
	if to.dest == nil && (to.route == nil || !to.route.answers()) {
		return m.unknown(p, to, in)
	}
	if c == nil {
		c = &Call{mesh: m, parent: in.Context(), start: time.Now()}
	}
	c.route, c.dest, c.part, c.prefix = to.route, to.dest, to.part, to.prefix
	return c.run(in)
}

// unknown passes a call on to a host that no service has, or refuses it. A
// route may still change it, and counts it up to its headers.
func (m *Mesh) unknown(p *plan, to aim, in *http.Request) (*http.Response, error) {
	if to.route != nil {
		m.passed.Add(1)
		to.route.stats.begin()
		status := 0
		defer func() { to.route.stats.end(status, outcome.NoReason) }()
		resp, err := to.route.filters.RoundTrip(m.options.base, in, to.prefix)
		if resp != nil {
			status = resp.StatusCode
		}
		return resp, err
	}
	if p.refuse != nil && in.URL != nil && in.URL.Host != "" {
		m.refused.Add(1)
		if p.refuse.Mode == outcome.Enforce {
			closeBody(in)
			return nil, &Error{Reason: outcome.UnknownHost, Err: &hostError{in.URL.Host}}
		}
		m.passed.Add(1)
		resp, err := m.options.base.RoundTrip(in)
		if !(outcome.HTTP{}).Classify(resp, err).Class.Failed() {
			m.missed.Add(1)
		}
		return resp, err
	}
	m.passed.Add(1)
	return m.options.base.RoundTrip(in)
}

func closeBody(in *http.Request) {
	if in.Body != nil {
		// The call has failed already, with a better error.
		_ = in.Body.Close()
	}
}

type hostError struct{ host string }

func (e *hostError) Error() string { return "host " + e.host }
